"""What to explain: ``Explanation``, and the ``explanationSpec`` of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcast.errors import InvalidRequest, Violation
from rowcast.scoring.encode import baseline_cell
from rowcast.scoring.parse import OK, parse_numbers, parse_timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.core.schema import Feature, ModelSchema

DEFAULT_PATHS = 10
MOST_PATHS = 50
MOST_BASELINES = 50


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
