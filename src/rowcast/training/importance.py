"""How much each feature matters to a model over all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from rowcast.scoring.attributions import DEFAULT_PATHS, Explanation, explain
from rowcast.scoring.attributions.game import MOST_EXACT

if TYPE_CHECKING:
    from rowcast.core.prediction import Predictions
    from rowcast.predictors import Predictor

MOST_ROWS = 500
LEAST_ROWS = 20
LEAST_PATHS = 2
EXPLAINED_AS = 100
"""Rows that are scored in the time that it takes to explain one, about."""
MOST_EXPLAINED = 200
"""Features up to which attributions are computed; beyond, values are shuffled."""
SECONDS = 2.0
"""About as long may it take, judged by the model's size and not by the clock."""
BYTE_SECONDS = 5e-12
"""To score one row, for each byte of the model's members; measured on one core."""
ROW_SECONDS = 2e-6
"""To score one row with no model at all."""


@dataclass(frozen=True)
class Importance:
    """What every feature contributes; the shares sum to 1."""

    shares: dict[str, float] = field(default_factory=dict)
    """By feature, in the model's order."""
    method: Literal["sampledShapley", "shuffledValues"] = "sampledShapley"
    rows: int = 0
    """Looked at."""


def feature_importance(
    predictor: Predictor,
    matrix: np.ndarray,
    *,
    model_bytes: int,
    seconds: float = SECONDS,
    seed: int = 0,
) -> Importance:
    """Average how much each feature moves the answer, over rows that the model has not seen.

    Up to 200 features it is the mean absolute Shapley attribution, as predictions are explained:
    of the class with the highest score, or of the value. With more features, or where so many
    rows could not be explained in time, it is the mean absolute change of that output when the
    feature's values are shuffled among the rows. Either way the sum is brought to 1. The same
    arguments give the same shares, as the clock is not looked at.

    Parameters
    ----------
    predictor
        The model.
    matrix : ndarray of shape (n_rows, n_columns)
        Encoded held-out rows; a sample of them is drawn.
    model_bytes
        Size of the model's members, which tells how long a row takes.
    seconds
        About as long may it take.
    seed
        Of the sample and of the shuffling.
    """
    names = [name for name, _ in predictor.groups()]
    if not len(matrix):
        return Importance(_shares(names, np.zeros(len(names))))
    affordable = int(seconds / (ROW_SECONDS + BYTE_SECONDS * model_bytes))
    order = np.random.default_rng([seed, 7]).permutation(len(matrix))
    known = predictor.additive() is not None
    paths, rows = _effort(len(names), affordable, known=known)
    if paths:
        drawn = np.sort(order[:rows])
        sizes = _attributed(predictor, matrix[drawn], paths)
        return Importance(_shares(names, sizes), "sampledShapley", len(drawn))
    drawn = np.sort(order[: min(MOST_ROWS, max(LEAST_ROWS, affordable // len(names)))])
    sizes = _shuffled(predictor, matrix[drawn], seed)
    return Importance(_shares(names, sizes), "shuffledValues", len(drawn))


def _effort(features: int, affordable: int, *, known: bool) -> tuple[int, int]:
    """Choose paths and rows so that no more rows are scored than are affordable; else 0, 0.

    To explain a row of a model that is ``known`` to be a sum takes as long as scoring
    EXPLAINED_AS rows, whatever the features.
    """
    if features > MOST_EXPLAINED:
        return 0, 0
    if known:
        rows = min(affordable // EXPLAINED_AS, MOST_ROWS)
        return (DEFAULT_PATHS, rows) if rows >= LEAST_ROWS else (0, 0)
    for paths in range(DEFAULT_PATHS, LEAST_PATHS - 1, -1):
        mixtures = paths * features
        if features <= MOST_EXACT:
            mixtures = min(mixtures, 1 << features)
        rows = affordable // max(1, mixtures)
        if rows >= MOST_ROWS // 5 or (paths == LEAST_PATHS and rows >= LEAST_ROWS):
            return paths, min(rows, MOST_ROWS)
    return 0, 0


def _attributed(predictor: Predictor, matrix: np.ndarray, paths: int) -> np.ndarray:
    found = explain(predictor, matrix, predictor.score(matrix), Explanation(path_count=paths))
    return np.asarray(np.abs(found.values).mean(axis=(0, 1)))


def _shuffled(predictor: Predictor, matrix: np.ndarray, seed: int) -> np.ndarray:
    before = predictor.score(matrix)
    top = None if before.scores is None else before.scores.argmax(axis=1)
    own = _output(before, top)
    sizes = []
    for number, (_, columns) in enumerate(predictor.groups()):
        order = np.random.default_rng([seed, 8, number]).permutation(len(matrix))
        mixed = matrix.copy()
        mixed[:, columns] = matrix[order][:, columns]
        sizes.append(float(np.abs(_output(predictor.score(mixed), top) - own).mean()))
    return np.array(sizes)


def _output(predictions: Predictions, top: np.ndarray | None) -> np.ndarray:
    """The score of each row's class ``top``, or the value."""
    if predictions.scores is None or top is None:
        return np.asarray(predictions.value)
    return np.asarray(predictions.scores[np.arange(len(top)), top])


def _shares(names: list[str], sizes: np.ndarray) -> dict[str, float]:
    """Bring the sum to 1; a model that heeds no feature heeds all alike."""
    total = sizes.sum()
    shares = sizes / total if total > 0 else np.full(len(names), 1 / max(1, len(names)))
    return dict(zip(names, shares.tolist(), strict=True))
