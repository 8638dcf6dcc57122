"""Counting the rows of a job the way its model's training data was counted.

A column is counted on the first of its matrix columns: the number, the days since 1970, the rank
of the category, the length of the text or the list. Counts are whole numbers that add up: those of
the parts of an input are those of the input, in whatever order and by whomever they were counted.
Which rows are counted depends on nothing but their numbers.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from rowcast.core.profile import FORMAT_VERSION, ColumnProfile, Profile
from rowcast.errors import ModelDamaged
from rowcast.scoring.kernels.bins import AROUND, count_bins
from rowcast.scoring.parse import BAD, NULL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.core.batch import Batch
    from rowcast.core.prediction import Predictions
    from rowcast.scoring.encode import Whole

PROFILE = "profile.json"
"""Member of the model folder."""
# Made here, once: msgspec crashes when two threads are the first to decode the same type.
_PROFILE = msgspec.json.Decoder(Profile)
MOST_COUNTED = 100_000
LEAST_COUNTED = 10_000
MOST_CELLS = 10_000_000
"""Of a large input so many values are counted, as long as that leaves enough rows."""
MOST_SCORES = 20
"""Classes whose scores are profiled."""


def read_profile(content: bytes) -> Profile:
    """Read ``profile.json``.

    Raises
    ------
    ModelDamaged
        If it is none, or of another release.
    """
    try:
        profile = _PROFILE.decode(content)
    except msgspec.DecodeError as error:
        raise ModelDamaged(f"{PROFILE} describes no training data: {error}") from error
    if profile.format_version != FORMAT_VERSION:
        raise ModelDamaged(
            f"{PROFILE} has format version {profile.format_version}; this release reads "
            f"{FORMAT_VERSION}."
        )
    for column in profile.columns:
        if len(column.counts) != len(bin_edges(column)) + 1:
            raise ModelDamaged(f"{PROFILE} has the wrong number of bins for {column.name!r}.")
    return profile


def bin_edges(column: ColumnProfile) -> np.ndarray:
    """The edges that the kernel counts by: the upper one of each bin but the last."""
    if column.categorical:
        edges = np.arange(len(column.labels)) + 0.5
        return np.append(edges, column.known - 0.5) if column.has_other else edges
    edges = np.array(column.edges, np.float64)
    if len(edges):
        edges[0] = np.nextafter(edges[0], -np.inf)  # the least value is not below the least value
    return edges


def rows_to_count(rows: int, columns: int) -> float:
    """The share of an input's rows that is counted."""
    most = min(MOST_COUNTED, max(LEAST_COUNTED, MOST_CELLS // max(1, columns)))
    return min(1.0, most / max(1, rows))


def drawn(numbers: np.ndarray, share: float) -> np.ndarray:
    """Mark the rows that are counted; a row's number alone decides."""
    if share >= 1:
        return np.ones(len(numbers), np.bool_)
    return np.asarray((scrambled(numbers) >> np.uint64(11)) * 2.0**-53 < share)


def scrambled(numbers: np.ndarray) -> np.ndarray:
    """Give each row's number another one, spread evenly over all uint64.

    It is the finaliser of splitmix64; rows which come round again at regular intervals are met
    as often as others.
    """
    mixed = numbers.astype(np.uint64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True)
class Bins:
    """The bins of several columns, end to end."""

    edges: np.ndarray
    starts: np.ndarray
    """int64 of shape (columns + 1,): where each column's edges begin."""

    @classmethod
    def of(cls, columns: Sequence[ColumnProfile]) -> Bins:
        """Lay the bins of profiled columns out."""
        edges = [bin_edges(column) for column in columns]
        starts = np.cumsum([0, *map(len, edges)]).astype(np.int64)
        return cls(np.concatenate([np.zeros(0), *edges]), starts)

    @property
    def size(self) -> int:
        """Counts of all columns."""
        return len(self.edges) + AROUND * (len(self.starts) - 1)

    def count(
        self, matrix: np.ndarray, rows: np.ndarray, columns: np.ndarray, counts: np.ndarray
    ) -> None:
        """Add rows of a matrix, whose ``columns`` are the ones profiled."""
        count_bins(matrix, rows, columns, self.edges, self.starts, counts)

    def bounds(self) -> list[tuple[int, int]]:
        """Where each column's counts begin and end."""
        firsts = self.starts + AROUND * np.arange(len(self.starts))
        return list(pairwise(firsts.tolist()))


def output_matrix(answers: Predictions, columns: Sequence[ColumnProfile]) -> np.ndarray:
    """Lay out what is profiled of predictions: shape (n, len(columns))."""
    if answers.value is not None:
        return answers.value[:, None]
    return score_matrix(np.asarray(answers.scores), columns)


def score_matrix(scores: np.ndarray, columns: Sequence[ColumnProfile]) -> np.ndarray:
    """The scores of the profiled classes, then the number of the class with the highest score."""
    chosen = [column.output for column in columns if column.kind == "score"]
    return np.column_stack([scores[:, chosen], scores.argmax(axis=1)]).astype(np.float64)


class Counter:
    """Counts the rows of one part, batch by batch.

    Parameters
    ----------
    profile : Profile
    columns : sequence of int
        For each feature, the first of its matrix columns.
    share : float
        How many of the rows to count; see ``rows_to_count``.
    """

    def __init__(self, profile: Profile, columns: Sequence[int], share: float) -> None:
        self._features, self._outputs = profile.features, profile.predictions
        self._share = share
        self._columns = np.array(columns, np.int64)
        self._bins, self._output_bins = Bins.of(self._features), Bins.of(self._outputs)
        self._counts = np.zeros(self._bins.size, np.int64)
        self._output_counts = np.zeros(self._output_bins.size, np.int64)
        self._rows = 0

    @property
    def counts(self) -> np.ndarray:
        """All counts so far: the rows, then each feature's and each output's."""
        return np.concatenate([[self._rows], self._counts, self._output_counts])

    def add(self, batch: Batch, whole: Whole, scored: np.ndarray, answers: Predictions) -> None:
        """Count a batch; rows that the source rejected have no values to count.

        Parameters
        ----------
        batch : Batch
        whole : Whole
            Its rows, encoded, whether they fit the model or not.
        scored : ndarray of int64
            The rows that ``answers`` are for.
        answers : Predictions
        """
        chosen = drawn(batch.places.row, self._share)
        chosen[[reject.index for reject in batch.rejects]] = False
        rows = np.flatnonzero(chosen)
        self._rows += len(rows)
        fresh = np.zeros_like(self._counts)
        self._bins.count(whole.matrix, rows, self._columns, fresh)
        self._settle(whole.statuses, rows, fresh)
        self._counts += fresh
        if self._outputs:
            matrix = output_matrix(answers, self._outputs)
            places = np.flatnonzero(chosen[scored])
            columns = np.arange(matrix.shape[1])
            self._output_bins.count(matrix, places, columns, self._output_counts)

    def _settle(
        self, statuses: Sequence[np.ndarray | None], rows: np.ndarray, fresh: np.ndarray
    ) -> None:
        """Tell null from what cannot be read, and from categories that are not known.

        An encoder may make NaN of all three, or treat a null like an unknown category.
        """
        for status, (_, end) in zip(statuses, self._bins.bounds(), strict=True):
            if status is None:
                continue
            chosen = status[rows]
            null, bad = np.count_nonzero(chosen == NULL), np.count_nonzero(chosen == BAD)
            fresh[end - 3] -= null + bad - fresh[end - 2]
            fresh[end - 2 : end] = null, bad


def pack(counts: np.ndarray) -> str:
    """Write counts as text that is short where most of them are 0."""
    return base64.b64encode(zlib.compress(counts.astype("<u4").tobytes(), 1)).decode()


def unpack(text: str) -> np.ndarray:
    """Read what ``pack`` wrote: int64."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u4").astype(np.int64)


@dataclass(frozen=True)
class Counted:
    """What was counted of an input."""

    rows: int
    columns: tuple[Counts, ...]
    """Features, then outputs."""

    @classmethod
    def of(cls, profile: Profile, counts: np.ndarray) -> Counted:
        """Take the sum of all parts' counts apart."""
        bounds = Bins.of(profile.columns).bounds()
        columns = (
            Counts(counts[1 + first : end - 1], int(counts[end - 1]), int(counts[end]))
            for first, end in bounds
        )
        return cls(int(counts[0]), tuple(columns))


@dataclass(frozen=True)
class Counts:
    """What was counted of one column."""

    bins: np.ndarray
    """int64: values per bin."""
    null: int = 0
    unreadable: int = 0
