"""``python -m bench.automl``: AutoML systems side by side on real tables, at one budget.

Every system trains on the same rows of a set, on the same cores, in a process of its own with the
Python of its environment; then it predicts the same held-out rows. Runs are kept in a file as they
end: a call that is stopped and made again goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from pathlib import Path

from bench.automl.runs import Run, fill_in, read_runs
from bench.automl.systems import SYSTEMS
from bench.automl.tables import cost_table, grid_of, loss_table, summary_table
from bench.children import ChildFailed, run_child, two_cores
from bench.datasets import set_names
from bench.environments import DEFAULT, interpreter

PATIENCE = (600.0, 5.0)
"""A run is given up after so many seconds plus so many times the budget."""


def options_of(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; ``all`` becomes the names it stands for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    known = ",".join(SYSTEMS)
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for each training")
    parser.add_argument("--systems", default=known, help="default: %(default)s")
    parser.add_argument("--sets", default="all", help="names, or all")
    parser.add_argument("--cores", default=two_cores(), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--envs", type=Path, default=DEFAULT, help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("automl-results.jsonl"))
    parser.add_argument("--recorded", type=Path, help="figures for systems that cannot run here")
    parser.add_argument("--again", action="store_true", help="repeat runs that failed")
    parser.add_argument("--report", action="store_true", help="print tables, run nothing")
    options = parser.parse_args(arguments)
    options.systems = options.systems.split(",")
    if unknown := set(options.systems) - set(SYSTEMS):
        parser.error(f"unknown systems {', '.join(sorted(unknown))}; there are {known}")
    names = set_names(options.data)
    options.sets = names if options.sets == "all" else options.sets.split(",")
    if unknown := set(options.sets) - set(names):
        parser.error(f"unknown sets {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    options.cores = [int(core) for core in options.cores.split(",")]
    return options


def run_once(system: str, name: str, options: argparse.Namespace) -> Run:
    """Make one run; a system that fails, or cannot be installed, is a finding too."""
    environment = SYSTEMS[system][0]
    request = {
        "system": system,
        "name": name,
        "data": str(options.data.resolve()),
        "budget": options.budget,
        "seed": options.seed,
    }
    base, times = PATIENCE
    try:
        facts = run_child(
            "bench.automl.child",
            request,
            python=interpreter(options.envs, environment) if environment else None,
            cores=options.cores,
            timeout_s=base + times * options.budget,
            log=options.results.parent / "logs" / f"{system}-{name}.log",
        )
    except ChildFailed as error:
        facts = {"failed": str(error)}
    except subprocess.CalledProcessError as error:
        facts = {"failed": f"the environment {environment} cannot be made: {error}"}
    return Run(system, name, options.budget, facts)


def compare(options: argparse.Namespace) -> None:
    """Run what is not in the results file yet, set by set."""
    options.results.parent.mkdir(parents=True, exist_ok=True)
    wanted = [(name, system) for name in options.sets for system in options.systems]
    for number, (name, system) in enumerate(wanted):
        done = {run.key for run in read_runs(options.results) if not (run.failed and options.again)}
        if (system, name, options.budget) not in done:
            started = time.perf_counter()
            run = run_once(system, name, options)
            with options.results.open("a") as file:
                file.write(run.line())
            found = run.failed or f"{run.loss:.5g}, trained in {run.facts['train_s']:.1f} s"
            took = time.perf_counter() - started
            print(f"{name} {system}: {found} ({took:.0f} s in all)", flush=True)
        if system == options.systems[-1] and number < len(wanted) - 1:
            grid = grid_of(_chosen(options))
            print("\n".join(loss_table({name: grid[name]}, options.systems)), flush=True)


def _chosen(options: argparse.Namespace) -> list[Run]:
    runs = [
        run
        for run in read_runs(options.results)
        if run.budget_s == options.budget
        and run.name in options.sets
        and run.system in options.systems
    ]
    if options.recorded:
        runs = fill_in(runs, read_runs(options.recorded, recorded=True), options.systems)
    return sorted(runs, key=lambda run: options.sets.index(run.name))


def report(options: argparse.Namespace) -> None:
    """Print all tables."""
    runs = _chosen(options)
    grid = grid_of(runs)
    print(f"\nbudget {options.budget:g} s, {len(options.cores)} cores, seed {options.seed}\n")
    print("Loss of the held-out rows, rank, ratio to the set's best:\n")
    print("\n".join(loss_table(grid, options.systems)))
    print("\nSeconds to train / seconds to predict 100,000 rows / MB:\n")
    print("\n".join(cost_table(grid, options.systems)))
    print("\nOver the sets (x: geometric means of ratios):\n")
    print("\n".join(summary_table(grid, options.systems)))
    versions = {k: v for run in runs for k, v in run.facts.get("versions", {}).items()}
    print("\n" + ", ".join(f"{name} {version}" for name, version in sorted(versions.items())))
    for run in runs:
        if run.failed:
            print(f"failed: {run.system} on {run.name}: {run.failed}")


def main() -> None:
    """Compare, then report."""
    options = options_of()
    available = os.sched_getaffinity(0)
    if not set(options.cores) <= available:
        raise SystemExit(f"--cores {options.cores}: this machine offers {sorted(available)}")
    if not options.report:
        compare(options)
    report(options)


if __name__ == "__main__":
    main()
