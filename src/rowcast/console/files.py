"""Buckets and objects, through the server's Cloud Storage paths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from rowcast.console.api import ApiError
from rowcast.console.places import FORWARD

if TYPE_CHECKING:
    from rowcast.console.api import Api, Json

BUCKETS = "/storage/v1/b"
SCHEME = "gs://"


@dataclass(frozen=True)
class File:
    """An object."""

    bucket: str
    path: str
    bytes: int

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def uri(self) -> str:
        """Its URI."""
        return f"{SCHEME}{self.bucket}/{self.path}"

    @property
    def href(self) -> str:
        """Where a browser that has logged in gets it."""
        return f"{FORWARD}{_objects(self.bucket)}/{quote(self.path, safe='')}?alt=media"


@dataclass(frozen=True)
class Folder:
    """What is directly in a folder."""

    folders: tuple[str, ...]
    """Paths in the bucket, each with a ``/`` at its end."""
    files: tuple[File, ...]


async def buckets(api: Api) -> list[str]:
    """Names of the buckets."""
    found = await api.raw("GET", BUCKETS, params={"project": api.home.project})
    return [item["name"] for item in found.get("items", [])]


async def make_bucket(api: Api, name: str) -> None:
    """Make a bucket. Raises ApiError."""
    await api.raw("POST", BUCKETS, params={"project": api.home.project}, json={"name": name})


async def look_into(api: Api, bucket: str, path: str) -> Folder:
    """List a folder; ``path`` is empty or ends in ``/``. Raises ApiError."""
    params = {"prefix": path, "delimiter": "/"}
    found = await api.raw("GET", _objects(bucket), params=params)
    return Folder(
        tuple(found.get("prefixes", [])),
        tuple(_file(bucket, item) for item in found.get("items", [])),
    )


async def delete_file(api: Api, file: File) -> None:
    """Delete an object. Raises ApiError."""
    await api.raw("DELETE", f"{_objects(file.bucket)}/{quote(file.path, safe='')}")


async def folder_files(api: Api, uri: str) -> list[File] | None:
    """The objects directly in a folder; None if they cannot be seen through the server."""
    if not uri.startswith(SCHEME):
        return None
    bucket, _, path = uri.removeprefix(SCHEME).partition("/")
    try:
        found = await look_into(api, bucket, f"{path.rstrip('/')}/")
    except ApiError:
        return None
    return list(found.files)


async def read_json(api: Api, uri: str) -> Json | None:
    """Read a small JSON object; None if it is not there, or cannot be seen through the server."""
    if not uri.startswith(SCHEME):
        return None
    bucket, _, path = uri.removeprefix(SCHEME).partition("/")
    try:
        return await api.raw(
            "GET", f"{_objects(bucket)}/{quote(path, safe='')}", params={"alt": "media"}
        )
    except ApiError:
        return None


def upload_address(bucket: str, path: str) -> str:
    """Where a browser sends a file, but for its name, which goes at the end."""
    query = urlencode({"uploadType": "media", "name": path})
    return f"{FORWARD}/upload{_objects(bucket)}?{query}"


def _file(bucket: str, item: Json) -> File:
    return File(bucket, item["name"], int(item.get("size") or 0))


def _objects(bucket: str) -> str:
    return f"{BUCKETS}/{quote(bucket, safe='')}/o"
