"""The one place where names and texts become SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.core.tables import TableName
from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    from rowcast.core.tables import DatasetName


def quoted(name: str) -> str:
    """Write a name as an identifier, whatever is in it. Raises InvalidRequest if it is empty."""
    if not name or "\0" in name:
        raise InvalidRequest(f"{name[:100]!r} is no name: it is empty or holds a zero byte.")
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def path(name: TableName | DatasetName) -> str:
    """Write a table's or a dataset's full name."""
    parts = [name.project, name.dataset]
    if isinstance(name, TableName):
        parts.append(name.table)
    return ".".join(map(quoted, parts))


def literal(text: str) -> str:
    """Write a text as a value, for the statements that take no parameters."""
    if "\0" in text:
        raise InvalidRequest(f"{text[:100]!r} holds a zero byte.")
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
