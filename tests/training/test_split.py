"""Who learns, who chooses, who measures."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from rowcast.errors import InvalidRequest
from rowcast.training.data import read_table
from rowcast.training.examples import prepare
from rowcast.training.request import Request, SplitRule
from rowcast.training.split import draw_split, shares_of, split_rows


def sizes(split):
    return len(split.train), len(split.validation), len(split.test)


def arrays(split):
    return split.train, split.validation, split.test


def sets_of(split):
    return [set(rows.tolist()) for rows in arrays(split)]


def numbered(rows, **columns):
    return pa.table({"x": [str(i) for i in range(rows)], **columns})


# --- fractions ---


@pytest.mark.parametrize(
    ("given", "shares"),
    [
        ((None, None, None), (0.8, 0.1, 0.1)),
        ((0.6, None, None), (0.6, 0.2, 0.2)),
        ((None, 0.3, 0.3), (0.4, 0.3, 0.3)),
        ((0.3, 0.1, 0.1), (0.6, 0.2, 0.2)),
        ((0.5, 0.25, 0.25), (0.5, 0.25, 0.25)),
        ((None, 0.2, None), (0.8 / 0.9 * 0.8, 0.2, 0.1 / 0.9 * 0.8)),
    ],
)
def test_open_shares_are_filled_in(given, shares):
    assert shares_of(SplitRule("fraction", None, *given)) == pytest.approx(shares)


def test_fractions_are_kept_and_every_row_is_in_one_set():
    split = split_rows(numbered(1000), SplitRule("fraction", None, 0.5, 0.2, 0.3), 0)
    assert sizes(split) == (500, 200, 300)
    assert np.array_equal(np.sort(np.concatenate(arrays(split))), np.arange(1000))
    assert all((np.diff(rows) > 0).all() for rows in arrays(split))


def test_the_same_data_and_seed_give_the_same_split():
    one, same, other = (split_rows(numbered(500), SplitRule(), seed) for seed in (3, 3, 4))
    assert sets_of(one) == sets_of(same)
    assert sets_of(one) != sets_of(other)
    assert sets_of(one) == sets_of(draw_split(500, 3))


def test_a_small_share_is_worth_a_row():
    assert sizes(split_rows(numbered(30), SplitRule("fraction", None, 0.98, 0.01, 0.01), 0)) == (
        28,
        1,
        1,
    )


def test_a_set_without_rows_is_refused():
    with pytest.raises(InvalidRequest, match="leaves none for test"):
        split_rows(numbered(50), SplitRule("fraction", None, 0.9, 0.1, 0.0), 0)
    with pytest.raises(InvalidRequest, match="leaves none for training"):
        split_rows(numbered(50), SplitRule("fraction", None, 0.0, 0.5, 0.5), 0)
    with pytest.raises(InvalidRequest, match="all 0"):
        split_rows(numbered(50), SplitRule("fraction", None, 0.0, 0.0, 0.0), 0)


def test_every_class_is_taught():
    classes = np.zeros(1000, np.int64)
    classes[::100] = np.arange(1, 11)  # ten classes of one row each
    for seed in range(20):
        split = split_rows(numbered(1000), SplitRule(), seed, classes)
        assert set(classes[split.train]) == set(range(11))
        assert sizes(split) == (800, 100, 100)


# --- predefined ---


def test_predefined_sets_are_kept_in_any_case_and_the_rest_is_left_out():
    names = [
        "TRAIN",
        "train",
        "Training",
        "VALIDATE",
        "validation",
        "TEST",
        "Test",
        "",
        "else",
        None,
    ]
    split = split_rows(numbered(100, s=names * 10), SplitRule("predefined", "s"), 0)
    assert sizes(split) == (30, 20, 20)
    assert set((split.train % 10).tolist()) == {0, 1, 2}
    assert set((split.test % 10).tolist()) == {5, 6}
    assert split.left_out == {"names no set to split by": 30}


def test_unassigned_rows_are_drawn_around_the_test_rows():
    names = ["TEST"] + ["UNASSIGNED"] * 9
    split = split_rows(numbered(1000, s=names * 100), SplitRule("predefined", "s"), 0)
    assert sizes(split) == (800, 100, 100)
    assert set((split.test % 10).tolist()) == {0}


def test_unassigned_rows_join_sets_that_are_all_named():
    names = ["TRAIN", "VALIDATE", "TEST", "unassigned", "unassigned"]
    split = split_rows(numbered(1000, s=names * 200), SplitRule("predefined", "s"), 0)
    assert sizes(split) == (520, 240, 240)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["TRAIN", "TEST"], "assigns rows to training, test;"),
        (["TRAIN", "UNASSIGNED"], "training and leaves some unassigned"),
        (["UNASSIGNED", "UNASSIGNED"], "assigns rows to no set and leaves"),
        (["TEST", "TEST"], "assigns rows to test;"),
    ],
)
def test_sets_that_are_missing_are_named(names, message):
    with pytest.raises(InvalidRequest, match=message):
        split_rows(numbered(20, s=names * 10), SplitRule("predefined", "s"), 0)


# --- timestamp ---


def test_the_oldest_rows_are_learned_from_and_the_newest_measured_on():
    days = np.random.default_rng(0).permutation(200)
    texts = [str(np.datetime64("2020-01-01") + int(day)) for day in days]
    texts[0], texts[1] = "soon", ""
    split = split_rows(numbered(200, t=texts), SplitRule("timestamp", "t"), 0)
    assert sizes(split) == (160, 19, 19)
    assert days[split.train].max() < days[split.validation].min()
    assert days[split.validation].max() < days[split.test].min()
    assert split.left_out == {"no readable time to split by": 2}


def test_a_split_by_time_takes_native_timestamps():
    times = pa.array([1_600_000_000 + 60 * i for i in range(100)]).cast(pa.timestamp("s"))
    split = split_rows(numbered(100, t=times), SplitRule("timestamp", "t"), 0)
    assert split.test.tolist() == list(range(90, 100))


# --- stratified ---


def test_strata_are_mirrored_in_every_set():
    values = np.random.default_rng(1).choice(["a", "b", "c"], 3000, p=[0.9, 0.07, 0.03])
    split = split_rows(numbered(3000, s=list(values)), SplitRule("stratified", "s"), 0)
    assert sizes(split) == (2400, 300, 300)
    for value in "abc":
        whole = (values == value).sum()
        assert abs((values[split.test] == value).sum() - whole / 10) <= 1
        assert abs((values[split.validation] == value).sum() - whole / 10) <= 1


def test_rare_values_are_drawn_as_if_they_were_one():
    values = [f"v{i // 2}" for i in range(900)] + ["often"] * 100
    split = split_rows(numbered(1000, s=values), SplitRule("stratified", "s"), 0)
    assert sizes(split) == (800, 100, 100)
    assert (split.test >= 900).sum() == 10


def test_a_stratified_split_does_not_hang_on_the_seed_alone():
    table = numbered(400, s=["a", "b", "c", "d"] * 100)
    one, same, other = (split_rows(table, SplitRule("stratified", "s"), k) for k in (0, 0, 1))
    assert sets_of(one) == sets_of(same)
    assert sets_of(one) != sets_of(other)


# --- in a training request ---


def request(**fields):
    return Request(target="y", name="m", **fields)


def sample(**columns):
    rows = 300
    rng = np.random.default_rng(0)
    y = rng.choice(["no", "yes"], rows).tolist()
    return pa.table({"x": rng.normal(size=rows), **columns, "y": y})


def test_rows_in_no_set_are_no_examples():
    sets = ["TRAIN", "TRAIN", "VALIDATE", "TEST", "later", "TRAIN"] * 50
    examples = prepare(sample(s=sets), request(split=SplitRule("predefined", "s")))
    assert len(examples) == 250
    assert examples.left_out == {"in no set of the split": 50}
    assert sizes(examples.split) == (150, 50, 50)
    assert [choice.name for choice in examples.choices.features] == ["x"]


def test_the_column_that_decides_is_a_feature_if_asked_for():
    table = sample(s=["a", "b", "c"] * 100)
    rule = SplitRule("stratified", "s")
    plain = prepare(table, request(split=rule))
    assert plain.choices.dropped == {"s": "it decides the split"}
    asked = prepare(table, request(split=rule, transformations={"s": "auto", "x": "auto"}))
    assert [choice.name for choice in asked.choices.features] == ["x", "s"]


def test_a_predefined_split_is_never_a_feature():
    table = sample(s=["TRAIN", "VALIDATE", "TEST"] * 100)
    with pytest.raises(InvalidRequest, match=r"transformations\['s'\]"):
        prepare(
            table,
            request(split=SplitRule("predefined", "s"), transformations={"s": "auto", "x": "auto"}),
        )


def test_a_split_by_a_column_that_is_not_there_is_refused():
    with pytest.raises(InvalidRequest, match="no column 'when' to be what decides the split"):
        prepare(sample(), request(split=SplitRule("timestamp", "when")))


def test_the_target_may_be_what_is_mirrored():
    examples = prepare(sample(), request(split=SplitRule("stratified", "y")))
    share = examples.truth.mean()
    assert examples.truth[examples.split.test].mean() == pytest.approx(share, abs=0.04)


def test_files_split_like_dataframes(tmp_path):
    table = sample(s=["TRAIN", "VALIDATE", "TEST"] * 100)
    lines = [
        "x,s,y",
        *(f"{x},{s},{y}" for x, s, y in zip(*table.to_pydict().values(), strict=True)),
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    rule = request(split=SplitRule("predefined", "s"))
    one, other = prepare(table, rule), prepare(read_table(tmp_path / "t.csv"), rule)
    assert sets_of(one.split) == sets_of(other.split)
