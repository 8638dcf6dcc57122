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
    from rowcast.training.request import Objective, SplitRule


class Progress(Protocol):
    """Told how training gets on. It may raise to call the training off.

    Stages are ``read``, ``encode``, ``search``, ``fit``, ``evaluate`` and ``done``, in this order;
    ``candidate`` in between says of a candidate how good it is.
    """

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
    trials: int | None = None,
    prediction_type: PredictionType | None = None,
    objective: Objective | None = None,
    objective_value: float | None = None,
    transformations: Mapping[str, str | Mapping[str, object] | Transformation] | None = None,
    weight: str | None = None,
    split: SplitRule | None = None,
    seed: int = 0,
    drop_null_target: bool = False,
    early_stopping: bool = True,
    max_scoring_cost: float | None = None,
    interval_level: float = 0.95,
    progress: Progress | None = None,
) -> TrainedModel:
    """Train a model on a table.

    Candidates (LightGBM, CatBoost, XGBoost, linear) are fitted to training rows and compared on
    validation rows, or by cross-validation where there are few; first with settings that have
    done well on many tables, then with settings drawn near the best ones. A few of them are
    weighted to an ensemble, which is measured on test rows and fitted again to all rows.

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
        Not all of it is used if tuning stops to help.
    trials
        Try exactly so many candidates, however long it takes, in place of ``budget_s``: the same
        data, seed and trials give the same model on the same kind of machine.
    prediction_type
        ``classification`` or ``regression``; chosen from the target if not given.
    objective
        What the model is to be the best at. Default: ``maximize-au-roc`` for two classes,
        ``minimize-log-loss`` for more, ``minimize-rmse`` for a value.
    objective_value
        The recall of ``maximize-precision-at-recall``, or the precision of its opposite.
    transformations
        Column to ``numeric``, ``categorical``, ``timestamp``, ``text`` or ``auto``, or to the
        fields of ``rowcast.training.infer.Transformation``. Columns without one are not used;
        None means ``auto`` for all.
    weight
        Column with each row's weight, 0 to 10,000; rows of weight 0 are not used. Weights count
        in learning, not in measuring.
    split
        How rows become training, validation and test rows. Default: 80/10/10 at random.
    seed
        Of everything random.
    drop_null_target
        Leave rows without a target out instead of refusing the table.
    early_stopping
        Stop growing, and stop tuning, once the held-out rows get no better.
    max_scoring_cost
        What scoring a row may cost, in microseconds on one thread of the machine that the guess
        was calibrated on; the ensemble is chosen within it.
    interval_level
        Share of true values that a regression model's intervals are to hold.
    progress
        Called now and then.

    Raises
    ------
    InvalidRequest
        If the data or the settings do not allow a model; the message names column and row.
    NotFound
        If a file does not exist.
    """
    from rowcast.training.fit import fit
    from rowcast.training.request import Request, SplitRule

    return fit(
        source,
        Request(
            target=target,
            name=name,
            budget_s=budget_s,
            trials=trials,
            prediction_type=prediction_type,
            objective=objective,
            objective_value=objective_value,
            transformations=transformations,
            weight=weight,
            split=split or SplitRule(),
            seed=seed,
            drop_null_target=drop_null_target,
            early_stopping=early_stopping,
            max_scoring_cost=max_scoring_cost,
            interval_level=interval_level,
        ),
        progress,
    )


__all__ = ["Progress", "TrainedModel", "train"]
