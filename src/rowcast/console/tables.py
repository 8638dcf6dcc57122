"""Tables of the warehouse: what there is, and what a query answers."""

from __future__ import annotations

import csv
import io
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pyarrow as pa

from rowcast.console.api import ApiError
from rowcast.console.places import FORWARD

if TYPE_CHECKING:
    from rowcast.console.api import Api

SCHEME = "bq://"
MOST_BYTES = 16 << 20
DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""With one of these first, spreadsheets take a text for a formula."""


@dataclass(frozen=True)
class Answer:
    """The rows of a query, or the beginning of them."""

    table: pa.Table
    whole: bool

    @property
    def numbers(self) -> list[bool]:
        """Which columns hold numbers."""
        kinds = self.table.schema.types
        return [pa.types.is_integer(one) or pa.types.is_floating(one) for one in kinds]

    def rows(self, first: int, most: int) -> list[list[Any]]:
        """Rows as values that JSON has."""
        piece = self.table.slice(first, most)
        columns = [[_plain(value) for value in column.to_pylist()] for column in piece.columns]
        return [list(row) for row in zip(*columns, strict=True)]

    def as_csv(self) -> bytes:
        """Write all rows as CSV in which no text is a formula."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([_guarded(name) for name in self.table.column_names])
        for start in range(0, self.table.num_rows, 1000):
            for row in self.rows(start, 1000):
                writer.writerow([_guarded(value) for value in row])
        return out.getvalue().encode()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int | float):
        return value if abs(value) < 2**53 else str(value)
    return str(value)


def _guarded(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(DANGEROUS) else value


def first_rows(table: str) -> str:
    """Write the query that shows a table; the user sees it, and runs it with their own rights."""
    name = table.removeprefix(SCHEME).replace("`", "")
    return f"SELECT * FROM `{name}` LIMIT 100"  # noqa: S608


async def query(api: Api, text: str) -> Answer:
    """Run a query that reads. Raises ApiError."""
    found, whole = await api.first_bytes(
        f"{api.home.parent}/warehouse:query", {"query": text}, MOST_BYTES
    )
    batches: list[pa.RecordBatch] = []
    with pa.ipc.open_stream(found) as reader:
        with suppress(pa.ArrowInvalid, StopIteration, OSError):  # the end may have been left out
            while True:
                batches.append(reader.read_next_batch())
        return Answer(pa.Table.from_batches(batches, reader.schema), whole)


async def datasets(api: Api) -> list[str]:
    """Datasets of the project; none where they cannot be listed."""
    try:
        found = await api.raw("GET", f"/bigquery/v2/projects/{quote(api.home.project)}/datasets")
    except ApiError:
        return []
    return [item["datasetReference"]["datasetId"] for item in found.get("datasets", [])]


async def tables(api: Api, dataset: str) -> list[str]:
    """Tables and views of a dataset. Raises ApiError."""
    if not dataset.replace("_", "").isalnum():
        raise ApiError(400, f"{dataset!r} is not a dataset.")
    listing = f"`{dataset}`.INFORMATION_SCHEMA.TABLES"
    text = f"SELECT table_name FROM {listing} ORDER BY table_name"  # noqa: S608 - checked above
    return [str(row[0]) for row in (await query(api, text)).rows(0, 10_000)]


def load_address(home_parent: str) -> str:
    """Where a browser sends a file that is to become a table; the table's URI goes at the end."""
    return f"{FORWARD}/v1/{quote(home_parent)}/warehouse:load?mode=create&"
