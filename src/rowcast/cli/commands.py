"""predict, report, serve, demo."""

from __future__ import annotations

import json
import os
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from rowcast.cli import AsJson, Home, Quiet, Server, Token, show
from rowcast.errors import InvalidRequest, NotFound, PermissionDenied

if TYPE_CHECKING:
    from rowcast.backend import HttpBackend, LocalBackend

RESULTS, EXPLANATIONS, RUN = "The results", "Explanations", "The job"


class Format(Enum):
    """What files hold rows in."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    BIGQUERY = "bigquery"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(predict)
    app.command()(report)
    app.command()(serve)
    app.command()(tls)
    app.command()(demo)


def predict(
    model: Annotated[
        str, typer.Argument(help="Model name or id, optionally @VERSION.", metavar="NAME")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Files, patterns ('in/*.csv') or gs:// URIs to score: CSV, JSONL or Parquet; or "
            "one table, bq://project.dataset.table.",
            metavar="INPUT...",
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            help="Folder or URI; the results go into a new folder in it. Or bq://project.dataset, "
            "or bq://project: into new tables.",
            metavar="DIR",
        ),
    ],
    format_: Annotated[
        Format | None,
        typer.Option(
            "--format",
            "-f",
            help="Format of the results. [dim]Default: csv; jsonl with --explain; bigquery into "
            "bq://[/]",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Add Shapley attributions; in csv as columns COLUMN_attribution.",
            rich_help_panel=EXPLANATIONS,
        ),
    ] = False,
    max_explanations: Annotated[
        int | None,
        typer.Option(
            help="Keep only so many columns of each explanation, the largest attributions first.",
            min=1,
            show_default=False,
            rich_help_panel=EXPLANATIONS,
        ),
    ] = None,
    explain_above: Annotated[
        float | None,
        typer.Option(
            help="Explain only rows with at least this output: the value, the score of the second "
            "of two classes, or the highest score.",
            show_default=False,
            rich_help_panel=EXPLANATIONS,
        ),
    ] = None,
    explain_below: Annotated[
        float | None,
        typer.Option(
            help="Explain only rows with at most this output (or at least --explain-above).",
            show_default=False,
            rich_help_panel=EXPLANATIONS,
        ),
    ] = None,
    interval: Annotated[
        bool,
        typer.Option(
            "--interval",
            help="Add the bounds of a predicted value to csv; other formats have them anyway.",
            rich_help_panel=RESULTS,
        ),
    ] = False,
    interval_level: Annotated[
        float | None,
        typer.Option(
            help="Share of true values that the bounds are to hold. "
            "[dim]Default: as asked for in training[/]",
            min=0.5,
            max=0.995,
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Write this column as 'key' in place of the input's columns. It must not be a "
            "column that the model reads.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None,
    row_number: Annotated[
        str | None,
        typer.Option(
            help="Add each row's number in the input, from 1, under this name.",
            metavar="COLUMN",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None,
    merge: Annotated[
        str | None,
        typer.Option(
            help="Write one file of exactly this name, and errors_NAME beside it.",
            metavar="NAME",
            show_default=False,
            rich_help_panel=RESULTS,
        ),
    ] = None,
    input_format: Annotated[
        Format | None,
        typer.Option(
            help="Format of the inputs. [dim]Default: by their names[/]",
            show_default=False,
            rich_help_panel=RUN,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Try a sample and say what would happen; create no job.",
            rich_help_panel=RUN,
        ),
    ] = False,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Rows scored together.", min=1, show_default=False, rich_help_panel=RUN),
    ] = None,
    replicas: Annotated[
        int | None,
        typer.Option(help="Most processes to use.", min=1, show_default=False, rich_help_panel=RUN),
    ] = None,
    display_name: Annotated[
        str | None,
        typer.Option(
            "--job-name", help="Name of the job.", show_default=False, rich_help_panel=RUN
        ),
    ] = None,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score files with a model: every row ends in predictions_* or errors_*, in order.

    Works in this process, or on a server with --server. Rows that cannot be
    scored do not fail the job; they are counted, grouped by cause and
    written to errors_*. Ctrl-C cancels the job and keeps what is done.

    For example:

    rowcast predict churn new.csv --output scores

    rowcast predict churn 'in/*.csv.gz' -o scores --format parquet --explain

    rowcast predict churn@2 new.csv -o scores --merge scores.csv --check

    rowcast predict churn new.csv -o scores -f csv --explain --explain-above 0.8

    rowcast predict churn bq://local.shop.customers -o bq://local.scores
    """
    from rowcast.api import common_format, default_format, open_backend, request_body
    from rowcast.backend import find_model

    body = request_body(
        model=model,
        inputs=inputs,
        output=output,
        input_format=input_format.value if input_format else common_format(inputs),
        output_format=format_.value if format_ else default_format(output, explain=explain),
        display_name=display_name,
        explain=explain,
        key=key,
        batch_size=batch_size,
        replicas=replicas,
        row_number=row_number,
        merge=merge,
        check=check,
        max_explanations=max_explanations,
        threshold_high=explain_above,
        threshold_low=explain_below,
        interval_columns=interval,
        interval_level=interval_level,
    )
    if server is None:
        _check_paths(inputs, output)
    with open_backend(home=home, server=server, token=token, paths=[*inputs, output]) as backend:
        body["model"] = find_model(backend, model)
        job = backend.create(body)
        if check:
            _print_preflight(job["rowcast"]["preflight"], as_json=as_json)
            return
        show.finish(backend, job["name"], quiet=quiet, as_json=as_json)


def report(
    subject: Annotated[
        str,
        typer.Argument(help="Model, optionally @VERSION; or the id of a job.", metavar="NAME"),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write. [dim]Default: MODEL-VERSION-report.html or job-ID-report.html in "
            "this folder[/]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    home: Home = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Write the report of a model or a job as one HTML file that needs no network.

    Of a model: how good it is, at which threshold, where it is wrong, what
    matters to it, and what it was trained on. Of a job: what came of its
    rows, why some failed, what it predicted, what mattered to that, and how
    its input differs from the training data.

    For example:

    rowcast report churn --open

    rowcast report churn@1 --output reports/churn-1.html

    rowcast report 4417450692310990848 --open
    """
    if output is not None and output.is_dir():
        raise InvalidRequest(f"--output {output} is a folder; name the file to write.")
    from rowcast.api import open_backend

    with open_backend(home=home, server=server, token=token) as backend:
        page, name = _report(backend, subject)
    path = output or Path(name)
    path.write_text(page, "utf-8")
    show.out.print(escape(str(path)), soft_wrap=True)
    if open_:
        typer.launch(str(path.absolute()))


def _report(backend: LocalBackend | HttpBackend, subject: str) -> tuple[str, str]:
    """The report of a model or, if there is none of that name, of a job; and a file's name."""
    from rowcast.backend import find_model

    if "/batchPredictionJobs/" not in subject:
        try:
            found = backend.model(find_model(backend, subject))
        except NotFound as missing:
            try:
                return _job_report(backend, subject)
            except NotFound:
                raise NotFound(f"There is no job {subject!r} either. {missing}") from missing
        version = f"{found['name'].rsplit('/', 1)[-1]}@{found['versionId']}"
        return backend.model_report(version), f"{version.replace('@', '-')}-report.html"
    return _job_report(backend, subject)


def _job_report(backend: LocalBackend | HttpBackend, job: str) -> tuple[str, str]:
    return backend.report(job), f"job-{job.rsplit('/', 1)[-1]}-report.html"


def serve(
    host: Annotated[
        str | None,
        typer.Option(help="Address to listen on. [dim]Default: 127.0.0.1[/]", show_default=False),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            help="Port to listen on; 0 picks one. [dim]Default: 8080[/]",
            min=0,
            max=65535,
            show_default=False,
        ),
    ] = None,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            help="Port of the gRPC door; 0 picks one. [dim]Default: no door[/]",
            min=0,
            max=65535,
            show_default=False,
        ),
    ] = None,
    tls: Annotated[
        bool | None,
        typer.Option(
            "--tls/--no-tls",
            help="Serve HTTPS, and gRPC over TLS, with a certificate made at first start.",
            show_default=False,
        ),
    ] = None,
    home: Home = None,
) -> None:
    """Serve the REST API, on this machine only unless told otherwise.

    Clients show a token: the one in ROWCAST_TOKEN, or the one made at first
    start and kept in HOME/token. gs://BUCKET/x is the file
    HOME/buckets/BUCKET/x. Ctrl-C or SIGTERM stops the server; unfinished
    jobs go on at its next start.

    For example:

    rowcast serve

    rowcast serve --host 0.0.0.0 --port 9000 --home /srv/rowcast

    rowcast serve --tls --grpc-port 8081

    curl -H "Authorization: Bearer $(cat ~/.rowcast/token)"
    http://127.0.0.1:8080/v1/projects/local/locations/us-central1/models
    """
    from rowcast.serve import serve as run

    run(host=host, port=port, home=home, grpc_port=grpc_port, tls=tls)


def tls(home: Home = None) -> None:
    """Make the certificates of this installation, and say how clients come to trust them.

    `rowcast serve --tls` does the same at its first start. The authority in
    HOME/tls/ca.pem stays; the server's certificate is made anew when it nears
    its end, or when the settings give the server another name.

    For example:

    rowcast tls
    """
    from rowcast.serve import server_files
    from rowcast.server.certificates import fingerprint
    from rowcast.settings import load_settings

    files = server_files(load_settings(home=home, tls=True))
    if files is None or files.authority is None:
        raise InvalidRequest("The setting tls_certificate gives a certificate; none is made.")
    path = files.authority
    show.out.print(
        f"# {path}: SHA-256 {fingerprint(path)}\n"
        f"export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={path}  # gRPC clients\n"
        f"export REQUESTS_CA_BUNDLE={path}  # Python's REST clients\n"
        f"export NODE_EXTRA_CA_CERTS={path}  # Node's REST clients\n"
        f"# curl --cacert {path} ...",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def demo(
    home: Annotated[
        Path | None,
        typer.Option(
            "--home", help="Folder to work in. [dim]Default: a new one[/]", show_default=False
        ),
    ] = None,
    rows: Annotated[int, typer.Option(help="Rows in the batch job.", min=100)] = 50_000,
) -> None:
    """See it all once: train on real data, start a server, run a job through its API.

    Takes about a minute. The folder is left for a look around.

    For example:

    rowcast demo --rows 200000
    """
    from rowcast.cli.demo import run

    run(home=home, rows=rows)


def _check_paths(inputs: list[str], output: str) -> None:
    """Find mistakes in local names before there is a job that fails of them."""
    for given in inputs:
        path = Path(given).expanduser()
        if "://" in given or path.is_file():
            continue
        if path.is_dir():
            raise InvalidRequest(f"{given} is a folder; name its files, as in '{given}/*.csv'.")
        if not re.search(r"[*?\[]", given):
            raise NotFound(f"There is no file {given}.")
    if "://" in output:
        return
    folder = Path(output).expanduser().absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir():
        raise InvalidRequest(f"--output {output}: {there} is a file, not a folder.")
    if not os.access(there, os.W_OK):
        raise PermissionDenied(f"--output {output}: {there} cannot be written to.")


def _print_preflight(report: dict[str, Any], *, as_json: bool) -> None:
    from rich.table import Table

    if as_json:
        typer.echo(json.dumps(report))
        return
    out = show.out
    out.print(
        f"{show.plural(report['inputObjects'], 'file')}, {report['inputBytes']:,} bytes, about "
        f"{show.plural(report['estimatedRows'], 'row')}, {report['estimatedSeconds']:.1f} s to "
        f"score; about {show.plural(report['estimatedFailedRows'], 'row')} would fail.",
        soft_wrap=True,
    )
    if "explanationCostFactor" in report:
        factor = report["explanationCostFactor"]
        out.print(f"With explanations, scoring takes about {factor:g} times as long.")
    if report["extraColumns"]:
        names = escape(", ".join(report["extraColumns"]))
        out.print(f"Columns passed through: {names}", soft_wrap=True)
    for failure in report["objectFailures"]:
        text = f"{escape(failure['uri'])}: {escape(failure['message'])}"
        out.print(f"[yellow]would not be read:[/] {text}", soft_wrap=True)
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
    show.drift_warnings(report.get("drift"))
