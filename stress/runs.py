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

import httpx

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
    victims: tuple[str, ...] = ("server", "replicas"),
    calls: tuple[str, ...] = CALLS,
    limit: int = 10_000,
    say: Callable[[str], None] = print,
) -> Report:
    """R2: SIGKILL at the n-th write call of each kind, for n = 1.. until none is left.

    Once in the server, which is restarted, and once in its replicas, which the server replaces.
    Calls are counted by thread, as strace does.
    """
    report = Report("R2 kills at every fsync, rename, unlink and mkdir")
    if shutil.which("strace") is None:
        report.figures = {"skipped": "strace is not installed"}
        return report
    reference, job, _ = undisturbed(home, settings)
    points = 0
    for victim in victims:
        for kind in calls:
            for number in range(1, limit + 1):
                name = f"{victim} {kind} {number}"
                server = Server(home, settings, _strace(kind, number) if victim == "server" else ())
                killed, job_name = _until_killed(server, name, victim, kind, number)
                found = _recovered(home, settings, name, job_name)
                points += killed
                if found is None:
                    pass  # it died before the job was acknowledged
                elif found["state"] != "JOB_STATE_SUCCEEDED":
                    report.problems.append(f"{name}: {json.dumps(found)}")
                elif found["completionStats"] != job["completionStats"]:
                    report.problems.append(f"{name}: other counts")
                elif digests(output_folder(home, found)) != reference:
                    report.problems.append(f"{name}: other bytes")
                if not killed:
                    break
            say(f"  {victim}, {kind}: {number} runs, {len(report.problems)} problems")
    report.figures = {"crash points": points, "problems": len(report.problems)}
    return report


def _strace(kind: str, number: int) -> tuple[str, ...]:
    """The command that kills at the n-th call; children that run a program are left alone."""
    inject = f"inject={kind}:signal=SIGKILL:when={number}"
    return ("strace", "-f", "-b", "execve", "-qq", "-o", "/dev/null", "-e", inject)


def _until_killed(
    server: Server, name: str, victim: str, kind: str, number: int
) -> tuple[bool, str | None]:
    """Run a job under a server that is to die, or whose replicas are: (did one?, the job)."""
    job_name = None
    tracers: list[subprocess.Popen[bytes]] = []
    try:
        server.start()
        if victim == "replicas":
            server.wait(server.create(request(f"warm for {name}"))["name"])
            command = _strace(kind, number)
            tracers += [subprocess.Popen([*command, "-p", str(p)]) for p in server.replicas()]
            time.sleep(0.3)  # for strace to attach
        job_name = server.create(request(name))["name"]
        server.wait(job_name, timeout_s=120)
    except (httpx.TransportError, RuntimeError):
        return True, job_name  # the server died
    finally:
        killed = any(tracer.poll() is not None for tracer in tracers)
        server.kill()
        for tracer in tracers:
            tracer.wait()
    return killed, job_name


def _recovered(
    home: Path, settings: dict[str, str], display_name: str, job_name: str | None
) -> dict | None:
    """Start a server again and wait for the job; None if it was never created."""
    with Server(home, settings) as server:
        if job_name is None:
            query = {"filter": f'display_name="{display_name}"'}
            answer = server.call("GET", f"{PARENT}/batchPredictionJobs", params=query).json()
            jobs = answer.get("batchPredictionJobs", [])
            if not jobs:
                return None
            job_name = jobs[0]["name"]
        return server.wait(job_name)


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
            time.sleep(draw.uniform(0, 0.9 * seconds))
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


def full_disk(home: Path, *, settings: dict[str, str]) -> Report:
    """R5: the output's disk fills up: FAILED with the bytes left; works again with space."""
    report = Report("R5 full disk")
    _, job, _ = undisturbed(home, settings)
    needed = sum(path.stat().st_size for path in output_folder(home, job).iterdir())
    mount = home / "buckets" / "tiny"
    mount.mkdir(exist_ok=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={needed * 7 // 10}", "tmpfs", str(mount)],
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
