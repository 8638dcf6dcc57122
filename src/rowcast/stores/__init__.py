"""Where jobs, parts and models are remembered: the seam, and the databases behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rowcast.core.job import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rowcast.core.job import Job
    from rowcast.core.names import Parent
    from rowcast.core.plan import Plan


@dataclass(frozen=True)
class Model:
    """One version of a trained model, as the registry knows it."""

    parent: Parent
    id: str
    version_id: str
    display_name: str
    folder: str
    digest: str
    created: datetime
    aliases: tuple[str, ...] = ()
    """``default`` for exactly one version of each model."""
    labels: Mapping[str, str] | None = None

    @property
    def name(self) -> str:
        """The resource name, without the version."""
        return self.parent.child("models", self.id)

    def pinned(self) -> ModelVersion:
        """The facts that a job keeps of it."""
        return ModelVersion(self.id, self.version_id, self.display_name, self.folder, self.digest)


@dataclass(frozen=True)
class Lease:
    """The right to drive one job. A higher ``fence`` beats a lower one: every write of a job's
    driver names its fence, and is refused once another has taken over.
    """

    job_id: str
    fence: int


@dataclass(frozen=True)
class Condition:
    """One comparison of a list filter: ``field op value``."""

    field: str
    """display_name, model_display_name, state, create_time or labels.KEY."""
    operator: str
    """One of = != < <= > >= : (wildcard match, or existence of a label for the value ``*``)."""
    value: Any


@dataclass(frozen=True)
class Not:
    """The opposite of a filter."""

    operand: Filter


@dataclass(frozen=True)
class AllOf:
    """Every one of several filters."""

    operands: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """At least one of several filters."""

    operands: tuple[Filter, ...]


Filter = Condition | Not | AllOf | AnyOf


class JobStore(Protocol):
    """Jobs and their parts. Each method is one transaction; all are safe from any thread and
    from several processes.
    """

    def create_job(self, job: Job, request_id: str | None = None, *, reserved: bool = False) -> Job:
        """Keep a new job; a repeated ``request_id`` in its parent answers the first one's job.

        The moment of creation names the job's output folder. If another job of the parent has
        the same one, this job's is put off by a microsecond. A ``reserved`` job is only claimed
        by who names it.
        """
        ...

    def get_job(self, parent: Parent, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    def list_jobs(
        self,
        parent: Parent,
        *,
        where: Filter | None = None,
        limit: int = 100,
        after: tuple[datetime, str] | None = None,
    ) -> list[Job]:
        """Newest first, then by id; ``after`` is the (created, id) of the last one seen."""
        ...

    def delete_job(self, parent: Parent, job_id: str) -> None:
        """Raises NotFound; FailedPrecondition if the job is not finished."""
        ...

    def request_cancel(self, parent: Parent, job_id: str, now: datetime) -> Job:
        """Move to CANCELLING; a job that nobody drives yet is CANCELLED at once.

        Raises NotFound; FailedPrecondition if the job is finished.
        """
        ...

    def claim_job(
        self,
        owner: str,
        lease_until: float,
        job_id: str | None = None,
        *,
        except_for: Sequence[str] = (),
    ) -> Lease | None:
        """Take the oldest unfinished job that is not reserved (or the one named), if no living
        owner has it.
        """
        ...

    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """Keep a lease. None if it is lost; else whether cancellation was requested."""
        ...

    def owners(self) -> set[str]:
        """Every process that holds a lease on an unfinished job."""
        ...

    def release_owner(self, owner: str) -> None:
        """Free all leases of a process that is known to be gone."""
        ...

    def update_job(self, lease: Lease, **changes: Any) -> Job:
        """Write fields of a job. Raises Aborted if the lease is lost or a move is illegal."""
        ...

    def save_plan(self, lease: Lease, plan: Plan) -> None:
        """Keep the plan, once."""
        ...

    def load_plan(self, job_id: str) -> Plan | None:
        """The plan, if the job has got that far."""
        ...

    def finish_part(self, lease: Lease, number: int, result: Any) -> None:
        """Keep the one result of a part that counts, as JSON. Raises Aborted."""
        ...

    def finished_parts(self, job_id: str) -> dict[int, Any]:
        """Results, as JSON values, by part number."""
        ...


class ModelStore(Protocol):
    """Registered models."""

    def add_model(self, model: Model) -> Model:
        """Keep a model version and make it the default one of its model."""
        ...

    def get_model(self, parent: Parent, model_id: str, version: str | None = None) -> Model:
        """``version`` is an id or an alias; None means the default version. Raises NotFound."""
        ...

    def list_models(self, parent: Parent) -> Sequence[Model]:
        """The default version of each model, newest first."""
        ...


class OperationStore(Protocol):
    """Long-running operations, which are finished by the time they are kept."""

    def add(self, parent: Parent, operation_id: str, body: dict[str, Any]) -> None:
        """Keep a finished operation as the API shows it."""
        ...

    def get(self, parent: Parent, operation_id: str) -> dict[str, Any]:
        """Raises NotFound."""
        ...

    def list(self, parent: Parent) -> Sequence[dict[str, Any]]:
        """Newest first."""
        ...

    def delete(self, parent: Parent, operation_id: str) -> None:
        """Raises NotFound."""
        ...
