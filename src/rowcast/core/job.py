"""A batch prediction job: what was asked for, how it stands, and the legal moves.

Field by field this is Vertex AI's ``BatchPredictionJob`` (v1); ``Extension`` holds what
rowcast adds to it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from rowcast.core.caller import OWNER, Caller
from rowcast.core.drift import Drift
from rowcast.core.names import Parent
from rowcast.core.summary import Summary


class JobState(StrEnum):
    """The states of a job; the values are the API's names."""

    QUEUED = "JOB_STATE_QUEUED"
    PENDING = "JOB_STATE_PENDING"
    RUNNING = "JOB_STATE_RUNNING"
    SUCCEEDED = "JOB_STATE_SUCCEEDED"
    FAILED = "JOB_STATE_FAILED"
    CANCELLING = "JOB_STATE_CANCELLING"
    CANCELLED = "JOB_STATE_CANCELLED"

    @property
    def finished(self) -> bool:
        """Whether the job has come to its end."""
        return self in FINISHED


FINISHED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})

MOVES: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset(
        {JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING, JobState.FAILED}
    ),
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.FAILED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLING}),
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}
"""From each state, the states a job may enter next."""


@dataclass(frozen=True)
class InputSpec:
    """``inputConfig`` and ``instanceConfig``."""

    format: str
    """``instancesFormat``: csv, jsonl, bigquery, or the extension parquet."""
    uris: tuple[str, ...] = ()
    instance_type: str | None = None
    """object or array; JSONL only. None lets each line say."""
    key_field: str | None = None
    """Column that stands in the output as ``key`` in place of the input columns."""
    included_fields: tuple[str, ...] = ()
    excluded_fields: tuple[str, ...] = ()
    table: str = ""
    """``bigquerySource.inputUri``: ``bq://project.dataset.table``, in place of ``uris``."""


@dataclass(frozen=True)
class OutputSpec:
    """``outputConfig``."""

    format: str
    """``predictionsFormat``: csv, jsonl, bigquery, or the extension parquet."""
    uri_prefix: str = ""
    tables: str = ""
    """``bigqueryDestination.outputUri``: ``bq://project`` or ``bq://project.dataset``, in place
    of ``uri_prefix``."""


@dataclass(frozen=True)
class MachineSpec:
    """``dedicatedResources.machineSpec``, stored and echoed."""

    machine_type: str = ""
    accelerator_type: str = ""
    accelerator_count: int = 0


@dataclass(frozen=True)
class ReplicaSpec:
    """``dedicatedResources``: how many replicas a job starts with, and may have at most."""

    machine: MachineSpec
    starting: int = 1
    maximum: int = 10


@dataclass(frozen=True)
class Extension:
    """``rowcast``: what rowcast adds to the request. Absent, a request is plain Vertex AI."""

    row_number_column: str | None = None
    """Output column that holds each row's number in the input, from 1."""
    output_name: str | None = None
    """Write one predictions object of this name, and one errors object ``errors_<name>``."""
    retry_of: str | None = None
    """Score the rows that failed in this finished job again."""
    skip_drift: bool = False
    """Do not compare the input with the training data of the model."""
    skip_summary: bool = False
    """Do not sum the results up."""
    attribution_columns: bool = False
    """CSV: write attributions as columns, ``<feature>_attribution``."""
    max_explanations: int | None = None
    """Keep only so many features of each explained output, those that matter most."""
    threshold_high: float | None = None
    """Explain only rows whose output is at least this, or at most ``threshold_low``."""
    threshold_low: float | None = None
    interval_columns: bool = False
    """CSV: write the bounds of a predicted value as columns."""
    interval_level: float | None = None
    """Share of true values that the bounds are to hold; None leaves it to the model."""


@dataclass(frozen=True)
class JobSpec:
    """All input fields of a job, immutable once it is created."""

    display_name: str
    model: str
    input: InputSpec
    output: OutputSpec
    replicas: ReplicaSpec | None = None
    batch_size: int | None = None
    """Rows scored together; None lets rowcast choose. Results do not depend on it."""
    generate_explanation: bool = False
    explanation_spec: dict[str, Any] | None = None
    """``explanationSpec`` as JSON, camelCase."""
    model_parameters: dict[str, Any] | None = None
    service_account: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    kms_key_name: str = ""
    disable_container_logging: bool = False
    model_monitoring_config: dict[str, Any] | None = None
    extension: Extension = field(default_factory=Extension)


@dataclass(frozen=True)
class Status:
    """A google.rpc.Status without details."""

    code: int
    message: str


CANCELLED = Status(1, "CANCELED")
"""The error of every cancelled job."""


@dataclass(frozen=True)
class Stats:
    """``completionStats``, in rows."""

    successful: int = 0
    failed: int = 0
    incomplete: int = -1
    """Rows not attempted; -1 while the input has not been counted."""


@dataclass(frozen=True)
class ModelVersion:
    """The model version that a job was created with."""

    model_id: str
    version_id: str
    display_name: str
    folder: str
    """Where its files are."""
    digest: str
    """SHA-256 of its ``model.json``; any other bytes are refused."""


@dataclass(frozen=True)
class Job:
    """A job as the store knows it."""

    id: str
    parent: Parent
    spec: JobSpec
    model: ModelVersion
    state: JobState
    created: datetime
    updated: datetime
    started: datetime | None = None
    """First entry into RUNNING."""
    ended: datetime | None = None
    error: Status | None = None
    partial_failures: tuple[Status, ...] = ()
    stats: Stats | None = None
    output_directory: str | None = None
    """``outputInfo.gcsOutputDirectory``."""
    output_dataset: str | None = None
    """``outputInfo.bigqueryOutputDataset``: ``bq://project.dataset``."""
    output_table: str | None = None
    """``outputInfo.bigqueryOutputTable``: the name of the predictions table in it."""
    replica_hours: float = 0.0
    cancel_requested: bool = False
    causes: dict[str, int] = field(default_factory=dict)
    """Failed rows by cause."""
    drift: Drift | None = None
    """How its input differs from the training data of its model; set at the job's end."""
    summary: Summary | None = None
    """Its results in short; set at the job's end."""
    created_by: Caller = OWNER
    """Whose permissions it needs when it runs."""

    @property
    def name(self) -> str:
        """The resource name."""
        return self.parent.child("batchPredictionJobs", self.id)

    @property
    def output_known(self) -> bool:
        """Whether it has been decided where the results go: the job has run."""
        return self.output_directory is not None or self.output_table is not None
