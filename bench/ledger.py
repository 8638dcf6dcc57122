"""``python -m bench.ledger``: what a job of very many parts costs the job database.

Runs the store's own code, as a job's runner does: the plan is kept, parts are finished one by one
until the time is over, and a successor reads everything back.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from rowcast.core.job import InputSpec, Job, JobSpec, JobState, ModelVersion, OutputSpec
from rowcast.core.names import Parent, new_id
from rowcast.core.plan import InputObject, Layout, Part, Plan
from rowcast.jobs.part import PartResult
from rowcast.sinks import Staged
from rowcast.stores.sql import SqlStore

PARENT = Parent("bench", "us-central1")
ROWS_A_PART = 23_000
"""Of 182 bytes, in 4 MiB."""


def make_job() -> Job:
    now = datetime.now(UTC)
    spec = JobSpec("large", "m", InputSpec("csv", ("gs://b/x",)), OutputSpec("csv", "gs://b/o"))
    model = ModelVersion("m", "1", "m", "/m/1", "ab" * 32)
    return Job(new_id(), PARENT, spec, model, JobState.PENDING, now, now)


def make_plan(parts: int) -> Plan:
    size = ROWS_A_PART * 182
    listed = tuple(
        Part(n, 0, n * size, (n + 1) * size, n * ROWS_A_PART + 1, n * ROWS_A_PART + 2, ROWS_A_PART)
        for n in range(parts)
    )
    found = InputObject("gs://b/x", parts * size, "etag")
    return Plan(Layout((found,), pa.schema([("a", pa.string())]), {}, {}), listed, ())


def result(number: int) -> PartResult:
    names = (f"gs://b/o/_staging/{kind}-{number:07d}-1a2b3c4d.csv" for kind in ("part", "errors"))
    predictions, errors = names
    rows = ROWS_A_PART - 200
    return PartResult(
        Staged(predictions, errors, rows, 200, 5_000_000, 50_000), {"age: not a number": 200}
    )


def measure(url: str, parts: int, seconds: float) -> None:
    """Print what each step takes."""
    store = SqlStore(url)
    job = store.create_job(make_job())
    lease = store.claim_job("bench", time.time() + 3_600, job.id)
    assert lease is not None
    plan = make_plan(parts)
    started = time.perf_counter()
    store.save_plan(lease, plan)
    kept = time.perf_counter() - started
    print(f"plan of {parts:,} parts kept in {kept:.1f} s ({parts / kept:,.0f} a second)")
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < seconds and done < parts:
        store.finish_part(lease, done, result(done))
        done += 1
    rate = done / (time.perf_counter() - started)
    print(f"parts finished, each in a transaction of its own: {rate:,.0f} a second")
    started = time.perf_counter()
    loaded = store.load_plan(job.id)
    assert loaded is not None
    print(f"plan read back in {time.perf_counter() - started:.1f} s")
    started = time.perf_counter()
    assert len(store.finished_parts(job.id)) == done
    print(f"{done:,} results read back in {time.perf_counter() - started:.1f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of the process {peak:.2f} GiB")
    store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=20.0, help="of finishing parts")
    parser.add_argument("--store", help="a SQLAlchemy URL; default: a new SQLite file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        url = options.store or f"sqlite:///{Path(folder)}/rowcast.db"
        measure(url, options.parts, options.seconds)


if __name__ == "__main__":
    main()
