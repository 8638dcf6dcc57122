"""How the command line shows things: progress, summaries, tables, errors."""

from __future__ import annotations

import json
import tempfile
import time
import traceback
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from rowcast.errors import FailedPrecondition, InvalidRequest, RowcastError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from rowcast.backend import Backend, WrittenFile
    from rowcast.errors import Violation

POLL_S = 0.15
WIDEST = 10_000
DRIFT_SHOWN = 5
STRONGEST = 5
MOST_COLUMNS = 40
FEW_COLUMNS = 10
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

STATE_STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "RUNNING": "cyan",
}


class Rows(ProgressColumn):
    """Rows done, rows in all, speed and time left."""

    def render(self, task: Task) -> Text:
        """Show what is known so far."""
        if not task.total:
            return Text(f"{task.elapsed or 0:.0f} s", style="dim")
        words = [f"{task.completed:,.0f} of {task.total:,.0f} rows"]
        if task.speed:
            words.append(f"{task.speed:,.0f} rows/s")
        if task.speed and task.time_remaining is not None:
            words.append(f"{duration(task.time_remaining)} left")
        return Text(", ".join(words), style="dim")


def finding(subject: str, verdict: str, text: str) -> None:
    """One line of what the doctor found: subject, mark, what there is to say."""
    mark = {"good": "[green]ok  [/]", "note": "[yellow]note[/]", "bad": "[red]BAD [/]"}[verdict]
    grid = Table.grid(padding=(0, 2), expand=False)
    grid.add_column(width=14, style="dim")
    grid.add_column(width=4)
    grid.add_column(overflow="fold")
    grid.add_row(escape(subject), mark, escape(text))
    out.print(grid)


def duration(seconds: float) -> str:
    """Write a time the way people say it: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


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
        BarColumn(bar_width=None),
        Rows(table_column=Column(no_wrap=True, justify="right")),
        console=err,
        disable=quiet or not err.is_terminal,
        transient=True,
        expand=True,
        speed_estimate_period=20,
    ) as progress:
        bar = progress.add_task("waiting", total=None)
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


def job_summary(job: dict[str, Any], files: Sequence[WrittenFile] = ()) -> None:
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
    info = job.get("outputInfo", {})
    if state != "FAILED" and "bigqueryOutputTable" in info:
        predictions = f"{info['bigqueryOutputDataset']}.{info['bigqueryOutputTable']}"
        table.add_row("output", escape(predictions))
        table.add_row("", escape(predictions.replace(".predictions_", ".errors_")))
    if state != "FAILED" and (directory := info.get("gcsOutputDirectory")):
        table.add_row("output", escape(directory))
        for file in files:
            table.add_row("", f"{escape(file.name)} ({plural(file.rows, 'row')})")
    print_table(table)
    for failure in job.get("partialFailures", []):
        out.print(f"[yellow]not read:[/] {escape(failure['message'])}", soft_wrap=True)
    causes = job.get("rowcast", {}).get("errorCauses", [])
    if causes:
        table = Table("failed rows", "cause", title="Errors by cause", title_justify="left")
        for item in causes:
            table.add_row(f"{int(item['count']):,}", escape(item["cause"]))
        print_table(table)
    what_mattered(job.get("rowcast", {}).get("summary"))
    drift_warnings(job.get("rowcast", {}).get("drift"))
    if state == "FAILED":
        error_text(job.get("error", {}).get("message") or "The job failed.")


def what_mattered(summary: dict[str, Any] | None) -> None:
    """Print the columns that moved the answers most, with the mean size of their attributions."""
    found = (summary or {}).get("meanAbsoluteAttributions") or []
    if found:
        words = ", ".join(
            f"{escape(printable(one['feature']))} {one['value']:.3g}" for one in found[:STRONGEST]
        )
        out.print(f"What mattered most: {words}", soft_wrap=True)


def drift_warnings(drift: dict[str, Any] | None) -> None:
    """Print how an input differs from the training data, the gravest first."""
    from rowcast.core.names import DRIFT

    if not drift:
        return
    for warning in drift["warnings"][:DRIFT_SHOWN]:
        out.print(f"[yellow]drift:[/] {escape(warning['message'])}", soft_wrap=True)
    if (more := drift["warningCount"] - DRIFT_SHOWN) > 0:
        out.print(f"[yellow]drift:[/] {plural(more, 'more warning')}; see {DRIFT}.")


def _seconds(job: dict[str, Any]) -> float | None:
    from rowcast.core.names import parse_rfc3339

    if "startTime" not in job or "endTime" not in job:
        return None
    started, ended = parse_rfc3339(job["startTime"]), parse_rfc3339(job["endTime"])
    return max(0.001, (ended - started).total_seconds())


def plural(count: int, noun: str) -> str:
    """Count things: ``1 row``, ``1,200 rows``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def print_table(table: Table) -> None:
    """Print a table as wide as it needs to be: ids and paths are for copying.

    At a terminal that is narrower, it is the terminal that wraps. Tables with lines keep to the
    terminal's width.
    """
    wide = Console(highlight=False, width=None if table.box else WIDEST)
    with wide.capture() as captured:
        wide.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def columns_table(
    features: Sequence[dict[str, Any]], dropped: dict[str, str], notes: dict[str, str]
) -> None:
    """Print how each column is read, or why it is not; of many, those with something to say."""
    remarks = {**notes, **dropped}
    rows = [
        (feature["name"], feature["kind"], "yes" if feature["nullable"] else "no")
        for feature in features
    ]
    rows += [(name, "[yellow]not used[/]", "") for name in dropped]
    told = [row for row in rows if row[0] in remarks]
    chosen = rows if len(rows) <= MOST_COLUMNS else told[:MOST_COLUMNS] or rows[:FEW_COLUMNS]
    table = Table("column", "read as", "nullable", "note", title="Columns", title_justify="left")
    for name, kind, nullable in chosen:
        note = escape(printable(remarks.get(name, "")))
        table.add_row(escape(printable(name)), kind, nullable, note)
    print_table(table)
    if len(rows) > len(chosen):
        counted = Counter(feature["kind"] for feature in features).most_common()
        kinds = ", ".join(f"{count} {kind}" for kind, count in counted)
        out.print(f"[dim]{len(rows)} columns in all: {kinds}, {len(dropped)} not used[/]")


def finish(backend: Backend, name: str, *, quiet: bool, as_json: bool) -> None:
    """Wait for a job, show how it ended; Ctrl-C cancels it. Exit code 1 unless it succeeded."""
    try:
        job = watch(backend, name, quiet=quiet or as_json)
    except KeyboardInterrupt:
        err.print("Cancelling; what is done is kept...")
        with suppress(FailedPrecondition):  # it has just ended
            backend.cancel(name)
        job = watch(backend, name, quiet=True)
    show_end(backend, job, as_json=as_json)


def show_end(backend: Backend, job: dict[str, Any], *, as_json: bool) -> None:
    """Show how a job ended. Exit code 1 unless it succeeded, 130 if it was cancelled."""
    if as_json:
        typer.echo(json.dumps(job))
    else:
        job_summary(job, written(backend, job))
    if state_of(job) != "SUCCEEDED":
        raise typer.Exit(130 if state_of(job) == "CANCELLED" else 1)


def written(backend: Backend, job: dict[str, Any]) -> list[WrittenFile]:
    """The files of a finished job, as far as they can be seen from here."""
    directory = job.get("outputInfo", {}).get("gcsOutputDirectory")
    return backend.files(directory) if directory and job.get("endTime") else []


def jobs_table(jobs: list[dict[str, Any]]) -> None:
    """Print jobs, newest first."""
    if not jobs:
        out.print("No jobs. Start one with [bold]rowcast predict[/].")
        return
    table = Table("id", "state", "created", "scored", "failed", "model", "name", box=None)
    for job in jobs:
        state = state_of(job)
        good, bad, _ = counts(job)
        table.add_row(
            job["name"].rsplit("/", 1)[-1],
            f"[{STATE_STYLES.get(state, 'white')}]{state}[/]",
            moment(job.get("createTime", "")),
            f"{good:,}",
            f"{bad:,}",
            escape(job.get("model", "").rsplit("/", 1)[-1]),
            escape(printable(job.get("displayName", ""))),
        )
    print_table(table)


def moment(timestamp: str) -> str:
    """Shorten an API timestamp to seconds."""
    return timestamp[:19].replace("T", " ")


def printable(text: str) -> str:
    """Take the power to move the cursor from a text that others wrote."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


OPTIONS = {
    "display_name": "--job-name",
    "model": "NAME",
    "input_config.gcs_source.uris": "INPUT",
    "input_config.bigquery_source.input_uri": "INPUT",
    "input_config.instances_format": "--input-format",
    "instance_config.key_field": "--key",
    "output_config.predictions_format": "--format",
    "output_config.gcs_destination.output_uri_prefix": "--output",
    "output_config.bigquery_destination.output_uri": "--output",
    "generate_explanation": "--explain",
    "manual_batch_tuning_parameters.batch_size": "--batch-size",
    "dedicated_resources.max_replica_count": "--replicas",
    "dedicated_resources.starting_replica_count": "--replicas",
    "rowcast.row_number_column": "--row-number",
    "rowcast.output_name": "--merge",
    "rowcast.max_explanations": "--max-explanations",
    "rowcast.threshold_high": "--explain-above",
    "rowcast.threshold_low": "--explain-below",
    "rowcast.interval_columns": "--interval",
    "rowcast.interval_level": "--interval-level",
}
"""Field of a request -> option of ``rowcast predict`` that sets it."""


def error(problem: RowcastError) -> None:
    """Print an error, every violation on a line of its own."""
    violations = problem.violations if isinstance(problem, InvalidRequest) else ()
    if not violations:
        error_text(str(problem))
    elif len(violations) == 1:
        error_text(_violation_text(violations[0]))
    else:
        error_text("\n  ".join(["This cannot be done:", *map(_violation_text, violations)]))


def _violation_text(violation: Violation) -> str:
    field = OPTIONS.get(violation.field.partition("[")[0], violation.field)
    return f"{field}: {violation.description}"


def error_text(message: str) -> None:
    """Print a message of what went wrong."""
    err.print(f"[red]Error:[/] {escape(message)}", soft_wrap=True)


def broken(problem: Exception) -> None:
    """Print that rowcast itself is at fault, and keep the details in a file."""
    with tempfile.NamedTemporaryFile(
        "w", prefix="rowcast-error-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        traceback.print_exception(problem, file=file)
    error_text(f"{type(problem).__name__}: {problem}")
    err.print(f"This is a fault of rowcast; its details are in {file.name}.", soft_wrap=True)


class _TimeLeft(ProgressColumn):
    """What is left of a training's budget."""

    def __init__(self, budget_s: float | None) -> None:
        super().__init__()
        self._budget_s = budget_s

    def render(self, task: Task) -> Text:
        """Show seconds left, at most; nothing without a budget."""
        if self._budget_s is None:
            return Text()
        left = max(0.0, self._budget_s - (task.elapsed or 0.0))
        return Text(f"at most {duration(left)} left", style="dim")


def leaderboard(training: dict[str, Any], *, most: int = 12) -> None:
    """Print the candidates of a training, best first, and what the members weigh."""
    listed = training.get("candidates") or []
    if not listed or "lossName" not in training:
        return
    table = Table(
        "candidate", training["lossName"], "weight", "rounds", title="Candidates", box=None
    )
    table.title_justify = "left"
    for one in [c for i, c in enumerate(listed) if i < most or c["weight"]]:
        loss = one.get("note", "failed") if one["loss"] is None else f"{one['loss']:.5g}"
        weight = f"[green]{one['weight']:.0%}[/]" if one["weight"] else ""
        table.add_row(escape(one["name"]), escape(loss), weight, str(one["rounds"] or ""))
    if training.get("ensembleLoss") is not None:
        table.add_row("[bold]ensemble[/]", f"[bold]{training['ensembleLoss']:.5g}[/]", "", "")
    print_table(table)
    if len(listed) > most:
        out.print(f"[dim]{len(listed)} candidates were tried.[/]")


class TrainingProgress:
    """A bar that training moves; it may be called with (stage, fraction, message)."""

    def __init__(self, *, quiet: bool, budget_s: float | None = None) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            _TimeLeft(budget_s),
            console=err,
            disable=quiet or not err.is_terminal,
            transient=True,
        )
        self._bar = self._progress.add_task("reading", total=1.0)

    def __call__(self, stage: str, fraction: float, message: str) -> None:
        """Move the bar; what a candidate has reached stays on the screen."""
        if stage == "candidate":
            self._progress.console.print(f"  {escape(message)}", style="dim", soft_wrap=True)
            return
        self._progress.update(self._bar, description=escape(message), completed=fraction)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
