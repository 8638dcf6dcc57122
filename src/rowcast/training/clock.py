"""What is left of a training's budget, and where it went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rowcast.training import Progress


class Clock:
    """Counts down from the budget, and tells whoever listens how training gets on."""

    def __init__(self, budget_s: float, progress: Progress | None) -> None:
        self.started = self._stage_started = time.monotonic()
        self.budget_s = budget_s
        self.stages: dict[str, float] = {}
        self._stage = ""
        self._fraction = 0.0
        self._progress = progress

    @property
    def elapsed(self) -> float:
        """Seconds since training began."""
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        """Seconds of the budget; infinite without one."""
        return self.budget_s - self.elapsed

    def enter(self, stage: str, fraction: float, message: str) -> None:
        """Begin a stage, and tell whoever listens."""
        now = time.monotonic()
        if self._stage:
            spent = self.stages.get(self._stage, 0.0) + now - self._stage_started
            self.stages[self._stage] = round(spent, 3)
        self._stage, self._stage_started = stage, now
        self.tell(fraction, message)

    def note(self, stage: str, message: str) -> None:
        """Report something that is done, under a name of its own, without entering a stage."""
        if self._progress is not None:
            self._progress(stage, self._fraction, message)

    def tell(self, fraction: float, message: str) -> None:
        """Say how far the present stage is. The fraction told never goes back."""
        self._fraction = max(self._fraction, min(fraction, 1.0))
        if self._progress is not None:
            self._progress(self._stage, self._fraction, message)
