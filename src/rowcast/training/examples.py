"""The rows to learn from: target, weights, features chosen, and rows left out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rowcast.core.batch import shown
from rowcast.core.schema import ALWAYS_NULLABLE, PredictionType, Target
from rowcast.errors import InvalidRequest, Violation
from rowcast.scoring.encode import EXPECTED
from rowcast.scoring.lists import RepeatedNumericEncoder
from rowcast.scoring.parse import BAD, OK, as_text, flat, parse_numbers, parse_timestamps
from rowcast.training.findings import leaks
from rowcast.training.infer import Choices, choose_features, null_cells, target_type
from rowcast.training.request import (
    BINARY_OBJECTIVES,
    MULTICLASS_OBJECTIVES,
    REGRESSION_OBJECTIVES,
)
from rowcast.training.split import Split, rows_in_no_set, split_rows
from rowcast.training.telling import Outcome

if TYPE_CHECKING:
    from rowcast.training.request import Objective, Request

LEAST_ROWS = 20
FEW_ROWS = 1000
MOST_CLASSES = 500
CLASSES_SHOWN = 5
MOST_WEIGHT = 10_000.0
LEAST_COLUMNS = 2
MOST_COLUMNS = 1000


@dataclass(frozen=True)
class Examples:
    """A training table, ready to be encoded."""

    table: pa.Table
    """The feature columns of the rows that are used."""
    choices: Choices
    target: Target
    truth: np.ndarray
    """float64 values, or int64 class numbers; one a row."""
    weights: np.ndarray
    """float64, one a row."""
    split: Split
    """Numbers the rows of this table."""
    objective: Objective
    """The one asked for, or the problem's default."""
    reason: str
    """Why the prediction type is what it is."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows not used, by reason."""
    warnings: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.truth)

    def outcome(self, rows: np.ndarray) -> Outcome:
        """What the target says of some rows, as the encoder uses it."""
        if self.target.prediction_type == "regression":
            return Outcome.of_value(self.truth[rows], self.weights[rows])
        return Outcome.of_classes(self.truth[rows], self.target.classes, self.weights[rows])


def prepare(table: pa.Table, request: Request) -> Examples:
    """Check a table and take it apart.

    Raises
    ------
    InvalidRequest
        Naming the column, and the row where there is one.
    """
    _check_shape(table, request)
    left_out: dict[str, int] = {}
    weights = _weights(table, request)
    used = weights > 0
    if not used.all():
        left_out["weight 0"] = int((~used).sum())
    column = flat(table.column(request.target))
    null = null_cells(column)
    if null[used].any():
        if not request.drop_null_target:
            row = int(np.flatnonzero(null & used)[0])
            raise InvalidRequest(
                f"Column {shown(request.target)}: the target of row {row + 1} is null, as are "
                f"{int((null & used).sum()) - 1} others; every row to learn from needs one."
            )
        left_out["no target"] = int((null & used).sum())
        used &= ~null
    apart, _ = rows_in_no_set(table, request.split)
    if (apart & used).any():
        left_out["in no set of the split"] = int((apart & used).sum())
        used &= ~apart
    kind, reason = _prediction_type(column.filter(pa.array(used)), request)
    numbers = _numbers(column, used, request) if kind == "regression" else None
    choices = choose_features(
        table.filter(pa.array(used)), request.transformations, *_no_features(request)
    )
    unreadable, warnings = _unreadable_rows(table, choices, used)
    if unreadable.any():
        left_out["a value that cannot be read"] = int(unreadable.sum())
        used &= ~unreadable
    rows = int(used.sum())
    if rows < LEAST_ROWS:
        raise InvalidRequest(
            f"{rows} rows are left to learn from; at least {LEAST_ROWS} are needed."
        )
    if rows < FEW_ROWS:
        warnings.append(f"There are only {rows} rows; fewer than {FEW_ROWS} seldom suffice.")
    keep = pa.array(used)
    if numbers is not None:
        target, truth = Target(request.target, "regression"), numbers[used]
    else:
        target, truth = _classes(column.filter(keep), request.target)
    objective = objective_of(request, target, truth)
    warnings += _target_warnings(target, truth)
    features = table.select([choice.name for choice in choices.features]).filter(keep)
    split = split_rows(
        table.filter(keep) if request.split.column else features,
        request.split,
        request.seed,
        truth if target.classes else None,
    )
    warnings += [
        f"Column {shown(name)} alone predicts the target almost perfectly ({how}, on rows kept "
        "apart). If it is not known yet when predictions are made, leave it out."
        for name, how in leaks(features, choices.features, truth, len(target.classes)).items()
    ]
    return Examples(
        features.combine_chunks(),
        choices,
        target,
        truth,
        weights[used],
        split,
        objective,
        reason,
        left_out,
        tuple(warnings),
    )


def objective_of(request: Request, target: Target, truth: np.ndarray) -> Objective:
    """Find what the model is to be best at.

    Raises
    ------
    InvalidRequest
        If the objective asked for does not go with the target.
    """
    if not target.classes:
        possible, problem = REGRESSION_OBJECTIVES, "regression"
    elif len(target.classes) == 2:
        possible, problem = BINARY_OBJECTIVES, "classification with two classes"
    else:
        possible = MULTICLASS_OBJECTIVES
        problem = f"classification with {len(target.classes)} classes"
    wanted = request.objective or possible[0]
    if wanted not in possible:
        raise InvalidRequest.listing(
            [Violation("objective", f"{problem} takes {' or '.join(possible)}, not {wanted}")]
        )
    if wanted == "minimize-rmsle" and (truth < 0).any():
        raise InvalidRequest.listing(
            [
                Violation(
                    "objective",
                    f"minimize-rmsle needs a target of at least 0, but {int((truth < 0).sum())} "
                    f"values of {shown(target.name)} are below, down to {truth.min():g}",
                )
            ]
        )
    return wanted


def _target_warnings(target: Target, truth: np.ndarray) -> list[str]:
    """Say what is odd about the target; a constant one is an error."""
    if not target.classes:
        if truth.min() == truth.max():
            raise InvalidRequest(
                f"Column {shown(target.name)}: the target is {truth[0]:g} in every row; there is "
                "nothing to learn."
            )
        return []
    single = np.flatnonzero(np.bincount(truth, minlength=len(target.classes)) < 2)
    if not len(single):
        return []
    names = ", ".join(shown(target.classes[k]) for k in single[:CLASSES_SHOWN])
    more = f" and {len(single) - CLASSES_SHOWN} more" if len(single) > CLASSES_SHOWN else ""
    return [
        f"Of {len(single)} class{'es' * (len(single) > 1)} there is one row only: {names}{more}. "
        "It can be learned from, but not measured."
    ]


def _no_features(request: Request) -> tuple[set[str], dict[str, str]]:
    """Columns that can be no features, and those that are none unless asked for, and why."""
    never = {request.target, request.weight} - {None}
    decides = request.split.column
    if decides is None or decides in never:
        return {str(name) for name in never}, {}
    if request.split.kind == "predefined":
        return {str(name) for name in (*never, decides)}, {}
    return {str(name) for name in never}, {decides: "it decides the split"}


def _check_shape(table: pa.Table, request: Request) -> None:
    names = table.column_names
    roles = {
        "the target": request.target,
        "the weight": request.weight,
        "what decides the split": request.split.column,
    }
    for role, name in roles.items():
        if name is not None and name not in names:
            raise InvalidRequest(
                f"The data has no column {shown(name)} to be {role}; its columns are "
                f"{', '.join(map(shown, names[:20]))}."
            )
    if request.weight == request.target:
        raise InvalidRequest("The weight cannot be the target.")
    if not LEAST_COLUMNS <= len(names) <= MOST_COLUMNS:
        raise InvalidRequest(
            f"The data has {len(names)} column{'s' * (len(names) != 1)}; training takes "
            f"{LEAST_COLUMNS} to {MOST_COLUMNS}, the target among them."
        )


def _weights(table: pa.Table, request: Request) -> np.ndarray:
    if request.weight is None:
        return np.ones(table.num_rows)
    column = flat(table.column(request.weight))
    weights, status = parse_numbers(column)
    wrong = (status != OK) | ~((weights >= 0) & (weights <= MOST_WEIGHT))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InvalidRequest(
            f"Column {shown(request.weight)}: the weight of row {row + 1} is "
            f"{_cell(column, row)}; it must be a number from 0 to {MOST_WEIGHT:.0f}."
        )
    return weights


def _cell(column: pa.Array, row: int) -> str:
    text = as_text(column.slice(row, 1))[0].as_py()
    return "null" if text is None else shown(text)


def _prediction_type(column: pa.Array, request: Request) -> tuple[PredictionType, str]:
    if request.prediction_type is not None:
        if request.prediction_type not in ("classification", "regression"):
            raise InvalidRequest(
                f"prediction_type is 'classification' or 'regression', not "
                f"{request.prediction_type!r}."
            )
        return request.prediction_type, "as asked for"
    return target_type(column)


def _numbers(column: pa.Array, used: np.ndarray, request: Request) -> np.ndarray:
    values, status = parse_numbers(column)
    wrong = used & (status != OK)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InvalidRequest(
            f"Column {shown(request.target)}: cannot read {_cell(column, row)} of row {row + 1} "
            "as a number; regression needs a numeric target."
        )
    return values


def _classes(column: pa.Array, name: str) -> tuple[Target, np.ndarray]:
    encoded = as_text(column).dictionary_encode()
    texts = encoded.dictionary.to_pylist()
    classes = sorted(texts)
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise InvalidRequest(
            f"Column {shown(name)}: the target has {len(classes)} classes; "
            f"classification takes 2 to {MOST_CLASSES}."
        )
    rank = {text: number for number, text in enumerate(classes)}
    numbers = np.array([rank[text] for text in texts], np.int64)
    codes = numbers[encoded.indices.to_numpy(zero_copy_only=False)]
    return Target(name, "classification", tuple(classes)), codes


def _unreadable_rows(
    table: pa.Table, choices: Choices, used: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    """Mark the used rows that scoring would refuse, and say which columns are to blame."""
    wrong = np.zeros(table.num_rows, np.bool_)
    warnings = []
    for choice in choices.features:
        if choice.kind in ALWAYS_NULLABLE or choice.invalid_values_allowed:
            continue
        column = flat(table.column(choice.name))
        if choice.kind == "numeric":
            status = parse_numbers(column)[1]
        elif choice.kind == "timestamp":
            status = parse_timestamps(column, choice.time_format)[1]
        else:
            lists = RepeatedNumericEncoder()
            status = lists.fill(column, np.empty((len(column), lists.width)))
        bad = (status == BAD) & used
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            warnings.append(
                f"Column {shown(choice.name)}: {int(bad.sum())} values cannot be read as "
                f"{EXPECTED[choice.kind]}, first {_cell(column, row)} in row {row + 1}; their "
                "rows are left out."
            )
            wrong |= bad
    return wrong, warnings
