"""CSV records from columns of text, by RFC 4180, in one pass over the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    Integer = int | np.int64

    from rowcast.core.batch import Records

COMMA, QUOTE, LF, CR = 0x2C, 0x22, 0x0A, 0x0D
SPECIAL = frozenset(',"\n\r')
PIECE = 8
"""Bytes that are copied together."""


def csv_lines(columns: Sequence[pa.Array]) -> bytes:
    """Write rows as CSV records, each ended by LF.

    A field is quoted only where the format needs it: if it holds a comma, a quote or a line
    break. Null is the empty field.

    Parameters
    ----------
    columns : sequence of pa.StringArray
        All of one length.
    """
    lines, ends = _records(columns)
    return lines[: _last(ends)].tobytes()


def csv_records(
    records: Records,
    rows: np.ndarray,
    columns: Callable[[np.ndarray], Sequence[pa.Array]],
    added: Sequence[pa.Array],
) -> bytes:
    """Write what ``csv_lines`` would, by copying the input's records.

    Parameters
    ----------
    records
        Input records.
    rows : ndarray of int64
        Those to write.
    columns : callable
        Gives the columns of some of them, for those that are not well formed.
    added : sequence of pa.StringArray
        Columns behind those of the input, of ``len(rows)`` texts.
    """
    anew = np.flatnonzero(~records.well_formed[rows])
    copies, (data, starts, stops) = np.full(len(rows), -1), records.spans
    lines, line_ends = _NO_LINES
    if len(anew):
        copies[anew] = np.arange(len(anew))
        lines, line_ends = _records(columns(rows[anew]))
    tails, tail_ends = _records(added)
    size = int((stops[rows] - starts[rows]).sum(dtype=np.int64)) + _last(line_ends)
    out = np.empty(size + _last(tail_ends) + len(rows) + PIECE, np.uint8)
    size = int(
        weave(
            data,
            starts,
            stops,
            records.needless,
            records.needless_ends,
            rows,
            copies,
            lines,
            line_ends,
            tails,
            tail_ends,
            out,
        )
    )
    return out[:size].tobytes()


def _records(columns: Sequence[pa.Array]) -> tuple[np.ndarray, np.ndarray]:
    """Write rows; returns the bytes, PIECE more than they are, and where each row ends."""
    count = len(columns[0])
    if not count:
        return _NO_LINES
    data = np.empty(sum(_length(column) for column in columns), np.uint8)
    bounds = np.empty((len(columns), count + 1), np.int64)
    filled = 0
    for i, column in enumerate(columns):
        _, offsets_buffer, bytes_buffer = column.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int32)[column.offset : column.offset + count + 1]
        length = int(offsets[-1] - offsets[0])
        if length:
            source = np.frombuffer(bytes_buffer, np.uint8)
            data[filled : filled + length] = source[offsets[0] : offsets[-1]]
        bounds[i] = offsets.astype(np.int64) - int(offsets[0]) + filled
        filled += length
    extra = np.zeros((count, len(columns)), np.int32)
    size = measure(data, bounds, extra)
    out, ends = np.empty(size + PIECE, np.uint8), np.empty(count, np.int64)
    write(data, bounds, extra, out, ends)
    return out, ends


_NO_LINES = np.zeros(PIECE, np.uint8), np.zeros(0, np.int64)


def _last(ends: np.ndarray) -> int:
    return int(ends[-1]) if len(ends) else 0


def csv_header(names: Sequence[str]) -> bytes:
    """Write column names as a CSV record: as ``csv_lines`` would, but without compiled code."""
    quoted = (
        '"' + name.replace('"', '""') + '"' if set(name) & SPECIAL else name for name in names
    )
    return (",".join(quoted) + "\n").encode()


def _length(column: pa.Array) -> int:
    offsets = np.frombuffer(column.buffers()[1], np.int32)
    return int(offsets[column.offset + len(column)] - offsets[column.offset])


@kernel
def measure(data: np.ndarray, bounds: np.ndarray, extra: np.ndarray) -> int:
    """Count the output's bytes.

    ``extra[row, column]`` becomes the number of bytes that quoting adds to a field: 0 if it
    needs none, else two and one for each quote in it.
    """
    columns, rows = bounds.shape[0], bounds.shape[1] - 1
    size: int = data.size + rows * columns  # a comma or LF behind each field
    for c in range(columns):
        for r in range(rows):
            special = False
            quotes = 0
            for i in range(bounds[c, r], bounds[c, r + 1]):
                byte = data[i]
                if byte <= COMMA:
                    if byte == QUOTE:
                        special = True
                        quotes += 1
                    elif byte in (COMMA, LF, CR):
                        special = True
            if special:
                extra[r, c] = 2 + quotes
                size += 2 + quotes
    return size


@kernel
def write(
    data: np.ndarray, bounds: np.ndarray, extra: np.ndarray, out: np.ndarray, ends: np.ndarray
) -> None:
    """Fill ``out`` with the records, and ``ends`` with where each of them ends."""
    columns, rows = bounds.shape[0], bounds.shape[1] - 1
    at = 0
    for r in range(rows):
        for c in range(columns):
            start, stop = bounds[c, r], bounds[c, r + 1]
            if extra[r, c]:
                out[at] = QUOTE
                at += 1
                for i in range(start, stop):
                    if data[i] == QUOTE:
                        out[at] = QUOTE
                        at += 1
                    out[at] = data[i]
                    at += 1
                out[at] = QUOTE
                at += 1
            else:
                for i in range(start, stop):
                    out[at] = data[i]
                    at += 1
            out[at] = COMMA if c < columns - 1 else LF
            at += 1
        ends[r] = at


@kernel
def copy(
    source: np.ndarray, start: Integer, stop: Integer, out: np.ndarray, at: Integer
) -> Integer:
    """Copy some bytes, PIECE at a time, so that up to PIECE - 1 more are read and written.

    Indices without a sign cannot count from the end, so that a piece is one load and one store.
    """
    i, o, end = np.uint64(start), np.uint64(at), np.uint64(stop)
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    five, six, seven, piece = np.uint64(5), np.uint64(6), np.uint64(7), np.uint64(PIECE)
    while i < end:
        a, b, c, d = source[i], source[i + one], source[i + two], source[i + three]
        e, f = source[i + four], source[i + five]
        g, h = source[i + six], source[i + seven]
        out[o], out[o + one], out[o + two], out[o + three] = a, b, c, d
        out[o + four], out[o + five], out[o + six], out[o + seven] = e, f, g, h
        i += piece
        o += piece
    return at + (stop - start)


@kernel
def weave(
    data: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    needless: np.ndarray,
    needless_ends: np.ndarray,
    rows: np.ndarray,
    copies: np.ndarray,
    lines: np.ndarray,
    line_ends: np.ndarray,
    tails: np.ndarray,
    tail_ends: np.ndarray,
    out: np.ndarray,
) -> Integer:
    """Fill ``out`` with records and their tails, a comma between them; returns its size.

    Row i is record ``rows[i]`` of the input without its needless bytes, or line ``copies[i]`` if
    that is not negative, and tail i. Lines and tails end with LF. Behind everything that is read or
    written there is room for PIECE bytes.
    """
    at: Integer = 0
    for i in range(len(rows)):
        if copies[i] >= 0:
            line = copies[i]
            at = copy(lines, line_ends[line - 1] if line else 0, line_ends[line] - 1, out, at)
        else:
            row = rows[i]
            start = np.int64(starts[row])
            for k in range(needless_ends[row], needless_ends[row + 1]):
                place = np.int64(needless[k])
                if place > start:
                    at = copy(data, start, place, out, at)
                start = place + 1
            at = copy(data, start, np.int64(stops[row]), out, at)
        out[at] = COMMA
        at = copy(tails, tail_ends[i - 1] if i else 0, tail_ends[i], out, at + 1)
    return at
