"""What a user should know about the columns before they trust a model that read them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.scoring.parse import (
    BAD,
    NULL,
    OK,
    as_text,
    flat,
    is_text,
    parse_numbers,
    parse_timestamps,
)
from rowcast.training.evaluate import roc_area

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.core.schema import FeatureKind
    from rowcast.training.infer import Choice

FIRST_ROWS = 64
NOTED_ROWS = 50_000
ONE_VALUE = 0.999
RARE_SHARE = 0.3
FEW_ROWS_SHARE = 5
NUMBERS_AMONG_TEXT = 0.5
MOST_CODES = 20
CODE_NAME = re.compile(
    r"(code|type|class|category|zip|postal|region|zone|cluster|segment|status)(_?(id|no|nr))?$",
    re.I,
)
ID_NAME = re.compile(r"(?:^|[_\W])(?i:id|uuid|guid|key|index)$|[a-z](?:Id|ID|Key)$")
SECONDS = (631_152_000, 1_893_456_000)
"""Unix times of the years 1990 to 2029."""
DAYS = (19_000_101, 21_001_231)
LEAK_ROWS = 20_000
LEAK_CELLS = 4_000_000
LEAST_LEAK_ROWS = 200
LEAK_BINS = 64
LEAK_AREA = 0.995
LEAK_ACCURACY = 0.995
LEAK_EXPLAINED = 0.999


def duplicates(table: pa.Table, names: Sequence[str]) -> dict[str, str]:
    """Find columns that equal an earlier one in every cell: name to the earlier name."""
    seen: dict[object, list[str]] = {}
    found = {}
    for name in names:
        column = table.column(name)
        first = tuple(map(str, column.slice(0, FIRST_ROWS).to_pylist()))
        alike = seen.setdefault((column.type, column.null_count, first), [])
        same = next((other for other in alike if table.column(other).equals(column)), None)
        if same is None:
            alike.append(name)
        else:
            found[name] = same
    return found


def column_note(name: str, kind: FeatureKind, column: pa.Array) -> str | None:
    """Say what is odd about a column, judging by at most 50,000 of its rows; None if nothing is."""
    if len(column) > NOTED_ROWS:
        column = column.take(np.linspace(0, len(column) - 1, NOTED_ROWS).astype(np.int64))
    if kind not in ("numeric", "categorical") or not len(column):
        return None
    texts = as_text(column)
    counted = pc.value_counts(texts)
    counts = counted.field("counts").to_numpy()
    values = counted.field("values")
    share = counts.max() / len(column)
    if share >= ONE_VALUE and len(counts) > 1:
        return f"{share:.2%} of the rows have one value"
    numbers, status = parse_numbers(values)
    if kind == "numeric":
        return _numeric_note(name, column, values, numbers[status == OK])
    known = status != NULL
    readable = float(counts[status == OK].sum() / max(1, counts[known].sum()))
    if is_text(column.type) and NUMBERS_AMONG_TEXT <= readable < 1:
        other = values.filter(pa.array(status == BAD))[0].as_py()
        return (
            f"{readable:.0%} of the values are numbers, others are not ({other!r}): as numeric, "
            "with invalid values allowed, those would be read as null"
        )
    rare = float(counts[known & (counts < FEW_ROWS_SHARE)].sum() / len(column))
    if rare > RARE_SHARE and len(column) < NOTED_ROWS:
        return f"{rare:.0%} of the rows have a value of fewer than 5 rows, which counts as unknown"
    return None


def _numeric_note(name: str, column: pa.Array, values: pa.Array, numbers: np.ndarray) -> str | None:
    rows = len(column) - column.null_count
    whole = bool(len(numbers)) and bool((numbers == np.floor(numbers)).all())
    if not whole:
        return None
    if len(numbers) == rows > MOST_CODES and ID_NAME.search(name):
        return (
            "by its name an id, and every row has its own: leave it out unless the ids of further "
            "rows are drawn from the same range"
        )
    if DAYS[0] <= numbers.min() <= numbers.max() <= DAYS[1]:
        days = pa.array(numbers.astype(np.int64)).cast(pa.string())
        if (parse_timestamps(days, "%Y%m%d")[1] == OK).all():
            return "dates written as numbers: as timestamp with time format %Y%m%d they tell more"
    for scale, unit in ((1, "seconds"), (1000, "milliseconds")):
        if SECONDS[0] * scale <= numbers.min() <= numbers.max() <= SECONDS[1] * scale:
            return f"perhaps Unix times: as timestamp with time format unix-{unit} they tell more"
    codes = "looks like codes: as categorical if their order means nothing"
    if is_text(column.type) and pc.any(pc.match_substring_regex(values, r"^0\d+$")).as_py():
        return f"numbers with leading zeros; {codes}"
    if 2 < len(numbers) <= MOST_CODES and CODE_NAME.search(name):
        return f"{len(numbers)} whole numbers; {codes}"
    return None


def leaks(
    table: pa.Table, features: Sequence[Choice], truth: np.ndarray, n_classes: int
) -> dict[str, str]:
    """Find features that predict the target almost perfectly on their own.

    Half of a sample tells what each value (of numbers, each of 64 quantiles) means for the target;
    the other half is predicted by that.

    Parameters
    ----------
    table
        The rows to learn from.
    features
        Texts and lists are not looked at.
    truth
        Values, or class numbers.
    n_classes
        0 for regression.

    Returns
    -------
    dict
        Feature to how well it predicts.
    """
    most = min(LEAK_ROWS, max(LEAST_LEAK_ROWS, LEAK_CELLS // max(1, len(features))))
    rows = np.random.default_rng(0).permutation(len(truth))[:most]
    if len(rows) < LEAST_LEAK_ROWS:
        return {}
    found = {}
    for choice in features:
        column = flat(flat(table.column(choice.name)).take(pa.array(rows)))
        if choice.kind == "numeric":
            values = parse_numbers(column)[0]
        elif choice.kind == "timestamp":
            moments, status = parse_timestamps(column, choice.time_format)
            values = np.where(status == OK, moments, np.nan)
        elif choice.kind == "categorical":
            codes = as_text(column).dictionary_encode().indices
            values = codes.cast(pa.float64()).to_numpy(zero_copy_only=False)
        else:
            continue
        ordered = choice.kind != "categorical"
        said = (
            _class_leak(values, truth[rows], n_classes, ordered=ordered)
            if n_classes
            else _value_leak(values, truth[rows], ordered=ordered)
        )
        if said is not None:
            found[choice.name] = said
    return found


def _places(values: np.ndarray, *, ordered: bool) -> np.ndarray:
    """Number the bins: 0 for null, then quantiles of the first half, or the values themselves."""
    some = ~np.isnan(values)
    places = np.zeros(len(values), np.int64)
    half = values[: len(values) // 2]
    half = half[~np.isnan(half)]
    if ordered and len(half):
        edges = np.unique(np.quantile(half, np.linspace(0, 1, LEAK_BINS + 1)[1:-1]))
        places[some] = np.searchsorted(edges, values[some]) + 1
    else:
        places[some] = values[some].astype(np.int64) + 1
    return places


def _class_leak(
    values: np.ndarray, classes: np.ndarray, n_classes: int, *, ordered: bool
) -> str | None:
    places = _places(values, ordered=ordered)
    half = len(values) // 2
    cells = places[:half] * n_classes + classes[:half]
    counts = np.bincount(cells, minlength=(int(places.max()) + 1) * n_classes)
    counts = counts.reshape(-1, n_classes).astype(np.float64)
    prior = np.bincount(classes[:half], minlength=n_classes) / half
    scores = ((counts + prior) / (counts.sum(axis=1, keepdims=True) + 1))[places[half:]]
    rest = classes[half:]
    if n_classes == 2:
        if len(np.unique(rest)) < 2:
            return None
        area = roc_area(scores[:, 1], rest == 1)
        return f"area under the ROC curve {area:.4f}" if area > LEAK_AREA else None
    accuracy = float((scores.argmax(axis=1) == rest).mean())
    usual = float((prior.argmax() == rest).mean())
    # With one class in nearly every row, being right is no feat.
    if accuracy > LEAK_ACCURACY and (1 - accuracy) < (1 - usual) / 20:
        return f"accuracy {accuracy:.4f}"
    return None


def _value_leak(values: np.ndarray, truth: np.ndarray, *, ordered: bool) -> str | None:
    half = len(values) // 2
    some = ~np.isnan(values)
    learned = some & (np.arange(len(values)) < half)
    if not learned.any():
        return None
    distinct, place = np.unique(values[learned], return_inverse=True)
    means = np.bincount(place, truth[learned]) / np.bincount(place)
    predicted = np.full(len(values), truth[:half].mean())
    if ordered:
        predicted[some] = np.interp(values[some], distinct, means)
    else:
        at = np.minimum(np.searchsorted(distinct, values), len(distinct) - 1)
        known = distinct[at] == values
        predicted[known] = means[at[known]]
    rest = truth[half:]
    spread = float(np.var(rest))
    if not spread:
        return None
    explained = 1 - float(np.mean((predicted[half:] - rest) ** 2)) / spread
    return f"R squared {explained:.5f}" if explained > LEAK_EXPLAINED else None
