"""Resource names, ids, and the names of what a job writes."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from rowcast.errors import InvalidRequest

MANIFEST = "_rowcast_manifest.json"
"""The object of a job's output folder that lists the others; it is written last."""
MAX_TABLE_URI = 2000
TABLE_URI = re.compile(r"bq://[^./]+(?::[^./]+)?\.[^./]+\.[^./]+")
"""``bq://project.dataset.table``."""
DRIFT = "_rowcast_drift.json"
"""The object of a job's output folder that compares its input with the training data."""
SUMMARY = "_rowcast_summary.json"
"""The object of a job's output folder that sums its results up."""
LONGEST_NAME = 200
"""Bytes of a display name in a folder's name: file systems allow 255 for the whole."""
_NOT_IN_URIS = re.compile(r"[/\\#%*?\[\]\x00-\x1f\x7f]")
"""What separates, escapes or is a wildcard in an object's URI."""


def new_id() -> str:
    """Draw a server-assigned id: a positive decimal of at most 19 digits that fits int64."""
    return str(secrets.randbelow((1 << 63) - 10**18) + 10**18)


def rfc3339(moment: datetime) -> str:
    """Format a UTC time as the API does: microseconds and ``Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """Read an API timestamp.

    Raises
    ------
    ValueError
        If ``text`` is not RFC 3339 with a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone; write it as 2026-01-31T08:15:30Z")
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class Parent:
    """A project and a location: where resources live."""

    project: str
    location: str

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/{self.location}"

    def child(self, collection: str, id_: str) -> str:
        """Name a resource below this parent."""
        return f"{self}/{collection}/{id_}"


@dataclass(frozen=True)
class ModelName:
    """A model, and optionally one of its versions by id or alias."""

    parent: Parent
    model: str
    version: str | None = None

    _BARE = re.compile(r"([^/@]+)(?:@([^/@]+))?")
    _FULL = re.compile(r"projects/([^/]+)/locations/([^/]+)/models/" + _BARE.pattern)

    @classmethod
    def parse(cls, text: str, parent: Parent) -> Self:
        """Read a full name, or a bare model id that belongs to ``parent``.

        Raises
        ------
        InvalidRequest
            If ``text`` is neither.
        """
        if full := cls._FULL.fullmatch(text):
            project, location, model, version = full.groups()
            return cls(Parent(project, location), model, version)
        if bare := cls._BARE.fullmatch(text):
            return cls(parent, *bare.groups())
        raise InvalidRequest(
            f"{text!r} is not a model name; write projects/P/locations/L/models/ID, "
            "optionally followed by @VERSION or @ALIAS, or the ID alone."
        )

    def __str__(self) -> str:
        return self.parent.child("models", self.model)


def output_directory_name(model_display_name: str, created: datetime) -> str:
    """Name the folder of a job's results: ``prediction-<model>-<createTime>``."""
    safe = _NOT_IN_URIS.sub("_", model_display_name).encode()[:LONGEST_NAME].decode(errors="ignore")
    return f"prediction-{safe}-{rfc3339(created)}"
