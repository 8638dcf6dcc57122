"""CSV objects in one fixed dialect, as columns of text.

Nothing is guessed: see ``tokenise`` for the dialect. The first record of the first readable
object is the header; a later object may repeat it, in any order of its names.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rowcast.core.batch import Batch, Places, RowError, shown
from rowcast.core.plan import InputObject, Layout, Plan
from rowcast.errors import InputChanged, RowcastError, UnreadableInput
from rowcast.sources import spool
from rowcast.sources.records import chunks, read_text
from rowcast.sources.survey import (
    BLOCK_BYTES,
    CELLS_AT_ONCE,
    LARGEST_PART,
    Section,
    cell_too_long,
    check_row,
    each,
    failures_of,
    number_parts,
)
from rowcast.sources.tokenise import (
    LAST_STOP,
    LINE,
    MODE,
    NEEDED,
    PREVIOUS,
    QUOTE_AT,
    QUOTE_LINE,
    QUOTED,
    RECORD_AT,
    RECORD_LINE,
    RECORDS,
    Fields,
    count_line_ends,
    find_invalid_utf8,
    scan,
    start_state,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rowcast.core.plan import Part
    from rowcast.sources import Limits, SourceOptions
    from rowcast.sources.records import Chunk
    from rowcast.sources.tokenise import Bytes, Longs
    from rowcast.storage.objects import Reader

BOM = b"\xef\xbb\xbf"
WIDTH = "width"
"""Detail of the layout: fields of a record, those of dropped columns included."""
FIRST_LOOK_BYTES = 64 << 10
FACTS_WEIGH = 16
"""Cells that take the memory of what is noted of each record."""


class CsvSource:
    """The rows of CSV objects."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    def survey(self, objects: Sequence[InputObject], part_bytes: int) -> Plan:
        """Find the header and cut the records into parts."""
        texts = spool.text_objects(objects, self.options)

        def look(index: int, text: InputObject) -> _Head:
            return self._look_at_head(objects[index].uri, text)

        heads = each(texts, look)
        header = next((one for one in heads if isinstance(one, _Head) and one.names), None)
        faults = [_fault(head) for head in heads]
        if header is None:
            failures_of(objects, faults)
            raise AssertionError("a head without a header has a fault")
        first = heads.index(header)
        heads[:first] = [fault for fault in faults[:first] if fault is not None]

        def cut(_index: int, head: _Head) -> list[Section]:
            return self._cut(
                head,
                skip_header=_same_names(head.names, header.names),
                part_bytes=min(part_bytes, LARGEST_PART),
            )

        found = each(heads, cut)
        layout = Layout(
            objects=tuple(objects),
            schema=pa.schema([(name, pa.string()) for name in self._kept(header.names)]),
            column_orders=self._orders(heads, header.names),
            details={
                WIDTH: str(len(header.names)),
                spool.SPOOLED: spool.remember_spooled(objects, texts),
            },
        )
        return Plan(layout, number_parts(found), failures_of(objects, found))

    def read(self, layout: Layout, part: Part, batch_rows: int) -> Iterator[Batch]:
        """Yield the part's records in order."""
        text = spool.text_of(layout, part.source)
        with self.options.objects.open(text) as reader:
            data = read_text(reader, part.start, part.stop)
            reader.check()
        size = part.stop - part.start
        width = int(layout.details[WIDTH])
        order = np.array(
            layout.column_orders.get(part.source, range(len(layout.schema))), dtype=np.int64
        )
        at_once = max(1, min(batch_rows, part.rows, CELLS_AT_ONCE // (width + FACTS_WEIGH)))
        done = 0
        for chunk in chunks(data, size, part.first_line, width, at_once):
            rows = len(chunk.facts)
            if done + rows <= part.rows:
                yield _Found(chunk, order, layout, part, part.first_row + done).batch()
            done += rows
        if done != part.rows:
            raise InputChanged.at(text.uri, f"with {part.rows} records", f"one with {done}")

    def _kept(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if name not in self.options.dropped_columns]

    def _orders(
        self, heads: Sequence[_Head | RowcastError], names: tuple[str, ...]
    ) -> dict[int, tuple[int, ...]]:
        """Where each object has the columns that are kept, unless it has them all in order."""
        kept = self._kept(names)
        orders = {
            index: _positions(kept, head.names if _same_names(head.names, names) else names)
            for index, head in enumerate(heads)
            if isinstance(head, _Head)
        }
        in_order = tuple(range(len(names)))
        return {index: order for index, order in orders.items() if order != in_order}

    def _look_at_head(self, uri: str, text: InputObject) -> _Head:
        """Read an object's first record, if it is no longer than a header may be."""
        limits = self.options.limits
        with self.options.objects.open(text) as reader:
            offset = len(BOM) if reader.file.read(len(BOM)) == BOM else 0
            left = text.size - offset
            size = min(FIRST_LOOK_BYTES, limits.header_bytes + 1, left)
            record = Fields(1, 0)
            while True:
                data = np.frombuffer(reader.read_range(offset, offset + size), np.uint8)
                rows, _, _, unclosed = record.tokenise(data, 0, 1)
                whole = size == left or (rows == 1 and record.records[0, 1] < size)
                if whole or size > limits.header_bytes:
                    break
                size = min(4 * size, limits.header_bytes + 1, left)
        if rows == 0 and whole:
            raise UnreadableInput(f"{uri} is empty: it has not even a header.")
        if not whole:
            fault = (
                f"has a header of more than {limits.header_bytes:,} bytes "
                "(setting max_header_bytes)"
            )
            return _Head(uri, text, offset, fault=fault)
        if unclosed >= 0:
            line = int(record.records[0, 2])
            fault = (
                f"has a header, at line {line}, in which the quote at byte {offset + unclosed} is "
                "never closed"
            )
            return _Head(uri, text, offset, fault=fault)
        return _read_names(uri, text, offset, data, record.records[0], limits)

    def _cut(self, head: _Head, *, skip_header: bool, part_bytes: int) -> list[Section]:
        """Run over an object once, and cut its records into sections."""
        with self.options.objects.open(head.text) as reader:
            survey = _Scan(
                reader, head.uri, self.options.limits, head.offset, part_bytes, skip_header
            )
            try:
                survey.run()
            finally:  # what looks like damage may be another version
                reader.check()
        return survey.sections()


@dataclass(frozen=True)
class _Head:
    """What an object starts with."""

    uri: str
    text: InputObject
    """The object itself, or its unpacked copy."""
    offset: int
    """Length of its byte order mark."""
    names: tuple[str, ...] = ()
    """Its first record, if that can be a header."""
    fault: str = ""
    """Why it cannot."""


def _fault(head: _Head | RowcastError) -> RowcastError | None:
    """Say what is wrong with an object that ought to begin with a header."""
    if isinstance(head, RowcastError):
        return head
    return UnreadableInput(f"{head.uri} {head.fault}.") if head.fault else None


def _same_names(names: tuple[str, ...], header: tuple[str, ...]) -> bool:
    return names == header or sorted(names) == sorted(header)


def _positions(wanted: Sequence[str], found: Sequence[str]) -> tuple[int, ...]:
    """Find each wanted name among those found; equal names keep their order."""
    places: defaultdict[str, list[int]] = defaultdict(list)
    for position, name in enumerate(found):
        places[name].append(position)
    return tuple(places[name].pop(0) for name in wanted)


def _read_names(
    uri: str, text: InputObject, offset: int, data: Bytes, record: Longs, limits: Limits
) -> _Head:
    """Read a first record as a header."""
    start, stop, line, width = (int(fact) for fact in record[:4])
    fault = ""
    if stop - start > limits.header_bytes:
        fault = (
            f"has a header of {stop - start:,} bytes; a header may have "
            f"{limits.header_bytes:,} (setting max_header_bytes)"
        )
    elif width > limits.columns:
        fault = (
            f"has a header of {width:,} columns; an input may have {limits.columns:,} "
            "(setting max_columns)"
        )
    if fault:
        return _Head(uri, text, offset, fault=fault)
    fields = Fields(1, width)
    fields.tokenise(data, start, line)
    if fields.records[0, 4] >= 0:
        fault = (
            f"has a header with text after a closing quote (line {line}, byte "
            f"{offset + int(fields.records[0, 5])}); expected a comma or the end of the line"
        )
        return _Head(uri, text, offset, fault=fault)
    columns = _string_columns(data, fields, 1, np.arange(width))
    try:
        return _Head(uri, text, offset, names=tuple(column[0].as_py() for column in columns))
    except UnicodeDecodeError:
        return _Head(uri, text, offset, fault=f"is not UTF-8: its header (line {line}) is not")


class _Scan:
    """One pass over one object."""

    def __init__(
        self,
        reader: Reader,
        uri: str,
        limits: Limits,
        offset: int,
        part_bytes: int,
        skip_header: bool,
    ) -> None:
        self._reader = reader
        self._uri = uri
        self._limits = limits
        self._offset = offset
        self._part_bytes = part_bytes
        self._long_bytes = min(limits.cell_bytes, limits.row_bytes)
        self._state = start_state(offset=offset, header=skip_header)
        self._cuts: list[tuple[int, int, int, int]] = []

    def run(self) -> None:
        """Read to the end. Raises UnreadableInput."""
        file, state = self._reader.file, self._state
        block = np.empty(BLOCK_BYTES, np.uint8)
        utf8 = np.zeros(3, np.int64)
        base = self._offset
        file.seek(base)
        while size := file.readinto(block):  # type: ignore[attr-defined]
            self._check_utf8(block, size, utf8)
            self._scan(block, size, base)
            base += size
            self._check_row(
                int(state[RECORD_AT]), base, int(state[RECORD_LINE]), self._open_quote()
            )
            file.seek(base)
        if utf8[NEEDED]:
            raise self._not_utf8(int(state[LINE]))
        if state[MODE] == QUOTED:
            raise UnreadableInput(
                f"{self._uri}: {self._open_quote()} is never closed, so that where its rows end "
                "is unknown."
            )
        block[0] = ord("\n")
        self._scan(block, 1, base)

    def sections(self) -> list[Section]:
        """Give what was found."""
        total = int(self._state[RECORDS])
        ends = [(before, stop) for _, _, before, stop in self._cuts[1:]]
        ends.append((total, int(self._state[LAST_STOP])))
        return [
            Section(start, stop, line, after - before)
            for (start, line, before, _), (after, stop) in zip(self._cuts, ends, strict=False)
        ]

    def _scan(self, block: Bytes, size: int, base: int) -> None:
        cuts = np.empty((size // self._part_bytes + 2, 4), np.int64)
        longs = np.empty((size // (self._long_bytes + 1) + 2, 3), np.int64)
        n_cuts, n_longs = scan(
            block, size, base, self._part_bytes, self._long_bytes, self._state, cuts, longs
        )
        self._cuts.extend((int(a), int(b), int(c), int(d)) for a, b, c, d in cuts[:n_cuts])
        for start, stop, line in longs[:n_longs]:
            self._check_row(int(start), int(stop), int(line))
            self._check_cells(int(start), int(stop), int(line))

    def _open_quote(self) -> str:
        """Name the quoted field in progress, if there is one."""
        state = self._state
        if state[MODE] != QUOTED:
            return ""
        return f"the quote that opens a field at line {state[QUOTE_LINE]}, byte {state[QUOTE_AT]}"

    def _check_row(self, start: int, stop: int, line: int, quote: str = "") -> None:
        place = f"line {line}, byte {start} of {self._uri}"
        check_row(place + (f" (is {quote}, closed?)" if quote else ""), stop - start, self._limits)

    def _check_cells(self, start: int, stop: int, line: int) -> None:
        data = np.frombuffer(self._reader.read_range(start, stop), np.uint8)
        width = Fields(1, 0)
        width.tokenise(data, 0, line)
        fields = Fields(1, int(width.records[0, 3]))
        fields.tokenise(data, 0, line)
        longest = int((fields.ends - fields.begins).max())
        if longest > self._limits.cell_bytes:
            raise cell_too_long(f"line {line}, byte {start} of {self._uri}", longest, self._limits)

    def _check_utf8(self, block: Bytes, size: int, utf8: Longs) -> None:
        if not utf8[NEEDED] and block[:size].max() < 0x80:
            return
        bad = find_invalid_utf8(block, size, utf8)
        if bad >= 0:
            before = int(self._state[PREVIOUS])
            raise self._not_utf8(int(self._state[LINE]) + count_line_ends(block, bad, before))

    def _not_utf8(self, line: int) -> UnreadableInput:
        return UnreadableInput(
            f"{self._uri} is not UTF-8: line {line} holds bytes that are no text. Convert it to "
            "UTF-8."
        )


class _Found:
    """Records of a part that are in memory."""

    def __init__(
        self, chunk: Chunk, order: Longs, layout: Layout, part: Part, first_row: int
    ) -> None:
        self._data = chunk.data
        self._order = order
        self._facts = chunk.facts
        self._width = len(chunk.starts)
        self._names = layout.schema.names
        self._rows = chunk.rows(layout.schema, order)
        self._places = Places(
            layout.objects[part.source].uri,
            row=np.arange(first_row, first_row + len(self._facts)),
            line=self._facts[:, 2].copy(),
            offset=self._facts[:, 0] + part.start,
        )

    def batch(self) -> Batch:
        """Give the records, and say which of them are malformed."""
        bad = (self._facts[:, 3] != self._width) | (self._facts[:, 4] >= 0)
        rejects = tuple(self._reject(index) for index in np.flatnonzero(bad).tolist())
        return Batch(self._rows, self._places, rejects)

    def _reject(self, index: int) -> RowError:
        _, stop, _, width, field, text_at = (int(fact) for fact in self._facts[index, :6])
        place = self._places.describe(index)
        if field < 0:
            return RowError(
                index,
                "wrong number of fields",
                f"The header has {self._width} columns, so expected {self._width} fields, but "
                f"found {width} ({place})",
            )
        column = self._column(field)
        text = self._data[text_at : min(stop, text_at + 256)].tobytes().decode(errors="replace")
        return RowError(
            index,
            f"{column}: text after the closing quote",
            f"Column {column}: text after the closing quote, {shown(text)}; expected a comma or "
            f"the end of the line, and a quote inside quotes doubled ({place})",
        )

    def _column(self, field: int) -> str:
        """Name the column of a field, or say which field it is where no column is kept."""
        found = np.flatnonzero(self._order == field)
        return shown(self._names[found[0]]) if len(found) else f"number {field + 1}"


def _string_columns(data: Bytes, fields: Fields, rows: int, order: Longs) -> list[pa.Array]:
    """Make Arrow columns of tokenised records without touching single cells."""
    offsets, values, starts = fields.columns_of(data, rows, order)
    text = pa.py_buffer(values)
    return [
        pa.StringArray.from_buffers(
            rows, pa.py_buffer(offsets[k]), text.slice(starts[k], starts[k + 1] - starts[k])
        )
        for k in range(len(order))
    ]
