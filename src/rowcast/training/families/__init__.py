"""Kinds of members that an ensemble can have: the seam, and the libraries behind it.

A family fits margins: log-odds, a log-score for each class, or a value in units of the target's
deviation. Whatever library grew it, a member scores from plain arrays afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from rowcast.scoring.forest import Forest
    from rowcast.scoring.linear import Linear
    from rowcast.training.task import Rows, Task

FAMILIES = {  # name -> (library that must be there, "module:class"), imported on first use
    "lightgbm": ("lightgbm", "rowcast.training.families.lightgbm:LightGbm"),
    "catboost": ("catboost", "rowcast.training.families.catboost:CatBoost"),
    "xgboost": ("xgboost", "rowcast.training.families.xgboost:XgBoost"),
    "linear": ("scipy", "rowcast.training.families.linear:LinearModel"),
}
Settings = dict[str, Any]


@dataclass(frozen=True)
class Limits:
    """When a fit has to end."""

    rounds: int
    seconds: float
    """At least one round is run whatever the clock says."""
    seed: int
    patience: int
    """Rounds without a better loss of the held-out rows."""


@dataclass(frozen=True)
class Fitted:
    """A member, and how it came to its size."""

    margins: Callable[[np.ndarray], np.ndarray]
    """Matrix to margins, of shape (n_rows, outputs), by the family's own library."""
    export: Callable[[], Forest | Linear]
    """The same as plain arrays."""
    rounds: int
    """Rounds kept: the best ones, or all without held-out rows."""
    rounds_run: int
    seconds: float
    cut_short: bool
    """The clock ended it."""


class Family(Protocol):
    """Fits members of one kind. The same arguments give the same member, unless the clock
    ends the fit.
    """

    iterative: bool
    """Its members grow in rounds, each of about the same cost."""
    round_seconds: float
    """Of one round, for each output, however small the table."""
    cell_seconds: float
    """Of one round, for each row, column and output, on top of that."""
    travel: float
    """Learning rate times rounds that a fit needs, roughly."""

    def fit(
        self,
        task: Task,
        settings: Mapping[str, Any],
        train: Rows,
        held: Rows | None,
        to: Limits,
        /,
    ) -> Fitted:
        """Fit to ``train``, and stop where ``held`` is predicted best.

        Raises
        ------
        CannotFit
            If this family cannot learn from these rows.
        """
        ...

    def suggest(self, draw: Draw) -> Settings:
        """Draw settings from the family's space."""
        ...

    def steps(self, settings: Mapping[str, Any]) -> float:
        """Steps of the scorer for each round and output."""
        ...


class Draw(Protocol):
    """Where settings come from; ``optuna.Trial`` is one."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        """Draw a whole number."""
        ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Draw a number."""
        ...


class CannotFit(Exception):
    """A family cannot learn from these rows; others may."""


def cut(text: object) -> str:
    """Keep the first line of a library's message, which may go on with a stack."""
    return str(text).partition("\n")[0][:300]


def installed(name: str) -> bool:
    """Tell whether the library of a family is there."""
    return find_spec(FAMILIES[name][0]) is not None


@cache
def open_family(name: str) -> Family:
    """Import a family."""
    module, _, kind = FAMILIES[name][1].partition(":")
    return cast("Family", getattr(import_module(module), kind)())
