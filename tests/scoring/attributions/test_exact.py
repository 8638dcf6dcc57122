"""Models that are sums of trees and columns, compared with brute force."""

from __future__ import annotations

import re
from pathlib import Path

import lightgbm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.scoring.attributions import Explanation, explain
from rowcast.scoring.attributions import exact as module
from rowcast.scoring.attributions.accuracy import STEPS, Accuracy, accuracy
from rowcast.scoring.attributions.exact import Attributor
from rowcast.scoring.attributions.model import Additive, owners
from rowcast.scoring.attributions.reference import reference_shares
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.program import Program
from tests.scoring.attributions.models import LINKS, Drawn, draw_model

ALL = Explanation(10, top_k=-1)


def attributed(predictor, matrix, explanation=ALL):
    return explain(predictor, matrix, predictor.score(matrix), explanation)


def truth_of(predictor, matrix, found):
    """Brute force for the outputs that were explained."""
    shares = [
        reference_shares(predictor.answers, row, predictor.baseline(), predictor.groups())
        for row in matrix
    ]
    index = np.maximum(found.output_index, 0)[:, :, None]
    return np.take_along_axis(np.stack(shares), index, axis=1)


def relative(found, truth):
    size = np.linalg.norm(truth, axis=2)
    return np.linalg.norm(found.values - truth, axis=2) / np.maximum(size, 1e-6)


@pytest.mark.parametrize("link", LINKS)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_few_features_are_attributed_exactly(link, seed):
    predictor, matrix = draw_model(np.random.default_rng(seed), link)
    found = attributed(predictor, matrix)
    truth = truth_of(predictor, matrix, found)
    scale = np.maximum(1, np.abs(truth).max(axis=2, keepdims=True))
    assert (np.abs(found.values - truth) <= 1e-9 * scale).all()
    assert (found.approximation_error == 0).all()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_margins_are_attributed_exactly_however_many_features(seed):
    rng = np.random.default_rng(seed)
    predictor, matrix = draw_model(rng, "identity", features=10, rows=3)
    found = attributed(predictor, matrix)
    assert np.abs(found.values - truth_of(predictor, matrix, found)).max() <= 1e-9
    assert (found.approximation_error == 0).all()


@pytest.mark.parametrize("link", ["exp", "logistic", "softmax"])
def test_the_error_that_is_told_is_about_the_error(link, monkeypatch):
    rng = np.random.default_rng(11)
    errors, told = [], []
    monkeypatch.setattr(module, "accuracy", lambda _: Accuracy(exact=2, head=3, nodes=3))
    for _ in range(8):
        predictor, matrix = draw_model(rng, link, features=9, rows=8)
        found = attributed(predictor, matrix)
        truth = truth_of(predictor, matrix, found)
        errors.append(relative(found, truth).ravel())
        told.append(found.approximation_error.ravel())
        assert np.abs(found.values.sum(axis=2) - truth.sum(axis=2)).max() < 1e-9
    errors, told = np.concatenate(errors), np.concatenate(told)
    assert (errors[told == 0] < 1e-9).all()
    off = errors > 1e-9
    assert off.sum() > 20
    assert (errors[off] <= 3 * told[off]).mean() > 0.9
    assert 0.8 < np.median(told[off]) / np.median(errors[off]) < 20


def learnt(columns):
    """Trees that learnt something, which is what they do in use."""
    rng = np.random.default_rng(columns)
    x = rng.normal(size=(4000, columns))
    x[rng.random(x.shape) < 0.03] = np.nan
    drive = np.nan_to_num(x)
    drive = drive[:, 0] * drive[:, 1] + np.sin(3 * drive[:, 2]) + drive[:, 3:].sum(axis=1) / 2
    data = lightgbm.Dataset(x, drive + rng.logistic(size=len(x)) > 0)
    settings = {"objective": "binary", "num_leaves": 15, "verbosity": -1, "num_threads": 1}
    booster = lightgbm.train(settings, data, 100)
    program = Program(read_lightgbm(booster.model_to_string().encode()))
    model = Additive(program, None, "logistic", order=(0, 1))
    names = tuple((f"f{i}", slice(i, i + 1)) for i in range(columns))
    return Drawn(model, names, np.nanmedian(x, axis=0)), rng.normal(size=(20, columns))


def test_scores_are_attributed_closely_and_closer_with_more_paths():
    predictor, matrix = learnt(12)
    found = {count: attributed(predictor, matrix, Explanation(count)) for count in (1, 7, 12, 25)}
    truth = truth_of(predictor, matrix, found[1])
    off = [np.abs(one.values - truth).mean() for one in found.values()]
    assert off[0] > off[1] > off[2] > off[3]
    assert off[2] < 3e-4
    assert np.abs(attributed(predictor, matrix, Explanation(50)).values - truth).max() < 1e-12


def test_path_counts_are_mapped_to_growing_effort():
    settings_ = [accuracy(count) for count in range(1, 51)]
    assert [setting for _, setting in STEPS] == sorted(set(settings_), key=settings_.index)
    efforts = [(s.exact, s.head, s.nodes) for s in settings_]
    assert efforts == sorted(efforts)
    assert accuracy(1).head == 4
    assert (accuracy(10), accuracy(50)) == (STEPS[2][1], STEPS[-1][1])


@pytest.mark.parametrize("link", LINKS)
def test_a_row_is_explained_alike_in_every_batch(link, monkeypatch):
    rng = np.random.default_rng(3)
    monkeypatch.setattr(module, "accuracy", lambda _: Accuracy(exact=3, head=4, nodes=3))
    predictor, matrix = draw_model(rng, link, features=8, rows=150)
    whole = attributed(predictor, matrix)
    monkeypatch.setattr(module, "TABLES_BYTES", 1)
    monkeypatch.setattr("rowcast.scoring.attributions.paths.ROOM", 0)
    again = Attributor(
        predictor.additive(), owners(predictor.groups(), matrix.shape[1]), predictor.baseline()
    )
    predictor.additive().kept.clear()
    predictor.additive().kept[predictor.baseline().tobytes()] = again
    for rows in (slice(0, 1), slice(63, 70), slice(100, 150)):
        piece = attributed(predictor, matrix[rows])
        for name in ("values", "approximation_error", "baseline_output", "instance_output"):
            assert getattr(piece, name).tobytes() == getattr(whole, name)[rows].tobytes()


@pytest.mark.parametrize("link", LINKS)
def test_a_row_at_the_baseline_gets_nothing_at_all(link):
    predictor, _ = draw_model(np.random.default_rng(2), link)
    found = attributed(predictor, predictor.baseline()[None])
    assert (found.values == 0).all()
    assert (found.approximation_error == 0).all()


@pytest.mark.parametrize("link", ["identity", "logistic", "softmax"])
def test_features_that_the_model_does_not_use_get_nothing(link):
    rng = np.random.default_rng(8)
    predictor, matrix = draw_model(rng, link, features=14, rows=40)
    forest, linear = predictor.model.trees.forest, predictor.model.linear
    used = set(forest.columns.tolist())
    found = attributed(predictor, matrix)
    for number, (_, where) in enumerate(predictor.groups()):
        columns = range(where.start, where.stop)
        if linear is None and not used & set(columns):
            assert (found.values[:, :, number] == 0).all()
    at_baseline = np.stack(
        [
            ((row[w] == b[w]) | (np.isnan(row[w]) & np.isnan(b[w]))).all()
            for row in matrix
            for b in [predictor.baseline()]
            for _, w in predictor.groups()
        ]
    ).reshape(len(matrix), -1)
    assert at_baseline.any()
    assert (np.moveaxis(found.values, 1, 2)[at_baseline] == 0).all()


def test_more_features_than_a_word_has_bits():
    rng = np.random.default_rng(21)
    predictor, matrix = draw_model(rng, "logistic", features=90, rows=5)
    found = attributed(predictor, matrix)
    distance = found.instance_output - found.baseline_output
    assert np.abs(found.values.sum(axis=2) - distance).max() < 1e-12
    pair = attributed(predictor, matrix, Explanation(50, top_k=-1)).values
    assert np.abs(found.values - pair).mean() < 1e-3
    assert np.abs(found.values[:, 0] + found.values[:, 1]).max() < 1e-12  # of two classes


def test_tables_of_coalitions_stay_small_with_many_classes_and_features():
    sizes = module._head_sizes(500, 40, accuracy(50))
    players = np.arange(501)
    cells = 40 * (1 + players - sizes) * 2**sizes
    assert (cells <= np.maximum(module.ROW_CELLS, 80 * (1 + players))).all()
    assert (sizes[1:] >= 1).all()


def test_the_document_says_what_path_counts_mean():
    text = (Path(__file__).parents[3] / "docs" / "attributions.md").read_text()
    rows = re.findall(
        r"^\| (\d+)(?: \(default\))? to (\d+) \| (\d+)[a-z ]* \| (\d+) \| (\d+) \|", text, re.M
    )
    described = {
        count: tuple(map(int, effort))
        for first, last, *effort in rows
        for count in range(int(first), int(last) + 1)
    }
    made = {count: accuracy(count) for count in range(1, 51)}
    assert described == {c: (s.exact, s.head, s.nodes) for c, s in made.items()}
