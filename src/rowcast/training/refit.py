"""Fitting the chosen members again, to more rows than the search had."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rowcast.predictors.boosted import Members
from rowcast.scoring.forest import Forest, merge_forests
from rowcast.training.candidates import MOST_RATE, MOST_ROUNDS
from rowcast.training.families import Limits, open_family
from rowcast.training.search import REFIT_ROUNDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np

    from rowcast.scoring.linear import Linear
    from rowcast.training.blend import Calibration
    from rowcast.training.families import Fitted
    from rowcast.training.search import Trial
    from rowcast.training.task import Rows, Scale, Task

MOST_HASTE = 4.0
"""How many times the learning rate may be raised, and the rounds divided, to be in time."""


@dataclass(frozen=True)
class Refitted:
    """The ensemble on some rows, with its margins in the target's unit, calibrated."""

    forest: Forest | None
    linear: Linear | None
    members: Members
    cut_short: tuple[str, ...] = ()
    """Members that the clock ended."""
    haste: float = 1.0
    """How many times faster than planned they had to learn."""


@dataclass(frozen=True)
class Recipe:
    """What the search found: members, weights, and what makes their margins readable."""

    task: Task
    members: Sequence[tuple[Trial, float]]
    calibration: Calibration
    scale: Scale
    copies: int
    """Fits of each member that differ in the seed and are averaged."""
    seed: int

    def readable(self, margins: np.ndarray) -> np.ndarray:
        """Turn margins of the search into the target's unit, and calibrate them."""
        return self.calibration.apply(margins) * self.scale.width + self.scale.center

    def uncalibrated(self, margins: np.ndarray) -> np.ndarray:
        """Undo the calibration of readable margins of classes."""
        return (margins - self.calibration.shift) / self.calibration.factor

    def seconds(self, growth: float) -> float:
        """Guess how long a refit takes to ``growth`` times the rows of a fold."""
        return growth * sum(
            trial.rounds * REFIT_ROUNDS * trial.seconds_per_round * self.copies
            for trial, _ in self.members
        )

    def refit(
        self,
        rows: Rows,
        growth: float,
        left: Callable[[], float],
        tell: Callable[[int, str], None] | None = None,
    ) -> Refitted:
        """Fit every member to ``rows``, and add them up.

        Parameters
        ----------
        rows
            What to learn from.
        growth
            Rows for each row of a fold of the search.
        left
            Seconds that are left for it.
        tell
            Called with the number and label of each fit before it starts.
        """
        haste = min(MOST_HASTE, max(1.0, self.seconds(growth) / max(left(), 1e-3)))
        fits = [(trial, weight, k) for trial, weight in self.members for k in range(self.copies)]
        ahead = [trial.rounds * trial.seconds_per_round for trial, _, _ in fits]
        forests: list[tuple[Forest, float]] = []
        linear: Linear | None = None
        cut = []
        for number, (trial, weight, copy) in enumerate(fits):
            if tell is not None:
                tell(number, trial.label)
            share = ahead[number] / max(sum(ahead[number:]), 1e-12)
            fitted = self._fit(trial, rows, haste, max(left(), 0.0) * share, copy)
            if fitted.cut_short:
                cut.append(trial.label)
            member = fitted.export()
            factor = weight / self.copies * self.calibration.factor * self.scale.width
            if isinstance(member, Forest):
                forests.append((member, factor))
            elif linear is None:
                linear = member.times(factor)
            else:
                linear = linear.plus(member.times(factor))
        shift = self.calibration.shift + self.scale.center
        forest = merge_forests(*zip(*forests, strict=True)) if forests else None
        if forest is not None:
            forest = replace(forest, base=forest.base + shift)
        elif linear is not None:
            linear = linear.raised(shift)
        return Refitted(forest, linear, Members.of(forest, linear), tuple(cut), haste)

    def _fit(self, trial: Trial, rows: Rows, haste: float, seconds: float, copy: int) -> Fitted:
        family = open_family(trial.family)
        settings = dict(trial.settings)
        rounds = round(REFIT_ROUNDS * trial.rounds)
        if haste > 1 and family.iterative:
            rate = min(MOST_RATE, settings["learning_rate"] * haste)
            rounds = math.ceil(rounds * settings["learning_rate"] / rate)
            settings["learning_rate"] = rate
        limits = Limits(min(MOST_ROUNDS, max(1, rounds)), seconds, self.seed + copy, MOST_ROUNDS)
        return family.fit(self.task, settings, rows, None, limits)
