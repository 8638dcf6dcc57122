"""Real tables, read and split the same way for every system.

Runs in the peers' environments too, so it needs nothing but pandas and numpy.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from pathlib import Path

TEST_SHARE = 0.2
DATE = r"\d{4}-\d{2}-\d{2}(?:[T ].*)?"


@dataclass(frozen=True)
class TableSet:
    """A table with a target, split into rows to train on and rows to be judged by."""

    name: str
    target: str
    kind: str
    """binary, multiclass or regression."""
    train: pd.DataFrame
    """With the target: text for classes, float64 for values. Dates are datetime64."""
    test: pd.DataFrame
    """The same columns."""

    @property
    def classes(self) -> list[str]:
        """Sorted; empty for regression."""
        return [] if self.kind == "regression" else sorted(self.train[self.target].unique())

    @property
    def features(self) -> list[str]:
        """All columns but the target."""
        return [name for name in self.train.columns if name != self.target]

    @property
    def truth(self) -> np.ndarray:
        """Of the test rows: values, or indices into ``classes``."""
        if self.kind == "regression":
            return self.test[self.target].to_numpy(float)
        return np.searchsorted(self.classes, self.test[self.target].to_numpy(str))

    def rows(self, count: int) -> pd.DataFrame:
        """Repeat the test rows' features until there are ``count``."""
        places = np.resize(np.arange(len(self.test)), count)
        return self.test[self.features].iloc[places].reset_index(drop=True)


def set_names(data: Path, kind: str | None = None) -> list[str]:
    """Name the sets of a folder, in the order of its ``manifest.json``."""
    manifest = json.loads((data / "manifest.json").read_text())
    return [name for name, entry in manifest.items() if kind in (None, entry["type"])]


def load_set(data: Path, name: str) -> TableSet:
    """Read a gzipped CSV file; drop rows without a target, then split."""
    entry = json.loads((data / "manifest.json").read_text())[name]
    target, kind = entry["target"], entry["type"]
    frame = pd.read_csv(
        data / entry["file"],
        keep_default_na=False,
        na_values=[""],
        dtype=None if kind == "regression" else {target: str},
    )
    frame = frame[frame[target].notna()].reset_index(drop=True)
    if kind == "regression":
        frame[target] = frame[target].astype(float)
    for column in text_columns(frame):
        texts = frame[column].dropna()
        if column != target and len(texts) and texts.str.fullmatch(DATE).all():
            frame[column] = pd.to_datetime(frame[column], utc=True).dt.tz_localize(None)
    tested = np.random.default_rng(0).random(len(frame)) < TEST_SHARE
    parts = (frame[~tested].reset_index(drop=True), frame[tested].reset_index(drop=True))
    return TableSet(name, target, kind, *parts)


def text_columns(frame: pd.DataFrame) -> list[str]:
    """Name the columns of strings, whatever this release of pandas calls their type."""
    return [name for name in frame.columns if pd.api.types.is_string_dtype(frame[name].dtype)]


def log_loss(scores: np.ndarray, truth: np.ndarray) -> float:
    """Mean negative log of the score that the true class got; rows are made to sum to 1."""
    scores = np.clip(np.asarray(scores, float), 1e-15, None)
    scores /= scores.sum(axis=1, keepdims=True)
    return float(-np.log(scores[np.arange(len(truth)), truth]).mean())


def root_mean_squared_error(values: np.ndarray, truth: np.ndarray) -> float:
    """In the target's unit."""
    return float(np.sqrt(np.mean((np.asarray(values, float) - truth) ** 2)))
