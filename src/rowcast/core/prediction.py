"""What a model says about rows: scores, values with bounds, attributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from rowcast.core.batch import Batch, RowError


@dataclass(frozen=True)
class Predictions:
    """A model's answer for n rows: either ``scores``, or ``value`` with its bounds."""

    scores: np.ndarray | None = None
    """float64 of shape (n, n_classes); rows sum to 1, columns in class order."""
    value: np.ndarray | None = None
    """float64 of shape (n,), in the target's unit."""
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None
    """float64 of shape (n,); lower <= value <= upper. NaN for a model that has no interval."""

    def __len__(self) -> int:
        arrays = self.value if self.scores is None else self.scores
        return 0 if arrays is None else len(arrays)

    def take(self, rows: np.ndarray) -> Predictions:
        """The answers of some rows, by number or by mask."""
        kept = (
            None if array is None else array[rows]
            for array in (self.scores, self.value, self.lower, self.upper)
        )
        return Predictions(*kept)

    def deciding(self) -> np.ndarray:
        """The number that a row is judged by: float64 of shape (n,).

        That is the value; of two classes the second one's score; of more the highest score.
        """
        if self.scores is None:
            return np.asarray(self.value)
        second = self.scores.shape[1] == 2
        return self.scores[:, 1] if second else self.scores.max(axis=1, initial=0.0)


@dataclass(frozen=True)
class Attributions:
    """Why n rows got their answer, for k explained outputs each (one for regression)."""

    feature_names: tuple[str, ...]
    values: np.ndarray
    """float64 of shape (n, k, n_features), in the unit of the output."""
    baseline_output: np.ndarray
    """float64 of shape (n, k): the model's output for the baseline row."""
    instance_output: np.ndarray
    """float64 of shape (n, k): the model's output for the row."""
    approximation_error: np.ndarray
    """float64 of shape (n, k)."""
    output_index: np.ndarray
    """int64 of shape (n, k): index of the class; -1 for regression."""

    @classmethod
    def none(cls, feature_names: tuple[str, ...]) -> Self:
        """Those of no row."""
        empty = np.empty((0, 1))
        values = np.empty((0, 1, len(feature_names)))
        return cls(feature_names, values, empty, empty, empty, np.empty((0, 1), np.int64))


@dataclass(frozen=True)
class Scored:
    """A batch with its outcome: each row is in ``scored_rows`` or in ``errors``, never both."""

    batch: Batch
    scored_rows: np.ndarray
    """int64, ascending: indices in ``batch`` of the rows of ``predictions``."""
    predictions: Predictions
    errors: tuple[RowError, ...]
    """Ascending by index, one a row."""
    attributions: Attributions | None = None
    explained: np.ndarray | None = None
    """int64, ascending: the rows of ``predictions`` that ``attributions`` are of. None: all."""
