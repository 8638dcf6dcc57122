"""The systems that are compared, each behind the same two calls.

A system's module is imported in a child process with the Python of its environment.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pandas as pd

    from bench.datasets import TableSet

OWN = None  # the environment that the project itself runs in

SYSTEMS: dict[str, tuple[str | None, str, dict[str, str]]] = {
    "rowcast": (OWN, "bench.automl.systems.rowcast:Rowcast", {}),
    "lightgbm": (OWN, "bench.automl.systems.lightgbm:TunedLightgbm", {}),
    "flaml": ("flaml", "bench.automl.systems.flaml:Flaml", {}),
    "autogluon_mq": (
        "autogluon",
        "bench.automl.systems.autogluon:AutoGluon",
        {"preset": "medium_quality"},
    ),
    "autogluon_good": (
        "autogluon",
        "bench.automl.systems.autogluon:AutoGluon",
        {"preset": "good_quality"},
    ),
}
"""Name -> environment, "module:class", arguments."""


@dataclass(frozen=True)
class Terms:
    """What every system gets."""

    budget_s: float
    cores: int
    seed: int


class System(Protocol):
    """A system with its defaults, told no more than what it predicts and how long it may take."""

    packages: tuple[str, ...]
    """Distributions whose versions are recorded."""

    def fit(self, table: TableSet, terms: Terms, folder: Path) -> None:
        """Train on ``table.train``; this is what is timed."""
        ...

    def save(self, folder: Path) -> Path:
        """Get ready to predict; the file or folder that has all that predicting needs."""
        ...

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        """Values of shape (n,), or scores of shape (n, n_classes) in the order of ``classes``."""
        ...


def open_system(name: str) -> System:
    """Import a system into this process, which must be of its environment."""
    _, place, arguments = SYSTEMS[name]
    module, _, class_ = place.partition(":")
    system: System = getattr(import_module(module), class_)(**arguments)
    return system
