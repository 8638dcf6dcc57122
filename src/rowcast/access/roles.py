"""Permissions, and the roles that hold them; the names are Google's."""

from __future__ import annotations

import re
from functools import cache

from rowcast.errors import InvalidRequest

READ_OBJECTS = "storage.objects.get"
WRITE_OBJECTS = "storage.objects.create"
READ_TABLES = "bigquery.tables.getData"
WRITE_TABLES = "bigquery.tables.create"

ROLES: dict[str, tuple[str, tuple[str, ...]]] = {
    "roles/aiplatform.viewer": (
        "see jobs, models, datasets, trainings and operations",
        (r"aiplatform\.\w+\.(get|list)",),
    ),
    "roles/aiplatform.user": (
        "see, create, change, cancel and delete all of these",
        (r"aiplatform\.\w+\.(get|list|create|upload|update|cancel|delete)",),
    ),
    "roles/aiplatform.admin": ("all of aiplatform.*", (r"aiplatform\..*",)),
    "roles/storage.objectViewer": (
        "read and list objects",
        (r"storage\.objects\.(get|list)", r"storage\.buckets\.(get|list)"),
    ),
    "roles/storage.objectCreator": ("write new objects", (r"storage\.objects\.create",)),
    "roles/storage.objectAdmin": (
        "read, write, replace and delete objects",
        (r"storage\.objects\..*", r"storage\.buckets\.(get|list)"),
    ),
    "roles/storage.admin": ("all of storage.*, such as making buckets", (r"storage\..*",)),
    "roles/bigquery.dataViewer": (
        "read tables and views",
        (r"bigquery\.(tables\.(get|getData|list)|datasets\.get)",),
    ),
    "roles/bigquery.dataEditor": (
        "read, make, fill and delete tables",
        (
            r"bigquery\.tables\.(get|getData|list|create|update|updateData|delete)",
            r"bigquery\.datasets\.(get|create)",
        ),
    ),
    "roles/bigquery.jobUser": ("run queries and loads", (r"bigquery\.jobs\.(create|get|list)",)),
    "roles/owner": ("everything", (r".*",)),
}
"""Role: what it is for, and patterns of the permissions that it holds."""


def check_role(role: str) -> str:
    """Return a role's name if there is one of this name.

    Raises
    ------
    InvalidRequest
        Listing the roles there are.
    """
    if role not in ROLES:
        raise InvalidRequest(f"There is no role {role[:100]!r}; there are {', '.join(ROLES)}.")
    return role


@cache
def holds(role: str, permission: str) -> bool:
    """Whether a role holds a permission; an unknown role holds none."""
    _, patterns = ROLES.get(role, ("", ()))
    return any(re.fullmatch(pattern, permission) for pattern in patterns)
