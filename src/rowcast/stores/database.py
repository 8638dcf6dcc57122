"""A connection to the database, and what all of its stores share."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from rowcast.errors import Internal, ResourceExhausted
from rowcast.stores import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rowcast.core.names import Parent


class Database:
    """One database, its tables made and up to date.

    Parameters
    ----------
    url : str
        A SQLAlchemy URL: ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``.
    clock : callable
        Seconds since 1970; leases are compared with it.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        with self.writing() as connection:
            tables.prepare(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that may write, committed at the end of the block."""
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that only reads."""
        options = {"rowcast_read": True}
        with _translated(), self._engine.connect().execution_options(**options) as connection:
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


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        text = str(error.orig if isinstance(error, DBAPIError) else error)
        if "full" in text:
            raise ResourceExhausted(f"The job database cannot grow: {text}.") from error
        raise Internal(f"The job database failed: {text}.") from error
