"""The command line: train, predict, report, import, serve, jobs, models, sql, load, iam, demo.

Commands import what they need when they run, so that ``rowcast --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rowcast.errors import RowcastError

app = typer.Typer(
    name="rowcast",
    help=(
        "Train models on tables, and score tables with them in batch jobs that never lose a row."
    ),
    epilog=(
        "[bold]The first steps[/]\n\n"
        "rowcast demo\n\n"
        "rowcast train customers.csv --target churn --name churn\n\n"
        "rowcast predict churn new.csv --output scores\n\n"
        "rowcast COMMAND --help says more. Settings are in rowcast.toml in the home folder, or in "
        "variables named ROWCAST_..."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

WHERE, SHOWN = "Where", "What is printed"

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="ROWCAST_HOME",
        help="Folder of models, buckets and the job database. [dim]Default: ~/.rowcast[/]",
        show_default=False,
        rich_help_panel=WHERE,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="ROWCAST_SERVER",
        help="URL of a rowcast server to ask, instead of working in this process.",
        show_default=False,
        rich_help_panel=WHERE,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="ROWCAST_TOKEN",
        help="Token of that server. [dim]Default: the one kept in HOME/token[/]",
        show_default=False,
        rich_help_panel=WHERE,
    ),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress display.", rich_help_panel=SHOWN),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print JSON for scripts.", rich_help_panel=SHOWN),
]


def _version(show: bool) -> None:
    if show:
        from rowcast.version import __version__

        typer.echo(f"rowcast {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line; an error is one message and exit code 1."""
    from rowcast.cli import auth, commands, doctor, iam, imports, jobs, models, tables, train

    if not app.registered_commands:
        train.register(app)
        commands.register(app)
        imports.register(app)
        jobs.register(app)
        models.register(app)
        tables.register(app)
        doctor.register(app)
        iam.register(app)
        auth.register(app)
    try:
        app()
    except RowcastError as problem:
        from rowcast.cli import show

        show.error(problem)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as problem:
        from rowcast.cli import show

        show.error_text(os_message(problem))
    except Exception as problem:  # noqa: BLE001 - people get a message, and the details in a file
        from rowcast.cli import show

        show.broken(problem)
    sys.exit(1)


def os_message(problem: OSError) -> str:
    """Say what the system refused."""
    reason = (problem.strerror or str(problem)).lower()
    return f"Cannot use {problem.filename}: {reason}." if problem.filename else f"{reason}."
