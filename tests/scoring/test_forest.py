"""Reading forests, and the reference that says what they mean."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import lightgbm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import (
    NEAR_ZERO,
    SET_NAN_LEFT,
    ZERO_LEFT,
    forest_arrays,
    forest_of,
    make_forest,
    merge_forests,
    reference_margins,
)
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.program import Program
from tests.scoring.forests import draw_forest, draw_matrix, lightgbm_text, share_nodes


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
    content = lightgbm_text(forest, rng.integers(0, 12, len(forest.columns)))
    forest = read_lightgbm(content)
    expected = library_margins(content, matrix)
    assert reference_margins(forest, matrix).tobytes() == expected.tobytes()


@given(seed=st.integers(0, 2**32), outputs=st.integers(1, 3))
def test_what_is_read_is_what_was_written(seed, outputs):
    drawn = draw_forest(np.random.default_rng(seed), outputs=outputs)
    apart = (drawn.missing >= ZERO_LEFT) | (np.abs(drawn.thresholds) > NEAR_ZERO)
    thresholds = np.where(apart, drawn.thresholds, 1.0)
    written = replace(drawn, thresholds=thresholds, base=np.zeros(outputs))
    assert_alike(read_lightgbm(lightgbm_text(written)), written)


def assert_alike(one, two):
    for field in fields(one):
        a, b = getattr(one, field.name), getattr(two, field.name)
        assert np.array_equal(a, b), field.name
        assert getattr(a, "dtype", None) == getattr(b, "dtype", None), field.name


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
    ("settings", "link"),
    [
        ({"objective": "regression"}, lambda margins: margins[:, 0]),
        ({"objective": "binary"}, lambda margins: 1 / (1 + np.exp(-margins[:, 0]))),
        (
            {"objective": "multiclass", "num_class": 3},
            lambda margins: np.exp(margins) / np.exp(margins).sum(axis=1, keepdims=True),
        ),
    ],
)
def test_the_margins_of_a_random_forest_are_means(settings, link):
    booster, matrix = trained(boosting="rf", bagging_fraction=0.5, bagging_freq=1, **settings)
    found = reference_margins(read_lightgbm(booster.model_to_string().encode()), matrix)
    assert np.allclose(link(found), booster.predict(matrix), rtol=1e-13, atol=1e-14)


def test_linear_leaves_are_named():
    booster, _ = trained(objective="regression", linear_tree=True)
    with pytest.raises(ModelDamaged, match="linear leaves"):
        read_lightgbm(booster.model_to_string().encode())


@pytest.mark.parametrize("settings", [{}, {"max_cat_to_onehot": 1}, {"max_cat_to_onehot": 100}])
@pytest.mark.parametrize("outputs", [1, 3])
def test_categories_are_split_as_lightgbm_splits_them(settings, outputs):
    rng = np.random.default_rng(outputs)
    matrix = np.stack([rng.integers(0, 90, 2000), rng.integers(0, 5, 2000)], axis=1).astype(float)
    matrix = np.concatenate([matrix, rng.normal(size=(2000, 1))], axis=1)
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    target = (np.nan_to_num(matrix[:, 0]) % 7 + matrix[:, 1] > 5).astype(float)
    objective = {"objective": "multiclass", "num_class": 3} if outputs > 1 else {}
    settings = {"verbosity": -1, "num_threads": 1, "min_data_per_group": 5, **settings, **objective}
    target = np.nan_to_num(target) + (rng.random(2000) < 0.1)
    data = lightgbm.Dataset(matrix, target, categorical_feature=[0, 1], params={"verbosity": -1})
    booster = lightgbm.train(settings, data, 10)
    forest = read_lightgbm(booster.model_to_string().encode())
    assert (forest.missing >= SET_NAN_LEFT).any()
    hard = [-1.0, -0.5, -0.0, -1e-40, 0.999, 1.5, 89.9999, 90, 95, 96, 1e6, 2**31, 1e30, -1e30]
    odd = rng.choice([*hard, np.inf, -np.inf, np.nan], (500, 3))
    for rows in (matrix, odd):
        expected = booster.predict(rows, raw_score=True, num_threads=1).reshape(len(rows), -1)
        assert reference_margins(forest, rows).tobytes() == expected.tobytes()
        assert Program(forest).margins(rows).tobytes() == expected.tobytes()
        assert Program(forest).margins(rows[:2]).tobytes() == expected[:2].tobytes()


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
        ("num_cat", lambda _: "1", "has 0 numbers as cat_boundaries"),
        ("num_cat", lambda _: "-1", "num_cat='-1'"),
        ("decision_type", first(lambda _: "1"), "a set that does not exist"),
    ],
)
def test_damage_is_named(key, change, message):
    with pytest.raises(ModelDamaged, match=message):
        read_lightgbm(lines_replaced(small(seed=4, leaves=(20, 40)), key, change))


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("num_cat", lambda value: str(int(value) + 1), "as cat_boundaries"),
        ("cat_boundaries", first(lambda _: "1"), "do not part"),
        ("cat_boundaries", lambda value: value + " 0", "as cat_boundaries"),
        ("cat_boundaries", lambda value: " ".join(["0"] * len(value.split())), "do not part"),
        ("cat_threshold", lambda value: value + " 1", "do not part"),
        ("cat_threshold", first(lambda _: "-1"), "no set of bits"),
        ("cat_threshold", first(lambda _: str(1 << 32)), "no set of bits"),
        ("cat_threshold", first(lambda _: "0.5"), "not numbers"),
        ("threshold", first(lambda _: "99"), "a set that does not exist"),
        ("threshold", first(lambda _: "-1"), "a set that does not exist"),
        ("threshold", first(lambda _: "0.5"), "a set that does not exist"),
    ],
)
def test_damaged_categories_are_named(key, change, message):
    drawn = draw_forest(np.random.default_rng(1), trees=1, leaves=(20, 20))
    content = lightgbm_text(drawn, np.full(19, 1))
    read_lightgbm(content)
    with pytest.raises(ModelDamaged, match=message):
        read_lightgbm(lines_replaced(content, key, change))


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
    drawn = draw_forest(np.random.default_rng(seed), trees=3, leaves=(1, 12))
    whole = lightgbm_text(drawn, np.arange(len(drawn.columns)) % 12)
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


def test_the_limits_of_a_column_are_its_thresholds_and_the_edges_of_its_sets():
    drawn = draw_forest(np.random.default_rng(1), sets=3)
    for column in range(drawn.n_columns):
        nodes = np.flatnonzero(drawn.columns == column)
        expected = set()
        for threshold, rule in zip(drawn.thresholds[nodes], drawn.missing[nodes], strict=True):
            number = int(threshold) if rule >= SET_NAN_LEFT else 0
            edges = drawn.set_edges[drawn.set_starts[number] : drawn.set_starts[number + 1]]
            expected |= set(edges.tolist()) if rule >= SET_NAN_LEFT else {float(threshold)}
        assert drawn.limits(column).tolist() == sorted(expected)


# --- arrays -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape",
    [{}, {"sets": 7}, {"trees": 0}, {"leaves": (1, 1)}, {"leaves": (300, 400), "columns": 70_000}],
)
@pytest.mark.parametrize("outputs", [1, 3])
def test_arrays_give_the_forest_back(shape, outputs):
    rng = np.random.default_rng(outputs)
    for forest in (
        draw_forest(rng, outputs=outputs, **shape),
        share_nodes(rng, draw_forest(rng, **shape), outputs),
    ):
        content = save(forest_arrays(forest))
        assert_alike(forest_of(load(content)), forest)


def test_arrays_are_compact():
    forest = draw_forest(np.random.default_rng(1), trees=200, leaves=(31, 31))
    size = sum(array.nbytes for array in forest_arrays(forest).values())
    assert size < 16 * len(forest.values)


@pytest.mark.parametrize("name", sorted(forest_arrays(draw_forest(np.random.default_rng(1)))))
def test_arrays_that_make_no_forest_are_refused(name):
    arrays = forest_arrays(draw_forest(np.random.default_rng(1), columns=200, sets=5))
    forest_of(arrays)
    found = arrays[name]
    narrower = np.zeros(len(found), np.float32)
    for wrong in (None, found[:-1], found[:, None], narrower, found.astype("U9")):
        with pytest.raises(ModelDamaged):
            forest_of({**arrays, name: wrong})


@pytest.mark.parametrize("seed", range(3))
def test_changed_arrays_are_refused_or_scored(seed):
    dice = random.Random(seed)
    rng = np.random.default_rng(seed)
    drawn = draw_forest(rng, trees=3, leaves=(1, 12), sets=3)
    arrays = forest_arrays(share_nodes(rng, drawn, 2) if seed else drawn)
    refused = 0
    for _ in range(300):
        damaged = {name: array.copy() for name, array in arrays.items()}
        array = damaged[dice.choice(sorted(damaged))]
        array.view(np.uint8)[dice.randrange(array.nbytes)] ^= 1 << dice.randrange(8)
        try:
            forest = forest_of(damaged)
        except ModelDamaged:
            refused += 1
            continue
        if forest.n_columns < 1000:
            matrix = rng.normal(size=(3, forest.n_columns))
            expected = reference_margins(forest, matrix)
            assert Program(forest).margins(matrix).tobytes() == expected.tobytes()
    assert refused > 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_columns": 0}, "0 columns"),
        ({"outputs": 2}, "for 2 outputs"),
        ({"base": np.array([np.nan])}, "infinite base"),
        ({"base": np.zeros(2)}, "2 bases"),
        ({"thresholds": np.full(4, np.nan)}, "threshold that is no number"),
        ({"missing": np.array([0, 1, 2, 6])}, "unknown rule"),
        ({"missing": np.array([0, 1, 2, -1])}, "unknown rule"),
        ({"missing": np.array([0, 1, 2, 4])}, "Tree 1 of the forest has a set that"),
        ({"missing": np.full(4, 5), "thresholds": np.full(4, 0.5)}, "a set that does not exist"),
        ({"missing": np.full(4, 5), "thresholds": np.full(4, -1.0)}, "a set that does not exist"),
        ({"missing": np.full(4, 5), "thresholds": np.full(4, np.inf)}, "a set that does not exist"),
        ({"set_starts": np.zeros(0, np.int64)}, "sets of the forest do not lie"),
        ({"set_starts": np.array([0, 3])}, "sets of the forest do not lie"),
        ({"set_starts": np.array([1, 2])}, "sets of the forest do not lie"),
        ({"set_starts": np.array([0, 2, 1, 2])}, "sets of the forest do not lie"),
        ({"set_edges": np.array([1.0, 1.0])}, "edges that do not ascend"),
        ({"set_edges": np.array([1.0, np.nan])}, "edges that do not ascend"),
        ({"set_edges": np.array([1.0, np.inf])}, "edges that do not ascend"),
        ({"left": np.array([1, 1, -1, -1])}, "before its parent"),
        ({"node_starts": np.array([0, 1])}, "do not lie end to end"),
        ({"node_starts": np.array([0, 0])}, "do not lie end to end"),
        ({"leaves": np.array([2, 4]), "node_starts": np.array([0, 0])}, "part of another tree"),
        ({"leaves": np.array([6, 0])}, "no leaf"),
        ({"values": np.zeros(5)}, "5 values for 6 leaves"),
        ({"right": np.array([-4, -2, -3, -2])}, "does not exist"),
        ({"missing": np.zeros(3)}, "differ in length"),
    ],
)
def test_what_makes_no_forest_is_named(change, message):
    fine = {
        "n_columns": 1,
        "outputs": 1,
        "node_starts": np.array([0, 2]),
        "leaves": np.array([3, 3]),
        "columns": np.zeros(4, np.int64),
        "thresholds": np.arange(4.0),
        "missing": np.zeros(4, np.int64),
        "left": np.array([1, -1, 1, -1]),
        "right": np.array([-3, -2, -3, -2]),
        "values": np.zeros(6),
        "base": np.zeros(1),
        "set_starts": np.array([0, 2]),
        "set_edges": np.array([1.0, 2.0]),
    }
    make_forest(**fine)
    make_forest(**{**fine, "missing": np.full(4, 5), "thresholds": np.zeros(4)})
    with pytest.raises(ModelDamaged, match=message):
        make_forest(**{**fine, **change})


# --- forests of forests -------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [1, 3])
def test_a_merged_forest_adds_up_weighted_margins(outputs):
    rng = np.random.default_rng(outputs)
    forests = [
        draw_forest(rng, outputs=outputs, sets=4),
        draw_forest(rng, outputs=outputs, leaves=(1, 1)),
    ]
    forests.append(share_nodes(rng, draw_forest(rng, sets=2), outputs))
    merged = merge_forests(forests, [0.25, -2.0, 0.7])
    matrix = draw_matrix(rng, merged, 200)
    parts = [reference_margins(forest, matrix) for forest in forests]
    expected = 0.25 * parts[0] - 2.0 * parts[1] + 0.7 * parts[2]
    found = Program(merged).margins(matrix)
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-9)
    assert found.tobytes() == reference_margins(merged, matrix).tobytes()


def test_one_forest_of_weight_one_stays_as_it_is():
    forest = draw_forest(np.random.default_rng(1), outputs=2)
    assert_alike(merge_forests([forest], [1.0]), forest)


def test_only_forests_of_one_shape_are_merged():
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="one shape"):
        merge_forests([draw_forest(rng), draw_forest(rng, outputs=2)], [1.0, 1.0])
    with pytest.raises(ValueError, match="shorter"):
        merge_forests([draw_forest(rng), draw_forest(rng)], [1.0])
