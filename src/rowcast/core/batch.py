"""Rows on their way from a source to a sink, each with its place in the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import pyarrow as pa

SHOWN_CHARACTERS = 60


def shown(value: str) -> str:
    """Quote a value for a message: cut after 60 characters, control characters escaped."""
    cut = value if len(value) <= SHOWN_CHARACTERS else value[: SHOWN_CHARACTERS - 1] + "…"
    return (
        "'"
        + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
        + "'"
    )


@dataclass(frozen=True)
class RowError:
    """Why one row has no prediction. It is data: the row ends in ``errors_*``."""

    index: int
    """Position of the row in its batch, from 0."""
    cause: str
    """Short text that is equal for rows of one cause: ``age: not a number``."""
    message: str
    """For the user: the column, the value (cut), and what was expected."""
    code: int = 3
    """google.rpc.Code."""


@dataclass(frozen=True)
class Places:
    """Where the rows of a batch stand in the input."""

    uri: str
    row: np.ndarray
    """int64 of shape (n,): position in the job's whole input, from 1."""
    line: np.ndarray | None = None
    """int64 of shape (n,): physical line in the object where the record starts, from 1."""
    offset: np.ndarray | None = None
    """int64 of shape (n,): byte in the (uncompressed) object where the record starts."""

    def describe(self, index: int) -> str:
        """Name one row: ``row 12, line 14, byte 803 of gs://b/x.csv``."""
        words = [f"row {self.row[index]}"]
        if self.line is not None:
            words.append(f"line {self.line[index]}")
        if self.offset is not None:
            words.append(f"byte {self.offset[index]}")
        return f"{', '.join(words)} of {self.uri}"

    def slice(self, start: int, length: int) -> Self:
        """Keep ``length`` rows from ``start``."""
        window = slice(start, start + length)
        return replace(
            self,
            row=self.row[window],
            line=None if self.line is None else self.line[window],
            offset=None if self.offset is None else self.offset[window],
        )


class Spans(NamedTuple):
    """Texts in one buffer: text i is ``data[starts[i]:stops[i]]``."""

    data: np.ndarray
    """uint8."""
    starts: np.ndarray
    """int32 of shape (n,)."""
    stops: np.ndarray
    """int32 of shape (n,)."""


class Records(NamedTuple):
    """The bytes of records in their input, without line ends."""

    spans: Spans
    well_formed: np.ndarray
    """bool of shape (n,): whether the columns, written as the format wants them, are these very
    bytes without the needless ones."""
    needless: np.ndarray
    """int32, ascending: places in the data of bytes that a writer leaves out."""
    needless_ends: np.ndarray
    """int64 of shape (n + 1,): those of record i are ``needless[ends[i]:ends[i + 1]]``."""


class TextRows(Protocol):
    """Rows of text that are not columns yet."""

    @property
    def num_rows(self) -> int:
        """How many."""
        ...

    @property
    def records(self) -> Records | None:
        """The rows as they stand in the input, if that is all columns in their order."""
        ...

    def cells(self, name: str) -> Spans:
        """The cells of a column; null is the empty text."""
        ...

    def column(self, name: str) -> pa.Array:
        """A column."""
        ...

    def columns(self) -> pa.RecordBatch:
        """All columns."""
        ...

    def take(self, rows: np.ndarray) -> Sequence[pa.Array]:
        """All columns of some rows."""
        ...

    def slice(self, start: int, length: int) -> TextRows:
        """Keep ``length`` rows from ``start``."""
        ...


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of one input object.

    A row that the source could not read is in ``rows`` as well, as far as it could be read, and
    has an entry in ``rejects``: whatever becomes of a row, it is counted and written.
    """

    held: pa.RecordBatch | TextRows
    """Text stays as it was read until somebody asks for ``rows``."""
    places: Places
    rejects: tuple[RowError, ...] = ()
    instances: pa.Array | None = None
    """JSONL only: each record's own JSON text, for output that repeats it unchanged."""

    def __len__(self) -> int:
        return int(self.held.num_rows)

    @property
    def rows(self) -> pa.RecordBatch:
        """Columns in input order. Sources of text (CSV, JSONL) give string columns, in which null
        and the empty text both mean null; typed sources give their own types.
        """
        return self.held.columns() if self.text is not None else self.held

    @property
    def text(self) -> TextRows | None:
        """The rows, if they are text that is not columns yet."""
        return self.held if hasattr(self.held, "cells") else None

    def slice(self, start: int, length: int) -> Batch:
        """Keep ``length`` rows from ``start``, without copying them."""
        stop = start + length
        return Batch(
            self.held.slice(start, length),
            self.places.slice(start, length),
            tuple(
                replace(reject, index=reject.index - start)
                for reject in self.rejects
                if start <= reject.index < stop
            ),
            None if self.instances is None else self.instances.slice(start, length),
        )
