"""What is said about columns and targets."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from rowcast.errors import InvalidRequest
from rowcast.training.examples import prepare
from rowcast.training.findings import column_note, duplicates, leaks
from rowcast.training.infer import Choice, choose_features
from rowcast.training.request import Request

RNG = np.random.default_rng(0)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _the_same_numbers_in_every_order_of_the_tests():
    RNG.bit_generator.state = START


def judged(**columns):
    return choose_features(pa.table(columns), None, set())


def texts(values):
    return [str(value) for value in values]


# --- what is dropped ---


def test_a_copy_of_a_column_is_dropped_and_named():
    x = RNG.normal(size=100)
    other = x.copy()
    other[-1] += 1
    found = judged(x=x, other=other, copy=x.copy(), words=["a", "b"] * 50, again=["a", "b"] * 50)
    assert [choice.name for choice in found.features] == ["x", "other", "words"]
    assert found.dropped == {
        "copy": "it is the same as 'x' in every row",
        "again": "it is the same as 'words' in every row",
    }


def test_a_copy_that_is_asked_for_is_kept():
    x = RNG.normal(size=100)
    found = choose_features(pa.table({"x": x, "y": x}), {"x": "numeric", "y": "numeric"}, set())
    assert len(found.features) == 2


def test_columns_of_equal_beginnings_are_compared_to_the_end():
    table = pa.table({"a": [1.0] * 1000 + [2.0], "b": [1.0] * 1000 + [3.0], "c": [1] * 1001})
    assert duplicates(table, ["a", "b", "c"]) == {}


# --- what is noted ---


@pytest.mark.parametrize(
    ("name", "kind", "values", "note"),
    [
        ("d", "numeric", [20240101 + i for i in range(28)], "dates written as numbers"),
        ("d", "numeric", [20240101, 20241399], None),
        ("t", "numeric", [1_700_000_000 + i for i in range(9)], "unix-seconds"),
        ("t", "numeric", [1_700_000_000_000 + i for i in range(9)], "unix-milliseconds"),
        ("zip", "numeric", ["02139", "10001"], "leading zeros"),
        ("job_code", "numeric", [1, 2, 3, 2], "3 whole numbers"),
        ("rooms", "numeric", [1, 2, 3, 2], None),
        ("x", "numeric", [1.5] * 1999 + [2], "99.95% of the rows have one value"),
        ("x", "categorical", ["a"] * 1999 + ["b"], "99.95% of the rows have one value"),
        ("x", "categorical", ["1", "2", "3", "lots"], "75% of the values are numbers"),
        ("x", "categorical", texts(range(1000, 1100)) + ["a"] * 100, "50% of the values"),
        ("x", "categorical", [f"v{i}" for i in range(60)] + ["a"] * 40, "60% of the rows have"),
        ("x", "categorical", ["a", "b"] * 50, None),
        ("x", "text", ["a b c d"] * 2000, None),
    ],
)
def test_odd_columns_are_noted(name, kind, values, note):
    found = column_note(name, kind, pa.array(texts(values) if kind != "numeric" else values))
    assert (found is None) if note is None else (note in found)


@pytest.mark.parametrize("name", ["id", "customer_id", "orderId", "row-key", "UUID", "Customer ID"])
def test_numbers_called_an_id_are_noted_if_each_is_one_rows_own(name):
    values = RNG.permutation(100) * 7
    assert "by its name an id" in column_note(name, "numeric", pa.array(texts(values)))
    values[0] = values[1]
    assert column_note(name, "numeric", pa.array(texts(values))) is None


@pytest.mark.parametrize("name", ["paid", "valid", "amount", "monkey", "idle"])
def test_other_numbers_are_not_noted_even_if_all_differ(name):
    assert column_note(name, "numeric", pa.array(texts(RNG.permutation(100) * 7))) is None


def test_notes_go_with_guessed_kinds_only():
    zips = ["02139", "10001"] * 50
    assert "zip" in judged(zip=zips).notes
    assert choose_features(pa.table({"zip": zips}), {"zip": "numeric"}, set()).notes == {}


# --- leaks ---


def leaky(kind, values, truth, n_classes):
    table = pa.table({"f": values, "noise": RNG.normal(size=len(truth))})
    return leaks(table, [Choice("f", kind), Choice("noise", "numeric")], truth, n_classes)


def test_a_number_that_gives_the_class_away_is_found():
    truth = RNG.integers(0, 2, 2000)
    assert "ROC" in leaky("numeric", truth * 5 + RNG.normal(size=2000) * 0.5, truth, 2)["f"]
    assert leaky("numeric", truth + RNG.normal(size=2000), truth, 2) == {}


def test_a_null_that_gives_the_class_away_is_found():
    truth = RNG.integers(0, 2, 2000)
    values = pa.array(RNG.normal(size=2000), mask=truth == 1)
    assert set(leaky("numeric", values, truth, 2)) == {"f"}


def test_a_category_that_gives_the_class_away_is_found():
    truth = RNG.integers(0, 4, 2000)
    assert "accuracy 1.0000" in leaky("categorical", [f"c{k}" for k in truth], truth, 4)["f"]
    mixed = np.where(RNG.random(2000) < 0.1, RNG.integers(0, 4, 2000), truth)
    assert leaky("categorical", [f"c{k}" for k in mixed], truth, 4) == {}


def test_being_right_about_a_frequent_class_is_no_leak():
    truth = (RNG.random(4000) < 0.002).astype(np.int64) * 2
    assert leaky("categorical", ["a"] * 3999 + ["b"], truth, 3) == {}


def test_a_number_that_gives_the_value_away_is_found():
    truth = RNG.lognormal(size=3000)
    assert "R squared" in leaky("numeric", np.log(truth) * 3, truth, 0)["f"]
    assert leaky("numeric", np.log(truth) + RNG.normal(size=3000) * 0.3, truth, 0) == {}
    days = pa.array((truth * 1e6).astype(np.int64)).cast(pa.timestamp("s"))
    assert set(leaky("timestamp", days, truth, 0)) == {"f"}
    steps = np.round(np.minimum(truth, 4))
    assert set(leaky("categorical", [f"v{step}" for step in steps], steps, 0)) == {"f"}


def test_a_leak_is_warned_of_and_used():
    y = RNG.normal(size=500)
    examples = prepare(pa.table({"x": y * 2 + 1, "y": y}), Request(target="y", name="m"))
    assert [choice.name for choice in examples.choices.features] == ["x"]
    (warning,) = [w for w in examples.warnings if "alone" in w]
    assert warning.startswith("Column 'x' alone predicts the target almost perfectly (R squared")


# --- targets and objectives ---


def prepared(y, **fields):
    return prepare(
        pa.table({"x": RNG.normal(size=len(y)), "y": y}), Request(target="y", name="m", **fields)
    )


@pytest.mark.parametrize(
    ("y", "default"),
    [
        (["a", "b"] * 100, "maximize-au-roc"),
        (["a", "b", "c", "d"] * 50, "minimize-log-loss"),
        (RNG.normal(size=200), "minimize-rmse"),
    ],
)
def test_every_problem_has_its_objective(y, default):
    assert prepared(y).objective == default


@pytest.mark.parametrize(
    ("y", "objective", "message"),
    [
        (["a", "b"] * 100, "minimize-mae", "two classes takes maximize-au-roc or"),
        (["a", "b", "c", "d"] * 50, "maximize-au-roc", "4 classes takes minimize-log-loss, not"),
        (RNG.normal(size=200), "minimize-log-loss", "regression takes minimize-rmse or"),
        (np.r_[RNG.random(199), -2.5], "minimize-rmsle", "1 values of 'y' are below, down to -2.5"),
    ],
)
def test_an_objective_that_does_not_go_with_the_target_is_refused(y, objective, message):
    with pytest.raises(InvalidRequest, match=message) as caught:
        prepared(y, objective=objective)
    assert [violation.field for violation in caught.value.violations] == ["objective"]


def test_a_constant_value_is_nothing_to_learn():
    with pytest.raises(InvalidRequest, match=r"the target is 2\.5 in every row"):
        prepared([2.5] * 100, prediction_type="regression")


def test_a_class_of_one_row_is_named():
    examples = prepared(["a", "b"] * 100 + ["lonely"])
    assert any("Of 1 class there is one row only: 'lonely'." in w for w in examples.warnings)
    assert 2 in examples.truth[examples.split.train]


def test_too_many_or_too_few_columns_are_refused():
    with pytest.raises(InvalidRequest, match="has 1 column; training takes 2 to 1000"):
        prepare(pa.table({"y": ["a", "b"] * 50}), Request(target="y", name="m"))
    wide = pa.table({f"c{i}": ["a", "b"] * 50 for i in range(1001)})
    with pytest.raises(InvalidRequest, match="has 1001 columns"):
        prepare(wide, Request(target="c0", name="m"))
