"""Small models of each kind, made by the libraries that users make them with."""

from __future__ import annotations

import json
from functools import lru_cache

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.csv as pc
from onnx import TensorProto, helper

from rowcast.core.batch import Batch, Places
from rowcast.importing import ImportRequest
from rowcast.importing.work import work
from rowcast.training.families.lightgbm import import_lightgbm

JOBS = ("clerk", "cook", "nurse")


def numbers(rows=400, seed=1):
    """Three columns of numbers, one with gaps, and targets that follow from them."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows).astype(float)
    income = np.round(rng.lognormal(10, 0.5, rows), 2)
    score = rng.normal(size=rows)
    score[::17] = np.nan
    drive = (age - 50) / 20 + np.nan_to_num(score) + rng.normal(0, 0.3, rows)
    return pa.table(
        {
            "age": age,
            "income": income,
            "score": score,
            "churn": np.where(drive > 0, "yes", "no"),
            "plan": np.digitize(drive, [-1, 1]),
            "price": np.round(100 + 20 * drive, 3),
            "visits": rng.poisson(np.exp(drive / 2)),
        }
    )


FEATURES = ("age", "income", "score")


def matrix(table):
    return np.stack([table.column(name).to_numpy() for name in FEATURES], axis=1)


def frame(rows=400, seed=1):
    """The same with a job and remarks, as a data frame."""
    table = numbers(rows, seed)
    rng = np.random.default_rng(seed + 1)
    job = rng.choice(np.array(JOBS, object), rows)
    remark = [" ".join(rng.choice(["good", "bad", "late", "fine"], 4)) for _ in range(rows)]
    return table.append_column("job", [job.tolist()]).append_column("remark", [remark]).to_pandas()


@lru_cache
def booster(objective, **settings):
    target = {
        "binary": np.asarray(numbers()["churn"]) == "yes",
        "multiclass": numbers()["plan"].to_numpy(),
        "poisson": numbers()["visits"].to_numpy(),
        "tweedie": numbers()["visits"].to_numpy(),
        "gamma": numbers()["visits"].to_numpy() + 0.5,
    }.get(objective, numbers()["price"].to_numpy())
    lightgbm = import_lightgbm()
    if objective == "multiclass":
        settings = {**settings, "num_class": 3}
    if objective == "rmse_of_root":
        objective, settings = "regression", {**settings, "reg_sqrt": True}
    data = lightgbm.Dataset(matrix(numbers()), target, feature_name=list(FEATURES))
    parameters = {"objective": objective, "verbose": -1, "num_threads": 1, "num_leaves": 7}
    return lightgbm.train({**parameters, **settings}, data, 12)


def as_columns(target, classes, answers):
    """Answers as the columns that our output has."""
    if classes:
        return {f"{target}_{c}_score": answers[:, k] for k, c in enumerate(classes)}
    return {f"predicted_{target}": np.asarray(answers).ravel()}


def write_csv(path, table, **more):
    columns = {name: table.column(name) for name in table.column_names} | more
    pc.write_csv(pa.table(columns), path)
    return str(path)


def write_json(path, value):
    path.write_text(json.dumps(value))
    return str(path)


def imported(file, target, **options):
    return work(ImportRequest(str(file), "m", target, **options))


def predictor_of(model):
    from rowcast.predictors.onnx import OnnxPredictor
    from rowcast.predictors.sklearn import SklearnPredictor
    from rowcast.predictors.trees import TreesPredictor

    kinds = {"onnx": OnnxPredictor, "sklearn": SklearnPredictor, "trees": TreesPredictor}
    return kinds[model.spec.predictor](model.spec, model.members)


def batch_of(table):
    rows = table.combine_chunks().to_batches()[0]
    return Batch(rows, Places("rows.csv", np.arange(1, len(rows) + 1)))


def onnx_model(nodes, inputs, outputs, constants=(), opset=18):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*item) for item in inputs],
        [
            item if not isinstance(item, tuple) else helper.make_tensor_value_info(*item)
            for item in outputs
        ],
        list(constants),
    )
    sets = [helper.make_opsetid("", opset), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=9)
    return model.SerializeToString()


COEFFICIENTS = np.array([[0.05, -0.00002, 0.7], [-0.05, 0.00002, -0.7]])


def linear_classifier(labels, *, zipmap=True, matrix_width=3, batch=None):
    """A classifier over one matrix of floats that puts out a label and scores."""
    key = {"classlabels_strings": list(labels)}
    if isinstance(labels[0], int):
        key = {"classlabels_ints": list(labels)}
    classifier = helper.make_node(
        "LinearClassifier",
        ["x"],
        ["label", "raw"],
        domain="ai.onnx.ml",
        coefficients=COEFFICIENTS.ravel().tolist(),
        intercepts=[-2.0, 2.0],
        post_transform="SOFTMAX",
        **key,
    )
    inputs = [("x", TensorProto.FLOAT, [batch, matrix_width])]
    kind = TensorProto.INT64 if isinstance(labels[0], int) else TensorProto.STRING
    label = helper.make_tensor_value_info("label", kind, [batch])
    if not zipmap:
        classifier.output[1] = "probabilities"
        scores = ("probabilities", TensorProto.FLOAT, [batch, 2])
        return onnx_model([classifier], inputs, [label, scores])
    names = {"classlabels_strings": list(labels)}
    if isinstance(labels[0], int):
        names = {"classlabels_int64s": list(labels)}
    zipped = helper.make_node("ZipMap", ["raw"], ["probs"], domain="ai.onnx.ml", **names)
    entry = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, entry))
    return onnx_model([classifier, zipped], inputs, [label, helper.make_value_info("probs", maps)])


def linear_answers(table):
    x = np.nan_to_num(matrix(table)).astype(np.float32)
    raw = x @ COEFFICIENTS.T.astype(np.float32) + np.array([-2.0, 2.0], np.float32)
    e = np.exp(raw - raw.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def regressor_of_columns():
    """``2 * age + price of the job``, from one input for each column."""
    encode = helper.make_node(
        "LabelEncoder",
        ["job"],
        ["worth"],
        domain="ai.onnx.ml",
        keys_strings=list(JOBS),
        values_floats=[10.0, 20.0, 30.0],
        default_float=-1.0,
    )
    nodes = [
        encode,
        helper.make_node("Add", ["age", "age"], ["twice"]),
        helper.make_node("Add", ["twice", "worth"], ["price"]),
    ]
    inputs = [("age", TensorProto.FLOAT, [None, 1]), ("job", TensorProto.STRING, [None, 1])]
    return onnx_model(nodes, inputs, [("price", TensorProto.FLOAT, [None, 1])])


def save(path, content):
    path.write_bytes(content if isinstance(content, bytes) else onnx.ModelProto(content))
    return path
