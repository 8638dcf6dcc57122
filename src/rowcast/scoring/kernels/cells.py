"""Cells as spans of one buffer: each is ``data[starts[i]:stops[i]]``, wherever that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    import numpy as np
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
        for j in range(starts[rows[i]], stops[rows[i]]):
            values[at] = data[j]
            at += 1
        offsets[i + 1] = at
