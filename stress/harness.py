"""A server to kill, an input to score, and the comparison of what comes out."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

import rowcast

PARENT = "/v1/projects/local/locations/us-central1"
BUCKET = "stress"
START_S = 120.0
KEPT = ("predictions_", "errors_", "_rowcast_drift.json", "_rowcast_summary.json")
FINISHED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


def write_input(folder: Path, rows: int, objects: int, seed: int = 0) -> int:
    """Write ``rows`` records in several CSV objects, the way real files are.

    Texts hold commas, quotes and line breaks; about 1 % of the rows cannot be scored. Returns
    how many those are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(seed)
    broken = 0
    texts = ["plain", "a,b", 'say "hi"', "two\nlines", "three\r\nlines\n", "ünïcode", ""]
    per_object = -(-rows // objects)
    written = 0
    for number in range(objects):
        path = folder / f"rows-{number:02d}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["id", "amount", "kind", "note", "when"])
            for _ in range(min(per_object, rows - written)):
                amount = f"{draw.uniform(0, 1000):.2f}"
                row = [
                    str(written),
                    amount,
                    draw.choice("abcdef"),
                    draw.choice(texts),
                    f"2026-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}",
                ]
                if draw.random() < 0.01:
                    broken += 1
                    damage = draw.randrange(3)
                    row = [[row[0], "n/a", *row[2:]], row[:3], [*row, "extra"]][damage]
                writer.writerow(row)
                written += 1
    return broken


def make_home(home: Path, *, rows: int, objects: int) -> int:
    """Make a home folder with a trained model and an input. Returns the input's broken rows."""
    source = home / "buckets" / BUCKET / "in"
    broken = write_input(source, rows, objects)
    training = home / "training.csv"
    draw = random.Random(1)
    with training.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["amount", "kind", "note", "when", "label"])
        for _ in range(2000):
            amount, kind = draw.uniform(0, 1000), draw.choice("abcdef")
            label = "yes" if amount + 100 * (kind in "ab") + draw.gauss(0, 80) > 500 else "no"
            note = draw.choice(["plain", "two\nlines", "a,b"])
            month = draw.randint(1, 12)
            writer.writerow([f"{amount:.2f}", kind, note, f"2026-{month:02d}-01", label])
    rowcast.train(str(training), target="label", name="stress", home=home, budget_s=10)
    return broken


def request(name: str, **extra: object) -> dict[str, object]:
    """The body of a create request over the whole input."""
    return {
        "displayName": name,
        "model": "stress",
        "inputConfig": {
            "instancesFormat": "csv",
            "gcsSource": {"uris": [f"gs://{BUCKET}/in/*.csv"]},
        },
        "outputConfig": {
            "predictionsFormat": "csv",
            "gcsDestination": {"outputUriPrefix": f"gs://{BUCKET}/out"},
        },
        **extra,
    }


@dataclass
class Server:
    """``rowcast serve`` in a process group of its own, so that one signal ends all of it."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    """Command to run the server under, such as strace."""
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    token: str = field(default_factory=lambda: secrets.token_hex(32))

    def start(self, *, wait: bool = True) -> Self:
        """Start it; wait until it answers."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        environment = {
            **os.environ,
            "ROWCAST_TOKEN": self.token,
            "ROWCAST_LOG_LEVEL": "error",
            **{f"ROWCAST_{name.upper()}": value for name, value in self.settings.items()},
        }
        command = [*self.prefix, sys.executable, "-m", "rowcast", "serve"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), "--home", str(self.home)],
            env=environment,
            start_new_session=True,
            stderr=subprocess.DEVNULL if self.prefix else None,
        )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self) -> None:
        """Wait for ``/healthz``."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.TransportError):
                if self.call("GET", "/healthz").is_success:
                    return
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            time.sleep(0.02)
        raise TimeoutError("the server does not answer")

    def call(self, method: str, path: str, **options: object) -> httpx.Response:
        """Send one request with the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, headers=headers, timeout=30, **options)  # type: ignore[arg-type]

    def create(self, body: dict[str, object]) -> dict[str, object]:
        """Create a job; the job."""
        answer = self.call("POST", f"{PARENT}/batchPredictionJobs", json=body)
        if not answer.is_success:
            raise RuntimeError(answer.text)
        return answer.json()

    def get(self, name: str) -> dict[str, object]:
        """Look a job up."""
        return self.call("GET", f"/v1/{name}").raise_for_status().json()

    def wait(self, name: str, timeout_s: float = 300.0) -> dict[str, object]:
        """Wait for a job's end; the job."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            job = self.get(name)
            if job["state"] in FINISHED:
                return job
            time.sleep(0.02)
        raise TimeoutError(f"{name} does not end: {self.get(name)}")

    def kill(self) -> None:
        """SIGKILL the server and all its replicas at once."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """End it in good order."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def replicas(self) -> list[int]:
        """Process ids of the living replicas."""
        if self.process is None:
            return []
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        found = []
        for path in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found += [int(pid) for pid in path.read_text().split()]
        return found

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.kill()


def output_folder(home: Path, job: dict[str, object]) -> Path:
    """Where a job's results are on disk."""
    info = job["outputInfo"]
    directory = info["gcsOutputDirectory"]  # type: ignore[index]
    return home / "buckets" / str(directory).removeprefix("gs://")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every predictions and errors object, and of both reports; nothing else may be
    there.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name == "_rowcast_manifest.json":
            continue
        if not path.name.startswith(KEPT):
            raise AssertionError(f"left behind: {path}")
        found[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class Watcher:
    """Polls a folder at 50 Hz for objects that are visible before they are complete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sizes: dict[tuple[str, str], set[int]] = {}
        self.polls = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            self.polls += 1
            for path in self.folder.glob("*/*_*.csv"):
                with contextlib.suppress(FileNotFoundError):
                    size = path.stat().st_size
                    self.sizes.setdefault((path.parent.name, path.name), set()).add(size)

    def partial(self) -> list[str]:
        """Objects that were seen with another size than the one they have now."""
        wrong = []
        for (folder, name), sizes in self.sizes.items():
            path = self.folder / folder / name
            final = path.stat().st_size if path.exists() else -1
            if sizes != {final}:
                wrong.append(f"{folder}/{name}: seen with {sorted(sizes)}, has {final} bytes")
        return wrong
