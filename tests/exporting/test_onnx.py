"""A model as an ONNX graph answers what the model answers."""

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa
import pytest

from rowcast.errors import Unimplemented
from rowcast.exporting import export_model
from rowcast.exporting.graph import NULL_TEXTS, Graph, calendar, looked_up, trees
from rowcast.exporting.onnx import export_onnx
from rowcast.importing import ImportRequest
from rowcast.importing.work import work
from rowcast.predictors.boosted import boosted_predictor
from rowcast.scoring.encode import TimestampEncoder, Vocabulary
from rowcast.scoring.forest import reference_margins
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.storage.model_folder import write_model
from rowcast.training import train
from rowcast.training.families.lightgbm import import_lightgbm
from tests.importing.makers import (
    booster,
    imported,
    linear_classifier,
    matrix,
    numbers,
    save,
    write_json,
)
from tests.tables import TARGETS, batch_of, shop, shop_model, training_columns

KINDS = ["binary", "multiclass", "regression"]
_models = {}


def model_of(kind, tmp_path_factory):
    """A model without text, trained once, in a folder."""
    if kind not in _models:
        table = training_columns(kind, shop()).drop_columns(["remark"])
        trained = train(table, target=TARGETS[kind], name="shop", budget_s=8)
        folder = tmp_path_factory.mktemp("trained") / kind
        _models[kind] = folder, write_model(folder, trained.spec, trained.members), trained
    return _models[kind]


@pytest.fixture(params=KINDS)
def model(request, tmp_path_factory):
    return model_of(request.param, tmp_path_factory)


def feed_of(table, schema):
    feed = {}
    for feature in schema.features:
        cells = table[feature.name].to_pylist()
        if feature.kind == "categorical":
            values = np.array([cell or "" for cell in cells], object)
        elif feature.kind == "timestamp":
            values = np.array(cells, "datetime64[us]").astype(np.int64).astype(float)
        else:
            values = np.array([float(cell) if cell else np.nan for cell in cells])
        feed[feature.name] = values[:, None]
    return feed


def test_the_graph_answers_what_the_model_answers(model):
    folder, digest, trained = model
    exported = export_onnx(folder, digest)
    assert exported.rows >= 1000
    assert exported.difference < 1e-12
    assert onnx.checker.check_model(onnx.load_model_from_string(exported.content)) is None
    session = onnxruntime.InferenceSession(exported.content)
    predictor = boosted_predictor(trained.spec, trained.members)
    table = shop(300, seed=12)
    encoded = predictor.encode(batch_of(table))
    assert len(encoded.rows) == 300
    wanted = predictor.score(encoded.matrix)
    found = session.run(None, feed_of(table, trained.spec.schema))
    if wanted.scores is None:
        ours = np.stack([wanted.value, wanted.lower, wanted.upper], axis=1)
        assert np.abs(np.concatenate(found, axis=1) / ours - 1).max() < 1e-12
    else:
        classes = np.array(trained.spec.schema.target.classes)
        assert np.abs(found[1] - wanted.scores).max() < 1e-12
        assert found[0].tolist() == classes[wanted.scores.argmax(axis=1)].tolist()


def test_an_export_can_be_imported_again(model, tmp_path):
    folder, digest, trained = model
    export_model(folder, digest, tmp_path / "out", name="shop", onnx=True)
    target = trained.spec.schema.target
    again = work(ImportRequest(str(tmp_path / "out" / "model.onnx"), "again", target.name))
    assert again.spec.schema.target == target
    assert again.spec.schema.feature_names == trained.spec.schema.feature_names
    text = (tmp_path / "out" / "README.md").read_text()
    assert "double, microseconds since 1970 in UTC" in text
    assert "differ by" in text


def test_a_value_behind_a_logarithm(tmp_path):
    table = training_columns("regression", shop(600)).drop_columns(["remark", "joined"])
    trained = train(table, target="price", name="m", budget_s=5, objective="minimize-rmsle")
    assert trained.spec.details["link"] == "expm1"
    digest = write_model(tmp_path / "m", trained.spec, trained.members)
    assert export_onnx(tmp_path / "m", digest).difference < 1e-12


def test_text_is_refused_by_name(tmp_path):
    trained = shop_model("binary")
    digest = write_model(tmp_path / "m", trained.spec, trained.members)
    with pytest.raises(Unimplemented, match=r"'remark' \(text\)"):
        export_model(tmp_path / "m", digest, tmp_path / "out", name="m", onnx=True)
    assert not (tmp_path / "out").exists()


OBJECTIVES = ["binary", "multiclass", "regression", "rmse_of_root", "poisson"]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_imported_trees_are_exported(tmp_path, objective):
    booster(objective).save_model(tmp_path / "m.txt")
    features = [
        {"name": "age"},
        {"name": "income", "kind": "categorical", "categories": {"low": 9e3, "high": 5e4}},
        {"name": "score", "kind": "timestamp", "unit": "days"},
    ]
    schema = write_json(tmp_path / "s.json", {"features": features})
    found = imported(tmp_path / "m.txt", "y", schema=schema)
    digest = write_model(tmp_path / "m", found.spec, found.members)
    exported = export_onnx(tmp_path / "m", digest)
    assert exported.rows == 2000
    assert exported.difference < 1e-12


def test_onnx_stays_what_it_was_and_scikit_learn_is_refused(tmp_path):
    content = linear_classifier(("a", "b"))
    path = save(tmp_path / "m.onnx", content)
    schema = write_json(tmp_path / "s.json", {"features": [{"name": n} for n in "abc"]})
    found = imported(path, "y", schema=schema)
    digest = write_model(tmp_path / "m", found.spec, found.members)
    export_model(tmp_path / "m", digest, tmp_path / "out", name="m", onnx=True)
    assert (tmp_path / "out" / "model.onnx").read_bytes() == content
    linear = pytest.importorskip("sklearn.linear_model")
    skops = pytest.importorskip("skops.io")
    ages = numbers()["age"].to_numpy()[:, None] / 50
    skops.dump(linear.Ridge().fit(ages, numbers()["price"].to_numpy()), tmp_path / "m.skops")
    one = write_json(tmp_path / "one.json", {"features": [{"name": "age"}]})
    found = imported(tmp_path / "m.skops", "price", schema=one)
    digest = write_model(tmp_path / "s", found.spec, found.members)
    with pytest.raises(Unimplemented, match="skl2onnx"):
        export_onnx(tmp_path / "s", digest)


# --- the pieces ---------------------------------------------------------------------------------


def run(graph, width, result, kind="DOUBLE", **feed):
    graph.output("result", result, kind, width)
    return onnxruntime.InferenceSession(graph.model()).run(None, feed)[0]


def test_the_calendar_is_that_of_the_encoder():
    days = np.arange(-100_000, 100_000, 97)  # doubles hold microseconds from 1685 to 2255
    edges = np.array(["1970-01-01", "2000-02-29", "1900-02-28", "1900-03-01", "2024-12-31"])
    edges = edges.astype("datetime64[D]").astype(np.int64)
    rng = np.random.default_rng(3)
    all_days = np.concatenate([days, edges, edges - 1, edges + 1])
    us = all_days * 86_400_000_000 + rng.integers(0, 86_400_000_000, len(all_days))
    wanted = np.empty((len(us), 7))
    TimestampEncoder(None).fill(pa.array(us).cast(pa.timestamp("us")), wanted)
    graph = Graph(["t"])
    graph.input("t", "DOUBLE")
    given = np.append(us.astype(float), np.nan)[:, None]
    found = run(graph, 7, calendar(graph, "t"), t=given)
    assert np.isnan(found[-1]).all()
    assert np.array_equal(found[:-1], wanted, equal_nan=True)
    assert not np.isnan(wanted).any()


def test_texts_are_looked_up_as_the_encoder_does():
    known = Vocabulary.of(["a", "A", "été", "nano"])
    table = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [np.nan]])
    texts = ["a", "A", "été", "nano", "b", " a", "infinity", "+", "n/a", *NULL_TEXTS]
    graph = Graph(["t"])
    graph.input("t", "STRING")
    feed = np.array(texts, object)[:, None]
    found = run(graph, 1, looked_up(graph, "t", known.texts(), table), t=feed)
    wanted = table[known.codes(pa.array(texts))]
    assert np.array_equal(found, wanted, equal_nan=True)
    assert np.isnan(wanted[-len(NULL_TEXTS) :]).all()
    assert len(NULL_TEXTS) == 49


@pytest.mark.parametrize("objective", ["regression", "multiclass"])
def test_trees_send_missing_values_where_they_belong(objective):
    forest = read_lightgbm(booster(objective).model_to_string().encode())
    x = matrix(numbers())
    x[::3, 0] = np.nan
    x[::5] = np.inf
    graph = Graph(["x"])
    graph.inputs.append(
        onnx.helper.make_tensor_value_info("x", onnx.TensorProto.DOUBLE, ["rows", 3])
    )
    found = run(graph, forest.outputs, trees(graph, forest, "x"), x=x)
    assert np.abs(found - reference_margins(forest, x)).max() < 1e-12


def test_what_onnx_trees_have_not_is_refused():
    zeros = booster("regression", zero_as_missing=True).model_to_string().encode()
    codes = np.random.default_rng(0).integers(0, 8, (400, 1)).astype(float)
    lightgbm = import_lightgbm()
    data = lightgbm.Dataset(codes, codes[:, 0] % 3, categorical_feature=[0])
    settings = {"verbose": -1, "min_data_per_group": 1, "num_threads": 1}
    sets = lightgbm.train(settings, data, 3).model_to_string().encode()
    for content, match in ((zeros, "a side of its own for zero"), (sets, "categorical splits")):
        with pytest.raises(Unimplemented, match=match):
            trees(Graph(["x"]), read_lightgbm(content), "x")


def test_names_that_a_feature_has_taken_are_not_used_again():
    graph = Graph(["value", "value0", "constant0"])
    assert graph.free("value") == "value_"
    assert graph.constant(np.zeros(1)) == "constant0_"
