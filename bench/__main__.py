"""``python -m bench``: rows per second and peak memory from CSV to CSV; latency of small jobs."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from stress.harness import Server

import rowcast
from bench.children import measure
from bench.table import CATEGORIES, NUMBERS, TARGET, write_table


def write_recipe(model: rowcast.Model, work: Path) -> int:
    """Write the model's encoding down for the pandas peer; the number of its trees."""
    import numpy as np
    import pyarrow as pa

    from rowcast.core.batch import Batch, Places
    from rowcast.predictors import load_predictor
    from rowcast.storage.model_folder import folder_digest

    folder = Path(model.describe()["folder"])
    predictor = load_predictor(str(folder), folder_digest(folder))
    spec, columns = predictor.spec, []
    features = {feature.name: feature for feature in spec.schema.features}
    for name, where in predictor.groups():
        kind = features[name].kind
        tables = []
        if kind == "categorical":
            levels = [f"{name}-{i}" for i in range(CATEGORIES[name])]
            cells = {
                f.name: pa.array(levels if f.name == name else [_any(f)] * len(levels))
                for f in spec.schema.features
            }
            batch = Batch(pa.record_batch(cells), Places("levels", np.arange(len(levels))))
            block = predictor.encode(batch).matrix[:, where]
            tables = [dict(zip(levels, c.tolist(), strict=True)) for c in block.T]
        columns.append([kind, name, tables])
    forest = folder / spec.details["forests"][0]
    (work / "recipe.json").write_text(json.dumps({"forest": str(forest), "columns": columns}))
    return forest.read_text().count("\nTree=")


def _any(feature: object) -> str:
    return "2020-01-01" if feature.kind == "timestamp" else "1"  # type: ignore[attr-defined]


def throughput(work: Path, sizes: list[int], repeats: int) -> None:
    """CSV to CSV, beside the peers, each in a process of its own; best of ``repeats``."""
    home = work / "home"
    training = work / "train.csv"
    write_table(training, 100_000, target=True, seed=1)
    kinds = {
        **dict.fromkeys(NUMBERS, "numeric"),
        **dict.fromkeys(CATEGORIES, "categorical"),
        "joined": "timestamp",
    }
    model = rowcast.train(
        str(training),
        target=TARGET,
        name="bench",
        home=home,
        budget_s=60,
        transformations=kinds,
    )
    trees = write_recipe(model, work)
    write_table(work / "warm.csv", 1000, target=False, seed=0)  # kernels are compiled once
    warm = rowcast.BatchPredictionJob.create("bench", str(work / "warm.csv"), str(work), home=home)
    with warm:
        warm.wait()
    print(f"model: {trees} trees, {len(kinds)} features; input: 20 columns")
    print(f"{'rows':>10} {'':18} {'s':>8} {'rows/s':>12} {'peak MiB':>9} {'x pandas':>9}")
    for rows in sizes:
        source = work / f"rows-{rows}.csv"
        write_table(source, rows, target=False, seed=2)
        found: dict[str, tuple[float, float]] = {}
        for _ in range(repeats):
            for name in ("rowcast", "pandas_lightgbm", "duckdb_copy", "polars_copy"):
                out = work / "out"
                shutil.rmtree(out, ignore_errors=True)
                out.mkdir()
                if name == "rowcast":
                    command = ["-m", "rowcast", "predict", "bench", str(source), "-q"]
                    command += ["--output", str(out), "--home", str(home)]
                else:
                    command = [
                        "-m",
                        "bench.peers",
                        name,
                        str(source),
                        str(out / "o.csv"),
                        str(work),
                    ]
                got = measure([sys.executable, *command])
                found[name] = min(found.get(name, got), got)
                if name == "rowcast":
                    _check_rows(out, rows)
        base = found["pandas_lightgbm"][0]
        size = source.stat().st_size / 2**20
        for name, (seconds, peak) in found.items():
            speed = rows / seconds
            ratio = base / seconds
            print(f"{rows:>10,} {name:18} {seconds:8.2f} {speed:12,.0f} {peak:9,.0f} {ratio:8.1f}x")
        print(f"{'':10} (input {size:,.0f} MiB)")
        source.unlink()


def _check_rows(out: Path, rows: int) -> None:
    manifest = json.loads(next(out.glob("*/_rowcast_manifest.json")).read_text())
    written = sum(item["rows"] for item in manifest["objects"])
    if written != rows:
        raise AssertionError(f"{written} rows came out of {rows}")


def latency(work: Path, jobs: int) -> None:
    """A job of 1,000 rows on a warm server, from create to SUCCEEDED."""
    home = work / "home"
    bucket = home / "buckets" / "bench"
    bucket.mkdir(parents=True, exist_ok=True)
    write_table(bucket / "small.csv", 1000, target=False, seed=3)
    body = {
        "displayName": "small",
        "model": "bench",
        "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://bench/small.csv"]}},
        "outputConfig": {
            "predictionsFormat": "csv",
            "gcsDestination": {"outputUriPrefix": "gs://bench/out"},
        },
    }
    times = []
    with Server(home) as server:
        server.wait(server.create(body)["name"])
        for _ in range(jobs):
            started = time.perf_counter()
            job = server.wait(server.create(body)["name"])
            times.append(time.perf_counter() - started)
            if job["completionStats"] != {"successfulCount": "1000"}:
                raise AssertionError(job)
    times.sort()
    p95 = times[int(0.95 * (len(times) - 1))]
    print(f"1,000-row job on a warm server, {jobs} jobs, create to SUCCEEDED:")
    print(f"  p50 {statistics.median(times):.3f} s, p95 {p95:.3f} s, slowest {times[-1]:.3f} s")


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[100_000, 1_000_000, 3_000_000])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        throughput(Path(folder), options.rows, options.repeats)
        latency(Path(folder), options.jobs)


if __name__ == "__main__":
    main()
