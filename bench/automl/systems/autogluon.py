"""AutoGluon with a preset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from autogluon.tabular import TabularPredictor

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from bench.automl.systems import Terms
    from bench.datasets import TableSet


class AutoGluon:
    """Models are kept in memory for predicting, and only what predicting needs is counted."""

    packages = ("autogluon.tabular", "lightgbm", "catboost", "xgboost-cpu", "torch", "fastai")

    def __init__(self, preset: str) -> None:
        self.preset = preset

    def fit(self, table: TableSet, terms: Terms, folder: Path) -> None:
        self._classes = table.classes
        self.predictor = TabularPredictor(
            label=table.target,
            problem_type=table.kind,
            eval_metric="log_loss" if table.classes else "root_mean_squared_error",
            path=str(folder / "trained"),
        ).fit(
            table.train,
            time_limit=terms.budget_s,
            presets=self.preset,
            num_cpus=terms.cores,
            num_gpus=0,
        )

    def save(self, folder: Path) -> Path:
        self.predictor.persist()
        return Path(self.predictor.clone_for_deployment(str(folder / "deployed")))

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        if not self._classes:
            return self.predictor.predict(frame).to_numpy()
        return self.predictor.predict_proba(frame)[self._classes].to_numpy()
