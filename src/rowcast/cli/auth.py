"""auth: tokens of servers that are used from here."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from rowcast.cli import Home, Server, show
from rowcast.errors import InvalidRequest, NotFound

if TYPE_CHECKING:
    from rowcast.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    auth = typer.Typer(
        no_args_is_help=True,
        help="Keep a server's token, and hand it to other programs.",
        rich_markup_mode="rich",
    )
    for name, command in (
        ("login", login),
        ("print-access-token", print_access_token),
        ("credentials-file", credentials_file),
    ):
        auth.command(name)(command)
    app.add_typer(auth, name="auth")
    app.command("exec", context_settings={"allow_extra_args": True})(exec_)


def login(
    server: Annotated[str, typer.Argument(help="http://HOST:PORT", metavar="SERVER")],
    home: Home = None,
) -> None:
    """Keep a token for a server, once the server has been seen to know it.

    The token is asked for, or read from standard input. Commands with --server,
    rowcast.vertex.connect and the commands below use it from then on.

    For example:

    rowcast auth login https://rowcast.example.com:8080

    rowcast auth login http://127.0.0.1:8080 < token.txt
    """
    from rowcast.backend import HttpBackend
    from rowcast.core.names import Parent
    from rowcast.errors import PermissionDenied
    from rowcast.logins import check_server, keep_token

    settings, url = _settings(home), check_server(server)
    token = typer.prompt("Token", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    parent = Parent(settings.project, settings.location)
    authority = settings.tls_folder / "ca.pem"
    backend = HttpBackend(url, token.strip(), parent, authority)
    with backend, suppress(PermissionDenied):  # it knows the token: who may do what comes later
        backend.jobs(limit=1)
    path = keep_token(settings, url, token.strip())
    show.out.print(f"The token for {escape(url)} is kept in {escape(str(path))}.", soft_wrap=True)


def print_access_token(server: Server = None, home: Home = None) -> None:
    """Print the token, for use in other commands.

    For example:

    rowcast auth print-access-token

    curl -H "Authorization: Bearer $(rowcast auth print-access-token)" ...
    """
    from rowcast.logins import local_server, token_for

    settings = _settings(home)
    url = server or local_server(settings)
    token = token_for(settings, url)
    if token is None:
        raise NotFound(f"There is no token for {url}; keep one with rowcast auth login.")
    typer.echo(token)


def credentials_file(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="File to write.", metavar="FILE")
    ] = Path("rowcast-credentials.json"),
    server: Server = None,
    home: Home = None,
) -> None:
    """Write a file that Google's libraries take as their default credentials.

    It holds no secret: it names the server, and the file in which the token is.

    For example:

    rowcast auth credentials-file -o rowcast-credentials.json

    export GOOGLE_APPLICATION_CREDENTIALS=rowcast-credentials.json
    """
    from rowcast.logins import check_server, external_account, local_server, token_file

    settings = _settings(home)
    url = check_server(server or local_server(settings))
    source = token_file(settings, url)
    if not source.exists():
        raise InvalidRequest(f"There is no token for {url}; keep one with rowcast auth login.")
    output.write_text(json.dumps(external_account(url, source), indent=2) + "\n")
    show.out.print(
        f"export GOOGLE_APPLICATION_CREDENTIALS={output.absolute()}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def exec_(
    context: typer.Context,
    grpc: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the server's gRPC door.", show_default=False),
    ] = None,
    server: Server = None,
    home: Home = None,
) -> None:
    """Run a program written for Vertex AI, unchanged: the server answers its calls to Google.

    For this program alone, connections to *.googleapis.com end at the server,
    and its default credentials are your token. Nothing is changed on the
    machine, and nothing for these hosts leaves it by another way.

    For example:

    rowcast exec -- python job.py

    rowcast exec --server https://rowcast.example.com:8080 --grpc
    rowcast.example.com:8081 -- python job.py
    """
    from rowcast.diversion import Target, check_door, run
    from rowcast.logins import check_server, local_server, token_file
    from rowcast.logs import configure_logging

    if not context.args:
        raise InvalidRequest("Name a program to run, as in rowcast exec -- python job.py")
    settings = _settings(home)
    url = check_server(server or local_server(settings))
    source = token_file(settings, url)
    if not source.exists():
        raise InvalidRequest(f"There is no token for {url}; keep one with rowcast auth login.")
    if grpc is None and server is None and settings.grpc_port:
        grpc = f"{url.partition('://')[2].rpartition(':')[0]}:{settings.grpc_port}"
    configure_logging(
        settings.log_level if "log_level" in settings.model_fields_set else "error",
        json_lines=False,
    )
    target = Target(url, check_door(grpc), source, settings.tls_folder / "ca.pem")
    raise typer.Exit(run(list(context.args), target))


def _settings(home: Path | None) -> Settings:
    from rowcast.settings import load_settings

    return load_settings(home=home)
