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

from rowcast.errors import InvalidRequest, ModelDamaged

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVEL = 0.95
LEVELS = np.append(np.arange(50, 100) / 100, 0.995)
"""Levels whose quantiles a model keeps; between them, quantiles are interpolated."""
PREFIX = "interval."


@dataclass(frozen=True)
class Bounds:
    """The two quantiles of one level, and how small a typical error may be."""

    low: float
    """Lower quantile of residual / scale; at most 0."""
    high: float
    """Upper quantile of residual / scale; at least 0."""
    floor: float
    """Least scale, in the unit of the margins; above 0."""

    def around(self, value: np.ndarray, spread: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Bound each value from below and above; lower <= value <= upper.

        ``spread`` is each row's typical error; without one it is 1 for all.
        """
        scale = np.ones(len(value)) if spread is None else np.maximum(spread, self.floor)
        return value + self.low * scale, value + self.high * scale


@dataclass(frozen=True)
class Quantiles:
    """Bounds for every level, as a model folder keeps them."""

    low: np.ndarray
    """float64, for each of LEVELS; not above 0, descending."""
    high: np.ndarray
    """float64, for each of LEVELS; not below 0, ascending."""
    floor: float

    @classmethod
    def measure(cls, ratios: np.ndarray, floor: float) -> Quantiles:
        """Take them from held-out residuals in units of their scale."""
        pairs = np.array([signed_quantiles(ratios, float(level)) for level in LEVELS])
        return cls(
            np.minimum.accumulate(pairs[:, 0]), np.maximum.accumulate(pairs[:, 1]), float(floor)
        )

    def at(self, level: float) -> Bounds:
        """Find the bounds of a level.

        Raises
        ------
        InvalidRequest
            If the level is not from 0.5 to 0.995.
        """
        if not LEVELS[0] <= level <= LEVELS[-1]:
            raise InvalidRequest(
                f"The level of an interval is from {LEVELS[0]} to {LEVELS[-1]}, not {level}."
            )
        low, high = (float(np.interp(level, LEVELS, side)) for side in (self.low, self.high))
        return Bounds(low, high, self.floor)

    def arrays(self) -> dict[str, np.ndarray]:
        """What a model folder keeps."""
        return {
            PREFIX + "low": self.low,
            PREFIX + "high": self.high,
            PREFIX + "floor": np.array([self.floor]),
        }

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Quantiles:
        """Read what ``arrays`` made.

        Raises
        ------
        ModelDamaged
            If they are not there, or a bound would lie on the wrong side of the value.
        """
        found = [arrays.get(PREFIX + name) for name in ("low", "high", "floor")]
        low, high, floor = found
        if low is None or high is None or floor is None:
            raise ModelDamaged("The model's arrays lack the interval's quantiles.")
        if low.shape != LEVELS.shape or high.shape != LEVELS.shape or floor.shape != (1,):
            raise ModelDamaged("The interval's quantiles have the wrong shape.")
        if not ((low <= 0).all() and (high >= 0).all() and floor[0] > 0):
            raise ModelDamaged("The interval's quantiles are on the wrong side of zero.")
        return cls(low, high, float(floor[0]))


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
