"""FLAML with its defaults."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from flaml import AutoML

from bench.datasets import text_columns

if TYPE_CHECKING:
    from pathlib import Path

    from bench.automl.systems import Terms
    from bench.datasets import TableSet


class Flaml:
    """Text comes as pandas categories, whose codes are those of the training rows."""

    packages = ("flaml", "lightgbm", "xgboost-cpu", "catboost")

    def fit(self, table: TableSet, terms: Terms, folder: Path) -> None:  # noqa: ARG002
        features = table.train[table.features]
        self._levels = {
            name: pd.CategoricalDtype(sorted(features[name].dropna().unique()))
            for name in text_columns(features)
        }
        self._classes = table.classes
        self.automl = AutoML()
        self.automl.fit(
            X_train=features.astype(self._levels),
            y_train=table.train[table.target].to_numpy(),
            task="classification" if table.classes else "regression",
            metric="log_loss" if table.classes else "rmse",
            time_budget=terms.budget_s,
            n_jobs=terms.cores,
            seed=terms.seed,
            verbose=2,
        )

    def save(self, folder: Path) -> Path:
        path = folder / "automl.pkl"
        path.write_bytes(pickle.dumps(self.automl))  # the way its documents say
        return path

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        frame = frame.astype(self._levels)
        if not self._classes:
            return np.asarray(self.automl.predict(frame))
        order = [list(map(str, self.automl.classes_)).index(name) for name in self._classes]
        return np.asarray(self.automl.predict_proba(frame))[:, order]
