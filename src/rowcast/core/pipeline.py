"""A training pipeline: what was asked for, how it stands, and the legal moves.

Field by field this is Vertex AI's ``TrainingPipeline`` (v1) with the inputs of AutoML for
tables; ``TrainingExtension`` holds what rowcast adds to them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from rowcast.core.caller import OWNER, Caller
from rowcast.core.job import Status
from rowcast.core.names import Parent

SplitKind = Literal["fraction", "predefined", "timestamp", "stratified"]


class PipelineState(StrEnum):
    """The states of a pipeline; the values are the API's names."""

    QUEUED = "PIPELINE_STATE_QUEUED"
    PENDING = "PIPELINE_STATE_PENDING"
    RUNNING = "PIPELINE_STATE_RUNNING"
    SUCCEEDED = "PIPELINE_STATE_SUCCEEDED"
    FAILED = "PIPELINE_STATE_FAILED"
    CANCELLING = "PIPELINE_STATE_CANCELLING"
    CANCELLED = "PIPELINE_STATE_CANCELLED"

    @property
    def finished(self) -> bool:
        """Whether the pipeline has come to its end."""
        return self in PIPELINE_FINISHED


PIPELINE_FINISHED = frozenset(
    {PipelineState.SUCCEEDED, PipelineState.FAILED, PipelineState.CANCELLED}
)

PIPELINE_MOVES: dict[PipelineState, frozenset[PipelineState]] = {
    PipelineState.QUEUED: frozenset(
        {PipelineState.PENDING, PipelineState.CANCELLING, PipelineState.FAILED}
    ),
    PipelineState.PENDING: frozenset(
        {PipelineState.RUNNING, PipelineState.CANCELLING, PipelineState.FAILED}
    ),
    PipelineState.RUNNING: frozenset(
        {
            PipelineState.PENDING,  # its process has ended, and it waits for another
            PipelineState.SUCCEEDED,
            PipelineState.FAILED,
            PipelineState.CANCELLING,
        }
    ),
    PipelineState.CANCELLING: frozenset(
        {PipelineState.CANCELLED, PipelineState.SUCCEEDED, PipelineState.FAILED}
    ),
    PipelineState.SUCCEEDED: frozenset(),
    PipelineState.FAILED: frozenset(),
    PipelineState.CANCELLED: frozenset(),
}
"""From each state, the states a pipeline may enter next."""


@dataclass(frozen=True)
class ColumnRule:
    """One of ``transformations``."""

    kind: str
    """``auto``, ``numeric``, ``categorical``, ``timestamp``, ``text``, ``repeatedNumeric``,
    ``repeatedCategorical`` or ``repeatedText``."""
    column: str
    invalid_values_allowed: bool = False
    time_format: str = ""


@dataclass(frozen=True)
class SplitSpec:
    """The split of ``inputDataConfig``. Fractions that were not given are None."""

    kind: SplitKind
    key: str = ""
    training: float | None = None
    validation: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class ExportSpec:
    """``exportEvaluatedDataItemsConfig``."""

    destination: str = ""
    override: bool = False


@dataclass(frozen=True)
class TrainingExtension:
    """``trainingTaskInputs.rowcast``: what rowcast adds. Absent, the inputs are Vertex AI's."""

    budget_s: float | None = None
    """Seconds, instead of ``trainBudgetMilliNodeHours``."""
    trials: int | None = None
    """Exactly so many candidates, however long they take; the budget does not count then."""
    seed: int = 0
    max_scoring_cost: float | None = None
    interval_level: float | None = None
    drop_null_target: bool = False


@dataclass(frozen=True)
class TrainingTask:
    """``trainingTaskInputs``. What was not given is empty, 0 or None."""

    prediction_type: str
    target: str
    transformations: tuple[ColumnRule, ...] = ()
    budget_milli_node_hours: int = 0
    objective: str = ""
    recall_value: float | None = None
    precision_value: float | None = None
    weight: str = ""
    disable_early_stopping: bool = False
    export: ExportSpec | None = None
    experiments: tuple[str, ...] = ()
    extension: TrainingExtension = field(default_factory=TrainingExtension)


@dataclass(frozen=True)
class NewModel:
    """``modelToUpload``: the fields that a user may set."""

    display_name: str = ""
    description: str = ""
    version_description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    version_aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PipelineSpec:
    """All input fields of a pipeline, immutable once it is created."""

    display_name: str
    dataset_id: str
    task_definition: str
    task: TrainingTask
    split: SplitSpec | None = None
    model: NewModel = field(default_factory=NewModel)
    model_id: str = ""
    parent_model: str = ""
    """A model's id or resource name; with this, the model that is made is a version of it."""
    labels: dict[str, str] = field(default_factory=dict)
    kms_key_name: str = ""


@dataclass(frozen=True)
class TrainingProgress:
    """How far a running pipeline is."""

    stage: str
    fraction: float
    """Of the whole work, 0 to 1."""
    message: str = ""
    seconds_left: float = 0.0
    """Of the budget; 0 without one."""
    candidates: tuple[str, ...] = ()
    """A line for each candidate that was tried so far."""


@dataclass(frozen=True)
class MadeModel:
    """The model version that a pipeline made."""

    model_id: str
    version_id: str


@dataclass(frozen=True)
class Pipeline:
    """A pipeline as the store knows it."""

    id: str
    parent: Parent
    spec: PipelineSpec
    state: PipelineState
    created: datetime
    updated: datetime
    started: datetime | None = None
    """First entry into RUNNING."""
    ended: datetime | None = None
    error: Status | None = None
    cancel_requested: bool = False
    attempts: int = 0
    """Training processes that were started for it."""
    progress: TrainingProgress | None = None
    place: str | None = None
    """Where its model's folder is being put, before the model is registered."""
    made: MadeModel | None = None
    seconds: float = 0.0
    """What the training took that made the model."""
    leaderboard: tuple[dict[str, Any], ...] = ()
    """The candidates of the model, best first: name, family, loss, seconds, weight."""
    created_by: Caller = OWNER
    """Whose permissions it needs when it runs."""

    @property
    def name(self) -> str:
        """The resource name."""
        return self.parent.child("trainingPipelines", self.id)
