"""train."""

from __future__ import annotations

import json
import re
import shlex
from enum import Enum
from typing import TYPE_CHECKING, Annotated, get_args

import typer
from rich.markup import escape

from rowcast.cli import AsJson, Home, Quiet, show
from rowcast.errors import InvalidRequest
from rowcast.training.request import Objective, SplitRule

if TYPE_CHECKING:
    from rowcast.training.request import SplitKind

DATA, SEARCH = "The data", "The search"
ObjectiveName = Enum("ObjectiveName", {name: name for name in get_args(Objective)})  # type: ignore[misc]
_SPLITS: dict[str, SplitKind] = {
    "column": "predefined",
    "time": "timestamp",
    "strata": "stratified",
}


class Type(Enum):
    """What a model predicts."""

    CLASSIFICATION = "classification"
    REGRESSION = "regression"


_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, None: 1}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def seconds(text: str) -> float:
    """Read a duration: ``60s``, ``5m``, ``1h``, or a number of seconds."""
    match = _DURATION.fullmatch(text.strip())
    found = float(match.group(1)) * _SECONDS[match.group(2)] if match else 0.0
    if found <= 0:
        raise typer.BadParameter(
            f"{text!r} is not a time to spend; write 60s, 5m or 1h.", param_hint="--budget"
        )
    return found


def train(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Training data: CSV, JSONL or Parquet files (also .gz, .zst), patterns such as "
            "'in/*.csv', or gs:// URIs.",
            metavar="FILE...",
        ),
    ],
    target: Annotated[str, typer.Option("--target", "-t", help="Column to predict.")],
    name: Annotated[
        str,
        typer.Option(
            "--name", "-n", help="Name of the model; a name that is there gets a new version."
        ),
    ],
    budget: Annotated[
        str, typer.Option("--budget", "-b", help="Time to spend: 60s, 5m, 1h.", metavar="TIME")
    ] = "60s",
    trials: Annotated[
        int | None,
        typer.Option(
            help="Try exactly so many candidates instead: same data, seed and trials, same model.",
            min=1,
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    objective: Annotated[
        ObjectiveName | None,
        typer.Option(
            help="What the model is to be the best at. [dim]Default: maximize-au-roc for two "
            "classes, minimize-log-loss for more, minimize-rmse for a value[/]",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    objective_value: Annotated[
        float | None,
        typer.Option(
            help="The recall of maximize-precision-at-recall, or the precision of its opposite.",
            min=0,
            max=1,
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    max_scoring_cost: Annotated[
        float | None,
        typer.Option(
            help="Microseconds that scoring a row may take on one thread, roughly.",
            show_default=False,
            rich_help_panel=SEARCH,
        ),
    ] = None,
    interval_level: Annotated[
        float,
        typer.Option(
            help="Share of true values that a predicted value's interval is to hold.",
            min=0.5,
            max=0.995,
            rich_help_panel=SEARCH,
        ),
    ] = 0.95,
    early_stopping: Annotated[
        bool,
        typer.Option(
            help="Stop growing and tuning once held-out rows get no better.",
            rich_help_panel=SEARCH,
        ),
    ] = True,
    split: Annotated[
        str | None,
        typer.Option(
            help="Shares of training, validation and test rows, as in 80/10/10; or column:NAME for "
            "a column that says TRAIN, VALIDATE or TEST, time:NAME to test on the latest rows, "
            "strata:NAME to mirror a column's values. Shares may follow: time:day:70/15/15.",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    prediction_type: Annotated[
        Type | None,
        typer.Option(
            "--type",
            help="What to predict. [dim]Default: what the target looks like[/]",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="Use a column as numeric, categorical, timestamp, text, repeatedNumeric, "
            "repeatedCategorical, repeatedText or auto; may be repeated. "
            "Once one is given, columns that are not named are left out.",
            metavar="COLUMN=KIND",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    weight: Annotated[
        str | None,
        typer.Option(
            "--weight",
            help="Column of row weights, 0 to 10000.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=DATA,
        ),
    ] = None,
    drop_null_target: Annotated[
        bool,
        typer.Option(
            "--drop-null-target",
            help="Leave out rows without a target instead of failing.",
            rich_help_panel=DATA,
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Of everything random.", rich_help_panel=SEARCH)] = 0,
    home: Home = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a model on a table.

    Columns are inferred. Candidates (LightGBM, CatBoost, XGBoost, linear)
    are compared on held-out rows until the time is spent or nothing gets
    better; the best few are weighted to an ensemble, measured on test rows,
    and fitted again to all rows. The model is kept in the home folder under
    its name.

    For example:

    rowcast train customers.csv --target churn --name churn

    rowcast train 'sales/*.csv.gz' -t price -n price --budget 5m --type regression

    rowcast train a.parquet -t y -n m --column age=numeric --column zip=categorical

    rowcast train visits.csv -t bought -n visits --split time:day --objective maximize-au-prc
    """
    import rowcast

    transformations = dict(_pair(item) for item in kind or [])
    budget_s = seconds(budget)
    progress = show.TrainingProgress(quiet=quiet or as_json, budget_s=None if trials else budget_s)
    try:
        with progress:
            model = rowcast.train(
                files,
                target=target,
                name=name,
                home=home,
                budget_s=budget_s,
                trials=trials,
                objective=objective.value if objective else None,
                objective_value=objective_value,
                max_scoring_cost=max_scoring_cost,
                interval_level=interval_level,
                early_stopping=early_stopping,
                split=split_rule(split) if split else None,
                prediction_type=prediction_type.value if prediction_type else None,
                transformations=transformations or None,
                weight=weight,
                drop_null_target=drop_null_target,
                seed=seed,
                progress=progress,
            )
    except InvalidRequest as error:
        raise _with_options(error) from error
    if as_json:
        typer.echo(json.dumps(model.describe(), default=str))
        return
    from rowcast.cli.models import print_model

    facts = model.describe()
    show.leaderboard(facts["training"])
    print_model(facts)
    command = shlex.join(["rowcast", "predict", name, "FILE", "--output", "DIR"])
    where = f" --home {shlex.quote(str(home))}" if home else ""
    show.out.print(f"\nScore a file with it: [bold]{escape(command + where)}[/]", soft_wrap=True)


def _with_options(error: InvalidRequest) -> InvalidRequest:
    """Say what helps in the words of the command line."""
    if "the target of row" in str(error):
        return InvalidRequest(f"{error} Leave such rows out with --drop-null-target.")
    return error


def _pair(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition("=")
    if not name:
        raise typer.BadParameter(
            f"{text!r}: write COLUMN=numeric, for instance.", param_hint="--column"
        )
    return name, kind


def split_rule(text: str) -> SplitRule:
    """Read ``80/10/10``, ``column:NAME``, ``time:NAME`` or ``strata:NAME:70/15/15``."""
    kind, colon, rest = text.partition(":")
    if not colon:
        return SplitRule("fraction", None, *_shares(text))
    if kind not in _SPLITS:
        raise typer.BadParameter(
            f"{text!r}: write shares as in 80/10/10, or column:NAME, time:NAME or strata:NAME.",
            param_hint="--split",
        )
    name, colon, shares = rest.rpartition(":")
    if not colon or kind == "column":
        return SplitRule(_SPLITS[kind], rest)
    return SplitRule(_SPLITS[kind], name, *_shares(shares))


def _shares(text: str) -> tuple[float, float, float]:
    try:
        training, validation, test = (float(part) / 100 for part in text.split("/"))
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} does not give three shares in percent, as 80/10/10 does.",
            param_hint="--split",
        ) from None
    return training, validation, test
