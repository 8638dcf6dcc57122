"""Jobs, parts, models and operations in a SQL database: SQLite here, Postgres by its URL.

A job is one JSON document beside the columns that queries need. Every write of a job's driver
happens in one transaction that compares the fence first, so a driver that was paused and has
lost its lease cannot change anything when it wakes.
"""

from __future__ import annotations

import base64
import operator
import zlib
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import msgspec
import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from rowcast.core.job import CANCELLED, FINISHED, MOVES, Job, JobState
from rowcast.core.plan import InputObject, Layout, ObjectFailure, Part, Plan
from rowcast.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from rowcast.stores import AllOf, AnyOf, Condition, Filter, Lease, Not
from rowcast.stores.database import below, to_us
from rowcast.stores.leases import Leases
from rowcast.stores.sql_models import SqlModels
from rowcast.stores.tables import JOB_REPORTS, JOBS, LABELS, OPERATIONS, PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from rowcast.core.names import Parent

_PART_FIELDS = tuple(Part.__annotations__)
_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
# Made here, once: msgspec crashes when two threads are the first to decode the same type.
_JOB = msgspec.json.Decoder(Job)
_LEASES = Leases(JOBS, "Job", FINISHED)


class SqlStore(SqlModels):
    """The job and model stores in one database. See ``Database`` for its arguments."""

    # Jobs

    def create_job(self, job: Job, request_id: str | None = None, *, reserved: bool = False) -> Job:
        """See ``JobStore``."""
        labels = [{"job_id": job.id, "key": k, "value": v} for k, v in job.spec.labels.items()]
        try:
            with self.writing() as connection:
                if request_id is not None:
                    earlier = connection.execute(
                        sa.select(JOBS.c.document).where(
                            below(JOBS, job.parent), JOBS.c.request_id == request_id
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
                    "created_us": to_us(job.created),
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
        with self.reading() as connection:
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
            .where(below(JOBS, parent))
            .order_by(JOBS.c.created_us.desc(), JOBS.c.id)
            .limit(limit)
        )
        if where is not None:
            query = query.where(_predicate(where))
        if after is not None:
            created_us, last_id = to_us(after[0]), after[1]
            query = query.where(
                sa.or_(
                    JOBS.c.created_us < created_us,
                    sa.and_(JOBS.c.created_us == created_us, JOBS.c.id > last_id),
                )
            )
        with self.reading() as connection:
            return [_decode(document) for document in connection.execute(query).scalars()]

    def delete_job(self, parent: Parent, job_id: str) -> None:
        """See ``JobStore``."""
        with self.writing() as connection:
            job = self._job(connection, parent, job_id)
            if not job.state.finished:
                raise FailedPrecondition(
                    f"{job.name} is in {job.state}; only a finished job can be deleted. "
                    "Cancel it first."
                )
            connection.execute(sa.delete(JOBS).where(JOBS.c.id == job_id))

    def request_cancel(self, parent: Parent, job_id: str, now: datetime) -> Job:
        """See ``JobStore``."""
        with self.writing() as connection:
            job = self._job(connection, parent, job_id)
            if job.state.finished:
                raise FailedPrecondition(f"{job.name} has ended in {job.state}.")
            if job.state is JobState.CANCELLING:
                return job
            now = max(now, job.updated)  # the clock may have been put back
            job = replace(job, state=JobState.CANCELLING, cancel_requested=True, updated=now)
            if job.started is None and not _LEASES.driven(connection, job_id, self.clock()):
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
        among = [sa.not_(JOBS.c.reserved) if job_id is None else JOBS.c.id == job_id]
        if except_for:
            among.append(JOBS.c.id.not_in(except_for))
        with self.writing() as connection:
            return _LEASES.claim(connection, owner, self.clock(), lease_until, among)

    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """See ``JobStore``."""
        with self.writing() as connection:
            if not _LEASES.renew(connection, lease, lease_until):
                return None
            return bool(self._leased(connection, lease).cancel_requested)

    def owners(self) -> set[str]:
        """See ``JobStore``."""
        with self.reading() as connection:
            return _LEASES.owners(connection)

    def release_owner(self, owner: str) -> None:
        """See ``JobStore``."""
        with self.writing() as connection:
            _LEASES.release(connection, owner)

    def update_job(self, lease: Lease, **changes: Any) -> Job:
        """See ``JobStore``."""
        with self.writing() as connection:
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
        with self.writing() as connection:
            self._leased(connection, lease)
            connection.execute(sa.delete(PARTS).where(PARTS.c.job_id == lease.job_id))
            connection.execute(
                sa.update(JOBS).where(JOBS.c.id == lease.job_id).values(layout=_encode_layout(plan))
            )
            if rows:
                connection.execute(sa.insert(PARTS), rows)

    def load_plan(self, job_id: str) -> Plan | None:
        """See ``JobStore``."""
        with self.reading() as connection:
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
        with self.writing() as connection:
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
        with self.reading() as connection:
            rows = connection.execute(query)
            return {row.number: msgspec.json.decode(row.result) for row in rows}

    # Reports

    def keep_reports(self, lease: Lease, reports: Mapping[str, bytes]) -> None:
        """See ``JobStore``."""
        rows = [
            {"job_id": lease.job_id, "name": name, "content": zlib.compress(content)}
            for name, content in reports.items()
        ]
        with self.writing() as connection:
            self._leased(connection, lease)
            connection.execute(sa.delete(JOB_REPORTS).where(JOB_REPORTS.c.job_id == lease.job_id))
            if rows:
                connection.execute(sa.insert(JOB_REPORTS), rows)

    def reports(self, job_id: str) -> dict[str, bytes]:
        """See ``JobStore``."""
        query = sa.select(JOB_REPORTS.c.name, JOB_REPORTS.c.content).where(
            JOB_REPORTS.c.job_id == job_id
        )
        with self.reading() as connection:
            return {row.name: zlib.decompress(row.content) for row in connection.execute(query)}

    # Shared

    def _job(self, connection: sa.Connection, parent: Parent, job_id: str) -> Job:
        document = connection.execute(
            sa.select(JOBS.c.document).where(below(JOBS, parent), JOBS.c.id == job_id)
        ).scalar()
        if document is None:
            raise NotFound(f"{parent.child('batchPredictionJobs', job_id)} does not exist.")
        return _decode(document)

    def _with_own_moment(self, connection: sa.Connection, job: Job) -> Job:
        """Put a job's creation off until no other of its parent has the same moment."""
        taken = sa.select(JOBS.c.id).where(below(JOBS, job.parent))
        while connection.execute(taken.where(JOBS.c.created_us == to_us(job.created))).first():
            later = job.created + timedelta(microseconds=1)
            job = replace(job, created=later, updated=max(job.updated, later))
        return job

    def _leased(self, connection: sa.Connection, lease: Lease) -> Job:
        return _decode(_LEASES.document(connection, lease))

    def _put(self, connection: sa.Connection, job: Job) -> None:
        connection.execute(
            sa.update(JOBS)
            .where(JOBS.c.id == job.id)
            .values(state=job.state.value, document=_encode(job))
        )


class SqlOperations:
    """``OperationStore`` in the same database."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def add(self, parent: Parent, operation_id: str, body: dict[str, Any]) -> None:
        """See ``OperationStore``."""
        with self._store.writing() as connection:
            connection.execute(
                sa.insert(OPERATIONS).values(
                    id=operation_id,
                    project=parent.project,
                    location=parent.location,
                    created_us=int(self._store.clock() * 1e6),
                    body=body,
                )
            )

    def get(self, parent: Parent, operation_id: str) -> dict[str, Any]:
        """See ``OperationStore``."""
        query = sa.select(OPERATIONS.c.body).where(
            below(OPERATIONS, parent), OPERATIONS.c.id == operation_id
        )
        with self._store.reading() as connection:
            body: dict[str, Any] | None = connection.execute(query).scalar()
        if body is None:
            raise NotFound(f"{parent.child('operations', operation_id)} does not exist.")
        return body

    def list(self, parent: Parent) -> Sequence[dict[str, Any]]:
        """See ``OperationStore``."""
        query = (
            sa.select(OPERATIONS.c.body)
            .where(below(OPERATIONS, parent))
            .order_by(OPERATIONS.c.created_us.desc(), OPERATIONS.c.id)
        )
        with self._store.reading() as connection:
            return list(connection.execute(query).scalars())

    def delete(self, parent: Parent, operation_id: str) -> None:
        """See ``OperationStore``."""
        self.get(parent, operation_id)
        with self._store.writing() as connection:
            connection.execute(sa.delete(OPERATIONS).where(OPERATIONS.c.id == operation_id))


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
        column, value = JOBS.c.created_us, to_us(value)
    else:
        column = JOBS.c[condition.field]
    if condition.operator == ":":
        escaped = str(value).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return column.like(escaped.replace("*", "%"), escape="\\")
    compare = _OPERATORS[condition.operator]
    return cast("sa.ColumnElement[bool]", compare(column, value))


def _encode(job: Job) -> str:
    return msgspec.json.encode(job).decode()


def _decode(document: str) -> Job:
    return _JOB.decode(document)


class _LayoutRecord(msgspec.Struct):
    """A plan without its parts, as JSON; the Arrow schema in its own binary form."""

    objects: tuple[InputObject, ...]
    schema: str
    column_orders: dict[int, tuple[int, ...]]
    details: dict[str, str]
    failures: tuple[ObjectFailure, ...]


_LAYOUT = msgspec.json.Decoder(_LayoutRecord)


def _encode_layout(plan: Plan) -> str:
    layout = plan.layout
    schema = base64.b64encode(layout.schema.serialize().to_pybytes()).decode()
    record = _LayoutRecord(
        layout.objects, schema, layout.column_orders, layout.details, plan.failures
    )
    return msgspec.json.encode(record).decode()


def _decode_layout(text: str, parts: tuple[Part, ...]) -> Plan:
    record = _LAYOUT.decode(text)
    schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(record.schema)))
    layout = Layout(record.objects, schema, record.column_orders, record.details)
    return Plan(layout, parts, record.failures)
