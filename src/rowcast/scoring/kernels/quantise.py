"""Values to ranks among a forest's thresholds, a byte each.

A node's test asks only whether a value exceeds its threshold, and the value's rank (how many of
the column's thresholds lie below it) answers that for all of them; NaN has a rank that answers for
it. A column with more thresholds than a byte can count, or whose nodes treat missing values in
ways that no one rank serves, gets several places. The rank also says which sets a value is in, a
table having a bit for each of eight of the column's sets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

RANKS = 255
"""Thresholds that one place tells apart."""
WORD = 8
"""Places of sets that are looked up at once, a byte each of a word."""


@kernel
def quantise(
    matrix: NDArray[np.float64],
    near_zero: float,
    columns: NDArray[np.int64],
    thresholds: NDArray[np.float64],
    starts: NDArray[np.int64],
    grids: NDArray[np.float64],
    cells: NDArray[np.int32],
    cell_starts: NDArray[np.int64],
    place_starts: NDArray[np.int64],
    lowest: NDArray[np.int64],
    nan_codes: NDArray[np.uint8],
    zero_apart: NDArray[np.bool_],
    set_tables: NDArray[np.int64],
    set_bits: NDArray[np.uint8],
    word_starts: NDArray[np.int64],
    words: NDArray[np.uint64],
    codes: NDArray[np.uint8],
) -> None:
    """Fill ``codes`` of shape (blocks, places, width) from a matrix of at most that many rows.

    Column ``columns[k]`` has the ``thresholds[starts[k]:starts[k + 1]]``, ascending, with as many
    infinities at the end as a search may look beyond; its range is cut into cells of one width, as
    ``grids[k]`` says, and ``cells[cell_starts[k]:]`` has the rank that the search of each starts
    from. It has the places ``place_starts[k]`` up to ``place_starts[k + 1]``. A place holds the
    ranks above ``lowest``, and a code of its own for NaN; where zero is apart, it has that code
    too. A place of sets holds ``set_bits`` instead, by rank from ``set_tables[place]`` on, which is
    -1 for others; WORD of them that follow each other have their bytes in ``words``, too, by rank
    from ``word_starts`` of the first on. What is beyond the last row is filled with zeros. Tables
    are looked up by unsigned numbers, which Numba need not compare with zero.
    """
    width = codes.shape[2]
    value = np.zeros(width)
    rank = np.zeros(width, np.int64)
    word = np.zeros(width, np.uint64)
    for block in range(len(codes)):
        first = block * width
        n = min(width, len(matrix) - first)
        value[n:] = 0.0
        for k in range(len(columns)):
            for i in range(n):
                value[i] = matrix[first + i, columns[k]]
            special = False
            for i in range(width):
                special |= not abs(value[i]) > near_zero
            table = thresholds[starts[k] : starts[k + 1]]
            first_rank = cells[cell_starts[k] : cell_starts[k + 1]]
            low, scale, last = grids[k, 0], grids[k, 1], len(first_rank) - 1.0
            for i in range(width):
                cell = (value[i] - low) * scale
                cell = cell if cell > 0.0 else 0.0
                rank[i] = first_rank[np.uint64(min(cell, last))]
            half = np.int64(1) << np.int64(grids[k, 2]) >> 1
            while half:
                for i in range(width):
                    rank[i] += half if table[np.uint64(rank[i] + half - 1)] < value[i] else 0
                half >>= 1
            place = place_starts[k]
            while place < place_starts[k + 1]:
                count = 1
                if word_starts[place] >= 0:
                    count = WORD
                    looked_up = words[word_starts[place] :]
                    for i in range(width):
                        word[i] = looked_up[np.uint64(rank[i])]
                    for byte in range(WORD):
                        code, shift = codes[block, place + byte], np.uint64(8 * byte)
                        for i in range(width):
                            code[i] = np.uint8(word[i] >> shift)
                elif set_tables[place] >= 0:
                    code, bits = codes[block, place], set_bits[set_tables[place] :]
                    for i in range(width):
                        code[i] = bits[np.uint64(rank[i])]
                else:
                    code = codes[block, place]
                    for i in range(width):
                        code[i] = min(max(rank[i] - lowest[place], 0), RANKS)
                if special:
                    for one in range(place, place + count):
                        code = codes[block, one]
                        for i in range(width):
                            zero = zero_apart[one] and abs(value[i]) <= near_zero
                            if zero or value[i] != value[i]:
                                code[i] = nan_codes[one]
                place += count
