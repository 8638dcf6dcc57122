"""What the handlers call: services made elsewhere, and the options of this server."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rowcast.access.guard import OwnerOnly
from rowcast.core.caller import OWNER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rowcast.access.guard import Guard
    from rowcast.core.caller import Caller
    from rowcast.core.job import Job, JobSpec
    from rowcast.core.names import Parent
    from rowcast.errors import Violation
    from rowcast.importing.uploads import UploadService
    from rowcast.jobs.loading import TableService
    from rowcast.pipelines.datasets import DatasetService
    from rowcast.pipelines.preview import PreviewService
    from rowcast.pipelines.service import PipelineService
    from rowcast.registry.service import ModelService
    from rowcast.storage.objects import Objects
    from rowcast.stores import Filter, OperationStore


class JobService(Protocol):
    """Batch prediction jobs, as the API's methods need them. Safe from any thread."""

    def create(
        self,
        parent: Parent,
        spec: JobSpec,
        request_id: str | None = None,
        *,
        by: Caller = OWNER,
    ) -> Job:
        """Check a job and start it; a repeated ``request_id`` answers the first one's job.

        Raises
        ------
        InvalidRequest
            Listing every violation.
        NotFound
            If the model, its version or its alias does not exist.
        PermissionDenied
            If the caller may not read the input, or write below the destination.
        """
        ...

    def violations(self, parent: Parent, spec: JobSpec) -> Sequence[Violation]:
        """List what ``create`` would refuse; raises where no list can be made, as it does."""
        ...

    def preflight(self, parent: Parent, spec: JobSpec, *, by: Caller = OWNER) -> dict[str, Any]:
        """Check a job against its model and its input without starting it.

        The report is made of JSON values with camelCase names. Raises what ``create`` raises,
        and what the job itself would fail with.
        """
        ...

    def get(self, parent: Parent, job_id: str) -> Job:
        """Raises NotFound."""
        ...

    def list(
        self,
        parent: Parent,
        *,
        where: Filter | None,
        limit: int,
        after: tuple[datetime, str] | None,
    ) -> Sequence[Job]:
        """Newest first, then by id; ``after`` is the (created, id) of the last one seen."""
        ...

    def reports(self, parent: Parent, job_id: str) -> dict[str, bytes]:
        """What a finished job says of its results, as JSON, by name. Raises NotFound."""
        ...

    def cancel(self, parent: Parent, job_id: str) -> object:
        """Raises NotFound; FailedPrecondition if the job is finished."""
        ...

    def delete(self, parent: Parent, job_id: str) -> None:
        """Raises NotFound; FailedPrecondition if the job is not finished."""
        ...


@dataclass(frozen=True)
class ServerOptions:
    """The settings that the handlers need."""

    default_location: str = "us-central1"
    """Accepted in paths besides every name that looks like a region of Google's."""
    allowed_hosts: tuple[str, ...] = ()
    """Further Host headers, each as ``name`` (any port) or ``name:port``."""
    max_request_bytes: int = 4 << 20
    requests_per_second: float = 0.0
    """Of one caller; 0 is no limit."""
    node_hour_s: float = 3600.0
    """Seconds that a node hour of a training budget buys."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Services:
    """Everything that a handler may use."""

    jobs: JobService
    models: ModelService
    datasets: DatasetService
    pipelines: PipelineService
    uploads: UploadService
    operations: OperationStore
    previews: PreviewService
    tables: TableService
    objects: Objects
    options: ServerOptions
    clock: Callable[[], datetime] = _now
    guard: Guard = field(default_factory=OwnerOnly)
    """Asked for every request whether its caller may do this."""
