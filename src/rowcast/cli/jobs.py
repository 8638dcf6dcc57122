"""jobs list|show|watch|cancel|resume|retry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rowcast.backend import HttpBackend, LocalBackend
from rowcast.cli import AsJson, Home, Quiet, Server, Token, show
from rowcast.core.job import FINISHED
from rowcast.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Sequence

JobName = Annotated[str, typer.Argument(help="Id or name of the job.", metavar="JOB")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    jobs = typer.Typer(
        help="Look at jobs, cancel them, take them up again.",
        epilog="Example: rowcast jobs list --filter 'state=\"JOB_STATE_FAILED\"'",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    for command in (list_jobs, show_job, watch_job, cancel_job, resume_job, retry_job):
        jobs.command(command.__name__.split("_", maxsplit=1)[0])(command)
    app.add_typer(jobs, name="jobs")


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


def _open(
    home: Path | None, server: str | None, token: str | None, paths: Sequence[str] = ()
) -> LocalBackend | HttpBackend:
    from rowcast.api import open_backend

    return open_backend(home=home, server=server, token=token, paths=paths)
