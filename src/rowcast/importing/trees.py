"""What importing trees of all libraries has in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

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
