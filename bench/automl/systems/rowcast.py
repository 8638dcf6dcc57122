"""Rowcast through its public Python API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import rowcast

if TYPE_CHECKING:
    import pandas as pd

    from bench.automl.systems import Terms
    from bench.datasets import TableSet


class Rowcast:
    """Column types are inferred; only the prediction type is said, as to every system."""

    packages = ("rowcast", "lightgbm", "catboost", "xgboost-cpu")

    def fit(self, table: TableSet, terms: Terms, folder: Path) -> None:
        self.model = rowcast.train(
            table.train,
            target=table.target,
            name="bench",
            home=folder,
            budget_s=terms.budget_s,
            prediction_type="regression" if table.kind == "regression" else "classification",
            seed=terms.seed,
        )
        facts = self.model.describe()
        if facts["classes"] != table.classes:
            raise AssertionError(f"other classes: {facts['classes']}")
        self.columns = max(1, len(table.classes))

    def save(self, folder: Path) -> Path:  # noqa: ARG002 - training has written it
        return Path(self.model.describe()["folder"])

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        answers = self.model.predict(frame)
        unscored = len(answers) - answers["error"].null_count
        if unscored:
            raise AssertionError(f"{unscored} rows were not scored")
        columns = [answers.column(i).to_numpy() for i in range(self.columns)]
        return columns[0] if self.columns == 1 else np.column_stack(columns)
