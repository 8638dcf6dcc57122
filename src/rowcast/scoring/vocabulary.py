"""The texts that training knew, by number."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels.vocabulary import fill_slots, look_up
from rowcast.scoring.parse import Cells

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from rowcast.core.batch import Spans


class Vocabulary:
    """Texts by number, and the number of each cell of a column.

    Parameters
    ----------
    words : ndarray of uint8
        UTF-8 of all texts, end to end.
    offsets : ndarray of int64
        Text i is ``words[offsets[i]:offsets[i + 1]]``.
    """

    def __init__(self, words: np.ndarray, offsets: np.ndarray) -> None:
        self.words, self.offsets = words.view(), offsets
        self.words.flags.writeable = False  # wherever they come from: kernels are compiled once
        self.slots = np.empty(1 << (2 * len(offsets)).bit_length(), np.int32)
        self.longest = int(np.diff(offsets).max()) if len(offsets) > 1 else 0
        fill_slots(self.words, offsets, self.slots)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Vocabulary:
        """Number the texts in the order given."""
        encoded = [text.encode() for text in texts]
        ends = np.cumsum([0, *map(len, encoded)]).astype(np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def texts(self) -> list[str]:
        """Spell every text out."""
        whole = self.words.tobytes()
        ends = self.offsets.tolist()
        return [whole[a:b].decode() for a, b in pairwise(ends)]

    def codes(self, column: pa.Array | Spans) -> np.ndarray:
        """Number each cell of a text column: n = len(self) if unknown, n + 1 if null."""
        cells = Cells.of(column)
        codes = np.empty(len(cells), np.int64)
        look_up(
            cells.data,
            cells.starts,
            cells.stops,
            cells.null,
            self.words,
            self.offsets,
            self.slots,
            self.longest,
            codes,
        )
        return codes
