"""When to stop growing: after the best round, or by the clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rowcast.training.families import Limits

LEAST_GAIN = 1e-5
"""What counts as better: so much of a log loss, or so large a share of a larger loss."""


class Watch:
    """Told the loss of the held-out rows after every round."""

    def __init__(self, limits: Limits) -> None:
        self.started = time.monotonic()
        self.limits = limits
        self.rounds, self.best_round, self.best_loss = 0, 0, float("inf")
        self.cut_short = False

    def stops(self, loss: float | None) -> bool:
        """Take note of one more round; without held-out rows its loss is None."""
        self.rounds += 1
        if loss is not None:
            least = LEAST_GAIN * max(1.0, self.best_loss) if self.best_round else 0.0
            if not self.best_round or loss < self.best_loss - least:
                self.best_round, self.best_loss = self.rounds, loss
            if self.rounds - self.best_round >= self.limits.patience:
                return True
        if self.seconds > self.limits.seconds:
            self.cut_short = True
        return self.cut_short

    @property
    def seconds(self) -> float:
        """Since the watch was made."""
        return time.monotonic() - self.started

    @property
    def kept(self) -> int:
        """Rounds to keep."""
        return self.best_round or self.rounds
