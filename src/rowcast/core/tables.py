"""Names of warehouse tables: ``bq://project.dataset.table``, and what a job calls its own."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from rowcast.core.names import MAX_TABLE_URI
from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

SCHEME = "bq://"
MAX_NAME = 1024
RESERVED_DATASETS = frozenset({"information_schema", "pg_catalog", "main", "temp", "system"})
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_DATASET = re.compile(r"[A-Za-z0-9_]{1,1024}")
_TABLE_CATEGORIES = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No"})
_TABLE_MARKS = frozenset({"Pc", "Pd", "Zs"})
_UNSAFE = re.compile(r"[^A-Za-z0-9_]")


@dataclass(frozen=True, order=True)
class DatasetName:
    """A dataset of a project."""

    project: str
    dataset: str

    def __post_init__(self) -> None:
        if not _PROJECT.fullmatch(self.project):
            raise InvalidRequest(
                f"{self.project[:100]!r} is not a project: it has 1 to 100 letters, digits, '-' "
                "and '_'."
            )
        if not _DATASET.fullmatch(self.dataset):
            raise InvalidRequest(
                f"{self.dataset[:100]!r} is not a dataset: it has 1 to {MAX_NAME} letters, digits "
                "and '_'."
            )
        if self.dataset.lower() in RESERVED_DATASETS:
            raise InvalidRequest(f"{self.dataset!r} is reserved and no name for a dataset.")

    @property
    def uri(self) -> str:
        """``bq://project.dataset``."""
        return f"{SCHEME}{self.project}.{self.dataset}"

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}"


@dataclass(frozen=True, order=True)
class TableName:
    """A table or view of a dataset."""

    project: str
    dataset: str
    table: str

    def __post_init__(self) -> None:
        self.within  # noqa: B018 - checks project and dataset
        if not is_table_name(self.table):
            raise InvalidRequest(
                f"{self.table[:100]!r} is not a table: it has letters, marks, digits, '_', '-' and "
                f"blanks, at most {MAX_NAME} bytes."
            )

    @property
    def within(self) -> DatasetName:
        """The dataset."""
        return DatasetName(self.project, self.dataset)

    @property
    def uri(self) -> str:
        """``bq://project.dataset.table``."""
        return f"{SCHEME}{self}"

    def __str__(self) -> str:
        return f"{self.project}.{self.dataset}.{self.table}"

    @classmethod
    def parse(cls, uri: str) -> Self:
        """Read ``bq://project.dataset.table``. Raises InvalidRequest."""
        parts = _parts(uri)
        if len(parts) != 3:
            raise InvalidRequest(f"{uri[:200]!r} is not a table; write bq://project.dataset.table.")
        return cls(*parts)


def is_table_name(text: str) -> bool:
    """Whether a table may have this name."""
    return 0 < len(text.encode()) <= MAX_NAME and all(
        unicodedata.category(c) in _TABLE_CATEGORIES | _TABLE_MARKS for c in text
    )


def parse_destination(uri: str) -> tuple[str, DatasetName | None]:
    """Read ``bq://project`` or ``bq://project.dataset``: the project, and the dataset if named.

    Raises
    ------
    InvalidRequest
        If it is neither.
    """
    parts = _parts(uri)
    if len(parts) == 1:
        return DatasetName(parts[0], "x").project, None
    if len(parts) == 2:
        name = DatasetName(*parts)
        return name.project, name
    raise InvalidRequest(
        f"{uri[:200]!r} is not a place; write bq://project or bq://project.dataset."
    )


def is_table_uri(uri: str) -> bool:
    """Whether a URI is one of the warehouse's."""
    return uri.lower().startswith(SCHEME)


def moment_of(created: datetime) -> str:
    """Write a job's time of creation as names of tables hold it: ``2026_01_31T08_15_30_123Z``."""
    return f"{created:%Y_%m_%dT%H_%M_%S}_{created.microsecond // 1000:03d}Z"


def created_dataset(project: str, model_display_name: str, moment: str) -> DatasetName:
    """Name the dataset that is made for a job which names a project alone."""
    safe = _UNSAFE.sub("_", model_display_name)
    return DatasetName(project, f"prediction_{safe}_{moment}")


def check_column_names(names: Sequence[str]) -> None:
    """See that a table can have these columns.

    Raises
    ------
    InvalidRequest
        If one is empty, or two differ in case alone: columns of tables have no case.
    """
    if "" in names:
        raise InvalidRequest("A column has no name; columns of warehouse tables need one.")
    times = Counter(name.lower() for name in names)
    twice = [name for name in names if times[name.lower()] > 1]
    if twice:
        raise InvalidRequest(
            f"The columns {', '.join(map(repr, twice[:20]))} of a warehouse table would have one "
            "name: case makes no difference there. Rename all but one in the input."
        )


def _parts(uri: str) -> list[str]:
    if not is_table_uri(uri) or len(uri) > MAX_TABLE_URI:
        raise InvalidRequest(f"{uri[:200]!r} is not in the warehouse; its names begin with bq://.")
    return uri[len(SCHEME) :].split(".")
