"""How the command line shows things: progress, summaries, tables, errors."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from rowcast.errors import InvalidRequest, RowcastError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.backend import Backend

POLL_S = 0.15
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STATE_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "RUNNING": "cyan",
}


class RowsPerSecond(ProgressColumn):
    """Speed of a job, in rows."""

    def render(self, task: Task) -> Text:
        """Show nothing until there is a speed."""
        return Text("" if not task.speed else f"{task.speed:,.0f} rows/s", style="dim")


def state_of(job: dict[str, Any]) -> str:
    """The state without the API's prefix."""
    return str(job.get("state", "")).removeprefix("JOB_STATE_")


def counts(job: dict[str, Any]) -> tuple[int, int, int]:
    """Rows (scored, failed, not attempted) of a job resource."""
    stats = job.get("completionStats", {})
    good, bad, rest = (
        int(stats.get(f"{name}Count", 0)) for name in ("successful", "failed", "incomplete")
    )
    return good, bad, max(0, rest)


def watch(backend: Backend, name: str, *, quiet: bool = False) -> dict[str, Any]:
    """Follow a job to its end, with a progress bar if somebody is looking."""
    job = backend.get(name)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RowsPerSecond(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=err,
        disable=quiet,
        transient=True,
    ) as progress:
        bar = progress.add_task("planning", total=None)
        while not job.get("endTime"):
            good, bad, rest = counts(job)
            total = good + bad + rest
            progress.update(
                bar,
                description=state_of(job).lower() if total else "reading the input",
                completed=good + bad,
                total=total or None,
            )
            time.sleep(POLL_S)
            job = backend.get(name)
    return job


def job_summary(job: dict[str, Any]) -> None:
    """Print how a job ended: state, counts, where the output is, errors by cause."""
    state = state_of(job)
    good, bad, rest = counts(job)
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("job", escape(job.get("name", "").rsplit("/", 1)[-1]))
    table.add_row("state", f"[{STATE_STYLES.get(state, 'white')}]{state}[/]")
    if "completionStats" in job:
        table.add_row("rows scored", f"{good:,}")
        table.add_row("rows failed", f"[red]{bad:,}[/]" if bad else "0")
        if rest:
            table.add_row("rows not attempted", f"{rest:,}")
    if seconds := _seconds(job):
        speed = f", {(good + bad) / seconds:,.0f} rows/s" if good + bad else ""
        table.add_row("time", f"{seconds:.1f} s{speed}")
    if directory := job.get("outputInfo", {}).get("gcsOutputDirectory"):
        table.add_row("output", escape(directory))
    out.print(table, soft_wrap=True)
    for failure in job.get("partialFailures", []):
        out.print(f"[yellow]not read:[/] {escape(failure['message'])}", soft_wrap=True)
    causes = job.get("rowcast", {}).get("errorCauses", [])
    if causes:
        table = Table("failed rows", "cause", title="Errors by cause", title_justify="left")
        for item in causes:
            table.add_row(f"{int(item['count']):,}", escape(item["cause"]))
        out.print(table)
    if error := job.get("error"):
        err.print(f"[red]error {error.get('code')}:[/] {escape(error.get('message', ''))}")


def _seconds(job: dict[str, Any]) -> float | None:
    from rowcast.core.names import parse_rfc3339

    if "startTime" not in job or "endTime" not in job:
        return None
    started, ended = parse_rfc3339(job["startTime"]), parse_rfc3339(job["endTime"])
    return max(0.001, (ended - started).total_seconds())


def finish(backend: Backend, name: str, *, quiet: bool, as_json: bool) -> None:
    """Wait for a job, show how it ended; Ctrl-C cancels it. Exit code 1 unless it succeeded."""
    try:
        job = watch(backend, name, quiet=quiet or as_json)
    except KeyboardInterrupt:
        err.print("Cancelling...")
        backend.cancel(name)
        job = watch(backend, name, quiet=True)
    if as_json:
        typer.echo(json.dumps(job))
    else:
        job_summary(job)
    if state_of(job) != "SUCCEEDED":
        raise typer.Exit(1)


def jobs_table(jobs: list[dict[str, Any]]) -> None:
    """Print jobs, newest first."""
    table = Table("id", "name", "state", "created", "scored", "failed", "model", box=None)
    for job in jobs:
        state = state_of(job)
        good, bad, _ = counts(job)
        table.add_row(
            job["name"].rsplit("/", 1)[-1],
            escape(job.get("displayName", "")),
            f"[{STATE_STYLES.get(state, 'white')}]{state}[/]",
            job.get("createTime", "")[:19].replace("T", " "),
            f"{good:,}",
            f"{bad:,}",
            escape(job.get("model", "").rsplit("/", 1)[-1]),
        )
    out.print(table if jobs else "No jobs yet. Start one with [bold]rowcast predict[/].")


def error(problem: RowcastError) -> None:
    """Print an error, every violation on a line of its own."""
    err.print(f"[red]{problem.status}[/]", end=" ")
    violations = problem.violations if isinstance(problem, InvalidRequest) else ()
    if not violations:
        err.print(escape(str(problem)), soft_wrap=True)
        return
    err.print("The request cannot be accepted:")
    for violation in violations:
        text = f"  [bold]{escape(violation.field)}[/] {escape(violation.description)}"
        err.print(text, soft_wrap=True)


def training_progress(*, quiet: bool) -> tuple[Progress, Callable[[str, float, str], None]]:
    """Make a progress display, and the callback that moves it."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=err,
        disable=quiet,
        transient=True,
    )
    bar = progress.add_task("reading", total=1.0)

    def report(stage: str, fraction: float, message: str) -> None:
        progress.update(bar, description=f"{stage}: {message}", completed=fraction)

    return progress, report


def interactive() -> bool:
    """Whether a person looks at the output."""
    return sys.stdout.isatty()
