"""Cells as spans of one buffer: each is ``data[starts[i]:stops[i]]``, wherever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int32]


@kernel
def copy_cells(
    data: NDArray[np.uint8],
    starts: Ints,
    stops: Ints,
    rows: NDArray[np.int64],
    offsets: NDArray[np.int64],
    values: NDArray[np.uint8],
) -> None:
    """Copy the cells of some rows to ``values``, end to end; cell i ends at ``offsets[i + 1]``."""
    at = 0
    offsets[0] = 0
    for i in range(len(rows)):
        start, size = np.uint64(starts[rows[i]]), stops[rows[i]] - starts[rows[i]]
        for j in range(np.uint64(size)):
            values[np.uint64(at) + j] = data[start + j]
        at += size
        offsets[i + 1] = at
