"""Which mixtures of a row and the baseline are scored, where nothing but answers is known.

Features are switched from their baseline value to the row's one by one, in several orders; an
attribution is a feature's mean step. With few features all their coalitions are scored instead,
and the result is exact.

References
----------
Castro, Gómez & Tejada (2009), Computers & Operations Research 36(5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import factorial

import numpy as np

MOST_EXACT = 8
"""Features up to which all coalitions may be scored."""


@dataclass(frozen=True)
class Game:
    """Which mixtures of row and baseline to score for d features, and what to make of them.

    Coalition 0 is the baseline and the last one the row; neither is scored again.
    """

    coalitions: np.ndarray
    """bool of shape (m, d): which features have the row's value."""
    weights: np.ndarray | None = None
    """Exact game: float64 of shape (d, m); attributions are ``weights @ outputs``."""
    walks: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """Sampled game: int64 of shape (paths, d + 1), the coalitions that each order passes."""
    orders: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """int64 of shape (paths, d): the feature that joins at each step."""

    def shares(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split the row's distance from the baseline among the features.

        Parameters
        ----------
        outputs : ndarray of shape (m, k)
            The model's answer to each coalition.

        Returns
        -------
        shares : ndarray of shape (k, d)
            Each sums to ``outputs[-1] - outputs[0]``.
        error : ndarray of shape (k,)
            Standard error of the shares relative to their size, both in the Euclidean norm; 0 if
            exact, and 1 if a single order gives no means to tell.
        """
        distance = outputs[-1] - outputs[0]
        if self.weights is not None:
            shares = (self.weights @ outputs).T
            error = np.zeros(len(shares))
        else:
            steps = outputs[self.walks[:, 1:]] - outputs[self.walks[:, :-1]]
            by_path = np.empty_like(steps)
            np.put_along_axis(by_path, self.orders[:, :, None], steps, axis=1)
            shares = by_path.mean(axis=0).T
            error = _relative_error(by_path, shares)
        shares = np.ascontiguousarray(shares)
        for k, share in enumerate(shares):
            for _ in range(3):  # what rounding left over goes to the largest share
                share[np.argmax(np.abs(share))] += distance[k] - share.sum()
        return shares, error


def _relative_error(by_path: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Estimate the sampling error from pairs of opposite orders, which are independent."""
    paths, _, outputs = by_path.shape
    units = [by_path[at : at + 2].mean(axis=0).T for at in range(0, paths, 2)]
    if len(units) == 1:
        return np.ones(outputs)
    parts = np.array([min(2, paths - at) / paths for at in range(0, paths, 2)])
    spread = (np.stack(units) - shares) ** 2
    variance = np.einsum("u,ukd->kd", parts**2, spread) * len(units) / (len(units) - 1)
    size = np.sqrt((shares**2).sum(axis=1))
    error = np.sqrt(variance.sum(axis=1))
    relative = np.divide(error, size, out=np.zeros(outputs), where=size > 0)
    return np.asarray(np.minimum(relative, 1.0))


@lru_cache(maxsize=64)
def game(features: int, path_count: int) -> Game:
    """Lay out the game of so many features. The same numbers give the same game everywhere."""
    every = 1 << features if features <= MOST_EXACT else 0
    if every and every - 2 <= max(path_count * (features - 1), 6):
        return exact_game(features)
    bits = np.random.PCG64([features, path_count])
    orders: list[np.ndarray] = []
    while len(orders) < path_count:
        order = np.argsort(np.asarray(bits.random_raw(features)), kind="stable")
        orders += [order, order[::-1]]
    chosen = np.array(orders[:path_count])
    members = np.zeros((path_count, features + 1, features), np.bool_)
    for step in range(features):
        members[:, step + 1] = members[:, step]
        np.put_along_axis(members[:, step + 1], chosen[:, step : step + 1], True, axis=1)
    flat = members.reshape(-1, features)
    distinct, where = np.unique(flat, axis=0, return_inverse=True)
    return Game(distinct, None, where.reshape(path_count, features + 1), chosen)


def exact_game(features: int) -> Game:
    """Score all coalitions and weigh them by Shapley's formula."""
    count = 1 << features
    numbers = np.arange(count)
    coalitions = (numbers[:, None] >> np.arange(features)) & 1 == 1
    sizes = coalitions.sum(axis=1)
    joins = np.array(
        [factorial(s) * factorial(features - s - 1) for s in range(features)] + [0], np.float64
    ) / factorial(features)
    weights = np.where(coalitions.T, joins[sizes - 1], -joins[sizes])
    return Game(coalitions, weights)
