"""The rows of one training: what is to be learnt from them, and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rowcast.training.columns import FittedEncoder, fit_encoder
from rowcast.training.goal import Goal
from rowcast.training.search import Fold
from rowcast.training.task import Rows, Scale, Task

if TYPE_CHECKING:
    from rowcast.training.examples import Examples
    from rowcast.training.request import Request

CROSS_VALIDATED_ROWS = 10_000
CROSS_VALIDATED_CELLS = 50_000
"""Rows, and rows times outputs, below which candidates are cross-validated."""
FOLDS = 5
SEARCHED_A_SECOND = 4_000
"""Rows of the search for each second of the budget: a sample is enough to choose by."""
LEAST_SEARCHED, MOST_SEARCHED = 50_000, 400_000
MEASURED_A_SECOND = 800
"""Rows for each second of the budget up to which the ensemble is fitted once more for the metrics,
to training and validation rows; with more, the members of the search are measured."""
COPIES = ((2_000, 5), (20_000, 3))
"""Rows times outputs below which a member is fitted so many times, and averaged."""


@dataclass(frozen=True)
class Learning:
    """The rows, and what is to be learnt from them."""

    request: Request
    examples: Examples
    goal: Goal
    scale: Scale
    margins: np.ndarray
    """Class numbers, or the margins of a quantity in its own (or its logarithm's) unit."""

    @classmethod
    def of(cls, examples: Examples, request: Request) -> Learning:
        """Fix what the members minimise."""
        classes = len(examples.target.classes)
        objective = examples.objective
        task = Task.of(classes, objective)
        margins = np.log1p(examples.truth) if task.link == "expm1" else examples.truth
        scale = Scale() if classes else Scale.of(margins)
        goal = Goal(task, objective, request.objective_value, scale.width)
        return cls(request, examples, goal, scale, margins)

    def __len__(self) -> int:
        return len(self.margins)

    @property
    def task(self) -> Task:
        """What every member minimises."""
        return self.goal.task

    @property
    def measured_apart(self) -> bool:
        """The metrics come from an ensemble of their own, on training and validation rows."""
        request = self.request
        return bool(request.trials) or len(self) <= MEASURED_A_SECOND * request.budget_s

    @property
    def copies(self) -> int:
        """Fits of each member."""
        cells = len(self) * self.task.outputs
        return next((copies for most, copies in COPIES if cells < most), 1)

    def encoded(self, rows: np.ndarray) -> FittedEncoder:
        """Learn an encoder from some rows."""
        examples = self.examples
        table = examples.table if len(rows) == len(examples) else examples.table.take(rows)
        outcome = examples.outcome(rows)
        return fit_encoder(table, examples.choices.features, outcome, self.request.seed)

    def rows(self, matrix: np.ndarray, rows: np.ndarray) -> Rows:
        """Put an encoded matrix together with what it should lead to."""
        target = self.margins[rows]
        if not self.task.classes:
            target = self.scale.shrink(target)
        return Rows(matrix, target, self.examples.weights[rows])


def folds_of(learning: Learning) -> list[Fold]:
    """Cut what is not for testing: once, or five times if it is little and was drawn at random."""
    split, request = learning.examples.split, learning.request
    n, outputs = len(learning), learning.task.outputs
    drawn = request.split.kind in ("fraction", "stratified")
    small = n < CROSS_VALIDATED_ROWS and n * outputs < CROSS_VALIDATED_CELLS
    if drawn and small:
        known = np.sort(np.concatenate([split.train, split.validation]))
        places = np.random.default_rng([request.seed, 2]).permutation(len(known)) % FOLDS
        cuts = [(known[places != k], known[places == k]) for k in range(FOLDS)]
    else:
        most = min(MOST_SEARCHED, max(LEAST_SEARCHED, SEARCHED_A_SECOND * int(request.budget_s)))
        if request.trials:
            most = MOST_SEARCHED
        train = _sample(split.train, most, request.seed)
        cuts = [(train, _sample(split.validation, most // 4, request.seed))]
    return [_fold(learning, train, held) for train, held in cuts]


def _sample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng([seed, 5]).permutation(rows)[:most])


def _fold(learning: Learning, train: np.ndarray, held: np.ndarray) -> Fold:
    examples = learning.examples
    fitted = learning.encoded(train)
    matrix, _ = fitted.encoder.matrix(examples.table.take(held))
    test = None
    if not learning.measured_apart:
        test, _ = fitted.encoder.matrix(examples.table.take(examples.split.test))
    return Fold(learning.rows(fitted.matrix, train), learning.rows(matrix, held), held, test)
