"""Finite-state kernels over the raw bytes of CSV.

The dialect is fixed: comma, double quote, doubled quote inside quotes, line breaks inside
quotes; outside quotes LF, CRLF or a lone CR ends a record, and a line with nothing on it is no
record. It is the dialect of Python's ``csv`` reader with ``strict=False``.

``scan`` runs over a whole object in blocks and finds where records begin; ``split`` finds the
fields of records that are in memory, as spans of their text. ``tokenise`` and ``fill``, which finds
fields byte by byte and copies them into columns, say the same for a record or two, and say what
``split`` must find. Outside quotes a quote
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


STEP = 4096
"""Bytes of which the marks are in the first-level cache."""
PLACES = 0x0001_0203_0405_0607
"""Times ``1 << 8 * k``, its highest byte is k."""
WINDOW = 1 << 16
"""Bytes of a block that are marked before they are looked at."""
FACTS = 8
"""Columns of the facts that ``split`` notes of a record."""
PLAIN = 6
NEEDLESS = 7


@kernel
def mark(data: Bytes, start: int, stop: int, other: int, places: Ints) -> int:
    """Note where quotes, line breaks and bytes that are ``other`` stand, ascending.

    Bytes are compared many at a time, and eight without any of them are passed by at once.
    ``places`` has room for every byte. Returns how many there are.
    """
    wanted = np.uint8(other)
    marks = np.zeros(STEP, np.uint8)
    words = marks.view(np.uint64)
    found = np.uint64(0)
    for base in range(start, stop, STEP):
        size = min(STEP, stop - base)
        piece = data[base : base + size]
        for i in range(size):
            c = piece[i]
            marks[i] = (c == QUOTE) | (c == LF) | (c == CR) | (c == wanted)
        for i in range(size, -(-size // 8) * 8):
            marks[i] = 0
        for j in range(-(-size // 8)):
            word = words[j]
            while word:
                lowest = word & (~word + np.uint64(1))
                places[found] = base + 8 * j + np.int64(lowest * np.uint64(PLACES) >> np.uint64(56))
                found += np.uint64(1)
                word ^= lowest
    return int(found)


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
    quote_at = np.int64(base - 1)
    places = np.empty(WINDOW, np.int32)
    for window in range(0, size, WINDOW):
        marked = mark(block, window, min(window + WINDOW, size), QUOTE, places)
        for k in range(marked):
            i = np.int64(places[k])
            c = block[i]
            before = np.int64(block[i - 1]) if i > 0 else previous
            at = base + i
            if mode == QUOTE_SEEN:
                if c == QUOTE and at == quote_at + 1:
                    mode = QUOTED
                    continue
                mode = OUTSIDE
            if mode == QUOTED:
                if c == QUOTE:
                    mode = QUOTE_SEEN
                    quote_at = at
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
    if mode == QUOTE_SEEN and quote_at < base + size - 1:
        mode = OUTSIDE
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


@kernel
def unquote(data: Bytes, begin: int, stop: int, spare: int) -> int:
    """Copy a field that begins with a quote to ``spare`` without its quotes; returns the end."""
    i = begin + 1
    while i < stop:
        c = data[i]
        i += 1
        if c == QUOTE:
            if i < stop and data[i] == QUOTE:
                i += 1
            else:
                break
        data[spare] = c
        spare += 1
    for j in range(i, stop):
        data[spare] = data[j]
        spare += 1
    return spare


@kernel
def at(array: NDArray[Any], place: int) -> Any:
    """``array[place]`` for a place that is not negative, which need not be checked then."""
    return array[np.uint64(place)]


@kernel
def split(
    data: Bytes,
    position: int,
    stop: int,
    final: bool,
    line: int,
    spare: int,
    most: int,
    places: Ints,
    begins: Ints,
    ends: Ints,
    records: Longs,
    needless: Ints,
) -> tuple[int, int, int, int]:
    """Find the text of the fields of the next records of ``data[position:stop]``.

    Parameters
    ----------
    data : ndarray of uint8
        Text that starts between records, and behind all of it room for what has to be rewritten:
        fields with doubled quotes, and such as are malformed.
    position, stop, final, line : int, int, bool, int
        What to look at, whether it is to the end, and the physical line where it starts. Unless it
        is final, a record is only taken if the byte behind its line end is there as well.
    spare : int
        Where that room begins.
    most : int
        Records to take.
    places : ndarray of int32
        Room for a number for each byte looked at.
    begins, ends : ndarray of shape (columns, rows)
        Receive the span of each field's text; empty where a field is missing. The last field of a
        record with too many takes up the rest of it as it stands.
    records : ndarray of shape (rows, FACTS)
        Receives for each record what ``tokenise`` notes of it; as PLAIN whether it is well formed,
        so that it is what a writer makes of its fields once quotes that are not needed are left
        out; and as NEEDLESS where the places of those end.
    needless : ndarray of int32
        Receives the places of the quotes around fields that need none. Room as for ``places``.

    Returns
    -------
    tuple
        Records found, position and line behind them, and where the room now begins.
    """
    columns = begins.shape[0]
    marked = mark(data, position, stop, COMMA, places)
    rows, k, i, left_out = 0, 0, position, 0
    while i < stop and rows < most:
        if k < marked and at(places, k) == i and (at(data, i) == LF or at(data, i) == CR):
            if at(data, i) == CR and i + 1 < stop and at(data, i + 1) == LF:
                i += 1
                k += 1
            elif at(data, i) == CR and i + 1 == stop and not final:
                break
            i += 1
            k += 1
            line += 1
            continue
        first_line, spare_before = line, spare
        row = np.uint64(rows)  # as in ``at``
        start, width, plain, last = i, 0, True, i
        junk, junk_at = -1, -1
        more = True
        while more:
            begin, from_, to = i, i, i
            if k < marked and at(places, k) == i and at(data, i) == QUOTE:
                k += 1
                needed, doubled, closed = False, False, False
                while k < marked:
                    to = int(at(places, k))
                    c = at(data, to)
                    k += 1
                    if c == QUOTE:
                        if k < marked and at(places, k) == to + 1 and at(data, to + 1) == QUOTE:
                            doubled = True
                            k += 1
                        else:
                            closed = True
                            break
                    else:
                        needed = True
                        if c == LF or (c == CR and not (to + 1 < stop and at(data, to + 1) == LF)):
                            line += 1
                from_ = begin + 1
                i = to + 1 if closed else stop
                after = i
                while k < marked and at(data, at(places, k)) == QUOTE:
                    k += 1
                i = int(at(places, k)) if k < marked else stop
                plain &= closed and i == after
                if closed and not (needed or doubled):
                    needless[left_out] = begin
                    needless[left_out + 1] = to
                    left_out += 2
                if not closed:
                    to = stop
                elif i > after and junk < 0:
                    junk, junk_at = width, after
                if (doubled or i > after) and width < columns:
                    from_ = spare
                    spare = unquote(data, begin, i, spare)
                    to = spare
            else:
                while k < marked and at(data, at(places, k)) == QUOTE:
                    plain = False
                    k += 1
                i = int(at(places, k)) if k < marked else stop
                to = i
            if width < columns:
                begins[np.uint64(width), row] = from_
                ends[np.uint64(width), row] = to
                last = begin
            width += 1
            more = k < marked and at(data, i) == COMMA
            if more:
                i += 1
                k += 1
        if not final and i + 1 >= stop:
            return rows, start, first_line, spare_before
        for missing in range(width, columns):
            begins[missing, rows] = i
            ends[missing, rows] = i
        if width > columns and columns > 0:
            if at(data, last) == QUOTE:
                begins[columns - 1, rows] = spare
                spare = unquote(data, last, i, spare)
                ends[columns - 1, rows] = spare
            else:
                ends[columns - 1, rows] = i
        records[rows, 0] = start
        records[rows, 1] = i
        records[rows, 2] = first_line
        records[rows, 3] = width
        records[rows, 4] = junk
        records[rows, 5] = junk_at
        records[rows, PLAIN] = plain
        records[rows, NEEDLESS] = left_out
        rows += 1
        if i < stop:
            line += 1
            if at(data, i) == CR and i + 1 < stop and at(data, i + 1) == LF:
                i += 1
                k += 1
            i += 1
            k += 1
    return rows, i, line, spare


# A continuation byte of UTF-8 must lie in a range that the bytes before it set.
NEEDED = 0
LOWEST = 1
HIGHEST = 2
ABOVE_ASCII = np.uint64(0x8080_8080_8080_8080)
"""The bits that eight bytes of ASCII do not have."""


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
    words = block[: size // 8 * 8].view(np.uint64)
    i = -1
    while i + 1 < size:
        i += 1
        c = np.int64(block[i])
        if c < 0x80 and not needed and i & 7 == 7:
            word = (i + 1) >> 3
            while word < len(words) and not words[word] & ABOVE_ASCII:
                word += 1
            i = 8 * word - 1
        elif needed:
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
