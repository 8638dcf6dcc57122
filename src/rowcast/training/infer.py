"""What each column is: number, moment, category or text, or of no use."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.core.schema import FeatureKind, PredictionType
from rowcast.errors import InvalidRequest, Violation
from rowcast.scoring.lists import is_list, json_array, parse_lists
from rowcast.scoring.parse import (
    BAD,
    NULL,
    OK,
    as_text,
    flat,
    is_text,
    parse_numbers,
    parse_timestamps,
    time_format_fault,
)
from rowcast.scoring.vocabulary import Vocabulary
from rowcast.training.findings import column_note, duplicates

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

MOST_UNREADABLE = 0.05
"""Share of values that may be unreadable in a column taken for numbers or timestamps."""
TEXT_WORDS = 3.0
TEXT_LEVELS = 50
TEXT_DISTINCT = 0.2
ID_DISTINCT = 0.95
ID_ROWS = 50
REGRESSION_LEVELS = 20
ARRAYS_TRIED = 1000
FREQUENT = 5
"""A category needs this many rows to be known."""


@dataclass(frozen=True)
class Transformation:
    """How a user wants a column to be read."""

    kind: FeatureKind | Literal["auto"] = "auto"
    invalid_values_allowed: bool = False
    time_format: str | None = None


@dataclass(frozen=True)
class Choice:
    """A column that becomes a feature."""

    name: str
    kind: FeatureKind
    invalid_values_allowed: bool = False
    time_format: str | None = None


@dataclass(frozen=True)
class Choices:
    """The features, and what became of every other column."""

    features: tuple[Choice, ...]
    dropped: dict[str, str]
    """Column to reason."""
    notes: dict[str, str] = field(default_factory=dict)
    """Feature to what is odd about it."""


def choose_features(
    table: pa.Table,
    transformations: Mapping[str, str | Mapping[str, object] | Transformation] | None,
    aside: Collection[str],
    unless_asked: Mapping[str, str] | None = None,
) -> Choices:
    """Decide what each column is.

    Parameters
    ----------
    table
        The training table.
    transformations
        Column to kind or ``auto``; columns without one are not used. None: ``auto`` for all.
    aside
        Columns that are no features: target, weight, a predefined split.
    unless_asked
        Columns that are no features without a transformation of their own, to the reason.

    Raises
    ------
    InvalidRequest
        If a transformation makes no sense, or no feature is left.
    """
    wanted = _transformations(transformations, table.column_names, aside)
    features, dropped, notes = [], {}, {}
    for name in table.column_names:
        if name in aside:
            continue
        if not transformations and name in (unless_asked or {}):
            dropped[name] = (unless_asked or {})[name]
            continue
        if name not in wanted:
            dropped[name] = "no transformation was given for it"
            continue
        transformation = wanted[name]
        column = flat(table.column(name))
        kind, reason = _judge(column, transformation)
        if kind is None:
            dropped[name] = reason
            continue
        features.append(
            Choice(name, kind, transformation.invalid_values_allowed, transformation.time_format)
        )
        if transformation.kind == "auto" and (note := column_note(name, kind, column)):
            notes[name] = note
    guessed = [choice.name for choice in features if wanted[choice.name].kind == "auto"]
    for name, same in duplicates(table, guessed).items():
        dropped[name] = f"it is the same as {same!r} in every row"
        notes.pop(name, None)
    features = [choice for choice in features if choice.name not in dropped]
    if not features:
        reasons = "; ".join(f"{name!r}: {reason}" for name, reason in dropped.items())
        raise InvalidRequest(f"No column is of use as a feature. {reasons}")
    return Choices(tuple(features), dropped, notes)


def _transformations(
    given: Mapping[str, str | Mapping[str, object] | Transformation] | None,
    names: Sequence[str],
    aside: Collection[str],
) -> dict[str, Transformation]:
    if not given:
        return {name: Transformation() for name in names if name not in aside}
    violations = []
    wanted = {}
    for name, value in given.items():
        field = f"transformations[{name!r}]"
        try:
            transformation = _transformation(value)
        except (TypeError, ValueError) as error:
            violations.append(Violation(field, str(error)))
            continue
        if name not in names:
            violations.append(Violation(field, "the data has no such column"))
        if name in aside:
            violations.append(
                Violation(field, "is the target, the weight or the split, and no feature")
            )
        if fault := transformation.time_format and time_format_fault(transformation.time_format):
            violations.append(Violation(field, fault))
        wanted[name] = transformation
    if violations:
        raise InvalidRequest.listing(violations)
    return wanted


def _transformation(value: str | Mapping[str, object] | Transformation) -> Transformation:
    if isinstance(value, str):
        value = Transformation(cast("FeatureKind", value))
    elif not isinstance(value, Transformation):
        value = Transformation(**value)  # type: ignore[arg-type]
    kinds = ("auto", *get_args(FeatureKind))
    if value.kind not in kinds:
        raise ValueError(f"must be one of {', '.join(kinds)}, not {value.kind!r}")
    if value.time_format is not None and value.kind not in ("timestamp", "auto"):
        raise ValueError("a time format goes with kind timestamp only")
    return value


def _judge(column: pa.Array, wanted: Transformation) -> tuple[FeatureKind | None, str]:
    """Find a column's kind, or why it is of no use."""
    empty = null_cells(column)
    if empty.all():
        return None, "every value is null"
    if wanted.kind != "auto":
        return wanted.kind, ""
    if wanted.time_format is not None:
        return "timestamp", ""
    kind = column.type
    if is_list(kind):
        return _judge_lists(column)
    if pa.types.is_nested(kind) or pa.types.is_map(kind):
        return None, "nested values are not read"
    distinct = column.filter(pa.array(~empty)).unique()
    if len(distinct) == 1 and not empty.any():
        return None, "every row has the same value"
    if pa.types.is_temporal(kind):
        if pa.types.is_time(kind) or pa.types.is_duration(kind):
            return None, "times of day and durations are not read"
        return "timestamp", ""
    if pa.types.is_boolean(kind):
        return "categorical", ""
    values, status = parse_numbers(distinct)
    if np.mean(status == BAD) <= MOST_UNREADABLE:
        if _counts_rows(values[status == OK], len(column)):
            return None, "it numbers the rows"
        return "numeric", ""
    if not is_text(kind):  # pragma: no cover - no such type is left
        return "categorical", ""
    if np.mean(parse_timestamps(distinct)[1] == BAD) <= MOST_UNREADABLE:
        return "timestamp", ""
    if _are_arrays(as_text(distinct)):
        return _judge_lists(distinct)
    return _judge_text(as_text(distinct), len(column) - int(empty.sum()))


def _are_arrays(distinct: pa.Array) -> bool:
    """Tell whether every text is a JSON array; of many, whether the first thousand are."""
    bracketed = pc.match_substring_regex(distinct, r"(?s)^[ \t\r\n]*\[.*\][ \t\r\n]*$")
    if not pc.all(bracketed).as_py():
        return False
    first = distinct.slice(0, ARRAYS_TRIED).to_pylist()
    return all(json_array(text) is not None for text in first)


def _judge_lists(column: pa.Array) -> tuple[FeatureKind | None, str]:
    """Find the kind of a column of lists by the values in them."""
    values = parse_lists(column).values
    if pa.types.is_nested(values.type) or pa.types.is_map(values.type):
        return None, "nested values are not read"
    known = values.filter(pa.array(~null_cells(values)))
    if not len(known):
        return None, "every list is empty"
    if column.slice(1).equals(column.slice(0, len(column) - 1)):
        return None, "every row has the same value"
    distinct = known.unique()
    if not pa.types.is_boolean(values.type):
        unreadable = parse_numbers(distinct)[1] == BAD
        if np.mean(unreadable) <= MOST_UNREADABLE:
            return "repeatedNumeric", ""
    kind, reason = _judge_text(as_text(distinct), len(known))
    if kind is None:
        return None, f"in its lists {reason.replace('row', 'place')}"
    return ("repeatedText" if kind == "text" else "repeatedCategorical"), ""


def _judge_text(distinct: pa.Array, rows: int) -> tuple[FeatureKind | None, str]:
    blanks = pc.mean(pc.count_substring(distinct, " ")).as_py()
    share = len(distinct) / rows
    if blanks + 1 >= TEXT_WORDS and len(distinct) > TEXT_LEVELS and share > TEXT_DISTINCT:
        return "text", ""
    if share > ID_DISTINCT and rows >= ID_ROWS:
        return None, "nearly every row has a value of its own"
    return "categorical", ""


def _counts_rows(values: np.ndarray, rows: int) -> bool:
    """Tell whether the values are consecutive integers, one a row."""
    if len(values) != rows or rows < ID_ROWS:
        return False
    return bool(values.max() - values.min() == rows - 1 and (values == np.floor(values)).all())


def null_cells(column: pa.Array) -> np.ndarray:
    """Mark the cells that count as null, whatever their type."""
    if is_text(column.type):
        return np.asarray(Vocabulary.of([]).codes(as_text(column)) == 1)
    if pa.types.is_floating(column.type):
        return np.asarray(parse_numbers(column)[1] == NULL)
    return np.asarray(column.is_null().to_numpy(zero_copy_only=False))


def target_type(column: pa.Array) -> tuple[PredictionType, str]:
    """Decide between classification and regression, and say why.

    Numbers with a fraction, or of more than 20 different values, are a quantity; anything else
    is a class.
    """
    distinct = column.filter(pa.array(~null_cells(column))).unique()
    values, status = parse_numbers(distinct)
    if pa.types.is_boolean(column.type) or not len(distinct) or (status != OK).any():
        return "classification", "the target is not a number in every row"
    if (values != np.floor(values)).any():
        return "regression", "the target has fractions"
    levels = len(np.unique(values))
    if levels > REGRESSION_LEVELS:
        return "regression", f"the target has {levels} different numbers"
    return "classification", f"the target has no more than {levels} different whole numbers"
