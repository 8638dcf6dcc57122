"""What a training process is told: a pipeline's inputs in the terms of ``rowcast.training``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pyarrow.parquet as pq

from rowcast.core.tables import TableName
from rowcast.storage.objects import UNREADABLE
from rowcast.training.request import Objective, Request, SplitRule

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rowcast.core.dataset import Dataset
    from rowcast.core.pipeline import PipelineSpec, TrainingTask
    from rowcast.core.schema import PredictionType
    from rowcast.storage.objects import Objects
    from rowcast.warehouse import Warehouse


@dataclass(frozen=True)
class Order:
    """One training. Pickles."""

    files: tuple[str, ...]
    request: Request
    folder: str
    """Where the model is to be written; it does not exist."""


def training_files(dataset: Dataset, objects: Objects, folder: Path) -> tuple[str, ...]:
    """Find the files of a dataset, each once, in the order of its URIs.

    Objects of an object store are copied to ``folder`` first.

    Raises
    ------
    NotFound, FailedPrecondition, PermissionDenied
        If a URI names no object, or one that cannot be read.
    """
    found = [item for uri in dataset.spec.uris for item in objects.list(uri)]
    for item in found:
        if item.version == UNREADABLE:
            objects.stat(item.uri)  # says why
    return tuple(dict.fromkeys(str(objects.fetch(item.uri, folder)) for item in found))


def write_training_table(uri: str, warehouse: Warehouse, path: Path) -> None:
    """Write a warehouse table, as it is at this moment, as a Parquet file.

    Raises
    ------
    NotFound, FailedPrecondition
        If there is no such table.
    """
    with (
        warehouse.scan(TableName.parse(uri)) as reader,
        pq.ParquetWriter(path, reader.schema) as writer,
    ):
        for batch in reader:
            writer.write_batch(batch)


def training_request(spec: PipelineSpec, name: str, node_hour_s: float) -> Request:
    """Say what is asked of training.

    Parameters
    ----------
    spec
        A pipeline's, checked.
    name
        Display name of the model.
    node_hour_s
        Seconds that a node hour of the budget buys.
    """
    task = spec.task
    own = task.extension
    request = Request(
        target=task.target,
        name=name,
        budget_s=budget_s(task, node_hour_s),
        trials=own.trials,
        prediction_type=cast("PredictionType", task.prediction_type),
        objective=cast("Objective", task.objective) if task.objective else None,
        objective_value=task.recall_value if task.precision_value is None else task.precision_value,
        transformations=_transformations(task),
        weight=task.weight or None,
        split=_split(spec),
        seed=own.seed,
        drop_null_target=own.drop_null_target,
        early_stopping=not task.disable_early_stopping,
        max_scoring_cost=own.max_scoring_cost,
        interval_level=own.interval_level or Request.interval_level,
    )
    request.check()
    return request


def budget_s(task: TrainingTask, node_hour_s: float) -> float:
    """Seconds that a training may take."""
    own = task.extension.budget_s
    if own is not None:
        return own
    return task.budget_milli_node_hours / 1000 * node_hour_s or Request.budget_s


def cost_milli_node_hours(task: TrainingTask, seconds: float, node_hour_s: float) -> int:
    """What a training took, in the unit of budgets; never more than its budget, if it has one."""
    cost = max(1, round(seconds / node_hour_s * 1000))
    if task.extension.trials is not None:
        return cost
    budget = round(budget_s(task, node_hour_s) / node_hour_s * 1000)
    return min(cost, max(1, budget))


def _transformations(task: TrainingTask) -> Mapping[str, Mapping[str, object]] | None:
    """None: all columns, as they look."""
    return {
        rule.column: {
            "kind": rule.kind,
            "invalid_values_allowed": rule.invalid_values_allowed,
            "time_format": rule.time_format or None,
        }
        for rule in task.transformations
    } or None


def _split(spec: PipelineSpec) -> SplitRule:
    split = spec.split
    if split is None:
        return SplitRule()
    return SplitRule(split.kind, split.key or None, split.training, split.validation, split.test)
