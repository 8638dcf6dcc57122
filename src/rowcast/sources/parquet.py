"""Parquet objects, with the types they have."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rowcast.core.batch import Batch, Places
from rowcast.core.plan import InputObject, Layout, Plan
from rowcast.errors import InputChanged, UnreadableInput
from rowcast.sources.survey import (
    CELLS_AT_ONCE,
    Section,
    check_size,
    check_sizes,
    each,
    failures_of,
    number_parts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from rowcast.core.plan import Part
    from rowcast.sources import SourceOptions

MOST_PIECES = 8
"""A row group is cut into so many parts at most: each decodes the rows before its own too."""
LOOK_ROWS = 8192
"""Rows decoded at a time: fewer cost as much."""


class ParquetSource:
    """The rows of Parquet objects."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    def survey(self, objects: Sequence[InputObject], part_bytes: int) -> Plan:
        """Decode everything once, and cut row groups into parts."""

        def look(_index: int, one: InputObject) -> _Found:
            check_size(one.uri, one.size, self.options.limits)
            return self._look(one, part_bytes)

        surveyed = each(objects, look)
        check_sizes(
            [one if isinstance(f, _Found) else f for one, f in zip(objects, surveyed, strict=True)],
            self.options.limits,
        )
        first = next((found for found in surveyed if isinstance(found, _Found)), None)

        def fit(_index: int, found: _Found) -> list[Section]:
            if first is not None:
                _check_fit(found, first)
            return found.sections

        sections = each(surveyed, fit)
        failures = failures_of(objects, sections)
        schema = pa.schema([] if first is None else first.schema)
        return Plan(Layout(tuple(objects), schema), number_parts(sections), failures)

    def read(self, layout: Layout, part: Part, batch_rows: int) -> Iterator[Batch]:
        """Yield the part's rows in order."""
        one = layout.objects[part.source]
        done = 0
        with self.options.objects.open(one) as reader:
            try:
                for rows in self._rows(reader.file, one.uri, part.start, part.stop, batch_rows):
                    places = Places(
                        one.uri, np.arange(rows.num_rows, dtype=np.int64) + part.first_row + done
                    )
                    done += rows.num_rows
                    yield Batch(_fitted(rows, layout.schema), places)
            except UnreadableInput:  # what looks like damage may be another version
                reader.check()
                raise
            reader.check()
        if done != part.rows:
            raise InputChanged.at(one.uri, f"with {part.rows} rows", f"one with {done}")

    def _look(self, one: InputObject, part_bytes: int) -> _Found:
        limits = self.options.limits
        with self.options.objects.open(one) as reader, _readable(one.uri):
            file = _open(reader.file)
            if file.metadata.num_columns > limits.columns:
                raise UnreadableInput(
                    f"{one.uri} has {file.metadata.num_columns:,} columns; an input may have "
                    f"{limits.columns:,} (setting max_columns)."
                )
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            check_size(one.uri, sum(group.total_byte_size for group in groups), limits)
            most = _most_rows(LOOK_ROWS, len(file.schema_arrow))
            found = 0
            for batch in file.iter_batches(most, use_threads=False):
                batch.validate(full=True)
                found += batch.num_rows
            if found != sum(group.num_rows for group in groups):
                raise UnreadableInput(
                    f"{one.uri} is damaged: its footer tells of {file.metadata.num_rows} rows, "
                    f"but {found} are there."
                )
            reader.check()
        kept = [
            pa.field(column.name, _plain(column.type))
            for column in file.schema_arrow
            if column.name not in self.options.dropped_columns
        ]
        sizes = [(group.num_rows, group.total_byte_size) for group in groups]
        return _Found(one.uri, pa.schema(kept), _sections(sizes, part_bytes))

    def _rows(
        self, raw: BinaryIO, uri: str, start: int, stop: int, batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        """Decode a range of rows, group by group."""
        with _readable(uri):
            file = _open(raw)
            most = _most_rows(max(batch_rows, LOOK_ROWS), len(file.schema_arrow))
            before = 0
            for group in range(file.num_row_groups):
                after = before + file.metadata.row_group(group).num_rows
                if before < stop and start < after:
                    for batch in file.iter_batches(most, row_groups=[group], use_threads=False):
                        first = max(start - before, 0)
                        last = min(stop - before, batch.num_rows)
                        for at in range(first, last, batch_rows):
                            yield batch.slice(at, min(batch_rows, last - at))
                        before += batch.num_rows
                        if before >= stop:
                            return
                before = after


@dataclass(frozen=True)
class _Found:
    """What one object holds."""

    uri: str
    schema: pa.Schema
    sections: list[Section]


def _open(file: BinaryIO) -> pq.ParquetFile:
    return pq.ParquetFile(
        file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True
    )


@contextmanager
def _readable(uri: str) -> Iterator[None]:
    """Say of what the reader meets that the object is to blame."""
    try:
        yield
    except (pa.ArrowException, OSError, OverflowError, UnicodeDecodeError) as error:
        raise UnreadableInput(f"{uri} is not a whole Parquet file: {error}") from error


def _most_rows(batch_rows: int, columns: int) -> int:
    return min(batch_rows, max(1, CELLS_AT_ONCE // max(1, columns)))


def _plain(type_: pa.DataType) -> pa.DataType:
    """Give the type of a column's values: a dictionary is a way to store them."""
    return type_.value_type if pa.types.is_dictionary(type_) else type_


def _sections(groups: Sequence[tuple[int, int]], part_bytes: int) -> list[Section]:
    """Cut row groups, each of so many rows and bytes, into ranges of rows."""
    sections: list[Section] = []
    start = row = gathered = 0
    for rows, size in groups:
        if gathered and gathered + size > part_bytes:
            sections.append(Section(start, row, 0, row - start))
            start, gathered = row, 0
        pieces = max(1, min(MOST_PIECES, size // part_bytes, rows))
        for piece in range(1, pieces):
            stop = row + rows * piece // pieces
            sections.append(Section(start, stop, 0, stop - start))
            start = stop
        row += rows
        gathered += size
    if row > start:
        sections.append(Section(start, row, 0, row - start))
    return [section for section in sections if section.rows]


def _check_fit(found: _Found, first: _Found) -> None:
    """See that an object's columns can be read as the first object's. Raises UnreadableInput."""
    if Counter(found.schema.names) != Counter(first.schema.names):
        other = sorted(set(found.schema.names) ^ set(first.schema.names))
        raise UnreadableInput(
            f"{found.uri} does not have the columns of {first.uri}; they differ in "
            f"{', '.join(map(repr, other[:20]))}."
        )
    if len(set(first.schema.names)) < len(first.schema.names):
        return
    for column in first.schema:
        type_ = found.schema.field(column.name).type
        if not _widens(type_, column.type):
            raise UnreadableInput(
                f"{found.uri}: column {column.name!r} is of type {type_}, which does not fit the "
                f"type {column.type} that it has in {first.uri}."
            )


def _widens(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of one type has its like in the other."""
    if found == wanted:
        return True
    pair = [pa.schema([("x", type_)]) for type_ in (wanted, found)]
    try:
        joined = pa.unify_schemas(pair, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return bool(joined.field("x").type == wanted)


def _fitted(rows: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Bring the columns of one object into the layout's order and types."""
    names = rows.schema.names
    columns = [rows.column(names.index(name)) for name in schema.names]
    if not columns:
        return rows.select([])
    return pa.RecordBatch.from_arrays(
        [
            column if column.type == wanted.type else column.cast(wanted.type, safe=False)
            for column, wanted in zip(columns, schema, strict=True)
        ],
        schema=schema,
    )
