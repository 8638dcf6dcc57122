"""Tables, queries and loads by the paths and answers of BigQuery's API, v2: what its clients use.

The warehouse is behind it. Jobs are run at once, so the first answer is the last; they and their
answers are kept for a while, and end with the server.
"""

# Annotations are read at run time here, so they are not strings.

import base64
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import pyarrow as pa
from anyio import to_thread
from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.responses import JSONResponse

from rowcast.access.guard import require_data
from rowcast.core.tables import DatasetName, TableName
from rowcast.errors import FailedPrecondition, InvalidRequest, NotFound, RowcastError
from rowcast.server.bigquery_jobs import TableJob, TableJobs, destination_of, show_job
from rowcast.server.bigquery_wire import fields_of, rows_of, schema_from, show_dataset, show_table
from rowcast.server.body import parse_object, read_body
from rowcast.server.routing import By, Wired
from rowcast.server.status import HTTP_CODES, respond
from rowcast.server.transfers import Arrived, Transfers
from rowcast.server.warehouse import permit
from rowcast.warehouse import NewTable, Warehouse

BASE = "/bigquery/v2/projects"
PROJECT = BASE + "/{project}"
DATASETS = PROJECT + "/datasets"
DATASET = DATASETS + "/{dataset}"
TABLES = DATASET + "/tables"
TABLE = TABLES + "/{table}"
JOBS = PROJECT + "/jobs"
QUERIES = PROJECT + "/queries"
UPLOAD = "/upload" + JOBS
PAGE_ROWS = 10_000
REASONS = {
    "NOT_FOUND": "notFound",
    "ALREADY_EXISTS": "duplicate",
    "PERMISSION_DENIED": "accessDenied",
    "RESOURCE_EXHAUSTED": "resourcesExceeded",
    "UNIMPLEMENTED": "notImplemented",
    "INTERNAL": "internalError",
}


def reason_of(error: RowcastError) -> str:
    """Name an error as BigQuery does."""
    return REASONS.get(error.status, "invalid")


class DoorRoute(APIRoute):
    """Answers errors with ``errors[].reason``, by which clients of BigQuery tell them apart."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See ``APIRoute``."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except RowcastError as error:
                if HTTP_CODES[error.status] == 500:
                    raise
                said = {"message": str(error), "reason": reason_of(error), "domain": "global"}
                body = _json_of(respond(error))
                body["error"]["errors"] = [said]
                return JSONResponse(body, body["error"]["code"])

        return answer


router = APIRouter(include_in_schema=False, route_class=DoorRoute)


async def door(request: Request) -> "Door":
    """Find what the application was made with."""
    found = request.app.state.bigquery
    if not isinstance(found, Door):
        raise TypeError(found)
    return found


class Door:
    """What the routes share: the warehouse, its jobs, and uploads on their way."""

    def __init__(self, warehouse: Warehouse, jobs: TableJobs, transfers: Transfers) -> None:
        self.warehouse = warehouse
        self.jobs = jobs
        self.transfers = transfers


Opened = Annotated[Door, Depends(door)]


@router.get(BASE, operation_id="bigquery.projects.list")
def list_projects(opened: Opened) -> dict[str, Any]:
    """List the projects that have tables."""
    names = opened.warehouse.projects()
    return {
        "kind": "bigquery#projectList",
        "totalItems": len(names),
        "projects": [
            {"id": n, "friendlyName": n, "projectReference": {"projectId": n}} for n in names
        ],
    }


# Datasets


@router.get(DATASETS, operation_id="bigquery.datasets.list")
def list_datasets(project: str, opened: Opened) -> dict[str, Any]:
    """List the datasets of a project."""
    found = [show_dataset(name) for name in opened.warehouse.datasets(project)]
    return {"kind": "bigquery#datasetList", "datasets": found}


@router.post(DATASETS, operation_id="bigquery.datasets.create")
async def insert_dataset(
    project: str, request: Request, wired: Wired, opened: Opened
) -> dict[str, Any]:
    """Make a dataset."""
    body = await _body(request, wired)
    named = (body.get("datasetReference") or {}).get("datasetId")
    name = DatasetName(project, str(named or ""))
    await to_thread.run_sync(opened.warehouse.create_dataset, name)
    return show_dataset(name)


@router.get(DATASET, operation_id="bigquery.datasets.get")
def get_dataset(project: str, dataset: str, opened: Opened) -> dict[str, Any]:
    """Show a dataset."""
    name = DatasetName(project, dataset)
    if not opened.warehouse.has_dataset(name):
        raise NotFound(f"Not found: Dataset {project}:{dataset}")
    return show_dataset(name)


@router.delete(DATASET, operation_id="bigquery.datasets.delete")
def delete_dataset(project: str, dataset: str, request: Request, opened: Opened) -> Response:
    """Delete a dataset, with its tables only if told."""
    with_tables = request.query_params.get("deleteContents", "").lower() == "true"
    opened.warehouse.delete_dataset(DatasetName(project, dataset), with_tables=with_tables)
    return Response(status_code=204)


# Tables


@router.get(TABLES, operation_id="bigquery.tables.list")
def list_tables(project: str, dataset: str, opened: Opened) -> dict[str, Any]:
    """List the tables and views of a dataset."""
    found = opened.warehouse.tables(DatasetName(project, dataset))
    return {
        "kind": "bigquery#tableList",
        "tables": [show_table(facts, brief=True) for facts in found],
        "totalItems": len(found),
    }


@router.post(TABLES, operation_id="bigquery.tables.create")
async def insert_table(
    project: str, dataset: str, request: Request, wired: Wired, opened: Opened, by: By
) -> dict[str, Any]:
    """Make an empty table of the columns that are described, or a view."""
    body = await _body(request, wired)
    named = (body.get("tableReference") or {}).get("tableId")
    name = TableName(project, dataset, str(named or ""))
    view = (body.get("view") or {}).get("query")

    def make() -> dict[str, Any]:
        if view is not None:
            text = f"CREATE VIEW `{name}` AS {view}"
            permit(wired.guard, by, text, project, None)
            with wired.tables.query(text, project=project, write=True) as reader:
                reader.read_all()
        else:
            schema = schema_from((body.get("schema") or {}).get("fields") or [])
            if not len(schema):
                raise InvalidRequest("schema.fields: is required")
            if not opened.warehouse.has_dataset(name.within):
                raise NotFound(f"Not found: Dataset {project}:{dataset}")
            description = str(body.get("description") or "")
            opened.warehouse.publish([NewTable(name, schema, [], description)])
        return show_table(opened.warehouse.table(name))

    return await to_thread.run_sync(make)


@router.get(TABLE, operation_id="bigquery.tables.get")
def get_table(project: str, dataset: str, table: str, opened: Opened) -> dict[str, Any]:
    """Show a table or view with its columns."""
    return show_table(_table(opened, TableName(project, dataset, table)))


@router.delete(TABLE, operation_id="bigquery.tables.delete")
def delete_table(project: str, dataset: str, table: str, opened: Opened) -> Response:
    """Delete a table or view."""
    name = TableName(project, dataset, table)
    _table(opened, name)
    opened.warehouse.delete_table(name)
    return Response(status_code=204)


@router.get(TABLE + "/data", operation_id="bigquery.tables.getData")
def list_rows(
    project: str, dataset: str, table: str, request: Request, opened: Opened
) -> dict[str, Any]:
    """Show rows of a table."""
    facts = _table(opened, TableName(project, dataset, table))
    asked = request.query_params
    start, count = _window(request)
    wanted = [name.strip() for name in asked.get("selectedFields", "").split(",") if name.strip()]
    with opened.warehouse.scan(facts.name, [(start, start + count)]) as reader:
        table_ = reader.read_all()
    if wanted:
        table_ = table_.select([n for n in table_.schema.names if n.partition(".")[0] in wanted])
    total = facts.rows if facts.rows is not None else start + table_.num_rows
    rows = _rows(table_.to_batches(), request)
    return {
        "kind": "bigquery#tableDataList",
        "totalRows": str(total),
        **({"rows": rows} if rows else {}),
        **_next(start + len(rows), total),
    }


@router.post(TABLE + "/insertAll", operation_id="bigquery.tables.updateData")
async def insert_all(
    project: str, dataset: str, table: str, request: Request, wired: Wired, opened: Opened
) -> dict[str, Any]:
    """Add rows to a table, all or none."""
    body = await _body(request, wired)
    name = TableName(project, dataset, table)

    def insert() -> dict[str, Any]:
        facts = _table(opened, name)
        rows = [row.get("json") or {} for row in body.get("rows") or []]
        known = set(facts.schema.names)
        errors = [
            {
                "index": i,
                "errors": [{"reason": "invalid", "message": f"no such field: {extra[0]}."}],
            }
            for i, row in enumerate(rows)
            if (extra := sorted(set(row) - known))
        ]
        if errors:
            return {"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors}
        try:
            batch = pa.RecordBatch.from_pylist(rows, schema=facts.schema)
        except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
            raise InvalidRequest(f"rows: {error}") from error
        opened.warehouse.publish([NewTable(name, facts.schema, [batch])], append=True)
        return {"kind": "bigquery#tableDataInsertAllResponse"}

    return await to_thread.run_sync(insert)


# Jobs


@router.post(QUERIES, operation_id="bigquery.jobs.query")
async def query(
    project: str, request: Request, wired: Wired, opened: Opened, by: By
) -> dict[str, Any]:
    """Run a query and show its first rows."""
    body = await _body(request, wired)
    configuration = {"query": body, "dryRun": body.get("dryRun") is True}
    job = await _run(project, configuration, None, wired, opened, by)
    if job.error is not None:
        raise job.error
    most = body.get("maxResults")
    count = min(int(most), PAGE_ROWS) if most is not None else PAGE_ROWS
    return _results(job, request, 0, count, options=body.get("formatOptions") or {})


@router.get(QUERIES + "/{job}", operation_id="bigquery.jobs.getQueryResults")
def get_results(project: str, job: str, request: Request, opened: Opened) -> dict[str, Any]:
    """Show rows of a query that was run."""
    found = opened.jobs.get(project, job)
    if found.error is not None:
        raise found.error
    start, count = _window(request)
    return _results(found, request, start, count)


@router.post(JOBS, operation_id="bigquery.jobs.create")
async def insert_job(
    project: str, request: Request, wired: Wired, opened: Opened, by: By
) -> dict[str, Any]:
    """Run a query, or a load of objects."""
    body = await _body(request, wired)
    return show_job(await _insert(project, body, None, wired, opened, by), reason_of)


@router.get(JOBS, operation_id="bigquery.jobs.list")
def list_jobs(project: str, opened: Opened) -> dict[str, Any]:
    """List the newest jobs."""
    found = [show_job(job, reason_of) for job in opened.jobs.list(project)]
    shown = [{**job, "state": "DONE"} for job in found]
    return {"kind": "bigquery#jobList", "jobs": shown}


@router.get(JOBS + "/{job}", operation_id="bigquery.jobs.get")
def get_job(project: str, job: str, opened: Opened) -> dict[str, Any]:
    """Show a job."""
    return show_job(opened.jobs.get(project, job), reason_of)


@router.post(JOBS + "/{job}/cancel", operation_id="bigquery.jobs.cancel")
def cancel_job(project: str, job: str, opened: Opened) -> dict[str, Any]:
    """Answer with a job, which has ended."""
    return {
        "kind": "bigquery#jobCancelResponse",
        "job": show_job(opened.jobs.get(project, job), reason_of),
    }


@router.post(UPLOAD, operation_id="bigquery.jobs.upload")
async def upload(project: str, request: Request, wired: Wired, opened: Opened, by: By) -> Response:
    """Load data that comes with the request, or in chunks after it."""
    if request.query_params.get("uploadType") == "resumable":
        id_ = await opened.transfers.begin(request)
        return Response(headers={"Location": str(request.url.include_query_params(upload_id=id_))})
    return await _load_arrived(
        project, await opened.transfers.receive_parts(request), wired, opened, by
    )


@router.put(UPLOAD, operation_id="bigquery.jobs.upload")
async def upload_chunk(
    project: str, request: Request, wired: Wired, opened: Opened, by: By
) -> Response:
    """Take a chunk of a load; the last one begins it."""
    arrived = await opened.transfers.proceed(request, request.query_params.get("upload_id", ""))
    if isinstance(arrived, Response):
        return arrived
    return await _load_arrived(project, arrived, wired, opened, by)


async def _load_arrived(
    project: str, arrived: Arrived, wired: Wired, opened: Opened, by: By
) -> Response:
    uri = str(arrived.path)
    try:
        if arrived.start or arrived.stop != arrived.path.stat().st_size:
            await to_thread.run_sync(_cut, arrived)
        job = await _insert(project, arrived.metadata, uri, wired, opened, by)
    finally:
        arrived.path.unlink(missing_ok=True)
    return JSONResponse(show_job(job, reason_of))


def _cut(arrived: Arrived) -> None:
    """Leave nothing but the data in an upload's file."""
    with arrived.path.open("r+b") as file:
        at, size = 0, arrived.stop - arrived.start
        while at < size:
            file.seek(arrived.start + at)
            piece = file.read(min(1 << 20, size - at))
            file.seek(at)
            file.write(piece)
            at += len(piece)
        file.truncate(size)


async def _insert(
    project: str, body: dict[str, Any], data: str | None, wired: Wired, opened: Opened, by: By
) -> TableJob:
    configuration = body.get("configuration")
    if not isinstance(configuration, dict):
        raise InvalidRequest("configuration: is required")
    id_ = (body.get("jobReference") or {}).get("jobId")
    job = await _run(project, configuration, id_, wired, opened, by, data)
    if job.error is not None and isinstance(job.error, InvalidRequest) and "query" in configuration:
        raise job.error
    return job


async def _run(
    project: str,
    configuration: dict[str, Any],
    id_: str | None,
    wired: Wired,
    opened: Opened,
    by: By,
    data: str | None = None,
) -> TableJob:
    def check(asked: dict[str, Any]) -> None:
        if "load" in asked:
            table = destination_of(asked["load"])
            reads = asked["load"].get("sourceUris") or []
            require_data(wired.guard, by, reads=reads, writes=[table.uri])
        elif "query" in asked:
            text = str(asked["query"].get("query", ""))
            dataset = (asked["query"].get("defaultDataset") or {}).get("datasetId")
            permit(wired.guard, by, text, project, dataset)

    return await to_thread.run_sync(
        lambda: opened.jobs.run(project, configuration, id_, data=data, permit=check)
    )


def _results(
    job: TableJob,
    request: Request,
    start: int,
    count: int,
    options: dict[str, Any] | None = None,
) -> dict[str, Any]:
    ints = bool((options or {}).get("useInt64Timestamp"))
    rows = _rows(job.batches(start, count), request, ints=ints) if count else []
    return {
        "kind": "bigquery#queryResponse",
        "jobReference": {"projectId": job.project, "jobId": job.id, "location": "US"},
        "jobComplete": True,
        "schema": {"fields": fields_of(job.schema if job.schema is not None else pa.schema([]))},
        "totalRows": str(job.rows),
        "cacheHit": False,
        "totalBytesProcessed": "0",
        **{k: v for k, v in job.statistics.items() if k == "numDmlAffectedRows"},
        **({"rows": rows} if rows else {}),
        **(_next(start + len(rows), job.rows) if count else {}),
    }


def _rows(batches: Any, request: Request, *, ints: bool = False) -> list[dict[str, Any]]:
    asked = request.query_params.get("formatOptions.useInt64Timestamp", "").lower() == "true"
    return [row for batch in batches for row in rows_of(batch, int_timestamps=asked or ints)]


def _window(request: Request) -> tuple[int, int]:
    """The first row that is asked for, and how many."""
    asked = request.query_params
    try:
        start = int(base64.urlsafe_b64decode(asked["pageToken"])) if asked.get("pageToken") else 0
        start = start or int(asked.get("startIndex") or 0)
        count = min(int(asked.get("maxResults") or PAGE_ROWS), PAGE_ROWS)
        count = 0 if asked.get("maxResults") == "0" else count
    except ValueError as error:
        raise InvalidRequest("pageToken, startIndex or maxResults: is no such value") from error
    return max(0, start), max(0, count)


def _next(at: int, total: int) -> dict[str, str]:
    if at >= total:
        return {}
    return {"pageToken": base64.urlsafe_b64encode(str(at).encode()).decode()}


def _table(opened: Opened, name: TableName) -> Any:
    try:
        return opened.warehouse.table(name)
    except (NotFound, FailedPrecondition) as error:
        where = f"{name.project}:{name.dataset}.{name.table}"
        raise NotFound(f"Not found: Table {where}") from error


async def _body(request: Request, wired: Wired) -> dict[str, Any]:
    return parse_object(await read_body(request, wired.options.max_request_bytes))


def _json_of(response: JSONResponse) -> dict[str, Any]:
    return parse_object(bytes(response.body))
