"""Objects in S3, Google Cloud Storage and Azure, through obstore.

A bucket is reached with the credentials and the endpoint that the environment names, as for the
vendors' own tools (``AWS_...``, ``GOOGLE_...``, ``AZURE_...``). Requests that fail are repeated
with growing pauses until the deadline. An object appears when its last part is completed, and not
at all if its writer ends before; what is read is held by its etag to the version that was listed.
"""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from rowcast.core.plan import InputObject
from rowcast.errors import (
    FailedPrecondition,
    InputChanged,
    NotFound,
    PermissionDenied,
    RowcastError,
    Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BYTES = 4 << 20
PART_BYTES = 8 << 20
"""Of an upload; S3 takes none below 5 MiB but the last."""
ANSWER_S = 30
DELETED_AT_ONCE = 1000


@lru_cache(maxsize=256)
def open_bucket(uri: str, retry_s: float) -> Bucket:
    """Make the client of a bucket, once in a process. Raises InvalidRequest, Unavailable."""
    return Bucket(uri, retry_s)


class Bucket:
    """One bucket: ``s3://lake``, ``gs://lake`` or ``az://lake``. Names are relative to it."""

    def __init__(self, uri: str, retry_s: float) -> None:
        from obstore.store import from_url

        self.uri = uri
        scheme = uri.partition("://")[0]
        with _translated(uri, uri):
            self._store = from_url(
                uri if scheme != "az" else uri.replace("az://", "azure://", 1),
                client_options={"timeout": f"{ANSWER_S}s", "allow_http": True},
                retry_config={
                    "max_retries": 1000,
                    "retry_timeout": timedelta(seconds=retry_s),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=5),
                        "base": 2,
                    },
                },
            )

    def need(self) -> None:
        """See that the bucket answers. Raises FailedPrecondition, PermissionDenied, Unavailable."""
        import obstore

        with _translated(self.uri, self.uri):
            for _ in obstore.list(self._store, chunk_size=1):
                break

    def stat(self, name: str) -> InputObject:
        """Describe an object. Raises NotFound."""
        import obstore

        uri = f"{self.uri}/{name}"
        with _translated(uri, self.uri):
            return self._described(cast("dict[str, Any]", obstore.head(self._store, name)))

    def walk(self, folder: str) -> Iterator[InputObject]:
        """Yield all objects below a folder, in no order."""
        import obstore

        with _translated(self.uri, self.uri):
            for page in obstore.list(self._store, prefix=folder or None):
                for found in page:
                    yield self._described(cast("dict[str, Any]", found))

    def names(self, folder: str) -> tuple[str, ...]:
        """Names of what is directly in a folder."""
        import obstore

        with _translated(self.uri, self.uri):
            found = obstore.list_with_delimiter(self._store, prefix=folder or None)
        paths = [str(item["path"]) for item in found["objects"]] + [*found["common_prefixes"]]
        return tuple(sorted(path.rpartition("/")[2] for path in paths))

    def read(self, name: str) -> bytes:
        """Read a whole small object. Raises NotFound."""
        import obstore

        with _translated(f"{self.uri}/{name}", self.uri):
            return bytes(obstore.get(self._store, name).bytes())

    def read_range(self, expected: InputObject, start: int, stop: int) -> bytes:
        """Read bytes of the version that was listed. Raises InputChanged."""
        import obstore
        from obstore.exceptions import NotFoundError, PreconditionError

        stop = min(stop, expected.size)
        if start >= stop:
            return b""
        name = expected.uri.removeprefix(f"{self.uri}/")
        with _translated(expected.uri, self.uri):
            try:
                found = obstore.get(
                    self._store,
                    name,
                    options={"range": (start, stop), "if_match": expected.version},
                )
                return bytes(found.bytes())
            except (PreconditionError, NotFoundError) as error:
                raise InputChanged.at(expected.uri, expected.version, "another") from error

    @contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Write an object that appears whole or not at all."""
        import obstore

        with _translated(f"{self.uri}/{name}", self.uri):
            writer = obstore.open_writer(self._store, name, buffer_size=PART_BYTES)
            yield cast("BinaryIO", _Writing(writer))
            writer.close()  # completes it; without this, nothing has happened

    def delete(self, name: str) -> None:
        """Remove an object; it is no error if there is none."""
        import obstore

        with _translated(f"{self.uri}/{name}", self.uri):
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                return

    def delete_folder(self, folder: str) -> None:
        """Remove everything below a folder."""
        import obstore

        prefix = f"{self.uri}/"
        names = [item.uri.removeprefix(prefix) for item in self.walk(folder)]
        with _translated(f"{self.uri}/{folder}", self.uri):
            for start in range(0, len(names), DELETED_AT_ONCE):
                obstore.delete(self._store, names[start : start + DELETED_AT_ONCE])

    def _described(self, found: dict[str, Any]) -> InputObject:
        version = found.get("e_tag") or f"{found['size']}-{found['last_modified'].isoformat()}"
        return InputObject(f"{self.uri}/{found['path']}", int(found["size"]), str(version))


class _Writing(io.RawIOBase):
    """A file that goes out in parts; closing it decides nothing."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._size = 0

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, data: Any, /) -> int:
        """Send bytes on their way."""
        view = memoryview(data).cast("B")
        self._writer.write(bytes(view))
        self._size += len(view)
        return len(view)

    def tell(self) -> int:
        """Bytes written."""
        return self._size

    def close(self) -> None:
        """Nothing: whoever made the file completes the object."""


class Reading(io.RawIOBase):
    """An object as a seekable file of the version that was listed."""

    def __init__(self, bucket: Bucket, expected: InputObject) -> None:
        self._bucket = bucket
        self._expected = expected
        self._at = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Read on from elsewhere."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._expected.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readall(self) -> bytes:
        """Read to the end, in one request. Raises InputChanged."""
        data = self._bucket.read_range(self._expected, self._at, self._expected.size)
        self._at += len(data)
        return data

    def readinto(self, buffer: Any, /) -> int:
        """Read as much as there is room for. Raises InputChanged."""
        view = memoryview(buffer).cast("B")
        data = self._bucket.read_range(self._expected, self._at, self._at + len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)


def free_bytes() -> int:
    """Room in a bucket: no end of it is known."""
    return sys.maxsize


@contextmanager
def _translated(uri: str, bucket: str) -> Iterator[None]:
    """Turn the library's errors into our own."""
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"{uri} does not exist.") from error
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise PermissionDenied(f"{uri} may not be used: {_said(error)}") from error
    except exceptions.BaseError as error:
        raise _unclear(uri, bucket, str(error)) from error
    except PermissionError as error:
        raise PermissionDenied(f"{uri} may not be used: {_said(error)}") from error


def _unclear(uri: str, bucket: str, text: str) -> RowcastError:
    if "NoSuchBucket" in text or "404" in text:
        return FailedPrecondition(f"Bucket {bucket} of {uri} does not exist.")
    return Unavailable(f"{uri}: the object store did not answer as it should: {text[:500]}")


def _said(error: Exception) -> str:
    return str(error).partition("\n")[0][:300]
