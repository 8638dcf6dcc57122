"""Texts to weighted terms: words and pairs of neighbours, over the buffers of a text column.

A word is a run of letters and digits. Letters beyond ASCII are told from marks by their block,
which is all that is needed to keep punctuation out; ideographs, kana and pictographs are words by
themselves, and the pairs say what stands beside what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integer = int | np.int64

BREAK, LETTER, WORD = 0, 1, 2


@kernel
def character_class(code: Integer) -> int:
    """Say what a code point does to a word: end it, belong to it, or stand alone."""
    if code < 0x80:
        if 48 <= code <= 57 or 65 <= code <= 90 or 97 <= code <= 122:
            return LETTER
        return BREAK
    if code < 0xC0:
        return LETTER if code in (0xAA, 0xB5, 0xBA) else BREAK
    if code in (0xD7, 0xF7) or 0x2000 <= code <= 0x206F or code == 0xFFFD:
        return BREAK
    if 0x2600 <= code <= 0x27BF or 0x1F000 <= code <= 0x1FAFF:  # pictographs
        return WORD
    if 0x2190 <= code <= 0x2BFF or 0xFE10 <= code <= 0xFE6F:
        return BREAK
    if 0x3041 <= code <= 0x30FF or 0x3400 <= code <= 0x9FFF:  # kana, ideographs
        return WORD
    if 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF:
        return WORD
    if 0x3000 <= code <= 0x3030 or 0xFF01 <= code <= 0xFF0F:
        return BREAK
    if 0xFF1A <= code <= 0xFF20 or 0xFF3B <= code <= 0xFF40 or 0xFF5B <= code <= 0xFF65:
        return BREAK
    return LETTER


@kernel
def cut_words(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    out: NDArray[np.uint8],
    ends: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> int:
    """Copy the words of each cell to ``out``, end to end.

    Parameters
    ----------
    data, offsets
        UTF-8 of the cells; whoever wants words in one case changes it before.
    out
        At least as long as ``data``.
    ends
        One more than there can be words; word i is ``out[ends[i]:ends[i + 1]]``.
    counts
        Filled with each cell's number of words.

    Returns
    -------
    int
        How many words there are.
    """
    words, size = 0, 0
    ends[0] = 0
    for row in range(len(offsets) - 1):
        at, stop = offsets[row], offsets[row + 1]
        before = words
        while at < stop:
            byte = np.int64(data[at])
            width, code = 1, byte
            if byte >= 0xF0:
                width, code = 4, byte & 0x07
            elif byte >= 0xE0:
                width, code = 3, byte & 0x0F
            elif byte >= 0xC0:
                width, code = 2, byte & 0x1F
            width = min(width, stop - at)
            for i in range(1, width):
                code = code << 6 | (np.int64(data[at + i]) & 0x3F)
            kind = character_class(code)
            if kind != LETTER and size > ends[words]:
                words += 1
                ends[words] = size
            if kind != BREAK:
                for i in range(width):
                    out[size + i] = data[at + i]
                size += width
                if kind == WORD:
                    words += 1
                    ends[words] = size
            at += width
        if size > ends[words]:
            words += 1
            ends[words] = size
        counts[row] = words - before
    return words


@kernel
def weigh_terms(
    counts: NDArray[np.int64],
    codes: NDArray[np.int64],
    n_words: int,
    pair_ends: NDArray[np.int64],
    pair_rights: NDArray[np.int32],
    rarity: NDArray[np.float64],
    ends: NDArray[np.int64],
    terms: NDArray[np.int32],
    weights: NDArray[np.float64],
) -> None:
    """Find each row's terms, each once, with weights whose squares sum to 1.

    A weight is the square root of how often the term occurs in the row, times its rarity.

    Parameters
    ----------
    counts, codes
        Each row's number of words, and each word's number; ``n_words`` and above is unknown.
    pair_ends, pair_rights
        The words that make a pair after word i are ``pair_rights[pair_ends[i]:pair_ends[i + 1]]``,
        ascending; the pair at place p there is term ``n_words + p``.
    rarity
        Of every term.
    ends, terms, weights
        Filled: row i has ``terms[ends[i]:ends[i + 1]]``, in reading order. Room for two terms a
        word.
    """
    seen = np.zeros(len(rarity))
    at, size = 0, 0
    ends[0] = 0
    for row in range(len(counts)):
        first, left = size, -1
        for word in range(at, at + counts[row]):
            code = codes[word]
            if code >= n_words:
                left = -1
                continue
            if seen[code] == 0.0:
                terms[size] = code
                size += 1
            seen[code] += 1.0
            if left >= 0:
                low, high = pair_ends[left], pair_ends[left + 1]
                last = high
                while low < high:
                    middle = (low + high) // 2
                    if pair_rights[middle] < code:
                        low = middle + 1
                    else:
                        high = middle
                if low < last and pair_rights[low] == code:
                    pair = n_words + low
                    if seen[pair] == 0.0:
                        terms[size] = pair
                        size += 1
                    seen[pair] += 1.0
            left = code
        at += counts[row]
        length = 0.0
        for i in range(first, size):
            weight = np.sqrt(seen[terms[i]]) * rarity[terms[i]]
            seen[terms[i]] = 0.0
            weights[i] = weight
            length += weight * weight
        for i in range(first, size):
            weights[i] /= np.sqrt(length)
        ends[row + 1] = size


@kernel
def project(
    ends: NDArray[np.int64],
    terms: NDArray[np.int32],
    weights: NDArray[np.float64],
    directions: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add up the directions of each row's terms: in reading order, whatever the rows beside it."""
    for row in range(len(ends) - 1):
        for k in range(directions.shape[1]):
            out[row, k] = 0.0
        for i in range(ends[row], ends[row + 1]):
            for k in range(directions.shape[1]):
                out[row, k] += weights[i] * directions[terms[i], k]


@kernel
def mark(
    ends: NDArray[np.int64],
    terms: NDArray[np.int32],
    places: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Set a row's flag for each of its terms that has one, at ``places[term]``; -1 means none."""
    for row in range(len(ends) - 1):
        for k in range(out.shape[1]):
            out[row, k] = 0.0
        for i in range(ends[row], ends[row + 1]):
            if places[terms[i]] >= 0:
                out[row, places[terms[i]]] = 1.0


@kernel
def project_back(
    ends: NDArray[np.int64],
    terms: NDArray[np.int32],
    weights: NDArray[np.float64],
    values: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Add each row's values to the directions of its terms: the transpose of ``project``."""
    out[:] = 0.0
    for row in range(len(ends) - 1):
        for i in range(ends[row], ends[row + 1]):
            for k in range(values.shape[1]):
                out[terms[i], k] += weights[i] * values[row, k]


@kernel
def count_rows(rows: NDArray[np.int64], codes: NDArray[np.int64], out: NDArray[np.int64]) -> None:
    """Count in how many rows each code occurs; ``rows`` ascends."""
    last = np.full(len(out), -1)
    for i in range(len(codes)):
        code = codes[i]
        if last[code] != rows[i]:
            last[code] = rows[i]
            out[code] += 1
