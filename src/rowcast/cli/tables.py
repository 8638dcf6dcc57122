"""sql, load; and what export does with tables."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path  # noqa: TC003 - read when the program runs
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from rowcast.cli import AsJson, Home, Server, Token, show
from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 100


class FileFormat(Enum):
    """What is loaded."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(sql)
    app.command()(load)


def sql(
    statement: Annotated[
        str, typer.Argument(help="A statement in BigQuery's dialect.", metavar="STATEMENT")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Dataset of tables that name none.", metavar="DATASET", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File for the rows: .csv, .jsonl, .parquet or .arrow. [dim]Default: shown here[/]",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Allow a statement that changes tables.")
    ] = False,
    home: Home = None,
    server: Server = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Ask the warehouse in SQL, in BigQuery's dialect.

    Statements see tables and nothing else: no files, no network. --json prints
    a JSON object a line.

    For example:

    rowcast sql "SELECT predicted_churn.classes FROM scores.predictions_T"

    rowcast sql "SELECT COUNT(*) AS n FROM `local.shop.customers`" --json

    rowcast sql "CREATE SCHEMA shop" --write
    """
    from rowcast.api import open_backend

    with (
        open_backend(home=home, server=server, token=token) as backend,
        backend.query(statement, dataset=dataset, write=write) as reader,
    ):
        if output is not None:
            told(write_rows(reader, output), output)
        elif as_json:
            for batch in reader:
                for row in batch.to_pylist():
                    typer.echo(json.dumps(row, ensure_ascii=False, default=str))
        else:
            print_rows(reader)


def load(
    files: Annotated[
        list[str],
        typer.Argument(
            help="Files, patterns or gs:// URIs, and at last the table, "
            "bq://project.dataset.table.",
            metavar="FILE... TABLE",
        ),
    ],
    format_: Annotated[
        FileFormat | None,
        typer.Option(
            "--format",
            "-f",
            help="Format of the files. [dim]Default: by their names[/]",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of a table that is there.")
    ] = False,
    append: Annotated[
        bool, typer.Option("--append", help="Add the rows to a table that is there.")
    ] = False,
    text: Annotated[
        bool, typer.Option("--text", help="Leave the text of CSV as it is, numbers too.")
    ] = False,
    home: Home = None,
    server: Server = None,
    token: Token = None,
) -> None:
    """Make a warehouse table of files: CSV, JSON lines or Parquet.

    Columns of a CSV become numbers, dates or booleans where every value would
    be written back as it is; 007 stays text. Nothing is skipped: the first
    record that does not fit is an error that names its place.

    For example:

    rowcast load customers.csv bq://local.shop.customers

    rowcast load 'in/*.csv.gz' bq://local.shop.customers --append
    """
    from rowcast.api import common_format, open_backend

    *sources, table = files
    if not sources:
        raise InvalidRequest("Name the files, and then the table: FILE bq://project.dataset.table.")
    if replace and append:
        raise InvalidRequest("--replace and --append exclude each other.")
    mode = "replace" if replace else "append" if append else "create"
    with open_backend(home=home, server=server, token=token, paths=sources) as backend:
        rows = backend.load(
            sources,
            table,
            format_=format_.value if format_ else common_format(sources),
            mode=mode,
            text=text,
        )
    show.out.print(f"{escape(table)}: {show.plural(rows, 'row')} {_DONE[mode]}.", soft_wrap=True)


_DONE = {"create": "loaded", "replace": "loaded", "append": "added"}


def export_table(
    table: str, output: Path, *, home: Path | None, server: str | None, token: str | None
) -> None:
    """Write a table to a file."""
    from rowcast.api import open_backend

    with (
        open_backend(home=home, server=server, token=token) as backend,
        backend.scan(table) as reader,
    ):
        told(write_rows(reader, output), output)


def told(rows: int, output: Path) -> None:
    """Say what was written."""
    show.out.print(f"{escape(str(output))}: {show.plural(rows, 'row')}", soft_wrap=True)


def write_rows(reader: pa.RecordBatchReader, output: Path) -> int:
    """Write rows to a file in the format of its name; it appears whole or not at all."""
    from rowcast.sinks.tables import write_table

    return write_table(reader, output)


def print_rows(reader: pa.RecordBatchReader) -> None:
    """Print the first rows as a table."""
    from rich.table import Table

    shown: list[dict[str, Any]] = []
    more = 0
    for batch in reader:
        room = SHOWN_ROWS - len(shown)
        shown += batch.slice(0, room).to_pylist()
        more += max(0, batch.num_rows - room)
    table = Table(*(escape(show.printable(name)) for name in reader.schema.names), box=None)
    for row in shown:
        table.add_row(*(escape(show.printable(_cell(value))) for value in row.values()))
    show.print_table(table)
    if more:
        show.out.print(f"[dim]and {show.plural(more, 'more row')}; see --output[/]")


def _cell(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
