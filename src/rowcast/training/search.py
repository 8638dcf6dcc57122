"""Trying candidates on held-out rows: known good settings first, then tuned ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.training.blend import Blend, greedy_blend
from rowcast.training.candidates import MOST_ROUNDS, Candidate, first_candidates
from rowcast.training.families import CannotFit, Limits, open_family
from rowcast.training.goal import NAMES
from rowcast.training.task import lanes_for, side_by_side

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.training.clock import Clock
    from rowcast.training.families import Fitted, Settings
    from rowcast.training.goal import Goal
    from rowcast.training.task import Rows

PATIENCE = 100
"""Rounds."""
IDLE_TRIALS = 20
"""Tuned candidates that may leave the ensemble no better before tuning is over."""
LEAST_GAIN = 2e-4
"""Share of the loss that counts as better."""
HOPELESS = 1.15
"""A tuned candidate whose first fold has so many times the best one's loss is given up."""
REFIT_ROUNDS = 1.1
"""All rows are more than the search had; they carry so many times the rounds."""
SLACK = 1.15
"""What a refit may take longer than was guessed."""
FIRST_SHARE = 0.22
"""Of the budget, for each of the first candidates."""
STEP_US = 7e-5
"""Measured with 500 trees of 63 leaves on one thread of a machine with AVX-512."""
WORTH_STARTING = 0.35
"""A candidate is started if it can have this share of its usual time."""


@dataclass(frozen=True)
class Fold:
    """Rows to learn from and rows held out, encoded by an encoder of the former."""

    train: Rows
    held: Rows
    held_rows: np.ndarray
    test_matrix: np.ndarray | None = None
    """Encoded test rows, if they are to be predicted by the members of the search."""


@dataclass(frozen=True)
class Trial:
    """A candidate on every fold."""

    label: str
    family: str
    settings: Settings
    loss: float
    """Of all held-out rows together; NaN if it failed."""
    margins: np.ndarray
    """Of the held-out rows, fold after fold."""
    test_margins: np.ndarray | None = None
    """Of the test rows, where the folds have them."""
    rounds: int = 0
    """Mean over the folds."""
    seconds: float = 0.0
    """By the clock."""
    seconds_per_round: float = 0.0
    """Of one fold."""
    cost: float = 0.0
    """Of scoring a row; see ``scoring_cost``."""
    cut_short: bool = False
    note: str = ""
    """Why it failed, or was given up."""


@dataclass(frozen=True)
class Plan:
    """What the search may spend, and what has to follow it."""

    trials: int | None
    """Candidates at most."""
    reserve_s: float
    """For everything after the search but the refits."""
    refits: float
    """Fits of one fold's cost that follow for each member."""
    most_cost: float | None
    early_stopping: bool
    seed: int


@dataclass
class Search:
    """What was tried, and the best ensemble of it."""

    goal: Goal
    folds: Sequence[Fold]
    plan: Plan
    clock: Clock
    trials: list[Trial] = field(default_factory=list)
    blend: Blend | None = None

    @property
    def truth(self) -> np.ndarray:
        """Of the held-out rows, fold after fold."""
        return np.concatenate([fold.held.target for fold in self.folds])

    @property
    def usable(self) -> list[Trial]:
        """Trials that the ensemble may take."""
        return [trial for trial in self.trials if math.isfinite(trial.loss)]

    @property
    def members(self) -> list[tuple[Trial, float]]:
        """The ensemble: trials and weights."""
        assert self.blend is not None  # noqa: S101 - run() has been called
        return [(self.usable[i], weight) for i, weight in self.blend.weights.items()]

    @property
    def held_margins(self) -> np.ndarray:
        """What the ensemble says of the held-out rows."""
        return self.blended([trial.margins for trial in self.usable])

    def blended(self, margins: Sequence[np.ndarray | None]) -> np.ndarray:
        """Add up margins of the usable trials as the ensemble does."""
        assert self.blend is not None  # noqa: S101 - run() has been called
        return self.blend.margins([m for m in margins if m is not None])

    def run(self) -> None:
        """Try candidates until time, trials or hope run out.

        Raises
        ------
        CannotFit
            If no candidate could learn from these rows.
        """
        first = first_candidates(len(self.folds[0].train), self.goal.task)
        for candidate in first[: self.plan.trials]:
            seconds = self._allowed(candidate)
            if seconds is None:
                continue
            self._try(candidate, seconds)
        if not self.usable:
            raise CannotFit("; ".join(f"{trial.label}: {trial.note}" for trial in self.trials))
        if self.plan.trials is None or self.plan.trials > len(self.trials):
            self._tune()

    def _allowed(self, candidate: Candidate) -> float | None:
        """Seconds that a candidate may take; None if it is not worth starting."""
        usual = FIRST_SHARE * self.clock.budget_s
        if not self.usable:
            return max(usual, 0.3 * self.clock.left)
        # If it becomes a member it will be refitted, at about the cost of its trial.
        left = self.clock.left - self.plan.reserve_s - SLACK * self._refit_seconds()
        most = left / (1 + 0.7 * self.plan.refits / len(self.folds))
        same = [t.seconds for t in self.usable if t.family == candidate.family]
        rows = self.folds[0].train
        guess = candidate.expected_seconds(len(rows), rows.matrix.shape[1], self.goal.task)
        expected = same[-1] if same else self._waves * guess
        return min(usual, most) if most > WORTH_STARTING * min(usual, expected) else None

    def _refit_seconds(self) -> float:
        """Guess the seconds of refitting the present ensemble."""
        fits = sum(
            trial.rounds * REFIT_ROUNDS * trial.seconds_per_round * self.plan.refits
            for trial, _ in self.members
        )
        return fits / self._lanes

    def _tune(self) -> None:
        """Draw settings near those that did well, until time, trials or hope run out."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(seed=self.plan.seed, n_startup_trials=6)
        families = sorted({t.family for t in self.usable if open_family(t.family).iterative})
        if not families:
            return
        studies = {name: optuna.create_study(sampler=sampler) for name in families}
        idle = 0
        while self.plan.trials is None or len(self.trials) < self.plan.trials:
            name = self._family_to_tune(families)
            drawn = studies[name].ask()
            earlier = [t for t in self.usable if t.family == name]
            base = min(earlier, key=lambda trial: trial.loss)
            settings = {**base.settings, **open_family(name).suggest(drawn)}
            settings["learning_rate"] = min(0.3, base.settings["learning_rate"])
            if name == "catboost":
                settings.pop("subsample", None)
            candidate = Candidate(f"{_DISPLAY[name]} tuned {drawn.number + 1}", name, settings)
            seconds = self._allowed(candidate)
            if seconds is None:
                break
            before = self.blend.loss if self.blend else math.inf
            trial = self._try(candidate, seconds, tuned=True)
            studies[name].tell(drawn, trial.loss if math.isfinite(trial.loss) else 1e9)
            after = self.blend.loss if self.blend else math.inf
            idle = 0 if after < before * (1 - LEAST_GAIN) else idle + 1
            if self.plan.early_stopping and idle >= IDLE_TRIALS:
                break

    def _family_to_tune(self, families: Sequence[str]) -> str:
        """Take turns, the family of the best single candidate every other time."""
        best = min(self.usable, key=lambda trial: trial.loss).family
        turn = len(self.trials)
        if turn % 2 == 0 and best in families:
            return best
        return families[turn // 2 % len(families)]

    def _try(self, candidate: Candidate, seconds: float, *, tuned: bool = False) -> Trial:
        fold = self.folds[0]
        settings = candidate.settings
        if not tuned:
            settings = candidate.paced(
                len(fold.train),
                fold.train.matrix.shape[1],
                self.goal.task,
                seconds / self._waves,
            )
        self._tell(f"Trying {candidate.label}")
        trial = self._fitted(candidate, settings, seconds, tuned=tuned)
        self.trials.append(trial)
        if math.isfinite(trial.loss):
            usable = self.usable
            self.blend = greedy_blend(
                self.goal,
                [t.margins for t in usable],
                self.truth,
                [t.cost for t in usable],
                self.plan.most_cost,
            )
        self.clock.note("candidate", self._said_of(trial))
        return trial

    def _said_of(self, trial: Trial) -> str:
        """One line of the leaderboard as it grows."""
        if not math.isfinite(trial.loss):
            return f"{trial.label}: {trial.note}"
        name = NAMES[self.goal.objective]
        words = [f"{trial.label}: {name} {trial.loss:.5g}", f"{trial.seconds:.1f} s"]
        if self.blend is not None and len(self.usable) > 1:
            words.append(f"ensemble {self.blend.loss:.5g}")
        return ", ".join(words)

    def _fitted(
        self, candidate: Candidate, settings: Settings, seconds: float, *, tuned: bool
    ) -> Trial:
        family = open_family(candidate.family)
        started, lanes = self.clock.elapsed, self._lanes
        patience = PATIENCE if self.plan.early_stopping else MOST_ROUNDS
        limits = Limits(MOST_ROUNDS, seconds / self._waves, self.plan.seed, patience)

        def on(fold: Fold) -> tuple[Fitted, np.ndarray]:
            one = family.fit(self.goal.task, settings, fold.train, fold.held, limits)
            return one, one.margins(fold.held.matrix)

        first = min(lanes, len(self.folds)) if tuned else len(self.folds)
        try:
            found = side_by_side([partial(on, fold) for fold in self.folds[:first]], lanes)
            if first < len(self.folds):
                if self._is_hopeless(np.concatenate([margins for _, margins in found]), first):
                    return self._failed(candidate, settings, "given up after the first folds")
                found += side_by_side([partial(on, fold) for fold in self.folds[first:]], lanes)
        except CannotFit as error:
            return self._failed(candidate, settings, str(error))
        fitted = [one for one, _ in found]
        together = np.concatenate([margins for _, margins in found])
        if not np.isfinite(together).all():
            return self._failed(candidate, settings, "its margins are not finite")
        return Trial(
            candidate.label,
            candidate.family,
            dict(settings),
            self.goal.loss(together, self.truth),
            together,
            test_margins=self._test_margins(fitted[0]),
            rounds=max(1, round(float(np.mean([one.rounds for one in fitted])))),
            seconds=self.clock.elapsed - started,
            seconds_per_round=sum(one.seconds for one in fitted)
            / max(1, sum(one.rounds_run for one in fitted)),
            cost=self._cost(candidate.family, settings, fitted),
            cut_short=any(one.cut_short for one in fitted),
        )

    def _test_margins(self, fitted: Fitted) -> np.ndarray | None:
        matrix = self.folds[0].test_matrix
        return None if matrix is None else fitted.margins(matrix)

    def _cost(self, family: str, settings: Settings, fitted: Sequence[Fitted]) -> float:
        steps = open_family(family).steps(settings) * self.goal.task.outputs
        return scoring_cost(steps * float(np.mean([one.rounds for one in fitted])))

    @property
    def _lanes(self) -> int:
        """Folds that are fitted side by side."""
        return lanes_for(len(self.folds[0].train))

    @property
    def _waves(self) -> int:
        """Fits that follow each other in a trial."""
        return -(-len(self.folds) // self._lanes)

    def _is_hopeless(self, margins: np.ndarray, folds: int) -> bool:
        """Compare a candidate with the best one on the first folds."""
        truth = np.concatenate([fold.held.target for fold in self.folds[:folds]])
        best = min(self.goal.loss(t.margins[: len(truth)], truth) for t in self.usable)
        return self.goal.loss(margins, truth) > HOPELESS * best

    def _failed(self, candidate: Candidate, settings: Settings, why: str) -> Trial:
        nothing = np.empty((0, 0))
        return Trial(candidate.label, candidate.family, dict(settings), math.nan, nothing, note=why)

    def _tell(self, doing: str) -> None:
        """Say what is tried, the best so far, and the time left."""
        done = self.clock.elapsed / self.clock.budget_s
        if self.plan.trials is not None:
            done = max(done, len(self.trials) / self.plan.trials)
        words = [doing]
        if self.blend is not None:
            words.append(f"best {NAMES[self.goal.objective]} {self.blend.loss:.5g}")
            words.append(f"{len(self.trials)} tried")
        self.clock.tell(0.1 + 0.55 * min(1.0, done / 0.65), ", ".join(words))


def scoring_cost(steps: float) -> float:
    """Microseconds that scoring a row takes on one thread, roughly: a guess from the size of the
    trees, the same on every machine.
    """
    return steps * STEP_US


_DISPLAY = {"lightgbm": "LightGBM", "catboost": "CatBoost", "xgboost": "XGBoost"}


def summary(trials: Sequence[Trial], weights: dict[str, float]) -> list[dict[str, Any]]:
    """The leaderboard: best first, failures last."""
    ranked = sorted(trials, key=lambda t: (not math.isfinite(t.loss), t.loss))
    return [
        {
            "name": trial.label,
            "family": trial.family,
            "loss": trial.loss if math.isfinite(trial.loss) else None,
            "weight": weights.get(trial.label, 0.0),
            "rounds": trial.rounds,
            "scoringCost": round(trial.cost, 3),
            **({"note": trial.note} if trial.note else {}),
        }
        for trial in ranked
    ]
