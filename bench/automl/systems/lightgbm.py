"""One LightGBM, tuned by Optuna: what a practitioner does without an AutoML system."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import optuna
import pandas as pd

from bench.datasets import text_columns

if TYPE_CHECKING:
    from pathlib import Path

    from bench.automl.systems import Terms
    from bench.datasets import TableSet

OBJECTIVES = {"binary": "binary", "multiclass": "multiclass", "regression": "regression"}
HOLDOUT = 0.2
MOST_ROUNDS = 5_000
PATIENCE = 50
REFIT_ROUNDS = 1.1
REFIT_COST = REFIT_ROUNDS / (1 - HOLDOUT)
"""Seconds of the refit for each second of the trial, which saw fewer rows for fewer rounds."""
UNIQUE = 0.95
"""A text column with more different values than this share of the rows is an id."""


@dataclass(frozen=True)
class Best:
    """The best trial so far."""

    loss: float
    settings: dict[str, Any]
    rounds: int
    seconds: float


class TunedLightgbm:
    """Seven parameters, early stopping on a holdout, one refit on all rows within the budget."""

    packages = ("lightgbm", "optuna")

    def fit(self, table: TableSet, terms: Terms, folder: Path) -> None:  # noqa: ARG002
        self._ends = time.monotonic() + terms.budget_s
        self._best: Best | None = None
        self._ids = [
            name
            for name in text_columns(table.train[table.features])
            if table.train[name].nunique() > UNIQUE * len(table.train)
        ]
        self._fixed = {
            "objective": OBJECTIVES[table.kind],
            "metric": "rmse" if table.kind == "regression" else "",
            "num_class": len(table.classes) if table.kind == "multiclass" else 1,
            "bagging_freq": 1,
            "num_threads": terms.cores,
            "seed": terms.seed,
            "verbosity": -1,
            "feature_pre_filter": False,
        }
        matrix = self._encode(table.train[table.features])
        target = table.train[table.target].to_numpy()
        if table.classes:
            target = np.searchsorted(table.classes, target.astype(str))
        held = np.random.default_rng(terms.seed).random(len(target)) < HOLDOUT
        inner = lightgbm.Dataset(matrix[~held], target[~held], params=self._fixed)
        outer = inner.create_valid(matrix[held], target[held])
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=terms.seed))
        study.enqueue_trial({"learning_rate": 0.1, "num_leaves": 31, "min_child_samples": 20})
        study.optimize(
            lambda trial: self._try(trial, inner, outer),
            timeout=terms.budget_s,
            callbacks=[lambda study, _: study.stop() if self._must_stop(0.0) else None],
        )
        best = self._found()
        everything = lightgbm.Dataset(matrix, target, params=self._fixed)
        rounds = round(REFIT_ROUNDS * best.rounds)
        self.booster = lightgbm.train({**self._fixed, **best.settings}, everything, rounds)

    def save(self, folder: Path) -> Path:
        path = folder / "model.lgb.txt"  # the categories' names are in it
        self.booster.save_model(path)
        return path

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        answers = np.asarray(self.booster.predict(self._encode(frame)))
        if self._fixed["objective"] == "binary":
            return np.column_stack([1 - answers, answers])
        return answers

    def _encode(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Text to categories, which LightGBM matches by name; dates to their parts."""
        columns: dict[str, Any] = {}
        texts = set(text_columns(frame))
        for name in frame.columns:
            column = frame[name]
            if name in self._ids:
                continue
            if name in texts:
                columns[name] = column.astype("category")
            elif pd.api.types.is_datetime64_any_dtype(column.dtype):
                columns[name] = (column - pd.Timestamp(0)) / pd.Timedelta(days=1)
                for part in ("year", "month", "day", "dayofweek", "dayofyear", "hour"):
                    columns[f"{name}.{part}"] = getattr(column.dt, part)
            else:
                columns[name] = column
        return pd.DataFrame(columns)

    def _try(self, trial: optuna.Trial, inner: lightgbm.Dataset, outer: lightgbm.Dataset) -> float:
        settings = {
            "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
            "num_leaves": trial.suggest_int("num_leaves", 8, 256, log=True),
            "min_child_samples": trial.suggest_int("min_child_samples", 1, 200, log=True),
            "feature_fraction": trial.suggest_float("feature_fraction", 0.4, 1.0),
            "bagging_fraction": trial.suggest_float("bagging_fraction", 0.5, 1.0),
            "lambda_l1": trial.suggest_float("lambda_l1", 1e-8, 10, log=True),
            "lambda_l2": trial.suggest_float("lambda_l2", 1e-8, 10, log=True),
        }
        started = time.monotonic()

        def watch(env: lightgbm.callback.CallbackEnv) -> None:
            if self._must_stop(time.monotonic() - started):
                raise lightgbm.callback.EarlyStopException(
                    env.iteration, env.evaluation_result_list
                )

        watch.order = 40  # type: ignore[attr-defined]  # after the loss of the round is known
        losses: dict[str, dict[str, list[float]]] = {}
        booster = lightgbm.train(
            {**self._fixed, **settings},
            inner,
            MOST_ROUNDS,
            valid_sets=[outer],
            callbacks=[
                lightgbm.record_evaluation(losses),
                lightgbm.early_stopping(PATIENCE, verbose=False),
                watch,
            ],
        )
        (curve,) = losses["valid_0"].values()
        rounds = int(np.argmin(curve)) + 1
        seconds = (time.monotonic() - started) * rounds / max(1, booster.current_iteration())
        if self._best is None or curve[rounds - 1] < self._best.loss:
            self._best = Best(curve[rounds - 1], settings, rounds, seconds)
        return curve[rounds - 1]

    def _must_stop(self, running_s: float) -> bool:
        """Whether the time that is left is just enough for the refit."""
        best = self._best.seconds if self._best else 0.0
        return self._ends - time.monotonic() < REFIT_COST * max(best, running_s)

    def _found(self) -> Best:
        if self._best is None:
            raise RuntimeError("no trial ended within the budget")
        return self._best
