"""The demo: real data, a trained model, a server, a job through the public REST API."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from rich.markup import escape
from rich.panel import Panel
from rich.syntax import Syntax

import rowcast
from rowcast.api import open_backend
from rowcast.cli import show
from rowcast.cli.models import print_model
from rowcast.cli.show import out
from rowcast.errors import RowcastError
from rowcast.jobs.warm_up import warm_up

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = "income"
BUDGET_S = 20.0
START_S = 60.0


def run(*, home: Path | None, rows: int) -> None:
    """Show the whole of rowcast once, in a folder that is left for a look around."""
    home = home or Path(tempfile.mkdtemp(prefix="rowcast-demo-"))
    bucket = home / "buckets" / "demo"
    bucket.mkdir(parents=True, exist_ok=True)
    known, new = bucket / "people.csv", bucket / "new-people.csv"
    broken = write_tables(known, new, rows)

    _step("1. Train a model on 80 % of a real table: who earned more than 50,000 dollars in 1994?")
    _command(f"rowcast train {known} --target {TARGET} --name income --home {home} --budget 20s")
    with show.TrainingProgress(quiet=False) as progress:
        model = rowcast.train(
            known, target=TARGET, name="income", home=home, budget_s=BUDGET_S, progress=progress
        )
    print_model(model.describe())

    _step("2. Start a server, on this machine only, with a token of its own")
    with show.err.status("compiling the scoring kernels for this CPU, once a machine"):
        warm_up()
    with server(home) as (url, token):
        out.print(f"serving at {url}")
        _step(
            f"3. Ask its REST API for a batch prediction job over {rows:,} rows, "
            f"{broken} of them broken on purpose"
        )
        body = (
            '{"displayName": "demo", "model": "income",\n'
            ' "inputConfig": {"instancesFormat": "csv",'
            ' "gcsSource": {"uris": ["gs://demo/new-people.csv"]}},\n'
            ' "outputConfig": {"predictionsFormat": "csv",'
            ' "gcsDestination": {"outputUriPrefix": "gs://demo/scores"}}}'
        )
        path = "/v1/projects/local/locations/us-central1/batchPredictionJobs"
        _command(f"curl -H \"Authorization: Bearer $TOKEN\" {url}{path} -d '{body}'")
        answer = httpx.post(
            url + path, content=body, headers={"Authorization": f"Bearer {token}"}, timeout=30
        )
        answer.raise_for_status()
        with open_backend(home=home, server=url, token=token) as backend:
            job = show.watch(backend, answer.json()["name"])
    _step("4. Every row has ended exactly once, in order, in predictions_1.csv or errors_1.csv")
    show.job_summary(job)
    folder = bucket / job["outputInfo"]["gcsOutputDirectory"].removeprefix("gs://demo/")
    for name in ("predictions_1.csv", "errors_1.csv"):
        _head(folder / name)
    if show.state_of(job) != "SUCCEEDED":
        raise RowcastError("The demo's job did not succeed.")
    _step("What next")
    out.print(
        f"rowcast predict income YOUR.csv --output scores --home {home}\n"
        f"rowcast serve --home {home}        # and the API is yours\n"
        "rowcast train YOUR.csv --target COLUMN --name NAME",
        highlight=False,
        soft_wrap=True,
    )


def write_tables(known: Path, new: Path, rows: int) -> int:
    """Divide the data: four fifths to train on, the rest to score, repeated up to ``rows``.

    Some of the rows to score are damaged the way real files are. Returns how many.
    """
    packed = files("rowcast").joinpath("demo_data/adult.csv.gz").read_bytes()
    header, *table = csv.reader(io.StringIO(gzip.decompress(packed).decode(), newline=""))
    target = header.index(TARGET)
    _write(known, header, (row for n, row in enumerate(table) if n % 5))
    fresh = [row[:target] + row[target + 1 :] for row in table[::5]]
    repeated = list(itertools.islice(itertools.cycle(fresh), rows))
    age, hours = header.index("age"), header.index("hours_per_week")
    places = range(7, rows, max(1, rows // 25))
    for kind, number in enumerate(places):
        row = repeated[number]
        repeated[number] = [
            [*row[:age], "n/a", *row[age + 1 :]],
            [*row[:age], "", *row[age + 1 :]],
            [*row[:hours], "1,000", *row[hours + 1 :]],
            row[:5],
            [*row, "one field too many"],
        ][kind % 5]
    _write(new, header[:target] + header[target + 1 :], repeated)
    return len(places)


@contextlib.contextmanager
def server(home: Path) -> Iterator[tuple[str, str]]:
    """Run ``rowcast serve`` on a free port; yield its URL and token."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token, url = secrets.token_urlsafe(32), f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "rowcast", "serve", "--port", str(port), "--home", str(home)]
    environment = {**os.environ, "ROWCAST_TOKEN": token, "ROWCAST_LOG_LEVEL": "warning"}
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - our own program
    try:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{url}/healthz").is_success:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RowcastError("The server did not start; its messages are above.")
            time.sleep(0.1)
        yield url, token
    finally:
        process.terminate()
        process.wait()


def _write(path: Path, header: list[str], rows: Iterator[list[str]] | list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _step(text: str) -> None:
    out.print(f"\n[bold cyan]{escape(text)}[/]", soft_wrap=True)


def _command(text: str) -> None:
    out.print(Panel(Syntax(text, "bash", word_wrap=True, background_color="default"), expand=False))


def _head(path: Path, lines: int = 4) -> None:
    with path.open(encoding="utf-8") as file:
        shown = list(itertools.islice(file, lines))
    count = sum(1 for _ in path.open(encoding="utf-8")) - 1
    out.print(f"\n[bold]{escape(str(path))}[/] ({count:,} rows)", soft_wrap=True)
    for line in shown:
        text = line.rstrip("\n")
        out.print(f"  {escape(text[:160])}{'…' if len(text) > 160 else ''}", highlight=False)
