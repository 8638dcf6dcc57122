"""Reading forests, and the reference that says what they mean."""

from __future__ import annotations

import random
from dataclasses import fields

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import read_lightgbm, reference_margins
from rowcast.scoring.program import Program
from tests.scoring.forests import draw_forest, draw_matrix, lightgbm_text


def library_margins(content, matrix):
    booster = lightgbm.Booster(model_str=content.decode())
    raw = booster.predict(matrix, raw_score=True, num_threads=1)
    return raw.reshape(len(matrix), -1)


def small(seed=1, **options):
    return lightgbm_text(draw_forest(np.random.default_rng(seed), **options))


@given(
    seed=st.integers(0, 2**32),
    trees=st.integers(1, 6),
    outputs=st.integers(1, 4),
    most=st.integers(1, 50),
    columns=st.integers(1, 8),
)
def test_the_reference_equals_lightgbm_to_the_last_bit(seed, trees, outputs, most, columns):
    rng = np.random.default_rng(seed)
    forest = draw_forest(rng, trees=trees, outputs=outputs, leaves=(1, most), columns=columns)
    matrix = draw_matrix(rng, forest, 60)
    expected = library_margins(lightgbm_text(forest), matrix)
    assert reference_margins(forest, matrix).tobytes() == expected.tobytes()


@given(seed=st.integers(0, 2**32), outputs=st.integers(1, 3))
def test_what_is_read_is_what_was_written(seed, outputs):
    forest = draw_forest(np.random.default_rng(seed), outputs=outputs)
    found = read_lightgbm(lightgbm_text(forest))
    for field in fields(forest):
        one, two = getattr(forest, field.name), getattr(found, field.name)
        assert np.array_equal(one, two), field.name
        assert getattr(one, "dtype", None) == getattr(two, "dtype", None), field.name


def trained(**settings):
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(800, 3))
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    target = np.abs(rng.integers(0, 3, 800))
    if settings.get("objective") != "multiclass":
        target = target.astype(float) / 2 if settings["objective"] == "regression" else target > 0
    data = lightgbm.Dataset(matrix, target, params={"verbosity": -1})
    return lightgbm.train({"verbosity": -1, "num_threads": 1, **settings}, data, 8), matrix


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "binary"},
        {"objective": "binary", "boost_from_average": False},
        {"objective": "multiclass", "num_class": 3},
        {"objective": "regression"},
        {"objective": "regression", "zero_as_missing": True},
        {"objective": "regression", "use_missing": False},
        {"objective": "regression", "boosting": "dart"},
        {"objective": "regression", "min_data_in_leaf": 800},
        {"objective": "regression", "num_leaves": 255, "min_data_in_leaf": 1, "max_bin": 5000},
    ],
)
def test_a_trained_forest_is_read_whole(settings):
    booster, matrix = trained(**settings)
    expected = booster.predict(matrix, raw_score=True).reshape(len(matrix), -1)
    forest = read_lightgbm(booster.model_to_string().encode())
    assert reference_margins(forest, matrix).tobytes() == expected.tobytes()
    assert Program(forest).margins(matrix).tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("settings", "feature"),
    [
        ({"objective": "regression", "linear_tree": True}, "linear leaves"),
        (
            {
                "objective": "regression",
                "boosting": "rf",
                "bagging_fraction": 0.5,
                "bagging_freq": 1,
            },
            "averaged outputs",
        ),
    ],
)
def test_what_is_not_supported_is_named(settings, feature):
    booster, _ = trained(**settings)
    with pytest.raises(ModelDamaged, match=feature):
        read_lightgbm(booster.model_to_string().encode())


def test_categorical_splits_are_named():
    rng = np.random.default_rng(3)
    matrix = rng.integers(0, 5, (500, 2)).astype(float)
    data = lightgbm.Dataset(matrix, matrix[:, 0] % 2, categorical_feature=[0, 1])
    booster = lightgbm.train({"verbosity": -1, "objective": "regression"}, data, 2)
    with pytest.raises(ModelDamaged, match="Tree 0 was trained with categorical splits"):
        read_lightgbm(booster.model_to_string().encode())
    with pytest.raises(ModelDamaged, match="categorical splits"):
        read_lightgbm(lines_replaced(small(), "decision_type", lambda v: v.replace("2", "1", 1)))


def lines_replaced(content, key, change):
    lines = content.decode().split("\n")
    start = f"{key}="
    return "\n".join(
        start + change(line.removeprefix(start)) if line.startswith(start) else line
        for line in lines
    ).encode()


def first(change):
    return lambda value: " ".join([change(value.split()[0]), *value.split()[1:]])


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("version", lambda _: "v3", "format version 'v3'"),
        ("num_tree_per_iteration", lambda _: "0", "num_tree_per_iteration='0'"),
        ("num_tree_per_iteration", lambda _: "2", "holds 5 trees"),
        ("max_feature_idx", lambda _: "-1", "max_feature_idx='-1'"),
        ("max_feature_idx", lambda _: "0", "a column that is not of 1"),
        ("tree_sizes", lambda value: value + " 9", "announces 6"),
        ("num_leaves", lambda _: "1000000000000", "num_leaves='1000000000000'"),
        ("num_leaves", lambda _: "0", "num_leaves='0'"),
        ("num_leaves", lambda value: str(int(value) + 1), "its leaves call for"),
        ("split_feature", first(lambda _: "-1"), "a column that is not"),
        ("split_feature", first(lambda _: "0.5"), "not numbers"),
        ("split_feature", first(lambda _: "9" * 30), "not numbers"),
        ("threshold", first(lambda _: "nan"), "not numbers"),
        ("threshold", first(lambda _: "1_0"), "not numbers"),
        ("threshold", first(lambda _: "1e"), "not numbers"),
        ("leaf_value", first(lambda _: "inf"), "an infinite leaf"),
        ("leaf_value", first(lambda _: "1e999"), "an infinite leaf"),
        ("leaf_value", lambda value: value + " 1", "its leaves call for"),
        ("decision_type", first(lambda _: "14"), "unknown decision_type"),
        ("decision_type", first(lambda _: "257"), "unknown decision_type"),
        ("left_child", first(lambda _: "0"), "before its parent"),
        ("left_child", first(lambda _: "500"), "does not exist"),
        ("left_child", first(lambda _: "-500"), "does not exist"),
        ("left_child", first(lambda _: "-1"), "without one parent"),
        ("right_child", first(lambda _: "-2"), "without one parent"),
        ("Tree", lambda value: value + "0", "is called '00'"),
        ("num_cat", lambda _: "1", "categorical splits"),
    ],
)
def test_damage_is_named(key, change, message):
    with pytest.raises(ModelDamaged, match=message):
        read_lightgbm(lines_replaced(small(seed=4, leaves=(20, 40)), key, change))


@pytest.mark.parametrize(
    "content",
    [b"", b"tree\n", b"\xff", b"\nend of trees", b"tree\nversion=v4\nend of trees\n", b"[1]"],
)
def test_what_is_no_forest_is_refused(content):
    with pytest.raises(ModelDamaged):
        read_lightgbm(content)


def test_every_truncation_is_refused():
    whole = small()
    end = whole.index(b"\nend of trees") + len(b"\nend of trees")
    for size in range(0, end, 7):
        with pytest.raises(ModelDamaged):
            read_lightgbm(whole[:size])


@pytest.mark.parametrize("seed", range(4))
def test_any_mutation_is_refused_or_scored(seed):
    dice = random.Random(seed)
    whole = small(seed, trees=3, leaves=(1, 12))
    row = np.array([[0.5, np.nan, -1.0, 0.0]])
    for _ in range(250):
        damaged = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(damaged))
            what = dice.randrange(4)
            if what == 0:
                damaged[at] ^= 1 << dice.randrange(8)
            elif what == 1:
                damaged[at] = dice.choice(b"0123456789-.e= \n")
            elif what == 2:
                del damaged[at : at + dice.randrange(1, 40)]
            else:
                other = dice.randrange(len(damaged))
                damaged[at:at] = damaged[other : other + 30]
        try:
            forest = read_lightgbm(bytes(damaged))
        except ModelDamaged:
            continue
        if forest.n_columns > 1000:
            continue
        matrix = np.resize(row, (3, forest.n_columns))
        expected = reference_margins(forest, matrix)
        assert Program(forest).margins(matrix).tobytes() == expected.tobytes()
