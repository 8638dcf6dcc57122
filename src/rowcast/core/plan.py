"""The input of a job cut into parts that replicas take one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class InputObject:
    """One object of the input, at the version that was planned."""

    uri: str
    size: int
    """Bytes as stored."""
    version: str
    """Changes whenever the object is replaced: etag, generation, or size and times of a file."""


@dataclass(frozen=True)
class Part:
    """Consecutive records of one object. Parts are in row order and do not overlap."""

    number: int
    """From 0, over all objects."""
    source: int
    """Index of the object in ``Layout.objects``."""
    start: int
    stop: int
    """Half-open range within the uncompressed object: bytes of CSV and JSONL, rows of Parquet."""
    first_row: int
    """Row number of the first record, from 1, over the whole input."""
    first_line: int
    """Physical line of the first record, from 1, in this object; 0 where there are no lines."""
    rows: int


@dataclass(frozen=True)
class ObjectFailure:
    """An object that cannot be read at all. The others are scored."""

    uri: str
    code: int
    message: str


@dataclass(frozen=True)
class Layout:
    """What every part's reader needs to know of the whole input. It goes to each replica once."""

    objects: tuple[InputObject, ...]
    schema: pa.Schema
    """Columns as batches carry them, in the order of the first object."""
    column_orders: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """For an object whose header has the same names in another order: for each column of
    ``schema``, its position in that object."""
    details: dict[str, str] = field(default_factory=dict)
    """What one kind of source wants to remember, e.g. where it unpacked a compressed object."""


@dataclass(frozen=True)
class Plan:
    """The whole input: what was found, and the parts to do."""

    layout: Layout
    parts: tuple[Part, ...]
    failures: tuple[ObjectFailure, ...] = ()

    @property
    def rows(self) -> int:
        """Records in the input, the unreadable ones included."""
        return sum(part.rows for part in self.parts)
