"""Which known text a cell holds: a hash table over the buffers of a text column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel
from rowcast.scoring.kernels.numbers import null_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY = -1


@kernel
def _word(data: NDArray[np.uint8], place: int) -> np.uint64:
    """Put eight bytes together: one load, as an index without a sign cannot count from the end."""
    at = np.uint64(place)
    return (
        np.uint64(data[at])
        | np.uint64(data[at + np.uint64(1)]) << np.uint64(8)
        | np.uint64(data[at + np.uint64(2)]) << np.uint64(16)
        | np.uint64(data[at + np.uint64(3)]) << np.uint64(24)
        | np.uint64(data[at + np.uint64(4)]) << np.uint64(32)
        | np.uint64(data[at + np.uint64(5)]) << np.uint64(40)
        | np.uint64(data[at + np.uint64(6)]) << np.uint64(48)
        | np.uint64(data[at + np.uint64(7)]) << np.uint64(56)
    )


@kernel
def _hash(data: NDArray[np.uint8], start: int, stop: int) -> np.int64:
    """Mix eight bytes at a time; the sign bit is dropped so that the remainder is an index."""
    factor = np.uint64(0x9E37_79B9_7F4A_7C15)
    value = np.uint64(stop - start)
    if stop - start >= 8:
        for at in range(start, stop - 8, 8):
            value = (value ^ _word(data, at)) * factor
            value ^= value >> np.uint64(29)
        value ^= _word(data, stop - 8)
    else:
        for at in range(start, stop):
            value = value << np.uint64(8) ^ np.uint64(data[at])
    for _ in range(2):  # what is in the highest byte has to reach the lowest bits
        value = (value ^ value >> np.uint64(32)) * factor
    value ^= value >> np.uint64(32)
    return np.int64(value & np.uint64(0x7FFF_FFFF_FFFF_FFFF))


@kernel
def fill_slots(
    data: NDArray[np.uint8], offsets: NDArray[np.int64], slots: NDArray[np.int32]
) -> None:
    """Enter each known text into ``slots``, whose length is a power of two above their number."""
    slots[:] = EMPTY
    mask = len(slots) - 1
    for word in range(len(offsets) - 1):
        slot = _hash(data, offsets[word], offsets[word + 1]) & mask
        while slots[slot] != EMPTY:
            slot = (slot + 1) & mask
        slots[slot] = word


@kernel
def look_up(
    data: NDArray[np.uint8],
    starts: NDArray[np.int32],
    stops: NDArray[np.int32],
    null: NDArray[np.bool_],
    words: NDArray[np.uint8],
    word_offsets: NDArray[np.int64],
    slots: NDArray[np.int32],
    longest: int,
    codes: NDArray[np.int64],
) -> None:
    """Give each cell the number of its text; n of them if unknown, n + 1 if null.

    A cell longer than the ``longest`` known text is unknown without being read.
    """
    known = len(word_offsets) - 1
    mask = len(slots) - 1
    for row in range(len(starts)):
        start, stop = starts[row], stops[row]
        if (len(null) and null[row]) or null_text(data, start, stop):
            codes[row] = known + 1
            continue
        codes[row] = known
        size = stop - start
        if size > longest:
            continue
        slot = _hash(data, start, stop) & mask
        while slots[slot] != EMPTY:
            word = slots[slot]
            first = word_offsets[word]
            if word_offsets[word + 1] - first == size:
                same = True
                for at in range(np.uint64(size)):
                    if data[np.uint64(start) + at] != words[np.uint64(first) + at]:
                        same = False
                        break
                if same:
                    codes[row] = word
                    break
            slot = (slot + 1) & mask


@kernel
def gather(codes: NDArray[np.int64], table: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Copy row ``codes[i]`` of the table to row i of ``out``."""
    for row in range(len(codes)):
        for column in range(table.shape[1]):
            out[row, column] = table[codes[row], column]
