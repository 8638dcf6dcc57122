"""Objects at URIs: one resolver for every path that a request can name.

``gs://BUCKET/x`` and ``s3://BUCKET/x`` are folders on this machine, below a root each;
``file://`` URIs and plain paths are allowed beneath the local roots only. A path is opened one
component at a time from its root's descriptor without following links, so what was checked is
what is opened.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import re
import shutil
import stat
import uuid
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Self, cast
from urllib.parse import unquote

from rowcast.core.plan import InputObject
from rowcast.errors import (
    AlreadyExists,
    FailedPrecondition,
    InputChanged,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RowcastError,
)
from rowcast.storage.remote import READ_BYTES, Reading, free_bytes, open_bucket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from rowcast.storage.remote import Bucket

TEMPORARY_PREFIX = ".rowcast-tmp-"
STAGING_FOLDER = "_staging"
"""Where unfinished jobs keep what no reader is to see; wildcards pass over it."""
UNREADABLE = "unreadable"
"""Version of an object that is listed but must not be read."""
BUCKET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,221}")
WILDCARDS = re.compile(r"[*?\[]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_ENCODED = re.compile(r"%(?:2f|5c|00|2e%2e|2e\.|\.%2e|25)", re.IGNORECASE)
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True)
class Roots:
    """The folders behind each scheme."""

    gs: Path
    s3: Path
    local: tuple[Path, ...] = ()
    remote: tuple[str, ...] = ()
    """Buckets that are in an object store and no folder: ``s3://lake``, or all of a kind, ``s3://*``."""
    retry_s: float = 120.0
    """How long a request to an object store is repeated."""


@dataclass(frozen=True)
class Location:
    """A resolved URI: a root, and the components of the path below it."""

    root: Path
    parts: tuple[str, ...]
    uri: str
    in_bucket: bool = False
    """Whether the first part is a bucket, which must be there."""
    bucket: Bucket | None = None
    """The object store's, where the parts are below it."""

    @property
    def name(self) -> str:
        """The name of an object in its bucket."""
        return "/".join(self.parts[1:])

    @property
    def path(self) -> Path:
        """For messages and free-space checks; opening goes through descriptors."""
        return self.root.joinpath(*self.parts)

    @property
    def real_path(self) -> Path:
        """Equal for all URIs of one place."""
        return Path(os.path.realpath(self.root)).joinpath(*self.parts)


class Objects:
    """Lists, reads and atomically writes the objects that URIs name.

    Pickles, so that replicas open objects by the same rules as the server.
    """

    def __init__(self, roots: Roots) -> None:
        self.roots = roots

    def resolve(self, uri: str) -> Location:
        """Turn a URI into a place below one of the roots. Touches no storage.

        Raises
        ------
        InvalidRequest
            If the URI is malformed or tries to leave its root.
        PermissionDenied
            If a local path lies outside the local roots.
        """
        if not uri or "\0" in uri or any(ord(c) < 0x20 for c in uri):
            raise InvalidRequest(f"{uri!r} is not a URI: it is empty or holds control characters.")
        scheme_match = _SCHEME.match(uri)
        if scheme_match is None:
            if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:(?!\\)", uri) and not Path(uri).exists():
                raise InvalidRequest(f"{uri!r} is neither a path nor a URI with '://'.")
            return self._local(os.path.abspath(os.path.expanduser(uri)), uri)
        scheme, rest = scheme_match.group(1).lower(), uri[scheme_match.end() :]
        for bad, what in (("\\", "a backslash"), ("#", "a fragment")):
            if bad in rest:
                raise InvalidRequest(f"{uri!r} holds {what}, which no object URI may.")
        if _ENCODED.search(rest):
            raise InvalidRequest(f"{uri!r} holds an encoded separator, dot or percent sign.")
        if scheme == "file":
            host, slash, path = rest.partition("/")
            if host not in ("", "localhost") or not slash:
                raise InvalidRequest(f"{uri!r}: write file:///ABSOLUTE/PATH, without a host.")
            try:
                decoded = "/" + unquote(path, errors="strict")
            except UnicodeDecodeError as error:
                raise InvalidRequest(f"{uri!r} holds encoded bytes that are not UTF-8.") from error
            if any(ord(c) < 0x20 for c in decoded):
                raise InvalidRequest(f"{uri!r} holds encoded control characters.")
            self._refuse_dots(decoded.split("/"), uri)
            return self._local(decoded, uri)
        if scheme not in ("gs", "s3") and not (scheme == "az" and self._is_remote(scheme)):
            raise InvalidRequest(
                f"{uri!r}: scheme {scheme!r} is not supported; use gs://, s3://, file:// or a path."
            )
        bucket, _, path = rest.partition("/")
        if "@" in bucket or ":" in bucket:
            raise InvalidRequest(f"{uri!r}: a bucket name has no user, password or port.")
        if not BUCKET_NAME.fullmatch(bucket) or ".." in bucket:
            raise InvalidRequest(
                f"{uri!r}: {bucket!r} is not a bucket name (letters, digits, '-', '_', '.')."
            )
        names = path.split("/")
        self._refuse_dots(names, uri)
        if self._is_remote(scheme, bucket):
            client = open_bucket(f"{scheme}://{bucket}", self.roots.retry_s)
            parts = (bucket, *(name for name in names if name))
            return Location(Path(f"{scheme}:"), parts, uri, in_bucket=True, bucket=client)
        root = self.roots.gs if scheme == "gs" else self.roots.s3
        return Location(root, (bucket, *(name for name in names if name)), uri, in_bucket=True)

    def list(self, uri: str) -> list[InputObject]:
        """Find the objects that a URI or a pattern (``*``, ``**``, ``?``, ``[...]``) names.

        ``*`` and ``?`` do not match ``/``. Sorted by URI. Of the objects that match a pattern,
        those that must not be read have the version ``UNREADABLE``; opening them says why.

        Raises
        ------
        NotFound
            If there is none.
        FailedPrecondition
            If the bucket does not exist.
        PermissionDenied
            If the one object that is named, or a folder, cannot be read.
        """
        location = self.resolve(uri)
        if location.bucket is not None:
            return [*self._list_remote(location, location.bucket)]
        self._need_bucket(location)
        if not WILDCARDS.search(uri):
            return [self.stat(uri)]
        with suppress(NotFound):
            return [self.stat(uri)]
        fixed = next(i for i, part in enumerate(location.parts) if WILDCARDS.search(part))
        folder = Location(location.root, location.parts[:fixed], uri, location.in_bucket)
        pattern = _pattern("/".join(location.parts[fixed:]))
        prefix = uri[: _nth_component_start(uri, "/".join(location.parts[fixed:]))]
        found = []
        for relative in self._walk(folder):
            if pattern.fullmatch(relative):
                with suppress(NotFound):  # a device, or removed since
                    found.append(self._listed(prefix + relative))
        if not found:
            raise NotFound(f"No object matches {uri}.")
        return sorted(found, key=lambda item: item.uri)

    def names(self, uri: str) -> tuple[str, ...]:
        """Names of what is directly in a folder; none if there is no such folder."""
        location = self.resolve(uri)
        if location.bucket is not None:
            return location.bucket.names(location.name)
        with suppress(FileNotFoundError), _translated(uri, location):
            folder = self._open_folder(location.root, location.parts)
            try:
                return tuple(sorted(os.listdir(folder)))
            finally:
                os.close(folder)
        return ()

    def buckets(self) -> tuple[str, ...]:
        """Names of the ``gs://`` buckets that are there."""
        with os.scandir(self.roots.gs) as found:
            folders = [item.name for item in found if item.is_dir(follow_symlinks=False)]
        return tuple(sorted(name for name in folders if BUCKET_NAME.fullmatch(name)))

    def make_bucket(self, name: str) -> None:
        """Make a ``gs://`` bucket. Raises AlreadyExists, PermissionDenied."""
        location = self.resolve(f"gs://{name}")
        try:
            location.path.mkdir(mode=0o755)
        except FileExistsError:
            raise AlreadyExists(f"There is a bucket {name!r} already.") from None
        except OSError as error:
            raise _translate(error, location.uri, location) from error

    def need_bucket(self, uri: str) -> None:
        """See that a URI's bucket is there. Raises FailedPrecondition, PermissionDenied."""
        self._need_bucket(self.resolve(uri))

    def stat(self, uri: str) -> InputObject:
        """Describe one object. Raises NotFound, PermissionDenied."""
        location = self.resolve(uri)
        if location.bucket is not None:
            return replace(location.bucket.stat(location.name), uri=uri)
        with self._open_raw(location) as file:
            return _describe(uri, file)

    def open(self, expected: InputObject) -> Reader:
        """Open an object for reading at the version that was listed. Raises InputChanged."""
        location = self.resolve(expected.uri)
        if location.bucket is not None:
            return RemoteReader(location.bucket, expected)
        try:
            file = self._open_raw(location)
        except NotFound as error:
            raise InputChanged.at(expected.uri, expected.version, "nothing") from error
        reader = Reader(file, expected)
        try:
            reader.check()
        except InputChanged:
            file.close()
            raise
        return reader

    def read_bytes(self, uri: str) -> bytes:
        """Read a whole small object. Raises NotFound."""
        location = self.resolve(uri)
        if location.bucket is not None:
            return location.bucket.read(location.name)
        with self._open_raw(location) as file:
            return file.read()

    @contextmanager
    def create(self, uri: str) -> Iterator[BinaryIO]:
        """Write an object that appears whole or not at all; an existing one is replaced.

        The bytes are on disk before the name is, and the name is on disk on return.

        Raises
        ------
        ResourceExhausted
            If the disk is full, with the bytes that are left.
        PermissionDenied
            If the place is not writable.
        """
        location = self.resolve(uri)
        if location.bucket is not None:
            with location.bucket.create(location.name) as out:
                yield out
            return
        self._need_bucket(location)
        with _translated(uri, location, missing=True):
            folder = self._open_folder(location.root, location.parts[:-1], create=True)
        temporary = f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
        try:
            with _translated(uri, location, missing=True):
                descriptor = os.open(
                    temporary,
                    os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
                    0o644,
                    dir_fd=folder,
                )
                try:
                    with os.fdopen(descriptor, "wb") as file:
                        yield cast("BinaryIO", file)
                        file.flush()
                        os.fsync(file.fileno())
                    os.rename(temporary, location.parts[-1], src_dir_fd=folder, dst_dir_fd=folder)
                except BaseException:
                    with suppress(FileNotFoundError):
                        os.unlink(temporary, dir_fd=folder)
                    raise
                os.fsync(folder)
        finally:
            os.close(folder)

    def exists(self, uri: str) -> bool:
        """Whether an object has this name."""
        try:
            self.stat(uri)
        except NotFound:
            return False
        return True

    def delete(self, uri: str) -> None:
        """Remove an object; it is no error if there is none."""
        location = self.resolve(uri)
        if location.bucket is not None:
            location.bucket.delete(location.name)
            return
        with suppress(FileNotFoundError), _translated(uri, location):
            folder = self._open_folder(location.root, location.parts[:-1])
            try:
                os.unlink(location.parts[-1], dir_fd=folder)
            finally:
                os.close(folder)

    def delete_folder(self, uri: str) -> None:
        """Remove everything below a folder URI, and the folder."""
        location = self.resolve(uri)
        if len(location.parts) < 2:
            raise InvalidRequest(f"{uri!r} is a whole bucket or root; it is not removed.")
        if location.bucket is not None:
            location.bucket.delete_folder(location.name)
            return
        with suppress(FileNotFoundError), _translated(uri, location):
            folder = self._open_folder(location.root, location.parts[:-1])
            try:
                shutil.rmtree(location.parts[-1], dir_fd=folder)
            finally:
                os.close(folder)

    def sweep_temporaries(self, uri: str) -> None:
        """Remove what interrupted writers left in a folder. Only safe when none is at work.

        In object stores they leave nothing that has a name.
        """
        location = self.resolve(uri)
        if location.bucket is not None:
            return
        with suppress(FileNotFoundError), _translated(uri, location):
            folder = self._open_folder(location.root, location.parts)
            try:
                for name in os.listdir(folder):
                    if name.startswith(TEMPORARY_PREFIX):
                        os.unlink(name, dir_fd=folder)
            finally:
                os.close(folder)

    def free_bytes(self, uri: str) -> int:
        """Space left where a URI's object would be written."""
        location = self.resolve(uri)
        return free_bytes() if location.bucket is not None else _free_bytes(location.path)

    def _is_remote(self, scheme: str, bucket: str | None = None) -> bool:
        """Whether a bucket, or any of a scheme's, is in an object store."""
        if bucket is None:
            return any(one.startswith(f"{scheme}://") for one in self.roots.remote)
        return not {f"{scheme}://{bucket}", f"{scheme}://*"}.isdisjoint(self.roots.remote)

    def fetch(self, uri: str, folder: Path) -> Path:
        """A file with the bytes of an object: its own, or a copy in ``folder``."""
        location = self.resolve(uri)
        if location.bucket is None:
            return location.path
        copy = folder / f"{zlib.crc32(uri.encode()):08x}-{location.parts[-1]}"
        folder.mkdir(parents=True, exist_ok=True)
        with self.open(self.stat(uri)) as reader, copy.open("wb") as file:
            shutil.copyfileobj(reader.file, file, READ_BYTES)
        return copy

    def _list_remote(self, location: Location, bucket: Bucket) -> Sequence[InputObject]:
        uri = location.uri
        if not WILDCARDS.search(uri):
            return [self.stat(uri)]
        parts = location.parts[1:]
        fixed = next(i for i, part in enumerate(parts) if WILDCARDS.search(part))
        start = f"{bucket.uri}/" + "".join(f"{part}/" for part in parts[:fixed])
        pattern = _pattern("/".join(parts[fixed:]))
        found = [
            one
            for one in bucket.walk("/".join(parts[:fixed]))
            if STAGING_FOLDER not in one.uri.split("/")
            and pattern.fullmatch(one.uri.removeprefix(start))
        ]
        if not found:
            bucket.need()
            raise NotFound(f"No object matches {uri}.")
        return sorted(found, key=lambda item: item.uri)

    def _local(self, path: str, uri: str) -> Location:
        real = Path(os.path.realpath(path))
        for root in self.roots.local:
            real_root = Path(os.path.realpath(root))
            if real.is_relative_to(real_root):
                return Location(real_root, real.relative_to(real_root).parts, uri)
        raise PermissionDenied(
            f"{uri!r} is outside the folders that may be used; allow one with the setting "
            "local_roots, or use a gs:// bucket."
        )

    @staticmethod
    def _refuse_dots(names: Sequence[str], uri: str) -> None:
        if any(name in (".", "..") for name in names):
            raise InvalidRequest(f"{uri!r} holds '.' or '..', which no object URI may.")

    def _listed(self, uri: str) -> InputObject:
        try:
            return self.stat(uri)
        except PermissionDenied:
            return InputObject(uri, 0, UNREADABLE)

    def _need_bucket(self, location: Location) -> None:
        if location.bucket is not None:
            location.bucket.need()
        elif location.in_bucket:
            try:
                os.close(self._open_folder(location.root, location.parts[:1]))
            except FileNotFoundError:
                raise FailedPrecondition(
                    f"Bucket {location.parts[0]!r} of {location.uri} does not exist; make the "
                    f"folder {location.root / location.parts[0]}."
                ) from None
            except OSError as error:
                raise PermissionDenied(
                    f"Bucket {location.parts[0]!r} of {location.uri} cannot be opened: "
                    f"{error.strerror}."
                ) from error

    def _open_folder(self, root: Path, parts: tuple[str, ...], *, create: bool = False) -> int:
        """Open a folder beneath a root, component by component, following no link."""
        descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for part in parts:
                try:
                    inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
                except FileNotFoundError:
                    if not create:
                        raise
                    with suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=descriptor)
                        os.fsync(descriptor)
                    inner = os.open(part, _DIRECTORY, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = inner
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _open_raw(self, location: Location) -> IO[bytes]:
        if not location.parts:
            raise NotFound(f"{location.uri} is a folder, not an object.")
        self._need_bucket(location)
        with _translated(location.uri, location):
            try:
                folder = self._open_folder(location.root, location.parts[:-1])
            except FileNotFoundError:
                raise NotFound(f"{location.uri} does not exist.") from None
            try:
                descriptor = os.open(
                    location.parts[-1],
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC,
                    dir_fd=folder,
                )
            except FileNotFoundError:
                raise NotFound(f"{location.uri} does not exist.") from None
            finally:
                os.close(folder)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise NotFound(f"{location.uri} is not an object but a folder or device.")
        return os.fdopen(descriptor, "rb")

    def _walk(self, folder: Location) -> Iterator[str]:
        """Yield the relative names of all objects below a folder."""
        try:
            top = self._open_folder(folder.root, folder.parts)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _translate(error, folder.uri, folder) from error

        def refuse(error: OSError) -> None:
            if not isinstance(error, FileNotFoundError):  # it was removed since
                raise _translate(error, folder.uri, folder) from error

        try:
            for base, folders, files, _ in os.fwalk(
                ".", dir_fd=top, follow_symlinks=False, onerror=refuse
            ):
                folders[:] = [name for name in folders if name != STAGING_FOLDER]
                for name in files:
                    if not name.startswith(TEMPORARY_PREFIX):
                        yield os.path.normpath(f"{base}/{name}")
        finally:
            os.close(top)


class Reader:
    """A planned object, open for reading at any place."""

    def __init__(self, file: IO[bytes], expected: InputObject) -> None:
        self._file = file
        self._expected = expected

    @property
    def file(self) -> BinaryIO:
        """The bytes, as a seekable binary file."""
        return cast("BinaryIO", self._file)

    def read_range(self, start: int, stop: int) -> bytes:
        """Read a half-open range of bytes. Raises InputChanged if it is no longer all there."""
        self._file.seek(start)
        data = self._file.read(stop - start)
        if len(data) != stop - start:
            self.check()
            raise InputChanged.at(
                self._expected.uri, self._expected.version, f"{start + len(data)} bytes"
            )
        return data

    def read_into(self, room: np.ndarray, start: int) -> None:
        """Fill ``room`` with the bytes from ``start``. Raises as ``read_range`` does."""
        self._file.seek(start)
        found = self._file.readinto(room)  # type: ignore[attr-defined]
        if found != len(room):
            self.check()
            raise InputChanged.at(
                self._expected.uri, self._expected.version, f"{start + found} bytes"
            )

    def check(self) -> None:
        """See that what was read belongs to the planned version. Raises InputChanged."""
        found = _describe(self._expected.uri, self._file)
        if found.version != self._expected.version:
            raise InputChanged.at(self._expected.uri, self._expected.version, found.version)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RemoteReader(Reader):
    """The same for an object of an object store."""

    def __init__(self, bucket: Bucket, expected: InputObject) -> None:
        raw = Reading(bucket, expected)
        super().__init__(io.BufferedReader(raw, READ_BYTES), expected)
        self._bucket = bucket

    def read_range(self, start: int, stop: int) -> bytes:
        """See ``Reader``."""
        return self._bucket.read_range(self._expected, start, stop)

    def check(self) -> None:
        """See ``Reader``."""
        name = self._expected.uri.removeprefix(f"{self._bucket.uri}/")
        try:
            found = self._bucket.stat(name).version
        except NotFound:
            found = "nothing"
        if found != self._expected.version:
            raise InputChanged.at(self._expected.uri, self._expected.version, found)


def _describe(uri: str, file: IO[bytes]) -> InputObject:
    facts = os.fstat(file.fileno())
    version = f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ino}"
    return InputObject(uri, facts.st_size, version)


def _pattern(glob: str) -> re.Pattern[str]:
    """Translate a glob in which only ``**`` crosses ``/``. Linear: no nested repetition."""
    pieces = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*\])", glob)
    translated = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile(
        "".join(
            translated.get(piece)
            or (fnmatch.translate(piece)[4:-3] if piece.startswith("[") else re.escape(piece))
            for piece in pieces
        ),
        re.DOTALL,
    )


def _nth_component_start(uri: str, tail: str) -> int:
    """Where the last components of a URI begin."""
    start = uri.rfind(tail)
    if start < 0:
        raise InvalidRequest(f"{uri!r}: a pattern may not hold '//'.")
    return start


def _free_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(path).free


def _translate(error: OSError, uri: str, location: Location) -> RowcastError:
    """Say what an operating system error means to the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ResourceExhausted(
            f"No space left to write {uri}: {_free_bytes(location.path):,} bytes are free."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDenied(f"{uri} cannot be opened: {error.strerror}.")
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return PermissionDenied(
            f"{uri} passes through a symbolic link or a file that is not a folder; links are "
            "not followed."
        )
    if error.errno == errno.ENAMETOOLONG:
        return InvalidRequest(f"{uri} has a component that is too long for the file system.")
    return FailedPrecondition(f"{uri}: {error.strerror}.")


@contextmanager
def _translated(uri: str, location: Location, *, missing: bool = False) -> Iterator[None]:
    """Turn operating system errors into our own; of a missing file only if so asked."""
    try:
        yield
    except FileNotFoundError as error:
        if not missing:
            raise
        raise FailedPrecondition(
            f"{uri} cannot be written: its folder is not there, or was removed meanwhile."
        ) from error
    except OSError as error:
        raise _translate(error, uri, location) from error
