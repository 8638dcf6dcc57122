"""Queries and loads in the terms of BigQuery's API: run at once, their answers kept for a while."""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rowcast.core.tables import TableName
from rowcast.errors import AlreadyExists, InvalidRequest, NotFound, RowcastError, Unimplemented
from rowcast.server.bigquery_wire import parameters_of, schema_from
from rowcast.warehouse.dialect import read_statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rowcast.jobs.loading import TableService

Json = dict[str, Any]
KEPT_JOBS = 200
FORMATS = {"CSV": "csv", "NEWLINE_DELIMITED_JSON": "jsonl", "PARQUET": "parquet"}
MODES = {"WRITE_APPEND": "append", "WRITE_TRUNCATE": "replace", "WRITE_EMPTY": "create"}


@dataclass
class TableJob:
    """A query or a load that was run."""

    project: str
    id: str
    configuration: Json
    created: float
    error: RowcastError | None = None
    schema: pa.Schema | None = None
    rows: int = 0
    answer: Path | None = None
    """Arrow file of a query's rows."""
    statistics: Json = field(default_factory=dict)
    ended: float = 0.0

    def batches(self, start: int, count: int) -> Iterator[pa.RecordBatch]:
        """The rows from one on, so many of them."""
        if self.answer is None:
            return
        with pa.memory_map(str(self.answer)) as file:
            opened = pa.ipc.open_file(file)
            at = 0
            for number in range(opened.num_record_batches):
                batch = opened.get_batch(number)
                first, last = max(start - at, 0), min(start + count - at, batch.num_rows)
                if first < last:
                    yield batch.slice(first, last - first)
                at += batch.num_rows
                if at >= start + count:
                    return


class TableJobs:
    """Runs jobs, and keeps the newest of them."""

    def __init__(self, tables: TableService, folder: Path) -> None:
        self._tables = tables
        self._folder = folder
        self._jobs: OrderedDict[tuple[str, str], TableJob] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, project: str, id_: str) -> TableJob:
        """Raises NotFound."""
        with self._lock:
            found = self._jobs.get((project, id_))
        if found is None:
            raise NotFound(f"Not found: Job {project}:{id_}")
        return found

    def list(self, project: str) -> list[TableJob]:
        """Newest first."""
        with self._lock:
            return [job for job in reversed(self._jobs.values()) if job.project == project]

    def run(
        self,
        project: str,
        configuration: Json,
        id_: str | None = None,
        *,
        data: str | None = None,
        permit: Callable[[Json], None] = lambda _: None,
    ) -> TableJob:
        """Run a job to its end; what goes wrong is its error.

        Parameters
        ----------
        data
            URI of a file that came with a load.
        permit
            Called with the configuration; raises what the caller may not do.

        Raises
        ------
        AlreadyExists
            If the id is taken.
        """
        job = TableJob(project, id_ or f"job_{uuid.uuid4().hex}", configuration, time.time())
        with self._lock:
            if (project, job.id) in self._jobs:
                raise AlreadyExists(f"Already Exists: Job {project}:{job.id}")
            self._jobs[project, job.id] = job
            while len(self._jobs) > KEPT_JOBS:
                _, old = self._jobs.popitem(last=False)
                if old.answer is not None:
                    old.answer.unlink(missing_ok=True)
        try:
            permit(configuration)
            if "query" in configuration:
                self._query(job, configuration["query"])
            elif "load" in configuration:
                self._load(job, configuration["load"], data)
            else:
                raise Unimplemented("Jobs here are queries and loads.")
        except RowcastError as error:
            job.error = error
        job.ended = time.time()
        return job

    def _query(self, job: TableJob, asked: Json) -> None:
        if asked.get("useLegacySql") is True:
            raise Unimplemented("Legacy SQL is not offered; set useLegacySql to false.")
        text = asked.get("query")
        if not isinstance(text, str):
            raise InvalidRequest("query: is required")
        dataset = (asked.get("defaultDataset") or {}).get("datasetId")
        statement = read_statement(text, job.project, dataset)
        kind = text.split(maxsplit=1)[0].upper() if text.split() else ""
        job.statistics = {"query": {"statementType": "SELECT" if statement.reads else kind}}
        if job.configuration.get("dryRun"):
            return
        parameters = parameters_of(asked.get("queryParameters") or [])
        with self._tables.query(
            text, project=job.project, dataset=dataset, write=True, parameters=parameters
        ) as reader:
            if statement.reads:
                self._keep(job, reader)
            else:
                changed = reader.read_all()["changed"][0].as_py()
                job.schema = pa.schema([])
                job.statistics["query"]["numDmlAffectedRows"] = str(changed)
                job.statistics["numDmlAffectedRows"] = str(changed)

    def _keep(self, job: TableJob, reader: pa.RecordBatchReader) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._folder / uuid.uuid4().hex
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, reader.schema) as writer:
            for batch in reader:
                writer.write_batch(batch)
                job.rows += batch.num_rows
        job.schema, job.answer = reader.schema, path

    def _load(self, job: TableJob, asked: Json, data: str | None) -> None:
        table = destination_of(asked)
        format_ = FORMATS.get(asked.get("sourceFormat") or "CSV")
        if format_ is None:
            raise InvalidRequest(f"sourceFormat: is one of {', '.join(FORMATS)}")
        mode = MODES.get(asked.get("writeDisposition") or "WRITE_APPEND")
        if mode is None:
            raise InvalidRequest(f"writeDisposition: is one of {', '.join(MODES)}")
        uris = [data] if data is not None else list(asked.get("sourceUris") or [])
        if not uris:
            raise InvalidRequest("sourceUris: is required, or data with the request")
        warehouse = self._tables.tables.warehouse
        if not warehouse.has_dataset(table.within):
            raise NotFound(f"Not found: Dataset {table.project}:{table.dataset}")
        fields = (asked.get("schema") or {}).get("fields")
        job.rows = self._tables.load(
            uris,
            table.uri,
            format_=format_,
            mode=mode,
            types=schema_from(fields) if fields else None,
            arrived=data is not None,
        )
        job.statistics = {"load": {"outputRows": str(job.rows)}}


def destination_of(asked: Json) -> TableName:
    """The table that a load is for. Raises InvalidRequest."""
    named = asked.get("destinationTable") or {}
    return TableName(*(str(named.get(k, "")) for k in ("projectId", "datasetId", "tableId")))


def show_job(job: TableJob, reason: Callable[[RowcastError], str]) -> Json:
    """Show a job as the API does."""
    kind = "QUERY" if "query" in job.configuration else "LOAD"
    shown: Json = {
        "kind": "bigquery#job",
        "id": f"{job.project}:US.{job.id}",
        "jobReference": {"projectId": job.project, "jobId": job.id, "location": "US"},
        "configuration": {**job.configuration, "jobType": kind},
        "status": {"state": "DONE"},
        "statistics": {
            "creationTime": str(round(job.created * 1000)),
            "startTime": str(round(job.created * 1000)),
            "endTime": str(round((job.ended or job.created) * 1000)),
            **job.statistics,
        },
    }
    if kind == "QUERY" and job.answer is not None:
        answer = {"projectId": job.project, "datasetId": "_answers", "tableId": job.id}
        query = {**job.configuration["query"], "destinationTable": answer}
        shown["configuration"] = {**shown["configuration"], "query": query}
    if job.error is not None:
        said = {"reason": reason(job.error), "message": str(job.error)}
        shown["status"] |= {"errorResult": said, "errors": [said]}
    return shown
