"""Create, get, list, cancel, delete: what the API does with training pipelines."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rowcast.access.guard import OwnerOnly, require_data
from rowcast.core.caller import OWNER
from rowcast.core.dataset import data_of
from rowcast.core.labels import MAX_DISPLAY_NAME, display_name_fault, label_faults
from rowcast.core.names import ModelName, Parent, new_id
from rowcast.core.pipeline import Pipeline, PipelineSpec, PipelineState
from rowcast.errors import AlreadyExists, InvalidRequest, Violation
from rowcast.registry.service import alias_violations
from rowcast.registry.versions import MODEL_ID
from rowcast.training.request import BINARY_OBJECTIVES, REGRESSION_OBJECTIVES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rowcast.access.guard import Guard
    from rowcast.core.caller import Caller
    from rowcast.stores import DatasetStore, ModelStore, PipelineStore

DEFINITIONS = ("automl_tabular_1.0.0.yaml", "automl_tables_1.0.0.yaml")
LEAST_BUDGET, MOST_BUDGET = 1000, 72_000
"""Milli node hours."""
OBJECTIVES = {"classification": BINARY_OBJECTIVES, "regression": REGRESSION_OBJECTIVES}
"""Whether a target has two classes is known once the data is read."""
_NEED_RECALL, _NEED_PRECISION = "maximize-precision-at-recall", "maximize-recall-at-precision"


class PipelineService:
    """Checks requests and keeps pipelines. No data is touched when a pipeline is created.

    Parameters
    ----------
    wake : callable
        Called when a pipeline is ready to be claimed, or is to be cancelled.
    guard : Guard
        Asked whether callers may read the data they train on; they are asked again when it runs.
    """

    def __init__(
        self,
        *,
        store: PipelineStore,
        datasets: DatasetStore,
        models: ModelStore,
        wake: Callable[[], None] = lambda: None,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or OwnerOnly()
        self._store = store
        self._datasets = datasets
        self._models = models
        self._wake = wake

    def create(self, parent: Parent, spec: PipelineSpec, *, by: Caller = OWNER) -> Pipeline:
        """Check a request and keep it as a PENDING pipeline.

        Raises
        ------
        InvalidRequest
            With every violation.
        NotFound
            If the dataset or the parent model does not exist.
        AlreadyExists
            If the model id is taken.
        PermissionDenied
            If the caller may not read the dataset's data.
        """
        violations = self.violations(parent, spec)
        if violations:
            raise InvalidRequest.listing(violations)
        self._check_model(parent, spec)
        dataset = self._datasets.get(parent, spec.dataset_id)
        require_data(self._guard, by, reads=data_of(dataset))
        now = datetime.now(UTC)
        pipeline = Pipeline(new_id(), parent, spec, PipelineState.PENDING, now, now, created_by=by)
        pipeline = self._store.create(pipeline)
        self._wake()
        return pipeline

    def get(self, parent: Parent, pipeline_id: str) -> Pipeline:
        """Raises NotFound."""
        return self._store.get(parent, pipeline_id)

    def list(self, parent: Parent) -> Sequence[Pipeline]:
        """Newest first."""
        return self._store.list(parent)

    def cancel(self, parent: Parent, pipeline_id: str) -> Pipeline:
        """Ask a pipeline to stop; no model appears. Raises NotFound, FailedPrecondition."""
        pipeline = self._store.request_cancel(parent, pipeline_id, datetime.now(UTC))
        self._wake()
        return pipeline

    def delete(self, parent: Parent, pipeline_id: str) -> None:
        """Forget a finished pipeline; its model stays. Raises NotFound, FailedPrecondition."""
        self._store.delete(parent, pipeline_id)

    def violations(self, parent: Parent, spec: PipelineSpec) -> Sequence[Violation]:
        """Everything that is wrong with a request, apart from names of unknown resources."""
        return [
            Violation(*fault)
            for check in (
                self._names,
                self._data,
                self._columns,
                self._effort,
                self._objective,
                self._model,
            )
            for fault in check(parent, spec)
        ]

    def _names(self, _: Parent, spec: PipelineSpec) -> Iterator[tuple[str, str]]:
        if fault := display_name_fault(spec.display_name):
            yield "display_name", fault
        yield from label_faults(spec.labels)
        if not spec.task_definition:
            yield "training_task_definition", "is required"
        elif spec.task_definition.rpartition("/")[2] not in DEFINITIONS:
            yield "training_task_definition", f"must end in /{' or /'.join(DEFINITIONS)}"

    def _data(self, _: Parent, spec: PipelineSpec) -> Iterator[tuple[str, str]]:
        if not spec.dataset_id:
            yield "input_data_config.dataset_id", "is required"
        split = spec.split
        if split is None:
            return
        field = f"input_data_config.{split.kind}_split"
        if split.kind != "fraction" and not split.key:
            yield f"{field}.key", "is required"
        shares = {
            "training": split.training, "validation": split.validation, "test": split.test
        }  # fmt: skip
        given = {name: share for name, share in shares.items() if share is not None}
        for name, share in given.items():
            if not 0 <= share <= 1:
                yield f"{field}.{name}_fraction", "must be from 0 to 1"
        if sum(given.values()) > 1 + 1e-9:
            yield field, "the fractions must be at most 1 in sum"

    def _columns(self, _: Parent, spec: PipelineSpec) -> Iterator[tuple[str, str]]:
        task, at = spec.task, "training_task_inputs"
        if not task.prediction_type:
            yield f"{at}.prediction_type", "is required: classification or regression"
        elif task.prediction_type not in OBJECTIVES:
            yield f"{at}.prediction_type", "must be classification or regression"
        if not task.target:
            yield f"{at}.target_column", "is required"
        times = Counter(rule.column for rule in task.transformations)
        for i, rule in enumerate(task.transformations):
            field = f"{at}.transformations[{i}]"
            if not rule.kind:
                continue  # what is wrong with it was said when it was read
            if not rule.column:
                yield f"{field}.{_snake(rule.kind)}.column_name", "is required"
            elif rule.column == task.target:
                yield field, f"the target {rule.column!r} must not have a transformation"
            elif times[rule.column] > 1:
                yield field, f"the column {rule.column!r} has more than one transformation"
        if task.weight and task.weight == task.target:
            yield f"{at}.weight_column_name", "must not be the target"

    def _effort(self, _: Parent, spec: PipelineSpec) -> Iterator[tuple[str, str]]:
        task, at = spec.task, "training_task_inputs"
        own, budget = task.extension, task.budget_milli_node_hours
        needed = budget or (own.budget_s is None and own.trials is None)
        if needed and not LEAST_BUDGET <= budget <= MOST_BUDGET:
            yield (
                f"{at}.train_budget_milli_node_hours",
                f"is required, from {LEAST_BUDGET} to {MOST_BUDGET}, or rowcast.budget_seconds or "
                "rowcast.trials instead",
            )
        if own.budget_s is not None and budget:
            yield f"{at}.rowcast.budget_seconds", "excludes train_budget_milli_node_hours"
        if own.budget_s is not None and not 0 < own.budget_s < float("inf"):
            yield f"{at}.rowcast.budget_seconds", "must be above 0"
        if own.trials is not None and own.trials < 1:
            yield f"{at}.rowcast.trials", "must be at least 1"
        if own.max_scoring_cost is not None and not own.max_scoring_cost > 0:
            yield f"{at}.rowcast.max_scoring_cost", "must be above 0"
        if own.interval_level is not None and not 0.5 <= own.interval_level <= 0.995:
            yield f"{at}.rowcast.interval_level", "must be from 0.5 to 0.995"
        if task.export is not None:
            yield (
                f"{at}.export_evaluated_data_items_config",
                "is not offered yet: there is no warehouse to write to",
            )

    def _objective(self, _: Parent, spec: PipelineSpec) -> Iterator[tuple[str, str]]:
        task, at = spec.task, "training_task_inputs"
        known = OBJECTIVES.get(task.prediction_type)
        if task.objective and known and task.objective not in known:
            yield (
                f"{at}.optimization_objective",
                f"of {task.prediction_type} is one of {', '.join(known)}",
            )
        for name, value, objective in (
            ("recall", task.recall_value, _NEED_RECALL),
            ("precision", task.precision_value, _NEED_PRECISION),
        ):
            field = f"{at}.optimization_objective_{name}_value"
            if task.objective == objective and value is None:
                yield field, f"is required with {objective}, from 0 to 1"
            elif task.objective != objective and value is not None:
                yield field, f"goes with {objective} only"
            elif value is not None and not 0 <= value <= 1:
                yield field, "must be from 0 to 1"

    def _model(self, parent: Parent, spec: PipelineSpec) -> Iterator[tuple[str, str]]:
        model = spec.model
        if len(model.display_name) > MAX_DISPLAY_NAME:
            yield "model_to_upload.display_name", f"has at most {MAX_DISPLAY_NAME} characters"
        for field, description in label_faults(model.labels):
            yield f"model_to_upload.{field}", description
        for violation in alias_violations(model.version_aliases, "model_to_upload.version_aliases"):
            yield violation.field, violation.description
        if spec.model_id and spec.parent_model:
            yield "model_id", "is not allowed with parent_model, whose id the version gets"
        elif spec.model_id and not MODEL_ID.fullmatch(spec.model_id):
            yield (
                "model_id",
                "has 1 to 63 lowercase letters, digits, '_' or '-', the first not a digit or '-'",
            )
        if spec.parent_model:
            try:
                name = ModelName.parse(spec.parent_model, parent)
            except InvalidRequest as error:
                yield "parent_model", str(error)
            else:
                if name.parent != parent:
                    yield "parent_model", f"must be in {parent}, as the pipeline"

    def _check_model(self, parent: Parent, spec: PipelineSpec) -> None:
        """See that the model to extend is there, or that the model to be is not."""
        if spec.parent_model:
            self._models.get_model(parent, ModelName.parse(spec.parent_model, parent).model)
        if not spec.model_id:
            return
        if self._models.model_versions(parent, spec.model_id):
            raise AlreadyExists(
                f"{parent.child('models', spec.model_id)} exists; name it as parent_model to add "
                "a version."
            )
        for other in self._store.list(parent):
            if other.spec.model_id == spec.model_id and not other.state.finished:
                raise AlreadyExists(f"{other.name} is about to make model {spec.model_id}.")


def _snake(kind: str) -> str:
    """``repeatedNumeric`` as fields are named in violations."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind)
