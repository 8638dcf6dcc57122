"""How thoroughly a row is explained: what ``pathCount`` means for models that are sums."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import comb

import numpy as np

from rowcast.scoring.kernels.shapley import LANES


@dataclass(frozen=True)
class Accuracy:
    """Where a row's features are enumerated, and where they enter through mean and variance."""

    exact: int
    """Features that differ from the baseline, up to which all coalitions are looked at."""
    head: int
    """Features that are enumerated where more differ."""
    nodes: int
    """Of the quadrature, at most LANES."""

    @cached_property
    def quadrature(self) -> tuple[np.ndarray, np.ndarray]:
        """Gauss-Legendre's nodes in (0, 1) and weights, filled up to LANES with weight 0."""
        at, weights = np.polynomial.legendre.leggauss(self.nodes)
        missing = LANES - self.nodes
        return (
            np.concatenate([(at + 1.0) / 2.0, np.full(missing, 0.5)]),
            np.concatenate([weights / 2.0, np.zeros(missing)]),
        )

    @cached_property
    def exact_weights(self) -> np.ndarray:
        """Shapley's weight of a coalition of s of the other d - 1 features, at ``[d, s]``."""
        weights = np.zeros((self.most + 1, self.most + 1))
        for d in range(1, self.most + 1):
            weights[d, :d] = [1.0 / (d * comb(d - 1, s)) for s in range(d)]
        return weights

    @cached_property
    def sizes(self) -> np.ndarray:
        """How many bits each number has."""
        return np.array([number.bit_count() for number in range(1 << self.most)], np.int64)

    @property
    def most(self) -> int:
        """Features that are enumerated, at most."""
        return max(self.exact, self.head)


STEPS = (
    (5, Accuracy(exact=8, head=4, nodes=2)),
    (10, Accuracy(exact=9, head=5, nodes=3)),
    (20, Accuracy(exact=10, head=6, nodes=3)),
    (35, Accuracy(exact=11, head=8, nodes=4)),
    (51, Accuracy(exact=12, head=10, nodes=4)),
)
"""Each up to the path count that is named."""


@cache
def accuracy(path_count: int) -> Accuracy:
    """Choose by ``pathCount``, which is from 1 to 50."""
    return next(setting for end, setting in STEPS if path_count < end)
