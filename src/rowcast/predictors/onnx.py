"""ONNX models, scored by ONNX Runtime on one thread of the CPU.

``ModelSpec.details`` says what goes in and what comes out: ``inputs``, each with its name, its
element type, its rank and how many features it takes; ``output``, with its name and its form
(``numbers``, or ``maps`` from label to score); and ``labels``, the model's own, in its order. A
lone number for two classes is the probability of the second.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import FailedPrecondition, ModelDamaged
from rowcast.predictors.imported import BLOCK, LibraryPredictor, read_members

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType

    from rowcast.core.model import ModelSpec

MODEL = "model.onnx"
TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.str_,
}
"""What inputs may hold."""
_EXACT = 2.0**53


class OnnxPredictor(LibraryPredictor):
    """See ``rowcast.predictors.Predictor``."""

    def __init__(self, spec: ModelSpec, members: Mapping[str, bytes]) -> None:
        super().__init__(spec, members)
        try:
            self.block = int(spec.details.get("block", BLOCK))
            self._inputs = list(spec.details["inputs"])
            self._output = spec.details["output"]["name"]
            self._form = spec.details["output"]["form"]
            self._labels = list(spec.details.get("labels", ()))
            self._session = open_session(members[MODEL])
        except KeyError as missing:
            raise ModelDamaged(f"The model {spec.name!r} lacks {missing}.") from missing
        widths = sum(item["width"] for item in self._inputs)
        if widths != len(spec.schema.features) or not 1 <= self.block <= 1 << 20:
            raise ModelDamaged("model.json and the ONNX model's inputs do not fit together.")

    def answer(self, block: np.ndarray) -> np.ndarray:
        """See ``LibraryPredictor``."""
        feed, start = {}, 0
        for item in self._inputs:
            columns = range(start, start + item["width"])
            feed[item["name"]] = self._tensor(item, block, columns)
            start += item["width"]
        answers = run(self._session, self._output, feed)
        numbers = shaped(answers, self._form, self._labels)
        if self._classes == 2 and numbers.shape[1] == 1:
            return np.concatenate([1.0 - numbers, numbers], axis=1)
        return numbers

    def _tensor(self, item: Mapping[str, Any], block: np.ndarray, columns: range) -> np.ndarray:
        if item["type"] == "tensor(string)":
            cells = [self.cells(i, block[:, i], "") for i in columns]
        else:
            cells = [block[:, i] for i in columns]
        values = np.stack(cells, axis=1)
        kind = TYPES[item["type"]]
        if kind is not np.str_:
            if kind in (np.int64, np.int32, np.bool_):
                _need_integers(values, kind)
            with np.errstate(over="ignore"):  # what is too large is infinite to the model
                values = values.astype(kind)
        return values[:, 0] if item["rank"] == 1 else values


def _need_integers(values: np.ndarray, kind: Any) -> None:
    """Refuse what an integer cannot hold; a cast would make some other number of it."""
    most = 1.0 if kind is np.bool_ else 2.0**31 - 1 if kind is np.int32 else _EXACT
    least = 0.0 if kind is np.bool_ else -most
    if not ((values == np.trunc(values)) & (values >= least) & (values <= most)).all():
        raise ValueError("a value is no integer, or too large for one")


def shaped(answers: Any, form: str, labels: list[str]) -> np.ndarray:
    """Bring what a model put out into the shape that ``outputs`` has."""
    if form == "maps":
        found = [{str(key): value for key, value in row.items()} for row in answers]
        return np.array([[row.get(label, np.nan) for label in labels] for row in found])
    numbers = np.asarray(answers, np.float64)
    return numbers.reshape(len(numbers), -1)


def run(session: Any, output: str, feed: Mapping[str, np.ndarray]) -> Any:
    """Run a session for one output; whatever the model refuses is a ValueError."""
    errors = import_onnxruntime().capi.onnxruntime_pybind11_state
    try:
        return session.run([output], dict(feed))[0]
    except (errors.Fail, errors.InvalidArgument, errors.RuntimeException) as error:
        raise ValueError(str(error)) from error


def open_session(content: bytes) -> Any:
    """Make a session that answers the same bits whatever else the machine does.

    Raises
    ------
    ModelDamaged
        If ONNX Runtime cannot read the model.
    """
    runtime = import_onnxruntime()
    errors = runtime.capi.onnxruntime_pybind11_state
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.InvalidProtobuf,
        errors.NotImplemented,
        errors.RuntimeException,
        UnicodeDecodeError,  # of a message that quotes the damage
    ) as error:
        raise ModelDamaged(f"ONNX Runtime cannot read the model: {error}") from error


def import_onnxruntime() -> ModuleType:
    """Import it. Raises FailedPrecondition if it is not installed."""
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise FailedPrecondition(
            "ONNX models need ONNX Runtime: pip install 'rowcast[onnx]'."
        ) from error


def load_onnx(folder: Path, spec: ModelSpec) -> OnnxPredictor:
    """Load a model folder whose ``spec`` was verified. Raises ModelDamaged."""
    return OnnxPredictor(spec, read_members(folder, spec))
