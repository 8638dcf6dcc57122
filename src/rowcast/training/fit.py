"""From a table to a trained model: split, search, measure, refit."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.core.model import ModelSpec
from rowcast.core.schema import ModelSchema
from rowcast.predictors.boosted import ARRAYS, FOREST, SPREAD_FOREST
from rowcast.scoring.intervals import LEVEL, Bounds, signed_quantiles
from rowcast.scoring.kernels.links import sigmoid_scores, softmax_scores
from rowcast.scoring.profile import PROFILE
from rowcast.training import Progress, TrainedModel
from rowcast.training.boost import (
    CANDIDATES,
    MOST_ROUNDS,
    SPREAD,
    SPREAD_ROUNDS,
    Grown,
    Rows,
    Task,
    grow,
)
from rowcast.training.columns import FittedEncoder, fit_encoder
from rowcast.training.data import Source, read_table
from rowcast.training.evaluate import classification_metrics, regression_metrics
from rowcast.training.examples import Examples, prepare
from rowcast.training.profile import training_profile
from rowcast.training.split import Split, draw_split

if TYPE_CHECKING:
    from rowcast.training.request import Request

SMALL = 10_000
"""Rows times outputs below which candidates are cross-validated."""
FOLDS = 5
REFIT_ROUNDS = 1.1
"""All rows are more than the search had; they carry so many times the rounds."""
FIRST_SHARE = 0.4
"""Of the budget, for the first candidate; its refit needs nearly as much again."""
WORTH_TRYING = 0.6
"""A further candidate is tried if it can have this share of the best one's time."""
CELL_SECONDS = 1e-6
"""What encoding and the interval cost, roughly."""
LARGE_ORDER = ("medium", "large", "small")
SMALL_ORDER = ("medium", "small", "large")
SPREAD_ROWS = 200
MOST_SPREAD_ROWS = 30_000
SPREAD_FOLDS = 3


class Clock:
    """What is left of the budget, and where it went."""

    def __init__(self, budget_s: float, progress: Progress | None) -> None:
        self.started = self._stage_started = time.monotonic()
        self.budget_s = budget_s
        self.stages: dict[str, float] = {}
        self._stage = ""
        self._progress = progress

    @property
    def elapsed(self) -> float:
        """Seconds since training began."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds of the budget."""
        return self.budget_s - self.elapsed

    def enter(self, stage: str, fraction: float, message: str) -> None:
        """Begin a stage, and tell whoever listens."""
        now = time.monotonic()
        if self._stage:
            spent = self.stages.get(self._stage, 0.0) + now - self._stage_started
            self.stages[self._stage] = round(spent, 3)
        self._stage, self._stage_started = stage, now
        if self._progress is not None:
            self._progress(stage, fraction, message)


@dataclass(frozen=True)
class Fold:
    """Rows to learn from and rows held out, encoded by an encoder of the former."""

    train: Rows
    held: Rows
    held_rows: np.ndarray
    encoder: FittedEncoder


@dataclass(frozen=True)
class Trial:
    """A candidate on every fold."""

    label: str
    settings: dict[str, Any]
    grown: tuple[Grown, ...]

    @property
    def loss(self) -> float:
        """Mean over the folds."""
        return float(np.mean([grown.loss for grown in self.grown]))

    @property
    def rounds(self) -> int:
        """Mean over the folds."""
        return max(1, round(float(np.mean([grown.rounds for grown in self.grown]))))

    @property
    def seconds(self) -> float:
        """Of all folds."""
        return sum(grown.seconds for grown in self.grown)

    @property
    def seconds_per_round(self) -> float:
        """Of one fold."""
        return self.seconds / max(1, sum(grown.rounds_run for grown in self.grown))

    @property
    def cut_short(self) -> bool:
        """The clock ended it."""
        return any(grown.cut_short for grown in self.grown)


@dataclass
class Search:
    """What was tried, and the best of it."""

    folds: list[Fold]
    trials: list[Trial] = field(default_factory=list)

    @property
    def best(self) -> Trial:
        """Least loss; the earlier one if equal."""
        return min(self.trials, key=lambda trial: trial.loss)


def fit(source: Source, request: Request, progress: Progress | None = None) -> TrainedModel:
    """Train. See ``rowcast.training.train``."""
    request.check()
    clock = Clock(request.budget_s, progress)
    clock.enter("read", 0.0, "Reading the training data")
    examples = prepare(read_table(source), request)
    task = Task.of(len(examples.target.classes))
    split = draw_split(len(examples), request.seed)
    clock.enter("encode", 0.05, f"Encoding {len(examples)} rows")
    search = Search(_folds(examples, task, split, request.seed))
    _search(search, examples, task, request, clock)
    clock.enter("evaluate", 0.6, "Measuring on the test rows")
    measured = _measure(search, examples, task, split, request, clock)
    clock.enter("fit", 0.7, f"Fitting to all {len(examples)} rows")
    everything = np.arange(len(examples))
    encoder = _encoded(examples, everything, request.seed)
    final = _refit(search.best, examples, encoder, task, request, clock)
    arrays = dict(encoder.arrays)
    details: dict[str, Any] = {"forests": [FOREST], "objective": task.objective}
    members = {FOREST: final.text().encode()}
    facts = _facts(examples, search, final, split, request)
    facts["metrics"] = measured.metrics
    if not examples.target.classes:
        clock.enter("interval", 0.9, "Measuring residuals")
        bounds, spread, coverage = _interval(measured, encoder.matrix, request.seed)
        details["interval"] = {"low": bounds.low, "high": bounds.high, "floor": bounds.floor}
        facts["interval"] = coverage
        if spread is not None:
            details["forests"].append(SPREAD_FOREST)
            members[SPREAD_FOREST] = spread.text().encode()
    members[ARRAYS] = _saved(arrays)
    seen = measured.predicted
    members[PROFILE] = training_profile(
        examples.table,
        encoder.encoder,
        examples.target,
        class_scores(seen, len(examples.target.classes)) if examples.target.classes else seen,
    )
    spec = ModelSpec(
        name=request.name,
        predictor="boosted",
        schema=ModelSchema(encoder.features, examples.target),
        encoder=encoder.entries,
        details=details,
        training=facts,
        versions=_versions(),
    )
    clock.enter("done", 1.0, "Trained")
    cut_short = final.cut_short or any(trial.cut_short for trial in search.trials)
    times = {"seconds": round(clock.elapsed, 3), "stages": clock.stages}
    return TrainedModel(spec, members, {**facts, **times, "cut_short": cut_short})


def _encoded(examples: Examples, rows: np.ndarray, seed: int) -> FittedEncoder:
    table = examples.table if len(rows) == len(examples) else examples.table.take(rows)
    return fit_encoder(table, examples.choices.features, examples.outcome(rows), seed)


def _rows(examples: Examples, matrix: np.ndarray, rows: np.ndarray) -> Rows:
    return Rows(matrix, examples.truth[rows], examples.weights[rows])


def _folds(examples: Examples, task: Task, split: Split, seed: int) -> list[Fold]:
    """Cut what is not for testing: once, or five times if it is little."""
    if len(examples) * task.outputs >= SMALL:
        cuts = [(split.train, split.validation)]
    else:
        known = np.sort(np.concatenate([split.train, split.validation]))
        places = np.random.default_rng([seed, 2]).permutation(len(known)) % FOLDS
        cuts = [(known[places != k], known[places == k]) for k in range(FOLDS)]
    return [_fold(examples, train, held, seed) for train, held in cuts]


def _fold(examples: Examples, train: np.ndarray, held: np.ndarray, seed: int) -> Fold:
    encoder = _encoded(examples, train, seed)
    matrix, _ = encoder.encoder.matrix(examples.table.take(held))
    return Fold(
        _rows(examples, encoder.matrix, train), _rows(examples, matrix, held), held, encoder
    )


def _search(search: Search, examples: Examples, task: Task, request: Request, clock: Clock) -> None:
    """Try the candidates in order, as long as whichever is best can still be refitted."""
    order = LARGE_ORDER if len(examples) >= SMALL else SMALL_ORDER
    for number, label in enumerate(order):
        fraction = 0.1 + 0.5 * number / len(order)
        if not search.trials:
            seconds = max(FIRST_SHARE * clock.budget_s - clock.elapsed, 0.1 * clock.budget_s)
        else:
            best = search.best
            own_refit = REFIT_ROUNDS * _fits_after(search, examples) / len(search.folds)
            seconds = min(
                0.95 * clock.left - 1.2 * _refit_seconds(best, search, examples),
                0.85 * clock.left / (1 + own_refit),
            )
            if seconds < WORTH_TRYING * best.seconds:
                break
        clock.enter("search", fraction, f"Growing trees, {label} size")
        ends = clock.elapsed + seconds
        grown = []
        for index, fold in enumerate(search.folds):
            share = max(0.0, ends - clock.elapsed) / (len(search.folds) - index)
            grown.append(
                grow(
                    task,
                    CANDIDATES[label],
                    fold.train,
                    fold.held,
                    seconds=share,
                    seed=request.seed,
                    early_stopping=request.early_stopping,
                )
            )
        search.trials.append(Trial(label, CANDIDATES[label], tuple(grown)))


def _fits_after(search: Search, examples: Examples) -> float:
    """How many fits of one fold's cost follow the search: the refit, and with folds one more."""
    growth = len(examples) / len(search.folds[0].train.target)
    return growth * (2 if len(search.folds) > 1 else 1)


def _refit_seconds(trial: Trial, search: Search, examples: Examples) -> float:
    """Guess the seconds of what is left to do after the search."""
    fit = trial.rounds * REFIT_ROUNDS * trial.seconds_per_round
    encoding = len(examples) * len(examples.choices.features) * CELL_SECONDS
    return fit * _fits_after(search, examples) + encoding


@dataclass(frozen=True)
class Measured:
    """The best candidate on rows it did not see."""

    metrics: dict[str, Any]
    rows: np.ndarray
    """Held-out rows: test, and validation or all folds."""
    predicted: np.ndarray
    """Margins of those rows; of shape (n,) for regression."""
    truth: np.ndarray


def _measure(
    search: Search,
    examples: Examples,
    task: Task,
    split: Split,
    request: Request,
    clock: Clock,
) -> Measured:
    best = search.best
    if len(search.folds) == 1:
        grown, encoder = best.grown[0], search.folds[0].encoder
    else:
        known = np.sort(np.concatenate([split.train, split.validation]))
        encoder = _encoded(examples, known, request.seed)
        grown = grow(
            task,
            best.settings,
            _rows(examples, encoder.matrix, known),
            None,
            rounds=best.rounds,
            seconds=max(0.4 * clock.left, 0.05 * clock.budget_s),
            seed=request.seed,
        )
    matrix, _ = encoder.encoder.matrix(examples.table.take(split.test))
    tested = grown.margins(matrix)
    truth = examples.truth[split.test]
    classes = examples.target.classes
    if classes:
        metrics = classification_metrics(class_scores(tested, len(classes)), truth, classes)
    else:
        metrics = dict(regression_metrics(tested, truth))
    held = [
        forest.margins(fold.held.matrix)
        for forest, fold in zip(best.grown, search.folds, strict=True)
    ]
    rows = np.concatenate([split.test, *(fold.held_rows for fold in search.folds)])
    return Measured(metrics, rows, np.concatenate([tested, *held]), examples.truth[rows])


def class_scores(margins: np.ndarray, n_classes: int) -> np.ndarray:
    """Turn margins to scores, as the predictor does."""
    scores = np.empty((len(margins), n_classes))
    if n_classes == 2:
        sigmoid_scores(np.ascontiguousarray(margins.reshape(len(margins))), scores)
    else:
        softmax_scores(np.ascontiguousarray(margins), scores)
    return scores


def _refit(
    best: Trial,
    examples: Examples,
    encoder: FittedEncoder,
    task: Task,
    request: Request,
    clock: Clock,
) -> Grown:
    rounds = min(MOST_ROUNDS, max(1, round(REFIT_ROUNDS * best.rounds)))
    everything = np.arange(len(examples))
    reserve = 0.05 * clock.budget_s
    return grow(
        task,
        best.settings,
        _rows(examples, encoder.matrix, everything),
        None,
        rounds=rounds,
        seconds=max(clock.left - reserve, 0.05 * clock.budget_s),
        seed=request.seed,
    )


def _interval(
    measured: Measured, matrix: np.ndarray, seed: int
) -> tuple[Bounds, Grown | None, dict[str, float]]:
    """Calibrate 95 % bounds on the held-out residuals, and measure their coverage.

    The small model of the absolute residual is cross-fitted for calibration, and coverage is
    measured on each fold with the quantiles of the others. The served model is then refitted on
    all rows, so its own coverage is expected, not guaranteed, to be the same.
    """
    residuals = measured.truth - measured.predicted
    rows = measured.rows
    if len(rows) > MOST_SPREAD_ROWS:
        drawn = np.random.default_rng([seed, 3]).permutation(len(rows))[:MOST_SPREAD_ROWS]
        rows, residuals = rows[np.sort(drawn)], residuals[np.sort(drawn)]
    sizes = np.abs(residuals)
    floor = max(float(np.quantile(sizes, 0.5)) / 5, float(sizes.max()) * 1e-6, 1e-300)
    places = np.random.default_rng([seed, 4]).permutation(len(rows)) % SPREAD_FOLDS
    spread, scales = None, np.ones(len(rows))
    if len(rows) >= SPREAD_ROWS:
        for k in range(SPREAD_FOLDS):
            inside = _grow_spread(matrix[rows[places != k]], sizes[places != k], seed)
            scales[places == k] = inside.margins(matrix[rows[places == k]])
        scales = np.maximum(scales, floor)
        spread = _grow_spread(matrix[rows], sizes, seed)
    ratios = residuals / scales
    covered = np.zeros(len(rows), np.bool_)
    for k in range(SPREAD_FOLDS):
        low, high = signed_quantiles(ratios[places != k])
        covered[places == k] = (ratios[places == k] >= low) & (ratios[places == k] <= high)
    low, high = signed_quantiles(ratios)
    facts = {
        "level": LEVEL,
        "heldOutRows": len(rows),
        "heldOutCoverage": float(covered.mean()),
        "meanWidth": float(((high - low) * scales).mean()),
    }
    return Bounds(low, high, floor), spread, facts


def _grow_spread(matrix: np.ndarray, sizes: np.ndarray, seed: int) -> Grown:
    rows = Rows(matrix, sizes, np.ones(len(sizes)))
    task = Task.of(0)
    return grow(task, SPREAD, rows, None, rounds=SPREAD_ROUNDS, seconds=float("inf"), seed=seed)


def _facts(
    examples: Examples, search: Search, final: Grown, split: Split, request: Request
) -> dict[str, Any]:
    """Collect what ``ModelSpec.training`` says; nothing of it depends on the clock alone."""
    best = search.best
    warnings = list(examples.warnings)
    if final.cut_short:
        warnings.append(
            f"The time budget ended the last fit after {final.rounds} rounds; "
            f"{round(REFIT_ROUNDS * best.rounds)} were meant."
        )
    return {
        "rows": len(examples),
        "rowsLeftOut": dict(examples.left_out),
        "split": {
            "training": len(split.train),
            "validation": len(split.validation),
            "test": len(split.test),
        },
        "crossValidated": len(search.folds) > 1,
        "predictionType": examples.target.prediction_type,
        "predictionTypeReason": examples.reason,
        "kinds": {choice.name: choice.kind for choice in examples.choices.features},
        "dropped": dict(examples.choices.dropped),
        "candidates": [
            {"name": trial.label, "loss": trial.loss, "rounds": trial.rounds}
            for trial in search.trials
        ],
        "candidate": best.label,
        "rounds": final.rounds,
        "seed": request.seed,
        "warnings": warnings,
    }


def _saved(arrays: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return bytes(save({key: np.ascontiguousarray(value) for key, value in arrays.items()}))


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("rowcast", "lightgbm", "numpy", "pyarrow")}
