"""What importing trees of all libraries has in common."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import ModelDamaged

if TYPE_CHECKING:
    from rowcast.scoring.forest import Forest

TRIAL_ROWS = 1000


def trial_rows(forest: Forest) -> np.ndarray:
    """Rows that go many ways: drawn from the trees' thresholds and what lies next to them.

    The same forest gives the same rows.
    """
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(TRIAL_ROWS, forest.n_columns))
    for column in np.unique(forest.columns):
        values = np.unique(forest.thresholds[forest.columns == column])
        values = values[np.isfinite(values)]
        if len(values):
            beside = np.concatenate([values, np.nextafter(values, np.inf), values - 1, values + 1])
            rows[:, column] = rng.choice(np.append(beside, [0.0, np.nan]), TRIAL_ROWS)
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
