"""The command line: train, predict, serve, jobs, models, demo.

Commands import what they need when they run, so that ``rowcast --help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rowcast.errors import RowcastError

app = typer.Typer(
    name="rowcast",
    help=(
        "Train models on tables, and score tables with them in batch jobs that never lose a row."
        "\n\n"
        "Start with: rowcast demo"
    ),
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        envvar="ROWCAST_HOME",
        help="Folder of models, buckets and the job database. [dim]Default: ~/.rowcast[/]",
        show_default=False,
    ),
]
Server = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="ROWCAST_SERVER",
        help="URL of a rowcast server to ask, instead of working in this process.",
        show_default=False,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        envvar="ROWCAST_TOKEN",
        help="Token of that server. [dim]Default: the one kept in HOME/token[/]",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress display.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


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
    """Run the command line; a known error is one message and exit code 1."""
    from rowcast.cli import commands, jobs, show

    commands.register(app)
    jobs.register(app)
    try:
        app()
    except RowcastError as problem:
        show.error(problem)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
