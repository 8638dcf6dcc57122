"""What the target says of each row, and which values say most about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_MEANS = 10
NEARLY_ALL = 0.98
"""A value in more of the rows tells too little to have a flag."""


@dataclass(frozen=True)
class Outcome:
    """What the target says, as the encoder uses it."""

    values: np.ndarray
    """float64 of shape (n_rows, m): the value, whether it is the second class, or a flag per
    class; m = 0 above ten classes."""
    names: tuple[str, ...]
    weights: np.ndarray
    """float64 of shape (n_rows,)."""

    def take(self, rows: np.ndarray) -> Outcome:
        """Keep some rows."""
        return Outcome(self.values[rows], self.names, self.weights[rows])

    def without_values(self) -> Outcome:
        """Say nothing of the target: no column is made from it."""
        return Outcome(self.values[:, :0], (), self.weights)

    @classmethod
    def of_value(cls, values: np.ndarray, weights: np.ndarray) -> Outcome:
        """Make it from a quantity."""
        return cls(values[:, None], ("mean",), weights)

    @classmethod
    def of_classes(cls, codes: np.ndarray, classes: Sequence[str], weights: np.ndarray) -> Outcome:
        """Make it from class numbers."""
        n = len(classes)
        chosen = [1] if n == 2 else list(range(n)) if n <= MOST_MEANS else []
        flags = np.stack([codes == k for k in chosen], axis=1) if chosen else codes[:, None][:, :0]
        return cls(
            flags.astype(np.float64), tuple(f"share of {classes[k]!r}" for k in chosen), weights
        )


def telling_codes(
    rows: np.ndarray, codes: np.ndarray, n_codes: int, outcome: Outcome
) -> np.ndarray:
    """Sort codes by how much the outcome of their rows differs from the average, in errors.

    Codes from ``n_codes`` on are not looked at, and those in nearly all rows left out. Without an
    average (many classes) the most frequent come first; ties go to the smaller code.
    """
    pairs = np.unique(rows * (n_codes + 1) + np.minimum(codes, n_codes))
    row, code = np.divmod(pairs, n_codes + 1)
    counts = np.bincount(code, minlength=n_codes + 1)
    worth = counts.astype(np.float64)
    for j in range(outcome.values.shape[1]):
        values = outcome.values[:, j]
        centred = values - values.mean()
        sums = np.bincount(code, centred[row], n_codes + 1)
        errors = np.abs(sums) / (np.sqrt(np.maximum(counts, 1)) * (centred.std() + 1e-300))
        worth = errors if j == 0 else np.maximum(worth, errors)
    usable = np.flatnonzero(counts[:n_codes] <= NEARLY_ALL * len(outcome.weights))
    return np.asarray(usable[np.argsort(-worth[usable], kind="stable")])
