"""Jobs that read or write warehouse tables: what is done where the warehouse is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowcast.core.tables import (
    DatasetName,
    TableName,
    created_dataset,
    moment_of,
    parse_destination,
)
from rowcast.errors import FailedPrecondition, NotFound
from rowcast.sinks import OutputTables
from rowcast.sources.table import Spooling, spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.core.job import Job
    from rowcast.core.plan import InputObject
    from rowcast.sources import Limits, SourceOptions
    from rowcast.storage.objects import Objects
    from rowcast.warehouse import Warehouse


@dataclass(frozen=True)
class Tables:
    """The warehouse, and the folder in which rows wait on their way out of it and into it."""

    warehouse: Warehouse
    objects: Objects
    """Reaches that folder too, which no request can name."""
    folder: str

    def place(self, name: str) -> str:
        """A folder for one job or one check; ends with a slash."""
        return f"{self.folder.rstrip('/')}/{name}/"

    def clear(self, name: str, part: str = "") -> None:
        """Remove a job's folder, or a part of it."""
        self.objects.delete_folder(self.place(name) + part)

    def input(
        self,
        uri: str,
        options: SourceOptions,
        *,
        part_bytes: int,
        limits: Limits,
        stop: Callable[[], bool],
    ) -> InputObject:
        """Lay out the rows of a table for replicas, into ``options.spool_uri``.

        Raises
        ------
        NotFound, FailedPrecondition
            If there is no such table, or no such dataset.
        """
        name = TableName.parse(uri)
        facts = self.warehouse.table(name)
        spooling = Spooling(options.spool_uri, part_bytes, limits, stop)
        with self.warehouse.scan(name) as reader:
            return spool(uri, reader, options, spooling, facts.sql_types)

    def sample(
        self, uri: str, options: SourceOptions, *, rows: int, limits: Limits
    ) -> tuple[InputObject, int]:
        """Lay out rows from the start, the middle and the end; and count the whole table's."""
        name = TableName.parse(uri)
        facts = self.warehouse.table(name)
        with self.warehouse.scan(name) as reader:
            counted = facts.rows if facts.rows is not None else sum(b.num_rows for b in reader)
        third = max(1, rows // 3)
        starts = {0, max(0, (counted - third) // 2), max(0, counted - third)}
        ranges: list[tuple[int, int]] = []
        for start in sorted(starts):
            first = max(start, ranges[-1][1] if ranges else 0)
            if start + third > first:
                ranges.append((first, start + third))
        spooling = Spooling(options.spool_uri, 1 << 62, limits)
        with self.warehouse.scan(name, ranges) as reader:
            return spool(uri, reader, options, spooling, facts.sql_types), counted

    def name_output(self, job: Job) -> tuple[DatasetName, str]:
        """Choose where a job's predictions go: the dataset, and the table in it.

        Another job's table may have the name already, if both were created in one millisecond.
        """
        project, dataset = parse_destination(job.spec.output.tables)
        moment = moment_of(job.created)
        if dataset is None:
            dataset = created_dataset(project, job.model.display_name, moment)
        taken = {
            facts.name.table.lower()
            for facts in (
                self.warehouse.tables(dataset) if self.warehouse.has_dataset(dataset) else ()
            )
        }
        names = {f"predictions_{moment}", f"errors_{moment}"}
        if any(name.lower() in taken for name in names):
            moment = f"{moment}_{job.created.microsecond:06d}"
        return dataset, f"predictions_{moment}"

    def output(self, job: Job) -> OutputTables | None:
        """The tables that a running job is to make; None if it writes objects."""
        if job.output_dataset is None or job.output_table is None:
            return None
        _, dataset = parse_destination(job.output_dataset)
        if dataset is None:
            raise FailedPrecondition(f"{job.output_dataset} is not a dataset.")
        _, asked = parse_destination(job.spec.output.tables)
        moment = job.output_table.removeprefix("predictions_")
        return OutputTables(
            TableName(dataset.project, dataset.dataset, job.output_table),
            TableName(dataset.project, dataset.dataset, f"errors_{moment}"),
            f"Written by {job.name}.",
            create_dataset=asked is None,
        )

    def need_destination(self, uri: str) -> None:
        """See that a job's tables can be made there. Raises FailedPrecondition."""
        project, dataset = parse_destination(uri)
        if dataset is not None and not self.warehouse.has_dataset(dataset):
            there = ", ".join(one.dataset for one in self.warehouse.datasets(project)[:20])
            raise FailedPrecondition(
                f"Dataset {dataset} does not exist; project {project} has "
                f"{there or 'no datasets'}. Make it, or name the project alone."
            )
        if dataset is None and project not in self.warehouse.projects():
            known = ", ".join(self.warehouse.projects()) or "no project yet"
            raise FailedPrecondition(
                f"Project {project!r} is not in the warehouse, which has {known}. Make a dataset "
                "in it first."
            )


def failed_rows_table(job: Job) -> str:
    """The table of the rows that a job could not score. Raises NotFound."""
    if job.output_dataset is None or job.output_table is None:
        raise NotFound(f"{job.name} has written no tables.")
    return f"{job.output_dataset}.errors_{job.output_table.removeprefix('predictions_')}"
