"""Which rows to learn from, which to choose by, and which to measure on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """Row numbers of the three sets, ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def draw_split(rows: int, seed: int) -> Split:
    """Cut the rows 80/10/10 at random; the same number and seed give the same split."""
    order = np.random.default_rng([seed, 0]).permutation(rows)
    tenth = max(1, rows // 10)
    return Split(
        np.sort(order[2 * tenth :]), np.sort(order[tenth : 2 * tenth]), np.sort(order[:tenth])
    )
