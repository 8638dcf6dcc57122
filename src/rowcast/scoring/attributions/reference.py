"""Shapley values by brute force: every coalition is answered. What all else is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.attributions.game import exact_game
from rowcast.scoring.attributions.model import owners

if TYPE_CHECKING:
    from collections.abc import Callable


def reference_shares(
    answer: Callable[[np.ndarray], np.ndarray],
    row: np.ndarray,
    baseline: np.ndarray,
    groups: tuple[tuple[str, slice], ...],
) -> np.ndarray:
    """Attribute the answers to one encoded row.

    Parameters
    ----------
    answer
        From a matrix to answers of shape (n, n_outputs). It is given ``2 ** len(groups)`` rows.
    row, baseline : ndarray of shape (n_columns,)
    groups
        For each feature, its name and its matrix columns.

    Returns
    -------
    ndarray of shape (n_outputs, n_features)
        Each output's sum to the difference of the answers to ``row`` and ``baseline``.
    """
    game = exact_game(len(groups))
    assert game.weights is not None  # noqa: S101 - an exact game has them
    mixed = np.where(game.coalitions[:, owners(groups, len(row))], row, baseline)
    return np.asarray((game.weights @ answer(mixed)).T)
