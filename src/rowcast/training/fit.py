"""From a table to a trained model: split, search, measure, refit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.errors import InvalidRequest
from rowcast.training.assemble import Assembly, Measured
from rowcast.training.blend import Calibration, calibrate
from rowcast.training.clock import Clock
from rowcast.training.data import Source, read_table
from rowcast.training.examples import prepare
from rowcast.training.families import CannotFit
from rowcast.training.learning import Learning, folds_of
from rowcast.training.refit import Recipe, Refitted
from rowcast.training.search import Plan, Search

if TYPE_CHECKING:
    from rowcast.training import Progress, TrainedModel
    from rowcast.training.columns import FittedEncoder
    from rowcast.training.request import Request

CELL_SECONDS = 4e-7
"""What encoding a cell costs, roughly."""


def fit(source: Source, request: Request, progress: Progress | None = None) -> TrainedModel:
    """Train. See ``rowcast.training.train``."""
    request.check()
    clock = Clock(float("inf") if request.trials else request.budget_s, progress)
    clock.enter("read", 0.0, "Reading the training data")
    table = read_table(source)
    learning = Learning.of(prepare(table, request), request)
    clock.enter("encode", 0.03, f"Encoding {len(learning)} rows")
    folds = folds_of(learning)
    search = Search(learning.goal, folds, _plan(learning, len(folds[0].train)), clock)
    clock.enter("search", 0.1, "Trying candidates")
    try:
        search.run()
    except CannotFit as error:
        raise InvalidRequest(f"Nothing can be learnt from these rows. {error}") from error
    recipe = _recipe(learning, search)
    clock.enter("fit", 0.65, f"Fitting to all {len(learning)} rows")
    everything = np.arange(len(learning))
    encoder = learning.encoded(everything)
    final = _refitted(learning, search, recipe, encoder, everything)
    clock.enter("evaluate", 0.85, "Measuring on the test rows")
    measured = _measure(learning, search, recipe)
    return Assembly(learning, search, recipe, final, encoder, measured).model(table)


def _plan(learning: Learning, fold_rows: int) -> Plan:
    """Set aside what has to follow the search, whose fits see ``fold_rows``."""
    request = learning.request
    cells = len(learning) * len(learning.examples.choices.features)
    split = learning.examples.split
    fitted_again = len(learning)
    if learning.measured_apart:
        fitted_again += len(split.train) + len(split.validation)
    reserve = 0.03 * request.budget_s + CELL_SECONDS * cells * (2 if learning.measured_apart else 1)
    if not learning.task.classes:
        reserve += 0.02 * request.budget_s
    return Plan(
        request.trials,
        min(reserve, 0.3 * request.budget_s),
        learning.copies * fitted_again / fold_rows,
        request.max_scoring_cost,
        request.early_stopping,
        request.seed,
    )


def _recipe(learning: Learning, search: Search) -> Recipe:
    """Fix members, weights and calibration by the held-out rows."""
    classes = learning.task.classes
    calibration = Calibration()
    if classes:
        calibration = calibrate(search.held_margins, search.truth, classes)
    return Recipe(
        learning.task,
        search.members,
        calibration,
        learning.scale,
        learning.copies,
        learning.request.seed,
    )


def _refitted(
    learning: Learning, search: Search, recipe: Recipe, encoder: FittedEncoder, rows: np.ndarray
) -> Refitted:
    """Fit the ensemble to all rows, in what is left of the budget."""
    clock, plan = search.clock, search.plan
    fold_rows = len(search.folds[0].train)
    known = len(learning.examples.split.train) + len(learning.examples.split.validation)
    after = recipe.seconds(known / fold_rows) if learning.measured_apart else 0.0
    share = len(rows) / (len(rows) + known) if learning.measured_apart else 1.0

    def left() -> float:
        rest = clock.left - plan.reserve_s
        return max(rest - after, share * rest, 0.02 * clock.budget_s)

    def tell(number: int, label: str) -> None:
        done = number / max(1, len(recipe.members) * recipe.copies)
        clock.tell(0.65 + 0.2 * done, f"Fitting {label} to all {len(rows)} rows")

    return recipe.refit(learning.rows(encoder.matrix, rows), len(rows) / fold_rows, left, tell)


def _measure(learning: Learning, search: Search, recipe: Recipe) -> Measured:
    """Fit the ensemble without the test rows, and have it predict them."""
    split, clock = learning.examples.split, search.clock
    held = recipe.readable(search.held_margins)
    if not learning.measured_apart:
        blended = search.blended([trial.test_margins for trial in search.usable])
        return Measured(recipe.readable(blended), held, "training")
    known = np.sort(np.concatenate([split.train, split.validation]))
    encoder = learning.encoded(known)

    def left() -> float:
        return max(clock.left - 0.5 * search.plan.reserve_s, 0.02 * clock.budget_s)

    growth = len(known) / len(search.folds[0].train)
    refitted = recipe.refit(learning.rows(encoder.matrix, known), growth, left)
    matrix, _ = encoder.encoder.matrix(learning.examples.table.take(split.test))
    return Measured(refitted.members.margins(matrix), held, "training and validation")
