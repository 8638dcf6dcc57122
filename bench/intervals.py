"""``python -m bench.intervals``: 95 % intervals on real tables, beside MAPIE's methods.

Each method trains and predicts in a process of its own, on the same rows and cores. Widths and
Winkler scores (lower is better: width plus penalties for what is missed) are compared with those
of split conformal prediction around one LightGBM.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from bench.children import ChildFailed, run_child, two_cores
from bench.datasets import set_names
from bench.environments import DEFAULT, interpreter
from bench.interval_methods import METHODS, TUNE

BASE = "split"
TIMEOUT_S = 3600.0

Found = dict[str, dict[str, Any]]
"""Method -> facts, of one set."""


def measure_set(name: str, options: argparse.Namespace, kept: list[dict[str, Any]]) -> Found:
    """Run the methods that the results file does not have; a failing one is left out."""
    found: Found = {}
    settings: dict[str, Any] = {}
    for method in options.methods:
        key = {"name": name, "method": method, "budget": options.budget, "seed": options.seed}
        if known := [line for line in kept if key.items() <= line.items()]:
            found[method] = known[-1]
            settings = known[-1].get("settings", settings)
            continue
        try:
            if method != "rowcast" and not settings:
                settings = _child({**key, "method": TUNE}, options)
            shared = {} if method == "rowcast" else {"settings": settings}
            found[method] = {**key, **shared, **_child({**key, **shared}, options)}
        except ChildFailed as error:
            print(f"{name} {method}: failed: {error}", flush=True)
            continue
        with options.results.open("a") as file:
            file.write(json.dumps(found[method]) + "\n")
    return found


def _child(request: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    method, name = request["method"], request["name"]
    return run_child(
        "bench.interval_methods",
        {**request, "data": str(options.data.resolve())},
        python=None if method == "rowcast" else interpreter(options.envs, "mapie"),
        cores=options.cores,
        timeout_s=TIMEOUT_S,
        log=options.results.parent / "logs" / f"interval-{method}-{name}.log",
    )


def table(name: str, found: Found) -> list[str]:
    """One line for each method."""
    base = found.get(BASE)
    lines = []
    for method, facts in found.items():
        lines.append(
            f"| {name} | {method} | {facts['rows']:,} | {facts['rmse']:.4g} "
            f"| {facts['coverage']:.3f} | {facts['worst_decile']:.3f} "
            f"| {facts['width']:.4g} | {_ratio(facts, base, 'width')} "
            f"| {_ratio(facts, base, 'winkler')} "
            f"| {facts['train_s']:.1f} | {facts['pred_s_100k']:.2f} |"
        )
    return lines


HEADER = (
    "| set | method | rows | RMSE | coverage | worst decile | width | x split | Winkler x split "
    "| train s | predict s / 100k |\n|" + "---|" * 11
)


def _ratio(facts: dict[str, Any], base: dict[str, Any] | None, fact: str) -> str:
    return f"{facts[fact] / base[fact]:.3f}" if base else ""


def summary(sets: dict[str, Found], methods: list[str]) -> list[str]:
    """One line for each method, over the sets that it and the base have."""
    lines = [
        "| method | sets | coverage | within 94-96 % | worst decile | width x split "
        "| Winkler x split | predict s / 100k |",
        "|" + "---|" * 8,
    ]
    for method in methods:
        both = [f for f in sets.values() if method in f and BASE in f]
        if not both:
            continue
        coverage = [f[method]["coverage"] for f in both]
        lines.append(
            f"| {method} | {len(both)} | {min(coverage):.3f}-{max(coverage):.3f} "
            f"| {sum(0.94 <= c <= 0.96 for c in coverage)} "
            f"| {min(f[method]['worst_decile'] for f in both):.3f} "
            f"| {_geometric([f[method]['width'] / f[BASE]['width'] for f in both]):.3f} "
            f"| {_geometric([f[method]['winkler'] / f[BASE]['winkler'] for f in both]):.3f} "
            f"| {_geometric([f[method]['pred_s_100k'] for f in both]):.2f} |"
        )
    return lines


def _geometric(values: list[float]) -> float:
    return math.exp(statistics.fmean(math.log(value) for value in values))


def main() -> None:
    """Measure set by set, printing each as it is done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with manifest.json")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds for rowcast")
    parser.add_argument("--sets", default="all", help="names of regression sets, or all")
    parser.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    parser.add_argument("--cores", default=two_cores(), help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--envs", type=Path, default=DEFAULT, help="default: %(default)s")
    parser.add_argument("--results", type=Path, default=Path("interval-results.jsonl"))
    options = parser.parse_args()
    known = set_names(options.data, "regression")
    names = known if options.sets == "all" else options.sets.split(",")
    options.methods = options.methods.split(",")
    options.cores = [int(core) for core in options.cores.split(",")]
    if unknown := (set(names) - set(known)) | (set(options.methods) - set(METHODS)):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.results.parent.mkdir(parents=True, exist_ok=True)
    kept = []
    if options.results.exists():
        kept = [json.loads(line) for line in options.results.read_text().splitlines()]
    sets: dict[str, Found] = {}
    print(HEADER)
    for name in names:
        sets[name] = measure_set(name, options, kept)
        print("\n".join(table(name, sets[name])), flush=True)
    print()
    print("\n".join(summary(sets, options.methods)))


if __name__ == "__main__":
    main()
