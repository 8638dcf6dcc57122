"""Trees grown level by level, with XGBoost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.scoring.formats.xgboost import read_xgboost
from rowcast.training.families import CannotFit, Fitted, Limits, Settings, cut
from rowcast.training.families.watch import Watch
from rowcast.training.task import Rows, Task, bins_for, threads_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.scoring.forest import Forest
    from rowcast.training.families import Draw

_OBJECTIVES = {
    "log-loss": ("binary:logistic", "logloss"),
    "squared": ("reg:squarederror", "rmse"),
    "absolute": ("reg:absoluteerror", "mae"),
}


class XgBoost:
    """See ``Family``."""

    iterative = True
    round_seconds = 6e-4
    cell_seconds = 5e-9
    travel = 25.0

    def fit(
        self, task: Task, settings: Mapping[str, Any], train: Rows, held: Rows | None, to: Limits
    ) -> Fitted:
        """See ``Family.fit``."""
        import xgboost

        watch = Watch(to)
        threads, bins = threads_for(len(train)), bins_for(len(train)) + 1
        data = xgboost.QuantileDMatrix(
            train.matrix, train.target, weight=train.weights, max_bin=bins, nthread=threads
        )
        valid = []
        if held is not None:
            made = xgboost.QuantileDMatrix(
                held.matrix, held.target, ref=data, max_bin=bins, nthread=threads
            )
            valid = [(made, "held")]

        class Stop(xgboost.callback.TrainingCallback):  # type: ignore[misc]
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
                losses = next(iter(evals_log["held"].values())) if valid else [None]
                return watch.stops(losses[-1])

        try:
            booster = xgboost.train(
                {**_parameters(task, settings, to.seed), "nthread": threads, "max_bin": bins},
                data,
                to.rounds,
                evals=valid,
                callbacks=[Stop()],
                verbose_eval=False,
            )
        except xgboost.core.XGBoostError as error:
            raise CannotFit(f"XGBoost: {cut(error)}") from error
        kept = watch.kept

        def margins(matrix: np.ndarray) -> np.ndarray:
            raw = booster.inplace_predict(
                matrix, iteration_range=(0, kept), predict_type="margin", strict_shape=True
            )
            return np.asarray(raw, np.float64).reshape(len(matrix), task.outputs)

        def export() -> Forest:
            return read_xgboost(bytes(booster[:kept].save_raw("json")))

        return Fitted(margins, export, kept, watch.rounds, watch.seconds, watch.cut_short)

    def suggest(self, draw: Draw) -> Settings:
        """See ``Family.suggest``."""
        return {
            "max_depth": draw.suggest_int("max_depth", 3, 7),
            "min_child_weight": draw.suggest_float("min_child_weight", 0.3, 30.0, log=True),
            "subsample": draw.suggest_float("subsample", 0.5, 1.0),
            "colsample_bytree": draw.suggest_float("colsample_bytree", 0.3, 1.0),
            "reg_lambda": draw.suggest_float("reg_lambda", 0.1, 30.0, log=True),
            "gamma": draw.suggest_float("gamma", 1e-4, 1.0, log=True),
        }

    def steps(self, settings: Mapping[str, Any]) -> float:
        """See ``Family.steps``."""
        return 0.7 * float(2 ** int(settings["max_depth"]))


def _parameters(task: Task, settings: Mapping[str, Any], seed: int) -> Settings:
    objective, metric = _OBJECTIVES[task.loss]
    parameters = {
        **settings,
        "objective": objective,
        "eval_metric": metric,
        "tree_method": "hist",
        "seed": seed,
        "verbosity": 0,
    }
    if task.outputs > 1:
        parameters |= {
            "objective": "multi:softprob",
            "eval_metric": "mlogloss",
            "num_class": task.outputs,
        }
    return parameters
