"""Cells that hold several values: what they are made of, and how they become numbers.

A cell is a native list, or text that is a JSON array; whatever else it is counts as a list of
one. The values are read as the cells of a column would be, so that a CSV file, JSON lines and
Parquet lead to the same bits.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.scoring.parse import BAD, NULL, OK, as_text, flat, parse_numbers, text_buffers
from rowcast.scoring.vocabulary import Vocabulary

if TYPE_CHECKING:
    from rowcast.scoring.text import TextEncoder

NUMBER_COLUMNS = ("count", "sum", "mean", "deviation", "least", "greatest", "first", "last")


@dataclass(frozen=True)
class Lists:
    """The values of some cells, end to end."""

    values: pa.Array
    """In reading order; text, or the type of the lists."""
    counts: np.ndarray
    """int64 of shape (n_cells,): how many values each cell has, null ones among them."""
    null: np.ndarray
    """bool of shape (n_cells,): the cell itself is null, which an empty list is not."""

    @property
    def rows(self) -> np.ndarray:
        """The cell that each value is from."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def present(self, marks: np.ndarray) -> np.ndarray:
        """Count the values of each cell that are marked; NaN for a null cell."""
        counts = np.bincount(self.rows[marks], minlength=len(self.counts)).astype(np.float64)
        counts[self.null] = np.nan
        return counts


def is_list(kind: pa.DataType) -> bool:
    """Tell whether a column holds lists."""
    types = pa.types
    return bool(
        types.is_list(kind)
        or types.is_large_list(kind)
        or types.is_fixed_size_list(kind)
        or types.is_list_view(kind)
        or types.is_large_list_view(kind)
    )


def parse_lists(column: pa.Array | pa.ChunkedArray) -> Lists:
    """Take the cells of a column of any type apart."""
    column = flat(column)
    if not is_list(column.type):
        return _lists_of_text(as_text(column))
    if pa.types.is_list_view(column.type) or pa.types.is_large_list_view(column.type):
        column = pa.array(column.to_pylist(), pa.large_list(column.type.value_type))
    counts = pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    null = column.is_null().to_numpy(zero_copy_only=False)
    return Lists(flat(pc.list_flatten(column)), counts.astype(np.int64), null)


def _lists_of_text(column: pa.Array) -> Lists:
    null = Vocabulary.of([]).codes(column) == 1
    values: list[str | None] = []
    counts = np.zeros(len(column), np.int64)
    for row, text in enumerate(column.to_pylist()):
        if not null[row]:
            found = json_array(text)
            counts[row] = 1 if found is None else len(found)
            values.extend([text] if found is None else found)
    return Lists(pa.array(values, pa.large_string()), counts, null)


def json_array(text: str) -> list[str | None] | None:
    """Read a JSON array's values, each as a cell of its own would hold it; None if it is none."""
    import msgspec

    if not text.lstrip(" \t\r\n").startswith("["):
        return None
    try:
        return [
            _cell(bytes(raw).strip()) for raw in msgspec.json.decode(text, type=list[msgspec.Raw])
        ]
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _cell(raw: bytes) -> str | None:
    """Give a JSON value as ``as_text`` would give the native one."""
    if raw == b"null":
        return None
    if raw[:1] == b'"':
        return str(json.loads(raw))
    if raw[:1] in (b"[", b"{"):
        return json.dumps(json.loads(raw), ensure_ascii=False)
    text = raw.decode()
    if any(mark in text for mark in ".eE") and text not in ("true", "false"):
        whole = as_text(pa.array([float(text)]))[0].as_py()
        return None if whole is None else str(whole)
    return text


@dataclass(frozen=True)
class RepeatedNumericEncoder:
    """How many numbers there are, and what they are like together."""

    width: int = len(NUMBER_COLUMNS)

    def fill(self, column: pa.Array, out: np.ndarray) -> np.ndarray:
        """See ColumnEncoder. A cell is BAD if any of its values is."""
        lists = parse_lists(column)
        numbers, read = parse_numbers(lists.values)
        good, all_rows = read == OK, lists.rows
        rows, numbers = all_rows[good], numbers[good]
        n = len(lists.counts)
        counts = np.bincount(rows, minlength=n)
        some = np.flatnonzero(counts)
        starts = (np.cumsum(counts) - counts)[some]
        out[:] = np.nan
        out[:, 0] = lists.present(good)
        # bincount adds in reading order: a row's sum does not hang on the rows beside it.
        with np.errstate(over="ignore", invalid="ignore"):
            sums = np.bincount(rows, numbers, n)[some]
            means = np.zeros(n)
            means[some] = sums / counts[some]
            squares = np.bincount(rows, (numbers - means[rows]) ** 2, n)[some]
            together = np.stack([sums, means[some], np.sqrt(squares / counts[some])], axis=1)
        out[some, 1:4] = np.where(np.isfinite(together), together, np.nan)  # beyond any double
        if len(some):
            out[some, 4] = np.minimum.reduceat(numbers, starts)
            out[some, 5] = np.maximum.reduceat(numbers, starts)
        out[some, 6] = numbers[starts]
        out[some, 7] = numbers[starts + counts[some] - 1]
        status = np.where(lists.null, NULL, OK).astype(np.uint8)
        status[all_rows[read == BAD]] = BAD
        return status


@dataclass(frozen=True)
class RepeatedCategoricalEncoder:
    """How many values, the mean of what each says of the target, and flags for some of them."""

    vocabulary: Vocabulary
    table: np.ndarray
    """float64 of shape (len(vocabulary) + 2, m): per value, for unknown ones, and for null."""
    flagged: np.ndarray
    """int32: the values that have a column of their own."""

    @property
    def width(self) -> int:
        """Two counts, the means and the flags."""
        return 2 + int(self.table.shape[1]) + len(self.flagged)

    def codes(self, column: pa.Array) -> tuple[np.ndarray, np.ndarray, Lists]:
        """Number the values that are not null, beside the cell that each is from."""
        lists = parse_lists(column)
        codes = self.vocabulary.codes(as_text(lists.values))
        some = codes <= len(self.vocabulary)
        return lists.rows[some], codes[some], lists

    def fill(self, column: pa.Array, out: np.ndarray) -> None:
        """See ColumnEncoder."""
        rows, codes, lists = self.codes(column)
        n, m = len(lists.counts), self.table.shape[1]
        out[:, :2] = 0.0
        out[:, 0] = np.bincount(rows, minlength=n)
        known = len(self.vocabulary) + 1
        out[:, 1] = np.bincount(np.unique(rows * known + codes) // known, minlength=n)
        out[:, 2 : 2 + m] = mean_by_row(rows, self.table[codes], n)
        places = np.full(len(self.vocabulary) + 1, -1)
        places[self.flagged] = np.arange(2 + m, self.width)
        out[:, 2 + m :] = 0.0
        chosen = places[codes] >= 0
        out[rows[chosen], places[codes[chosen]]] = 1.0
        out[lists.null, :2] = np.nan


def mean_by_row(rows: np.ndarray, values: np.ndarray, n_rows: int) -> np.ndarray:
    """Average the values of each row, added in reading order; NaN where there is none.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
    values : ndarray of float64, shape (n, m)

    Returns
    -------
    ndarray of shape (n_rows, m)
    """
    counts = np.bincount(rows, minlength=n_rows)
    counted = np.where(counts, counts, np.nan)
    means = np.empty((n_rows, values.shape[1]))
    for j in range(values.shape[1]):
        means[:, j] = np.bincount(rows, values[:, j], n_rows) / counted
    return means


@dataclass(frozen=True)
class RepeatedTextEncoder:
    """How many texts, and what they are like when read one after the other."""

    text: TextEncoder

    @property
    def width(self) -> int:
        """A count, and the columns of a text."""
        return self.text.width + 1

    def fill(self, column: pa.Array, out: np.ndarray) -> None:
        """See ColumnEncoder."""
        joined, counts = joined_texts(column)
        out[:, 0] = counts
        self.text.fill(joined, out[:, 1:])


def joined_texts(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Join the texts of each cell, each ended by a line break.

    Returns
    -------
    joined : Array
        large_string; null where the cell is.
    counts : ndarray of float64
        Texts in each cell, NaN if it is null.
    """
    lists = parse_lists(column)
    values = as_text(lists.values).cast(pa.large_string())
    some = Vocabulary.of([]).codes(values) == 0
    nothing, line_break = (pa.scalar(text, pa.large_string()) for text in ("", "\n"))
    lines = pc.binary_join_element_wise(values.fill_null(""), nothing, line_break)
    data, offsets = text_buffers(lines)
    ends = np.concatenate([[0], np.cumsum(lists.counts)])
    null = pa.array(~lists.null).buffers()[1]
    buffers = [null, pa.py_buffer(offsets[ends]), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), len(lists.null), buffers), lists.present(some)
