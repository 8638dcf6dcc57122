"""Oblivious trees, with CatBoost."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.scoring.formats.catboost import read_catboost
from rowcast.training.families import CannotFit, Fitted, Limits, Settings, cut
from rowcast.training.families.watch import Watch
from rowcast.training.task import Rows, Task, threads_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.scoring.forest import Forest
    from rowcast.training.families import Draw

_OBJECTIVES = {"log-loss": "Logloss", "squared": "RMSE", "absolute": "MAE"}


class CatBoost:
    """See ``Family``."""

    iterative = True
    round_seconds = 8e-4
    cell_seconds = 4.5e-9
    travel = 60.0

    def fit(
        self, task: Task, settings: Mapping[str, Any], train: Rows, held: Rows | None, to: Limits
    ) -> Fitted:
        """See ``Family.fit``."""
        import catboost

        watch = Watch(to)
        objective = "MultiClass" if task.outputs > 1 else _OBJECTIVES[task.loss]

        class Stop:
            def after_iteration(self, info: Any) -> bool:
                losses = info.metrics.get("validation", {}).get(objective)
                return not watch.stops(losses[-1] if losses else None)

        parameters = {
            **settings,
            "loss_function": objective,
            "iterations": to.rounds,
            "random_seed": to.seed,
            "thread_count": threads_for(len(train)),
            "boosting_type": "Plain",
            "allow_writing_files": False,
            "verbose": False,
        }
        if task.outputs > 1:
            parameters["classes_count"] = task.outputs
        model = catboost.CatBoost(parameters)
        try:
            model.fit(
                _pool(train, train.weights),
                eval_set=None if held is None else _pool(held, None),
                use_best_model=False,
                callbacks=[Stop()],
            )
        except catboost.CatBoostError as error:
            raise CannotFit(f"CatBoost: {cut(error)}") from error
        kept = watch.kept
        if kept < model.tree_count_:
            model.shrink(kept)

        def margins(matrix: np.ndarray) -> np.ndarray:
            raw = model.predict(
                _float32(matrix),
                prediction_type="RawFormulaVal",
                thread_count=threads_for(len(matrix)),
            )
            return np.asarray(raw, np.float64).reshape(len(matrix), task.outputs)

        def export() -> Forest:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.json"
                model.save_model(str(path), format="json")
                return read_catboost(path.read_bytes())

        return Fitted(margins, export, kept, watch.rounds, watch.seconds, watch.cut_short)

    def suggest(self, draw: Draw) -> Settings:
        """See ``Family.suggest``."""
        return {
            "depth": draw.suggest_int("depth", 4, 8),
            "l2_leaf_reg": draw.suggest_float("l2_leaf_reg", 0.5, 30.0, log=True),
            "random_strength": draw.suggest_float("random_strength", 0.1, 5.0, log=True),
            "bagging_temperature": draw.suggest_float("bagging_temperature", 0.0, 1.0),
            "bootstrap_type": "Bayesian",
        }

    def steps(self, settings: Mapping[str, Any]) -> float:
        """See ``Family.steps``."""
        return 2.0 * float(settings["depth"])


def _pool(rows: Rows, weights: np.ndarray | None) -> Any:
    import catboost

    return catboost.Pool(_float32(rows.matrix), rows.target, weight=weights)


def _float32(matrix: np.ndarray) -> np.ndarray:
    """Column by column, which CatBoost reads fastest."""
    return np.asfortranarray(matrix, dtype=np.float32)
