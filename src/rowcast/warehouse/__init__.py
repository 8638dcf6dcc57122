"""Tables behind ``bq://``: the seam, and what keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from rowcast.core.tables import DatasetName, TableName


@dataclass(frozen=True)
class TableFacts:
    """What is known of a table or view without reading it."""

    name: TableName
    kind: str
    """TABLE or VIEW."""
    schema: pa.Schema
    rows: int | None
    """None for a view."""
    sql_types: tuple[str, ...]
    """Each column's type in the warehouse's own words."""
    description: str = ""
    query: str = ""
    """What a view shows, in the warehouse's own dialect."""


@dataclass(frozen=True)
class NewTable:
    """A table to be made, or to be put in the place of one."""

    name: TableName
    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]
    """Rows, read once, in order."""
    description: str = ""
    sql_types: dict[str, str] = field(default_factory=dict)
    """Columns that are to have a type which Arrow cannot say."""


class Warehouse(Protocol):
    """Datasets of projects, and the tables in them. Safe from any thread.

    One process owns the tables; replicas never see them, but get rows and give rows as Arrow.
    """

    def projects(self) -> list[str]:
        """Projects that have a dataset, or had one."""
        ...

    def datasets(self, project: str) -> list[DatasetName]:
        """Sorted; none if there is no such project."""
        ...

    def has_dataset(self, name: DatasetName) -> bool:
        """Whether it is there."""
        ...

    def create_dataset(self, name: DatasetName) -> None:
        """Make a dataset, and its project if need be. Raises AlreadyExists."""
        ...

    def delete_dataset(self, name: DatasetName, *, with_tables: bool = False) -> None:
        """Remove a dataset.

        Raises NotFound; FailedPrecondition if it has tables that are not to go with it.
        """
        ...

    def tables(self, name: DatasetName) -> list[TableFacts]:
        """Sorted by name. Raises NotFound if there is no such dataset."""
        ...

    def table(self, name: TableName) -> TableFacts:
        """Raises NotFound; FailedPrecondition if its dataset is not there."""
        ...

    def delete_table(self, name: TableName) -> None:
        """Remove a table or view. Raises NotFound."""
        ...

    def scan(
        self, name: TableName, ranges: Sequence[tuple[int, int]] = ()
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Read a table or view as it is at one moment, in the order of its rows.

        ``ranges`` of rows, half-open and ascending, choose which; none means all.
        """
        ...

    def publish(
        self,
        tables: Sequence[NewTable],
        *,
        create_dataset: bool = False,
        replace: bool = False,
        append: bool = False,
    ) -> list[int]:
        """Make tables of one project, all at once or not at all; the rows of each.

        Parameters
        ----------
        tables
            Of one project.
        create_dataset
            Make datasets that are not there, in the same moment.
        replace
            Put them in the place of tables that are there. Otherwise only one that has the very
            description of the new one is replaced: it is an earlier try at the same.
        append
            Add the rows to tables that are there.

        Raises
        ------
        AlreadyExists
            If a table is there that is not to be replaced.
        FailedPrecondition
            If a dataset is not there.
        """
        ...

    def query(
        self,
        text: str,
        project: str,
        dataset: str | None = None,
        *,
        write: bool = False,
        parameters: dict[str, Any] | list[Any] | None = None,
        timeout_s: float | None = None,
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Run one statement in BigQuery's dialect and read its rows.

        A change of tables, which is refused unless ``write`` is true, has one row: how many rows
        it changed, in ``changed``.

        Raises
        ------
        InvalidRequest, PermissionDenied, Unimplemented
            If it cannot be read, reaches for what it must not, or says what is not offered.
        ResourceExhausted
            If it takes longer than ``timeout_s``, or more memory than there is.
        """
        ...

    def close(self) -> None:
        """Let go of the tables."""
        ...
