"""Trying an imported model: which nulls it takes, and whether it answers what it should."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rowcast.core.batch import Batch, Places
from rowcast.errors import InvalidRequest
from rowcast.scoring.parse import OK, as_text, flat, parse_numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.core.schema import Target
    from rowcast.importing.columns import Columns
    from rowcast.importing.described import Described
    from rowcast.predictors.imported import ImportedPredictor

INTERVAL_ROWS = 100
"""Rows with a truth that an interval needs."""
SHOWN_VALUES = 5
SUM_TOLERANCE = 1e-3


def answers_of(table: pa.Table, target: Target) -> np.ndarray | None:
    """Read the answers that a table gives in columns named as our output names them.

    Returns
    -------
    ndarray of shape (n_rows, n_outputs) or None
        In the order of ``target.classes``; None if none of the columns is there.

    Raises
    ------
    InvalidRequest
        If some of the columns are missing.
    """
    names = target.score_columns()
    missing = [name for name in names if name not in table.column_names]
    if len(missing) == len(names):
        return None
    if missing:
        raise InvalidRequest(f"Of the expected scores, {', '.join(map(repr, missing))} is missing.")
    columns = [parse_numbers(flat(table.column(name)))[0] for name in names]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class Example:
    """Rows to try, encoded where they fit."""

    matrix: np.ndarray
    rows: np.ndarray
    """The place of each matrix row in the example."""
    faults: tuple[str, ...]
    """Of the rows that do not fit."""


def encode_example(predictor: ImportedPredictor, table: pa.Table) -> Example:
    """Encode the rows of an example."""
    names = predictor.spec.schema.feature_names
    columns = [flat(table.column(name)) for name in names]
    batch = pa.RecordBatch.from_arrays(columns, list(names))
    places = Places("the example", np.arange(1, table.num_rows + 1))
    encoded = predictor.encode(Batch(batch, places))
    return Example(encoded.matrix, encoded.rows, tuple(e.message for e in encoded.errors))


def takes_null(predictor: ImportedPredictor, base: np.ndarray) -> np.ndarray:
    """For each column, whether the model has a finite answer if it is null: bool of (n_columns,).

    ``base`` is a row that the model answers.
    """
    rows = np.tile(base, (len(base), 1))
    np.fill_diagonal(rows, np.nan)
    answers: np.ndarray = np.isfinite(predictor.outputs(rows)).all(axis=1)
    return answers


def base_row(predictor: ImportedPredictor, example: Example | None) -> np.ndarray | None:
    """A row without nulls that the model answers; None if there is none to be found."""
    baseline = predictor.baseline()
    rows = [np.where(np.isnan(baseline), 0.0, baseline)[None, :]]
    if example is not None:
        rows.append(example.matrix[~np.isnan(example.matrix).any(axis=1)][:50])
    for row in list(np.concatenate(rows)):
        if np.isfinite(predictor.outputs(row[None, :])).all():
            return np.asarray(row)
    return None


def settle_nulls(
    columns: Columns, predictor: ImportedPredictor, example: Example | None
) -> tuple[Columns, list[str]]:
    """Try which features may be null.

    Returns
    -------
    columns : Columns
        With ``nullable`` as the model has it.
    warnings : list of str

    Raises
    ------
    InvalidRequest
        If the schema says that a feature may be null, and the model does not take it.
    """
    base = base_row(predictor, example)
    if base is None:
        return columns, ["No row was found that the model answers, so nulls were not tried."]
    taken = takes_null(predictor, base)
    features, promised = [], []
    for feature, fits in zip(columns.schema.features, taken.tolist(), strict=True):
        if feature.nullable and not fits and feature.name not in columns.undecided:
            promised.append(feature.name)
        baseline = feature.baseline
        if baseline is None and not fits and feature.kind == "numeric":
            baseline = 0.0
        features.append(
            replace(feature, nullable=bool(feature.nullable and fits), baseline=baseline)
        )
    if promised:
        raise InvalidRequest(
            f"The schema says that {', '.join(map(repr, promised))} may be null, but the model "
            "has no answer then."
        )
    return replace(columns, schema=replace(columns.schema, features=tuple(features))), []


def check_scores(predictor: ImportedPredictor, example: Example | None) -> None:
    """See that a classifier's scores are probabilities. Raises InvalidRequest."""
    if not predictor.spec.schema.target.classes:
        return
    base = base_row(predictor, example)
    rows = [example.matrix] if example is not None else [] if base is None else [base[None, :]]
    for matrix in rows:
        scores = predictor.outputs(matrix)
        scores = scores[np.isfinite(scores).all(axis=1)]
        wrong = (np.abs(scores.sum(axis=1) - 1) > SUM_TOLERANCE) | (scores < -SUM_TOLERANCE).any(1)
        if wrong.any():
            raise InvalidRequest(
                f"The model's scores are no probabilities: {_shown(scores[np.argmax(wrong)])}. "
                "Save it with what turns them into probabilities, such as a softmax."
            )


@dataclass(frozen=True)
class Comparison:
    """How far our answers are from what they should be."""

    against: str
    rows: int
    difference: float
    """Largest, relative as ``Described.tolerance`` is."""

    def facts(self, tolerance: float) -> dict[str, Any]:
        """As JSON values."""
        return {
            "against": self.against,
            "rows": self.rows,
            "maxDifference": self.difference,
            "tolerance": tolerance,
        }


def compare(
    found: np.ndarray,
    wanted: np.ndarray,
    described: Described,
    against: str,
    where: Callable[[int], str],
) -> Comparison:
    """See that answers are those that are wanted; NaN stands for no answer.

    Raises
    ------
    InvalidRequest
        Showing the first row that differs.
    """
    scale = np.ones_like(wanted)
    if wanted.shape[1] == 1:
        typical = np.nanmean(np.abs(wanted)) if np.isfinite(wanted).any() else 1.0
        scale = np.maximum(np.abs(wanted), typical)
    both = np.isnan(found) & np.isnan(wanted)
    with np.errstate(invalid="ignore", divide="ignore"):
        apart = np.where(both | (found == wanted), 0.0, np.abs(found - wanted) / scale)
    apart = np.where(np.isnan(apart), np.inf, apart)
    wrong = np.asarray((apart > described.tolerance).any(axis=1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise InvalidRequest(
            f"The model answers {_shown(found[row])} for {where(row)}, but {against} say "
            f"{_shown(wanted[row])}. {int(wrong.sum())} of {len(wrong)} rows differ by more than "
            f"{described.tolerance:g}. Check the order and kinds of the columns, and the codes of "
            "categories."
        )
    return Comparison(against, len(found), float(apart.max(initial=0.0)))


def _shown(row: np.ndarray) -> str:
    more = ", ..." if len(row) > SHOWN_VALUES else ""
    return "[" + ", ".join(f"{value:.9g}" for value in row[:SHOWN_VALUES]) + more + "]"


def residuals(
    predictor: ImportedPredictor, table: pa.Table, example: Example, values: np.ndarray
) -> np.ndarray | None:
    """How far the truth is from each value, if the example has it for enough rows."""
    target = predictor.spec.schema.target
    if target.classes or target.name not in table.column_names:
        return None
    truth, status = parse_numbers(as_text(flat(table.column(target.name))))
    known = (status[example.rows] == OK) & np.isfinite(values)
    if known.sum() < INTERVAL_ROWS:
        return None
    return np.asarray(truth[example.rows][known] - values[known])
