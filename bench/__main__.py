"""``python -m bench``: CSV to CSV beside peers and floors; jobs on a warm server.

Everything that is compared runs by turns, so that what else the machine does falls on all alike;
its load is printed. ``--skip`` leaves parts out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import rowcast
from bench.children import Cost, cost_of
from bench.model import NAME, make_model
from bench.table import write_table
from bench.warm import latency, put, warm_jobs

OURS = "rowcast"
BASE = "pandas_lightgbm"
COPIES = ("duckdb_copy", "polars_copy")
PARTS = ("cold", "warm", "latency")


def cold(work: Path, sizes: list[int], repeats: int) -> dict[int, dict[str, Cost]]:
    """Print what whole programs take from start to end; medians by the clock."""
    warm = work / "warm.csv"
    write_table(warm, 1000, target=False, seed=0)  # kernels are compiled once
    with rowcast.BatchPredictionJob.create(
        NAME, str(warm), str(work / "out"), home=work / "home"
    ) as job:
        job.wait()
    print("\nwhole programs, input: 20 columns")
    print(
        f"{'rows':>10} {'':18} {'s':>8} {'rows/s':>12} {'cpu s':>7} {'peak MiB':>9} "
        f"{'x pandas':>9} {'s / DuckDB':>11}"
    )
    return {rows: _compare(work, rows, repeats) for rows in sizes}


def _compare(work: Path, rows: int, repeats: int) -> dict[str, Cost]:
    source = work / "home" / "buckets" / "bench" / put(work, rows)
    runs: dict[str, list[Cost]] = {name: [] for name in (OURS, BASE, *COPIES)}
    for _ in range(repeats):
        for name, costs in runs.items():
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            costs.append(cost_of(_command(name, source, out, work)))
            if name == OURS:
                _check_rows(out, rows)
    found = {name: _median(costs) for name, costs in runs.items()}
    for name, cost in found.items():
        print(
            f"{rows:>10,} {name:18} {cost.seconds:8.2f} {rows / cost.seconds:12,.0f} "
            f"{cost.cpu_seconds:7.2f} {cost.peak_mib:9,.0f} "
            f"{found[BASE].seconds / cost.seconds:8.1f}x "
            f"{cost.seconds / found[COPIES[0]].seconds:10.2f}x"
        )
    print(f"{'':10} (input {source.stat().st_size / 2**20:,.0f} MiB; {_load()})")
    return found


def _command(name: str, source: Path, out: Path, work: Path) -> list[str]:
    if name == OURS:
        command = ["-m", "rowcast", "predict", NAME, str(source), "-q"]
        command += ["--output", str(out), "--home", str(work / "home")]
    else:
        command = ["-m", "bench.peers", name, str(source), str(out / "o.csv"), str(work)]
    return [sys.executable, *command]


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.cpu_seconds for cost in costs),
        max(cost.peak_mib for cost in costs),
    )


def _check_rows(out: Path, rows: int) -> None:
    manifest = json.loads(next(out.glob("*/_rowcast_manifest.json")).read_text())
    written = sum(item["rows"] for item in manifest["objects"])
    if written != rows:
        raise AssertionError(f"{written} rows came out of {rows}")


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000, 3_000_000])
    parser.add_argument("--warm-rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=30)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--leaves", type=int, default=63)
    parser.add_argument("--skip", nargs="*", choices=PARTS, default=[])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        work = Path(folder)
        make_model(work, trees=options.trees, leaves=options.leaves)
        print(f"model: {options.trees} trees of {options.leaves} leaves; {_load()}")
        whole = cold(work, options.rows, options.repeats) if "cold" not in options.skip else {}
        warm = {}
        if "warm" not in options.skip:
            warm = warm_jobs(work, options.warm_rows, options.repeats)
        for rows in sorted(whole.keys() & warm.keys()):
            ratios = (f"{name} {c.seconds / warm[rows]:.1f}x" for name, c in whole[rows].items())
            print(f"{rows:,} rows warm beside whole programs: {', '.join(ratios)}; {_load()}")
        if "latency" not in options.skip:
            latency(work, options.jobs)


if __name__ == "__main__":
    main()
