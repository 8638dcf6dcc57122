"""How much each feature moves a row's answer away from the baseline's: sampled Shapley values.

The reference form. Features are switched from their baseline value to the row's one by one, in
several orders; an attribution is a feature's mean step. A feature is all matrix columns that
stand for it. Features that agree with the baseline drop out of the game and get exactly 0; if
few remain, all their coalitions are scored and the result is exact.

References
----------
Castro, Gómez & Tejada (2009), Computers & Operations Research 36(5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from math import factorial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rowcast.core.batch import Batch, Places
from rowcast.core.prediction import Attributions
from rowcast.errors import InvalidRequest, Violation
from rowcast.scoring.encode import baseline_cell, baseline_record
from rowcast.scoring.parse import OK, parse_numbers, parse_timestamps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rowcast.core.model import ModelSpec
    from rowcast.core.prediction import Predictions
    from rowcast.core.schema import Feature, ModelSchema

DEFAULT_PATHS = 10
MOST_PATHS = 50
MOST_BASELINES = 50
SCORED_CELLS = 4_000_000
"""Matrix cells of the mixed rows that are scored at a time: 32 MB."""
MOST_EXACT = 8
"""Features up to which all coalitions may be scored."""


@dataclass(frozen=True)
class Explanation:
    """What to explain, and how thoroughly. Pickles."""

    path_count: int = DEFAULT_PATHS
    """Orders of the features that are averaged, 1 to 50."""
    top_k: int = 1
    """How many classes to explain, by descending score; -1 for all."""
    output_indices: tuple[int, ...] = ()
    """The classes to explain instead, for every row."""
    baselines: tuple[dict[str, float | str], ...] = ({},)
    """For each baseline row, the values that replace the model's own; attributions are averaged
    over the rows."""


class Matrix(Protocol):
    """What is needed of encoded rows; see ``rowcast.predictors.Encoded``."""

    @property
    def matrix(self) -> np.ndarray:
        """The rows that fit the model."""
        ...


class Explained(Protocol):
    """What is needed of a predictor; see ``rowcast.predictors.Predictor``."""

    spec: ModelSpec

    def encode(self, batch: Batch) -> Matrix:
        """Turn rows into a matrix."""
        ...

    def score(self, matrix: np.ndarray) -> Predictions:
        """Predict for encoded rows."""
        ...

    def groups(self) -> tuple[tuple[str, slice], ...]:
        """For each feature, its matrix columns."""
        ...

    def baseline(self) -> np.ndarray:
        """The baseline row, encoded."""
        ...


@dataclass(frozen=True)
class Game:
    """Which mixtures of row and baseline to score for d features, and what to make of them.

    Coalition 0 is the baseline and the last one the row; neither is scored again.
    """

    coalitions: np.ndarray
    """bool of shape (m, d): which features have the row's value."""
    weights: np.ndarray | None = None
    """Exact game: float64 of shape (d, m); attributions are ``weights @ outputs``."""
    walks: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """Sampled game: int64 of shape (paths, d + 1), the coalitions that each order passes."""
    orders: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    """int64 of shape (paths, d): the feature that joins at each step."""

    def shares(self, outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Split the row's distance from the baseline among the features.

        Parameters
        ----------
        outputs : ndarray of shape (m, k)
            The model's answer to each coalition.

        Returns
        -------
        shares : ndarray of shape (k, d)
            Each sums to ``outputs[-1] - outputs[0]``.
        error : ndarray of shape (k,)
            Standard error of the shares relative to their size, both in the Euclidean norm; 0 if
            exact, and 1 if a single order gives no means to tell.
        """
        distance = outputs[-1] - outputs[0]
        if self.weights is not None:
            shares = (self.weights @ outputs).T
            error = np.zeros(len(shares))
        else:
            steps = outputs[self.walks[:, 1:]] - outputs[self.walks[:, :-1]]
            by_path = np.empty_like(steps)
            np.put_along_axis(by_path, self.orders[:, :, None], steps, axis=1)
            shares = by_path.mean(axis=0).T
            error = _relative_error(by_path, shares)
        shares = np.ascontiguousarray(shares)
        for k, share in enumerate(shares):
            for _ in range(3):  # what rounding left over goes to the largest share
                share[np.argmax(np.abs(share))] += distance[k] - share.sum()
        return shares, error


def _relative_error(by_path: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Estimate the sampling error from pairs of opposite orders, which are independent."""
    paths, _, outputs = by_path.shape
    units = [by_path[at : at + 2].mean(axis=0).T for at in range(0, paths, 2)]
    if len(units) == 1:
        return np.ones(outputs)
    parts = np.array([min(2, paths - at) / paths for at in range(0, paths, 2)])
    spread = (np.stack(units) - shares) ** 2
    variance = np.einsum("u,ukd->kd", parts**2, spread) * len(units) / (len(units) - 1)
    size = np.sqrt((shares**2).sum(axis=1))
    error = np.sqrt(variance.sum(axis=1))
    relative = np.divide(error, size, out=np.zeros(outputs), where=size > 0)
    return np.asarray(np.minimum(relative, 1.0))


@lru_cache(maxsize=64)
def game(features: int, path_count: int) -> Game:
    """Lay out the game of so many features. The same numbers give the same game everywhere."""
    every = 1 << features if features <= MOST_EXACT else 0
    if every and every - 2 <= max(path_count * (features - 1), 6):
        return _exact_game(features)
    bits = np.random.PCG64([features, path_count])
    orders: list[np.ndarray] = []
    while len(orders) < path_count:
        order = np.argsort(np.asarray(bits.random_raw(features)), kind="stable")
        orders += [order, order[::-1]]
    chosen = np.array(orders[:path_count])
    members = np.zeros((path_count, features + 1, features), np.bool_)
    for step in range(features):
        members[:, step + 1] = members[:, step]
        np.put_along_axis(members[:, step + 1], chosen[:, step : step + 1], True, axis=1)
    flat = members.reshape(-1, features)
    distinct, where = np.unique(flat, axis=0, return_inverse=True)
    return Game(distinct, None, where.reshape(path_count, features + 1), chosen)


def _exact_game(features: int) -> Game:
    """Score all coalitions and weigh them by Shapley's formula."""
    count = 1 << features
    numbers = np.arange(count)
    coalitions = (numbers[:, None] >> np.arange(features)) & 1 == 1
    sizes = coalitions.sum(axis=1)
    joins = np.array(
        [factorial(s) * factorial(features - s - 1) for s in range(features)] + [0], np.float64
    ) / factorial(features)
    weights = np.where(coalitions.T, joins[sizes - 1], -joins[sizes])
    return Game(coalitions, weights)


def explain(
    predictor: Explained, matrix: np.ndarray, predictions: Predictions, explanation: Explanation
) -> Attributions:
    """Attribute the answers to the features.

    Each row's attributions depend on nothing but the row, the model and ``explanation``. Scores
    up to ``path_count * n_features`` mixed rows per row and baseline; memory is bounded.

    Parameters
    ----------
    predictor
        The model.
    matrix : ndarray of shape (n_rows, n_columns)
        Encoded rows.
    predictions
        ``predictor.score(matrix)``; taken over bit by bit as the instances' outputs.
    explanation
        What to explain.

    Returns
    -------
    Attributions
        For every row and output, ``values`` sums to ``instance_output - baseline_output``.
    """
    outputs = _outputs(predictions)
    classes = predictions.scores is not None
    index = _explained(outputs, explanation, classes=classes)
    groups = predictor.groups()
    baselines = np.stack([_baseline_row(predictor, row) for row in explanation.baselines])
    at_baseline = _outputs(predictor.score(baselines))
    n_rows, k = index.shape
    values = np.zeros((n_rows, k, len(groups)))
    errors = np.zeros((n_rows, k))
    for number, baseline in enumerate(baselines):
        for rows, moved, results in _mixtures(predictor, matrix, baseline, explanation.path_count):
            for row, features, (layout, mixed) in zip(rows, moved, results, strict=True):
                picked = np.concatenate(
                    [at_baseline[number : number + 1], mixed, outputs[row : row + 1]]
                )[:, index[row]]
                shares, error = layout.shares(picked)
                if classes:
                    np.clip(shares, -1.0, 1.0, out=shares)
                values[row][:, features] += shares / len(baselines)
                errors[row] += error / len(baselines)
    columns = np.arange(n_rows)[:, None], index
    return Attributions(
        feature_names=tuple(name for name, _ in groups),
        values=values,
        baseline_output=at_baseline.mean(axis=0)[index],
        instance_output=outputs[columns],
        approximation_error=errors,
        output_index=index if classes else np.full_like(index, -1),
    )


def _baseline_row(predictor: Explained, instead: Mapping[str, float | str]) -> np.ndarray:
    if not instead:
        return predictor.baseline()
    row = baseline_record(predictor.spec.schema.features, instead)
    places = Places("explanationSpec", np.ones(1, np.int64))
    return np.asarray(predictor.encode(Batch(row, places)).matrix[0])


def _outputs(predictions: Predictions) -> np.ndarray:
    if predictions.scores is not None:
        return predictions.scores
    return np.asarray(predictions.value).reshape(-1, 1)


def _explained(outputs: np.ndarray, explanation: Explanation, *, classes: bool) -> np.ndarray:
    """Choose each row's outputs to explain: int64 of shape (n_rows, k), by descending output."""
    n_rows, n_outputs = outputs.shape
    if not classes:
        return np.zeros((n_rows, 1), np.int64)
    if explanation.output_indices:
        chosen = np.array(explanation.output_indices, np.int64)
        return np.tile(chosen, (n_rows, 1))
    k = n_outputs if explanation.top_k < 0 else min(explanation.top_k, n_outputs)
    return np.argsort(-outputs, axis=1, kind="stable")[:, :k]


Mixed = tuple[list[int], list[np.ndarray], list[tuple[Game, np.ndarray]]]


def _mixtures(
    predictor: Explained, matrix: np.ndarray, baseline: np.ndarray, path_count: int
) -> Iterator[Mixed]:
    """Score the mixtures of every row that differs from the baseline, a bounded block at a time.

    Yields the rows, the features in which each differs, and each one's game with its outputs.
    """
    groups = predictor.groups()
    same = (matrix == baseline) | (np.isnan(matrix) & np.isnan(baseline))
    differs = np.stack([~same[:, where].all(axis=1) for _, where in groups], axis=1)
    owner = np.empty(len(baseline), np.int64)
    for number, (_, where) in enumerate(groups):
        owner[where] = number
    most = max(1, SCORED_CELLS // max(1, len(baseline)))
    block: list[np.ndarray] = []
    rows: list[int] = []
    moved: list[np.ndarray] = []
    size = 0
    for row in np.flatnonzero(differs.any(axis=1)).tolist():
        features = np.flatnonzero(differs[row])
        between = game(len(features), path_count).coalitions[1:-1]
        if size and size + len(between) > most:
            yield _scored(predictor, rows, moved, block, path_count)
            block, rows, moved, size = [], [], [], 0
        full = np.zeros((len(between), len(groups)), np.bool_)
        full[:, features] = between
        block.append(np.where(full[:, owner], matrix[row], baseline))
        rows.append(row)
        moved.append(features)
        size += len(between)
    if rows:
        yield _scored(predictor, rows, moved, block, path_count)


def _scored(
    predictor: Explained,
    rows: list[int],
    moved: list[np.ndarray],
    block: list[np.ndarray],
    path_count: int,
) -> Mixed:
    outputs = _outputs(predictor.score(np.concatenate(block)))
    ends = np.cumsum([len(piece) for piece in block])[:-1]
    games = [game(len(features), path_count) for features in moved]
    return rows, moved, list(zip(games, np.split(outputs, ends), strict=True))


# --- explanationSpec ----------------------------------------------------------------------------


def read_explanation(given: Mapping[str, Any] | None, schema: ModelSchema) -> Explanation:
    """Turn the JSON of an ``explanationSpec`` into what ``explain`` wants.

    Parameters
    ----------
    given
        The object of the request, keys in either case style; what it leaves out is the model's.
    schema
        Of the model.

    Raises
    ------
    InvalidRequest
        Naming every violation.
    """
    violations, explanation = _read(given or {}, schema, "explanation_spec")
    if violations:
        raise InvalidRequest.listing(violations)
    return explanation


def explanation_violations(
    given: Mapping[str, Any] | None, schema: ModelSchema, field: str = "explanation_spec"
) -> list[Violation]:
    """List what is wrong with an ``explanationSpec``; ``field`` is where the request has it."""
    return _read(given or {}, schema, field)[0]


def explanation_spec(schema: ModelSchema) -> dict[str, Any]:
    """The model's own ``explanationSpec``, as the API shows it."""
    return {
        "parameters": {"sampledShapleyAttribution": {"pathCount": DEFAULT_PATHS}},
        "metadata": {
            "inputs": {
                feature.name: {
                    "inputBaselines": [] if feature.baseline is None else [feature.baseline]
                }
                for feature in schema.features
            },
            "outputs": {"scores" if schema.target.classes else "value": {}},
        },
    }


class _Reader:
    """Reads a JSON object whose keys have either case style, and collects what is wrong."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []

    def refuse(self, field: str, description: str) -> None:
        self.violations.append(Violation(field, description))

    def member(self, value: Mapping[str, Any], camel: str) -> tuple[str, Any]:
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in camel)
        return snake, value.get(camel, value.get(snake))

    def mapping(self, value: Any, field: str) -> Mapping[str, Any]:
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self.refuse(field, "must be an object")
        return {}

    def integer(self, value: Any, field: str) -> int | None:
        try:
            whole = not isinstance(value, bool) and int(value) == float(value)
        except (TypeError, ValueError, OverflowError):
            whole = False
        if whole:
            return int(value)
        self.refuse(field, "must be an integer")
        return None


def _read(
    given: Mapping[str, Any], schema: ModelSchema, at: str
) -> tuple[list[Violation], Explanation]:
    reader = _Reader()
    name, value = reader.member(given, "parameters")
    parameters = reader.mapping(value, f"{at}.{name}")
    paths = _path_count(reader, parameters, f"{at}.{name}")
    top_k, indices = _chosen_outputs(reader, parameters, schema, f"{at}.{name}")
    name, value = reader.member(given, "metadata")
    metadata = reader.mapping(value, f"{at}.{name}")
    inputs = reader.mapping(metadata.get("inputs"), f"{at}.{name}.inputs")
    baselines = _baselines(reader, inputs, schema, f"{at}.{name}.inputs")
    return reader.violations, Explanation(paths, top_k, indices, baselines)


def _path_count(reader: _Reader, parameters: Mapping[str, Any], at: str) -> int:
    for method in ("integratedGradientsAttribution", "xraiAttribution", "examples"):
        name, value = reader.member(parameters, method)
        if value is not None:
            reader.refuse(f"{at}.{name}", "only sampled_shapley_attribution is offered")
    name, value = reader.member(parameters, "sampledShapleyAttribution")
    at = f"{at}.{name}"
    name, value = reader.member(reader.mapping(value, at), "pathCount")
    if value is None:
        return DEFAULT_PATHS
    count = reader.integer(value, f"{at}.{name}")
    if count is not None and not 1 <= count <= MOST_PATHS:
        reader.refuse(f"{at}.{name}", f"must be from 1 to {MOST_PATHS}")
    return count or DEFAULT_PATHS


def _chosen_outputs(
    reader: _Reader, parameters: Mapping[str, Any], schema: ModelSchema, at: str
) -> tuple[int, tuple[int, ...]]:
    n_classes = len(schema.target.classes)
    name, value = reader.member(parameters, "topK")
    top_k = 1
    if value not in (None, 0):
        top_k = reader.integer(value, f"{at}.{name}") or 1
        if top_k < -1:
            reader.refuse(f"{at}.{name}", "must be positive, or -1 for all classes")
        elif not n_classes:
            reader.refuse(f"{at}.{name}", "is for classification models only")
    name, value = reader.member(parameters, "outputIndices")
    if value in (None, []):
        return top_k, ()
    if not isinstance(value, list):
        reader.refuse(f"{at}.{name}", "must be a list of integers")
        return top_k, ()
    if not n_classes:
        reader.refuse(f"{at}.{name}", "is for classification models only")
        return top_k, ()
    indices = []
    for number, item in enumerate(value):
        index = reader.integer(item, f"{at}.{name}[{number}]")
        if index is not None and not 0 <= index < n_classes:
            reader.refuse(f"{at}.{name}[{number}]", f"must be from 0 to {n_classes - 1}")
        indices.append(index or 0)
    if len(set(indices)) < len(indices):
        reader.refuse(f"{at}.{name}", "must not name an output twice")
    return top_k, tuple(indices)


def _baselines(
    reader: _Reader, inputs: Mapping[str, Any], schema: ModelSchema, at: str
) -> tuple[dict[str, float | str], ...]:
    """Lay the features' baselines side by side: row i has every feature's i-th value."""
    features = {feature.name: feature for feature in schema.features}
    given: dict[str, list[float | str]] = {}
    for name, entry in inputs.items():
        if name not in features:
            reader.refuse(f"{at}[{name!r}]", "is not a feature of the model")
            continue
        where = f"{at}[{name!r}]"
        key, values = reader.member(reader.mapping(entry, where), "inputBaselines")
        if values in (None, []):
            continue
        if not isinstance(values, list) or len(values) > MOST_BASELINES:
            reader.refuse(f"{where}.{key}", f"must be a list of at most {MOST_BASELINES} values")
            continue
        read = [
            _baseline(reader, features[name], value, f"{where}.{key}[{i}]")
            for i, value in enumerate(values)
        ]
        given[name] = [value for value in read if value is not None]
    counts = {len(values) for values in given.values()} - {1}
    if len(counts) > 1 and not reader.violations:
        reader.refuse(at, "features with several input_baselines must have the same number of them")
    if reader.violations:
        return ({},)
    return tuple(
        {name: values[i if len(values) > 1 else 0] for name, values in given.items()}
        for i in range(max(counts, default=1))
    )


def _baseline(reader: _Reader, feature: Feature, value: Any, at: str) -> float | str | None:
    """Read one baseline value as the feature would read a cell."""
    if isinstance(value, bool):
        value = "true" if value else "false"
    if not isinstance(value, int | float | str):
        reader.refuse(at, "must be a number or a text")
        return None
    if feature.kind == "numeric":
        numbers, status = parse_numbers(baseline_cell(feature, value))
        if status[0] != OK:
            reader.refuse(at, "must be a number, for that is what the feature is")
        return float(numbers[0])
    if feature.kind == "timestamp":
        moments, status = parse_timestamps(baseline_cell(feature, value), feature.time_format)
        if status[0] != OK:
            reader.refuse(at, "must be a timestamp, for that is what the feature is")
        return float(moments[0])
    return str(baseline_cell(feature, value)[0].as_py())


__all__ = [
    "Explanation",
    "explain",
    "explanation_spec",
    "explanation_violations",
    "read_explanation",
]
