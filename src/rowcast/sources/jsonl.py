"""JSON Lines: one object, or one array in the order of the model's columns, per line.

Values keep their own spelling: a number that no double holds exactly is passed on as it stands.
"""

from __future__ import annotations

import io
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import msgspec
import numpy as np
import pyarrow as pa

from rowcast.core.batch import Batch, Places, RowError, shown
from rowcast.core.plan import InputObject, Layout, Plan
from rowcast.errors import InputChanged, UnreadableInput
from rowcast.sources import spool
from rowcast.sources.survey import (
    BLOCK_BYTES,
    CELLS_AT_ONCE,
    LARGEST_PART,
    InputTooLarge,
    Section,
    cell_too_long,
    check_row,
    each,
    failures_of,
    number_parts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from rowcast.core.plan import Part
    from rowcast.sources import Limits, SourceOptions

BOM = b"\xef\xbb\xbf"
BLANKS = b" \t\r\n"
JSON_TYPE = b"json_type"
"""Field metadata: ``string``, ``number`` or ``boolean`` if all values that are not null are of
that type, else ``mixed``."""

STRING, NUMBER, BOOLEAN, NESTED = 1, 2, 4, 8
JSON_TYPES = {STRING: b"string", NUMBER: b"number", BOOLEAN: b"boolean"}
KIND_OF_FIRST_BYTE = {
    ord('"'): STRING,
    ord("t"): BOOLEAN,
    ord("f"): BOOLEAN,
    ord("n"): 0,
    ord("["): NESTED,
    ord("{"): NESTED,
}

MOST_TYPED = 2000
"""Lines of more columns than this are not worth a decoder of their own."""
FIRST_TYPED_LINE = 8

_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])
_arrays = msgspec.json.Decoder(list[msgspec.Raw])
_strings = msgspec.json.Decoder(str)

_Cell = msgspec.Raw | str | bytes | None
KIND_OF_TYPE = {type_: kind for kind, type_ in JSON_TYPES.items()} | {b"mixed": NESTED}
READ_TYPES: dict[int, object] = {STRING: str | None}
KNOWN_TYPES: dict[int, object] = {
    0: None,
    STRING: str | None,
    NUMBER: float | None,
    BOOLEAN: bool | None,
}
"""What a value may be to tell nothing new; a column of several kinds is beyond news."""


class JsonlSource:
    """The rows of JSON Lines objects."""

    def __init__(self, options: SourceOptions) -> None:
        self.options = options

    def survey(self, objects: Sequence[InputObject], part_bytes: int) -> Plan:
        """Collect the keys of all lines and cut the lines into parts."""
        texts = spool.text_objects(objects, self.options)

        def look(index: int, text: InputObject) -> _Found:
            uri = objects[index].uri
            found = _Found(self.options, uri, min(part_bytes, LARGEST_PART))
            with self.options.objects.open(text) as reader:
                try:
                    for line in _lines(reader.file, uri, self.options.limits):
                        found.add(line)
                finally:  # what looks like damage may be another version
                    reader.check()
            return found

        surveyed = each(texts, look)
        failures = failures_of(objects, surveyed)
        kinds: dict[str, int] = {}
        for found in surveyed:
            if isinstance(found, _Found):
                for name, kind in found.kinds.items():
                    kinds[name] = kinds.get(name, 0) | kind
        if len(kinds) > self.options.limits.columns:
            raise InputTooLarge(_too_many_keys("The input", self.options.limits))
        schema = pa.schema(
            [
                pa.field(name, pa.string(), metadata={JSON_TYPE: JSON_TYPES.get(kind, b"mixed")})
                for name, kind in kinds.items()
            ]
        )
        details = {spool.SPOOLED: spool.remember_spooled(objects, texts)}
        sections = [found.sections if isinstance(found, _Found) else found for found in surveyed]
        return Plan(
            Layout(tuple(objects), schema, details=details), number_parts(sections), failures
        )

    def read(self, layout: Layout, part: Part, batch_rows: int) -> Iterator[Batch]:
        """Yield the part's lines in order."""
        text = spool.text_of(layout, part.source)
        with self.options.objects.open(text) as reader:
            data = reader.read_range(part.start, part.stop)
            reader.check()
        most = min(batch_rows, max(1, CELLS_AT_ONCE // max(1, len(layout.schema))))
        line_reader = _Reader(layout.schema, self.options.feature_names)
        rows = _Rows(line_reader, layout, part)
        done = 0
        offset, number = part.start, part.first_line
        for raw in io.BytesIO(data):
            if content := raw.strip(BLANKS):
                rows.add(_record(_Line(number, offset, content), self.options.record_field))
            offset += len(raw)
            number += 1
            if len(rows) == most:
                done += most
                yield rows.batch()
                rows = _Rows(line_reader, layout, part, done)
        done += len(rows)
        if done != part.rows:
            raise InputChanged.at(text.uri, f"with {part.rows} records", f"one with {done}")
        if len(rows):
            yield rows.batch()


@dataclass(frozen=True)
class _Line:
    """A line with something on it."""

    number: int
    offset: int
    content: bytes


def _lines(file: BinaryIO, uri: str, limits: Limits) -> Iterator[_Line]:
    """Read a file block by block and yield its lines that are not blank."""
    offset = len(BOM) if file.read(len(BOM)) == BOM else 0
    file.seek(offset)
    number = 1
    rest = b""
    while block := file.read(BLOCK_BYTES):
        for raw in io.BytesIO(rest + block):
            if raw.endswith(b"\n"):
                yield from _line(number, offset, raw, uri, limits)
                offset += len(raw)
                number += 1
                rest = b""
            else:
                rest = raw
        check_row(f"line {number}, byte {offset} of {uri}", len(rest), limits)
    yield from _line(number, offset, rest, uri, limits)


def _line(number: int, offset: int, raw: bytes, uri: str, limits: Limits) -> Iterator[_Line]:
    if content := raw.strip(BLANKS):
        check_row(f"line {number}, byte {offset} of {uri}", len(content), limits)
        yield _Line(number, offset, content)


def _record(line: _Line, field: str | None) -> _Line:
    """Take the record out of a line that carries it in a field.

    A record that was no JSON stands there as a string of its text.
    """
    if field is None:
        return line
    with suppress(msgspec.DecodeError, RecursionError, KeyError, UnicodeDecodeError):
        content = bytes(_objects.decode(line.content)[field])
        text = _strings.decode(content).encode() if content.startswith(b'"') else content
        return _Line(line.number, line.offset, text)
    return line


class _BadLineError(Exception):
    """A line that is no record: what its row error says."""

    def __init__(self, cause: str, found: str) -> None:
        super().__init__(found)
        self.cause = cause
        self.found = found


def _parse(line: bytes, feature_names: Sequence[str]) -> dict[str, msgspec.Raw]:
    """Split a line into its values, each as it is spelled. Raises _BadLineError."""
    try:
        line.decode()
        if line.startswith(b"{"):
            return _objects.decode(line)
        if not line.startswith(b"["):
            msgspec.json.decode(line, type=msgspec.Raw)
            raise _BadLineError("neither object nor array", "found another JSON value")
        values = _arrays.decode(line)
    except UnicodeDecodeError as error:
        raise _BadLineError("not UTF-8", f"byte {error.start} is not UTF-8") from error
    except RecursionError as error:
        raise _BadLineError("nested too deeply", "it is nested too deeply") from error
    except msgspec.DecodeError as error:
        raise _BadLineError("not JSON", f"it is not JSON: {error}") from error
    if len(values) != len(feature_names):
        raise _BadLineError(
            "wrong array length",
            f"found an array of {len(values)} values where the model has {len(feature_names)} "
            "columns",
        )
    return dict(zip(feature_names, values, strict=True))


def _is_utf8(content: bytes) -> bool:
    """Whether a line is text: values that are only passed on are not looked into."""
    if content.isascii():
        return True
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _too_many_keys(whose: str, limits: Limits) -> str:
    return (
        f"{whose} has more than {limits.columns:,} different keys, or keys of more than "
        f"{limits.header_bytes:,} bytes (settings max_columns, max_header_bytes)."
    )


@dataclass
class _Found:
    """What one object's lines hold."""

    options: SourceOptions
    uri: str
    part_bytes: int
    kinds: dict[str, int] = field(default_factory=dict)
    """Kinds of value seen under each key, in order of first appearance."""
    sections: list[Section] = field(default_factory=list)
    rows: int = 0
    key_bytes: int = 0
    _nothing_new: msgspec.json.Decoder[msgspec.Struct] | None = None
    _stale: bool = True
    _next_refresh: int = FIRST_TYPED_LINE

    def add(self, line: _Line) -> None:
        """Take in one line. Raises UnreadableInput."""
        self._count(line)
        record = _record(line, self.options.record_field)
        if not self._tells_nothing_new(record.content):
            self._learn(record)

    def _tells_nothing_new(self, content: bytes) -> bool:
        """Whether a line has only keys and kinds of values that are known: most have."""
        if self._stale and self.rows >= self._next_refresh:
            self._next_refresh = 2 * self.rows
            self._stale = False
            self._nothing_new = _typed_decoder(self.kinds, KNOWN_TYPES, only_these=True)
        if self._nothing_new is None or len(content) > self.options.limits.cell_bytes:
            return False
        if not _is_utf8(content):
            return False
        try:
            self._nothing_new.decode(content)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True

    def _learn(self, line: _Line) -> None:
        try:
            record = _parse(line.content, self.options.feature_names)
        except _BadLineError:
            return
        kinds = self.kinds
        for name, raw in record.items():
            kind = KIND_OF_FIRST_BYTE.get(memoryview(raw)[0], NUMBER)
            seen = kinds.get(name)
            if seen is None:
                self._add_key(name, kind)
            elif seen | kind != seen:
                kinds[name] = seen | kind
                self._stale = True
        if len(line.content) > self.options.limits.cell_bytes:
            longest = max((len(memoryview(raw)) for raw in record.values()), default=0)
            if longest > self.options.limits.cell_bytes:
                place = f"line {line.number}, byte {line.offset} of {self.uri}"
                raise cell_too_long(place, longest, self.options.limits)

    def _add_key(self, name: str, kind: int) -> None:
        if name in self.options.dropped_columns:
            return
        limits = self.options.limits
        self.kinds[name] = kind
        self._stale = True
        self.key_bytes += len(name.encode())
        if len(self.kinds) > limits.columns or self.key_bytes > limits.header_bytes:
            raise UnreadableInput(_too_many_keys(self.uri, limits))

    def _count(self, line: _Line) -> None:
        self.rows += 1
        stop = line.offset + len(line.content)
        last = self.sections[-1] if self.sections else None
        if last is None or line.offset - last.start >= self.part_bytes:
            self.sections.append(Section(line.offset, stop, line.number, 1))
        else:
            self.sections[-1] = Section(last.start, stop, last.line, last.rows + 1)


class _Reader:
    """Turns lines into cells, by the fastest way that fits."""

    def __init__(self, schema: pa.Schema, feature_names: Sequence[str]) -> None:
        self.names: list[str] = schema.names
        self._feature_names = feature_names
        kinds = {column.name: KIND_OF_TYPE[column.metadata[JSON_TYPE]] for column in schema}
        self._typed = _typed_decoder(kinds, READ_TYPES, only_these=False)

    def read(self, content: bytes) -> tuple[tuple[_Cell, ...], bytes]:
        """Give a line's cells, and the line as an object. Raises _BadLineError."""
        if self._typed is not None and content.startswith(b"{") and _is_utf8(content):
            with suppress(msgspec.DecodeError, RecursionError):
                return msgspec.structs.astuple(self._typed.decode(content)), content
        record = _parse(content, self._feature_names)
        if content.startswith(b"["):
            content = msgspec.json.encode(record)
        return tuple(_text(record.get(name)) for name in self.names), content


class _Rows:
    """Lines of a part on their way to a batch."""

    def __init__(self, reader: _Reader, layout: Layout, part: Part, done: int = 0) -> None:
        self._reader = reader
        self._schema = layout.schema
        self._uri = layout.objects[part.source].uri
        self._first_row = part.first_row + done
        self._lines: list[_Line] = []
        self._cells: list[tuple[_Cell, ...]] = []
        self._instances: list[bytes] = []
        self._bad: list[tuple[int, _BadLineError]] = []

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, line: _Line) -> None:
        """Take in one line."""
        try:
            cells, instance = self._reader.read(line.content)
        except _BadLineError as error:
            self._bad.append((len(self._lines), error))
            cells = (None,) * len(self._schema)
            instance = msgspec.json.encode(line.content.decode(errors="backslashreplace"))
        self._lines.append(line)
        self._cells.append(cells)
        self._instances.append(instance)

    def batch(self) -> Batch:
        """Make a batch of the lines taken in."""
        rows = len(self._lines)
        places = Places(
            self._uri,
            row=np.arange(self._first_row, self._first_row + rows),
            line=np.fromiter((line.number for line in self._lines), np.int64, rows),
            offset=np.fromiter((line.offset for line in self._lines), np.int64, rows),
        )
        return Batch(
            self._columns(),
            places,
            tuple(self._reject(index, error, places) for index, error in self._bad),
            pa.array(self._instances, pa.string()),
        )

    def _columns(self) -> pa.RecordBatch:
        if not len(self._schema):
            return pa.RecordBatch.from_struct_array(
                pa.StructArray.from_buffers(pa.struct([]), len(self._lines), [None])
            )
        columns = [
            pa.array(_texts(cells, column.metadata[JSON_TYPE]), pa.string())
            for column, cells in zip(self._schema, zip(*self._cells, strict=True), strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _reject(self, index: int, error: _BadLineError, places: Places) -> RowError:
        line = self._lines[index].content[:256].decode(errors="backslashreplace")
        return RowError(
            index,
            error.cause,
            f"The line {shown(line)} is no record: expected one JSON object or array, but "
            f"{error.found} ({places.describe(index)})",
        )


def _typed_decoder(
    kinds: dict[str, int], types: dict[int, object], *, only_these: bool
) -> msgspec.json.Decoder[msgspec.Struct] | None:
    """Make a decoder for objects with these keys, several times as fast as one for any keys.

    There is none for keys with quotes, backslashes or control characters.
    """
    if len(kinds) > MOST_TYPED:
        return None
    fields = {f"f{index}": name for index, name in enumerate(kinds)}
    try:
        record = msgspec.defstruct(
            "Record",
            [(f, types.get(kinds[name], msgspec.Raw), None) for f, name in fields.items()],
            rename=fields,
            forbid_unknown_fields=only_these,
            gc=False,
        )
    except ValueError:
        return None
    return msgspec.json.Decoder(record)


def _texts(cells: Sequence[_Cell], json_type: bytes) -> list[str | bytes | None]:
    """Give a column's values as text."""
    if json_type == b"string":
        return cast("list[str | bytes | None]", list(cells))
    if json_type == b"mixed":
        return list(map(_text, cells))
    tokens = [None if cell is None else bytes(cast("bytes", cell)) for cell in cells]
    return [None if token == b"null" else token for token in tokens]


def _text(cell: _Cell) -> str | bytes | None:
    """Give a value as text: a string without its quotes, anything else as it is spelled."""
    if not isinstance(cell, msgspec.Raw):
        return cell
    token = bytes(cell)
    if token.startswith(b'"'):
        return _strings.decode(token) if b"\\" in token else token[1:-1]
    return None if token == b"null" else token
