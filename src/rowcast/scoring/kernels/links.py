"""Margins to probabilities. One definition of ``exp`` (the C library's, one value at a time) on
every path: vectorised forms differ from it, and from machine to machine, in the last digit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def sigmoid_scores(margins: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
    """Fill ``scores`` of shape (n, 2) with the probabilities of the first and second class."""
    for row in range(len(margins)):
        small = math.exp(-abs(margins[row]))
        likely, other = 1.0 / (1.0 + small), small / (1.0 + small)
        first = margins[row] < 0.0
        scores[row, 0] = likely if first else other
        scores[row, 1] = other if first else likely


@kernel
def softmax_scores(margins: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
    """Fill ``scores`` with the softmax of each row of ``margins``."""
    n_rows, n_classes = margins.shape
    for row in range(n_rows):
        largest = margins[row, 0]
        for k in range(1, n_classes):
            largest = max(largest, margins[row, k])
        total = 0.0
        for k in range(n_classes):
            scores[row, k] = math.exp(margins[row, k] - largest)
            total += scores[row, k]
        for k in range(n_classes):
            scores[row, k] /= total


@kernel
def exponentials(margins: NDArray[np.float64]) -> None:
    """Replace each margin by its exponential."""
    for row in range(margins.shape[0]):
        for k in range(margins.shape[1]):
            margins[row, k] = math.exp(margins[row, k])
