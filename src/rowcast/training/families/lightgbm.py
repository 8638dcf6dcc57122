"""Trees grown leaf by leaf, with LightGBM."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.training.families import CannotFit, Fitted, Limits, Settings, cut
from rowcast.training.families.watch import Watch
from rowcast.training.task import Rows, Task, bins_for, threads_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import ModuleType

    from rowcast.scoring.forest import Forest
    from rowcast.training.families import Draw

MOST_LEAVES = 63
"""For the scorer, whose cost grows with leaves."""
_OBJECTIVES = {
    "log-loss": ("binary", "binary_logloss"),
    "squared": ("regression", "rmse"),
    "absolute": ("regression_l1", "l1"),
}
_HEADER_END = "end of trees"
_UNUSED_BY_LIGHTGBM = ("sklearn", "pandas", "dask", "matplotlib")
_OPENMP_WAITS = "GOMP_SPINCOUNT"


class LightGbm:
    """See ``Family``."""

    iterative = True
    round_seconds = 2e-4
    cell_seconds = 4.5e-9
    travel = 25.0

    def fit(
        self, task: Task, settings: Mapping[str, Any], train: Rows, held: Rows | None, to: Limits
    ) -> Fitted:
        """See ``Family.fit``."""
        lightgbm = import_lightgbm()
        watch = Watch(to)
        threads = threads_for(len(train))
        fixed = {"verbosity": -1, "max_bin": bins_for(len(train)), "num_threads": threads}
        data = lightgbm.Dataset(train.matrix, train.target, weight=train.weights, params=fixed)
        valid = [] if held is None else [data.create_valid(held.matrix, held.target)]

        def stop(env: Any) -> None:
            losses = env.evaluation_result_list
            if watch.stops(float(losses[0][2]) if losses else None):
                raise lightgbm.callback.EarlyStopException(env.iteration, losses)

        try:
            booster = lightgbm.train(
                {**_parameters(task, settings, train, to.seed), **fixed},
                data,
                to.rounds,
                valid_sets=valid,
                callbacks=[stop],
                keep_training_booster=True,
            )
        except lightgbm.basic.LightGBMError as error:
            raise CannotFit(f"LightGBM: {cut(error)}") from error
        kept = watch.kept

        def margins(matrix: np.ndarray) -> np.ndarray:
            raw = booster.predict(
                matrix, raw_score=True, num_iteration=kept, num_threads=threads_for(len(matrix))
            )
            return np.asarray(raw).reshape(len(matrix), task.outputs)

        def export() -> Forest:
            text = str(booster.model_to_string(num_iteration=kept, importance_type="split"))
            return read_lightgbm((text.partition(_HEADER_END)[0] + _HEADER_END + "\n").encode())

        return Fitted(margins, export, kept, watch.rounds, watch.seconds, watch.cut_short)

    def suggest(self, draw: Draw) -> Settings:
        """See ``Family.suggest``."""
        return {
            "num_leaves": draw.suggest_int("num_leaves", 6, MOST_LEAVES, log=True),
            "min_data_in_leaf": draw.suggest_int("min_data_in_leaf", 2, 100, log=True),
            "feature_fraction": draw.suggest_float("feature_fraction", 0.3, 1.0),
            "bagging_fraction": draw.suggest_float("bagging_fraction", 0.5, 1.0),
            "bagging_freq": 1,
            "lambda_l2": draw.suggest_float("lambda_l2", 1e-2, 50.0, log=True),
            "extra_trees": bool(draw.suggest_int("extra_trees", 0, 1)),
        }

    def steps(self, settings: Mapping[str, Any]) -> float:
        """See ``Family.steps``."""
        return float(settings["num_leaves"])


def _parameters(task: Task, settings: Mapping[str, Any], train: Rows, seed: int) -> Settings:
    objective, metric = _OBJECTIVES[task.loss]
    if task.outputs > 1:
        objective, metric = "multiclass", "multi_logloss"
    least = max(1, min(int(settings.get("min_data_in_leaf", 20)), len(train) // 20))
    parameters = {
        **settings,
        "objective": objective,
        "metric": metric,
        "deterministic": True,
        "force_col_wise": True,
        "seed": seed,
        "min_data_in_leaf": least,
    }
    if task.outputs > 1:
        parameters["num_class"] = task.outputs
    return parameters


def import_lightgbm() -> ModuleType:
    """Import LightGBM without what it merely supports, and with threads that soon wait asleep.

    It looks for scikit-learn and pandas when imported, which takes seconds: in a process of our
    own nobody else could want them, so they are hidden from it; in a user's notebook it is left
    as it is. Its OpenMP threads spin by default while they wait for each other, which makes
    training ten times slower on a machine that has other work; to sleep at once makes it five
    times slower on one that has none. A short spin costs little on either.
    """
    if "lightgbm" in sys.modules:
        return import_module("lightgbm")
    main: Any = getattr(sys.modules.get("__main__"), "__spec__", None)
    ours = main is not None and str(main.name).startswith("rowcast.")
    hidden = [name for name in _UNUSED_BY_LIGHTGBM if ours and name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))
    chosen = os.environ.get(_OPENMP_WAITS)
    os.environ.setdefault(_OPENMP_WAITS, "1000")
    try:
        return import_module("lightgbm")
    finally:
        for name in hidden:
            del modules[name]
        if chosen is None:
            del os.environ[_OPENMP_WAITS]
