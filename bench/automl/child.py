"""One system on one set: ``python -m bench.automl.child REQUEST ANSWER``."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.automl.systems import System, Terms, open_system
from bench.datasets import load_set, log_loss, root_mean_squared_error

if TYPE_CHECKING:
    from bench.datasets import TableSet

PREDICTED_ROWS = 100_000
REPEATS = 3
LONG_S = 10.0
"""Predicting is not repeated once it has taken this long."""


def main() -> None:
    """Train, judge by the test rows, and time predicting."""
    request = json.loads(Path(sys.argv[1]).read_text())
    table = load_set(Path(request["data"]), request["name"])
    terms = Terms(request["budget"], len(os.sched_getaffinity(0)), request["seed"])
    load = os.getloadavg()[0]
    system = open_system(request["system"])
    folder = Path.cwd() / "model"
    folder.mkdir()
    started = time.perf_counter()
    system.fit(table, terms, folder)
    trained_s = time.perf_counter() - started
    peak = max(resource.getrusage(who).ru_maxrss for who in (0, resource.RUSAGE_CHILDREN))
    saved = system.save(folder)
    answer = {
        "rows": len(table.train),
        "cols": len(table.features),
        "train_s": round(trained_s, 2),
        **_losses(table, system.predict(table.test[table.features])),
        "pred_s_100k": round(_seconds_of_predicting(system, table), 4),
        "size_mb": round(_size(saved) / 1e6, 3),
        "peak_mb": round(peak / 1024),
        "load": round(load, 1),
        "versions": _versions(system.packages),
    }
    Path(sys.argv[2]).write_text(json.dumps(answer))


def _losses(table: TableSet, answers: Any) -> dict[str, float]:
    if table.kind == "regression":
        return {"rmse": root_mean_squared_error(answers, table.truth)}
    hits = answers.argmax(axis=1) == table.truth
    return {"logloss": log_loss(answers, table.truth), "acc": float(hits.mean())}


def _seconds_of_predicting(system: System, table: TableSet) -> float:
    """From a dataframe to scores, in this process, which has predicted before; the median."""
    frame = table.rows(PREDICTED_ROWS)
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < LONG_S:
        started = time.perf_counter()
        system.predict(frame)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _size(saved: Path) -> int:
    files = [saved] if saved.is_file() else [path for path in saved.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


if __name__ == "__main__":
    main()
