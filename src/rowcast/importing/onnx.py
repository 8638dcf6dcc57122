"""ONNX models: classifiers and regressors over one matrix, or over columns."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rowcast.errors import FailedPrecondition, InvalidRequest, ModelDamaged
from rowcast.importing.described import Described, Input
from rowcast.predictors.onnx import MODEL, TYPES, OnnxPredictor, open_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.core.schema import PredictionType

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
RANDOM = (
    "Bernoulli",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
)
"""Operators that would answer something else each time."""
_LABELS = ("classlabels_strings", "classlabels_int64s", "classlabels_ints")
_SCORES = ("tensor(float)", "tensor(double)", "tensor(float16)")
_MAPS = "seq(map("
SINGLE, DOUBLE = 1e-4, 1e-6


def describe(content: bytes) -> Described:
    """Read an ONNX model. Raises ModelDamaged, InvalidRequest."""
    graph = check_graph(content)
    session = open_session(content)
    inputs = session.get_inputs()
    taken = [_taken(item) for item in inputs]
    features = _features(taken)
    labels = labels_of(graph)
    output, prediction_type, n_classes = _output(session.get_outputs(), labels)
    blocks = {item.shape[0] for item in inputs if item.shape and isinstance(item.shape[0], int)}
    details: dict[str, Any] = {"inputs": taken, "output": output, "labels": list(labels)}
    if blocks:
        details["block"] = max(1, *blocks)
    double = "double" in str(session.get_outputs()[-1].type)
    return Described(
        format="onnx",
        predictor="onnx",
        build=OnnxPredictor,
        inputs=features,
        members={MODEL: content},
        details=details,
        prediction_type=prediction_type,
        labels=labels if n_classes in (0, len(labels)) else (),
        n_classes=n_classes,
        tolerance=DOUBLE if double else SINGLE,
        versions={"onnxruntime": version("onnxruntime")},
    )


def check_graph(content: bytes) -> Any:
    """Parse a model, and see that it needs nothing but itself and answers the same each time."""
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise FailedPrecondition(
            "ONNX models need onnx and ONNX Runtime: pip install 'rowcast[onnx]'."
        ) from error
    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError) as error:
        raise ModelDamaged(f"The file is no ONNX model: {error}") from error
    if not model.graph.node:
        raise ModelDamaged("The file is no ONNX model: its graph is empty.")
    if len(model.functions):
        raise InvalidRequest("The model defines functions of its own, which are not supported.")
    for node in _nodes(model.graph):
        if node.domain not in DOMAINS:
            raise InvalidRequest(
                f"The model has the operator {node.op_type} of the domain {node.domain!r}; only "
                "ONNX's own are run."
            )
        if node.op_type in RANDOM:
            raise InvalidRequest(f"The model has {node.op_type}, so its answers are random.")
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or len(tensor.external_data):
            raise InvalidRequest(
                "The model keeps tensors in other files; save it with all its data inside."
            )
    return model.graph


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield the graph, and those inside its nodes."""
    waiting = [graph]
    while waiting:
        found = waiting.pop()
        yield found
        for node in found.node:
            for attribute in node.attribute:
                waiting += [attribute.g] if attribute.HasField("g") else []
                waiting += list(attribute.graphs)


def _nodes(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.node


def _tensors(graph: Any) -> Iterator[Any]:
    for inner in _graphs(graph):
        yield from inner.initializer
        for sparse in inner.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _taken(item: Any) -> dict[str, Any]:
    """Say what one input of the model takes."""
    if item.type not in TYPES:
        raise InvalidRequest(
            f"The model's input {item.name!r} is a {item.type}; {', '.join(TYPES)} are supported."
        )
    if len(item.shape) not in (1, 2):
        raise InvalidRequest(
            f"The model's input {item.name!r} has {len(item.shape)} dimensions; rows of one "
            "table have 1 or 2."
        )
    width = 1 if len(item.shape) == 1 else item.shape[1]
    return {
        "name": item.name,
        "type": item.type,
        "rank": len(item.shape),
        "width": width if isinstance(width, int) else 0,
    }


def _features(taken: list[dict[str, Any]]) -> tuple[Input, ...] | None:
    """One for each column of each input; None if a lone input does not say how many."""
    if any(item["width"] == 0 for item in taken):
        if len(taken) > 1:
            raise InvalidRequest(
                "The model's inputs do not say how many columns each takes; save it with fixed "
                "shapes."
            )
        return None
    return tuple(
        Input(
            item["name"] if item["width"] == 1 and len(taken) > 1 else None,
            "text" if item["type"] == "tensor(string)" else "number",
        )
        for item in taken
        for _ in range(item["width"])
    )


def labels_of(graph: Any) -> tuple[str, ...]:
    """Find the classes' names in the operators that put them out, last one first."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in reversed(graph.node):
        for attribute in node.attribute:
            if attribute.name in _LABELS and (len(attribute.strings) or len(attribute.ints)):
                texts = [text.decode() for text in attribute.strings]
                return tuple(texts or map(str, attribute.ints))
        if node.op_type == "ArrayFeatureExtractor" and node.input[0] in constants:
            return _texts(constants[node.input[0]])
    return ()


def _texts(tensor: Any) -> tuple[str, ...]:
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor).ravel().tolist()
    return tuple(v.decode() if isinstance(v, bytes) else str(v) for v in values)


def _output(
    outputs: list[Any], labels: tuple[str, ...]
) -> tuple[dict[str, str], PredictionType | None, int]:
    """Choose what the model answers with.

    Returns
    -------
    output : dict
        Name and form.
    prediction_type
        None if it depends on what the target is.
    n_classes : int
        0 if it is unknown.
    """
    for item in outputs:
        if item.type.startswith(_MAPS):
            return {"name": item.name, "form": "maps"}, "classification", len(labels)
    scores = [item for item in outputs if item.type in _SCORES]
    if not scores:
        found = ", ".join(f"{item.name} ({item.type})" for item in outputs)
        raise InvalidRequest(
            f"The model puts out {found}; probabilities or values are needed. Save a classifier "
            "with its probabilities."
        )
    likely = [item for item in scores if "prob" in item.name.lower()]
    if not likely and not labels and len(scores) == len(outputs) > 1:
        return _value(scores), "regression", 0
    item = (likely or scores)[-1]
    width = item.shape[1] if len(item.shape) == 2 else 1 if len(item.shape) == 1 else 0
    classes = len(labels) or (width if isinstance(width, int) and width > 1 else 0)
    output = {"name": item.name, "form": "numbers"}
    if len(outputs) == 1 and not classes:
        return output, None, 0
    return output, "classification", classes or 2


def _value(outputs: list[Any]) -> dict[str, str]:
    """Choose the value among several numbers, such as a value with its bounds."""
    named = [item.name for item in outputs if item.name.startswith("value")]
    return {"name": (named or [outputs[0].name])[0], "form": "numbers"}
