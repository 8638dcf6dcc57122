"""The runs: kills at random instants and at every write, cancels, a full disk, the matrix."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stress.harness import BUCKET, PARENT, Server, Watcher, digests, output_folder, request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL_PARTS = {"part_bytes": "65536", "lease_s": "3", "warm_replicas": "2"}


@dataclass
class Report:
    """What a run found; ``problems`` is empty if the promise was kept."""

    name: str
    figures: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def undisturbed(home: Path, settings: dict[str, str]) -> tuple[dict[str, str], dict, float]:
    """Run the job once in peace: digests of its objects, the job, its seconds."""
    with Server(home, settings) as server:
        server.wait(server.create(request("warm"))["name"])
        started = time.monotonic()
        job = server.wait(server.create(request("reference"))["name"])
        seconds = time.monotonic() - started
    if job["state"] != "JOB_STATE_SUCCEEDED":
        raise RuntimeError(job)
    return digests(output_folder(home, job)), job, seconds


def random_kills(
    home: Path,
    kills: int,
    *,
    settings: dict[str, str],
    seed: int = 0,
    say: Callable[[str], None] = print,
) -> Report:
    """R1, R4: SIGKILL everything at a random instant, restart, compare the bytes."""
    report = Report("R1 random kills of the whole process group")
    reference, job, seconds = undisturbed(home, settings)
    expected = job["completionStats"]
    draw = random.Random(seed)
    resumed = 0
    with Watcher(home / "buckets" / BUCKET / "out") as watcher:
        for number in range(kills):
            server = Server(home, settings).start()
            name = server.create(request(f"kill {number}"))["name"]
            delay = draw.uniform(0, 1.1 * seconds)
            time.sleep(delay)
            ended = server.get(name)["state"] == "JOB_STATE_SUCCEEDED"
            server.kill()
            resumed += not ended
            with Server(home, settings) as server:
                job = server.wait(name)
            found = digests(output_folder(home, job)) if "outputInfo" in job else {}
            if job["state"] != "JOB_STATE_SUCCEEDED" or job["completionStats"] != expected:
                report.problems.append(f"kill {number} after {delay:.3f} s: {job}")
            elif found != reference:
                report.problems.append(f"kill {number} after {delay:.3f} s: other bytes")
            shutil.rmtree(output_folder(home, job), ignore_errors=True) if not found else None
            if number % 10 == 9:
                say(f"  {number + 1} kills, {len(report.problems)} problems")
    partial = watcher.partial()
    report.problems += partial
    report.figures = {
        "kills": kills,
        "jobs interrupted before their end": resumed,
        "rows a job": int(expected["successfulCount"]) + int(expected.get("failedCount", 0)),
        "runs with other bytes or counts": len(report.problems) - len(partial),
        "polls of the destination": watcher.polls,
        "objects seen incomplete": len(partial),
    }
    return report


CALLS = ("fsync", "rename,renameat,renameat2", "unlink,unlinkat", "mkdir,mkdirat", "fdatasync")


def crash_points(
    home: Path,
    *,
    settings: dict[str, str],
    stride: int = 1,
    limit: int = 10_000,
    say: Callable[[str], None] = print,
) -> Report:
    """R2: SIGKILL at the n-th write call of each kind, for n = 1.. until none is left."""
    report = Report("R2 kills at every fsync, rename, unlink and mkdir")
    if shutil.which("strace") is None:
        report.figures = {"skipped": "strace is not installed"}
        return report
    reference, job, _ = undisturbed(home, settings)
    expected = job["completionStats"]
    points = 0
    for calls in CALLS:
        number = 1
        while number <= limit:
            survived, problem = _one_point(home, settings, calls, number, reference, expected)
            points += 1
            if problem:
                report.problems.append(f"{calls} #{number}: {problem}")
            if survived:
                break
            number += stride
        say(f"  {calls}: up to #{number}, {len(report.problems)} problems")
    report.figures = {"crash points": points, "problems": len(report.problems)}
    return report


def _one_point(
    home: Path,
    settings: dict[str, str],
    calls: str,
    number: int,
    reference: dict[str, str],
    expected: object,
) -> tuple[bool, str]:
    """Kill at one call: whether the job ran through without reaching it, and what was wrong."""
    with Server(home, settings) as server:
        server.settings = settings
    prefix = (
        "strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}",
        "-e", f"inject={calls}:signal=SIGKILL:when={number}",
    )  # fmt: skip
    server = Server(home, settings, prefix)
    name = None
    survived = False
    try:
        server.start()
        name = server.create(request(f"{calls} {number}"))["name"]
        job = server.wait(name, timeout_s=60)
        survived = job["state"] == "JOB_STATE_SUCCEEDED"
    except Exception:  # noqa: BLE001 - the server died, at whatever point: that is the test
        survived = False
    finally:
        server.kill()
    with Server(home, settings) as server:
        if name is None:  # died before the job was acknowledged
            listed = server.call("GET", f"{PARENT}/batchPredictionJobs").json()
            jobs = [
                j for j in listed["batchPredictionJobs"] if j["displayName"] == f"{calls} {number}"
            ]
            if not jobs:
                return False, ""
            name = jobs[0]["name"]
        job = server.wait(name)
    if job["state"] != "JOB_STATE_SUCCEEDED" or job["completionStats"] != expected:
        return survived, json.dumps(job)
    if digests(output_folder(home, job)) != reference:
        return survived, "other bytes"
    return survived, ""


def replica_kills(home: Path, kills: int, *, settings: dict[str, str], seed: int = 0) -> Report:
    """R3: SIGKILL one replica at random instants of a job; the others go on."""
    report = Report("R3 kills of one replica")
    reference, job, seconds = undisturbed(home, settings)
    draw = random.Random(seed)
    times = []
    with Server(home, settings) as server:
        server.wait(server.create(request("warm", dedicatedResources=_replicas(4)))["name"])
        for number in range(kills):
            started = time.monotonic()
            body = request(f"replica kill {number}", dedicatedResources=_replicas(4))
            name = server.create(body)["name"]
            time.sleep(draw.uniform(0.1, 0.9) * seconds)
            victims = server.replicas()
            if victims:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(draw.choice(victims), signal.SIGKILL)
            job = server.wait(name)
            times.append(time.monotonic() - started)
            if digests(output_folder(home, job)) != reference:
                report.problems.append(f"kill {number}: other bytes")
    report.figures = {
        "kills": kills,
        "undisturbed job, s": round(seconds, 2),
        "median job with one kill, s": round(statistics.median(times), 2),
        "slowest, s": round(max(times), 2),
        "runs with other bytes": len(report.problems),
    }
    return report


def _replicas(count: int) -> dict[str, object]:
    return {
        "machineSpec": {"machineType": "local"},
        "startingReplicaCount": count,
        "maxReplicaCount": count,
    }


def cancels(home: Path, count: int, *, settings: dict[str, str], seed: int = 0) -> Report:
    """R10: cancel at random instants; measure the time to the end, look for what is left."""
    report = Report("R10 cancels at random instants")
    _, job, seconds = undisturbed(home, settings)
    draw = random.Random(seed)
    times, cancelled = [], 0
    with Server(home, settings) as server:
        server.wait(server.create(request("warm"))["name"])
        for number in range(count):
            body = request(f"cancel {number}", dedicatedResources=_replicas(2))
            name = server.create(body)["name"]
            time.sleep(draw.uniform(0, seconds))
            started = time.monotonic()
            answer = server.call("POST", f"/v1/{name}:cancel", json={})
            if answer.status_code == 400:  # it had ended
                continue
            job = server.wait(name)
            times.append(time.monotonic() - started)
            cancelled += job["state"] == "JOB_STATE_CANCELLED"
            if job["state"] not in ("JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED"):
                report.problems.append(f"cancel {number}: {job}")
            elif "outputInfo" in job:
                report.problems += _check_prefix(output_folder(home, job), job)
    if times and max(times) > 2:
        report.problems.append(f"a cancel took {max(times):.2f} s")
    report.figures = {
        "cancels": len(times),
        "ended in CANCELLED": cancelled,
        "median s": round(statistics.median(times), 3) if times else None,
        "slowest s": round(max(times), 3) if times else None,
    }
    return report


def _check_prefix(folder: Path, job: dict) -> list[str]:
    """What a cancelled job left must be whole, marked, and agree with its counts."""
    if not folder.exists():
        return []
    problems = [f"left behind: {p}" for p in folder.iterdir() if p.name == "_staging"]
    manifest_path = folder / "_rowcast_manifest.json"
    if not manifest_path.exists():
        return problems
    manifest = json.loads(manifest_path.read_text())
    if manifest["complete"] != (job["state"] == "JOB_STATE_SUCCEEDED"):
        problems.append(f"{folder}: marked complete={manifest['complete']} in {job['state']}")
    rows = sum(item["rows"] for item in manifest["objects"])
    stats = job["completionStats"]
    counted = int(stats.get("successfulCount", 0)) + int(stats.get("failedCount", 0))
    if rows != counted:
        problems.append(f"{folder}: {rows} rows in objects, {counted} in the counts")
    return problems


def matrix(
    home: Path, *, settings: dict[str, str], batches: tuple[int, ...] = (1, 64, 4096)
) -> Report:
    """R16: replicas 1, 2, 4 times batch sizes: equal bytes."""
    report = Report("R16 replicas x batch sizes")
    reference, _, _ = undisturbed(home, settings)
    runs = 0
    with Server(home, settings) as server:
        for replicas in (1, 2, 4):
            for batch in batches:
                body = request(
                    f"{replicas} x {batch}",
                    dedicatedResources=_replicas(replicas),
                    manualBatchTuningParameters={"batchSize": batch},
                )
                job = server.wait(server.create(body)["name"], timeout_s=1200)
                runs += 1
                if digests(output_folder(home, job)) != reference:
                    report.problems.append(f"{replicas} replicas, batch {batch}: other bytes")
    report.figures = {"runs": runs, "runs with other bytes": len(report.problems)}
    return report


def full_disk(home: Path, *, settings: dict[str, str], size: str = "3m") -> Report:
    """R5: the output's disk fills up: FAILED with the bytes left; works again with space."""
    report = Report("R5 full disk")
    mount = home / "buckets" / "tiny"
    mount.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(mount)],
        check=False, capture_output=True,
    )  # fmt: skip
    if mounted.returncode:
        report.figures = {"skipped": "a tmpfs cannot be mounted here (needs root)"}
        return report
    try:
        with Server(home, settings) as server:
            body = request("full disk")
            body["outputConfig"]["gcsDestination"]["outputUriPrefix"] = "gs://tiny/out"  # type: ignore[index]
            started = time.monotonic()
            job = server.wait(server.create(body)["name"])
            seconds = time.monotonic() - started
            error = job.get("error", {})
            if job["state"] != "JOB_STATE_FAILED" or error.get("code") != 8:
                report.problems.append(f"not a clean failure: {job}")
            if "bytes are free" not in error.get("message", ""):
                report.problems.append(f"no free bytes in the message: {error}")
            if not server.call("GET", "/healthz").is_success:
                report.problems.append("the server no longer answers")
            subprocess.run(["mount", "-o", "remount,size=1g", str(mount)], check=True)
            job = server.wait(server.create(body)["name"])
            if job["state"] != "JOB_STATE_SUCCEEDED":
                report.problems.append(f"does not work with space: {job}")
            report.figures = {
                "seconds to FAILED": round(seconds, 2),
                "message": error.get("message"),
            }
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)
    return report
