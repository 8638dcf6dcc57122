"""What the runs found: one JSON line each, in a file that a later call goes on with."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RECORDED_NAMES = {"ag_mq": "autogluon_mq", "ag_good": "autogluon_good"}
"""Names that recorded figures have for systems of this comparison."""


@dataclass(frozen=True)
class Run:
    """One system on one set."""

    system: str
    name: str
    """Of the set."""
    budget_s: float
    facts: dict[str, Any]
    recorded: bool = False
    """Not run here: a figure that another machine, or another day, left."""

    @property
    def loss(self) -> float:
        """Log loss or root mean squared error of the test rows; infinite if the run failed."""
        return float(self.facts.get("logloss", self.facts.get("rmse", math.inf)))

    @property
    def failed(self) -> str | None:
        """Why it has no loss."""
        reason: str | None = self.facts.get("failed")
        return reason

    @property
    def key(self) -> tuple[str, str, float]:
        """A run is made once for each of these."""
        return self.system, self.name, self.budget_s

    def line(self) -> str:
        """As the results file has it."""
        named = {"system": self.system, "name": self.name, "budget": self.budget_s}
        return json.dumps({**named, **self.facts}) + "\n"


def read_runs(path: Path, *, recorded: bool = False) -> list[Run]:
    """Read a results file; of several runs with one key, the last."""
    if not path.exists():
        return []
    found: dict[tuple[str, str, float], Run] = {}
    for line in path.read_text().splitlines():
        facts = json.loads(line)
        system, name, budget = (facts.pop(key) for key in ("system", "name", "budget"))
        system = RECORDED_NAMES.get(system, system) if recorded else system
        run = Run(system, name, budget, facts, recorded)
        found[run.key] = run
    return list(found.values())


def fill_in(runs: list[Run], recorded: Iterable[Run], wanted: Iterable[str]) -> list[Run]:
    """Put a recorded figure where a wanted system has no loss of this comparison's own."""
    known = {(run.system, run.name): run for run in runs}
    names, systems = {run.name for run in runs}, set(wanted)
    for run in recorded:
        mine = known.get((run.system, run.name))
        if run.system in systems and run.name in names and (mine is None or mine.failed):
            known[run.system, run.name] = run
    return list(known.values())
