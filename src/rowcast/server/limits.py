"""How many requests a caller may send: a bucket of allowances each, which fills as time goes by."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KEYS = 10_000
"""Callers that are remembered; of more, those that have been quiet longest are forgotten."""


class RateLimiter:
    """Allows each key ``per_second`` requests a second, and ``burst`` at once. For one thread.

    Parameters
    ----------
    per_second : float
        0 allows everything.
    """

    def __init__(
        self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = per_second
        self._burst = max(1.0, burst)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str, *, take: bool = True) -> float:
        """Take an allowance, or only look; if there is none, return the seconds until there is."""
        if self._rate <= 0:
            return 0.0
        now = self._clock()
        left, then = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        allowed = left >= 1
        self._left[key] = (left - 1 if allowed and take else left, now)
        if len(self._left) > MAX_KEYS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate
