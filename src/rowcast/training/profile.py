"""The profile of the training data that a model keeps, for its jobs to compare their input with."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from rowcast.core.profile import ColumnProfile, Profile
from rowcast.scoring.encode import CategoricalEncoder
from rowcast.scoring.parse import BAD, NULL, flat
from rowcast.scoring.profile import MOST_SCORES, Bins, score_matrix
from rowcast.training.infer import FREQUENT

if TYPE_CHECKING:
    import pyarrow as pa

    from rowcast.core.schema import Feature, Target
    from rowcast.scoring.encode import ColumnEncoder, Encoder

MOST_ROWS = 200_000
LEAST_ROWS = 10_000
MOST_CELLS = 20_000_000
"""Of a large table so many values are counted, as long as that leaves enough rows."""
SLICE = 8192
BINS, FEWER_BINS = 20, 10
"""Bins of equal counts, for few features and for many."""
MOST_LABELS = 100
FEW_FEATURES = 200
LABELS_IN_ALL = 20_000
LEAST_LABELS = 10
LABEL_CHARACTERS = 40
RESOLUTION = 4
"""Digits by which an edge is finer than the range of the values."""


def training_profile(
    table: pa.Table, encoder: Encoder, target: Target, predictions: np.ndarray | None = None
) -> bytes:
    """Count a training table.

    Parameters
    ----------
    table : Table
        The rows that the model was fitted to, with the columns of its features. Of a large
        table, rows at equal distances are counted.
    encoder : Encoder
        The fitted encoder that is saved with the model.
    target : Target
    predictions : ndarray, optional
        What the model, or its like, says of rows that it has not seen: float64 scores of shape
        (n, n_classes), or values of shape (n,).

    Returns
    -------
    bytes
        The member ``profile.json`` of the model folder: about 300 bytes a feature.
    """
    features = encoder.features
    most = min(MOST_ROWS, max(LEAST_ROWS, MOST_CELLS // max(1, len(features))))
    if table.num_rows > most:
        table = table.take(np.linspace(0, table.num_rows - 1, most).astype(np.int64))
    labels = min(MOST_LABELS, max(LEAST_LABELS, LABELS_IN_ALL // max(1, len(features))))
    bins = BINS if len(features) <= FEW_FEATURES else FEWER_BINS
    profile = Profile(
        table.num_rows,
        tuple(
            _feature(feature, column, flat(table.column(feature.name)), bins, labels)
            for feature, column in zip(features, encoder.columns, strict=True)
        ),
        () if predictions is None else _predictions(predictions, target),
    )
    return msgspec.json.encode(_without_defaults(profile))


def _without_defaults(profile: Profile) -> dict[str, Any]:
    """Leave out what most columns do not have."""
    made = msgspec.to_builtins(profile)
    for kind in ("features", "predictions"):
        made[kind] = [{k: v for k, v in column.items() if v} for column in made[kind]]
    return dict(made)


def _feature(
    feature: Feature, encoder: ColumnEncoder, column: pa.Array, bins: int, labels: int
) -> ColumnProfile:
    values, status = first_matrix_column(encoder, column)
    null, bad = int((status == NULL).sum()), int((status == BAD).sum())
    if isinstance(encoder, CategoricalEncoder):
        return _categories(feature, encoder, values[status != NULL], null, labels)
    known = values[~np.isnan(values)]
    return _numbers(
        ColumnProfile(
            feature.name, feature.kind, (), null=len(values) - len(known) - bad, unreadable=bad
        ),
        known,
        bins,
    )


def first_matrix_column(encoder: ColumnEncoder, column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Encode a column slice by slice and keep what it is counted by, and each row's status."""
    values, statuses = np.empty(len(column)), np.zeros(len(column), np.uint8)
    out = np.empty((SLICE, encoder.width))
    for start in range(0, len(column), SLICE):
        piece = column.slice(start, SLICE)
        where = slice(start, start + len(piece))
        status = encoder.fill(piece, out[: len(piece)])
        values[where] = out[: len(piece), 0]
        if status is not None:
            statuses[where] = status
    return values, statuses


def _numbers(blank: ColumnProfile, values: np.ndarray, bins: int) -> ColumnProfile:
    """Fill in bins of about equal counts; a frequent value has one of its own."""
    if not len(values):
        return replace(blank, counts=(0,))
    with np.errstate(over="ignore", invalid="ignore"):
        mean, deviation = float(values.mean()), float(values.std())
    made = replace(
        blank,
        edges=quantile_edges(values, bins),
        mean=_short(mean),
        deviation=_short(deviation),
    )
    return replace(made, counts=_counts(made, values))


def quantile_edges(values: np.ndarray, bins: int) -> tuple[float, ...]:
    """The least value, the quantiles between, shortened, and the greatest value; ascending."""
    low, high = float(values.min()), float(values.max())
    digits = RESOLUTION - _magnitude(high - low)
    ranks = np.arange(1, bins) * len(values) // bins
    inner = np.partition(values, ranks)[ranks]
    short = {round(edge, digits) for edge in inner.tolist()}
    return (low, *sorted(edge for edge in short if low <= edge < high), high)


def _magnitude(size: float) -> int:
    """The power of ten of a size; far below all numbers if it is 0 or infinite."""
    return math.floor(math.log10(size)) if 0 < size < math.inf else -400


def _short(value: float) -> float | None:
    """Keep six digits; None if there is no such number."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _categories(
    feature: Feature, encoder: CategoricalEncoder, ranks: np.ndarray, null: int, labels: int
) -> ColumnProfile:
    """Fill in a bin per frequent category.

    What will be unseen in further data is estimated by the rows whose category occurred so often
    that one more would have been too many to be rare: the expected share of categories seen r
    times is that of the rows of categories seen r + 1 times (Good and Turing).
    """
    vocabulary = encoder.vocabulary
    counts = np.bincount(ranks.astype(np.int64), minlength=len(vocabulary) + 1)
    barely = counts[: len(vocabulary)]
    unseen = int(counts[-1]) + int(barely[barely <= FREQUENT].sum())
    blank = ColumnProfile(
        feature.name,
        "categorical",
        (),
        labels=tuple(text[:LABEL_CHARACTERS] for text in vocabulary.texts()[:labels]),
        known=len(vocabulary),
        null=null,
        expected_unseen=round(unseen / max(1, len(ranks)), 6),
    )
    return replace(blank, counts=_counts(blank, ranks))


def _predictions(predictions: np.ndarray, target: Target) -> tuple[ColumnProfile, ...]:
    """Fill in bins for the value, or for the scores of the likeliest classes and the top class."""
    if not target.classes:
        name = target.score_columns()[0]
        return (_numbers(ColumnProfile(name, "value", ()), predictions, BINS),)
    likely = np.argsort(-predictions.mean(axis=0), kind="stable")
    chosen = [1] if len(target.classes) == 2 else sorted(likely[:MOST_SCORES].tolist())
    names = target.score_columns()
    scores = [
        _numbers(ColumnProfile(names[k], "score", (), output=k), predictions[:, k], BINS)
        for k in chosen
    ]
    top = ColumnProfile(
        target.name,
        "class",
        (),
        labels=tuple(text[:LABEL_CHARACTERS] for text in target.classes[:MOST_LABELS]),
        known=len(target.classes),
    )
    best = score_matrix(predictions, [top])[:, 0]
    return (*scores, replace(top, counts=_counts(top, best)))


def _counts(column: ColumnProfile, values: np.ndarray) -> tuple[int, ...]:
    """Count values the way a job counts them."""
    bins = Bins.of([column])
    counts = np.zeros(bins.size, np.int64)
    bins.count(values[:, None], np.arange(len(values)), np.zeros(1, np.int64), counts)
    return tuple(counts[:-2].tolist())
