"""A server for clients to talk to, with a table in a bucket, and what clients must know of it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
import secrets
import ssl
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_S = 120.0
ROWS = 1200


@dataclass(frozen=True)
class Server:
    """Where a server is, and how to get in."""

    url: str
    grpc: str
    token: str
    home: str
    authority: str | None
    data: str = "gs://shop/in/customers.csv"
    out: str = "gs://shop/out"
    model: str = "gs://shop/models/churn"
    project: str = "acme"
    location: str = "us-central1"

    @property
    def json(self) -> str:
        """What a client is given."""
        return json.dumps(asdict(self))

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a client."""
        found = {"STORAGE_EMULATOR_HOST": self.url, "BIGQUERY_EMULATOR_HOST": self.url}
        if self.authority:
            found |= {
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": self.authority,
                "REQUESTS_CA_BUNDLE": self.authority,
                "NODE_EXTRA_CA_CERTS": self.authority,
                "CURL_CA_BUNDLE": self.authority,
            }
        return found


@contextlib.contextmanager
def serving(home: Path, *, secure: bool) -> Iterator[Server]:
    """Run a server in a home folder of its own."""
    table = home / "buckets" / "shop" / "in" / "customers.csv"
    write_table(table)
    _export_model(table, home)
    token = secrets.token_urlsafe(32)
    command = [sys.executable, "-m", "rowcast", "serve", "--home", str(home)]
    command += ["--port", "0", "--grpc-port", "0", *(["--tls"] if secure else [])]
    environment = {
        **os.environ,
        "ROWCAST_TOKEN": token,
        "ROWCAST_NODE_HOUR_S": "3",  # a training of a node hour takes three seconds
        "ROWCAST_LOG_LEVEL": "info",
    }
    log = home / "log.jsonl"
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stderr=file)
    try:
        yield _wait(process, log, token, home)
    finally:
        process.terminate()
        process.wait(60)


def _export_model(table: Path, home: Path) -> None:
    """Put the folder of a model that was trained elsewhere into the bucket, to be uploaded."""
    rowcast = [sys.executable, "-m", "rowcast"]
    elsewhere = ["--home", str(home / "elsewhere")]
    train = ["train", str(table), "--target", "churn", "--name", "churn", "--trials", "1"]
    subprocess.run([*rowcast, *train, "--quiet", *elsewhere], check=True, capture_output=True)
    folder = home / "buckets" / "shop" / "models" / "churn"
    folder.parent.mkdir()
    export = ["export", "churn", "--output", str(folder)]
    subprocess.run([*rowcast, *export, *elsewhere], check=True, capture_output=True)


def _wait(process: subprocess.Popen[bytes], log: Path, token: str, home: Path) -> Server:
    """Read where the server is from its log, and wait until it answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        lines = log.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        said = {event["event"]: event for event in events}
        if {"serving", "serving_grpc"} <= said.keys():
            authority = said["serving"]["trust"]
            url = said["serving"]["url"].replace("127.0.0.1", "localhost")
            trust = ssl.create_default_context(cafile=authority) if authority else True
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz", verify=trust).is_success:
                    door = said["serving_grpc"]["address"].replace("127.0.0.1", "localhost")
                    return Server(url, door, token, str(home), authority)
        time.sleep(0.2)
    raise SystemExit(f"The server did not start:\n{log.read_text()[-3000:]}")


def write_table(path: Path) -> None:
    """Write a table of customers, who leave as they grow old."""
    random.seed(3)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["age", "job", "income", "churn"])
        for _ in range(ROWS):
            age = random.randrange(18, 90)
            leaves = (age > 50) != (random.random() < 0.1)
            job = random.choice(["nurse", "cook", "clerk"])
            income = round(random.lognormvariate(10, 0.5), 2)
            writer.writerow([age, job, income, "yes" if leaves else "no"])
