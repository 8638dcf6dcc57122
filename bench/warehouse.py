"""``python -m bench.warehouse``: a table scored into a table, beside CSV into CSV and a plain copy.

The jobs run in one process with warm replicas, by turns; the copy is DuckDB's own
``CREATE TABLE AS SELECT`` of the input, which is the least that the tables can cost.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from bench.model import NAME, make_model
from bench.table import write_table
from rowcast.bootstrap import Application, build
from rowcast.core.job import InputSpec, JobSpec, JobState, OutputSpec
from rowcast.core.tables import DatasetName, TableName
from rowcast.settings import Settings

INPUT = TableName("local", "bench", "rows")
COPY = TableName("local", "bench", "copy")
TREES, LEAVES = 500, 31
SCORES = DatasetName("local", "scores")


def main() -> None:
    """Print seconds and rows a second of each way, medians of turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        make_model(Path(folder), trees=TREES, leaves=LEAVES)
        home = Path(folder) / "home"
        source = home / "buckets" / "bench" / "in" / "rows.csv"
        source.parent.mkdir(parents=True)
        write_table(source, asked.rows, target=False, seed=1)
        app = build(Settings(home=home), warm_replicas=os.cpu_count())
        try:
            _run(app, asked.rows, asked.repeats)
        finally:
            app.close()


def _run(app: Application, rows: int, repeats: int) -> None:
    began = time.perf_counter()
    app.tables.load(["gs://bench/in/rows.csv"], INPUT.uri, format_="csv")
    print(f"load of CSV       {time.perf_counter() - began:8.2f} s")
    app.warehouse.create_dataset(SCORES)
    ways = {
        "CSV -> CSV": lambda: _job(app, "csv", "csv", rows),
        "table -> CSV": lambda: _job(app, "bigquery", "csv", rows),
        "table -> table": lambda: _job(app, "bigquery", "bigquery", rows),
        "DuckDB's copy": lambda: _copy(app),
    }
    for way in ways.values():
        way()  # replicas start, files are in memory
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            took[name].append(time.perf_counter() - began)
    print(f"load average {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {rows:,} rows")
    base = statistics.median(took["CSV -> CSV"])
    for name, seconds in took.items():
        median = statistics.median(seconds)
        print(f"{name:16} {median:8.2f} s {rows / median:12,.0f} rows/s {base / median:6.2f} x CSV")


def _job(app: Application, of: str, into: str, rows: int) -> None:
    given = (
        InputSpec("csv", ("gs://bench/in/rows.csv",))
        if of == "csv"
        else InputSpec("bigquery", table=INPUT.uri)
    )
    place = (
        OutputSpec("csv", "gs://bench/out")
        if into == "csv"
        else OutputSpec("bigquery", tables=SCORES.uri)
    )
    job = app.jobs.create(app.parent, JobSpec("bench", NAME, given, place))
    app.manager.run_one(job.id)
    job = app.jobs.get(app.parent, job.id)
    done = job.stats.successful + job.stats.failed if job.stats else 0
    if job.state is not JobState.SUCCEEDED or done != rows:
        raise SystemExit(f"{of} into {into} ended in {job.state}: {job.error}")


def _copy(app: Application) -> None:
    text = f"CREATE OR REPLACE TABLE `{COPY}` AS SELECT * FROM `{INPUT}`"
    with app.tables.query(text, write=True) as reader:
        reader.read_all()


if __name__ == "__main__":
    main()
