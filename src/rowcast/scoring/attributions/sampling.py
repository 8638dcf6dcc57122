"""Attributions of a model of which nothing but its answers is known: mixtures are scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.attributions.game import Game, game
from rowcast.scoring.attributions.model import answers_of, owners

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.scoring.attributions.answers import Answers
    from rowcast.scoring.attributions.model import Explained

SCORED_CELLS = 4_000_000
"""Matrix cells of the mixed rows that are scored at a time: 32 MB."""


def sample(
    predictor: Explained,
    matrix: np.ndarray,
    baseline: np.ndarray,
    answers: Answers,
    path_count: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Attribute the answers of encoded rows.

    Scores up to ``path_count * n_features`` mixed rows per row; memory is bounded.

    Returns
    -------
    shares : ndarray of shape (n, k, n_features)
        Of each row and output, they sum to the distance from the baseline's answer.
    errors : ndarray of shape (n, k)
        Standard errors of the shares relative to their size; see ``Game.shares``.
    """
    n, k = answers.wanted.shape
    shares, errors = np.zeros((n, k, len(predictor.groups()))), np.zeros((n, k))
    classes = bool(predictor.spec.schema.target.classes)
    for rows, moved, results in _mixtures(predictor, matrix, baseline, path_count):
        for row, features, (layout, mixed) in zip(rows, moved, results, strict=True):
            every = np.concatenate(
                [answers.at_baseline[None], mixed, answers.scores[row : row + 1]]
            )
            found, errors[row] = layout.shares(every[:, answers.wanted[row]])
            if classes:
                np.clip(found, -1.0, 1.0, out=found)
            shares[row][:, features] = found
    return shares, errors


Mixed = tuple[list[int], list[np.ndarray], list[tuple[Game, np.ndarray]]]


def _mixtures(
    predictor: Explained, matrix: np.ndarray, baseline: np.ndarray, path_count: int
) -> Iterator[Mixed]:
    """Score the mixtures of every row that differs from the baseline, a bounded block at a time.

    Yields the rows, the features in which each differs, and each one's game with its outputs.
    """
    groups = predictor.groups()
    same = (matrix == baseline) | (np.isnan(matrix) & np.isnan(baseline))
    differs = np.stack([~same[:, where].all(axis=1) for _, where in groups], axis=1)
    owner = owners(groups, len(baseline))
    most = max(1, SCORED_CELLS // max(1, len(baseline)))
    block: list[np.ndarray] = []
    rows: list[int] = []
    moved: list[np.ndarray] = []
    size = 0
    for row in np.flatnonzero(differs.any(axis=1)).tolist():
        features = np.flatnonzero(differs[row])
        between = game(len(features), path_count).coalitions[1:-1]
        if size and size + len(between) > most:
            yield _scored(predictor, rows, moved, block, path_count)
            block, rows, moved, size = [], [], [], 0
        full = np.zeros((len(between), len(groups)), np.bool_)
        full[:, features] = between
        block.append(np.where(full[:, owner], matrix[row], baseline))
        rows.append(row)
        moved.append(features)
        size += len(between)
    if rows:
        yield _scored(predictor, rows, moved, block, path_count)


def _scored(
    predictor: Explained,
    rows: list[int],
    moved: list[np.ndarray],
    block: list[np.ndarray],
    path_count: int,
) -> Mixed:
    outputs = answers_of(predictor.score(np.concatenate(block)))
    ends = np.cumsum([len(piece) for piece in block])[:-1]
    games = [game(len(features), path_count) for features in moved]
    return rows, moved, list(zip(games, np.split(outputs, ends), strict=True))
