"""Weighted sums of clipped, standardised columns, a row at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@kernel
def add_linear(
    matrix: NDArray[np.float64],
    centers: NDArray[np.float64],
    scales: NDArray[np.float64],
    limit: float,
    weights: NDArray[np.float64],
    missing: NDArray[np.float64],
    base: NDArray[np.float64],
    margins: NDArray[np.float64],
) -> None:
    """Add to ``margins`` of shape (n_rows, outputs), in the order of the columns."""
    n_rows, n_columns = matrix.shape
    for row in range(n_rows):
        for output in range(len(base)):
            total = base[output]
            for column in range(n_columns):
                value = matrix[row, column]
                if value != value:
                    total += missing[column, output]
                else:
                    value = (value - centers[column]) / scales[column]
                    value = min(max(value, -limit), limit)
                    total += value * weights[column, output]
            margins[row, output] += total


@kernel
def linear_moves(
    matrix: NDArray[np.float64],
    baseline: NDArray[np.float64],
    centers: NDArray[np.float64],
    scales: NDArray[np.float64],
    limit: float,
    weights: NDArray[np.float64],
    missing: NDArray[np.float64],
    owner: NDArray[np.int32],
    moves: NDArray[np.float64],
) -> None:
    """Fill ``moves`` of shape (n, outputs, features): what each feature adds to the margins, less
    what it adds for the baseline. ``owner`` has the feature of each column.
    """
    n_rows, n_columns = matrix.shape
    moves[:] = 0.0
    for row in range(n_rows):
        for column in range(n_columns):
            ours, theirs = matrix[row, column], baseline[column]
            if ours == theirs or (ours != ours and theirs != theirs):
                continue
            for output in range(moves.shape[1]):
                move = 0.0
                for value, sign in ((ours, 1.0), (theirs, -1.0)):
                    if value != value:
                        move += sign * missing[column, output]
                    else:
                        scaled = (value - centers[column]) / scales[column]
                        move += sign * (min(max(scaled, -limit), limit) * weights[column, output])
                moves[row, output, owner[column]] += move
