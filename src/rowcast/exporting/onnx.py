"""A model as one ONNX graph: an input for each feature, and the answers of jobs.

The graph computes in double precision throughout. Before it is handed out, ONNX Runtime scores
rows with it that go many ways through the model, and the answers are compared with the model's
own; the largest difference is part of what is handed out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rowcast.core.batch import Batch, Places
from rowcast.errors import Internal, Unimplemented
from rowcast.exporting.graph import (
    ML,
    Graph,
    calendar,
    doubles,
    linear,
    looked_up,
    trees,
)
from rowcast.predictors import load_predictor
from rowcast.predictors.boosted import ARRAYS, FOREST, SPREAD_FOREST
from rowcast.predictors.imported import UNITS_US
from rowcast.predictors.onnx import MODEL as ONNX_MODEL
from rowcast.predictors.onnx import open_session
from rowcast.predictors.trees import read_forest
from rowcast.scoring.forest import forest_of
from rowcast.scoring.intervals import LEVEL, Quantiles
from rowcast.scoring.linear import LIMIT, Linear
from rowcast.scoring.vocabulary import Vocabulary
from rowcast.storage.model_folder import read_member

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import Feature
    from rowcast.predictors import Predictor
    from rowcast.scoring.forest import Forest

LEAST_RUNTIME = "1.22"
"""Of ONNX Runtime: what rowcast[onnx] asks for."""
TRIAL_ROWS = 2000
TOLERANCE = 1e-6
"""Differences are some 1e-15; more than this is a fault of ours."""
MOST_BYTES = (2 << 30) - (1 << 20)
"""What protocol buffers hold."""
MOMENTS_US = (-9e14, 3e15)
"""From 1941 to 2065."""
UNKNOWN_TEXT = "a text that training never saw"


@dataclass(frozen=True)
class Exported:
    """A model as ONNX, and how it was checked."""

    content: bytes
    rows: int
    """That were compared; 0 for a model that was ONNX all along."""
    difference: float
    """Largest between an answer of ONNX Runtime and one of the model's own: of scores as it is,
    of values relative to the typical value."""
    inputs: tuple[tuple[str, str], ...]
    """Name and meaning."""
    outputs: tuple[str, ...]


def export_onnx(folder: Path, digest: str) -> Exported:
    """Build and check the graph of a model.

    Raises
    ------
    Unimplemented
        If the model has what ONNX cannot say, naming it.
    FailedPrecondition
        If onnx or ONNX Runtime is not installed.
    ModelDamaged
        If a file of the model is not the one that was saved.
    """
    predictor = load_predictor(str(folder), digest)
    spec = predictor.spec
    members = {name: read_member(folder, spec, name) for name in sorted(spec.members)}
    if spec.predictor == "onnx":
        return Exported(members[ONNX_MODEL], 0, 0.0, (), ())
    if spec.predictor not in ("boosted", "trees"):
        raise Unimplemented(
            "A scikit-learn pipeline is not turned into ONNX here; skl2onnx does that."
        )
    builder = _Builder(spec, members)
    content = builder.build(digest)
    if len(content) > MOST_BYTES:
        raise Unimplemented(f"The model is {len(content):,} bytes of ONNX; 2 GB is the most.")
    names = tuple(item.name for item in builder.graph.outputs)
    rows, difference = _compared(predictor, content, builder, names)
    if not difference <= TOLERANCE:
        raise Internal(
            f"The ONNX graph and the model differ by {difference:g}. Please report this."
        )
    inputs = tuple((f.name, _meaning(f)) for f in spec.schema.features)
    return Exported(content, rows, difference, inputs, names)


def _meaning(feature: Feature) -> str:
    if feature.kind == "numeric":
        return "double, NaN if null"
    if feature.kind == "timestamp":
        return "double, microseconds since 1970 in UTC, NaN if null"
    return "string, empty if null"


class _Builder:
    """Puts the graph of one model together."""

    def __init__(self, spec: ModelSpec, members: Mapping[str, bytes]) -> None:
        from safetensors.numpy import load

        self._spec = spec
        self._members = members
        self._arrays: dict[str, np.ndarray] = dict(load(members[ARRAYS]))
        self._classes = len(spec.schema.target.classes)
        self.graph = Graph(spec.schema.feature_names)
        self.forest: Forest | None = None
        self.texts: dict[int, list[str]] = {}
        """Of categorical features, by position."""

    def build(self, digest: str) -> bytes:
        """Write the graph down. Raises Unimplemented."""
        spec, graph = self._spec, self.graph
        refused = [
            f"{feature.name!r} ({feature.kind})"
            for feature in spec.schema.features
            if feature.kind not in ("numeric", "categorical", "timestamp")
        ]
        if refused:
            raise Unimplemented(
                f"ONNX has no words for how the features {', '.join(refused[:10])} are read. Train "
                "without them to export, or score with rowcast.scorer."
            )
        columns = [self._column(i, feature) for i, feature in enumerate(spec.schema.features)]
        matrix = graph.add("Concat", *columns, axis=1) if len(columns) > 1 else columns[0]
        margins = self._margins(matrix)
        if self._classes:
            self._put_scores(self._scores(margins))
        else:
            self._put_values(margins, matrix)
        return graph.model(
            **{"rowcast.name": spec.name, "rowcast.target": spec.schema.target.name},
            **{"rowcast.digest": digest},
        )

    def _column(self, position: int, feature: Feature) -> str:
        graph, entry = self.graph, self._spec.encoder[position]
        if feature.kind == "categorical":
            column = graph.input(feature.name, "STRING")
            arrays = self._arrays
            texts = Vocabulary(arrays[f"{position}.words"], arrays[f"{position}.offsets"]).texts()
            self.texts[position] = texts
            table = arrays.get(f"{position}.table")
            if table is None:
                codes = np.append(arrays[f"{position}.codes"], [np.nan, np.nan])
                table = codes[:, None].astype(np.float64)
            return looked_up(graph, column, texts, table)
        column = graph.input(feature.name, "DOUBLE")
        if feature.kind == "numeric":
            return column
        if "unit" in entry:
            return graph.add("Div", column, graph.constant(doubles(UNITS_US[entry["unit"]])))
        return calendar(graph, column)

    def trial_rows(self, places: Mapping[str, slice]) -> pa.RecordBatch:
        """Rows that go many ways: values at the trees' thresholds and beside them, every category.

        The same model gives the same rows. ``places`` has each feature's matrix columns.
        """
        rng = np.random.default_rng(0)
        columns = [
            self._trial_column(rng, position, feature, places[feature.name].start)
            for position, feature in enumerate(self._spec.schema.features)
        ]
        return pa.RecordBatch.from_arrays(columns, list(self._spec.schema.feature_names))

    def _trial_column(
        self, rng: np.random.Generator, position: int, feature: Feature, column: int
    ) -> pa.Array:
        null = rng.random(TRIAL_ROWS) < (0.1 if feature.nullable else 0.0)
        half = rng.random(TRIAL_ROWS) < 0.5
        if feature.kind == "categorical":
            texts = np.array([*self.texts[position], UNKNOWN_TEXT], object)
            return pa.array(rng.choice(texts, TRIAL_ROWS), pa.string(), mask=null)
        asked = _thresholds(self.forest, column)
        if feature.kind == "timestamp":
            unit = UNITS_US[self._spec.encoder[position].get("unit", "days")]
            near = np.clip(rng.choice(np.append(asked, 0.0), TRIAL_ROWS) * unit, *MOMENTS_US)
            us = np.where(half, rng.uniform(*MOMENTS_US, TRIAL_ROWS), near).astype(np.int64)
            return pa.array(us, pa.int64(), mask=null).cast(pa.timestamp("us"))
        centre = feature.baseline if isinstance(feature.baseline, float) else 0.0
        around = centre + rng.normal(size=TRIAL_ROWS) * max(1.0, abs(centre))
        beside = np.concatenate([asked, np.nextafter(asked, np.inf), [centre]])
        values = np.where(half, around, rng.choice(beside, TRIAL_ROWS))
        return pa.array(values, pa.float64(), mask=null)

    def _margins(self, matrix: str) -> str:
        details, members = self._spec.details, self._members
        if self._spec.predictor == "trees":
            self.forest = read_forest(details["reader"], members[details["member"]])
            return trees(self.graph, self.forest, matrix)
        parts = []
        if FOREST in members:
            self.forest = _read(members[FOREST])
            parts.append(trees(self.graph, self.forest, matrix))
        if details.get("linear"):
            outputs = self._classes if self._classes > 2 else 1
            width = sum(len(entry["columns"]) for entry in self._spec.encoder)
            member = Linear.of(self._arrays, width, outputs)
            parts.append(linear(self.graph, member, matrix, LIMIT))
        return parts[0] if len(parts) == 1 else self.graph.add("Add", *parts)

    def _scores(self, margins: str) -> str:
        """Turn margins into probabilities, in the order of the classes."""
        graph, details = self.graph, self._spec.details
        if details["link"] == "softmax":
            scores = graph.add("Softmax", margins, axis=1)
        else:
            scale = graph.constant(doubles(float(details.get("scale", 1.0))))
            scaled = graph.add("Mul", margins, scale)
            second = graph.add("Sigmoid", scaled)
            first = graph.add("Sigmoid", graph.add("Neg", scaled))
            scores = graph.add("Concat", first, second, axis=1)
        order = np.array(details.get("order", range(self._classes)), np.int64)
        return graph.add("Gather", scores, graph.constant(order), axis=1)

    def _put_scores(self, scores: str) -> None:
        graph = self.graph
        classes = graph.constant(list(self._spec.schema.target.classes))
        best = graph.add("ArgMax", scores, axis=1, keepdims=0)
        label = graph.add("ArrayFeatureExtractor", classes, best, domain=ML)
        flat = graph.add("Reshape", label, graph.constant(np.array([-1])))
        graph.output("label", flat, "STRING", 0)
        graph.output("probabilities", scores, "DOUBLE", self._classes)

    def _put_values(self, margins: str, matrix: str) -> None:
        if self._spec.predictor == "trees":  # its interval is in the unit of the values
            value = self._linked(margins)
            interval = self._spec.details.get("interval", {})
            answers = [value, *self._around(value, interval.get("low"), interval.get("high"))]
        else:
            level = float(self._spec.details.get("intervalLevel", LEVEL))
            bounds = Quantiles.of(self._arrays).at(level)
            scale = None
            if SPREAD_FOREST in self._members:
                spread = trees(self.graph, _read(self._members[SPREAD_FOREST]), matrix)
                scale = self.graph.add("Max", spread, self.graph.constant(doubles(bounds.floor)))
            both = self._around(margins, bounds.low, bounds.high, scale)
            answers = [self._linked(each) for each in (margins, *both)]
        for name, answer in zip(("value", "lower_bound", "upper_bound"), answers, strict=True):
            self.graph.output(name, answer, "DOUBLE", 1)

    def _linked(self, value: str) -> str:
        graph, link = self.graph, self._spec.details["link"]
        if link == "identity":
            return value
        if link == "square":
            return graph.add("Mul", graph.add("Abs", value), value)
        powers = graph.add("Exp", value)
        if link == "exp":
            return powers
        return graph.add("Sub", powers, graph.constant(doubles(1.0)))

    def _around(
        self, centre: str, low: float | None, high: float | None, scale: str | None = None
    ) -> list[str]:
        """Bounds around a value; NaN where there is no interval."""
        both = []
        for by in (low, high):
            step = self.graph.constant(doubles(np.nan if by is None else by))
            step = step if scale is None else self.graph.add("Mul", scale, step)
            both.append(self.graph.add("Add", centre, step))
        return both


def _read(member: bytes) -> Forest:
    from safetensors.numpy import load

    return forest_of(load(member))


# --- the comparison -----------------------------------------------------------------------------


def _compared(
    predictor: Predictor, content: bytes, builder: _Builder, outputs: tuple[str, ...]
) -> tuple[int, float]:
    """Score the same rows both ways: how many there were, and the largest difference."""
    rows = builder.trial_rows(dict(predictor.groups()))
    encoded = predictor.encode(Batch(rows, Places("trial rows", np.arange(1, len(rows) + 1))))
    answers = predictor.score(encoded.matrix)
    features = predictor.spec.schema.features
    feed = {f.name: _fed(rows.column(i), f)[encoded.rows] for i, f in enumerate(features)}
    results = dict(zip(outputs, open_session(content).run(list(outputs), feed), strict=True))
    if answers.scores is not None:
        pairs = [(answers.scores, results[outputs[1]])]
        scale = 1.0
    else:
        given = (answers.value, answers.lower, answers.upper)
        pairs = [
            (array[:, None], results[name])
            for array, name in zip(given, outputs, strict=True)
            if array is not None
        ]
        scale = max(float(np.abs(pairs[0][0]).mean()), np.finfo(np.float64).tiny)
    difference = 0.0
    for ours, theirs in pairs:
        apart = np.abs(ours - theirs) / scale
        if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
            return len(encoded.rows), float("inf")
        difference = max(difference, float(np.nanmax(apart, initial=0.0)))
    return len(encoded.rows), difference


def _fed(column: pa.Array, feature: Feature) -> np.ndarray:
    if feature.kind == "categorical":
        texts = [text or "" for text in column.to_pylist()]
        return np.array(texts, object)[:, None]
    if feature.kind == "timestamp":
        column = column.cast(pa.int64()).cast(pa.float64())
    numbers: np.ndarray = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers[:, None]


def _thresholds(forest: Forest | None, column: int) -> np.ndarray:
    if forest is None:
        return np.zeros(0)
    values = np.unique(forest.thresholds[forest.columns == column])
    return np.asarray(values[np.isfinite(values)])
