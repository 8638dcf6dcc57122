"""Finite-state kernels over the raw bytes of CSV.

The dialect is fixed: comma, double quote, doubled quote inside quotes, line breaks inside
quotes; outside quotes LF, CRLF or a lone CR ends a record, and a line with nothing on it is no
record. It is the dialect of Python's ``csv`` reader with ``strict=False``.

``scan`` runs over a whole object in blocks and finds where records begin; ``tokenise`` finds the
fields of records that are in memory; ``fill`` copies fields into columns. Outside quotes a quote
opens a field only right after a comma or at the start of a record, so ``scan`` can do without
looking at commas one by one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int32]
    Longs = NDArray[np.int64]

LF = 0x0A
CR = 0x0D
QUOTE = 0x22
COMMA = 0x2C

# Modes of ``scan``.
OUTSIDE = 0
QUOTED = 1
QUOTE_SEEN = 2  # right after a quote inside quotes: the first of two, or the closing one

# Where ``scan`` keeps what it carries from block to block.
MODE = 0
PREVIOUS = 1  # the last byte of the block before
LINE = 2  # physical line of the next byte, from 1
RECORDS = 3  # records found so far, without the header
RECORD_AT = 4  # where the record in progress starts
RECORD_LINE = 5
PART_AT = 6  # where the part in progress starts; -1 before the first
LAST_STOP = 7  # where the last whole record ends, without its line end
QUOTE_AT = 8  # where the quoted field in progress opens
QUOTE_LINE = 9
SKIP = 10  # 1 until the header is passed
STATE_SIZE = 11


def start_state(*, offset: int, header: bool) -> Longs:
    """State of ``scan`` before the byte at ``offset``, the first after a byte order mark."""
    state = np.zeros(STATE_SIZE, np.int64)
    state[LINE] = state[RECORD_LINE] = 1
    state[RECORD_AT] = state[LAST_STOP] = offset
    state[PART_AT] = -1
    state[SKIP] = header
    return state


@kernel
def scan(
    block: Bytes,
    size: int,
    base: int,
    part_bytes: int,
    long_bytes: int,
    state: Longs,
    cuts: Longs,
    longs: Longs,
) -> tuple[int, int]:
    """Find the records of one block of an object, going on from ``state``.

    Parameters
    ----------
    block, size, base : array, int, int
        ``block[:size]`` are the object's bytes from ``base``.
    part_bytes : int
        A record that starts this far behind the start of its part starts the next part.
    long_bytes : int
        Records longer than this are reported.
    state : ndarray of shape (STATE_SIZE,)
        Carried from block to block.
    cuts : ndarray of shape (n, 4)
        Receives a row per part begun: its first byte, its first line, the records before it, and
        where the part before it stops. ``size // part_bytes + 2`` rows are enough.
    longs : ndarray of shape (m, 3)
        Receives a row per long record: start, stop, line. ``size // long_bytes + 2`` are enough.

    Returns
    -------
    tuple
        Numbers of rows written to ``cuts`` and to ``longs``.
    """
    mode = state[MODE]
    previous = state[PREVIOUS]
    line = state[LINE]
    records = state[RECORDS]
    record_at = state[RECORD_AT]
    record_line = state[RECORD_LINE]
    part_at = state[PART_AT]
    last_stop = state[LAST_STOP]
    skip = state[SKIP]
    n_cuts = 0
    n_longs = 0
    i = 0
    while i < size:
        if mode == QUOTE_SEEN:
            if block[i] == QUOTE:
                mode = QUOTED
                i += 1
            else:
                mode = OUTSIDE
            continue
        while i < size:
            c = block[i]
            if (c == QUOTE) | (c == LF) | (c == CR):
                break
            i += 1
        if i == size:
            break
        c = block[i]
        before = np.int64(block[i - 1]) if i > 0 else previous
        at = base + i
        i += 1
        if mode == QUOTED:
            if c == QUOTE:
                mode = QUOTE_SEEN
            elif c == CR or before != CR:
                line += 1
        elif c == QUOTE:
            if at == record_at or before == COMMA:
                mode = QUOTED
                state[QUOTE_AT] = at
                state[QUOTE_LINE] = line
        elif c == LF and before == CR:
            record_at = at + 1
        else:
            if at > record_at:
                if at - record_at > long_bytes:
                    longs[n_longs, 0] = record_at
                    longs[n_longs, 1] = at
                    longs[n_longs, 2] = record_line
                    n_longs += 1
                if skip:
                    skip = 0
                else:
                    if part_at < 0 or record_at - part_at >= part_bytes:
                        cuts[n_cuts, 0] = record_at
                        cuts[n_cuts, 1] = record_line
                        cuts[n_cuts, 2] = records
                        cuts[n_cuts, 3] = last_stop
                        n_cuts += 1
                        part_at = record_at
                    records += 1
                last_stop = at
            line += 1
            record_at = at + 1
            record_line = line
    if size > 0:
        state[PREVIOUS] = block[size - 1]
    state[MODE] = mode
    state[LINE] = line
    state[RECORDS] = records
    state[RECORD_AT] = record_at
    state[RECORD_LINE] = record_line
    state[PART_AT] = part_at
    state[LAST_STOP] = last_stop
    state[SKIP] = skip
    return n_cuts, n_longs


@kernel
def tokenise(
    data: Bytes,
    position: int,
    line: int,
    columns: int,
    begins: Ints,
    ends: Ints,
    records: Longs,
) -> tuple[int, int, int, int]:
    """Find the fields of the next records of ``data``, which starts and ends between records.

    Parameters
    ----------
    data : ndarray of uint8
    position, line : int
        Where to go on, and the physical line there.
    columns : int
        Fields of a record to keep; more are only counted.
    begins, ends : ndarray of shape (rows, columns)
        Receive each field's half-open span, quotes included; empty where a field is missing.
    records : ndarray of shape (rows, 6)
        Receives for each record its start, its stop, its line, its number of fields, and the
        field that has text after its closing quote and where that text is, or -1 and -1.

    Returns
    -------
    tuple
        Records found, at most ``len(records)``; position and line behind them; and where a
        quoted field opens that ``data`` does not close, or -1.
    """
    size = data.shape[0]
    rows = 0
    i = position
    unclosed = -1
    while i < size and rows < records.shape[0]:
        c = data[i]
        if c == LF:
            i += 1
            line += 1
            continue
        if c == CR:
            i += 1
            line += 1
            if i < size and data[i] == LF:
                i += 1
            continue
        records[rows, 0] = i
        records[rows, 2] = line
        records[rows, 4] = -1
        records[rows, 5] = -1
        width = 0
        more = True
        while more:
            begin = i
            if i < size and data[i] == QUOTE:
                i += 1
                closed = False
                while i < size:
                    c = data[i]
                    if c == QUOTE:
                        if i + 1 < size and data[i + 1] == QUOTE:
                            i += 1
                        else:
                            closed = True
                            i += 1
                            break
                    elif c == LF or (c == CR and not (i + 1 < size and data[i + 1] == LF)):
                        line += 1
                    i += 1
                if not closed:
                    unclosed = begin
                elif i < size:
                    c = data[i]
                    if c != COMMA and c != LF and c != CR and records[rows, 4] < 0:
                        records[rows, 4] = width
                        records[rows, 5] = i
            while i < size:
                c = data[i]
                if (c == COMMA) | (c == LF) | (c == CR):
                    break
                i += 1
            if width < columns:
                begins[rows, width] = begin
                ends[rows, width] = i
            width += 1
            more = i < size and data[i] == COMMA
            if more:
                i += 1
        for missing in range(width, columns):
            begins[rows, missing] = i
            ends[rows, missing] = i
        records[rows, 1] = i
        records[rows, 3] = width
        rows += 1
        if i < size:
            line += 1
            if data[i] == CR and i + 1 < size and data[i + 1] == LF:
                i += 1
            i += 1
    return rows, i, line, unclosed


@kernel
def fill(
    data: Bytes,
    rows: int,
    begins: Ints,
    ends: Ints,
    records: Longs,
    order: Longs,
    offsets: Ints,
    values: Bytes,
    starts: Longs,
) -> None:
    """Copy the fields that ``tokenise`` found into columns, without their quotes.

    The last column of a record with too many fields takes up the rest of the record as it
    stands.

    Parameters
    ----------
    data, rows, begins, ends, records :
        As ``tokenise`` left them.
    order : ndarray of shape (n,)
        The fields to copy, one per column made.
    offsets : ndarray of shape (n, rows + 1)
        Receives each column's Arrow offsets.
    values : ndarray of uint8
        Receives the columns' bytes, one column after the other. The bytes of the records are
        enough.
    starts : ndarray of shape (n + 1,)
        Receives where each column begins in ``values``.
    """
    columns = begins.shape[1]
    at = 0
    for k in range(order.shape[0]):
        column = order[k]
        start = at
        starts[k] = start
        offsets[k, 0] = 0
        for row in range(rows):
            i = np.int64(begins[row, column])
            stop = np.int64(ends[row, column])
            if i < stop and data[i] == QUOTE:
                i += 1
                while i < stop:
                    c = data[i]
                    i += 1
                    if c == QUOTE:
                        if i < stop and data[i] == QUOTE:
                            i += 1
                        else:
                            break
                    values[at] = c
                    at += 1
            if column == columns - 1 and records[row, 3] > columns:
                stop = records[row, 1]
            for j in range(i, stop):
                values[at] = data[j]
                at += 1
            offsets[k, row + 1] = at - start
    starts[order.shape[0]] = at


# A continuation byte of UTF-8 must lie in a range that the bytes before it set.
NEEDED = 0
LOWEST = 1
HIGHEST = 2


@kernel
def find_invalid_utf8(block: Bytes, size: int, state: Longs) -> int:
    """Find the first byte that no UTF-8 text can have there, or -1.

    ``state`` holds the continuation bytes still needed and the next one's range, and is carried
    from block to block; the text is whole if none is needed at its end. Overlong forms,
    surrogates and code points above U+10FFFF are invalid.
    """
    needed = state[NEEDED]
    lowest = state[LOWEST]
    highest = state[HIGHEST]
    for i in range(size):
        c = np.int64(block[i])
        if needed:
            if c < lowest or c > highest:
                return i
            needed -= 1
            lowest = 0x80
            highest = 0xBF
        elif c >= 0x80:
            if c < 0xC2 or c > 0xF4:
                return i
            lowest = 0x80
            highest = 0xBF
            if c < 0xE0:
                needed = 1
            elif c < 0xF0:
                needed = 2
                if c == 0xE0:
                    lowest = 0xA0
                elif c == 0xED:
                    highest = 0x9F
            else:
                needed = 3
                if c == 0xF0:
                    lowest = 0x90
                elif c == 0xF4:
                    highest = 0x8F
    state[NEEDED] = needed
    state[LOWEST] = lowest
    state[HIGHEST] = highest
    return -1


@kernel
def count_line_ends(block: Bytes, size: int, before: int) -> int:
    """Count the line ends of ``block[:size]``; ``before`` is the byte ahead of it."""
    lines = 0
    previous = before
    for i in range(size):
        c = int(block[i])
        if c == CR or (c == LF and previous != CR):
            lines += 1
        previous = c
    return lines


class Fields:
    """Room for the fields of up to ``rows`` records, filled by ``tokenise``."""

    def __init__(self, rows: int, columns: int) -> None:
        self.columns = columns
        self.begins: Ints = np.empty((rows, columns), np.int32)
        self.ends: Ints = np.empty((rows, columns), np.int32)
        self.records: Longs = np.empty((rows, 6), np.int64)

    def tokenise(self, data: Bytes, position: int, line: int) -> tuple[int, int, int, int]:
        """Take in the next records of ``data``; returns what the kernel returns."""
        return tokenise(data, position, line, self.columns, self.begins, self.ends, self.records)

    def columns_of(
        self, data: Bytes, rows: int, order: Longs
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8], Any]:
        """Copy the first ``rows`` records' fields into columns: offsets, values, starts."""
        offsets = np.empty((len(order), rows + 1), np.int32)
        size = int(self.records[rows - 1, 1] - self.records[0, 0]) if rows else 0
        values = np.empty(size, np.uint8)
        starts = np.empty(len(order) + 1, np.int64)
        fill(data, rows, self.begins, self.ends, self.records, order, offsets, values, starts)
        return offsets, values, starts
