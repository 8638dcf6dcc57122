"""Programs in processes of their own, with another Python or measured from outside."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SAMPLE_S = 0.05


class ChildFailed(Exception):
    """A child did not answer; the message is the last thing it said."""


def two_cores() -> str:
    """Name two of the cores that this process may use, the way ``--cores`` takes them."""
    return ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:2])


def run_child(
    module: str,
    request: dict[str, Any],
    *,
    python: Path | None = None,
    cores: list[int],
    timeout_s: float,
    log: Path,
) -> dict[str, Any]:
    """Run ``python -m module REQUEST ANSWER`` and read the JSON that it leaves in ANSWER.

    Parameters
    ----------
    module
        What it says and prints goes to ``log``; nothing of it is parsed.
    python
        An interpreter of another environment; default: this one.
    cores
        The child and all that it starts stay on these.

    Raises
    ------
    ChildFailed
        If it ends badly, or not within ``timeout_s``; then all that it started is killed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = [ROOT] if python else [ROOT / "src", ROOT]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder, log.open("wb") as output:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(request))
        process = subprocess.Popen(
            [str(python or sys.executable), "-m", module, str(asked), str(answered)],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores),
        )
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ChildFailed(f"it took more than {timeout_s:.0f} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if process.returncode or not answered.exists():
            raise ChildFailed(f"exit code {process.returncode}: {_last_line(log)}")
        answer: dict[str, Any] = json.loads(answered.read_text())
        return answer


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")[:300]


@dataclass(frozen=True, order=True)
class Cost:
    """What a program took."""

    seconds: float
    """By the clock."""
    cpu_seconds: float
    """Of all its processes: what else the machine does hardly counts."""
    peak_mib: float
    """Over all its processes, shared pages once."""


def cost_of(command: list[str], *, cwd: Path | None = None, quiet: bool = True) -> Cost:
    """Run a program and its children to their end."""
    import psutil

    environment = {**os.environ, "ROWCAST_LOG_LEVEL": "error"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    output = subprocess.DEVNULL if quiet else None
    process = subprocess.Popen(command, stdout=output, env=environment, cwd=cwd)
    tree, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        try:
            family = [tree, *tree.children(recursive=True)]
            peak = max(peak, sum(p.memory_full_info().pss for p in family))
        except psutil.Error:
            pass
        time.sleep(SAMPLE_S)
    seconds = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(f"{command} ended with {process.returncode}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return Cost(seconds, cpu, peak / 2**20)


def measure(
    command: list[str], *, cwd: Path | None = None, quiet: bool = True
) -> tuple[float, float]:
    """Run a program: wall seconds, and peak MiB over it and its children (shared pages once)."""
    cost = cost_of(command, cwd=cwd, quiet=quiet)
    return cost.seconds, cost.peak_mib
