"""What importing trees of all libraries has in common."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rowcast.errors import ModelDamaged
from rowcast.scoring.parse import as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rowcast.scoring.forest import Forest

TRIAL_ROWS = 1000


def trial_rows(forest: Forest, whole: Sequence[int] = ()) -> np.ndarray:
    """Rows that go many ways: drawn from the trees' thresholds and what lies next to them.

    The same forest gives the same rows. Columns in ``whole`` hold codes of categories, which are
    whole numbers from 0.
    """
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(TRIAL_ROWS, forest.n_columns))
    for column in np.unique(forest.columns):
        values = forest.limits(column)
        values = values[np.isfinite(values)]
        if len(values):
            beside = np.concatenate([values, np.nextafter(values, np.inf), values - 1, values + 1])
            rows[:, column] = rng.choice(np.append(beside, [0.0, np.nan]), TRIAL_ROWS)
    rows[:, list(whole)] = np.abs(np.trunc(rows[:, list(whole)]))
    return rows


def names_of(given: list[Any], n_columns: int) -> list[str | None]:
    """Read the features' names; None for each if there are none. Raises ModelDamaged."""
    if not given:
        return [None] * n_columns
    if len(given) != n_columns or not all(isinstance(name, str) for name in given):
        raise ModelDamaged(
            f"The file names {len(given)} features, but its trees read {n_columns} columns."
        )
    return list(given)


def texts_of(categories: Iterable[Any]) -> tuple[str, ...]:
    """Write categories as an input file would: the shortest form of numbers."""
    column = pa.array([value if isinstance(value, str) else None for value in categories])
    numbers = [None if isinstance(value, str) else value for value in categories]
    try:
        texts = as_text(pa.array(numbers))
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ModelDamaged(f"The file holds categories that are no texts: {error}") from error
    both = zip(column.to_pylist(), texts.to_pylist(), strict=True)
    return tuple(text if text is not None else number or "" for text, number in both)


def installed(*distributions: str) -> dict[str, str]:
    """The version of the first of these distributions that is installed; empty if none is."""
    for name in distributions:
        try:
            return {name: version(name)}
        except PackageNotFoundError:
            continue
    return {}


def link_answers(margins: np.ndarray, link: str) -> np.ndarray:
    """What a library's margins mean, by NumPy's definitions rather than our kernels'."""
    if link == "sigmoid":
        likely = 1.0 / (1.0 + np.exp(-margins))
        return np.concatenate([1.0 - likely, likely], axis=1)
    if link == "softmax":
        powers = np.exp(margins - margins.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))
    return np.exp(margins) if link == "exp" else margins
