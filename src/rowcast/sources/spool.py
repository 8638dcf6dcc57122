"""Compressed text: unpacked once while planning, so that parts can start anywhere in it."""

from __future__ import annotations

import gzip
import threading
import zlib
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec
import pyarrow as pa

from rowcast.core.plan import InputObject
from rowcast.errors import RowcastError, UnreadableInput
from rowcast.sources.survey import BLOCK_BYTES, InputTooLarge, check_size, check_sizes, each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.core.plan import Layout
    from rowcast.sources import Limits, SourceOptions

SPOOLED = "spooled"
FREE_EXPANSION_BYTES = 1 << 20
"""So much may come out of an object of any size: a small one packs well without being a bomb."""


def text_objects(
    objects: Sequence[InputObject], options: SourceOptions
) -> list[InputObject | RowcastError]:
    """Give for each object the one that holds its text: itself, or its unpacked copy.

    Names decide: ``.gz`` and ``.zst`` are unpacked into ``options.spool_uri``. An object that
    cannot be unpacked, or is larger than the limit, has an error in its place.

    Raises
    ------
    InputTooLarge
        If the unpacked input exceeds the limit for a job.
    """
    total = _Total(options.limits)

    def unpack(index: int, packed: InputObject) -> InputObject:
        codec = _codec(packed.uri)
        if codec is None:
            check_size(packed.uri, packed.size, options.limits)
            return packed
        return _unpack(
            packed, codec, f"{options.spool_uri.rstrip('/')}/{index}.text", options, total
        )

    texts = each(objects, unpack)
    check_sizes(texts, options.limits)
    return texts


def remember_spooled(
    objects: Sequence[InputObject], texts: Sequence[InputObject | RowcastError]
) -> str:
    """Write down which objects have an unpacked copy, for ``text_of``."""
    copies = {
        str(index): (text.uri, text.size, text.version)
        for index, (one, text) in enumerate(zip(objects, texts, strict=True))
        if isinstance(text, InputObject) and text != one
    }
    return msgspec.json.encode(copies).decode()


def text_of(layout: Layout, source: int) -> InputObject:
    """Find the object that holds the text of ``layout.objects[source]``."""
    copies = msgspec.json.decode(
        layout.details.get(SPOOLED, "{}"), type=dict[str, tuple[str, int, str]]
    )
    copy = copies.get(str(source))
    return layout.objects[source] if copy is None else InputObject(*copy)


class _Total:
    """Bytes unpacked so far, over all objects and threads."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes = 0
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._bytes += count
            if self._bytes > self._limits.total_bytes:
                raise InputTooLarge(
                    f"The input unpacks to more than the {self._limits.total_bytes:,} bytes that "
                    "one job may read (setting max_total_bytes)."
                )


def _codec(uri: str) -> str | None:
    name = uri.lower()
    return "gzip" if name.endswith(".gz") else "zstd" if name.endswith(".zst") else None


def _unpack(
    packed: InputObject, codec: str, uri: str, options: SourceOptions, total: _Total
) -> InputObject:
    if packed.size == 0:
        options.objects.open(packed).close()  # which tells an empty object from an unreadable one
        raise UnreadableInput(f"{packed.uri} has no bytes; expected a {codec} archive.")
    limits = options.limits
    allowed = max(FREE_EXPANSION_BYTES, limits.expansion * packed.size)
    written = 0
    with options.objects.open(packed) as reader, options.objects.create(uri) as copy:
        stream = _open_stream(reader.file, codec)
        while block := _next_block(stream, packed.uri, codec):
            written += len(block)
            total.add(len(block))
            if written > allowed:
                raise UnreadableInput(
                    f"{packed.uri} unpacks to more than {limits.expansion} times its "
                    f"{packed.size:,} bytes (setting max_expansion); give it unpacked if that is "
                    "as it should be."
                )
            if written > limits.object_bytes:
                raise UnreadableInput(
                    f"{packed.uri} unpacks to more than the {limits.object_bytes:,} bytes that an "
                    "object may have (setting max_object_bytes)."
                )
            copy.write(block)
        reader.check()
    return options.objects.stat(uri)


def _open_stream(file: BinaryIO, codec: str) -> BinaryIO:
    if codec == "gzip":  # reads all members, and passes over zeros behind the last
        return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb"))
    return cast("BinaryIO", pa.CompressedInputStream(file, codec))


def _next_block(stream: BinaryIO, uri: str, codec: str) -> bytes:
    try:
        return stream.read(BLOCK_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableInput(
            f"{uri} is not a whole {codec} archive: {error}. Its name says that it is one."
        ) from error
