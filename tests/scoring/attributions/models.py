"""Predictors made of random trees and weights, and ones of which only answers are known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np

from rowcast.core.prediction import Predictions
from rowcast.scoring.attributions.model import Additive, Link
from rowcast.scoring.kernels.links import sigmoid_scores, softmax_scores
from rowcast.scoring.linear import Linear
from rowcast.scoring.program import Program
from tests.scoring.forests import draw_forest, draw_matrix, draw_oblivious, share_nodes

if TYPE_CHECKING:
    from rowcast.scoring.forest import Forest

LINKS: tuple[Link, ...] = ("identity", "exp", "square", "logistic", "softmax")


@dataclass(frozen=True)
class Drawn:
    """See ``rowcast.scoring.attributions.model.Explained``."""

    model: Additive
    features: tuple[tuple[str, slice], ...]
    base_row: np.ndarray

    @property
    def spec(self):
        classes = tuple("abcdefgh"[: len(self.model.order)])
        return SimpleNamespace(schema=SimpleNamespace(target=SimpleNamespace(classes=classes)))

    def margins(self, matrix):
        margins = np.zeros((len(matrix), self.model.outputs))
        if self.model.trees is not None:
            margins = self.model.trees.margins(matrix)
        if self.model.linear is not None:
            self.model.linear.add_to(margins, matrix)
        return margins

    def answers(self, matrix):
        margins = self.margins(matrix)
        scores = np.empty((len(matrix), len(self.model.order)))
        if self.model.link == "softmax":
            softmax_scores(margins, scores)
            return np.ascontiguousarray(scores[:, self.model.order])
        margins = np.ascontiguousarray(margins * self.model.scale)
        if self.model.link == "logistic":
            sigmoid_scores(margins[:, 0].copy(), scores)
            return np.ascontiguousarray(scores[:, self.model.order])
        if self.model.link == "exp":
            return np.expm1(margins)
        return np.sign(margins) * margins**2 if self.model.link == "square" else margins

    def score(self, matrix):
        answers = self.answers(matrix)
        if self.model.order:
            return Predictions(scores=answers)
        return Predictions(value=answers[:, 0], lower=answers[:, 0], upper=answers[:, 0])

    def groups(self):
        return self.features

    def baseline(self):
        return self.base_row.copy()

    def additive(self):
        return self.model


class OnlyAnswers:
    """A predictor whose making is not known."""

    def __init__(self, predictor):
        self._predictor = predictor

    def __getattr__(self, name):
        return getattr(self._predictor, name)

    def additive(self):
        return None


def draw_linear(rng, columns, outputs):
    draw = partial(rng.normal, size=(columns, outputs))
    centers, scales = rng.normal(size=columns), rng.uniform(0.5, 2, columns)
    return Linear(centers, scales, draw(scale=0.3), draw(scale=0.3), rng.normal(size=outputs))


def tame(forest: Forest) -> Forest:
    """Have a few leaves add up to a margin of ordinary size."""
    size = max(np.abs(forest.values).max(), 1e-300) * np.sqrt(forest.n_trees / forest.outputs)
    return replace(forest, values=2 * forest.values / size, base=np.sign(forest.base))


def draw_model(rng, link, *, features=6, rows=8):
    """Draw a predictor, each of whose features has one to three matrix columns, and rows."""
    widths = rng.integers(1, 4, features)
    ends = np.cumsum(widths)
    named = tuple((f"f{i}", slice(ends[i] - widths[i], ends[i])) for i in range(features))
    columns = int(ends[-1])
    outputs = int(rng.integers(2, 5)) if link == "softmax" else 1
    shape = rng.integers(4)
    if shape == 0:
        forest = draw_oblivious(rng, outputs=outputs, columns=columns, depth=(0, 6))
    elif shape == 1:
        forest = draw_forest(rng, columns=columns, sets=4, trees=8)
        forest = forest if outputs == 1 else share_nodes(rng, forest, outputs)
    else:
        forest = draw_forest(rng, columns=columns, outputs=outputs, trees=8, deep=shape == 3)
    forest = tame(forest)
    linear = draw_linear(rng, columns, outputs) if rng.random() < 0.5 else None
    order = tuple(rng.permutation(max(2, outputs)).tolist()) if link in LINKS[3:] else ()
    scale = 1.0 if link == "softmax" else float(rng.uniform(0.5, 1.5))
    trees = None if linear is not None and rng.random() < 0.2 else Program(forest)
    model = Additive(trees, linear, link, scale, order)
    drawn = draw_matrix(rng, forest, rows + 1)
    drawn = np.where(np.isinf(drawn), np.sign(drawn) * 5.0, drawn)
    same = rng.random((rows, features)) < 0.2
    for number, (_, where) in enumerate(named):  # some features are the baseline's
        drawn[1:][same[:, number], where] = drawn[0, where]
    return Drawn(model, named, drawn[0]), drawn[1:]
