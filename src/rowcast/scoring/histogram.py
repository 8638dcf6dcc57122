"""Histograms of values whose range nobody knows beforehand, the same however rows are divided.

A bin is ``[k * w, (k + 1) * w)`` with a width ``w`` that is a power of two, and only bins that
hold a value are kept. The width is the least one with which at most ``MOST_BINS`` bins do. Two
bins of one width are exactly one of the next width, and a part of the values never needs wider
bins than the whole: so adding up the histograms of parts gives the one of the whole, to the last
count, in whatever way the rows were cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

MOST_BINS = 512
LEAST_EXPONENT, GREATEST_EXPONENT = -100, 1000
DRAWN_BITS = 40
"""Bins in a picture are at least so many halvings of the largest value wide."""
LARGEST = 2.0**900
"""Values beyond it are counted as if they were it, so that bin numbers stay finite."""


@dataclass(frozen=True)
class Histogram:
    """Counts of finite values."""

    exponent: int = LEAST_EXPONENT
    """The width of a bin is two to this power."""
    bins: tuple[float, ...] = ()
    """Whole numbers, ascending: where bins begin, in widths."""
    counts: tuple[int, ...] = ()

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """Count values; NaN and infinities are left out."""
        ordered = np.sort(np.clip(values[np.isfinite(values)], -LARGEST, LARGEST))
        if not len(ordered):
            return cls()
        least, most = LEAST_EXPONENT, GREATEST_EXPONENT
        while least < most:  # the least exponent with few enough bins
            middle = (least + most) // 2
            if len(_starts(_numbers(ordered, middle))) <= MOST_BINS:
                most = middle
            else:
                least = middle + 1
        numbers = _numbers(ordered, least)
        starts = _starts(numbers)
        counts = np.diff(np.append(starts, len(ordered)))
        return cls(least, tuple(numbers[starts].tolist()), tuple(counts.tolist()))

    def __add__(self, other: Self) -> Self:
        exponent = max(self.exponent, other.exponent)
        bins = np.concatenate([one._at(exponent) for one in (self, other)])
        counts = np.array(self.counts + other.counts, np.int64)
        while True:
            kept, where = np.unique(bins, return_inverse=True)
            if len(kept) <= MOST_BINS:
                break
            bins, exponent = np.floor(bins / 2), exponent + 1
        added = np.zeros(len(kept), np.int64)
        np.add.at(added, where, counts)
        return type(self)(exponent, tuple(kept.tolist()), tuple(added.tolist()))

    @property
    def total(self) -> int:
        """Values counted."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """The value below which a share of the values lies, as if they were even within a bin."""
        reach = np.cumsum(self.counts)
        wanted = share * reach[-1]
        at = int(np.searchsorted(reach, wanted))
        inside = (wanted - (reach[at - 1] if at else 0)) / self.counts[at]
        return float(np.ldexp(self.bins[at] + inside, self.exponent))

    def drawn(self, most: int, share: float = 0.99) -> tuple[list[float], list[int], int, int]:
        """Bins of equal width for a picture of the middle of the values.

        Parameters
        ----------
        most : int
            How many bins there may be, or one more.
        share : float
            Of the values, which the picture shows at least.

        Returns
        -------
        edges : list of float
            One more than there are bins.
        counts : list of int
        below, above : int
            Values that lie outside.
        """
        largest = np.ldexp(max(abs(self.bins[0]), abs(self.bins[-1] + 1)), self.exponent)
        exponent = max(self.exponent, int(np.frexp(largest)[1]) - DRAWN_BITS)
        bins, counts = self._at(exponent), np.array(self.counts, np.int64)
        reach = np.cumsum(counts)
        tail = (1 - share) / 2 * reach[-1]
        first = int(np.searchsorted(reach, tail, side="right"))
        last = min(int(np.searchsorted(reach, reach[-1] - tail)), len(reach) - 1)
        width = np.ceil((bins[last] - bins[first] + 1) / most)
        start = np.floor(bins[first] / width) * width
        places = np.floor((bins - start) / width)
        n = int(places[last]) + 1
        inside = (places >= 0) & (places < n)
        shown = np.zeros(n, np.int64)
        np.add.at(shown, places[inside].astype(np.int64), counts[inside])
        edges = np.ldexp(start + np.arange(n + 1) * width, exponent)
        below, above = counts[places < 0].sum(), counts[places >= n].sum()
        return edges.tolist(), shown.tolist(), int(below), int(above)

    def _at(self, exponent: int) -> np.ndarray:
        """Numbers of the bins that hold the values if bins are wider."""
        bins = np.array(self.bins, np.float64)
        return np.asarray(np.floor(np.ldexp(bins, self.exponent - exponent)))


def _numbers(values: np.ndarray, exponent: int) -> np.ndarray:
    """The number of each value's bin."""
    return np.asarray(np.floor(np.ldexp(values, -exponent)))


def _starts(ordered: np.ndarray) -> np.ndarray:
    """Where the runs of equal numbers begin."""
    return np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)


def share_bins(shares: np.ndarray, bins: int) -> np.ndarray:
    """Count values from 0 to 1 in bins of equal width: int64 of shape (bins,)."""
    places = np.minimum((shares * bins).astype(np.int64), bins - 1)
    return np.bincount(places, minlength=bins)
