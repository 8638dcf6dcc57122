"""CatBoost's models: the library's leaves exactly, and its margins to rounding."""

from __future__ import annotations

import copy
import json
import random

import catboost
import numpy as np
import pytest

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import reference_leaves, reference_margins
from rowcast.scoring.formats.catboost import read_catboost
from rowcast.scoring.program import Program
from tests.scoring.float32s import HARD, around

OBJECTIVES = (
    *("RMSE", "MAE", "Quantile:alpha=0.7", "Poisson", "Tweedie:variance_power=1.5"),
    *("Logloss", "CrossEntropy", "MultiClass", "MultiClassOneVsAll", "RMSEWithUncertainty"),
)


def data(seed=1, rows=400, columns=4):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, columns))
    matrix[:, 0] = rng.choice(HARD, rows)
    matrix[:, 1][rng.random(rows) < 0.1] = np.nan
    return matrix, rng.integers(0, 3, rows)


def trained(seed=1, **settings):
    matrix, target = data(seed)
    if not settings.get("loss_function", "").startswith("Multi"):
        target = target > 0 if settings.get("loss_function") in ("Logloss",) else target / 2
    settings = {"iterations": 5, "depth": 4, "random_seed": seed, "thread_count": 1, **settings}
    quiet = {"verbose": False, "allow_writing_files": False}
    return catboost.CatBoost({**settings, **quiet}).fit(matrix, target)


@pytest.fixture
def content_of(tmp_path):
    def content_of(model):
        model.save_model(tmp_path / "model.json", format="json")
        return (tmp_path / "model.json").read_bytes()

    return content_of


def assert_equal(model, content, matrix):
    forest = read_catboost(content)
    margins = reference_margins(forest, matrix)
    assert Program(forest).margins(matrix).tobytes() == margins.tobytes()
    assert Program(forest).margins(matrix[:3]).tobytes() == margins[:3].tobytes()
    expected = model.predict(matrix, prediction_type="RawFormulaVal", thread_count=1)
    assert np.allclose(margins, expected.reshape(margins.shape), rtol=1e-12, atol=1e-12)
    return forest


def assert_same_leaves(model, forest, matrix):
    theirs = model.calc_leaf_indexes(matrix, thread_count=1)
    for tree in range(forest.n_trees):
        ours = reference_leaves(forest, tree, matrix)
        assert np.array_equal(ours, theirs[:, tree // forest.outputs]), tree


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_gives_its_margins(objective, content_of):
    model = trained(loss_function=objective)
    matrix = data(2)[0]
    assert_same_leaves(model, assert_equal(model, content_of(model), matrix), matrix)


@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
@pytest.mark.parametrize("seed", range(4))
def test_decisions_are_the_same_beside_every_border(seed, nan_mode, content_of):
    model = trained(seed, loss_function="MultiClass", depth=6, nan_mode=nan_mode)
    content = content_of(model)
    borders = [feature["borders"] for feature in json.loads(content)["features_info"][FLOATS]]
    edges = np.append(around(np.float32(np.concatenate(borders))), np.nan)
    matrix = np.random.default_rng(seed).choice(edges, (3000, 4))
    matrix[np.isnan(matrix[:, 0]), 0] = 0.0
    forest = assert_equal(model, content, matrix)
    assert_same_leaves(model, forest, matrix)


@pytest.mark.parametrize("limit", [*HARD.tolist(), np.inf, -np.inf])
@pytest.mark.parametrize("rule", ["AsIs", "AsFalse", "AsTrue"])
def test_a_border_of_any_size_parts_the_doubles_as_float32_does(limit, rule, content_of):
    matrix = np.append(around(np.float32([limit])), np.nan)[:, None]
    with np.errstate(over="ignore"):
        expected = np.where(matrix.astype(np.float32) > np.float32(limit), 2.0, 1.0)
    expected[-1] = 2.0 if rule == "AsTrue" else 1.0
    split = {"border": limit, "float_feature_index": 0, "split_type": "FloatFeature"}
    model = {
        "features_info": {
            FLOATS: [{"feature_index": 0, "flat_feature_index": 0, "nan_value_treatment": rule}]
        },
        "oblivious_trees": [{"splits": [split], "leaf_values": [1.0, 2.0]}],
        "scale_and_bias": [1, [0]],
    }
    forest = read_catboost(json.dumps(model).encode())
    assert np.array_equal(reference_margins(forest, matrix), expected)
    assert np.array_equal(Program(forest).margins(matrix), expected)


@pytest.mark.parametrize(
    "settings",
    [
        {"grow_policy": "Depthwise"},
        {"grow_policy": "Lossguide", "max_leaves": 20},
        {"grow_policy": "Lossguide", "loss_function": "MultiClass"},
        {"depth": 8, "loss_function": "MultiClass"},
        {"depth": 1},
        {"ignored_features": [0, 2, 3]},
        {"boost_from_average": False, "loss_function": "RMSE"},
        {"model_shrink_rate": 0.1},
        {"l2_leaf_reg": 1e30},
    ],
    ids=str,
)
def test_a_model_of_any_growth_is_read_whole(settings, content_of):
    model = trained(**settings)
    assert_equal(model, content_of(model), data(3)[0])


def test_scale_and_bias_are_applied(content_of):
    model = trained()
    model.set_scale_and_bias(-2.5, 7.25)
    assert_equal(model, content_of(model), data(3)[0])


def test_outputs_share_their_nodes(content_of):
    forest = read_catboost(content_of(trained(loss_function="MultiClass")))
    assert forest.n_trees == 15
    assert np.array_equal(forest.node_starts, np.repeat(15 * np.arange(5), 3))


def test_splits_by_categories_are_named(content_of):
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 6, (300, 2))
    for size in (2, 10):
        settings = {"iterations": 2, "one_hot_max_size": size, "verbose": False}
        model = catboost.CatBoost({**settings, "allow_writing_files": False})
        model.fit(codes, codes[:, 0] % 2, cat_features=[0, 1])
        with pytest.raises(ModelDamaged, match=r"splits of the kind 'On(eHotFeature|lineCtr)'"):
            read_catboost(content_of(model))


# --- damage -------------------------------------------------------------------------------------

FLOATS = "float_features"
SPLIT = ("oblivious_trees", 0, "splits", 0)
FEATURE = ("features_info", FLOATS, 0)


@pytest.mark.parametrize(
    ("path", "to", "message"),
    [
        (("features_info",), 5, "does not list"),
        (("features_info", FLOATS), [], "does not list"),
        ((*FEATURE, "flat_feature_index"), 1, "from 0 on"),
        ((*FEATURE, "flat_feature_index"), -1, "flat_feature_index='-1'"),
        ((*FEATURE, "feature_index"), 1, "what NaN is"),
        ((*FEATURE, "feature_index"), 4, "feature_index='4'"),
        ((*FEATURE, "nan_value_treatment"), "AsMaybe", "what NaN is"),
        ((*FEATURE, "nan_value_treatment"), [], "what NaN is"),
        (("scale_and_bias",), [1], "lacks"),
        (("scale_and_bias",), [1, []], "no bias"),
        (("scale_and_bias",), [float("inf"), [0]], "scale that is no number"),
        (("scale_and_bias",), [1, [float("nan")]], "infinite base"),
        (("scale_and_bias",), [1, [0, 0]], "2 outputs"),
        (("oblivious_trees",), {}, "not a list"),
        (("oblivious_trees",), [[]], "lacks splits"),
        ((*SPLIT, "split_type"), "TextFeature", "kind 'TextFeature'"),
        ((*SPLIT, "float_feature_index"), 4, "does not list"),
        ((*SPLIT, "border"), float("nan"), "border that is no number"),
        ((*SPLIT, "border"), "1", "not a list of float"),
        ((*SPLIT, "border"), None, "not a list of float"),
        (("oblivious_trees", 0, "splits"), [], "values for 0 splits"),
        (("oblivious_trees", 0, "leaf_values"), [1.0], "1 values for 4 splits"),
        (("oblivious_trees", 0, "leaf_values", 0), float("inf"), "infinite leaf"),
        (("oblivious_trees", 0, "leaf_values", 0), True, None),
        (("oblivious_trees", 0, "leaf_values", 0), [1.0], "not a list of float"),
        (("oblivious_trees", 0, "leaf_values", 0), 10**400, "not a list of float"),
    ],
)
def test_damage_is_named(path, to, message, content_of):
    model = json.loads(content_of(trained()))
    found = model
    for key in path[:-1]:
        found = found[key]
    found[path[-1]] = to
    if message is None:
        read_catboost(json.dumps(model).encode())
    else:
        with pytest.raises(ModelDamaged, match=message):
            read_catboost(json.dumps(model).encode())


def test_damage_of_grown_trees_is_named(content_of):
    whole = json.loads(content_of(trained(grow_policy="Lossguide", loss_function="MultiClass")))

    def refused(message, **change):
        model = copy.deepcopy(whole)
        model["trees"][0].update(change)
        with pytest.raises(ModelDamaged, match=message):
            read_catboost(json.dumps(model).encode())

    refused("lacks value", left={})
    refused("lacks value", left=None)
    refused("1 values for 3 outputs", left={"value": 1})
    refused("not a list of float", left={"value": ["1", "2", "3"]})
    refused("lacks split_type", split={})
    deep = {"value": [1, 1, 1]}
    for _ in range(300):
        deep = {"left": deep, "right": {"value": [2, 2, 2]}, "split": whole["trees"][0]["split"]}
    model = copy.deepcopy(whole)
    model["trees"][0] = deep
    assert read_catboost(json.dumps(model).encode()).most_leaves == 301


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b"[]", b"null", b'{"a":' * 100_000, b"\xff\xfe", b"CBM1"]
)
def test_what_is_no_model_is_refused(content):
    with pytest.raises(ModelDamaged):
        read_catboost(content)


def test_every_truncation_is_refused(content_of):
    content = compact(content_of(trained(iterations=2)))
    for size in range(0, len(content), 7):
        with pytest.raises(ModelDamaged):
            read_catboost(content[:size])


def compact(content):
    model = json.loads(content)
    del model["model_info"]
    return json.dumps(model).encode()


@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
@pytest.mark.parametrize("seed", range(2))
def test_any_mutation_is_refused_or_scored(seed, policy, content_of):
    dice = random.Random(seed)
    content = compact(content_of(trained(seed, iterations=2, depth=3, grow_policy=policy)))
    row = np.array([[0.5, np.nan, -1.0, 0.0]])
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(len(damaged))
            if dice.randrange(2):
                damaged[at] ^= 1 << dice.randrange(8)
            else:
                damaged[at] = dice.choice(b"0123456789-.E")
        try:
            forest = read_catboost(bytes(damaged))
        except ModelDamaged:
            refused += 1
            continue
        matrix = np.resize(row, (3, forest.n_columns))
        expected = reference_margins(forest, matrix)
        assert Program(forest).margins(matrix).tobytes() == expected.tobytes()
    assert refused > 100
