"""import, export: models that come from elsewhere, and models that go there."""

from __future__ import annotations

import json
import shlex
from enum import Enum
from pathlib import Path  # noqa: TC003 - read when the program runs
from typing import Annotated, Any

import typer
from rich.markup import escape

from rowcast.cli import AsJson, Home, Server, Token, show
from rowcast.cli.tables import export_table
from rowcast.cli.train import Type  # noqa: TC001 - read when the program runs
from rowcast.errors import InvalidRequest

CHECK = "The check"


class ModelFormat(Enum):
    """What model files hold."""

    AUTO = "auto"
    CATBOOST = "catboost"
    LIGHTGBM = "lightgbm"
    ONNX = "onnx"
    SKOPS = "skops"
    XGBOOST = "xgboost"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("import")(import_model)
    app.command("export")(export_model)


def import_model(
    file: Annotated[
        Path,
        typer.Argument(
            help="Model file: LightGBM, XGBoost or CatBoost, ONNX, or a scikit-learn pipeline "
            "kept by skops; or a model folder of Rowcast's.",
            metavar="FILE",
        ),
    ],
    name: Annotated[
        str,
        typer.Option(
            "--name", "-n", help="Name of the model; a name that is there gets a new version."
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            help="What the model predicts. [dim]Default: as the schema says[/]",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            help="JSON file that names the columns, their kinds and categories.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    prediction_type: Annotated[
        Type | None,
        typer.Option(
            "--type", help="What to predict, if the file leaves it open.", show_default=False
        ),
    ] = None,
    format_: Annotated[
        ModelFormat,
        typer.Option("--format", "-f", help="Format of the file; auto looks at its content."),
    ] = ModelFormat.AUTO,
    digest: Annotated[
        str | None,
        typer.Option(
            help="Digest that a model folder must have. [dim]Default: the one it states[/]",
            metavar="SHA256",
            show_default=False,
        ),
    ] = None,
    example: Annotated[
        Path | None,
        typer.Option(
            help="Rows to try: CSV, JSONL or Parquet with the feature columns, perhaps with the "
            "target and with expected answers.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=CHECK,
        ),
    ] = None,
    expected: Annotated[
        Path | None,
        typer.Option(
            help="The expected answers to the example's rows, if they are in a file of their own.",
            metavar="FILE",
            show_default=False,
            rich_help_panel=CHECK,
        ),
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Bring a model along that was trained elsewhere.

    The file is read in a process of its own and tried on the example; its
    answers must be those that are expected, or those of the library that
    wrote it. Pickles are never opened.

    For example:

    rowcast import churn.lgb.txt --name churn --target churn --example rows.csv

    rowcast import pipeline.skops -n price -t price --example rows.parquet --expected y.csv

    rowcast import model.onnx -n plan --schema schema.json

    rowcast import exported/ --name churn
    """
    import rowcast

    model = rowcast.import_model(
        file,
        name=name,
        target=target,
        schema=schema,
        example=example,
        expected=expected,
        format=format_.value,
        prediction_type=prediction_type.value if prediction_type else None,
        digest=digest,
        home=home,
    )
    facts = model.describe()
    if as_json:
        typer.echo(json.dumps(facts, default=str))
        return
    from rowcast.cli.models import print_model

    print_model(facts)
    print_checks(facts["training"].get("imported") or {})
    command = shlex.join(["rowcast", "predict", name, "FILE", "--output", "DIR"])
    where = f" --home {shlex.quote(str(home))}" if home else ""
    show.out.print(f"\nScore a file with it: [bold]{escape(command + where)}[/]", soft_wrap=True)


def print_checks(imported: dict[str, Any]) -> None:
    """Say what the model's answers were compared with."""
    for check in imported.get("checks", ()):
        show.out.print(
            f"[green]checked:[/] {show.plural(check['rows'], 'row')} against "
            f"{escape(check['against'])}; largest difference {check['maxDifference']:.3g} "
            f"(at most {check['tolerance']:g}).",
            soft_wrap=True,
        )
    if failed := imported.get("exampleRowsFailed"):
        show.out.print(
            f"[yellow]note:[/] {show.plural(failed, 'row')} of the example cannot be scored: "
            f"{escape(imported['exampleFaults'][0])}",
            soft_wrap=True,
        )


def export_model(
    model: Annotated[
        str,
        typer.Argument(
            help="Model name or id, optionally @VERSION; or a table, bq://project.dataset.table.",
            metavar="MODEL",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Folder to make; of a table the file: .csv, .jsonl, .parquet or .arrow.",
            metavar="DIR",
        ),
    ],
    onnx: Annotated[
        bool,
        typer.Option("--onnx", help="Add the model as ONNX, after comparing its answers."),
    ] = False,
    home: Home = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Write a model to a folder that scores without a server; or a table to a file.

    The folder holds the model's files as they are, and a README. Score with
    it: python -m rowcast.scorer DIR input.csv > output.csv. Bring it back,
    here or elsewhere: rowcast import DIR --name NAME.

    For example:

    rowcast export churn --output churn-model

    rowcast export churn@2 -o churn-model --onnx

    rowcast export bq://local.scores.predictions_T -o scores.parquet
    """
    import rowcast
    from rowcast.core.tables import is_table_uri

    if is_table_uri(model):
        export_table(model, output, home=home, server=server, token=token)
        return
    if server is not None:
        raise InvalidRequest("A model is exported from a home folder, not from a server.")
    found = rowcast.load(model, home=home)
    folder = found.export(output, onnx=onnx)
    show.out.print(f"{escape(str(folder))} holds {escape(found.id)}@{found.version}.")
    command = shlex.join(["python", "-m", "rowcast.scorer", str(folder), "FILE"])
    show.out.print(f"Score a file with it: [bold]{escape(command)}[/]", soft_wrap=True)
