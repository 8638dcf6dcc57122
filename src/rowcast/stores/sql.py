"""Jobs, parts, models and operations in a SQL database: SQLite here, Postgres by its URL.

A job is one JSON document beside the columns that queries need. Every write of a job's driver
happens in one transaction that compares the fence first, so a driver that was paused and has
lost its lease cannot change anything when it wakes.
"""

from __future__ import annotations

import base64
import operator
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from rowcast.core.job import CANCELLED, FINISHED, MOVES, Job, JobState
from rowcast.core.names import Parent
from rowcast.core.plan import InputObject, Layout, ObjectFailure, Part, Plan
from rowcast.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    Internal,
    NotFound,
    ResourceExhausted,
)
from rowcast.stores import AllOf, AnyOf, Condition, Filter, Lease, Model, Not

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

METADATA = sa.MetaData()

JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("location", sa.String, nullable=False),
    sa.Column("request_id", sa.String),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("model_display_name", sa.String, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("layout", sa.Text),
    sa.Column("reserved", sa.Boolean, nullable=False, default=False),
    sa.Column("owner", sa.String),
    sa.Column("lease_until", sa.Double, nullable=False, default=0.0),
    sa.Column("fence", sa.Integer, nullable=False, default=0),
    sa.UniqueConstraint("project", "location", "request_id"),
    sa.Index("jobs_newest", "project", "location", "created_us", "id"),
    sa.Index("jobs_waiting", "state", "created_us"),
)
LABELS = sa.Table(
    "job_labels",
    METADATA,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("value", sa.String, nullable=False),
)
PARTS = sa.Table(
    "parts",
    METADATA,
    sa.Column("job_id", sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("source", sa.Integer, nullable=False),
    sa.Column("start", sa.BigInteger, nullable=False),
    sa.Column("stop", sa.BigInteger, nullable=False),
    sa.Column("first_row", sa.BigInteger, nullable=False),
    sa.Column("first_line", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("result", sa.Text),
)
MODELS = sa.Table(
    "models",
    METADATA,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("location", sa.String, primary_key=True),
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("version_id", sa.String, primary_key=True),
    sa.Column("display_name", sa.String, nullable=False),
    sa.Column("folder", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("is_default", sa.Boolean, nullable=False),
    sa.Column("aliases", sa.JSON, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
)
OPERATIONS = sa.Table(
    "operations",
    METADATA,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("project", sa.String, nullable=False),
    sa.Column("location", sa.String, nullable=False),
    sa.Column("created_us", sa.BigInteger, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),
)

_PART_FIELDS = tuple(Part.__annotations__)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_UNFINISHED = JOBS.c.state.not_in(sorted(FINISHED))


class SqlStore:
    """The job, model and operation stores in one database.

    Parameters
    ----------
    url : str
        A SQLAlchemy URL: ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``.
    clock : callable
        Seconds since 1970; leases are compared with it.
    """

    def __init__(self, url: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._engine = sa.create_engine(url)
        if self._engine.dialect.name == "sqlite":
            event.listen(self._engine, "connect", _prepare_sqlite)
            event.listen(self._engine, "begin", _begin_sqlite)
        with self._write() as connection:
            METADATA.create_all(connection)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    # Jobs

    def create_job(self, job: Job, request_id: str | None = None, *, reserved: bool = False) -> Job:
        """See ``JobStore``."""
        labels = [{"job_id": job.id, "key": k, "value": v} for k, v in job.spec.labels.items()]
        try:
            with self._write() as connection:
                if request_id is not None:
                    earlier = connection.execute(
                        sa.select(JOBS.c.document).where(
                            _below(JOBS, job.parent), JOBS.c.request_id == request_id
                        )
                    ).scalar()
                    if earlier is not None:
                        return _decode(earlier)
                job = self._with_own_moment(connection, job)
                row = {
                    "id": job.id,
                    "project": job.parent.project,
                    "location": job.parent.location,
                    "request_id": request_id,
                    "created_us": _us(job.created),
                    "state": job.state.value,
                    "display_name": job.spec.display_name,
                    "model_display_name": job.model.display_name,
                    "document": _encode(job),
                    "reserved": reserved,
                }
                connection.execute(sa.insert(JOBS), row)
                if labels:
                    connection.execute(sa.insert(LABELS), labels)
        except IntegrityError as error:
            raise AlreadyExists(f"Job {job.id} exists already.") from error
        return job

    def get_job(self, parent: Parent, job_id: str) -> Job:
        """See ``JobStore``."""
        with self._read() as connection:
            return self._job(connection, parent, job_id)

    def list_jobs(
        self,
        parent: Parent,
        *,
        where: Filter | None = None,
        limit: int = 100,
        after: tuple[datetime, str] | None = None,
    ) -> list[Job]:
        """See ``JobStore``."""
        query = (
            sa.select(JOBS.c.document)
            .where(_below(JOBS, parent))
            .order_by(JOBS.c.created_us.desc(), JOBS.c.id)
            .limit(limit)
        )
        if where is not None:
            query = query.where(_predicate(where))
        if after is not None:
            created_us, last_id = _us(after[0]), after[1]
            query = query.where(
                sa.or_(
                    JOBS.c.created_us < created_us,
                    sa.and_(JOBS.c.created_us == created_us, JOBS.c.id > last_id),
                )
            )
        with self._read() as connection:
            return [_decode(document) for document in connection.execute(query).scalars()]

    def delete_job(self, parent: Parent, job_id: str) -> None:
        """See ``JobStore``."""
        with self._write() as connection:
            job = self._job(connection, parent, job_id)
            if not job.state.finished:
                raise FailedPrecondition(
                    f"{job.name} is in {job.state}; only a finished job can be deleted. "
                    "Cancel it first."
                )
            connection.execute(sa.delete(JOBS).where(JOBS.c.id == job_id))

    def request_cancel(self, parent: Parent, job_id: str, now: datetime) -> Job:
        """See ``JobStore``."""
        with self._write() as connection:
            job = self._job(connection, parent, job_id)
            if job.state.finished:
                raise FailedPrecondition(f"{job.name} has ended in {job.state}.")
            if job.state is JobState.CANCELLING:
                return job
            now = max(now, job.updated)  # the clock may have been put back
            job = replace(job, state=JobState.CANCELLING, cancel_requested=True, updated=now)
            if job.started is None and not self._driven(connection, job_id):
                job = replace(job, state=JobState.CANCELLED, ended=now, error=CANCELLED)
            self._put(connection, job)
            return job

    def claim_job(
        self,
        owner: str,
        lease_until: float,
        job_id: str | None = None,
        *,
        except_for: Sequence[str] = (),
    ) -> Lease | None:
        """See ``JobStore``."""
        free = sa.or_(JOBS.c.owner.is_(None), JOBS.c.lease_until < self._clock())
        query = sa.select(JOBS.c.id, JOBS.c.fence).where(_UNFINISHED, free)
        query = query.where(sa.not_(JOBS.c.reserved) if job_id is None else JOBS.c.id == job_id)
        if except_for:
            query = query.where(JOBS.c.id.not_in(except_for))
        query = query.order_by(JOBS.c.created_us, JOBS.c.id).limit(1)
        with self._write() as connection:
            row = connection.execute(query.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == row.id)
                .values(owner=owner, lease_until=lease_until, fence=row.fence + 1)
            )
            return Lease(row.id, row.fence + 1)

    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """See ``JobStore``."""
        with self._write() as connection:
            kept = connection.execute(
                sa.update(JOBS)
                .where(JOBS.c.id == lease.job_id, JOBS.c.fence == lease.fence)
                .values(lease_until=lease_until)
            )
            if not kept.rowcount:
                return None
            return bool(self._leased(connection, lease).cancel_requested)

    def owners(self) -> set[str]:
        """See ``JobStore``."""
        query = sa.select(JOBS.c.owner).where(_UNFINISHED, JOBS.c.owner.is_not(None)).distinct()
        with self._read() as connection:
            return set(connection.execute(query).scalars())

    def release_owner(self, owner: str) -> None:
        """See ``JobStore``."""
        with self._write() as connection:
            connection.execute(
                sa.update(JOBS).where(JOBS.c.owner == owner).values(owner=None, lease_until=0.0)
            )

    def update_job(self, lease: Lease, **changes: Any) -> Job:
        """See ``JobStore``."""
        with self._write() as connection:
            job = self._leased(connection, lease)
            state = changes.get("state", job.state)
            if state is not job.state and state not in MOVES[job.state]:
                raise Aborted(f"{job.name} is in {job.state} and cannot enter {state}.")
            job = replace(job, **changes)
            self._put(connection, job)
            return job

    # Plans and parts

    def save_plan(self, lease: Lease, plan: Plan) -> None:
        """See ``JobStore``."""
        rows = [
            {"job_id": lease.job_id, **{name: getattr(part, name) for name in _PART_FIELDS}}
            for part in plan.parts
        ]
        with self._write() as connection:
            self._leased(connection, lease)
            connection.execute(sa.delete(PARTS).where(PARTS.c.job_id == lease.job_id))
            connection.execute(
                sa.update(JOBS).where(JOBS.c.id == lease.job_id).values(layout=_encode_layout(plan))
            )
            if rows:
                connection.execute(sa.insert(PARTS), rows)

    def load_plan(self, job_id: str) -> Plan | None:
        """See ``JobStore``."""
        with self._read() as connection:
            layout = connection.execute(
                sa.select(JOBS.c.layout).where(JOBS.c.id == job_id)
            ).scalar()
            if layout is None:
                return None
            rows = connection.execute(
                sa.select(*(PARTS.c[name] for name in _PART_FIELDS))
                .where(PARTS.c.job_id == job_id)
                .order_by(PARTS.c.number)
            )
            return _decode_layout(layout, tuple(Part(*row) for row in rows))

    def finish_part(self, lease: Lease, number: int, result: Any) -> None:
        """See ``JobStore``."""
        with self._write() as connection:
            self._leased(connection, lease)
            connection.execute(
                sa.update(PARTS)
                .where(PARTS.c.job_id == lease.job_id, PARTS.c.number == number)
                .values(result=msgspec.json.encode(result).decode())
            )

    def finished_parts(self, job_id: str) -> dict[int, Any]:
        """See ``JobStore``."""
        query = sa.select(PARTS.c.number, PARTS.c.result).where(
            PARTS.c.job_id == job_id, PARTS.c.result.is_not(None)
        )
        with self._read() as connection:
            rows = connection.execute(query)
            return {row.number: msgspec.json.decode(row.result) for row in rows}

    # Models

    def add_model(self, model: Model) -> Model:
        """See ``ModelStore``."""
        with self._write() as connection:
            same = sa.and_(_below(MODELS, model.parent), MODELS.c.id == model.id)
            connection.execute(sa.update(MODELS).where(same).values(is_default=False))
            connection.execute(
                sa.insert(MODELS).values(
                    project=model.parent.project,
                    location=model.parent.location,
                    id=model.id,
                    version_id=model.version_id,
                    display_name=model.display_name,
                    folder=model.folder,
                    digest=model.digest,
                    created_us=_us(model.created),
                    is_default=True,
                    aliases=[alias for alias in model.aliases if alias != "default"],
                    labels=dict(model.labels or {}),
                )
            )
        return self.get_model(model.parent, model.id, model.version_id)

    def get_model(self, parent: Parent, model_id: str, version: str | None = None) -> Model:
        """See ``ModelStore``."""
        for model in self.model_versions(parent, model_id):
            if version in (model.version_id, *model.aliases) or (
                version is None and "default" in model.aliases
            ):
                return model
        suffix = "" if version is None else f"@{version}"
        raise NotFound(f"Model {parent.child('models', model_id)}{suffix} does not exist.")

    def model_versions(self, parent: Parent, model_id: str) -> list[Model]:
        """All versions of a model, newest first."""
        return self._models(sa.and_(_below(MODELS, parent), MODELS.c.id == model_id))

    def list_models(self, parent: Parent) -> list[Model]:
        """See ``ModelStore``."""
        return self._models(sa.and_(_below(MODELS, parent), MODELS.c.is_default))

    def _models(self, where: sa.ColumnElement[bool]) -> list[Model]:
        query = sa.select(MODELS).where(where).order_by(MODELS.c.created_us.desc(), MODELS.c.id)
        with self._read() as connection:
            return [
                Model(
                    Parent(row.project, row.location),
                    row.id,
                    row.version_id,
                    row.display_name,
                    row.folder,
                    row.digest,
                    _moment(row.created_us),
                    (*(["default"] if row.is_default else []), *row.aliases),
                    row.labels,
                )
                for row in connection.execute(query)
            ]

    # Shared

    def _job(self, connection: sa.Connection, parent: Parent, job_id: str) -> Job:
        document = connection.execute(
            sa.select(JOBS.c.document).where(_below(JOBS, parent), JOBS.c.id == job_id)
        ).scalar()
        if document is None:
            raise NotFound(f"{parent.child('batchPredictionJobs', job_id)} does not exist.")
        return _decode(document)

    def _with_own_moment(self, connection: sa.Connection, job: Job) -> Job:
        """Put a job's creation off until no other of its parent has the same moment."""
        taken = sa.select(JOBS.c.id).where(_below(JOBS, job.parent))
        while connection.execute(taken.where(JOBS.c.created_us == _us(job.created))).first():
            later = job.created + timedelta(microseconds=1)
            job = replace(job, created=later, updated=max(job.updated, later))
        return job

    def _driven(self, connection: sa.Connection, job_id: str) -> bool:
        """Whether a process holds the job's lease."""
        row = connection.execute(
            sa.select(JOBS.c.owner, JOBS.c.lease_until).where(JOBS.c.id == job_id)
        ).one()
        return row.owner is not None and row.lease_until >= self._clock()

    def _leased(self, connection: sa.Connection, lease: Lease) -> Job:
        row = connection.execute(
            sa.select(JOBS.c.document, JOBS.c.fence)
            .where(JOBS.c.id == lease.job_id)
            .with_for_update()
        ).first()
        if row is None or row.fence != lease.fence:
            raise Aborted(f"Job {lease.job_id} has been taken over by another process.")
        return _decode(row.document)

    def _put(self, connection: sa.Connection, job: Job) -> None:
        connection.execute(
            sa.update(JOBS)
            .where(JOBS.c.id == job.id)
            .values(state=job.state.value, document=_encode(job))
        )

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with _translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[sa.Connection]:
        options = {"rowcast_read": True}
        with _translated(), self._engine.connect().execution_options(**options) as connection:
            yield connection


class SqlOperations:
    """``OperationStore`` in the same database."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def add(self, parent: Parent, operation_id: str, body: dict[str, Any]) -> None:
        """See ``OperationStore``."""
        with self._store._write() as connection:
            connection.execute(
                sa.insert(OPERATIONS).values(
                    id=operation_id,
                    project=parent.project,
                    location=parent.location,
                    created_us=int(self._store._clock() * 1e6),
                    body=body,
                )
            )

    def get(self, parent: Parent, operation_id: str) -> dict[str, Any]:
        """See ``OperationStore``."""
        query = sa.select(OPERATIONS.c.body).where(
            _below(OPERATIONS, parent), OPERATIONS.c.id == operation_id
        )
        with self._store._read() as connection:
            body: dict[str, Any] | None = connection.execute(query).scalar()
        if body is None:
            raise NotFound(f"{parent.child('operations', operation_id)} does not exist.")
        return body

    def list(self, parent: Parent) -> Sequence[dict[str, Any]]:
        """See ``OperationStore``."""
        query = (
            sa.select(OPERATIONS.c.body)
            .where(_below(OPERATIONS, parent))
            .order_by(OPERATIONS.c.created_us.desc(), OPERATIONS.c.id)
        )
        with self._store._read() as connection:
            return list(connection.execute(query).scalars())

    def delete(self, parent: Parent, operation_id: str) -> None:
        """See ``OperationStore``."""
        self.get(parent, operation_id)
        with self._store._write() as connection:
            connection.execute(sa.delete(OPERATIONS).where(OPERATIONS.c.id == operation_id))


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


def _below(table: sa.Table, parent: Parent) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.project == parent.project, table.c.location == parent.location)


def _predicate(where: Filter) -> sa.ColumnElement[bool]:
    """Turn a list filter into SQL; values are bound parameters."""
    if isinstance(where, Not):
        return sa.not_(_predicate(where.operand))
    if isinstance(where, AllOf):
        return sa.and_(*map(_predicate, where.operands))
    if isinstance(where, AnyOf):
        return sa.or_(*map(_predicate, where.operands))
    return _comparison(where)


def _comparison(condition: Condition) -> sa.ColumnElement[bool]:
    value = condition.value
    if condition.field.startswith("labels."):
        labelled = sa.select(LABELS.c.job_id).where(
            LABELS.c.job_id == JOBS.c.id, LABELS.c.key == condition.field.removeprefix("labels.")
        )
        if condition.operator != ":":
            labelled = labelled.where(LABELS.c.value == value)
        found = labelled.exists()
        return sa.not_(found) if condition.operator == "!=" else found
    column: sa.ColumnElement[Any]
    if condition.field == "create_time":
        column, value = JOBS.c.created_us, _us(value)
    else:
        column = JOBS.c[condition.field]
    if condition.operator == ":":
        escaped = str(value).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return column.like(escaped.replace("*", "%"), escape="\\")
    compare = _OPERATORS[condition.operator]
    return cast("sa.ColumnElement[bool]", compare(column, value))


def _us(moment: datetime) -> int:
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def _encode(job: Job) -> str:
    return msgspec.json.encode(job).decode()


def _decode(document: str) -> Job:
    return msgspec.json.decode(document, type=Job)


class _LayoutRecord(msgspec.Struct):
    """A plan without its parts, as JSON; the Arrow schema in its own binary form."""

    objects: tuple[InputObject, ...]
    schema: str
    column_orders: dict[int, tuple[int, ...]]
    details: dict[str, str]
    failures: tuple[ObjectFailure, ...]


def _encode_layout(plan: Plan) -> str:
    layout = plan.layout
    schema = base64.b64encode(layout.schema.serialize().to_pybytes()).decode()
    record = _LayoutRecord(
        layout.objects, schema, layout.column_orders, layout.details, plan.failures
    )
    return msgspec.json.encode(record).decode()


def _decode_layout(text: str, parts: tuple[Part, ...]) -> Plan:
    record = msgspec.json.decode(text, type=_LayoutRecord)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(record.schema)))
    layout = Layout(record.objects, schema, record.column_orders, record.details)
    return Plan(layout, parts, record.failures)
