"""Jobs on a server that is up: time from create to SUCCEEDED, memory, and what a replica adds."""

from __future__ import annotations

import statistics
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psutil
from stress.harness import Server

from bench.model import NAME
from bench.table import write_table

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE_S = 0.02
SETTLE_S = 1.0


@dataclass
class Watch:
    """Peak memory of a server and of the largest of its replicas, sampled while in a ``with``."""

    pid: int
    server_mib: float = 0.0
    """Resident."""
    replica_mib: float = 0.0
    """Resident: what the system's tools show of a process, pages shared with others included."""
    replica_own_mib: float = 0.0
    """Proportional: pages shared with others are shared out."""
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        server = psutil.Process(self.pid)
        while not self._over.wait(SAMPLE_S):
            try:
                self.server_mib = max(self.server_mib, server.memory_info().rss / 2**20)
                for replica in server.children(recursive=True):
                    found = replica.memory_full_info()
                    self.replica_mib = max(self.replica_mib, found.rss / 2**20)
                    self.replica_own_mib = max(self.replica_own_mib, found.pss / 2**20)
            except psutil.Error:
                continue


def body(file: str, replicas: int) -> dict[str, Any]:
    """A create request for a CSV job with exactly so many replicas."""
    return {
        "displayName": file,
        "model": NAME,
        "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": [f"gs://bench/{file}"]}},
        "outputConfig": {
            "predictionsFormat": "csv",
            "gcsDestination": {"outputUriPrefix": "gs://bench/out"},
        },
        "dedicatedResources": {
            "machineSpec": {"machineType": "local"},
            "startingReplicaCount": replicas,
            "maxReplicaCount": replicas,
        },
    }


def put(work: Path, rows: int) -> str:
    """Lay an input of so many rows into the server's bucket; its name."""
    name = f"rows-{rows}.csv"
    bucket = work / "home" / "buckets" / "bench"
    bucket.mkdir(parents=True, exist_ok=True)
    if not (bucket / name).exists():
        write_table(bucket / name, rows, target=False, seed=2)
    return name


def seconds_of(server: Server, file: str, rows: int, replicas: int) -> float:
    """Run one job, from create to SUCCEEDED."""
    started = time.perf_counter()
    job = server.wait(server.create(body(file, replicas))["name"])
    seconds = time.perf_counter() - started
    if job.get("completionStats") != {"successfulCount": str(rows)}:
        raise AssertionError(job)
    return seconds


def warm_jobs(work: Path, sizes: list[int], repeats: int) -> dict[int, float]:
    """Print seconds of jobs by size and replicas, interleaved, medians; those of two replicas."""
    with Server(work / "home", {"warm_replicas": "2"}) as server:
        small = put(work, 1000)
        for _ in range(4):  # both replicas have the model by then
            seconds_of(server, small, 1000, 2)
        assert server.process is not None
        print("\nwarm server, create to SUCCEEDED; peak resident memory (proportional in brackets)")
        print(
            f"{'rows':>12} {'1 replica':>10} {'2':>8} {'gain':>6} {'server MiB':>11} {'replica':>9}"
        )
        found = {}
        for rows in sizes:
            file = put(work, rows)
            times: dict[int, list[float]] = {1: [], 2: []}
            with Watch(server.process.pid) as watch:
                for _ in range(repeats):
                    for replicas, kept in times.items():
                        kept.append(seconds_of(server, file, rows, replicas))
            one, two = (statistics.median(times[n]) for n in (1, 2))
            print(
                f"{rows:>12,} {one:8.2f} s {two:6.2f} s {one / two:5.2f}x {watch.server_mib:11,.0f}"
                f" {watch.replica_mib:9,.0f} ({watch.replica_own_mib:,.0f})"
            )
            found[rows] = two
    return found


def latency(work: Path, jobs: int) -> None:
    """Print how long jobs of 1,000 rows take."""
    with Server(work / "home") as server:
        file = put(work, 1000)
        seconds_of(server, file, 1000, 1)
        times = sorted(seconds_of(server, file, 1000, 1) for _ in range(jobs))
    p95 = times[int(0.95 * (len(times) - 1))]
    print(f"\n1,000-row job on a warm server, {jobs} jobs, create to SUCCEEDED:")
    print(f"  p50 {statistics.median(times):.3f} s, p95 {p95:.3f} s, slowest {times[-1]:.3f} s")
