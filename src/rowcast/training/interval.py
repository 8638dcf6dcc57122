"""Calibrating the bounds of values on rows that no member has seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.intervals import LEVEL, Quantiles
from rowcast.scoring.program import Program
from rowcast.training.families import Limits, open_family
from rowcast.training.task import Rows, Task

if TYPE_CHECKING:
    from rowcast.scoring.forest import Forest

SPREAD = {
    "num_leaves": 15,
    "learning_rate": 0.05,
    "feature_fraction": 0.7,
    "min_data_in_leaf": 20,
    "lambda_l2": 5.0,
}
SPREAD_ROUNDS = 150
LEAST_ROWS = 200
"""Held-out rows below which a typical error is the same for all rows."""
MOST_ROWS = 30_000
FOLDS = 3
LEAST_COMPARED = 1_000
"""Rows of each kind from which the residuals of two fits are compared."""


@dataclass(frozen=True)
class HeldOut:
    """Rows that were predicted by members that had not seen them."""

    matrix: np.ndarray
    residuals: np.ndarray
    """True minus predicted margins, in the target's unit."""

    def joined(self, later: HeldOut) -> HeldOut:
        """Put residuals of a later fit, which had more rows to learn from, beside these.

        The later fit errs less, and so will the one that is served: these residuals are brought
        to the later ones' size, by the ratio of their means, where there are enough to tell.
        """
        residuals = self.residuals
        if min(len(residuals), len(later.residuals)) >= LEAST_COMPARED:
            sizes = [float(np.abs(kind.residuals).mean()) for kind in (self, later)]
            residuals = residuals * (sizes[1] / sizes[0] if min(sizes) > 0 else 1.0)
        return HeldOut(
            np.concatenate([self.matrix, later.matrix]),
            np.concatenate([residuals, later.residuals]),
        )

    def some(self, seed: int) -> HeldOut:
        """Keep as many as a small model needs."""
        if len(self.residuals) <= MOST_ROWS:
            return self
        drawn = np.random.default_rng([seed, 3]).permutation(len(self.residuals))[:MOST_ROWS]
        rows = np.sort(drawn)
        return HeldOut(self.matrix[rows], self.residuals[rows])


@dataclass(frozen=True)
class Calibrated:
    """What a model needs for its bounds, and how good they are."""

    quantiles: Quantiles
    spread: Forest | None
    facts: dict[str, float]


def calibrate_interval(held: HeldOut, seed: int, level: float = LEVEL) -> Calibrated:
    """Calibrate bounds on held-out residuals, and measure their coverage.

    The small model of the absolute residual is cross-fitted for calibration, and coverage is
    measured on each fold with the quantiles of the others. The served model is refitted on all
    rows, so its own coverage is expected, not guaranteed, to be the same.
    """
    held = held.some(seed)
    n = len(held.residuals)
    sizes = np.abs(held.residuals)
    floor = max(float(np.quantile(sizes, 0.5)) / 5, float(sizes.max()) * 1e-6, 1e-300)
    places = np.random.default_rng([seed, 4]).permutation(n) % FOLDS
    spread, scales = None, np.ones(n)
    if n >= LEAST_ROWS:
        for k in range(FOLDS):
            inside = _spread(held.matrix[places != k], sizes[places != k], seed)
            scales[places == k] = Program(inside).margins(held.matrix[places == k])[:, 0]
        scales = np.maximum(scales, floor)
        spread = _spread(held.matrix, sizes, seed)
    ratios = held.residuals / scales
    covered = np.zeros(n, np.bool_)
    for k in range(FOLDS):
        bounds = Quantiles.measure(ratios[places != k], floor).at(level)
        covered[places == k] = (ratios[places == k] >= bounds.low) & (
            ratios[places == k] <= bounds.high
        )
    quantiles = Quantiles.measure(ratios, floor)
    bounds = quantiles.at(level)
    facts = {
        "level": level,
        "heldOutRows": n,
        "heldOutCoverage": float(covered.mean()),
        "meanWidth": float(((bounds.high - bounds.low) * scales).mean()),
    }
    return Calibrated(quantiles, spread, facts)


def _spread(matrix: np.ndarray, sizes: np.ndarray, seed: int) -> Forest:
    rows = Rows(matrix, sizes, np.ones(len(sizes)))
    task = Task("squared", 0, "identity")
    limits = Limits(SPREAD_ROUNDS, float("inf"), seed, SPREAD_ROUNDS)
    fitted = open_family("lightgbm").fit(task, SPREAD, rows, None, limits)
    return fitted.export()  # type: ignore[return-value]  # LightGBM's members are forests
