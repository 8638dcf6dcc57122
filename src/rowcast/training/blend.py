"""Members to one ensemble: greedy weights, and calibrated margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rowcast.training.goal import class_scores
from rowcast.training.reliability import log_loss

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.training.goal import Goal

STEPS = 25
MOST_MEMBERS = 4
LEAST_WEIGHT = 0.05
POOL = 14
"""Candidates that may become members: the best by themselves."""
MOST_CELLS = 400_000
"""Held-out rows times outputs that weights are chosen on."""
LEAST_ROWS = 200
"""Held-out rows below which scores stay as they are."""
WIDEST = 4.0
"""How far calibration may stretch or shrink margins."""


@dataclass(frozen=True)
class Blend:
    """Which candidates are members, and how much each counts."""

    weights: dict[int, float]
    """Candidate's position to its share; they sum to 1."""
    loss: float
    """Of the held-out rows."""

    def margins(self, of: Sequence[np.ndarray]) -> np.ndarray:
        """Add up the members' margins."""
        return np.asarray(sum(weight * of[i] for i, weight in self.weights.items()))


def greedy_blend(
    goal: Goal,
    margins: Sequence[np.ndarray],
    truth: np.ndarray,
    costs: Sequence[float],
    most_cost: float | None,
) -> Blend:
    """Add the candidate that helps most, again and again; a candidate may be added many times.

    Parameters
    ----------
    goal
        What to minimise.
    margins
        Of each candidate on the held-out rows, of shape (n_rows, outputs).
    truth
        Of the held-out rows.
    costs
        Of scoring a row with each candidate.
    most_cost
        What the members may cost together; the cheapest candidate is taken if all cost more.

    References
    ----------
    Caruana, Niculescu-Mizil, Crew & Ksikes (2004), Ensemble selection from libraries of models.
    """
    rows = _some_rows(len(truth), margins[0].shape[1])
    margins, truth = [m[rows] for m in margins], truth[rows]
    alone = [goal.loss(m, truth) for m in margins]
    limit = float("inf") if most_cost is None else most_cost
    pool = [i for i in np.argsort(alone, kind="stable").tolist() if costs[i] <= limit][:POOL]
    if not pool:
        cheapest = int(np.argmin(costs))
        return Blend({cheapest: 1.0}, alone[cheapest])
    counts = {pool[0]: 1}
    total, best = margins[pool[0]].copy(), dict(counts)
    least = alone[pool[0]]
    for step in range(2, STEPS + 1):
        spent = sum(costs[i] for i in counts)
        open_ = [
            i
            for i in pool
            if i in counts or (len(counts) < MOST_MEMBERS and spent + costs[i] <= limit)
        ]
        losses = [goal.loss((total + margins[i]) / step, truth) for i in open_]
        chosen = open_[int(np.argmin(losses))]
        counts[chosen] = counts.get(chosen, 0) + 1
        total += margins[chosen]
        if min(losses) < least:
            least, best = min(losses), dict(counts)
    size = sum(best.values())
    kept = {i: n for i, n in best.items() if n / size >= LEAST_WEIGHT}
    weights = {i: n / sum(kept.values()) for i, n in sorted(kept.items())}
    blend = Blend(weights, least)
    return Blend(weights, goal.loss(blend.margins(margins), truth))


def _some_rows(rows: int, outputs: int) -> np.ndarray:
    most = max(2_000, MOST_CELLS // outputs)
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).permutation(rows)[:most])


@dataclass(frozen=True)
class Calibration:
    """Margins of classes are stretched and shifted so that scores are frequencies."""

    factor: float = 1.0
    shift: float = 0.0

    def apply(self, margins: np.ndarray) -> np.ndarray:
        """Calibrate margins."""
        return self.factor * margins + self.shift


def calibrate(margins: np.ndarray, truth: np.ndarray, classes: int) -> Calibration:
    """Fit the factor, and for two classes the shift, to held-out rows by least log loss.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines; Guo, Pleiss, Sun & Weinberger
    (2017), On calibration of modern neural networks.
    """
    from scipy.optimize import minimize

    if len(truth) < LEAST_ROWS:
        return Calibration()

    def loss(x: np.ndarray) -> float:
        stretched = np.exp(x[0]) * margins
        if classes == 2:
            stretched = stretched + x[1]
        return log_loss(class_scores(stretched, classes), truth)

    found = minimize(loss, np.zeros(2 if classes == 2 else 1), method="Nelder-Mead")
    factor = float(np.exp(found.x[0]))
    if not (found.fun < loss(np.zeros(2)) and 1 / WIDEST <= factor <= WIDEST):
        return Calibration()
    return Calibration(factor, float(found.x[1]) if classes == 2 else 0.0)
