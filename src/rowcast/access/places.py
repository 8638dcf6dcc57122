"""What a role is given on: projects and locations, buckets and folders in them, tables.

A place is written as a resource name or as a URI, and covers everything below it: ``projects/acme``
every job in it, ``gs://bucket/in`` every object in that folder, ``bq://acme.sales`` every table of
that dataset. ``*`` is everything.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

from rowcast.errors import InvalidRequest

EVERYTHING = "*"
_RESOURCE = re.compile(r"projects(/[\w.:@-]+)+")
_BUCKET = re.compile(r"(gs|s3)://([A-Za-z0-9][A-Za-z0-9._-]{0,221})(/.*)?", re.IGNORECASE)
_TABLE = re.compile(r"bq://[\w:-]+(\.[\w$-]+){0,2}", re.IGNORECASE)
_FILE = re.compile(r"file://(?:localhost)?(/.*)", re.IGNORECASE)
_WILDCARD = re.compile(r"[*?\[]")


def check_place(text: str) -> str:
    """Return a place in the one way of writing it.

    Raises
    ------
    InvalidRequest
        Saying what places look like.
    """
    if text == EVERYTHING:
        return text
    if _RESOURCE.fullmatch(text) and ".." not in text:
        return text
    if "://" in text or text.startswith("/"):
        if _WILDCARD.search(text):
            raise InvalidRequest(f"{text!r}: a place covers all that is below it; leave out the *.")
        return place_of(text)
    raise InvalidRequest(
        f"{text[:200]!r} is no place; write projects/PROJECT, projects/PROJECT/locations/LOCATION, "
        "gs://BUCKET/FOLDER, s3://BUCKET/FOLDER, file:///FOLDER, bq://PROJECT.DATASET, or *."
    )


def place_of(uri: str) -> str:
    """Find where the data of a URI is; of a pattern, the folder that all matches are below.

    Raises
    ------
    InvalidRequest
        If it is no URI of an object, a table or a file, or climbs out of where it begins.
    """
    if _TABLE.fullmatch(uri):
        return f"bq://{uri[5:]}"
    if bucket := _BUCKET.fullmatch(uri):
        names = _fixed((bucket[3] or "").split("/"))
        return "/".join((f"{bucket[1].lower()}://{bucket[2]}", *names))
    file = _FILE.fullmatch(uri)
    if file is None and "://" in uri:
        raise InvalidRequest(f"{uri[:200]!r} is no URI of an object, a table or a file.")
    path = unquote(file[1]) if file else str(Path(uri).expanduser().absolute())
    return "/".join(("file://", *_fixed(posixpath.normpath(path).split("/"))))


def object_place(bucket: str, name: str) -> str:
    """The place of an object, or of the folder that a prefix of names ends with.

    Raises
    ------
    InvalidRequest
        If the name climbs.
    """
    names = [part for part in name.split("/") if part]
    if {".", ".."} & {bucket, *names}:
        raise InvalidRequest(f"{name[:200]!r} is no name of an object.")
    return "/".join((f"gs://{bucket}", *names))


def _fixed(names: list[str]) -> list[str]:
    """The names before the first that is a pattern."""
    found: list[str] = []
    for name in names:
        if name in (".", ".."):
            raise InvalidRequest(f"{name!r} is no name of a folder.")
        if _WILDCARD.search(name):
            break
        if name:
            found.append(name)
    return found


def covers(place: str, other: str) -> bool:
    """Whether a role on one place is a role on another."""
    if place in (EVERYTHING, other):
        return True
    if other.startswith("bq://"):
        if place.startswith("projects/"):
            return covers(f"bq://{place.removeprefix('projects/')}", other)
        return other.startswith(f"{place}.")
    return other.startswith(f"{place}/")
