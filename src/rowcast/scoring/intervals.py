"""Bounds around a predicted value, from how far held-out values lay from theirs.

A row's typical error is estimated by a small model of the absolute residual; the bounds are the
value plus two signed quantiles of the held-out residuals in units of it. Coverage is that of the
held-out rows, which the model file records: the guarantee of split conformal prediction holds for
a model that is not refitted afterwards, while ours is, on all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

LEVEL = 0.95


@dataclass(frozen=True)
class Bounds:
    """The two quantiles, and how small a typical error may be."""

    low: float
    """2.5 % quantile of residual / scale; at most 0."""
    high: float
    """97.5 % quantile of residual / scale; at least 0."""
    floor: float
    """Least scale, in the target's unit; above 0."""

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Bounds:
        """Read what ``ModelSpec.details`` says."""
        return cls(float(details["low"]), float(details["high"]), float(details["floor"]))

    def scale(self, spread: np.ndarray | None, rows: int) -> np.ndarray:
        """Typical error of each row: the small model's, or 1 for all without one."""
        return np.ones(rows) if spread is None else np.maximum(spread, self.floor)

    def around(self, value: np.ndarray, spread: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Bound each value from below and above; lower <= value <= upper."""
        scale = self.scale(spread, len(value))
        return value + self.low * scale, value + self.high * scale


def signed_quantiles(residuals: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """Quantiles between which a new residual falls with probability ``level``.

    Each tail takes the order statistic that split conformal prediction asks for, rounded
    outwards, so n residuals cover at least ``level`` of further ones if all are exchangeable.
    With too few residuals the extremes are taken.

    References
    ----------
    Lei, G'Sell, Rinaldo, Tibshirani & Wasserman (2018), JASA 113(523).
    """
    ordered = np.sort(residuals)
    n = len(ordered)
    if n == 0:
        return 0.0, 0.0
    tail = int(np.floor((1 - level) / 2 * (n + 1)))
    low, high = ordered[max(tail - 1, 0)], ordered[min(n - tail, n - 1)]
    return min(float(low), 0.0), max(float(high), 0.0)
