"""models list|show|versions|alias|delete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from rowcast.backend import find_model
from rowcast.cli import AsJson, Home, Server, Token, show
from rowcast.cli.show import out

if TYPE_CHECKING:
    from pathlib import Path

    from rowcast.backend import HttpBackend, LocalBackend

Name = Annotated[
    str, typer.Argument(help="Name or id of the model, optionally @VERSION.", metavar="NAME")
]


def register(app: typer.Typer) -> None:
    """Add the group."""
    models = typer.Typer(
        help="Look at trained models, name their versions, delete them.",
        epilog="Example: rowcast models show churn",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    models.command("list")(list_models)
    models.command("show")(show_model)
    models.command("versions")(list_versions)
    models.command("alias")(alias_version)
    models.command("delete")(delete_model)
    app.add_typer(models, name="models")


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
    name: Name,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Show what a model expects, predicts, and how good it is.

    A server tells less: no metrics, which are in its evaluations.

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
        _print_resource(facts)


def _print_resource(model: dict[str, Any]) -> None:
    """Print what a server says of a model."""
    told = model.get("rowcast", {})
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for name, value in (
        ("model", model.get("displayName", "")),
        ("id", model["name"].rsplit("/", 1)[-1]),
        ("version", model.get("versionId", "")),
        ("aliases", ", ".join(model.get("versionAliases", []))),
        ("created", show.moment(str(model.get("versionCreateTime", "")))),
        ("predicts", f"{told.get('targetColumn', '')} ({told.get('predictionType', '')})"),
        ("features", ", ".join(one["name"] for one in told.get("features", []))),
    ):
        table.add_row(name, escape(show.printable(value)))
    show.print_table(table)
    if told.get("damaged"):
        out.print("[red]damaged:[/] its files are missing or not those that were saved")


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
    notes = (facts.get("training") or {}).get("notes") or {}
    show.columns_table(facts["features"], facts["dropped"], notes)
    for warning in facts["warnings"]:
        out.print(f"[yellow]note:[/] {escape(str(warning))}", soft_wrap=True)
    if not any(value is not None for value in facts["metrics"].values()):
        out.print("[yellow]note:[/] How good this model is was not measured.")


def list_versions(
    name: Name,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """List the versions of a model, newest first, with their aliases.

    For example:

    rowcast models versions churn
    """
    with _open(home, server, token) as backend:
        versions = backend.model_versions(find_model(backend, name))
    if as_json:
        typer.echo(json.dumps(versions))
    else:
        _print_versions(versions)


def alias_version(
    name: Annotated[
        str,
        typer.Argument(
            help="Name or id of the model, with @VERSION; without it the default version.",
            metavar="NAME",
        ),
    ],
    aliases: Annotated[
        list[str],
        typer.Argument(
            help="Aliases to give to the version. A '-' before one takes it away; write '--' "
            "before the first such.",
            metavar="ALIAS...",
        ),
    ],
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Give aliases to a version. Each belongs to one version; 'default' is what jobs use.

    For example:

    rowcast models alias churn@2 default prod

    rowcast models alias churn@2 -- -prod
    """
    with _open(home, server, token) as backend:
        model = find_model(backend, name)
        changed = backend.merge_aliases(model, aliases)
        versions = backend.model_versions(model)
    if as_json:
        typer.echo(json.dumps(changed))
    else:
        _print_versions(versions)


def delete_model(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    home: Home = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Delete a model with all of its versions, or the one after @, and their files.

    For example:

    rowcast models delete churn --yes

    rowcast models delete churn@1
    """
    with _open(home, server, token) as backend:
        model = find_model(backend, name)
        if not yes:
            typer.confirm(f"Delete {name} and its files?", abort=True, err=True)
        backend.delete_model(model)
    out.print(f"Deleted {escape(show.printable(name))}.")


def _print_versions(versions: list[dict[str, Any]]) -> None:
    table = Table("version", "aliases", "name", "created", box=None)
    for version in versions:
        table.add_row(
            version.get("versionId", ""),
            ", ".join(version.get("versionAliases", [])),
            escape(show.printable(version.get("displayName", ""))),
            show.moment(str(version.get("versionCreateTime", ""))),
        )
    show.print_table(table)


def _open(home: Path | None, server: str | None, token: str | None) -> LocalBackend | HttpBackend:
    from rowcast.api import open_backend

    return open_backend(home=home, server=server, token=token)
