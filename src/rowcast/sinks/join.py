"""CSV records from columns of text, by RFC 4180, in one pass over the bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMA, QUOTE, LF, CR = 0x2C, 0x22, 0x0A, 0x0D


def csv_lines(columns: Sequence[pa.Array]) -> bytes:
    """Write rows as CSV records, each ended by LF.

    A field is quoted only where the format needs it: if it holds a comma, a quote or a line
    break. Null is the empty field.

    Parameters
    ----------
    columns : sequence of pa.StringArray
        All of one length.
    """
    count = len(columns[0])
    if not count:
        return b""
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
    out = np.empty(size, np.uint8)
    write(data, bounds, extra, out)
    return out.tobytes()


def csv_header(names: Sequence[str]) -> bytes:
    """Write column names as a CSV record."""
    return csv_lines([pa.array([name], pa.string()) for name in names])


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
def write(data: np.ndarray, bounds: np.ndarray, extra: np.ndarray, out: np.ndarray) -> None:
    """Fill ``out`` with the records."""
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
