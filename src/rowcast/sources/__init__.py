"""Where rows come from: the seam, and the formats behind it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

from rowcast.core.tables import is_table_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rowcast.core.batch import Batch
    from rowcast.core.plan import InputObject, Layout, Part, Plan
    from rowcast.storage.objects import Objects

OBJECT_SOURCES = {  # instancesFormat -> "module:class", imported on first use
    "csv": "rowcast.sources.csv:CsvSource",
    "jsonl": "rowcast.sources.jsonl:JsonlSource",
    "parquet": "rowcast.sources.parquet:ParquetSource",
}
"""The formats of objects."""
SOURCES = {**OBJECT_SOURCES, "bigquery": "rowcast.sources.table:TableSource"}
"""All: beside them the warehouse's tables."""

_ENDINGS = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}


def format_of(uri: str) -> str:
    """Tell an input's format from its name: ``x.csv.gz`` is csv, as is anything unknown."""
    if is_table_uri(uri):
        return "bigquery"
    name = re.sub(r"\.(gz|zst)$", "", uri.rstrip("*"))
    return _ENDINGS.get(name.rsplit(".", 1)[-1].lower(), "csv")


@dataclass(frozen=True)
class Limits:
    """What an input may measure; beyond it the job fails with a message that names the place."""

    header_bytes: int = 4 << 20
    columns: int = 20_000
    row_bytes: int = 16 << 20
    cell_bytes: int = 8 << 20
    object_bytes: int = 10 << 30
    total_bytes: int = 100 << 30
    expansion: int = 200
    """Highest ratio of uncompressed to compressed size."""


@dataclass(frozen=True)
class SourceOptions:
    """What a source is told about its job."""

    objects: Objects
    """Opens what URIs name."""
    spool_uri: str
    """Folder of the job's own in which a source may unpack compressed objects. What lies there
    already, from an earlier attempt at the same plan, may be used if it is whole."""
    limits: Limits = Limits()
    feature_names: tuple[str, ...] = ()
    """The model's columns in training order: what a JSONL array holds."""
    dropped_columns: tuple[str, ...] = ()
    """Columns of the input that are to be read as if they were not there."""
    record_field: str | None = None
    """JSONL: the field of each line that holds the record, as in errors objects."""


class Source(Protocol):
    """The rows of one request, readable in parts that do not depend on each other.

    A source travels to the replicas, so it pickles, and it opens objects there and not in its
    constructor. User files are parsed in ``survey`` and ``read`` only, which run in a replica.
    """

    def __init__(self, options: SourceOptions) -> None: ...

    def survey(self, objects: Sequence[InputObject], part_bytes: int) -> Plan:
        """Read all of the input once: find the columns, count the records, cut parts.

        Parts have about ``part_bytes`` bytes of input, at least one record each, and are in
        row order. An object that cannot be read becomes a failure of the plan, with no parts;
        if that leaves no object, its error is raised. Columns are not compared with the
        model's: that is the caller's work.

        Raises
        ------
        UnreadableInput
            If no object can be read, or the input as a whole exceeds a limit.
        InputChanged
            If an object is no longer the one that was listed.
        """
        ...

    def read(self, layout: Layout, part: Part, batch_rows: int) -> Iterator[Batch]:
        """Yield the part's records in order, at most ``batch_rows`` a batch, never an empty one.

        Reading a part twice yields the same rows: a part is read again when the replica that
        held it is lost. The rows yielded are exactly ``part.rows``.

        Raises
        ------
        InputChanged
            If the object is no longer the one that was planned.
        """
        ...


def open_source(format_: str, options: SourceOptions) -> Source:
    """Make the source for one ``instancesFormat``."""
    module, _, name = SOURCES[format_].partition(":")
    return cast("Callable[[SourceOptions], Source]", getattr(import_module(module), name))(options)
