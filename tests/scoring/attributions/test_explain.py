"""Attributions of models that were trained here, and of others."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from rowcast.scoring.attributions import Explanation, explain
from rowcast.scoring.attributions.game import game
from tests.scoring.attributions.models import OnlyAnswers
from tests.tables import batch_of, shop, shop_predictor

KINDS = ["binary", "multiclass", "regression"]


def explained(kind, explanation, rows=12, seed=5, *, known=True):
    predictor = shop_predictor(kind) if known else OnlyAnswers(shop_predictor(kind))
    matrix = predictor.encode(batch_of(shop(rows, seed))).matrix
    predictions = predictor.score(matrix)
    return predictor, matrix, predictions, explain(predictor, matrix, predictions, explanation)


def outputs(predictor, matrix):
    predictions = predictor.score(np.atleast_2d(matrix))
    return predictions.value[:, None] if predictions.scores is None else predictions.scores


def brute_force(predictor, row, baseline, k):
    groups = [where for _, where in predictor.groups()]
    shares = np.zeros(len(groups))
    orders = list(permutations(range(len(groups))))
    for order in orders:
        mixed = baseline.copy()
        before = outputs(predictor, mixed)[0, k]
        for feature in order:
            mixed[groups[feature]] = row[groups[feature]]
            after = outputs(predictor, mixed)[0, k]
            shares[feature] += (after - before) / len(orders)
            before = after
    return shares


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("path_count", [1, 2, 3, 10])
def test_attributions_sum_to_the_distance_from_the_baseline(kind, path_count, known):
    _, _, predictions, why = explained(kind, Explanation(path_count, top_k=-1), known=known)
    distance = why.instance_output - why.baseline_output
    assert np.abs(why.values.sum(axis=2) - distance).max() <= 1e-9
    if predictions.scores is not None:
        assert np.abs(why.values).max() <= 1
        assert np.array_equal(why.instance_output, -np.sort(-predictions.scores, axis=1))
    else:
        assert np.array_equal(why.instance_output[:, 0], predictions.value)
        assert (why.output_index == -1).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [True, False])
def test_few_features_are_attributed_exactly(kind, known):
    predictor, matrix, _, why = explained(kind, Explanation(10), rows=4, known=known)
    assert len(predictor.groups()) == 5
    index = np.maximum(why.output_index, 0)
    for row in range(4):
        truth = brute_force(predictor, matrix[row], predictor.baseline(), index[row, 0])
        assert np.abs(why.values[row, 0] - truth).max() < 1e-9 * max(1, np.abs(truth).max())
    assert (why.approximation_error == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_tells_how_far_it_is_off(kind):
    predictor, matrix, predictions, rough = explained(kind, Explanation(2), rows=40, known=False)
    exact = explain(predictor, matrix, predictions, Explanation(10))
    off = np.linalg.norm(rough.values - exact.values, axis=2) / np.linalg.norm(exact.values, axis=2)
    assert (rough.approximation_error == 1).any()  # one pair cannot tell
    assert off.mean() < 0.5
    several = explain(predictor, matrix, predictions, Explanation(4))
    sampled = several.approximation_error[several.approximation_error > 0]
    off = np.linalg.norm(several.values - exact.values, axis=2)[several.approximation_error > 0]
    size = np.linalg.norm(exact.values, axis=2)[several.approximation_error > 0]
    if len(sampled):
        assert 0.2 < np.sqrt(np.mean((off / size) ** 2)) / np.sqrt(np.mean(sampled**2)) < 5


def test_a_feature_at_its_baseline_gets_exactly_nothing():
    predictor, matrix, _, _ = explained("binary", Explanation())
    matrix = matrix.copy()
    name, where = predictor.groups()[2]
    matrix[:, where] = predictor.baseline()[where]
    why = explain(predictor, matrix, predictor.score(matrix), Explanation(1))
    assert name == "job"
    assert (why.values[:, :, 2] == 0).all()


def test_a_row_at_the_baseline_gets_nothing_at_all():
    predictor = shop_predictor("multiclass")
    matrix = predictor.baseline()[None]
    why = explain(predictor, matrix, predictor.score(matrix), Explanation(top_k=-1))
    assert (why.values == 0).all()
    assert (why.approximation_error == 0).all()
    assert np.array_equal(why.instance_output, why.baseline_output)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("known", [True, False])
def test_a_row_is_explained_alike_in_every_batch(kind, known):
    predictor, matrix, _, whole = explained(kind, Explanation(3, top_k=2), known=known)
    for row in (0, 7, 11):
        alone = matrix[row : row + 1]
        why = explain(predictor, alone, predictor.score(alone), Explanation(3, top_k=2))
        for name in ("values", "baseline_output", "instance_output", "approximation_error"):
            assert getattr(why, name)[0].tobytes() == getattr(whole, name)[row].tobytes()


def test_the_highest_classes_come_first():
    _, _, predictions, why = explained("multiclass", Explanation(2, top_k=2))
    assert np.array_equal(why.output_index, np.argsort(-predictions.scores, axis=1)[:, :2])


def test_chosen_outputs_are_explained_in_their_order():
    _, _, _, why = explained("multiclass", Explanation(2, output_indices=(2, 0)))
    assert (why.output_index == [2, 0]).all()


def test_several_baselines_are_averaged():
    both = Explanation(10, baselines=({"age": 20.0}, {"age": 80.0}))
    predictor, matrix, predictions, why = explained("regression", both)
    parts = [
        explain(predictor, matrix, predictions, Explanation(10, baselines=(row,)))
        for row in both.baselines
    ]
    assert np.allclose(why.values, (parts[0].values + parts[1].values) / 2, rtol=0, atol=1e-9)
    distance = why.instance_output - why.baseline_output
    assert np.abs(why.values.sum(axis=2) - distance).max() <= 1e-9


def test_memory_is_bounded_by_blocks(monkeypatch):
    _, _, _, whole = explained("binary", Explanation(2), known=False)
    monkeypatch.setattr("rowcast.scoring.attributions.sampling.SCORED_CELLS", 1)
    _, _, _, pieces = explained("binary", Explanation(2), known=False)
    assert whole.values.tobytes() == pieces.values.tobytes()


@pytest.mark.parametrize(("features", "paths"), [(1, 1), (6, 10), (20, 7), (40, 50)])
def test_every_order_goes_from_the_baseline_to_the_row(features, paths):
    made = game(features, paths)
    assert not made.coalitions[0].any()
    assert made.coalitions[-1].all()
    if made.weights is None:
        assert (np.sort(made.orders, axis=1) == np.arange(features)).all()
        assert len(made.coalitions) <= paths * (features - 1) + 2
