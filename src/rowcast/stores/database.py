"""A connection to the database, and what all of its stores share."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError

from rowcast.errors import Internal, InvalidRequest, NotFound, ResourceExhausted
from rowcast.stores import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rowcast.core.names import Parent
    from rowcast.errors import RowcastError


class Database:
    """One database, its tables made and up to date.

    Parameters
    ----------
    url : str
        A SQLAlchemy URL: ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``. Several
        processes, on Postgres also on several machines, may use the same one.
    clock : callable
        Seconds since 1970; leases are compared with it.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._engine = sa.create_engine(url, **_OPTIONS.get(sa.make_url(url).drivername, {}))
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        else:
            event.listen(self._engine, "begin", _begin_postgres)
        with self.writing() as connection:
            tables.prepare(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that may write, committed at the end of the block."""
        with _translated(InvalidRequest), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that only reads."""
        options = {"rowcast_read": True}
        connect = self._engine.connect
        with _translated(NotFound), connect().execution_options(**options) as connection:
            yield connection


def below(table: sa.Table, parent: Parent) -> sa.ColumnElement[bool]:
    """The rows of a project and location."""
    return sa.and_(table.c.project == parent.project, table.c.location == parent.location)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970."""
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def from_us(us: int) -> datetime:
    """The inverse of ``to_us``."""
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where _begin_sqlite says
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "busy_timeout=20000",
        "foreign_keys=ON",
        "case_sensitive_like=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    # A transaction that will write takes the lock at once: taking it later can fail halfway.
    reads = connection.get_execution_options().get("rowcast_read")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _begin_postgres(connection: sa.Connection) -> None:
    # One writer at a time, as SQLite has it, so that what a transaction reads is still so when it
    # writes. Transactions are short; readers do not wait.
    if not connection.get_execution_options().get("rowcast_read"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


_WRITERS = 0x726F7763
"""Name of the writers' lock in a Postgres database."""
_OPTIONS: dict[str, dict[str, Any]] = {
    # A connection that a restarted server has dropped is replaced before it is used.
    "postgresql+psycopg": {"pool_pre_ping": True, "pool_size": 10, "max_overflow": 20}
}


@contextmanager
def _translated(for_nul: type[RowcastError]) -> Iterator[None]:
    """Raise errors of ours; ``for_nul`` where Postgres cannot keep, nor look for, a text."""
    try:
        yield
    except IntegrityError:
        raise
    except DataError as error:
        if "NUL" not in str(error.orig):
            raise Internal(f"The job database failed: {error.orig}.") from error
        raise for_nul("No name or label has a NUL character in it.") from error
    except SQLAlchemyError as error:
        text = str(error.orig if isinstance(error, DBAPIError) else error)
        if "full" in text:
            raise ResourceExhausted(f"The job database cannot grow: {text}.") from error
        raise Internal(f"The job database failed: {text}.") from error
