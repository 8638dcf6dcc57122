"""Counting an input: by row number, in parts, whatever its format."""

import itertools

import numpy as np
import pyarrow as pa
import pytest

from rowcast.core.batch import Batch, Places, RowError
from rowcast.core.prediction import Predictions
from rowcast.core.profile import ColumnProfile, Profile
from rowcast.core.schema import Feature
from rowcast.errors import ModelDamaged
from rowcast.scoring.encode import CategoricalEncoder, Encoder, NumericEncoder, Vocabulary
from rowcast.scoring.kernels.bins import count_bins
from rowcast.scoring.profile import (
    Bins,
    Counted,
    Counter,
    drawn,
    pack,
    read_profile,
    rows_to_count,
    unpack,
)

NUMBER = ColumnProfile("age", "numeric", (0, 1, 2, 0), edges=(1.0, 2.0, 9.0))
LENIENT = ColumnProfile("size", "numeric", (0, 1, 0), edges=(0.0, 1.0))
KIND = ColumnProfile("kind", "categorical", (5, 4, 3, 1), labels=("a", "b"), known=4)
VALUE = ColumnProfile("predicted_y", "value", (0, 2, 0), edges=(0.0, 1.0))
PROFILE = Profile(13, (NUMBER, LENIENT, KIND), (VALUE,))
FEATURES = (
    Feature("age", "numeric", nullable=False),
    Feature("size", "numeric", nullable=True, invalid_values_allowed=True),
    Feature("kind", "categorical", nullable=True),
)
RANKS = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [4.0]])  # null is as good as unknown
ENCODER = Encoder(
    FEATURES,
    [
        NumericEncoder(),
        NumericEncoder(),
        CategoricalEncoder(Vocabulary.of(["a", "b", "c", "d"]), RANKS),
    ],
)


def counted(batches, share=1.0):
    """Count batches in turn; the answer for a row is its age, or 0."""
    counter = Counter(PROFILE, [0, 1, 2], share)
    for batch in batches:
        matrix, rows, _, whole = ENCODER.encode(batch)
        counter.add(batch, whole, rows, Predictions(value=matrix[:, 0].copy()))
    return counter.counts


def batch(rows, first=1, rejects=()):
    table = pa.RecordBatch.from_pylist(
        [dict(zip(("age", "size", "kind"), r, strict=True)) for r in rows]
    )
    return Batch(table, Places("gs://b/x.csv", np.arange(first, first + len(rows))), rejects)


ROWS = [
    ("0", "0", "a"),  # below the least
    ("1", "0.5", "b"),  # the least itself
    ("2", "x", "c"),  # unreadable, and known but not a label
    ("2.5", "", "?"),  # null, unknown
    ("10", "7", ""),  # above the greatest, null
    ("", "0", "a"),  # refused: a null in a column that had none
    ("no", "0", "a"),  # refused
]


def test_every_value_is_in_one_bin_or_is_null_or_unreadable():
    found = Counted.of(PROFILE, counted([batch(ROWS)]))
    assert found.rows == 7
    age, size, kind, value = found.columns
    assert (age.bins.tolist(), age.null, age.unreadable) == ([1, 2, 1, 1], 1, 1)
    assert (size.bins.tolist(), size.null, size.unreadable) == ([0, 4, 1], 1, 1)
    assert (kind.bins.tolist(), kind.null, kind.unreadable) == ([3, 1, 1, 1], 1, 0)
    assert value.bins.tolist() == [0, 2, 3]  # of the five rows that were scored


def test_rows_that_the_source_rejected_are_not_counted():
    rejected = RowError(1, "record: too short", "")
    assert Counted.of(PROFILE, counted([batch(ROWS[:3], rejects=(rejected,))])).rows == 2


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_counts_of_pieces_add_up_to_those_of_the_whole(share):
    rng = np.random.default_rng(0)
    rows = [ROWS[i] for i in rng.integers(0, len(ROWS), 500)]
    whole = counted([batch(rows)], share)
    for size in (1, 7, 499):
        cuts = range(0, 500, size)
        pieces = [batch(rows[at : at + size], at + 1) for at in cuts]
        assert (counted(pieces, share) == whole).all()
        assert (sum(counted([piece], share) for piece in pieces) == whole).all()


def test_a_row_is_drawn_by_its_number_alone_and_regular_rows_as_often_as_others():
    numbers = np.arange(1, 200_001)
    chosen = drawn(numbers, 0.1)
    assert (drawn(numbers[::-1], 0.1)[::-1] == chosen).all()
    assert abs(chosen.mean() - 0.1) < 0.003
    for every in (2, 7, 10, 64):
        assert abs(chosen[::every].mean() - 0.1) < 0.02
    assert drawn(numbers, 1.0).all()
    assert (chosen <= drawn(numbers, 0.2)).all()


def test_small_inputs_are_counted_whole_and_large_ones_in_part():
    assert rows_to_count(1000, 20) == rows_to_count(100_000, 20) == rows_to_count(0, 0) == 1
    assert rows_to_count(1_000_000, 20) == 0.1
    assert rows_to_count(1_000_000, 1000) == 0.01


def test_the_kernel_agrees_with_numpy_and_with_its_own_reference():
    rng = np.random.default_rng(1)
    edges = [np.sort(rng.normal(size=n)) for n in (0, 1, 2, 21)]
    matrix = rng.normal(size=(300, 4))
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    matrix[0, 3] = edges[3][4]  # an edge belongs to the bin below it
    starts = np.cumsum([0, *map(len, edges)])
    arguments = (matrix, np.arange(0, 300, 2), np.arange(4), np.concatenate(edges), starts)
    compiled, plain = np.zeros(24 + 12, np.int64), np.zeros(24 + 12, np.int64)
    count_bins(*arguments, compiled)
    count_bins.py_func(*arguments, plain)
    assert (compiled == plain).all()
    for k, (a, b) in enumerate(itertools.pairwise(starts + 3 * np.arange(5))):
        values = matrix[::2, k]
        known = values[~np.isnan(values)]
        bins = np.bincount(np.searchsorted(edges[k], known), minlength=len(edges[k]) + 1)
        assert compiled[a:b].tolist() == [*bins, np.isnan(values).sum(), 0]


def test_packed_counts_come_back():
    counts = np.array([0, 1, 4_000_000_000, 0, 7])
    assert unpack(pack(counts)).tolist() == counts.tolist()
    assert len(pack(np.zeros(25_000, np.int64))) < 1000


def test_no_bins_count_nothing():
    assert Bins.of([]).size == 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"rows": "many", "features": []}',
        b'{"rows":1,"features":[],"format_version":9}',
    ],
)
def test_what_is_no_profile_is_refused(content):
    with pytest.raises(ModelDamaged):
        read_profile(content)


def test_a_profile_with_bins_that_do_not_fit_its_edges_is_refused():
    text = b'{"rows":1,"features":[{"name":"a","kind":"numeric","counts":[1],"edges":[1.0]}]}'
    with pytest.raises(ModelDamaged, match="wrong number of bins for 'a'"):
        read_profile(text)
