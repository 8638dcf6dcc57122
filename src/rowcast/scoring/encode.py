"""Rows to one matrix of doubles, by the rules that training fixed.

Every feature becomes one or more matrix columns, NaN meaning missing:

=========== =========================================================================
numeric     the number
timestamp   days since 1970 with fraction, year, month, day, weekday (Monday is 0),
            day of year, hour
categorical rank by frequency (0 is the most frequent), the target's smoothed mean
            for this value (one column per class up to ten of them), and above 50
            values the logarithm of how often it occurred
text        length, number of words, and what its words and pairs of words add up to:
            along the linear model of the target, and along the topics of the column; flags for
            a few words
=========== =========================================================================

``repeatedNumeric`` becomes the count, sum, mean, deviation, extremes and ends of a list of
numbers; ``repeatedCategorical`` two counts, the mean of its values' target means, and flags for
the values that tell most; ``repeatedText`` the count, and the columns of the joined text.

A row's numbers depend on nothing but the row, so they are the same in every batch. The entry of
a feature in ``ModelSpec.encoder`` is its kind and the names of its matrix columns; tables live in
the model's arrays, under ``FEATURE.what``, where FEATURE is the feature's position.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.core.batch import Batch, Places, RowError, Spans, shown
from rowcast.errors import ModelDamaged
from rowcast.scoring.kernels.numbers import fill_calendar
from rowcast.scoring.kernels.vocabulary import gather
from rowcast.scoring.lists import (
    RepeatedCategoricalEncoder,
    RepeatedNumericEncoder,
    RepeatedTextEncoder,
)
from rowcast.scoring.parse import BAD, NULL, OK, as_text, flat, parse_numbers, parse_timestamps
from rowcast.scoring.text import TEXT_ARRAYS, TextEncoder, WordFlagEncoder
from rowcast.scoring.vocabulary import Vocabulary as Vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import Feature

COLUMNS_SHOWN = 5
SLICE_ROWS = 1 << 16
BOOLEAN_SPELLINGS = ("false", "true", "False", "True", "FALSE", "TRUE")
DAY_US = 86_400_000_000
TIMESTAMP_COLUMNS = ("days", "year", "month", "day", "weekday", "day_of_year", "hour")
EXPECTED = {
    "numeric": "a number",
    "timestamp": "a timestamp",
    "repeatedNumeric": "a list of numbers",
}


class ColumnEncoder(Protocol):
    """How one feature becomes matrix columns."""

    @property
    def width(self) -> int:
        """How many."""
        ...

    def fill(self, column: pa.Array, out: np.ndarray) -> np.ndarray | None:
        """Write the column to ``out`` of shape (n, width).

        Returns
        -------
        ndarray of uint8 or None
            OK, NULL or BAD for each row; None if no value of this kind is ever refused, and null
            is NaN in the first column.
        """
        ...


@dataclass(frozen=True)
class NumericEncoder:
    """Numbers as they are."""

    width: int = 1

    def fill(self, column: pa.Array | Spans, out: np.ndarray) -> np.ndarray | None:
        """See ColumnEncoder."""
        out[:, 0], status = parse_numbers(column)
        return status


@dataclass(frozen=True)
class TimestampEncoder:
    """A moment's place in time and in the calendar, in UTC."""

    time_format: str | None
    width: int = len(TIMESTAMP_COLUMNS)

    def fill(self, column: pa.Array | Spans, out: np.ndarray) -> np.ndarray | None:
        """See ColumnEncoder."""
        us, status = parse_timestamps(column, self.time_format)
        fill_calendar(us, status, out)
        return status


@dataclass(frozen=True)
class CategoricalEncoder:
    """A row of a table for each known text, one for unknown texts and one for null."""

    vocabulary: Vocabulary
    table: np.ndarray
    """float64 of shape (len(vocabulary) + 2, width)."""

    @property
    def width(self) -> int:
        """Columns of the table."""
        return int(self.table.shape[1])

    def fill(self, column: pa.Array | Spans, out: np.ndarray) -> np.ndarray | None:
        """See ColumnEncoder."""
        codes = self._codes(column)
        gather(codes, self.table, out)
        return np.where(codes > len(self.vocabulary), NULL, OK).astype(np.uint8)

    def unseen(self, column: pa.Array) -> int:
        """Count the cells whose text training did not know."""
        return int((self._codes(column) == len(self.vocabulary)).sum())

    def _codes(self, column: pa.Array | Spans) -> np.ndarray:
        if isinstance(column, Spans):
            return self.vocabulary.codes(column)
        if not pa.types.is_boolean(column.type):
            return self.vocabulary.codes(as_text(column))
        # A boolean has no spelling of its own: text was trained on as some program wrote it.
        known = self.vocabulary.codes(pa.array(BOOLEAN_SPELLINGS)) < len(self.vocabulary)
        pair = int(np.argmax(known.reshape(-1, 2).any(axis=1)))
        no, yes = BOOLEAN_SPELLINGS[2 * pair : 2 * pair + 2]
        return self.vocabulary.codes(pc.if_else(column, yes, no))


READ_SPANS = (NumericEncoder, TimestampEncoder, CategoricalEncoder)
"""They fill a matrix from text that is no column yet as well."""


def column_encoder(
    position: int, feature: Feature, entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> ColumnEncoder:
    """Build the encoder of the feature at ``position``.

    Raises
    ------
    ModelDamaged
        If the entry and the arrays do not belong together.
    """
    try:
        made = _made(position, feature, arrays)
    except KeyError as missing:
        raise ModelDamaged(f"The model's arrays lack {missing}.") from missing
    if made.width != len(entry["columns"]):
        raise ModelDamaged(
            f"Feature {feature.name!r} has {made.width} matrix columns in the model's arrays, "
            f"but {len(entry['columns'])} in model.json."
        )
    return made


def _made(position: int, feature: Feature, arrays: Mapping[str, np.ndarray]) -> ColumnEncoder:
    kind = feature.kind
    if kind == "numeric":
        return NumericEncoder()
    if kind == "timestamp":
        return TimestampEncoder(feature.time_format)
    if kind == "repeatedNumeric":
        return RepeatedNumericEncoder()
    if kind in ("text", "repeatedText"):
        if f"{position}.directions" not in arrays and kind == "text":
            return WordFlagEncoder(_vocabulary(position, arrays))
        text = _text_encoder(position, feature, arrays)
        return text if kind == "text" else RepeatedTextEncoder(text)
    vocabulary = _vocabulary(position, arrays)
    table = np.ascontiguousarray(arrays[f"{position}.table"], dtype=np.float64)
    if table.ndim != 2 or len(table) != len(vocabulary) + 2:
        raise ModelDamaged(f"The table of feature {feature.name!r} has the wrong shape.")
    if kind == "categorical":
        return CategoricalEncoder(vocabulary, table)
    flagged = arrays[f"{position}.flagged"]
    if len(flagged) and not 0 <= flagged.min() <= flagged.max() < len(vocabulary):
        raise ModelDamaged(f"Feature {feature.name!r} has flags for values it does not know.")
    return RepeatedCategoricalEncoder(vocabulary, table, flagged)


def _vocabulary(position: int, arrays: Mapping[str, np.ndarray]) -> Vocabulary:
    return Vocabulary(arrays[f"{position}.words"], arrays[f"{position}.offsets"])


def _text_encoder(position: int, feature: Feature, arrays: Mapping[str, np.ndarray]) -> TextEncoder:
    try:
        return TextEncoder.of({name: arrays[f"{position}.{name}"] for name in TEXT_ARRAYS})
    except ValueError as fault:
        raise ModelDamaged(f"The text of feature {feature.name!r}: {fault}.") from fault


@dataclass(frozen=True)
class Whole:
    """Every row of a batch as numbers, whether it fits the model or not."""

    matrix: np.ndarray
    """float64 of shape (n_rows, n_columns), C order; what cannot be read is NaN."""
    statuses: list[np.ndarray | None]
    """For each feature, OK, NULL or BAD for each row; None if it refuses nothing."""


class Encoder:
    """Turns batches into matrices for one model."""

    def __init__(self, features: Sequence[Feature], columns: Sequence[ColumnEncoder]) -> None:
        self.features = tuple(features)
        self.columns = tuple(columns)
        ends = np.cumsum([0, *(column.width for column in columns)]).tolist()
        self.slices = tuple(slice(a, b) for a, b in pairwise(ends))
        self.width = ends[-1]

    @classmethod
    def of(cls, spec: ModelSpec, arrays: Mapping[str, np.ndarray]) -> Encoder:
        """Build the encoder that ``spec`` and its arrays describe.

        Raises
        ------
        ModelDamaged
            If they do not belong together.
        """
        features = spec.schema.features
        if len(features) != len(spec.encoder):
            raise ModelDamaged("model.json describes another number of features than it encodes.")
        return cls(
            features,
            [
                column_encoder(position, feature, entry, arrays)
                for position, (feature, entry) in enumerate(
                    zip(features, spec.encoder, strict=True)
                )
            ],
        )

    @property
    def groups(self) -> tuple[tuple[str, slice], ...]:
        """Each feature's name and matrix columns."""
        return tuple((f.name, s) for f, s in zip(self.features, self.slices, strict=True))

    def matrix(self, rows: pa.RecordBatch | pa.Table) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """Encode every row, whether it fits or not.

        Returns
        -------
        matrix : ndarray of shape (n_rows, n_columns)
        statuses : list
            For each feature, OK, NULL or BAD for each row; None if it refuses nothing.
        """
        return self._filled(rows.num_rows, lambda name, _: flat(rows.column(name)))

    def _filled(
        self, rows: int, cells: Callable[[str, ColumnEncoder], pa.Array | Spans]
    ) -> tuple[np.ndarray, list[np.ndarray | None]]:
        matrix = np.empty((rows, self.width))
        statuses = [
            _filled(encoder, cells(feature.name, encoder), matrix[:, where])
            for feature, encoder, where in zip(
                self.features, self.columns, self.slices, strict=True
            )
        ]
        return matrix, statuses

    def _of_batch(self, batch: Batch) -> tuple[np.ndarray, list[np.ndarray | None]]:
        """Encode every row, of text without making columns of it where that can be."""
        text = batch.text
        if text is None or len(batch) > SLICE_ROWS:
            return self.matrix(batch.rows)

        def cells(name: str, encoder: ColumnEncoder) -> pa.Array | Spans:
            return text.cells(name) if isinstance(encoder, READ_SPANS) else text.column(name)

        return self._filled(len(batch), cells)

    def unseen(self, rows: pa.RecordBatch) -> dict[str, int]:
        """For each categorical feature, count the cells whose text training did not know."""
        return {
            feature.name: encoder.unseen(rows.column(feature.name))
            for feature, encoder in zip(self.features, self.columns, strict=True)
            if isinstance(encoder, CategoricalEncoder)
        }

    def encode(self, batch: Batch) -> tuple[np.ndarray, np.ndarray, tuple[RowError, ...], Whole]:
        """Encode the rows that fit.

        Returns
        -------
        matrix : ndarray of shape (n_fitting, n_columns)
            float64, C order.
        rows : ndarray of int64
            Each matrix row's index in the batch, ascending.
        errors : tuple of RowError
            One for every other row, ascending by index.
        whole : Whole
            All rows.
        """
        matrix, statuses = self._of_batch(batch)
        whole = Whole(matrix, statuses)
        failed = np.zeros(len(batch), np.bool_)
        refused: dict[int, list[tuple[int, bool]]] = defaultdict(list)
        rejects = {reject.index: reject for reject in batch.rejects}
        failed[list(rejects)] = True
        for position, (feature, status) in enumerate(zip(self.features, statuses, strict=True)):
            wrong = refused_rows(feature, status)
            if wrong is None or status is None or not wrong.any():
                continue
            failed |= wrong
            for row in np.flatnonzero(wrong).tolist():
                if row not in rejects:
                    refused[row].append((position, status[row] == NULL))
        if not failed.any():
            return matrix, np.arange(len(batch)), (), whole
        rows = np.flatnonzero(~failed)
        errors = [*rejects.values(), *self._errors(batch, refused)]
        ordered = tuple(sorted(errors, key=lambda error: error.index))
        return matrix[rows], rows, ordered, whole

    def _errors(
        self, batch: Batch, refused: Mapping[int, list[tuple[int, bool]]]
    ) -> list[RowError]:
        """Say for each refused row which of its columns do not fit."""
        wanted: dict[int, list[int]] = defaultdict(list)
        for row, faults in refused.items():
            for position, null in faults[:COLUMNS_SHOWN]:
                if not null:
                    wanted[position].append(row)
        values: dict[tuple[int, int], str] = {}
        for position, rows in wanted.items():
            name = self.features[position].name
            text = batch.text
            column = flat(batch.rows.column(name) if text is None else text.column(name))
            texts = as_text(column.take(pa.array(rows))).to_pylist()
            values.update(
                ((row, position), text or "") for row, text in zip(rows, texts, strict=True)
            )
        return [self._error(batch.places, row, faults, values) for row, faults in refused.items()]

    def _error(
        self,
        places: Places,
        row: int,
        faults: list[tuple[int, bool]],
        values: Mapping[tuple[int, int], str],
    ) -> RowError:
        sentences = []
        for position, null in faults[:COLUMNS_SHOWN]:
            feature = self.features[position]
            start = f"Column {shown(feature.name)}:"
            if null:
                sentences.append(
                    f"{start} a value is required, but it is null; "
                    "the training data had none missing."
                )
            else:
                value = shown(values[row, position])
                sentences.append(f"{start} cannot read {value} as {EXPECTED[feature.kind]}.")
        if len(faults) > COLUMNS_SHOWN:
            sentences.append(f"and {len(faults) - COLUMNS_SHOWN} more columns.")
        position, null = faults[0]
        feature = self.features[position]
        cause = "null not allowed" if null else f"not {EXPECTED[feature.kind]}"
        return RowError(
            row,
            f"{feature.name}: {cause}",
            f"{' '.join(sentences)} ({places.describe(row)})",
        )

    @cached_property
    def baseline(self) -> np.ndarray:
        """The baseline row, encoded: float64 of shape (n_columns,)."""
        matrix, _ = self.matrix(baseline_record(self.features, {}))
        return np.asarray(matrix[0])


def _filled(encoder: ColumnEncoder, column: pa.Array | Spans, out: np.ndarray) -> np.ndarray | None:
    """Fill ``out`` a slice at a time: what an encoder needs on the way stays small."""
    if isinstance(column, Spans) or len(column) <= SLICE_ROWS:
        return encoder.fill(column, out)
    statuses = [
        encoder.fill(column.slice(start, SLICE_ROWS), out[start : start + SLICE_ROWS])
        for start in range(0, len(column), SLICE_ROWS)
    ]
    known = [status for status in statuses if status is not None]
    return np.concatenate(known) if known else None


def baseline_record(
    features: Sequence[Feature], instead: Mapping[str, float | str]
) -> pa.RecordBatch:
    """Lay out the baseline row, with some of its values replaced, as a batch of one row.

    Numbers and texts are read like cells; timestamps given as numbers are microseconds.
    """
    cells = [
        baseline_cell(feature, instead.get(feature.name, feature.baseline)) for feature in features
    ]
    return pa.RecordBatch.from_arrays(cells, [feature.name for feature in features])


def baseline_cell(feature: Feature, value: float | str | None) -> pa.Array:
    """A column of one row that holds a baseline value."""
    if value is None or isinstance(value, str):
        return pa.array([value], pa.string())
    if feature.kind == "timestamp":
        return pa.array([round(value)], pa.int64()).cast(pa.timestamp("us"))
    if feature.kind == "numeric":
        return pa.array([value], pa.float64())
    return as_text(pa.array([value], pa.float64()))


def refused_rows(feature: Feature, status: np.ndarray | None) -> np.ndarray | None:
    """Mark the rows that a feature does not take; None if it takes all."""
    takes_all = feature.invalid_values_allowed or feature.kind in ("categorical", "text")
    if status is None or takes_all:
        return None
    return np.asarray(status == BAD) if feature.nullable else np.asarray(status != OK)
