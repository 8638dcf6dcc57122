"""Where predictions and errors go: the seam, and the formats behind it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pyarrow as pa

    from rowcast.core.prediction import Scored
    from rowcast.core.schema import Target
    from rowcast.core.tables import TableName
    from rowcast.storage.objects import Objects
    from rowcast.warehouse import Warehouse

OBJECT_SINKS = {  # predictionsFormat -> "module:class", imported on first use
    "csv": "rowcast.sinks.csv:CsvSink",
    "jsonl": "rowcast.sinks.jsonl:JsonlSink",
    "parquet": "rowcast.sinks.parquet:ParquetSink",
}
"""The formats of objects."""
SINKS = {**OBJECT_SINKS, "bigquery": "rowcast.sinks.table:TableSink"}
"""All: beside them the warehouse's tables."""


@dataclass(frozen=True)
class OutputTables:
    """The tables that a job is to make."""

    predictions: TableName
    errors: TableName
    owner: str
    """Their description: a table that has it is an earlier try of the same job."""
    create_dataset: bool


@dataclass(frozen=True)
class SinkOptions:
    """What a sink is told about its job."""

    objects: Objects
    directory: str
    """URI of the folder for final objects; ends with a slash."""
    staging: str
    """URI of the folder for staged parts; ends with a slash."""
    target: Target
    schema: pa.Schema
    """The input's columns, as batches carry them."""
    key_field: str | None = None
    row_number_column: str | None = None
    output_name: str | None = None
    """Exact name of the one predictions object, if the user wished for one."""
    object_bytes: int = 1 << 30
    """A new object starts when one has this many bytes; parts are not divided."""
    explained: tuple[str, ...] = ()
    """The features that predictions are attributed to; empty if they are not explained."""
    attribution_columns: bool = False
    """CSV: attributions become columns."""
    interval_columns: bool = False
    """CSV: the bounds of a value become columns."""
    most_attributions: int | None = None
    """Features to keep of each explained output, the largest attributions first. None: all."""
    tables: OutputTables | None = None
    """What to make in the warehouse, in place of objects."""


@dataclass(frozen=True)
class Staged:
    """What one attempt at one part left in staging. Both objects are absent if empty."""

    predictions: str | None
    """URI."""
    errors: str | None
    predictions_rows: int
    errors_rows: int
    predictions_bytes: int
    errors_bytes: int


@dataclass(frozen=True)
class Published:
    """One final object."""

    name: str
    kind: str
    """predictions or errors."""
    rows: int
    bytes: int
    sha256: str


class Sink(Protocol):
    """Writes a job's results so that nobody ever sees half of them.

    ``stage`` runs in a replica, once for each attempt at a part; what it writes is invisible
    to readers. ``publish`` runs once all parts are staged, turns them into the final objects
    in part order, and may be repeated after a crash: equal parts give equal bytes.
    """

    def __init__(self, options: SinkOptions) -> None: ...

    def added_columns(self) -> tuple[str, ...]:
        """Names that the output adds to the input's columns, in ``predictions`` or ``errors``."""
        ...

    def stage(self, part: int, attempt: str, scored: Iterable[Scored]) -> Staged:
        """Write one part's outcome under names made of ``part`` and ``attempt``."""
        ...

    def publish(self, staged: Sequence[Staged]) -> list[Published]:
        """Write the final objects, each complete before its name appears."""
        ...


def open_sink(format_: str, options: SinkOptions, warehouse: Warehouse | None = None) -> Sink:
    """Make the sink for one ``predictionsFormat``; to publish tables takes the warehouse."""
    module, _, name = SINKS[format_].partition(":")
    make = cast("Callable[..., Sink]", getattr(import_module(module), name))
    return make(options) if format_ in OBJECT_SINKS else make(options, warehouse)
