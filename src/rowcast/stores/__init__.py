"""Where jobs, models, datasets and pipelines are remembered: the seam, and what is behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from rowcast.core.job import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from rowcast.core.dataset import Dataset
    from rowcast.core.job import Job
    from rowcast.core.names import Parent
    from rowcast.core.pipeline import Pipeline
    from rowcast.core.plan import Plan
    from rowcast.core.token import Token


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
    description: str = ""
    version_description: str = ""
    pipeline: str | None = None
    """Resource name of the training pipeline that made it."""
    model_created: datetime | None = None
    """When the model's first version was made; None on the way in."""
    updated: datetime | None = None

    @property
    def name(self) -> str:
        """The resource name, without the version."""
        return self.parent.child("models", self.id)

    def pinned(self) -> ModelVersion:
        """The facts that a job keeps of it."""
        return ModelVersion(self.id, self.version_id, self.display_name, self.folder, self.digest)


@dataclass(frozen=True)
class Lease:
    """The right to drive one job or pipeline. A higher ``fence`` beats a lower one: every write
    of a driver names its fence, and is refused once another has taken over.
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

    def keep_reports(self, lease: Lease, reports: Mapping[str, bytes]) -> None:
        """Keep what a job says of its results, by name, as long as the job; once more is no
        harm. Raises Aborted.
        """
        ...

    def reports(self, job_id: str) -> dict[str, bytes]:
        """What was kept."""
        ...


class ModelStore(Protocol):
    """Registered models. Each method is one transaction."""

    def next_version(self, parent: Parent, model_id: str) -> str:
        """Take the next version id of a model, or of one to be; none is given out twice."""
        ...

    def add_model(self, model: Model, *, default: bool = True) -> Model:
        """Keep a model version; its aliases leave the versions that had them.

        It becomes the default version of its model if ``default`` is set, its aliases say so, or
        it is the first.
        """
        ...

    def get_model(self, parent: Parent, model_id: str, version: str | None = None) -> Model:
        """``version`` is an id or an alias; None means the default version. Raises NotFound."""
        ...

    def list_models(self, parent: Parent) -> Sequence[Model]:
        """The default version of each model, newest first."""
        ...

    def model_versions(self, parent: Parent, model_id: str) -> Sequence[Model]:
        """All versions of a model, newest first; none if it does not exist."""
        ...

    def update_model(self, model: Model, *, updated: datetime, **changes: Any) -> Model:
        """Change ``display_name``, ``description`` and ``labels`` of all versions, and
        ``version_description`` of the one given. Raises NotFound.
        """
        ...

    def merge_aliases(
        self, model: Model, add: Sequence[str], remove: Sequence[str], now: datetime
    ) -> Model:
        """Give a version further aliases, which leave the versions that had them, and take some
        away. Raises NotFound; FailedPrecondition if no version would be the default.
        """
        ...

    def delete_version(self, model: Model) -> None:
        """Forget one version. Raises NotFound; FailedPrecondition if it is the default version,
        or an unfinished job uses it.
        """
        ...

    def delete_model(self, parent: Parent, model_id: str) -> Sequence[Model]:
        """Forget all versions of a model, which are returned. Raises NotFound;
        FailedPrecondition if an unfinished job or pipeline uses it.
        """
        ...


class DatasetStore(Protocol):
    """Datasets. Each method is one transaction."""

    def create(self, dataset: Dataset) -> Dataset:
        """Keep a new dataset."""
        ...

    def get(self, parent: Parent, dataset_id: str) -> Dataset:
        """Raises NotFound."""
        ...

    def list(self, parent: Parent) -> Sequence[Dataset]:
        """Newest first."""
        ...

    def replace(self, dataset: Dataset, before: Dataset) -> None:
        """Put a dataset in the place of what it was. Raises Aborted if it is no longer that."""
        ...

    def delete(self, parent: Parent, dataset_id: str) -> None:
        """Raises NotFound; FailedPrecondition if an unfinished pipeline uses it."""
        ...


class PipelineStore(Protocol):
    """Training pipelines, driven like jobs. Each method is one transaction."""

    def create(self, pipeline: Pipeline) -> Pipeline:
        """Keep a new pipeline. Raises NotFound if its dataset is gone."""
        ...

    def get(self, parent: Parent, pipeline_id: str) -> Pipeline:
        """Raises NotFound."""
        ...

    def list(self, parent: Parent) -> Sequence[Pipeline]:
        """Newest first."""
        ...

    def delete(self, parent: Parent, pipeline_id: str) -> None:
        """Raises NotFound; FailedPrecondition if the pipeline is not finished."""
        ...

    def request_cancel(self, parent: Parent, pipeline_id: str, now: datetime) -> Pipeline:
        """Move to CANCELLING; a pipeline that nobody drives is CANCELLED at once.

        Raises NotFound; FailedPrecondition if the pipeline is finished.
        """
        ...

    def claim(
        self,
        owner: str,
        lease_until: float,
        pipeline_id: str | None = None,
        *,
        except_for: Sequence[str] = (),
    ) -> Lease | None:
        """Take the oldest unfinished pipeline (or the one named) that no living owner has."""
        ...

    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """Keep a lease. None if it is lost; else whether cancellation was requested."""
        ...

    def owners(self) -> set[str]:
        """Every process that holds a lease on an unfinished pipeline."""
        ...

    def release_owner(self, owner: str, now: datetime) -> None:
        """Free all leases of a process; what it ran is PENDING again."""
        ...

    def update(self, lease: Lease, **changes: Any) -> Pipeline:
        """Write fields of a pipeline. Raises Aborted if the lease is lost or a move is illegal."""
        ...

    def succeed(self, lease: Lease, model: Model, *, new: bool, **changes: Any) -> Pipeline:
        """Register the model that a pipeline made and end the pipeline, both or neither.

        Raises Aborted if the lease is lost; AlreadyExists if the model is to be ``new`` and
        there is one of this id; NotFound if it is to be a version of a model that is gone.
        """
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


class TokenStore(Protocol):
    """What is kept of tokens. Each method is one transaction."""

    def add(self, token: Token) -> None:
        """Keep a new token."""
        ...

    def get(self, token_id: str) -> Token:
        """Raises NotFound."""
        ...

    def by_digest(self, digest: str) -> Token | None:
        """Find the token whose secret has a SHA-256."""
        ...

    def list(self) -> Sequence[Token]:
        """Newest first."""
        ...

    def end(self, token_id: str, moment: datetime) -> None:
        """Let a token be valid until ``moment`` at most."""
        ...

    def note_use(self, token_id: str, moment: datetime) -> None:
        """Note that a token was shown."""
        ...
