"""Staging and publishing of results that are lines of bytes.

A replica writes each attempt at a part under a name that no other attempt has; the ledger says
which attempt counts. Publishing joins the staged bytes in part order, so the final objects do
not depend on who did what when.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

from rowcast.sinks import Published, Staged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rowcast.core.prediction import Scored
    from rowcast.sinks import SinkOptions

COPY_BYTES = 1 << 18
"""Bytes that are copied at a time: they stay in the cache until they are hashed."""


def object_name(options: SinkOptions, kind: str, number: int, suffix: str) -> str:
    """Name the ``number``-th final object of a kind, from 1."""
    if options.output_name is None:
        return f"{kind}_{number}.{suffix}"
    return options.output_name if kind == "predictions" else f"errors_{options.output_name}"


def staged_uri(options: SinkOptions, part: int, attempt: str, kind: str) -> str:
    """Where one attempt at a part leaves its predictions or errors."""
    return f"{options.staging}part-{part:09d}-{attempt}.{kind}"


def objects_of(
    options: SinkOptions, kind: str, staged: Sequence[Staged]
) -> Iterator[tuple[int, list[str], int]]:
    """Deal staged parts into final objects: (number, staged URIs, rows).

    A new object starts once one has reached the size limit. Predictions have at least one
    object, so that a reader of an empty result finds its header; errors may have none.
    """
    limit = options.object_bytes if options.output_name is None else None
    number, uris, rows, size = 1, list[str](), 0, 0
    for part in staged:
        uri = part.predictions if kind == "predictions" else part.errors
        if uri is None:
            continue
        if limit is not None and uris and size >= limit:
            yield number, uris, rows
            number, uris, rows, size = number + 1, [], 0, 0
        uris.append(uri)
        rows += part.predictions_rows if kind == "predictions" else part.errors_rows
        size += part.predictions_bytes if kind == "predictions" else part.errors_bytes
    if uris or (kind == "predictions" and number == 1):
        yield number, uris, rows


class LineSink(ABC):
    """Base of the sinks whose objects are a header and lines."""

    suffix: str

    def __init__(self, options: SinkOptions) -> None:
        self.options = options

    @abstractmethod
    def header(self, kind: str) -> bytes:
        """First bytes of each object."""

    @abstractmethod
    def predictions(self, scored: Scored) -> bytes:
        """Lines of the rows that were scored."""

    @abstractmethod
    def errors(self, scored: Scored) -> bytes:
        """Lines of the rows that were not."""

    def stage(self, part: int, attempt: str, scored: Iterable[Scored]) -> Staged:
        """See ``Sink.stage``."""
        objects = self.options.objects
        uris: dict[str, str] = {}
        files: dict[str, BinaryIO] = {}
        rows = {"predictions": 0, "errors": 0}
        sizes = {"predictions": 0, "errors": 0}
        with ExitStack() as stack:
            for batch in scored:
                for kind, count, write in (
                    ("predictions", len(batch.scored_rows), self.predictions),
                    ("errors", len(batch.errors), self.errors),
                ):
                    if not count:
                        continue
                    if kind not in files:
                        uris[kind] = staged_uri(self.options, part, attempt, kind)
                        files[kind] = stack.enter_context(objects.create(uris[kind]))
                    lines = write(batch)
                    files[kind].write(lines)
                    rows[kind] += count
                    sizes[kind] += len(lines)
        return Staged(
            uris.get("predictions"),
            uris.get("errors"),
            rows["predictions"],
            rows["errors"],
            sizes["predictions"],
            sizes["errors"],
        )

    def publish(self, staged: Sequence[Staged]) -> list[Published]:
        """See ``Sink.publish``."""
        return [
            self._join(kind, number, uris, rows)
            for kind in ("predictions", "errors")
            for number, uris, rows in objects_of(self.options, kind, staged)
        ]

    def _join(self, kind: str, number: int, uris: list[str], rows: int) -> Published:
        objects = self.options.objects
        name = object_name(self.options, kind, number, self.suffix)
        header = self.header(kind)
        digest, size = hashlib.sha256(header), len(header)
        room = memoryview(bytearray(COPY_BYTES))
        with objects.create(self.options.directory + name) as out:
            out.write(header)
            for uri in uris:
                with objects.open(objects.stat(uri)) as reader:
                    while count := reader.file.readinto(room):  # type: ignore[attr-defined]
                        out.write(room[:count])
                        digest.update(room[:count])
                        size += count
        return Published(name, kind, rows, size, digest.hexdigest())
