"""Rows to a matrix."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.core.batch import Batch, Places, RowError
from rowcast.core.schema import Feature
from rowcast.scoring.encode import (
    CategoricalEncoder,
    Encoder,
    NumericEncoder,
    TimestampEncoder,
    Vocabulary,
)
from tests.tables import batch_of, shop, shop_model, shop_predictor

AGE = Feature("age", "numeric", nullable=False)
BALANCE = Feature("balance", "numeric", nullable=True)
LENIENT = Feature("lenient", "numeric", nullable=True, invalid_values_allowed=True)
WHEN = Feature("t", "timestamp", nullable=True)


def encoder(*features):
    made = [TimestampEncoder(None) if f.kind == "timestamp" else NumericEncoder() for f in features]
    return Encoder(features, made)


def batch(rejects=(), **columns):
    rows = pa.RecordBatch.from_pydict(columns)
    n = rows.num_rows
    places = Places("gs://b/x.csv", np.arange(1, n + 1), np.arange(2, n + 2), np.arange(n) * 10)
    return Batch(rows, places, rejects)


def test_an_unreadable_number_is_named_with_its_place():
    found = encoder(AGE, BALANCE).encode(batch(age=["1", "2"], balance=["3", "n/a"]))
    assert found[0].tolist() == [[1.0, 3.0]]
    assert found[1].tolist() == [0]
    assert found[2] == (
        RowError(
            1,
            "balance: not a number",
            "Column 'balance': cannot read 'n/a' as a number. (row 2, line 3, byte 10 of gs://b/x.csv)",
        ),
    )


def test_an_unreadable_timestamp_and_a_missing_value_are_told_together():
    (error,) = encoder(AGE, WHEN).encode(batch(age=[""], t=["x\n"]))[2]
    assert error.cause == "age: null not allowed"
    assert error.message == (
        "Column 'age': a value is required, but it is null; the training data had none missing. "
        "Column 't': cannot read 'x\\n' as a timestamp. (row 1, line 2, byte 0 of gs://b/x.csv)"
    )


def test_at_most_five_columns_of_a_row_are_shown():
    features = [Feature(f"c{i}", "numeric", nullable=True) for i in range(8)]
    (error,) = encoder(*features).encode(batch(**{f.name: ["x"] for f in features}))[2]
    assert error.message.count("cannot read") == 5
    assert " and 3 more columns. (row 1, " in error.message


def test_a_long_value_is_cut_in_the_message():
    (error,) = encoder(BALANCE).encode(batch(balance=["9" * 500 + "x"]))[2]
    assert len(error.message) < 200


def test_invalid_values_count_as_null_where_that_is_allowed():
    matrix, rows, errors, _ = encoder(LENIENT).encode(batch(lenient=["1", "x", None]))
    assert np.array_equal(matrix[:, 0], [1, np.nan, np.nan], equal_nan=True)
    assert (rows.tolist(), errors) == ([0, 1, 2], ())


def test_a_rejected_row_keeps_its_own_error():
    reject = RowError(1, "wrong number of fields", "as the source says")
    found = encoder(AGE).encode(batch((reject,), age=["1", "x", "y"]))
    assert found[1].tolist() == [0]
    assert found[2][0] is reject
    assert [error.index for error in found[2]] == [1, 2]


def test_every_row_may_fail():
    matrix, rows, errors, _ = encoder(AGE).encode(batch(age=["x", "y"]))
    assert (matrix.shape, len(rows), len(errors)) == ((0, 1), 0, 2)


def test_native_values_are_shown_as_text_in_messages():
    (error,) = encoder(WHEN).encode(batch(t=[True]))[2]
    assert "cannot read 'true' as a timestamp" in error.message


def test_a_moment_becomes_its_place_in_the_calendar():
    matrix, *_ = encoder(WHEN).encode(batch(t=["2024-03-01 18:00:00", "1969-12-31", ""]))
    assert matrix[0].tolist() == [19783.75, 2024, 3, 1, 4, 61, 18]
    assert matrix[1].tolist() == [-1, 1969, 12, 31, 2, 365, 0]
    assert np.isnan(matrix[2]).all()


def test_unknown_and_null_categories_have_rows_of_their_own():
    table = np.array([[0.0, 0.5], [1.0, 0.25], [2.0, 0.3], [np.nan, 0.9]])
    column = CategoricalEncoder(Vocabulary.of(["a", "b"]), table)
    out = np.empty((6, 2))
    column.fill(pa.array(["b", "A", "", "NaN", None, "a"]), out)
    assert np.array_equal(out, table[[1, 2, 3, 3, 3, 0]], equal_nan=True)


@settings(max_examples=100)
@given(st.lists(st.text(max_size=6), unique=True, max_size=40), st.lists(st.text(max_size=6)))
def test_a_vocabulary_finds_its_texts_and_no_others(known, asked):
    known = [w for w in known if w.lower().lstrip("+-") not in ("", "nan", "inf")]
    asked = [w for w in asked + known if w.lower().lstrip("+-") not in ("", "nan", "inf")]
    codes = Vocabulary.of(known).codes(pa.array(asked, pa.string()))
    assert codes.tolist() == [known.index(w) if w in known else len(known) for w in asked]
    assert Vocabulary.of(known).texts() == known


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_a_row_is_encoded_alike_in_every_batch(size):
    predictor = shop_predictor("multiclass")
    whole = batch_of(shop(1000, seed=3))
    expected = predictor.encode(whole)
    pieces = [predictor.encode(whole.slice(at, size)) for at in range(0, 1000, size)]
    matrix = np.concatenate([piece.matrix for piece in pieces])
    assert matrix.tobytes() == expected.matrix.tobytes()
    assert expected.matrix.flags.c_contiguous


def test_rows_read_alike_from_text_and_from_types():
    text = shop(200, seed=4)
    typed = text.set_column(
        0, "age", pa.array([int(v) if v else None for v in text["age"].to_pylist()])
    )
    typed = typed.set_column(1, "income", pa.array([float(v) for v in text["income"].to_pylist()]))
    joined = text["joined"].cast(pa.timestamp("s")).cast(pa.date32())
    typed = typed.set_column(3, "joined", joined)
    typed = typed.set_column(2, "job", text["job"].dictionary_encode())
    predictor = shop_predictor("binary")
    assert (
        predictor.encode(batch_of(typed)).matrix.tobytes()
        == predictor.encode(batch_of(text)).matrix.tobytes()
    )


def test_columns_are_found_by_name():
    table = shop(50)
    predictor = shop_predictor("binary")
    turned = table.select(table.column_names[::-1])
    assert (
        predictor.encode(batch_of(turned)).matrix.tobytes()
        == predictor.encode(batch_of(table)).matrix.tobytes()
    )


def test_the_encoders_description_is_plain_json():
    spec = shop_model("binary").spec
    assert json.loads(json.dumps(spec.encoder))[0]["kind"] == "numeric"
    assert len(spec.encoder) == len(spec.schema.features)


def test_cells_that_training_did_not_know_are_counted():
    encoder = Encoder(
        [Feature("c", "categorical", nullable=True), Feature("n", "numeric", nullable=True)],
        [CategoricalEncoder(Vocabulary.of(["a", "b"]), np.zeros((4, 1))), NumericEncoder()],
    )
    rows = pa.record_batch({"c": ["a", "x", None, "", "A"], "n": ["1", "2", "3", "4", "5"]})
    assert encoder.unseen(rows) == {"c": 2}


@pytest.mark.parametrize("spelling", [("false", "true"), ("False", "True"), ("FALSE", "TRUE")])
def test_a_boolean_is_the_category_that_training_read_as_text(spelling):
    table = np.arange(4.0).reshape(4, 1)
    encoder = CategoricalEncoder(Vocabulary.of(spelling), table)
    column = pa.array([False, True, None])
    assert encoder.unseen(column) == 0
    out = np.empty((3, 1))
    encoder.fill(column, out)
    assert out[:, 0].tolist() == [0.0, 1.0, 3.0]
