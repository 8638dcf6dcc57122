"""Fitting the encoder: what each feature's matrix columns are, and the tables behind them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc

from rowcast.core.schema import ALWAYS_NULLABLE, Feature
from rowcast.scoring.encode import (
    TIMESTAMP_COLUMNS,
    CategoricalEncoder,
    Encoder,
    NumericEncoder,
    TimestampEncoder,
)
from rowcast.scoring.lists import (
    NUMBER_COLUMNS,
    RepeatedCategoricalEncoder,
    RepeatedNumericEncoder,
    RepeatedTextEncoder,
    joined_texts,
    mean_by_row,
    parse_lists,
)
from rowcast.scoring.parse import NULL, OK, as_text, flat, parse_numbers, parse_timestamps
from rowcast.scoring.vocabulary import Vocabulary
from rowcast.training.infer import FREQUENT, null_cells
from rowcast.training.telling import Outcome, telling_codes
from rowcast.training.text import CROSSED_AT, fit_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from rowcast.core.schema import FeatureKind
    from rowcast.scoring.encode import ColumnEncoder
    from rowcast.training.infer import Choice

SMOOTHING = 10.0
"""Rows of the overall mean that are mixed into each category's."""
COMMON = 50
"""Levels of so many rows (of uneven weights: so many in effect) have one mean for all folds. Trees
tell levels apart by it, which five means a level, each off by its fold's noise, do not let them."""
FOLDS = 5
MANY_LEVELS = 50
FEW_LEVELS = 6
"""Up to so many levels trees tell apart by their ranks, and a mean for each class is no help."""
FLAGS = 30
NO_FLAGS = np.zeros(0, np.int32)


@dataclass(frozen=True)
class FittedColumn:
    """One feature, with all that encodes it."""

    feature: Feature
    columns: tuple[str, ...]
    encoder: ColumnEncoder
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    crossed: np.ndarray | None = None
    """Matrix columns that training uses in place of the encoder's own: a category's mean, say,
    without the rows of the fold it is used in."""
    crossed_at: int = 1
    """The first of them."""
    crossed_rows: np.ndarray | None = None
    """The rows that ``crossed`` is for; None for all."""


@dataclass(frozen=True)
class FittedEncoder:
    """Everything that a model keeps of its encoder, and the matrix to train on."""

    features: tuple[Feature, ...]
    entries: tuple[dict[str, Any], ...]
    arrays: dict[str, np.ndarray]
    encoder: Encoder
    matrix: np.ndarray
    """float64 of shape (n_rows, n_columns), with cross-fitted means."""

    @property
    def column_names(self) -> list[str]:
        """Of the matrix: ``FEATURE: column``."""
        return [
            f"{feature.name}: {column}"
            for feature, entry in zip(self.features, self.entries, strict=True)
            for column in entry["columns"]
        ]


def fit_encoder(
    table: pa.Table, choices: Sequence[Choice], outcome: Outcome, seed: int
) -> FittedEncoder:
    """Learn from every row of the table how to encode it.

    Means of the target are cross-fitted in ``matrix`` (five folds drawn with ``seed``), so that
    no row sees its own outcome; the encoder's own use all rows.
    """
    folds = np.random.default_rng([seed, 1]).integers(0, FOLDS, len(outcome.weights))
    fitted = [_FITS[c.kind](c, flat(table.column(c.name)), outcome, folds) for c in choices]
    encoder = Encoder([f.feature for f in fitted], [f.encoder for f in fitted])
    matrix, _ = encoder.matrix(table)
    for column, where in zip(fitted, encoder.slices, strict=True):
        if column.crossed is not None:
            start = where.start + column.crossed_at
            rows = slice(None) if column.crossed_rows is None else column.crossed_rows
            matrix[rows, start : start + column.crossed.shape[1]] = column.crossed
    return FittedEncoder(
        encoder.features,
        tuple({"kind": f.feature.kind, "columns": list(f.columns)} for f in fitted),
        {f"{i}.{key}": array for i, f in enumerate(fitted) for key, array in f.arrays.items()},
        encoder,
        matrix,
    )


def _feature(choice: Choice, baseline: float | str | None, *, nullable: bool) -> Feature:
    kind: FeatureKind = choice.kind
    return Feature(
        choice.name,
        kind,
        nullable=nullable or choice.invalid_values_allowed or kind in ALWAYS_NULLABLE,
        invalid_values_allowed=choice.invalid_values_allowed,
        time_format=choice.time_format,
        baseline=baseline,
    )


def _fit_numeric(
    choice: Choice, column: pa.Array, _outcome: Outcome, _folds: np.ndarray
) -> FittedColumn:
    values, status = parse_numbers(column)
    known = values[status == OK]
    baseline = float(np.median(known)) if len(known) else None
    feature = _feature(choice, baseline, nullable=bool((status == NULL).any()))
    return FittedColumn(feature, ("number",), NumericEncoder())


def _fit_timestamp(
    choice: Choice, column: pa.Array, _outcome: Outcome, _folds: np.ndarray
) -> FittedColumn:
    moments, status = parse_timestamps(column, choice.time_format)
    known = np.sort(moments[status == OK])
    baseline = float(known[(len(known) - 1) // 2]) if len(known) else None
    feature = _feature(choice, baseline, nullable=bool((status == NULL).any()))
    return FittedColumn(feature, TIMESTAMP_COLUMNS, TimestampEncoder(choice.time_format))


def _levels(column: pa.Array) -> tuple[list[str], np.ndarray]:
    """Texts that are not null, most frequent first and then ascending, with their counts."""
    counted = pc.value_counts(column)
    texts, counts = counted.field("values"), counted.field("counts").to_numpy()
    null = Vocabulary.of([]).codes(texts) == 1
    order = sorted(
        (-int(count), text)
        for text, count, gone in zip(texts.to_pylist(), counts, null, strict=True)
        if not gone
    )
    return [text for _, text in order], np.array([-count for count, _ in order], np.int64)


def _fit_categorical(
    choice: Choice, column: pa.Array, outcome: Outcome, folds: np.ndarray
) -> FittedColumn:
    column = as_text(column)
    texts, counts = _levels(column)
    known = int((counts >= FREQUENT).sum())
    vocabulary = Vocabulary.of(texts[:known])
    codes = vocabulary.codes(column)
    sizes = np.bincount(codes, minlength=known + 2)
    if known <= (FEW_LEVELS if outcome.values.shape[1] > 1 else 2):
        outcome = outcome.without_values()
    means, crossed = target_means(codes, known + 2, outcome, folds)
    ranks = np.arange(known + 2, dtype=np.float64)
    ranks[-1] = np.nan
    table = [ranks[:, None], means]
    names = ["rank", *outcome.names]
    if known > MANY_LEVELS:
        logs = np.log1p(sizes.astype(np.float64))
        logs[known] = np.log1p(1.0)
        table.append(logs[:, None])
        names.append("log frequency")
    whole = np.concatenate(table, axis=1)
    if not sizes[-1]:
        whole[-1] = whole[-2]  # training had no null: treat one like an unknown text
    feature = _feature(choice, texts[0] if texts else None, nullable=True)
    arrays = {"words": vocabulary.words, "offsets": vocabulary.offsets, "table": whole}
    return FittedColumn(
        feature, tuple(names), CategoricalEncoder(vocabulary, whole), arrays, crossed
    )


def target_means(
    codes: np.ndarray, levels: int, outcome: Outcome, folds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average the outcome per level, drawn towards the overall mean where rows are few.

    Returns
    -------
    means : ndarray of shape (levels, m)
        From all rows.
    crossed : ndarray of shape (n_rows, m)
        For each row its level's mean over the rows of the other folds; in levels of 50 equal
        rows and more, where a row's own share of the mean is small, over all rows.
    """
    m = outcome.values.shape[1]
    cells = codes * FOLDS + folds
    weight = np.bincount(cells, outcome.weights, levels * FOLDS).reshape(levels, FOLDS)
    means, crossed = np.empty((levels, m)), np.empty((len(codes), m))
    total = weight.sum(axis=0)
    squares = np.bincount(codes, outcome.weights**2, levels)
    common = weight.sum(axis=1) ** 2 >= COMMON * squares
    for j in range(m):
        product = outcome.weights * outcome.values[:, j]
        sums = np.bincount(cells, product, levels * FOLDS).reshape(levels, FOLDS)
        by_fold = sums.sum(axis=0)
        prior = by_fold.sum() / max(total.sum(), 1e-300)
        means[:, j] = (sums.sum(axis=1) + SMOOTHING * prior) / (weight.sum(axis=1) + SMOOTHING)
        others = np.maximum(total.sum() - total, 1e-300)
        priors = np.where(total.sum() > total, (by_fold.sum() - by_fold) / others, prior)
        left = (sums.sum(axis=1, keepdims=True) - sums + SMOOTHING * priors) / (
            weight.sum(axis=1, keepdims=True) - weight + SMOOTHING
        )
        crossed[:, j] = np.where(common[codes], means[codes, j], left[codes, folds])
    return means, crossed


def _fit_text(
    choice: Choice, column: pa.Array, outcome: Outcome, folds: np.ndarray
) -> FittedColumn:
    column = as_text(column)
    texts, _ = _levels(column)
    feature = _feature(choice, texts[0] if texts else None, nullable=True)
    fitted = fit_text(column, outcome, folds)
    encoder = fitted.encoder
    return FittedColumn(
        feature,
        fitted.names,
        encoder,
        encoder.arrays(),
        fitted.crossed,
        CROSSED_AT,
        fitted.rows,
    )


def _fit_repeated_numeric(
    choice: Choice, column: pa.Array, _outcome: Outcome, _folds: np.ndarray
) -> FittedColumn:
    feature = _feature(choice, _usual_list(column), nullable=bool(null_cells(column).any()))
    return FittedColumn(feature, NUMBER_COLUMNS, RepeatedNumericEncoder())


def _usual_list(column: pa.Array) -> str | None:
    texts, _ = _levels(as_text(column))
    return texts[0] if texts else None


def _fit_repeated_categorical(
    choice: Choice, column: pa.Array, outcome: Outcome, folds: np.ndarray
) -> FittedColumn:
    texts, counts = _levels(as_text(parse_lists(column).values))
    vocabulary = Vocabulary.of(texts[: int((counts >= FREQUENT).sum())])
    m = outcome.values.shape[1]
    no_means = np.zeros((len(vocabulary) + 2, m))
    rows, codes, _ = RepeatedCategoricalEncoder(vocabulary, no_means, NO_FLAGS).codes(column)
    means, crossed = target_means(codes, len(vocabulary) + 2, outcome.take(rows), folds[rows])
    flagged = telling_codes(rows, codes, len(vocabulary), outcome)[:FLAGS].astype(np.int32)
    known = vocabulary.texts()
    names = (
        *("values", "different values"),
        *(f"{name}, by its values" for name in outcome.names),
        *(f"has {known[code]!r}" for code in flagged),
    )
    return FittedColumn(
        _feature(choice, _usual_list(column), nullable=True),
        names,
        RepeatedCategoricalEncoder(vocabulary, means, flagged),
        {
            "words": vocabulary.words,
            "offsets": vocabulary.offsets,
            "table": means,
            "flagged": flagged,
        },
        mean_by_row(rows, crossed, len(column)),
        crossed_at=2,
    )


def _fit_repeated_text(
    choice: Choice, column: pa.Array, outcome: Outcome, folds: np.ndarray
) -> FittedColumn:
    joined, _ = joined_texts(column)
    fitted = fit_text(joined, outcome, folds)
    return FittedColumn(
        _feature(choice, _usual_list(column), nullable=True),
        ("texts", *fitted.names),
        RepeatedTextEncoder(fitted.encoder),
        fitted.encoder.arrays(),
        fitted.crossed,
        CROSSED_AT + 1,
        fitted.rows,
    )


_FITS = {
    "numeric": _fit_numeric,
    "timestamp": _fit_timestamp,
    "categorical": _fit_categorical,
    "text": _fit_text,
    "repeatedNumeric": _fit_repeated_numeric,
    "repeatedCategorical": _fit_repeated_categorical,
    "repeatedText": _fit_repeated_text,
}
