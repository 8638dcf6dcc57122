"""Records of CSV in memory, as spans of the bytes that they were read from.

Nothing is copied until somebody asks for columns: features are read where they stand, and a record
that is passed through is written as it was read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rowcast.core.batch import Records, Spans
from rowcast.scoring.kernels.cells import copy_cells
from rowcast.sources.tokenise import FACTS, NEEDLESS, PLAIN, split

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.sources.tokenise import Bytes, Longs
    from rowcast.storage.objects import Reader

FIRST_WINDOW = 1 << 19
"""Bytes that are looked at for the first records."""
APART = 16
"""Columns are this many numbers longer than need be: were their distance a power of two, their
places would share a few lines of the cache."""
BEHIND = 64
"""Bytes that may be read behind a text, by kernels that take several at a time."""
ROOM = 3
"""Copies of a text that its rewritten fields may take: a field twice at most, if it is last."""


def read_text(reader: Reader, start: int, stop: int) -> Bytes:
    """Read a range of bytes, with room behind them for ``split``. Raises InputChanged."""
    data = np.empty(ROOM * (stop - start) + BEHIND, np.uint8)
    reader.read_into(data[: stop - start], start)
    return data


class RecordRows:
    """See ``rowcast.core.batch.TextRows``."""

    def __init__(
        self,
        schema: pa.Schema,
        data: Bytes,
        starts: np.ndarray,
        stops: np.ndarray,
        records: Records | None,
    ) -> None:
        self._schema = schema
        self._data, self._starts, self._stops = data, starts, stops
        self.records = records

    @property
    def num_rows(self) -> int:
        """How many."""
        return int(self._starts.shape[1])

    def cells(self, name: str) -> Spans:
        """The cells of a column."""
        place = self._schema.get_field_index(name)
        return Spans(self._data, self._starts[place], self._stops[place])

    def column(self, name: str) -> pa.Array:
        """A column, copied."""
        return self._copied(self._schema.get_field_index(name), np.arange(self.num_rows))

    def columns(self) -> pa.RecordBatch:
        """All columns, copied once."""
        return self._columns

    def take(self, rows: np.ndarray) -> list[pa.Array]:
        """All columns of some rows, copied."""
        return [self._copied(place, rows) for place in range(len(self._schema))]

    def slice(self, start: int, length: int) -> RecordRows:
        """Keep ``length`` rows from ``start``."""
        rows = slice(start, start + length)
        records = self.records
        if records is not None:
            spans, well_formed, needless, ends = records
            spans = Spans(self._data, spans.starts[rows], spans.stops[rows])
            ends = ends[start : start + length + 1]
            records = Records(spans, well_formed[rows], needless, ends)
        return RecordRows(
            self._schema, self._data, self._starts[:, rows], self._stops[:, rows], records
        )

    @cached_property
    def _columns(self) -> pa.RecordBatch:
        if not len(self._schema):
            nothing = pa.StructArray.from_buffers(pa.struct([]), self.num_rows, [None])
            return pa.RecordBatch.from_struct_array(nothing)
        columns = self.take(np.arange(self.num_rows))
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _copied(self, place: int, rows: np.ndarray) -> pa.Array:
        starts, stops = self._starts[place], self._stops[place]
        offsets = np.empty(len(rows) + 1, np.int64)
        values = np.empty(int((stops[rows] - starts[rows]).sum(dtype=np.int64)), np.uint8)
        copy_cells(self._data, starts, stops, rows, offsets, values)
        ends, text = pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(values)
        return pa.StringArray.from_buffers(len(rows), ends, text)


@dataclass(frozen=True)
class Chunk:
    """Some records as ``split`` found them."""

    data: Bytes
    starts: np.ndarray
    stops: np.ndarray
    facts: Longs
    needless: np.ndarray

    def rows(self, schema: pa.Schema, order: Longs) -> RecordRows:
        """Take the columns of ``schema``, which are the fields at ``order``."""
        if np.array_equal(order, np.arange(len(self.starts))):
            return RecordRows(schema, self.data, self.starts, self.stops, self._records())
        starts, stops = _sealed(self.starts[order]), _sealed(self.stops[order])
        return RecordRows(schema, self.data, starts, stops, None)

    def _records(self) -> Records:
        starts, stops = (np.ascontiguousarray(self.facts[:, i], np.int32) for i in (0, 1))
        ends = np.concatenate([[0], self.facts[:, NEEDLESS]])
        spans = Spans(self.data, _sealed(starts), _sealed(stops))
        return Records(spans, self.facts[:, PLAIN] != 0, self.needless, ends)


def chunks(data: Bytes, size: int, line: int, width: int, most: int) -> Iterator[Chunk]:
    """Find the records of ``data[:size]``, at most ``most`` at a time.

    Parameters
    ----------
    data
        As ``read_text`` gives it. It is not to be changed by the receiver.
    line
        Physical line of the first byte.
    width
        Fields of a record to keep.
    """
    shown = data.view()
    shown.flags.writeable = False
    position, spare, window = 0, size, min(size, FIRST_WINDOW)
    places, needless = (np.empty(window, np.int32) for _ in range(2))
    while position < size:
        stop = min(position + window, size)
        if stop - position > len(places):
            places, needless = (np.empty(stop - position, np.int32) for _ in range(2))
        begins, ends = (np.empty((width, most + APART), np.int32) for _ in range(2))
        facts = np.empty((most, FACTS), np.int64)
        before = position
        rows, position, line, spare = split(
            data,
            position,
            stop,
            stop == size,
            line,
            spare,
            most,
            places,
            begins,
            ends,
            facts,
            needless,
        )
        if rows:
            fields = _sealed(begins[:, :rows]), _sealed(ends[:, :rows])
            left_out = needless[: facts[rows - 1, NEEDLESS]].copy()
            yield Chunk(shown, *fields, facts[:rows], left_out)
        if rows == most:  # as many bytes again, and some to spare
            window = (position - before) * 9 // 8 + 4096
        elif stop < size:
            window = 2 * window


def _sealed(array: np.ndarray) -> np.ndarray:
    """Make read-only: as the buffers of Arrow are, so that kernels are compiled once for both."""
    array.flags.writeable = False
    return array
