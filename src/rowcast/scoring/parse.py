"""Cells to numbers, timestamps and category text: one reader for training and for scoring.

The rules are those of the data contract: null is SQL null, NaN or infinity, the empty text, and
the text ``nan`` or ``inf`` in any case with an optional sign. Whatever else cannot be read is
BAD, and it is for the caller to say what becomes of the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.core.batch import Spans
from rowcast.scoring.kernels.cells import copy_cells
from rowcast.scoring.kernels.numbers import (
    AUTO,
    BAD,
    EARLIEST_US,
    LATEST_US,
    LONG,
    NULL,
    OK,
    OTHER,
    UNIX_MS,
    UNIX_NS,
    UNIX_S,
    UNIX_US,
    days_since_1970,
    read_numbers,
    read_timestamps,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BAD", "NULL", "OK", "Cells", "as_text", "parse_numbers", "parse_timestamps"]

UNIX_FORMATS = {
    "unix-seconds": UNIX_S,
    "unix-milliseconds": UNIX_MS,
    "unix-microseconds": UNIX_US,
    "unix-nanoseconds": UNIX_NS,
}
LONGEST_FORMATTED = 256
"""Characters of a cell that is tried against a strptime format."""
NO_NULLS = np.zeros(0, dtype=np.bool_)
NO_TEXT = np.zeros(0, np.uint8)
NO_TEXT.flags.writeable = False  # as the buffers of Arrow are: kernels are compiled once for both
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = {
    name: number
    for number, name in enumerate(
        (
            *("january", "february", "march", "april", "may", "june"),
            *("july", "august", "september", "october", "november", "december"),
        ),
        start=1,
    )
}


@dataclass(frozen=True)
class Cells:
    """The buffers of a text column, as the kernels take them: none of them is written to."""

    data: np.ndarray
    """uint8: UTF-8 of all cells."""
    starts: np.ndarray
    """int32 of shape (n,): cell i is ``data[starts[i]:stops[i]]``."""
    stops: np.ndarray
    null: np.ndarray
    """bool of shape (n,), or empty if no cell is null."""

    @classmethod
    def of(cls, column: pa.Array | Spans) -> Cells:
        """Look into a string or large_string array, without copying its text."""
        if isinstance(column, Spans):
            return cls(*column, NO_NULLS)
        data, offsets = text_buffers(column)
        if offsets[-1] < 1 << 31:  # else the kernels are compiled once more, for larger numbers
            offsets = offsets.astype(np.int32, copy=False)
        offsets.flags.writeable = False
        null = NO_NULLS
        if column.null_count:
            null = column.is_null().to_numpy(zero_copy_only=False)
        return cls(data, offsets[:-1], offsets[1:], null)

    def __len__(self) -> int:
        return len(self.starts)

    def texts(self, rows: np.ndarray) -> pa.Array:
        """Copy some cells to a column; where a cell is null, so is its text."""
        offsets = np.empty(len(rows) + 1, np.int64)
        values = np.empty(int((self.stops[rows].astype(np.int64) - self.starts[rows]).sum()),
                          np.uint8)  # fmt: skip
        copy_cells(self.data, self.starts, self.stops, rows, offsets, values)
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(values)]
        return pa.Array.from_buffers(pa.large_string(), len(rows), buffers)


def text_buffers(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Give the bytes and the offsets of a string or large_string array, without a copy."""
    width = np.int64 if pa.types.is_large_string(column.type) else np.int32
    _, ends, text = column.buffers()
    if len(column) == 0 or ends is None:
        offsets = np.zeros(1, width)
        offsets.flags.writeable = False
        return NO_TEXT, offsets
    offsets = np.frombuffer(ends, width)[column.offset : column.offset + len(column) + 1]
    return NO_TEXT if text is None else np.frombuffer(text, np.uint8), offsets


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column holds text or bytes that stand for text."""
    types = pa.types
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_binary_view(kind)
        or types.is_fixed_size_binary(kind)
    )


def flat(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """One plain array: chunks joined, dictionaries and extensions resolved."""
    if isinstance(column, pa.ChunkedArray):
        if column.num_chunks > 1 and (
            pa.types.is_string(column.type) or pa.types.is_binary(column.type)
        ):
            wide = pa.large_string() if pa.types.is_string(column.type) else pa.large_binary()
            column = column.cast(wide)
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if isinstance(column, pa.ChunkedArray):  # pragma: no cover - several chunks of 2 GB
            column = pa.concat_arrays(column.chunks)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string_view(column.type):
        column = column.cast(pa.large_string())
    elif pa.types.is_binary_view(column.type):
        column = column.cast(pa.large_binary())
    return column


def as_text(column: pa.Array) -> pa.Array:
    """Format a column of any type as text, the way a CSV or JSONL file would hold it.

    Text is as it is. Numbers take the shortest form that reads back to the same value (``5`` for
    5.0), booleans ``true`` and ``false``, dates and timestamps ISO 8601, nested values JSON.
    NaN and infinity are null.
    """
    column = flat(column)
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if is_text(kind):
        try:
            return column.cast(pa.large_string())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return _each(column, lambda value: bytes(value).decode("utf-8", "replace"))
    if pa.types.is_floating(kind):
        finite = pc.is_finite(column)
        return pc.cast(pc.if_else(finite, column, pa.scalar(None, kind)), pa.string())
    if pa.types.is_timestamp(kind):
        return _each(column.cast(pa.timestamp("us", kind.tz), safe=False), _moment_text)
    if pa.types.is_nested(kind) or pa.types.is_map(kind) or pa.types.is_union(kind):
        return _each(column, _json_text)
    return pc.cast(column, pa.string())


def _each(column: pa.Array, text: Callable[..., str]) -> pa.Array:
    """Format the values one by one; for types that are rare in feature columns."""
    texts = [None if value is None else text(value) for value in column.to_pylist()]
    return pa.array(texts, pa.large_string())


def _moment_text(value: datetime) -> str:
    if value.tzinfo is None:
        return value.isoformat(sep=" ")
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _json_text(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def parse_numbers(column: pa.Array | pa.ChunkedArray | Spans) -> tuple[np.ndarray, np.ndarray]:
    """Read a column of any type as numbers.

    Returns
    -------
    values : ndarray of float64
        What Python's ``float`` makes of the text, correctly rounded; NaN unless OK.
    status : ndarray of uint8
        OK, NULL or BAD.
    """
    if isinstance(column, Spans):
        return _numbers_of_text(Cells.of(column))
    column = flat(column)
    kind = column.type
    if is_text(kind) or pa.types.is_decimal(kind):
        return _numbers_of_text(Cells.of(as_text(column)))
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return _unreadable(column)
    null = column.is_null().to_numpy(zero_copy_only=False)
    if column.null_count:
        column = column.fill_null(0)
    values = column.to_numpy(zero_copy_only=False).astype(np.float64)
    null |= ~np.isfinite(values)
    values[null] = np.nan
    return values, np.where(null, NULL, OK).astype(np.uint8)


def _unreadable(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    null = column.is_null().to_numpy(zero_copy_only=False)
    return np.full(len(column), np.nan), np.where(null, NULL, BAD).astype(np.uint8)


def _numbers_of_text(cells: Cells) -> tuple[np.ndarray, np.ndarray]:
    values = np.empty(len(cells))
    status = np.empty(len(cells), np.uint8)
    if read_numbers(cells.data, cells.starts, cells.stops, cells.null, values, status):
        rows = np.flatnonzero(status == LONG)
        values[rows] = _exact(cells.texts(rows))
        infinite = rows[~np.isfinite(values[rows])]
        status[rows] = OK
        values[infinite], status[infinite] = np.nan, NULL
    return values, status


def _exact(column: pa.Array) -> np.ndarray:
    """Round well-formed decimals that the fast path leaves over.

    Arrow's reader rounds correctly as well and takes a column at a time, but on over- and
    underflow Python's has the last word.
    """
    try:
        trimmed = pc.ascii_trim(column, " \t")
        values = pc.cast(trimmed, pa.float64()).to_numpy(zero_copy_only=False).copy()
    except pa.ArrowInvalid:
        return np.array([float(text) for text in column.to_pylist()])
    edge = np.flatnonzero(~((np.abs(values) > 1e-290) & (np.abs(values) < 1e290)))
    for row in edge:
        values[row] = float(column[int(row)].as_py())
    return np.asarray(values)


def parse_timestamps(
    column: pa.Array | pa.ChunkedArray | Spans, time_format: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read a column of any type as moments; no zone means UTC.

    Parameters
    ----------
    column
        Text, integers (Unix times), dates or timestamps.
    time_format
        ``unix-seconds`` and its kin, a strptime format, or None for the forms of the contract.

    Returns
    -------
    values : ndarray of int64
        Microseconds since 1970, cut off; 0 unless OK.
    status : ndarray of uint8
        OK, NULL or BAD.
    """
    if isinstance(column, Spans):
        return _moments_of_text(Cells.of(column), time_format)
    column = flat(column)
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _native_moments(column)
    if pa.types.is_floating(kind):
        return _float_moments(column, time_format)
    if pa.types.is_integer(kind) or is_text(kind) or pa.types.is_decimal(kind):
        return _moments_of_text(Cells.of(as_text(column)), time_format)
    _, status = _unreadable(column)
    return np.zeros(len(status), np.int64), status


def _float_moments(column: pa.Array, time_format: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Read whole numbers in a float column as the integers they are; others are no moments."""
    numbers, status = parse_numbers(column)
    whole = (status == OK) & (np.floor(numbers) == numbers) & (np.abs(numbers) < 2.0**63)
    texts = pa.array(np.where(whole, numbers, 0).astype(np.int64)).cast(pa.string())
    values, read = _moments_of_text(Cells.of(texts), time_format)
    status = np.where(status == NULL, NULL, np.where(whole, read, BAD)).astype(np.uint8)
    return np.where(status == OK, values, 0), status


def _native_moments(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    null = column.is_null().to_numpy(zero_copy_only=False)
    kind = column.type
    ticks = column.view(pa.int32() if pa.types.is_date32(kind) else pa.int64())
    raw = ticks.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        values, fits = raw // 1000, np.ones(len(raw), np.bool_)
    else:
        unit = "D" if pa.types.is_date32(kind) else "ms"
        unit = kind.unit if pa.types.is_timestamp(kind) else unit
        scale = {"D": 86_400_000_000, "s": 1_000_000, "ms": 1_000, "us": 1}[unit]
        fits = (raw >= EARLIEST_US // scale) & (raw <= LATEST_US // scale)
        values = np.where(fits, raw, 0) * scale
    status = np.where(null, NULL, np.where(fits, OK, BAD)).astype(np.uint8)
    return np.where(status == OK, values, 0), status


def _moments_of_text(cells: Cells, time_format: str | None) -> tuple[np.ndarray, np.ndarray]:
    values = np.empty(len(cells), np.int64)
    status = np.empty(len(cells), np.uint8)
    buffers = cells.data, cells.starts, cells.stops, cells.null
    if time_format is None or time_format in UNIX_FORMATS:
        unit = AUTO if time_format is None else UNIX_FORMATS[time_format]
        read_timestamps(*buffers, unit, values, status)
        read: Callable[[str], int | None] = day_first_us
    else:
        # With a format of its own, only nulls are told apart by the kernel.
        read_timestamps(*buffers, UNIX_S, values, status)
        status[status != NULL] = OTHER
        values[:] = 0
        read = _formatted(time_format)
    rows = np.flatnonzero(status == OTHER)
    if len(rows):
        distinct = cells.texts(rows).dictionary_encode()
        answers = [read(text) for text in distinct.dictionary.to_pylist()]
        known = np.array([answer is not None for answer in answers])
        moments = np.array([answer or 0 for answer in answers], np.int64)
        codes = distinct.indices.to_numpy(zero_copy_only=False)
        values[rows] = moments[codes]
        status[rows] = np.where(known[codes], OK, BAD)
    return values, status


def day_first_us(text: str) -> int | None:
    """Read ``30-11-2018``, ``30/11/2018`` or ``30-November-2018``; None if it is none of them."""
    mark = text[2:3]
    if mark not in ("-", "/"):
        return None
    day, month, year = [*text.split(mark), "", "", ""][:3]
    if text != mark.join((day, month, year)):
        return None
    if not all(part.isascii() and part.isdigit() for part in (day, year)):
        return None
    if len(day) != 2 or len(year) != 4:
        return None
    if len(month) == 2 and month.isascii() and month.isdigit():
        number = int(month)
    elif mark == "-":
        number = _MONTHS.get(month.lower(), 0)
    else:
        return None
    days = int(days_since_1970(int(year), number, int(day)))
    return None if days == -1 << 40 else days * 86_400_000_000


def _formatted(time_format: str) -> Callable[[str], int | None]:
    def read(text: str) -> int | None:
        if len(text) > LONGEST_FORMATTED:
            return None
        try:
            moment = datetime.strptime(text, time_format)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            return None
        us = (moment - _EPOCH) // timedelta(microseconds=1)
        return us if EARLIEST_US <= us <= LATEST_US else None

    return read


def time_format_fault(time_format: str) -> str | None:
    """Say what is wrong with a time format, or None."""
    if time_format in UNIX_FORMATS:
        return None
    try:
        sample = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC).strftime(time_format)
        datetime.strptime(sample, time_format)
    except (ValueError, TypeError) as error:
        return f"{time_format!r} is no time format: {error}"
    return None
