"""XGBoost's models: the library's leaves exactly, and its margins to float32's precision."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
import xgboost

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import SET_NAN_LEFT, forest_arrays, reference_leaves, reference_margins
from rowcast.scoring.formats.xgboost import read_xgboost
from rowcast.scoring.program import Program
from tests.scoring.float32s import HARD, around

OBJECTIVES = [
    *("reg:squarederror", "reg:squaredlogerror", "reg:absoluteerror", "reg:pseudohubererror"),
    *("reg:logistic", "reg:gamma", "reg:tweedie", "count:poisson", "survival:cox"),
    *("binary:logistic", "binary:logitraw", "binary:hinge", "multi:softmax", "multi:softprob"),
    *("rank:ndcg", "rank:pairwise"),
]


def data(seed=1, rows=400, columns=4):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns))
    matrix[:, 0] = rng.choice(HARD, rows)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix, rng.integers(0, 3, rows)


def trained(seed=1, rounds=4, **settings):
    matrix, target = data(seed)
    settings = {"objective": "reg:squarederror", "max_depth": 4, "nthread": 1, **settings}
    if settings["objective"].startswith("multi"):
        settings["num_class"] = 3
    elif settings["objective"].split(":")[0] in ("binary", "rank") or "log" in str(settings):
        target = target > 0
    else:
        target = target / 2 + 0.5
    rows = xgboost.DMatrix(matrix, target)
    if settings["objective"].startswith("rank"):
        rows.set_group([len(matrix)])
    return xgboost.train(settings, rows, rounds)


def content_of(booster, raw_format="json"):
    return bytes(booster.save_raw(raw_format))


def trees_of(booster):
    return json.loads(content_of(booster))["learner"]["gradient_booster"]["model"]["trees"]


def settings_of(booster):
    model = json.loads(content_of(booster))["learner"]["gradient_booster"]["model"]
    return model["gbtree_model_param"]


def assert_equal(booster, matrix, **kinds):
    """Compare each row's leaf in each tree by the leaf's value, then the sums."""
    rows = xgboost.DMatrix(matrix, **kinds)
    for raw_format in ("json", "ubj"):
        forest = read_xgboost(content_of(booster, raw_format))
        trees, outputs = trees_of(booster), forest.outputs
        theirs = booster.predict(rows, pred_leaf=True).reshape(len(matrix), len(trees))
        parallel = settings_of(booster)["num_parallel_tree"]
        rounds = np.arange(len(trees)).reshape(-1, outputs, int(parallel))
        for number, tree in enumerate(rounds.transpose(0, 2, 1).ravel().tolist()):
            ours = reference_leaves(forest, number, matrix) + forest.leaf_starts[number]
            expected = np.float32(trees[tree]["split_conditions"])[theirs[:, tree].astype(int)]
            assert np.array_equal(forest.values[ours], expected), number
        margins = reference_margins(forest, matrix)
        assert Program(forest).margins(matrix).tobytes() == margins.tobytes()
        expected = booster.predict(rows, output_margin=True).reshape(-1, outputs)
        assert np.allclose(margins, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_gives_its_margins(objective):
    assert_equal(trained(objective=objective), data(2)[0])
    assert_equal(trained(objective=objective, base_score=0.3), data(2)[0])


@pytest.mark.parametrize("seed", range(6))
def test_decisions_are_the_same_beside_every_threshold(seed):
    booster = trained(seed, objective="multi:softprob", max_depth=6, max_bin=50)
    thresholds = np.concatenate([tree["split_conditions"] for tree in trees_of(booster)])
    edges = around(np.float32(thresholds))
    edges = edges[np.abs(edges) < 3.4e38]  # XGBoost refuses data that is infinite as float32
    matrix = np.random.default_rng(seed).choice(np.append(edges, np.nan), (3000, 4))
    assert_equal(booster, matrix)


@pytest.mark.parametrize("limit", [*HARD.tolist(), np.inf, -np.inf])
def test_a_threshold_of_any_size_parts_the_doubles_as_float32_does(limit):
    matrix = np.append(around(np.float32([limit])), np.nan)[:, None]
    with np.errstate(over="ignore"):
        expected = np.where(matrix.astype(np.float32) < np.float32(limit), 1.0, 2.0)
    for default_left in (0, 1):
        expected[-1] = 1.0 if default_left else 2.0
        found = json.loads(content_of(trained(max_depth=1, rounds=1, base_score=0)))
        tree = found["learner"]["gradient_booster"]["model"]["trees"][0]
        tree.update(split_conditions=[limit, 1, 2], default_left=[default_left, 0, 0])
        tree.update(left_children=[1, -1, -1], right_children=[2, -1, -1])
        tree.update(split_indices=[0, 0, 0], split_type=[0, 0, 0])
        forest = read_xgboost(json.dumps(found).encode())
        wide = np.tile(matrix, (1, 4))
        assert np.array_equal(reference_margins(forest, wide), expected)
        assert np.array_equal(Program(forest).margins(wide), expected)
        assert np.array_equal(Program(forest).margins(wide[-1:]), expected[-1:])


@pytest.mark.parametrize(
    "settings",
    [
        {"objective": "multi:softprob", "num_parallel_tree": 3, "subsample": 0.5},
        {"tree_method": "exact", "gamma": 0.5},
        {"tree_method": "approx"},
        {"grow_policy": "lossguide", "max_leaves": 40, "max_depth": 0},
        {"max_depth": 12, "min_child_weight": 0},
        {"rounds": 0},
        {"min_child_weight": 1e9},
        {"objective": "multi:softprob", "rounds": 0},
    ],
    ids=str,
)
def test_a_model_of_any_growth_is_read_whole(settings):
    assert_equal(trained(**settings), data(3)[0])


def test_several_targets_are_several_outputs():
    matrix, target = data()
    rows = xgboost.DMatrix(matrix, np.stack([target, target**2.0], axis=1))
    booster = xgboost.train({"nthread": 1, "max_depth": 3}, rows, 4)
    assert read_xgboost(content_of(booster)).outputs == 2
    assert_equal(booster, data(2)[0])
    settings = {"nthread": 1, "multi_strategy": "multi_output_tree"}
    with pytest.raises(ModelDamaged, match="leaves of several outputs"):
        read_xgboost(content_of(xgboost.train(settings, rows, 2)))


def test_dart_weighs_its_trees():
    booster = trained(booster="dart", rate_drop=0.5, rounds=8)
    forest = read_xgboost(content_of(booster))
    matrix = data(2)[0]
    expected = booster.predict(xgboost.DMatrix(matrix), output_margin=True)
    assert np.allclose(reference_margins(forest, matrix)[:, 0], expected, rtol=1e-5, atol=1e-5)


def test_json_and_ubjson_are_one_model():
    booster = trained(objective="multi:softprob")
    one, two = (forest_arrays(read_xgboost(content_of(booster, f))) for f in ("json", "ubj"))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_what_is_not_supported_is_named():
    with pytest.raises(ModelDamaged, match="the booster 'gblinear'"):
        read_xgboost(changed("learner", "gradient_booster", "name", to="gblinear"))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("onehot", [1, 100])
def test_categories_are_split_as_xgboost_splits_them(seed, onehot):
    rng = np.random.default_rng(seed)
    matrix = np.stack([rng.integers(0, 90, 2000), rng.integers(0, 5, 2000)], axis=1).astype(float)
    matrix = np.concatenate([matrix, rng.normal(size=(2000, 1))], axis=1)
    target = np.sin(7 * matrix[:, 0]) + matrix[:, 1] + matrix[:, 2]
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    kinds = {"feature_types": ["c", "c", "float"], "enable_categorical": True}
    settings = {"nthread": 1, "max_cat_to_onehot": onehot, "max_depth": 5}
    booster = xgboost.train(settings, xgboost.DMatrix(matrix, target, **kinds), 8)
    assert (read_xgboost(content_of(booster)).missing >= SET_NAN_LEFT).any()
    whole = np.array([0, 1, 2, 31, 32, 50, 89, 90, 95, 96, 2**24 - 1, 2**24])
    beside = np.concatenate([np.nextafter(whole, -1), np.nextafter(whole, 1e9), whole + 0.5])
    odd = rng.choice([*whole, *beside, -1.0, -0.5, -0.0, 1e9, np.nan], (1000, 3))
    assert_equal(booster, matrix, **kinds)
    assert_equal(booster, odd, **kinds)


# --- damage -------------------------------------------------------------------------------------


def changed(*path, to):
    model = json.loads(content_of(trained()))
    found = model
    for key in path[:-1]:
        found = found[key]
    found[path[-1]] = to
    return json.dumps(model).encode()


MODEL = ("learner", "gradient_booster", "model")
TREE = (*MODEL, "trees", 0)


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("version",), [2, 1, 0], "reads version 3"),
        (("version",), {}, "not a list"),
        (("learner",), [], "lacks"),
        (("learner", "objective", "name"), "mine", "the objective 'mine'"),
        (("learner", "objective", "name"), ["x"], "the objective"),
        (("learner", "learner_model_param", "base_score"), "x", "base_score"),
        (("learner", "learner_model_param", "base_score"), "[1E99]", "infinite base"),
        (("learner", "learner_model_param", "base_score"), "[1, 2]", "2 base scores"),
        (("learner", "learner_model_param", "base_score"), "[[1]]", "not a list of float"),
        (("learner", "learner_model_param", "num_feature"), "0", "num_feature='0'"),
        (("learner", "learner_model_param", "num_feature"), "1", "a column that is not of 1"),
        (("learner", "learner_model_param", "num_feature"), True, "num_feature='True'"),
        (("learner", "learner_model_param", "num_class"), "2", "same number per output|which of"),
        ((*MODEL, "tree_info"), [0, 0, 0, 1], "which of 1 outputs"),
        ((*MODEL, "tree_info"), [0], "which of 1 outputs"),
        ((*MODEL, "trees"), [], "which of 1 outputs"),
        ((*TREE, "tree_param", "size_leaf_vector"), "2", "several outputs"),
        ((*TREE, "split_type", 0), 1, "split without categories"),
        ((*TREE, "categories_nodes"), [0], "nodes that do not exist"),
        ((*TREE, "left_children", 0), 500, "does not exist"),
        ((*TREE, "left_children", 0), -2, "does not exist"),
        ((*TREE, "left_children", 0), -1, "does not exist"),
        ((*TREE, "left_children", 0), 0, "two parents"),
        ((*TREE, "left_children", 0), 2, "two parents"),
        ((*TREE, "left_children", 0), 1.0, "not a list of int"),
        ((*TREE, "left_children", 0), 1 << 80, "not a list of int"),
        ((*TREE, "left_children", 0), "1", "not a list of int"),
        ((*TREE, "left_children", 0), [1], "not a list of int"),
        ((*TREE, "left_children"), [], "Tree 0 of the forest is empty"),
        ((*TREE, "right_children", 0), -1, "does not exist"),
        ((*TREE, "split_conditions", 0), float("nan"), "threshold that is no number"),
        ((*TREE, "split_conditions", -1), float("inf"), "infinite leaf"),
        ((*TREE, "split_conditions", -1), 1e300, "infinite leaf"),
        ((*TREE, "split_conditions"), [1.0], "too few, or too many, split_conditions"),
        ((*TREE, "split_indices", 0), -1, "a column that is not of 4"),
    ],
)
def test_damage_is_named(path, to, message):
    with pytest.raises(ModelDamaged, match=message):
        read_xgboost(changed(*path, to=to))


@pytest.mark.parametrize(
    ("part", "to", "message"),
    [
        ("categories_nodes", [500], "nodes that do not exist"),
        ("categories_nodes", [0, 0], "nodes that do not exist"),
        ("categories_segments", [1], "does not list"),
        ("categories_segments", [-1], "does not list"),
        ("categories_sizes", [3], "does not list"),
        ("categories_sizes", [-1], "does not list"),
        ("categories", [1, -1], "category that is not under"),
        ("categories", [1, 1 << 24], "category that is not under"),
        ("categories", ["1", "2"], "not a list of int"),
    ],
)
def test_damaged_categories_are_named(part, to, message):
    model = json.loads(content_of(trained()))
    tree = model["learner"]["gradient_booster"]["model"]["trees"][0]
    tree["split_type"][0] = 1
    tree.update(categories=[1, 5], categories_nodes=[0])
    tree.update(categories_segments=[0], categories_sizes=[2])
    assert read_xgboost(json.dumps(model).encode()).set_edges.tolist() == pytest.approx(
        [1, 2, 5, 6]
    )
    tree[part] = to
    with pytest.raises(ModelDamaged, match=message):
        read_xgboost(json.dumps(model).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"{}",
        b"[]",
        b"null",
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b"{L\0\0\0\0\0\0\0\1a[$d#L\x7f\0\0\0\0\0\0\0}",
        b"{L\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\xff\xfe",
        b"tree\nversion=v4\n",
    ],
    ids=lambda content: repr(content[:12]),
)
def test_what_is_no_model_is_refused(content):
    with pytest.raises(ModelDamaged):
        read_xgboost(content)


@pytest.mark.parametrize("raw_format", ["json", "ubj"])
def test_every_truncation_is_refused(raw_format):
    content = content_of(trained(rounds=2), raw_format)
    for size in range(0, len(content), 11):
        with pytest.raises(ModelDamaged):
            read_xgboost(content[:size])
    with pytest.raises(ModelDamaged):
        read_xgboost(content + b"{}")


@pytest.mark.parametrize("raw_format", ["json", "ubj"])
@pytest.mark.parametrize("seed", range(2))
def test_any_mutation_is_refused_or_scored(seed, raw_format):
    dice = random.Random(seed)
    content = content_of(trained(seed, rounds=2, max_depth=3), raw_format)
    row = np.array([[0.5, np.nan, -1.0, 0.0]])
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(damaged))
            if dice.randrange(2):
                damaged[at] ^= 1 << dice.randrange(8)
            else:
                damaged[at] = dice.choice(b"0123456789-.E\0\xff")
        try:
            forest = read_xgboost(bytes(damaged))
        except ModelDamaged:
            refused += 1
            continue
        if forest.n_columns < 1000:
            matrix = np.resize(row, (3, forest.n_columns))
            expected = reference_margins(forest, matrix)
            assert Program(forest).margins(matrix).tobytes() == expected.tobytes()
    assert refused > 100
