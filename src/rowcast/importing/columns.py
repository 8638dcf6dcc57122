"""A model's columns: what the file says, what the schema says, and what the example shows."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.core.batch import shown
from rowcast.core.schema import Feature, FeatureKind, ModelSchema, PredictionType, Target
from rowcast.errors import InvalidRequest, Violation
from rowcast.importing.described import Input
from rowcast.predictors.imported import save_arrays
from rowcast.scoring.encode import Vocabulary
from rowcast.scoring.parse import BAD, OK, as_text, flat, is_text, parse_numbers, parse_timestamps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rowcast.importing.described import Described

SHOWN = 10
Unit = Literal["days", "seconds", "milliseconds", "microseconds"]


class FeatureEntry(msgspec.Struct, forbid_unknown_fields=True, rename="camel", frozen=True):
    """One feature of a schema file."""

    name: str
    kind: FeatureKind | None = None
    categories: list[str] | dict[str, float] | None = None
    """Texts in the order of their codes from 0, or each text's code."""
    nullable: bool | None = None
    """None: whether the model takes nulls is tried."""
    baseline: float | str | None = None
    time_format: str | None = None
    unit: Unit | None = None
    """What a timestamp is counted in since 1970."""


class SchemaFile(msgspec.Struct, forbid_unknown_fields=True, rename="camel", frozen=True):
    """What a user says of a model that its file does not: the JSON of ``--schema``."""

    features: list[FeatureEntry] = []
    """In the order of the model's columns."""
    target: str | None = None
    prediction_type: PredictionType | None = None
    classes: list[str] = []
    """In the order of the model's scores."""


def read_schema(content: bytes, where: str) -> SchemaFile:
    """Read a schema file. Raises InvalidRequest."""
    try:
        return msgspec.json.decode(content, type=SchemaFile)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{where} is no schema of a model: {error}") from error


@dataclass(frozen=True)
class Columns:
    """A model's schema, and how its columns are encoded."""

    schema: ModelSchema
    entries: tuple[dict[str, Any], ...]
    """See ``rowcast.predictors.imported``."""
    arrays: bytes
    details: dict[str, Any]
    """Of the model, with what the columns add to them."""
    undecided: frozenset[str]
    """Features of which nobody has said whether they may be null."""


class Matching:
    """Puts together the columns of one model, and collects what does not fit."""

    def __init__(
        self, described: Described, given: SchemaFile, example: pa.Table | None, target: str
    ) -> None:
        self._described = described
        self._given = given
        self._example = example
        self._target = target
        self.violations: list[Violation] = []

    def columns(self, prediction_type: PredictionType | None) -> Columns:
        """Match them.

        Raises
        ------
        InvalidRequest
            With everything that does not fit.
        """
        target = self.target(prediction_type)
        names = self._names({*target.score_columns()})
        inputs = self._inputs(names)
        self._stop()
        entries: list[dict[str, Any]] = []
        features: list[Feature] = []
        vocabularies: dict[int, tuple[Sequence[str], np.ndarray | None]] = {}
        said = {entry.name: entry for entry in self._given.features}
        for position, (name, taken) in enumerate(zip(names, inputs, strict=True)):
            entry = said.get(name) or FeatureEntry(name)
            kind, how = self._kind(entry, taken)
            encoded = {"kind": kind, "columns": [name], "as": how}
            if how == "moment":
                default: Unit = "microseconds" if taken.takes == "any" else "seconds"
                encoded["unit"] = entry.unit or default
            texts, codes = self._categories(entry, taken, how)
            if how in ("code", "text"):
                vocabularies[position] = texts, codes
            entries.append(encoded)
            features.append(self._feature(entry, kind, texts))
        self._stop()
        details = dict(self._described.details)
        inputs_of_file = details.get("inputs")
        if self._described.inputs is None and inputs_of_file:
            details["inputs"] = [{**inputs_of_file[0], "width": len(names)}]
        if target.classes:
            details["order"] = self._order(target)
        undecided = {name for name in names if name not in said or said[name].nullable is None}
        return Columns(
            ModelSchema(tuple(features), target),
            tuple(entries),
            save_arrays(vocabularies),
            details,
            frozenset(undecided),
        )

    def target(self, prediction_type: PredictionType | None) -> Target:
        """Name what the model predicts. Raises InvalidRequest."""
        found = self._described.prediction_type
        wanted = prediction_type or self._given.prediction_type
        if found and wanted and found != wanted:
            raise InvalidRequest(f"The model is one of {found}, not of {wanted}.")
        kind = found or wanted or ("classification" if self._given.classes else "regression")
        if kind == "regression":
            if self._given.classes:
                raise InvalidRequest("The model predicts a value, but the schema names classes.")
            return Target(self._target, kind)
        return Target(self._target, kind, tuple(sorted(self._labels())))

    def _labels(self) -> tuple[str, ...]:
        """Name the classes, in the order of the model's scores."""
        own, given = self._described.labels, tuple(self._given.classes)
        count = self._described.n_classes or len(own) or len(given)
        numbered = tuple(map(str, range(count)))
        if own and given and set(own) != set(given) and own != numbered:
            raise InvalidRequest(
                f"The model's classes are {_listed(own)}, but the schema's {_listed(given)}."
            )
        labels = own if own and own != numbered else given or own or numbered
        if len(labels) != count or len(set(labels)) != count or count < 2:
            raise InvalidRequest(
                f"The model has {count} classes, but {_listed(labels) or 'none'} are named; name "
                "each of them in the schema, in the order of the model's scores."
            )
        return labels

    def _order(self, target: Target) -> list[int]:
        """For each class, ascending by text, where the model has its score."""
        labels = self._labels()
        return [labels.index(label) for label in target.classes]

    def _names(self, outputs: set[str]) -> list[str]:
        """Name the features in the model's order."""
        own = [item.name for item in self._described.inputs or ()]
        if self._given.features:
            return [entry.name for entry in self._given.features]
        if own and None not in own:
            return [str(name) for name in own]
        if self._example is not None:
            aside = {self._target, *outputs}
            return [name for name in self._example.column_names if name not in aside]
        raise InvalidRequest(
            "The model's file does not name its columns; give a schema, or an example whose "
            "columns are in the order that the model was trained with."
        )

    def _inputs(self, names: list[str]) -> tuple[Input, ...]:
        """See that the names are those of the file, and as many."""
        inputs = self._described.inputs or (Input(),) * len(names)
        for name, times in Counter(names).items():
            if times > 1:
                self._refuse(name, "occurs more than once")
        if len(inputs) != len(names):
            self.violations.append(
                Violation(
                    "features",
                    f"the model takes {len(inputs)} columns, but {len(names)} are named: "
                    f"{_listed(names)}",
                )
            )
        for number, (name, item) in enumerate(zip(names, inputs, strict=False), start=1):
            if item.name is not None and item.name != name and item.name != "_".join(name.split()):
                self._refuse(name, f"column {number} of the model is {item.name!r}")
        if self._example is not None:
            found = set(self._example.column_names)
            for name in names:
                if name not in found:
                    self._refuse(name, "is not a column of the example")
        return inputs

    def _kind(self, entry: FeatureEntry, taken: Input) -> tuple[FeatureKind, str]:
        """Decide what a column is, and how the model is given it."""
        kind = entry.kind or self._seen_kind(entry, taken)
        if kind in ("categorical", "text") and taken.takes in ("text", "any"):
            return kind, "text"
        if taken.takes == "text":
            self._refuse(entry.name, f"the model takes texts, so it cannot be {kind}")
        elif kind == "timestamp":
            return kind, "moment"
        elif kind == "categorical":
            return kind, "code"
        elif kind == "text":
            self._refuse(entry.name, "the model takes numbers, so it cannot be text")
        elif entry.kind is None and (fault := self._not_number(entry.name)):
            self._refuse(entry.name, f"the model takes numbers, but the example has {fault}")
        return kind, "number"

    def _not_number(self, name: str) -> str | None:
        """Quote a cell of the example that is no number."""
        if self._example is None or name not in self._example.column_names:
            return None
        column = flat(self._example.column(name))
        wrong = np.flatnonzero(parse_numbers(column)[1] == BAD)
        if not len(wrong):
            return None
        cell = as_text(column.take(pa.array(wrong[:1]))).to_pylist()[0]
        return (
            f"{shown(cell)} in row {wrong[0] + 1}; if it is a category, list the categories in a "
            "schema, in the order of their codes"
        )

    def _seen_kind(self, entry: FeatureEntry, taken: Input) -> FeatureKind:
        if taken.wordy:
            return "text"
        if taken.takes == "text" or taken.categories or entry.categories is not None:
            return "categorical"
        if entry.time_format is not None or entry.unit is not None:
            return "timestamp"
        if self._example is None or taken.takes == "number":
            return "numeric"
        column = flat(self._example.column(entry.name))
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return "timestamp"
        if is_text(column.type) and (parse_numbers(column)[1] == BAD).any():
            return "categorical"
        return "numeric"

    def _categories(
        self, entry: FeatureEntry, taken: Input, how: str
    ) -> tuple[tuple[str, ...], np.ndarray | None]:
        """The texts that a column is known to hold, and their codes."""
        given = entry.categories
        if how == "text":
            return tuple(given or taken.categories), None
        if how != "code":
            if given is not None:
                self._refuse(entry.name, "only categorical features have categories")
            return (), None
        if given and taken.categories and list(given) != list(taken.categories):
            self._refuse(entry.name, f"the file's categories are {_listed(taken.categories)}")
        given = given or list(taken.categories)
        if not given:
            self._refuse(entry.name, "the model takes numbers; list the categories by code")
            return (), None
        codes = list(given.values()) if isinstance(given, dict) else range(len(given))
        texts = tuple(given)
        if len(set(texts)) != len(texts) or (Vocabulary.of([]).codes(pa.array(texts)) == 1).any():
            self._refuse(entry.name, "a category is named twice, or is what null is written as")
        return texts, np.array(codes, np.float64)

    def _feature(self, entry: FeatureEntry, kind: FeatureKind, texts: Sequence[str]) -> Feature:
        baseline = entry.baseline
        if baseline is None and self._example is not None and not self.violations:
            column = flat(self._example.column(entry.name))
            baseline = usual_value(column, kind, entry.time_format)
        if baseline is None and kind == "categorical" and texts:
            baseline = texts[0]
        return Feature(
            entry.name,
            kind,
            nullable=entry.nullable is not False,
            time_format=entry.time_format,
            baseline=baseline,
        )

    def _refuse(self, feature: str, why: str) -> None:
        self.violations.append(Violation(f"features[{feature!r}]", why))

    def _stop(self) -> None:
        if self.violations:
            raise InvalidRequest.listing(self.violations)


def usual_value(column: pa.Array, kind: FeatureKind, time_format: str | None) -> float | str | None:
    """The median of numbers and moments, else the most frequent text; None if all are null."""
    if kind == "numeric":
        values, status = parse_numbers(column)
        known = values[status == OK]
        return float(np.median(known)) if len(known) else None
    if kind == "timestamp":
        moments, status = parse_timestamps(column, time_format)
        known = np.sort(moments[status == OK])
        return float(known[(len(known) - 1) // 2]) if len(known) else None
    texts = as_text(column)
    null = Vocabulary.of([]).codes(texts) == 1
    counted: Mapping[str, int] = {
        item["values"]: item["counts"]
        for item in pc.value_counts(texts.filter(pa.array(~null))).to_pylist()
    }
    return min(counted, key=lambda text: (-counted[text], text)) if counted else None


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
