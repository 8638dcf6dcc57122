"""How much each feature moves a row's answer away from the baseline's: Shapley values.

A feature is a column of the user's table; all matrix columns that stand for it move together.
Features that agree with the baseline drop out of the game and get exactly 0. Models whose margins
are sums over trees and columns are explained by ``exact``, all others by ``sampling``; what both
compute is told plainly, by brute force, in ``reference``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.core.batch import Batch, Places
from rowcast.core.prediction import Attributions
from rowcast.scoring.attributions.answers import Answers
from rowcast.scoring.attributions.exact import Attributor
from rowcast.scoring.attributions.explanation import (
    DEFAULT_PATHS,
    MOST_BASELINES,
    Explanation,
    explanation_spec,
    explanation_violations,
    read_explanation,
)
from rowcast.scoring.attributions.model import Additive, Explained, answers_of, owners
from rowcast.scoring.attributions.sampling import sample
from rowcast.scoring.encode import baseline_record

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.core.prediction import Predictions


def explain(
    predictor: Explained, matrix: np.ndarray, predictions: Predictions, explanation: Explanation
) -> Attributions:
    """Attribute the answers to the features.

    Each row's attributions depend on nothing but the row, the model and ``explanation``. Memory
    beyond the result is bounded.

    Parameters
    ----------
    predictor
        The model.
    matrix : ndarray of shape (n_rows, n_columns)
        Encoded rows.
    predictions
        ``predictor.score(matrix)``; taken over bit by bit as the instances' outputs.
    explanation
        What to explain.

    Returns
    -------
    Attributions
        For every row and output, ``values`` sums to ``instance_output - baseline_output``.
    """
    outputs = answers_of(predictions)
    classes = predictions.scores is not None
    index = _explained(outputs, explanation, classes=classes)
    groups = predictor.groups()
    baselines = np.stack([_baseline_row(predictor, row) for row in explanation.baselines])
    at_baseline = answers_of(predictor.score(baselines))
    model = predictor.additive()
    values = np.zeros((*index.shape, len(groups)))
    errors = np.zeros(index.shape)
    for baseline, own in zip(baselines, at_baseline, strict=True):
        answers = Answers(outputs, own, index)
        if model is None:
            shares, off = sample(predictor, matrix, baseline, answers, explanation.path_count)
        else:
            attributor = _attributor(model, owners(groups, matrix.shape[1]), baseline)
            shares, off = attributor.attribute(matrix, answers, explanation.path_count)
        values += shares / len(baselines)
        errors += off / len(baselines)
    return Attributions(
        feature_names=tuple(name for name, _ in groups),
        values=values,
        baseline_output=at_baseline.mean(axis=0)[index],
        instance_output=np.take_along_axis(outputs, index, axis=1),
        approximation_error=errors,
        output_index=index if classes else np.full_like(index, -1),
    )


def _baseline_row(predictor: Explained, instead: Mapping[str, float | str]) -> np.ndarray:
    if not instead:
        return predictor.baseline()
    row = baseline_record(predictor.spec.schema.features, instead)
    places = Places("explanationSpec", np.ones(1, np.int64))
    return np.asarray(predictor.encode(Batch(row, places)).matrix[0])


def _explained(outputs: np.ndarray, explanation: Explanation, *, classes: bool) -> np.ndarray:
    """Choose each row's outputs to explain: int64 of shape (n_rows, k), by descending output."""
    n_rows, n_outputs = outputs.shape
    if not classes:
        return np.zeros((n_rows, 1), np.int64)
    if explanation.output_indices:
        chosen = np.array(explanation.output_indices, np.int64)
        return np.tile(chosen, (n_rows, 1))
    k = n_outputs if explanation.top_k < 0 else min(explanation.top_k, n_outputs)
    return np.argsort(-outputs, axis=1, kind="stable")[:, :k]


def _attributor(model: Additive, owner: np.ndarray, baseline: np.ndarray) -> Attributor:
    """Look a model's trees through from a baseline, unless that was done before."""
    key = baseline.tobytes()
    found = model.kept.get(key)
    if found is None:
        found = Attributor(model, owner, baseline)
        model.kept[key] = found
        while len(model.kept) > MOST_BASELINES:
            model.kept.popitem(last=False)
    return found


__all__ = [
    "DEFAULT_PATHS",
    "Additive",
    "Explained",
    "Explanation",
    "explain",
    "explanation_spec",
    "explanation_violations",
    "read_explanation",
]
