"""Warehouse tables: rows that the owner of the warehouse has laid out for replicas.

The owner reads a table once, as it is at one moment, and writes its rows to the job's own folder,
an Arrow file for each part. So a job sees one state of a table whatever happens to it meanwhile,
and a part that is read again has the same rows.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pyarrow as pa

from rowcast.core.batch import Batch, Places
from rowcast.core.plan import InputObject, Layout, Part, Plan
from rowcast.errors import Cancelled, Internal, InvalidRequest
from rowcast.sources.survey import InputTooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rowcast.sources import Limits, SourceOptions

INDEX = "table.json"
SQL_TYPE = b"sql_type"
"""Metadata of a column whose type Arrow cannot say: the warehouse's own word for it."""
OWN_TYPES = frozenset({"HUGEINT", "UHUGEINT", "UUID", "JSON", "BIT", "TIME WITH TIME ZONE"})


class TableSource:
    """The rows of a table, as they were laid out by ``spool``."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    def survey(self, objects: Sequence[InputObject], part_bytes: int) -> Plan:  # noqa: ARG002
        """Look up what was laid out; nothing is left to be found out."""
        (one,) = objects
        index = _DECODER.decode(self.options.objects.read_bytes(self.options.spool_uri + INDEX))
        if index.version != one.version:
            raise Internal(f"The rows laid out for {one.uri} are not those that were planned.")
        schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(index.schema)))
        kept = [field for field in schema if field.name not in self.options.dropped_columns]
        parts = tuple(
            Part(number, 0, start, start + rows, start + 1, 0, rows)
            for number, (start, rows) in enumerate(index.parts)
        )
        return Plan(Layout((one,), pa.schema(self._named(kept))), parts)

    def read(self, layout: Layout, part: Part, batch_rows: int) -> Iterator[Batch]:
        """Yield the part's rows in order."""
        uri = layout.objects[part.source].uri
        objects = self.options.objects
        row = part.first_row
        with objects.open(objects.stat(part_uri(self.options.spool_uri, part.start))) as reader:
            for rows in _record_batches(reader.file):
                fitted = self._fitted(rows, layout.schema)
                for start in range(0, fitted.num_rows, batch_rows):
                    piece = fitted.slice(start, batch_rows)
                    yield Batch(piece, Places(uri, np.arange(row, row + piece.num_rows)))
                    row += piece.num_rows

    def _named(self, fields: Sequence[pa.Field]) -> list[pa.Field]:
        """Call a column as the model does where they differ in case alone, and nothing else."""
        exact = {field.name for field in fields}
        wanted: dict[str, list[str]] = {}
        for name in self.options.feature_names:
            if name not in exact:
                wanted.setdefault(name.lower(), []).append(name)
        named = []
        for field in fields:
            names = wanted.get(field.name.lower(), [])
            named.append(field.with_name(names[0]) if len(names) == 1 else field)
        return named

    def _fitted(self, rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
        columns = [
            column
            for name, column in zip(rows.schema.names, rows.columns, strict=True)
            if name not in self.options.dropped_columns
        ]
        if not columns:
            return rows.select([])
        return pa.RecordBatch.from_arrays(columns, schema=schema)


@dataclass(frozen=True)
class Spooling:
    """How the rows of a table are laid out."""

    folder: str
    """URI of the job's own folder; ends with a slash."""
    part_bytes: int
    limits: Limits
    stop: Callable[[], bool] = lambda: False


def spool(
    uri: str,
    reader: pa.RecordBatchReader,
    options: SourceOptions,
    spooling: Spooling,
    sql_types: Sequence[str] = (),
) -> InputObject:
    """Lay out rows for replicas; the table as an input that can be planned.

    Raises
    ------
    InvalidRequest
        If the table exceeds a limit.
    Cancelled
        If it is told to stop.
    """
    limits = spooling.limits
    if len(reader.schema) > limits.columns:
        raise InvalidRequest(
            f"{uri} has {len(reader.schema):,} columns; an input may have {limits.columns:,} "
            "(setting max_columns)."
        )
    schema = pa.schema(_field(field, i, sql_types) for i, field in enumerate(reader.schema))
    parts: list[tuple[int, int]] = []
    held: list[pa.RecordBatch] = []
    start = rows = size = total = 0

    def flush() -> None:
        nonlocal start, rows, size
        if rows:
            with (
                options.objects.create(part_uri(spooling.folder, start)) as file,
                pa.ipc.new_file(file, schema) as writer,
            ):
                for batch in held:
                    writer.write_batch(batch)
            parts.append((start, rows))
        held.clear()
        start, rows, size = start + rows, 0, 0

    for whole in reader:
        if spooling.stop():
            raise Cancelled("The job was stopped while its table was read.")
        for batch in _pieces(_plain(whole, schema), spooling.part_bytes):
            held.append(batch)
            rows += batch.num_rows
            size += batch.nbytes
            total += batch.nbytes
            if size >= spooling.part_bytes:
                flush()
        if total > limits.total_bytes:
            raise InputTooLarge(
                f"{uri} has more than {limits.total_bytes:,} bytes, which is what may be read by "
                "one job (setting max_total_bytes)."
            )
    flush()
    version = f"{start}-{total}"
    encoded = base64.b64encode(schema.serialize().to_pybytes()).decode()
    with options.objects.create(spooling.folder + INDEX) as file:
        file.write(msgspec.json.encode(_Index(version, encoded, parts)))
    return InputObject(uri, total, version)


def spooled_rows(options: SourceOptions) -> int:
    """Count the rows that were laid out."""
    index = _DECODER.decode(options.objects.read_bytes(options.spool_uri + INDEX))
    return sum(rows for _, rows in index.parts)


def part_uri(folder: str, start: int) -> str:
    """Name the file of the part that begins with a row, counted from 0."""
    return f"{folder}{start:015d}.arrow"


class _Index(msgspec.Struct):
    """What was laid out."""

    version: str
    schema: str
    """Arrow's own form, in base64."""
    parts: list[tuple[int, int]]
    """First row, counted from 0, and rows."""


_DECODER = msgspec.json.Decoder(_Index)


def _record_batches(file: object) -> Iterator[pa.RecordBatch]:
    opened = pa.ipc.open_file(file)
    for number in range(opened.num_record_batches):
        yield opened.get_batch(number)


def _field(field: pa.Field, index: int, sql_types: Sequence[str]) -> pa.Field:
    """A column as batches have it: what is stored as a dictionary is its values."""
    if pa.types.is_dictionary(field.type):
        field = field.with_type(field.type.value_type)
    own = sql_types[index] if index < len(sql_types) else ""
    return field.with_metadata({SQL_TYPE: own.encode()}) if own in OWN_TYPES else field


def _plain(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _pieces(batch: pa.RecordBatch, most_bytes: int) -> Iterator[pa.RecordBatch]:
    """Cut a batch that alone is more than a part."""
    count = min(max(1, -(-batch.nbytes // most_bytes)), max(1, batch.num_rows))
    edges = [batch.num_rows * i // count for i in range(count + 1)]
    for start, stop in pairwise(edges):
        if stop > start:
            yield batch.slice(start, stop - start)
