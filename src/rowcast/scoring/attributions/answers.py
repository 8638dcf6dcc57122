"""The answers that are to be explained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Answers:
    """What was answered, and what of it is to be explained."""

    scores: np.ndarray
    """float64 of shape (n, n_outputs): each row's."""
    at_baseline: np.ndarray
    """float64 of shape (n_outputs,)."""
    wanted: np.ndarray
    """int64 of shape (n, k): the outputs to explain."""

    def rows(self, where: slice) -> Answers:
        """Those of some rows."""
        return Answers(self.scores[where], self.at_baseline, self.wanted[where])

    @property
    def distances(self) -> np.ndarray:
        """From the baseline's answers: float64 of shape (n, k)."""
        own = np.take_along_axis(self.scores, self.wanted, axis=1)
        return np.asarray(own - self.at_baseline[self.wanted])
