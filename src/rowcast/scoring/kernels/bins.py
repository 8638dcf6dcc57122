"""Counting how many values of each column fall into each of its bins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AROUND = 3
"""Counts that a column has beside one per edge: above the last edge, null, unreadable."""


@kernel
def count_bins(
    matrix: NDArray[np.float64],
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    edges: NDArray[np.float64],
    starts: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> None:
    """Add the ``rows`` of some columns of a matrix to ``counts``.

    Column ``columns[k]`` has the ``edges[starts[k]:starts[k + 1]]``, ascending. Its counts begin at
    ``starts[k] + AROUND * k``: for each edge, the values up to it and above the edge before; the
    values above the last edge; NaN; and one that is left alone.
    """
    for row in rows:
        for k in range(len(columns)):
            value = matrix[row, columns[k]]
            low, high = starts[k], starts[k + 1]
            first = low + AROUND * k
            if value != value:
                counts[first + high - low + 1] += 1
                continue
            below = low
            while below < high:
                middle = (below + high) >> 1
                if edges[middle] < value:
                    below = middle + 1
                else:
                    high = middle
            counts[first + below - low] += 1
