"""What the members of an ensemble are to learn, and from which rows."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rowcast.training.request import Objective

SMALL_ROWS = 5_000
"""Below this many rows several threads cost more than they bring."""

T = TypeVar("T")
Link = Literal["logistic", "softmax", "identity", "expm1"]
"""From margins to what users read."""


@dataclass(frozen=True)
class Task:
    """The loss that every family of members minimises, on margins."""

    loss: Literal["log-loss", "squared", "absolute"]
    classes: int
    """0 for a quantity."""
    link: Link

    @classmethod
    def of(cls, classes: int, objective: Objective) -> Task:
        """Choose for a problem of so many classes; 0 for a quantity."""
        if classes:
            return cls("log-loss", classes, "logistic" if classes == 2 else "softmax")
        if objective == "minimize-rmsle":
            return cls("squared", 0, "expm1")
        return cls("absolute" if objective == "minimize-mae" else "squared", 0, "identity")

    @property
    def outputs(self) -> int:
        """Columns of the margins."""
        return self.classes if self.classes > 2 else 1


@dataclass(frozen=True)
class Rows:
    """A matrix with what it should lead to."""

    matrix: np.ndarray
    """float64 of shape (n_rows, n_columns), NaN meaning missing."""
    target: np.ndarray
    """Class numbers, or margins of mean 0 and deviation 1."""
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Scale:
    """Margins of a quantity are learnt with mean 0 and deviation 1, which suits every family."""

    center: float = 0.0
    width: float = 1.0

    @classmethod
    def of(cls, target: np.ndarray) -> Scale:
        """Measure the target's margins."""
        width = float(np.std(target))
        return cls(float(np.mean(target)), width if width > 0 else 1.0)

    def shrink(self, target: np.ndarray) -> np.ndarray:
        """Bring margins to mean 0 and deviation 1."""
        return (target - self.center) / self.width


def threads_for(rows: int) -> int:
    """How many threads of one fit are worth their cost."""
    return 1 if rows < SMALL_ROWS else cores()


def bins_for(rows: int) -> int:
    """How finely a column is cut for trees: on few rows, bins cost more than they tell."""
    return 63 if rows < 2_000 else 127 if rows < SMALL_ROWS else 255


def lanes_for(rows: int) -> int:
    """How many fits go side by side: as many as leave each its threads."""
    return cores() // threads_for(rows)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(fits: Sequence[Callable[[], T]], lanes: int) -> list[T]:
    """Run fits on ``lanes`` threads; results are in the order of the fits.

    The libraries let go of the interpreter while they grow trees.
    """
    if lanes == 1 or len(fits) == 1:
        return [fit() for fit in fits]
    with ThreadPoolExecutor(lanes) as pool:
        return list(pool.map(lambda fit: fit(), fits))
