"""A table in, a model folder's content out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import PredictionType
    from rowcast.training.data import Source
    from rowcast.training.infer import Transformation


class Progress(Protocol):
    """Told how training gets on. It may raise to call the training off."""

    def __call__(self, stage: str, fraction: float, message: str) -> None:
        """Take note: ``fraction`` of the whole work is done, from 0 to 1."""
        ...


@dataclass(frozen=True)
class TrainedModel:
    """A model that is not saved yet: ``write_model(folder, model.spec, model.members)``."""

    spec: ModelSpec
    members: dict[str, bytes]
    report: dict[str, Any] = field(default_factory=dict)
    """``spec.training``, and what differs from run to run: seconds, by stage and in total. The
    same data, seed and settings give the same spec and members as long as the time budget does
    not cut the training short (``report["cut_short"]``)."""


def train(
    source: Source,
    *,
    target: str,
    name: str,
    budget_s: float = 60,
    prediction_type: PredictionType | None = None,
    transformations: Mapping[str, str | Mapping[str, object] | Transformation] | None = None,
    weight: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    drop_null_target: bool = False,
    early_stopping: bool = True,
) -> TrainedModel:
    """Train a model on a table.

    The rows are split at random, 80 % to learn from, 10 % to tell when to stop and which settings
    are best, 10 % to measure on; tables below 10,000 rows are cross-validated instead of the
    former two. The model is then fitted to all rows.

    Parameters
    ----------
    source
        A path or paths (``.csv``, ``.jsonl``, ``.parquet``, text also ``.gz`` and ``.zst``), or a
        pandas, Polars or Arrow table.
    target
        The column to predict.
    name
        Display name of the model.
    budget_s
        Seconds for everything. Kept within 10 %, or one round of trees where that is longer.
    prediction_type
        ``classification`` or ``regression``; chosen from the target if not given.
    transformations
        Column to ``numeric``, ``categorical``, ``timestamp``, ``text`` or ``auto``, or to the
        fields of ``rowcast.training.infer.Transformation``. Columns without one are not used;
        None means ``auto`` for all.
    weight
        Column with each row's weight, 0 to 10,000; rows of weight 0 are not used.
    seed
        Of everything random.
    progress
        Called now and then.
    drop_null_target
        Leave rows without a target out instead of refusing the table.
    early_stopping
        Stop once the held-out rows get no better.

    Raises
    ------
    InvalidRequest
        If the data or the settings do not allow a model; the message names column and row.
    NotFound
        If a file does not exist.
    """
    from rowcast.training.fit import fit
    from rowcast.training.request import Request

    return fit(
        source,
        Request(
            target=target,
            name=name,
            budget_s=budget_s,
            prediction_type=prediction_type,
            transformations=transformations,
            weight=weight,
            seed=seed,
            drop_null_target=drop_null_target,
            early_stopping=early_stopping,
        ),
        progress,
    )


__all__ = ["Progress", "TrainedModel", "train"]
