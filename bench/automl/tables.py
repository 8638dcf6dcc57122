"""Runs as Markdown tables: losses, costs, and one line for each system."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.automl.runs import Run

Grid = dict[str, dict[str, "Run"]]
"""Set -> system -> run."""


def grid_of(runs: Iterable[Run]) -> Grid:
    """Arrange runs by set, then by system."""
    grid: Grid = {}
    for run in runs:
        grid.setdefault(run.name, {})[run.system] = run
    return grid


def ranks(row: dict[str, Run]) -> dict[str, float]:
    """Rank the systems of one set by loss, from 1; equals share the mean of their ranks."""
    losses = [run.loss for run in row.values()]
    return {
        system: 1 + sum(x < run.loss for x in losses) + (losses.count(run.loss) - 1) / 2
        for system, run in row.items()
    }


def ratio(row: dict[str, Run], system: str) -> float:
    """Divide a system's loss by the best of the set."""
    return row[system].loss / min(run.loss for run in row.values())


def loss_table(grid: Grid, systems: Sequence[str]) -> list[str]:
    """Loss, rank, and ratio to the set's best."""
    lines = _header(["set", "loss", *systems])
    for name, row in grid.items():
        place = ranks(row)
        kind = "RMSE" if any("rmse" in run.facts for run in row.values()) else "log loss"
        lines.append(_line([name, kind, *(_loss_cell(row, s, place) for s in systems)]))
    return lines


def _loss_cell(row: dict[str, Run], system: str, place: dict[str, float]) -> str:
    if system not in row:
        return ""
    run = row[system]
    if run.failed:
        return "failed"
    mark = " (recorded)" if run.recorded else ""
    cell = f"{run.loss:.4g}{mark} #{place[system]:g} {ratio(row, system):.3f}"
    return f"**{cell}**" if place[system] == 1 else cell


def cost_table(grid: Grid, systems: Sequence[str]) -> list[str]:
    """Seconds to train, seconds to predict 100,000 rows, megabytes of what predicting needs."""
    lines = _header(["set", *systems])
    for name, row in grid.items():
        lines.append(_line([name, *(_cost_cell(row.get(system)) for system in systems)]))
    return lines


def _cost_cell(run: Run | None) -> str:
    if run is None or run.failed:
        return ""
    facts = run.facts
    mark = " (recorded)" if run.recorded else ""
    costs = f"{facts['train_s']:.1f} / {facts['pred_s_100k']:.2f} / {facts['size_mb']:.2f}"
    return costs + mark


def summary_table(grid: Grid, systems: Sequence[str], base: str = "rowcast") -> list[str]:
    """One line for each system, over the sets where it and ``base`` have a loss.

    A recorded loss counts for ranks and ratios. Recorded seconds do not count: they are not of
    this machine's day.
    """
    lines = _header(
        ["system", "sets", "average rank", "x best", "worst x best", "first", "failed",
         "train s", "predict s / 100k", f"x {base}", "MB", f"x {base}"]
    )  # fmt: skip
    for system in systems:
        rows = [row for row in grid.values() if system in row]
        whole = [row for row in rows if not row[system].failed]
        if not whole:
            if rows:
                lines.append(_line([system, "0", "", "", "", "", str(len(rows)), *[""] * 5]))
            continue
        ratios = [ratio(row, system) for row in whole]
        timed = [row[system] for row in whole if not row[system].recorded]
        both = [row for row in whole if _timed(row, base) and _timed(row, system)]
        lines.append(
            _line(
                [
                    system,
                    str(len(whole)),
                    f"{statistics.mean(ranks(row)[system] for row in rows):.2f}",
                    f"{_geometric(ratios):.4f}",
                    f"{max(ratios):.3f}",
                    str(sum(r == 1 for r in ratios)),
                    str(len(rows) - len(whole)),
                    _of(timed, "train_s", statistics.mean, ".1f"),
                    _of(timed, "pred_s_100k", _geometric, ".3f"),
                    _against(both, system, base, "pred_s_100k"),
                    _of(timed, "size_mb", _geometric, ".2f"),
                    _against(both, system, base, "size_mb"),
                ]
            )
        )
    return lines


def _timed(row: dict[str, Run], system: str) -> bool:
    return system in row and not row[system].failed and not row[system].recorded


def _of(runs: list[Run], fact: str, mean: Callable[[list[float]], float], form: str) -> str:
    return format(mean([float(run.facts[fact]) for run in runs]), form) if runs else ""


def _against(rows: list[dict[str, Run]], system: str, base: str, fact: str) -> str:
    ratios = [row[system].facts[fact] / row[base].facts[fact] for row in rows]
    return f"{_geometric(ratios):.2f}" if ratios else ""


def _geometric(values: Sequence[float]) -> float:
    return math.exp(statistics.fmean(math.log(max(value, 1e-12)) for value in values))


def _header(cells: Sequence[str]) -> list[str]:
    return [_line(cells), "|" + "---|" * len(cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
