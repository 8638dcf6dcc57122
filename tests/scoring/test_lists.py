"""Cells that hold several values."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.core.batch import Batch, Places
from rowcast.core.schema import Feature
from rowcast.scoring.encode import Encoder
from rowcast.scoring.lists import (
    RepeatedCategoricalEncoder,
    RepeatedNumericEncoder,
    json_array,
    parse_lists,
)
from rowcast.scoring.parse import as_text
from rowcast.scoring.vocabulary import Vocabulary


def taken_apart(column):
    lists = parse_lists(column)
    texts = as_text(lists.values).to_pylist()
    ends = np.cumsum([0, *lists.counts])
    return [
        None if null else texts[a:b]
        for null, (a, b) in zip(lists.null, pairwise(ends), strict=True)
    ]


def test_a_cell_is_an_array_or_a_list_of_one():
    cells = ['["a", "b\\n"]', "[1, 2.50, null, true]", "[]", "", None, "plain", "[broken", " [7] "]
    assert taken_apart(pa.array(cells)) == [
        ["a", "b\n"],
        ["1", "2.5", None, "true"],
        [],
        None,
        None,
        ["plain"],
        ["[broken"],
        ["7"],
    ]


def test_depth_is_no_trap():
    assert json_array("[" * 100_000 + "]" * 100_000) is None


@pytest.mark.parametrize(
    "kind",
    [
        pa.list_(pa.float64()),
        pa.large_list(pa.float64()),
        pa.list_view(pa.float64()),
        pa.list_(pa.float64(), 2),
    ],
)
def test_native_lists_of_every_layout_are_read(kind):
    column = pa.array([[1.0, 2.5], None, [3.0, None]], kind)
    assert taken_apart(column) == [["1", "2.5"], None, ["3", None]]
    assert taken_apart(column.slice(1)) == [None, ["3", None]]
    assert taken_apart(pa.chunked_array([column, column])) == 2 * [["1", "2.5"], None, ["3", None]]


def numbers(column):
    encoder = RepeatedNumericEncoder()
    out = np.empty((len(column), encoder.width))
    return out, encoder.fill(column, out)


def test_numbers_become_what_they_are_like_together():
    out, status = numbers(pa.array(["[3, 1, 2, 2]", "[]", None, "[5, null]", '[1, "x"]']))
    assert out[0].tolist() == [4, 8, 2, 0.5**0.5, 1, 3, 3, 2]
    assert out[1, 0] == 0
    assert np.isnan(out[1, 1:]).all()
    assert np.isnan(out[2]).all()
    assert out[3].tolist() == [1, 5, 5, 0, 5, 5, 5, 5]
    assert status.tolist() == [0, 0, 1, 0, 2]


@given(st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), st.floats(width=64))))))
def test_text_and_native_lists_give_the_same_bits(rows):
    rows = [
        None if row is None else [x if x is not None and np.isfinite(x) else None for x in row]
        for row in rows
    ]
    native = pa.array(rows, pa.list_(pa.float64()))
    text = pa.array([None if row is None else json.dumps(row) for row in rows], pa.string())
    assert numbers(native)[0].tobytes() == numbers(text)[0].tobytes()
    for row in range(len(rows)):  # and alone as in company
        alone = numbers(native.slice(row, 1))[0]
        assert alone.tobytes() == numbers(native)[0][row : row + 1].tobytes()


def test_categories_become_counts_means_and_flags():
    table = np.array([[0.2], [0.4], [0.9], [0.5], [np.nan]])
    encoder = RepeatedCategoricalEncoder(
        Vocabulary.of(["a", "b", "c"]), table, np.array([2, 0], np.int32)
    )
    out = np.empty((5, encoder.width))
    encoder.fill(pa.array(['["a","b","a"]', '["z", "c"]', "[]", None, '[null, "b"]']), out)
    assert out[0] == pytest.approx([3, 2, 0.8 / 3, 0, 1])
    assert out[1] == pytest.approx([2, 2, 0.7, 1, 0])
    assert out[2, :2].tolist() == [0, 0]
    assert np.isnan(out[2, 2])
    assert np.isnan(out[3, :3]).all()
    assert out[3, 3:].tolist() == [0, 0]
    assert out[4] == pytest.approx([1, 1, 0.4, 0, 0])


def test_a_value_that_is_no_number_is_named_with_its_row():
    encoder = Encoder([Feature("n", "repeatedNumeric", nullable=False)], [RepeatedNumericEncoder()])
    rows = pa.RecordBatch.from_pydict({"n": ["[1, 2]", '["x"]', ""]})
    places = Places("gs://b/x.csv", np.arange(1, 4))
    _, kept, errors, *_ = encoder.encode(Batch(rows, places))
    assert kept.tolist() == [0]
    assert errors[0].message.startswith("Column 'n': cannot read '[\"x\"]' as a list of numbers.")
    assert errors[1].cause == "n: null not allowed"


def test_parquet_keeps_lists_as_they_are(tmp_path):
    column = pa.array([[1.5, 2.0], [], None, [0.1]])
    pq.write_table(pa.table({"n": column}), tmp_path / "t.parquet")
    read = pq.read_table(tmp_path / "t.parquet")["n"].combine_chunks()
    assert numbers(read)[0].tobytes() == numbers(column)[0].tobytes()
