"""jobs list|show|watch|cancel|resume|retry, models list|show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from rowcast.cli import AsJson, Home, Quiet, Server, Token, show
from rowcast.cli.show import out

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from rowcast.backend import Backend

JobName = Annotated[str, typer.Argument(help="Id or name of the job.", metavar="JOB")]


def register(app: typer.Typer) -> None:
    """Add the groups."""
    jobs = typer.Typer(help="Look at jobs, cancel them, take them up again.", no_args_is_help=True)
    for command in (list_jobs, show_job, watch_job, cancel_job, resume_job, retry_job):
        jobs.command(command.__name__.split("_", maxsplit=1)[0])(command)
    models = typer.Typer(help="Look at trained models.", no_args_is_help=True)
    models.command("list")(list_models)
    models.command("show")(show_model)
    app.add_typer(jobs, name="jobs")
    app.add_typer(models, name="models")


def list_jobs(
    filter_: Annotated[
        str, typer.Option("--filter", help='As in the API: state="JOB_STATE_FAILED"')
    ] = "",
    limit: Annotated[int, typer.Option(help="Most jobs to show.")] = 20,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
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
    """Show one job: state, counts, output, errors by cause."""
    with _open(home, server, token) as backend:
        found = backend.get(job)
    if as_json:
        typer.echo(json.dumps(found))
    else:
        show.job_summary(found)


def watch_job(
    job: JobName,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    quiet: Quiet = False,
) -> None:
    """Follow a job to its end."""
    with _open(home, server, token) as backend:
        found = show.watch(backend, job, quiet=quiet)
    show.job_summary(found)
    if show.state_of(found) != "SUCCEEDED":
        raise typer.Exit(1)


def cancel_job(job: JobName, home: Home = None, server: Server = None, token: Token = None) -> None:
    """Stop a job. The parts that are done are published, in order and marked incomplete."""
    with _open(home, server, token) as backend:
        backend.cancel(job)
        found = show.watch(backend, job, quiet=True)
    show.job_summary(found)


def resume_job(job: JobName, home: Home = None, quiet: Quiet = False) -> None:
    """Finish a job whose process was killed; a server does this by itself when it starts."""
    from rowcast.backend import LocalBackend
    from rowcast.settings import load_settings

    with LocalBackend(load_settings(home=home), [Path("/")]) as backend:
        backend.resume(job)
        show.finish(backend, job, quiet=quiet, as_json=False)


def retry_job(
    job: JobName,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score only the rows again that failed, once their cause is mended in errors_*."""
    from rowcast.api import open_backend

    with open_backend(home=home, server=server, token=token, paths=["/"]) as backend:
        earlier = backend.get(job)
        created = backend.create({"rowcast": {"retryOf": earlier["name"]}})
        show.finish(backend, created["name"], quiet=quiet, as_json=as_json)


def list_models(
    home: Home = None, server: Server = None, token: Token = None, as_json: AsJson = False
) -> None:
    """List models."""
    with _open(home, server, token) as backend:
        models = backend.models()
    if as_json:
        typer.echo(json.dumps(models))
        return
    if not models:
        out.print("No models yet. Train one: [bold]rowcast train FILE --target C --name N[/]")
        return
    table = Table("id", "name", "version", "created", box=None)
    for model in models:
        table.add_row(
            model["name"].rsplit("/", 1)[-1],
            escape(model.get("displayName", "")),
            model.get("versionId", ""),
            model.get("versionCreateTime", model.get("createTime", ""))[:19].replace("T", " "),
        )
    out.print(table)


def show_model(
    name: Annotated[str, typer.Argument(help="Name or id of the model, optionally @VERSION.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model expects, predicts, and how good it is."""
    import rowcast

    facts = rowcast.load(name, home=home).describe()
    if as_json:
        typer.echo(json.dumps(facts, default=str))
    else:
        print_model(facts)


def print_model(facts: dict[str, Any]) -> None:
    """Print a model's description."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row(
        "model", f"{escape(facts['name'])} (id {facts['id']}, version {facts['version']})"
    )
    table.add_row("predicts", f"{escape(facts['target'])} ({facts['predictionType']})")
    if facts["classes"]:
        shown = ", ".join(facts["classes"][:10]) + (" ..." if len(facts["classes"]) > 10 else "")
        table.add_row("classes", escape(shown))
    table.add_row("rows", f"{facts['rows']:,}")
    for metric, value in facts["metrics"].items():
        table.add_row(metric, f"{value:.4g}")
    table.add_row("folder", escape(facts["folder"]))
    out.print(table, soft_wrap=True)
    columns = Table("column", "kind", "nullable", title="Features", title_justify="left")
    for feature in facts["features"]:
        nullable = "yes" if feature["nullable"] else "no"
        columns.add_row(escape(feature["name"]), feature["kind"], nullable)
    out.print(columns)
    for name, why in facts["dropped"].items():
        out.print(f"[yellow]not used:[/] {escape(name)}: {escape(why)}")
    for warning in facts["warnings"]:
        out.print(f"[yellow]note:[/] {escape(warning)}")


def _open(
    home: Path | None, server: str | None, token: str | None
) -> AbstractContextManager[Backend]:
    from rowcast.api import open_backend

    return open_backend(home=home, server=server, token=token)
