"""jobs list|show|watch|cancel|resume|retry, models list|show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from rowcast.backend import HttpBackend, LocalBackend, find_model
from rowcast.cli import AsJson, Home, Quiet, Server, Token, show
from rowcast.cli.show import out
from rowcast.core.job import FINISHED
from rowcast.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Sequence

JobName = Annotated[str, typer.Argument(help="Id or name of the job.", metavar="JOB")]


def register(app: typer.Typer) -> None:
    """Add the groups."""
    jobs = typer.Typer(
        help="Look at jobs, cancel them, take them up again.",
        epilog="Example: rowcast jobs list --filter 'state=\"JOB_STATE_FAILED\"'",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    for command in (list_jobs, show_job, watch_job, cancel_job, resume_job, retry_job):
        jobs.command(command.__name__.split("_", maxsplit=1)[0])(command)
    models = typer.Typer(
        help="Look at trained models.",
        epilog="Example: rowcast models show churn",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    models.command("list")(list_models)
    models.command("show")(show_model)
    app.add_typer(jobs, name="jobs")
    app.add_typer(models, name="models")


def list_jobs(
    filter_: Annotated[
        str,
        typer.Option(
            "--filter",
            help="Compare state, display_name, model_display_name, create_time or labels.KEY.",
            show_default=False,
        ),
    ] = "",
    limit: Annotated[int, typer.Option(help="Most jobs to show.", min=1)] = 20,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    For example:

    rowcast jobs list --limit 100

    rowcast jobs list --filter 'state="JOB_STATE_FAILED" AND display_name:"churn*"'
    """
    with _open(home, server, token) as backend:
        jobs = backend.jobs(filter_=filter_, limit=limit)
    if as_json:
        typer.echo(json.dumps(jobs))
    else:
        show.jobs_table(jobs)


def show_job(
    job: JobName,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show one job: state, counts, output, errors by cause.

    For example:

    rowcast jobs show 4417450692310990848 --json
    """
    with _open(home, server, token) as backend:
        found = backend.get(job)
        files = show.written(backend, found)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show.job_summary(found, files)


def watch_job(
    job: JobName,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Follow a job to its end. Ctrl-C stops the watching, not the job.

    For example:

    rowcast jobs watch 4417450692310990848 --server http://127.0.0.1:8080
    """
    with _open(home, server, token) as backend:
        found = show.watch(backend, job, quiet=quiet or as_json)
        show.show_end(backend, found, as_json=as_json)


def cancel_job(
    job: JobName,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Stop a job. The parts that are done are published, in order and marked incomplete.

    For example:

    rowcast jobs cancel 4417450692310990848
    """
    with _open(home, server, token, ["/"]) as backend:
        backend.cancel(job)
        if isinstance(backend, LocalBackend):  # nobody may be running it any more
            backend.resume(job)
        found = show.watch(backend, job, quiet=True)
        files = show.written(backend, found)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show.job_summary(found, files)


def resume_job(
    job: JobName, home: Home = None, quiet: Quiet = False, as_json: AsJson = False
) -> None:
    """Finish a job whose process was killed; a server does this by itself when it starts.

    Parts that were done are not scored again.

    For example:

    rowcast jobs resume 4417450692310990848
    """
    from rowcast.settings import load_settings

    with LocalBackend(load_settings(home=home), [Path("/")]) as backend:
        state = show.state_of(backend.get(job))
        if backend.get(job)["state"] in FINISHED:
            raise FailedPrecondition(f"Job {job} has ended: it is in state {state}.")
        backend.resume(job)
        show.finish(backend, job, quiet=quiet, as_json=as_json)


def retry_job(
    job: JobName,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score only the rows again that failed, once their cause is mended in errors_*.

    For example:

    rowcast jobs retry 4417450692310990848
    """
    from rowcast.api import open_backend

    with open_backend(home=home, server=server, token=token, paths=["/"]) as backend:
        earlier = backend.get(job)
        created = backend.create({"rowcast": {"retryOf": earlier["name"]}})
        show.finish(backend, created["name"], quiet=quiet, as_json=as_json)


def list_models(
    home: Home = None, server: Server = None, token: Token = None, as_json: AsJson = False
) -> None:
    """List models, newest first, each in its default version.

    For example:

    rowcast models list --json
    """
    with _open(home, server, token) as backend:
        models = backend.models()
    if as_json:
        typer.echo(json.dumps(models))
        return
    if not models:
        out.print("No models yet. Train one with [bold]rowcast train[/].")
        return
    table = Table("id", "name", "version", "created", box=None)
    for model in models:
        table.add_row(
            model["name"].rsplit("/", 1)[-1],
            escape(show.printable(model.get("displayName", ""))),
            model.get("versionId", ""),
            show.moment(str(model.get("versionCreateTime", ""))),
        )
    show.print_table(table)


def show_model(
    name: Annotated[
        str, typer.Argument(help="Name or id of the model, optionally @VERSION.", metavar="NAME")
    ],
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model expects, predicts, and how good it is.

    A server tells name, version and times only.

    For example:

    rowcast models show churn

    rowcast models show churn@1 --json
    """
    if server is None:
        import rowcast

        facts = rowcast.load(name, home=home).describe()
    else:
        with _open(home, server, token) as backend:
            facts = backend.model(find_model(backend, name))
    if as_json:
        typer.echo(json.dumps(facts, default=str))
    elif server is None:
        print_model(facts)
    else:
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
        table.add_row("model", escape(show.printable(facts.get("displayName", ""))))
        table.add_row("id", facts["name"].rsplit("/", 1)[-1])
        table.add_row("version", facts.get("versionId", ""))
        table.add_row("created", show.moment(str(facts.get("versionCreateTime", ""))))
        show.print_table(table)


def print_model(facts: dict[str, Any]) -> None:
    """Print a model's description."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(
        "model", f"{escape(facts['name'])} (id {facts['id']}, version {facts['version']})"
    )
    table.add_row("predicts", f"{escape(facts['target'])} ({facts['predictionType']})")
    if facts["classes"]:
        shown = ", ".join(facts["classes"][:10])
        if len(facts["classes"]) > 10:
            shown += f" ... ({len(facts['classes'])} classes)"
        table.add_row("classes", escape(show.printable(shown)))
    table.add_row("rows", f"{facts['rows']:,}")
    for metric, value in facts["metrics"].items():
        table.add_row(escape(metric), "unknown" if value is None else f"{value:.4g}")
    table.add_row("folder", escape(facts["folder"]))
    show.print_table(table)
    columns = Table("column", "kind", "nullable", title="Features", title_justify="left")
    for feature in facts["features"]:
        nullable = "yes" if feature["nullable"] else "no"
        columns.add_row(escape(show.printable(feature["name"])), feature["kind"], nullable)
    show.print_table(columns)
    for name, why in facts["dropped"].items():
        out.print(f"[yellow]not used:[/] {escape(f'{name}: {why}')}", soft_wrap=True)
    for warning in facts["warnings"]:
        out.print(f"[yellow]note:[/] {escape(str(warning))}", soft_wrap=True)
    if not any(value is not None for value in facts["metrics"].values()):
        out.print("[yellow]note:[/] How good this model is was not measured.")


def _open(
    home: Path | None, server: str | None, token: str | None, paths: Sequence[str] = ()
) -> LocalBackend | HttpBackend:
    from rowcast.api import open_backend

    return open_backend(home=home, server=server, token=token, paths=paths)
