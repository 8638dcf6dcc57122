"""train, predict, serve, demo."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rowcast.cli import AsJson, Home, Quiet, Server, Token, show
from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    from rowcast.backend import Backend

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, None: 1}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(train)
    app.command()(predict)
    app.command()(serve)
    app.command()(demo)


def seconds(text: str) -> float:
    """Read a duration: ``60s``, ``5m``, ``1h``, or a number of seconds."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a duration; write 60s, 5m or 1h.")
    return float(match.group(1)) * _SECONDS[match.group(2)]


def train(
    files: Annotated[
        list[str],
        typer.Argument(help="Training data: CSV, JSONL or Parquet files.", metavar="FILE"),
    ],
    target: Annotated[str, typer.Option("--target", "-t", help="Column to predict.")],
    name: Annotated[str, typer.Option("--name", "-n", help="Name to give the model.")],
    home: Home = None,
    budget: Annotated[
        str, typer.Option("--budget", "-b", help="Time to spend: 60s, 5m, 1h.")
    ] = "60s",
    prediction_type: Annotated[
        str | None,
        typer.Option(
            "--type",
            help="classification or regression. [dim]Default: what the target looks like[/]",
            show_default=False,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="Treat a column as COLUMN=numeric|categorical|timestamp|text; may be repeated.",
            show_default=False,
        ),
    ] = None,
    weight: Annotated[
        str | None, typer.Option("--weight", help="Column of row weights.", show_default=False)
    ] = None,
    drop_null_target: Annotated[
        bool, typer.Option(help="Leave out rows without a target instead of failing.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Same data and seed, same model.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on a table.

    Example: rowcast train customers.csv --target churn --name churn
    """
    import rowcast
    from rowcast.cli.show import out

    transformations = dict(_pair(item) for item in kind or [])
    progress, report = show.training_progress(quiet=quiet)
    with progress:
        model = rowcast.train(
            files,
            target=target,
            name=name,
            home=home,
            budget_s=seconds(budget),
            prediction_type=prediction_type,
            transformations=transformations or None,
            weight=weight,
            drop_null_target=drop_null_target,
            seed=seed,
            progress=report,
        )
    if as_json:
        typer.echo(json.dumps(model.describe(), default=str))
        return
    from rowcast.cli.jobs import print_model

    print_model(model.describe())
    out.print(f"\nScore a file with it: [bold]rowcast predict {model.id} FILE --output DIR[/]")


def predict(
    model: Annotated[str, typer.Argument(help="Model name or id, optionally @VERSION.")],
    inputs: Annotated[
        list[str],
        typer.Argument(help="Files, patterns or gs:// URIs to score.", metavar="INPUT..."),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder or URI for the results.")],
    home: Home = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            help="csv, jsonl or parquet. [dim]Default: csv; jsonl with --explain[/]",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Add Shapley attributions (jsonl, parquet).")
    ] = False,
    input_format: Annotated[
        str | None,
        typer.Option(help="csv, jsonl or parquet. [dim]Default: by name[/]", show_default=False),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Write this column as 'key' instead of all input.", show_default=False),
    ] = None,
    row_number: Annotated[
        str | None,
        typer.Option(help="Add each row's number under this name.", show_default=False),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option(help="Write one file of exactly this name.", show_default=False),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Rows scored together.", show_default=False)
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(help="Most processes to use.", show_default=False)
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say what would happen; create no job.")
    ] = False,
    display_name: Annotated[
        str | None, typer.Option("--job-name", help="Name of the job.", show_default=False)
    ] = None,
    server: Server = None,
    token: Token = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score files with a model: every row ends in predictions_* or errors_*, in order.

    Works in this process, or on a server with --server. Rows that cannot be scored do not
    fail the job; they are counted, grouped by cause and written to errors_*.

    Example: rowcast predict churn new.csv --output scores
    """
    from rowcast.api import open_backend, request_body
    from rowcast.sources import format_of

    out_format = format_ or ("jsonl" if explain else "csv")
    body = request_body(
        model=model,
        inputs=inputs,
        output=output,
        input_format=input_format or format_of(inputs[0]),
        output_format=out_format,
        display_name=display_name,
        explain=explain,
        key=key,
        batch_size=batch_size,
        replicas=replicas,
        row_number=row_number,
        merge=merge,
        check=check,
    )
    if server is None and "://" not in output:
        Path(output).mkdir(parents=True, exist_ok=True)
    with open_backend(home=home, server=server, token=token, paths=[*inputs, output]) as backend:
        body["model"] = _find_model(backend, model)
        job = backend.create(body)
        if check:
            _print_preflight(job["rowcast"]["preflight"], as_json=as_json)
            return
        show.finish(backend, job["name"], quiet=quiet, as_json=as_json)


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 picks one.")] = 8080,
    home: Home = None,
) -> None:
    """Serve the API, on this machine only unless told otherwise.

    Clients show a token: the one in ROWCAST_TOKEN, or the one made at first start and kept in
    HOME/token.
    """
    from rowcast.serve import serve as run

    run(host=host, port=port, home=home)


def demo(
    home: Annotated[
        Path | None,
        typer.Option("--home", help="Folder to work in. [dim]Default: a new one[/]"),
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows in the batch job.")] = 50_000,
) -> None:
    """See it all once: train on real data, start a server, run a job through its API."""
    from rowcast.cli.demo import run

    run(home=home, rows=rows)


def _find_model(backend: Backend, name: str) -> str:
    """Let people name a model by its display name as well as by its id."""
    plain, at, version = name.partition("@")
    if "/" in plain:
        return name
    models = backend.models()
    if any(model["name"].endswith(f"/{plain}") for model in models):
        return name
    named = [model for model in models if model.get("displayName") == plain]
    if len(named) != 1:
        known = ", ".join(sorted(m.get("displayName", "") for m in models)) or "none yet"
        raise InvalidRequest(f"There is no model {plain!r}. Models: {known}.")
    return str(named[0]["name"]) + at + version


def _pair(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition("=")
    if not name:
        raise typer.BadParameter(f"{text!r}: write COLUMN=numeric, for instance.")
    return name, kind


def _print_preflight(report: dict[str, Any], *, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    if as_json:
        typer.echo(json.dumps(report))
        return
    out = show.out
    out.print(
        f"{report['inputObjects']} object(s), {report['inputBytes']:,} bytes, about "
        f"{report['estimatedRows']:,} rows, {report['estimatedSeconds']:.1f} s to score; "
        f"about {report['estimatedFailedRows']:,} rows would fail."
    )
    if report["extraColumns"]:
        out.print(f"Columns passed through: {escape(', '.join(report['extraColumns']))}")
    for failure in report["objectFailures"]:
        text = f"{escape(failure['uri'])}: {escape(failure['message'])}"
        out.print(f"[yellow]would not be read:[/] {text}")
    if report["errors"]:
        table = Table("sampled rows", "cause", "example")
        for item in report["errors"]:
            table.add_row(str(item["count"]), escape(item["cause"]), escape(item["examples"][0]))
        out.print(table)
    table = Table("feature", "null", "unseen categories")
    for feature in report["features"]:
        table.add_row(
            escape(feature["name"]),
            f"{feature.get('nullRate', 0):.1%}",
            f"{feature.get('unseenCategoryRate', 0):.1%}",
        )
    out.print(table)
