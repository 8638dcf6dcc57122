"""Boosted trees, loaded from a model folder."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load, save

from rowcast.errors import InvalidRequest, ModelDamaged
from rowcast.predictors import load_predictor
from rowcast.predictors.boosted import ARRAYS, FOREST, boosted_predictor
from rowcast.storage.model_folder import write_model
from tests.tables import batch_of, shop, shop_model, shop_predictor

KINDS = ["binary", "multiclass", "regression"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 3, 64, 400])
def test_a_row_gets_the_same_bits_in_every_batch(kind, size):
    predictor = shop_predictor(kind)
    matrix = predictor.encode(batch_of(shop(400, seed=9))).matrix
    whole = predictor.score(matrix)
    pieces = [predictor.score(matrix[at : at + size]) for at in range(0, 400, size)]
    for name in ("scores", "value", "lower", "upper"):
        expected = getattr(whole, name)
        if expected is not None:
            found = np.concatenate([getattr(piece, name) for piece in pieces])
            assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("kind", KINDS[:2])
def test_scores_are_probabilities(kind):
    predictor = shop_predictor(kind)
    scores = predictor.score(predictor.encode(batch_of(shop(300, seed=9))).matrix).scores
    assert scores.shape == (300, len(predictor.spec.schema.target.classes))
    assert (scores >= 0).all()
    assert (scores <= 1).all()
    assert np.abs(scores.sum(axis=1) - 1).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS[:2])
def test_the_column_of_a_class_is_its_own(kind):
    table = shop(600, seed=9)
    predictor = shop_predictor(kind)
    target = predictor.spec.schema.target
    assert list(target.classes) == sorted(target.classes)
    scores = predictor.score(predictor.encode(batch_of(table)).matrix).scores
    likeliest = np.array(target.classes)[scores.argmax(axis=1)]
    assert (likeliest == np.array(table[target.name].to_pylist())).mean() > 0.7


def test_bounds_enclose_the_value_and_most_truths():
    table = shop(1000, seed=9)
    predictor = shop_predictor("regression")
    answer = predictor.score(predictor.encode(batch_of(table)).matrix)
    assert (answer.lower <= answer.value).all()
    assert (answer.value <= answer.upper).all()
    truth = np.array([float(v) for v in table["price"].to_pylist()])
    assert 0.92 < ((answer.lower <= truth) & (truth <= answer.upper)).mean() < 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_get_no_answers(kind):
    predictor = shop_predictor(kind)
    encoded = predictor.encode(batch_of(shop(5)).slice(0, 0))
    assert encoded.matrix.shape == (0, len(predictor.baseline()))
    assert len(predictor.score(encoded.matrix)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_model_answers_like_the_one_that_was_trained(kind, tmp_path):
    model = shop_model(kind)
    digest = write_model(tmp_path / "m", model.spec, model.members)
    loaded, fresh = load_predictor(str(tmp_path / "m"), digest), shop_predictor(kind)
    matrix = fresh.encode(batch_of(shop(100, seed=9))).matrix
    one, two = fresh.score(matrix), loaded.score(matrix)
    for name in ("scores", "value", "lower", "upper"):
        assert np.array_equal(getattr(one, name), getattr(two, name))
    assert loaded.baseline().tobytes() == fresh.baseline().tobytes()


def test_groups_cover_every_matrix_column_once():
    predictor = shop_predictor("multiclass")
    groups = predictor.groups()
    assert [name for name, _ in groups] == list(predictor.spec.schema.feature_names)
    covered = np.concatenate([np.arange(where.start, where.stop) for _, where in groups])
    assert covered.tolist() == list(range(len(predictor.baseline())))


def test_a_new_category_and_a_null_are_scored():
    table = shop(2, seed=9)
    index = table.column_names.index("job")
    strange = table.set_column(index, "job", [["astronaut", None]])
    predictor = shop_predictor("binary")
    encoded = predictor.encode(batch_of(strange))
    assert encoded.errors == ()
    assert np.isfinite(predictor.score(encoded.matrix).scores).all()


def test_members_that_do_not_fit_together_are_refused():
    model, other = shop_model("binary"), shop_model("multiclass")
    for members in (
        {**model.members, FOREST: other.members[FOREST]},
        {**model.members, ARRAYS: other.members[ARRAYS]},
        {FOREST: model.members[FOREST]},
    ):
        with pytest.raises(ModelDamaged):
            boosted_predictor(model.spec, members)
    with pytest.raises(ModelDamaged):
        boosted_predictor(replace(model.spec, encoder=()), model.members)


LOADS = """
import json, sys
sys.modules["__main__"].__spec__ = type("Spec", (), {"name": "rowcast.engines.replica"})
from rowcast.predictors import load_predictor
predictor = load_predictor(sys.argv[1], sys.argv[2])
loaded = set(sys.modules) & {"pandas", "sklearn", "joblib"}
predictor.score(predictor.baseline()[None, :])
print(json.dumps([*loaded, *(set(sys.modules) & {"lightgbm", "sklearn"})]))
"""


def test_a_replica_scores_without_the_trainers_libraries(tmp_path):
    model = shop_model("binary")
    digest = write_model(tmp_path / "m", model.spec, model.members)
    command = [sys.executable, "-c", LOADS, str(tmp_path / "m"), digest]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed.splitlines()[-1]) == []


def test_an_interval_of_another_level_is_narrower_or_wider():
    predictor = shop_predictor("regression")
    matrix = predictor.encode(batch_of(shop(300, seed=9))).matrix
    widths = []
    for level in (0.5, 0.8, 0.95, 0.99):
        answer = predictor.at_level(level).score(matrix)
        assert (answer.lower <= answer.value).all()
        assert (answer.value <= answer.upper).all()
        widths.append((answer.upper - answer.lower).mean())
    assert widths == sorted(widths)
    usual = predictor.score(matrix)
    assert predictor.at_level(0.95).score(matrix).lower.tobytes() == usual.lower.tobytes()
    for level in (0.2, 1.0):
        with pytest.raises(InvalidRequest, match="is from 0"):
            predictor.at_level(level)
    with pytest.raises(InvalidRequest, match="predicts a value"):
        shop_predictor("binary").at_level(0.9)


@pytest.mark.parametrize(
    "details",
    [
        {"link": "softmax", "linear": False},
        {"link": "expm1", "linear": False},
        {"linear": False},
        {"link": "logistic", "linear": True},
    ],
)
def test_details_that_do_not_fit_the_members_are_refused(details):
    model = shop_model("binary")
    arrays = {k: v for k, v in load(model.members[ARRAYS]).items() if not k.startswith("linear.")}
    members = {**model.members, ARRAYS: save(arrays)}
    with pytest.raises(ModelDamaged):
        boosted_predictor(replace(model.spec, details=details), members)


def test_a_forest_of_other_columns_is_refused():
    model = shop_model("binary")
    arrays = load(model.members[FOREST])
    arrays["shape"] = np.array([10_000, 1])
    with pytest.raises(ModelDamaged, match="the encoder makes"):
        boosted_predictor(model.spec, {**model.members, FOREST: save(arrays)})
