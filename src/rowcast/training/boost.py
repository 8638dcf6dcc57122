"""Growing forests with LightGBM: settings, early stopping, and the clock."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.predictors.boosted import import_lightgbm

if TYPE_CHECKING:
    from lightgbm import Booster

SMALL_ROWS = 5_000
"""Below this many rows several threads cost more than they bring."""
MOST_ROUNDS = 4_000
PATIENCE = 60
LEAST_GAIN = 1e-5
"""What counts as better: so much of a log loss, or so large a share of a larger loss."""
_HEADER_END = "end of trees"

CANDIDATES: dict[str, dict[str, Any]] = {
    "medium": {
        "num_leaves": 31,
        "learning_rate": 0.05,
        "feature_fraction": 0.7,
        "min_data_in_leaf": 20,
        "lambda_l2": 2.0,
    },
    "small": {
        "num_leaves": 10,
        "learning_rate": 0.06,
        "feature_fraction": 0.5,
        "min_data_in_leaf": 15,
        "lambda_l2": 5.0,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
    },
    "large": {
        "num_leaves": 63,
        "learning_rate": 0.04,
        "feature_fraction": 0.5,
        "min_data_in_leaf": 20,
        "lambda_l2": 10.0,
        "bagging_fraction": 0.9,
        "bagging_freq": 1,
    },
}
"""Sizes to try. At most 63 leaves and 255 bins, for the scorer."""

SPREAD: dict[str, Any] = {
    "num_leaves": 15,
    "learning_rate": 0.05,
    "feature_fraction": 0.7,
    "min_data_in_leaf": 20,
    "lambda_l2": 5.0,
}
SPREAD_ROUNDS = 150


@dataclass(frozen=True)
class Task:
    """What LightGBM is to learn."""

    objective: str
    metric: str
    outputs: int
    """Columns of the margins."""

    @classmethod
    def of(cls, n_classes: int) -> Task:
        """Choose by the number of classes; 0 for regression."""
        if n_classes == 0:
            return cls("regression", "rmse", 1)
        if n_classes == 2:
            return cls("binary", "binary_logloss", 1)
        return cls("multiclass", "multi_logloss", n_classes)


@dataclass(frozen=True)
class Rows:
    """A matrix with what it should lead to."""

    matrix: np.ndarray
    target: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Grown:
    """A forest, and how it came to its size."""

    booster: Booster
    rounds: int
    """Rounds kept: the best ones, or all without held-out rows."""
    loss: float
    """Of the held-out rows after that many rounds; NaN without them."""
    seconds: float
    rounds_run: int
    cut_short: bool
    """The clock ended it."""

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Score rows: shape (n_rows,) or (n_rows, outputs)."""
        return np.asarray(
            self.booster.predict(
                matrix,
                raw_score=True,
                num_iteration=self.rounds,
                num_threads=_threads(len(matrix)),
            )
        )

    def text(self) -> str:
        """The forest as LightGBM text, without the settings it was grown with."""
        whole = self.booster.model_to_string(num_iteration=self.rounds, importance_type="split")
        return str(whole.partition(_HEADER_END)[0]) + _HEADER_END + "\n"


def grow(
    task: Task,
    settings: dict[str, Any],
    train: Rows,
    held: Rows | None,
    *,
    rounds: int = MOST_ROUNDS,
    seconds: float,
    seed: int,
    early_stopping: bool = True,
) -> Grown:
    """Grow a forest until it stops getting better on ``held``, or rounds or time run out.

    The same arguments give the same forest as long as time does not run out first. At least one
    round is run.
    """
    lightgbm = import_lightgbm()
    started = time.monotonic()
    threads = _threads(len(train.matrix))
    parameters = {
        **settings,
        "objective": task.objective,
        "metric": task.metric,
        "max_bin": 255,
        "num_threads": threads,
        "deterministic": True,
        "force_row_wise": True,
        "seed": seed,
        "verbosity": -1,
        "min_data_in_leaf": max(1, min(settings["min_data_in_leaf"], len(train.matrix) // 20)),
    }
    if task.objective == "multiclass":
        parameters["num_class"] = task.outputs
    data = lightgbm.Dataset(
        train.matrix,
        train.target,
        weight=train.weights,
        params={"verbosity": -1, "max_bin": 255, "num_threads": threads},
    )
    watch = _Watch(started + seconds, PATIENCE if early_stopping else MOST_ROUNDS)
    valid = [] if held is None else [data.create_valid(held.matrix, held.target)]
    booster = lightgbm.train(
        parameters, data, rounds, valid_sets=valid, callbacks=[watch], keep_training_booster=True
    )
    return Grown(
        booster,
        watch.best_round if valid else watch.rounds,
        watch.best_loss if valid else float("nan"),
        time.monotonic() - started,
        watch.rounds,
        watch.cut_short,
    )


def _threads(rows: int) -> int:
    return 1 if rows < SMALL_ROWS else os.cpu_count() or 1


class _Watch:
    """LightGBM callback: remembers the best round, and stops after it or by the clock."""

    def __init__(self, deadline: float, patience: int) -> None:
        self.deadline, self.patience = deadline, patience
        self.rounds, self.best_round, self.best_loss = 0, 0, float("inf")
        self.cut_short = False

    def __call__(self, env: Any) -> None:
        stop = import_lightgbm().callback.EarlyStopException
        self.rounds = env.iteration + 1
        if env.evaluation_result_list:
            loss = float(env.evaluation_result_list[0][2])
            least = LEAST_GAIN * max(1.0, self.best_loss) if self.best_round else 0.0
            if not self.best_round or loss < self.best_loss - least:
                self.best_round, self.best_loss = self.rounds, loss
            if self.rounds - self.best_round >= self.patience:
                raise stop(env.iteration, env.evaluation_result_list)
        if time.monotonic() > self.deadline:
            self.cut_short = True
            raise stop(env.iteration, env.evaluation_result_list)
