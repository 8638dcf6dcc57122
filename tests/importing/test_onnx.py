"""ONNX models over one matrix and over columns, with maps of scores and without."""

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import TensorProto, helper

from rowcast.errors import InvalidRequest
from tests.importing.makers import (
    FEATURES,
    JOBS,
    as_columns,
    batch_of,
    imported,
    linear_answers,
    linear_classifier,
    matrix,
    numbers,
    onnx_model,
    predictor_of,
    regressor_of_columns,
    save,
    write_csv,
    write_json,
)


def filled():
    """The rows without nulls: an ONNX model of NaN answers NaN."""
    table = numbers().select(FEATURES)
    score = np.nan_to_num(table["score"].to_numpy())
    return table.set_column(2, "score", pa.array(score))


@pytest.mark.parametrize("zipmap", [True, False])
@pytest.mark.parametrize("labels", [("yes", "no"), (1, 0)])
def test_a_classifier_over_one_matrix(tmp_path, zipmap, labels):
    path = save(tmp_path / "m.onnx", linear_classifier(labels, zipmap=zipmap))
    texts = list(map(str, labels))
    example = write_csv(
        tmp_path / "rows.csv", filled(), **as_columns("churn", texts, linear_answers(numbers()))
    )
    model = imported(path, "churn", example=example)
    assert model.spec.schema.target.classes == tuple(sorted(texts))
    assert model.report["checks"][0]["maxDifference"] < 1e-5
    assert [f.nullable for f in model.spec.schema.features] == [False] * 3
    scores = predictor_of(model).score(matrix(filled())).scores
    assert np.abs(scores[:, ::-1] - linear_answers(numbers())).max() < 1e-5


def test_an_input_for_each_column(tmp_path):
    path = save(tmp_path / "m.onnx", regressor_of_columns())
    table = pa.table({"age": [20.0, 30.0, 40.0], "job": ["cook", "smith", "nurse"]})
    example = write_csv(tmp_path / "rows.csv", table, predicted_price=[60.0, 59.0, 110.0])
    model = imported(path, "price", example=example)
    assert [f.kind for f in model.spec.schema.features] == ["numeric", "categorical"]
    predictor = predictor_of(model)
    more = pa.table({"job": ["clerk", "astronaut"], "age": ["1", "2"]})
    assert predictor.score(predictor.encode(batch_of(more)).matrix).value.tolist() == [12.0, 3.0]


def test_an_input_that_is_not_in_the_example_is_named(tmp_path):
    path = save(tmp_path / "m.onnx", regressor_of_columns())
    example = write_csv(tmp_path / "rows.csv", pa.table({"age": [1.0], "work": ["cook"]}))
    with pytest.raises(InvalidRequest, match=r"'job'.*not a column of the example"):
        imported(path, "price", example=example)


def test_a_fixed_batch_size_is_kept_to(tmp_path):
    path = save(tmp_path / "m.onnx", linear_classifier(("yes", "no"), batch=7))
    example = write_csv(
        tmp_path / "rows.csv",
        filled(),
        **as_columns("churn", ("yes", "no"), linear_answers(numbers())),
    )
    assert imported(path, "churn", example=example).spec.details["block"] == 7


def test_catboosts_own_export(tmp_path):
    catboost = pytest.importorskip("catboost")
    x = matrix(filled()).astype(np.float32)
    settings = {"iterations": 10, "depth": 3, "verbose": False, "allow_writing_files": False}
    plan = numbers()["plan"].to_numpy()
    trained = catboost.CatBoostClassifier(**settings).fit(x, plan)
    trained.save_model(str(tmp_path / "m.onnx"), format="onnx")
    answers = as_columns("plan", ("0", "1", "2"), trained.predict_proba(x))
    table = pa.table(dict(zip(FEATURES, x.T.astype(float), strict=True)))
    example = write_csv(tmp_path / "rows.csv", table, **answers)
    model = imported(tmp_path / "m.onnx", "plan", example=example)
    assert model.spec.schema.target.classes == ("0", "1", "2")
    assert model.report["checks"][0]["maxDifference"] < 1e-5


def test_the_probability_of_the_second_class_alone(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Sigmoid", ["m"], ["probability"]),
    ]
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 1], [0.01, 0.0, 0.5])
    inputs = [("x", TensorProto.FLOAT, [None, 3])]
    outputs = [("probability", TensorProto.FLOAT, [None, 1])]
    path = save(tmp_path / "m.onnx", onnx_model(nodes, inputs, outputs, [weights]))
    features = [{"name": name} for name in FEATURES]
    schema = {"target": "churn", "classes": ["no", "yes"], "features": features}
    model = imported(path, None, schema=write_json(tmp_path / "s.json", schema))
    scores = predictor_of(model).score(matrix(filled())).scores
    assert np.abs(scores.sum(axis=1) - 1).max() < 1e-6
    drive = matrix(filled()) @ [0.01, 0.0, 0.5]
    assert np.abs(scores[:, 1] - 1 / (1 + np.exp(-drive))).max() < 1e-6


def test_scores_that_are_no_probabilities_are_refused(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    weights = helper.make_tensor("w", TensorProto.FLOAT, [3, 2], [0.01, 0.0, 0.5, 1, 2, 3])
    inputs, outputs = [("x", TensorProto.FLOAT, [None, 3])], [("y", TensorProto.FLOAT, [None, 2])]
    path = save(tmp_path / "m.onnx", onnx_model([node], inputs, outputs, [weights]))
    example = write_csv(tmp_path / "rows.csv", filled())
    with pytest.raises(InvalidRequest, match="no probabilities"):
        imported(path, "churn", example=example)


def test_random_foreign_and_outside_parts_are_refused(tmp_path):
    inputs, outputs = [("x", TensorProto.FLOAT, [None, 3])], [("y", TensorProto.FLOAT, [None, 3])]
    random = helper.make_node("RandomUniformLike", ["x"], ["y"])
    foreign = helper.make_node("Gelu", ["x"], ["y"], domain="com.example")
    plain = helper.make_node("Add", ["x", "w"], ["y"])
    outside = helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3])
    outside.ClearField("float_data")
    outside.data_location = TensorProto.EXTERNAL
    entry = outside.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    for node, constants, match in (
        (random, [], "RandomUniformLike"),
        (foreign, [], "com.example"),
        (plain, [outside], "other files"),
    ):
        path = save(tmp_path / "m.onnx", onnx_model([node], inputs, outputs, constants))
        with pytest.raises(InvalidRequest, match=match):
            imported(path, "y")


@pytest.mark.parametrize("size", [1, 3, 64, 400])
def test_a_row_gets_the_same_bits_in_every_batch(tmp_path, size):
    path = save(tmp_path / "m.onnx", linear_classifier(("yes", "no")))
    schema = {"features": [{"name": name} for name in FEATURES]}
    model = imported(path, "churn", schema=write_json(tmp_path / "s.json", schema))
    predictor, x = predictor_of(model), matrix(filled())
    whole = predictor.score(x).scores
    pieces = [predictor.score(x[at : at + size]).scores for at in range(0, 400, size)]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    assert predictor.score(x[::-1]).scores[::-1].tobytes() == whole.tobytes()
    assert len(predictor.score(x[:0])) == 0


def test_integers_are_not_rounded_in_silence(tmp_path):
    nodes = [
        helper.make_node("Cast", ["n"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["f", "age"], ["y"]),
    ]
    inputs = [("n", TensorProto.INT64, [None, 1]), ("age", TensorProto.FLOAT, [None, 1])]
    path = save(
        tmp_path / "m.onnx", onnx_model(nodes, inputs, [("y", TensorProto.FLOAT, [None, 1])])
    )
    predictor = predictor_of(imported(path, "y"))
    assert [f.nullable for f in predictor.spec.schema.features] == [False, False]
    values = predictor.score(np.array([[1.0, 2.0], [1.5, 2.0], [3.0, 4.0]])).value
    assert values[[0, 2]].tolist() == [3.0, 7.0]
    assert np.isnan(values[1])


def test_texts_that_no_example_showed_reach_the_model(tmp_path):
    model = imported(save(tmp_path / "m.onnx", regressor_of_columns()), "price")
    predictor = predictor_of(model)
    for start in range(0, 900, 300):  # far more batches than are remembered would be 64
        jobs = [JOBS[i % 3] if i % 2 else f"job {start + i}" for i in range(300)]
        table = pa.table({"age": np.zeros(300), "job": jobs})
        worth = predictor.score(predictor.encode(batch_of(table)).matrix).value
        assert worth.tolist() == [10.0 * (i % 3 + 1) if i % 2 else -1.0 for i in range(300)]


def test_onnx_itself_accepts_the_models_of_these_tests():
    for content in (regressor_of_columns(), linear_classifier(("a", "b"))):
        onnx.checker.check_model(onnx.load_model_from_string(content))
