"""What the sources share: looking at every object once, and making a plan of what was found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from rowcast.core.plan import InputObject, ObjectFailure, Part
from rowcast.errors import InvalidRequest, NotFound, PermissionDenied, RowcastError, UnreadableInput

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rowcast.sources import Limits

A = TypeVar("A")
B = TypeVar("B")

BLOCK_BYTES = 4 << 20
"""Bytes of an object that a survey holds at a time."""
LARGEST_PART = 64 << 20
"""A part is read at once, so that no setting makes it larger than this."""
CELLS_AT_ONCE = 4 << 20
"""Cells that are made into columns at a time: a short line of a wide table takes many."""


class InputTooLarge(UnreadableInput):
    """The input as a whole exceeds a limit: no object is to blame."""


@dataclass(frozen=True)
class Section:
    """Consecutive records of one object: a part that has no number yet."""

    start: int
    stop: int
    line: int
    rows: int


def each(items: Sequence[A | RowcastError], work: Callable[[int, A], B]) -> list[B | RowcastError]:
    """Do ``work(index, item)`` for every item, two at a time.

    An error takes the place of an item that cannot be read, and such an item is passed by.
    """

    def attempt(index: int, item: A | RowcastError) -> B | RowcastError:
        if isinstance(item, RowcastError):
            return item
        try:
            return work(index, item)
        except InputTooLarge:
            raise
        except (InvalidRequest, NotFound, PermissionDenied) as error:
            return error

    if len(items) < 2:
        return [attempt(index, item) for index, item in enumerate(items)]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(attempt, range(len(items)), items))


def check_sizes(texts: Sequence[InputObject | RowcastError], limits: Limits) -> None:
    """See that the readable objects together keep to the limit. Raises InputTooLarge."""
    total = sum(text.size for text in texts if isinstance(text, InputObject))
    if total > limits.total_bytes:
        raise InputTooLarge(
            f"The input has {total:,} bytes; at most {limits.total_bytes:,} may be read by one "
            "job (setting max_total_bytes)."
        )


def check_size(uri: str, size: int, limits: Limits) -> None:
    """See that one object keeps to the limit. Raises UnreadableInput."""
    if size > limits.object_bytes:
        raise UnreadableInput(
            f"{uri} has {size:,} bytes; an object may have {limits.object_bytes:,} "
            "(setting max_object_bytes)."
        )


def check_row(place: str, size: int, limits: Limits) -> None:
    """See that a record keeps to the limit. Raises UnreadableInput naming its ``place``."""
    if size > limits.row_bytes:
        raise UnreadableInput(
            f"The record at {place} is longer than the {limits.row_bytes:,} bytes that a row may "
            "have (setting max_row_bytes)."
        )


def cell_too_long(place: str, size: int, limits: Limits) -> UnreadableInput:
    """Name a cell that is over the limit."""
    return UnreadableInput(
        f"The record at {place} has a field of {size:,} bytes; a field may have "
        f"{limits.cell_bytes:,} (setting max_cell_bytes)."
    )


def failures_of(
    objects: Sequence[InputObject], found: Sequence[object]
) -> tuple[ObjectFailure, ...]:
    """List the objects that ``each`` found unreadable.

    Raises
    ------
    RowcastError
        The first object's error, if none is readable.
    """
    errors = [(one, error) for one, error in zip(objects, found, strict=True)
              if isinstance(error, RowcastError)]  # fmt: skip
    if errors and len(errors) == len(objects):
        raise errors[0][1]
    return tuple(ObjectFailure(one.uri, error.code, str(error)) for one, error in errors)


def number_parts(found: Sequence[Sequence[Section] | RowcastError]) -> tuple[Part, ...]:
    """Number parts and rows through all readable objects."""
    parts: list[Part] = []
    row = 1
    for source, sections in enumerate(found):
        if isinstance(sections, RowcastError):
            continue
        for section in sections:
            parts.append(
                Part(
                    number=len(parts),
                    source=source,
                    start=section.start,
                    stop=section.stop,
                    first_row=row,
                    first_line=section.line,
                    rows=section.rows,
                )
            )
            row += section.rows
    return tuple(parts)
