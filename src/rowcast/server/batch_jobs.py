"""``batchPredictionJobs``: create, get, list, cancel, delete."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rowcast.access.guard import require_data
from rowcast.core.job import Job
from rowcast.server import messages, operations, wire
from rowcast.server.filters import JOB_FIELDS, parse_filter
from rowcast.server.paging import Position, parse_mask, render_page
from rowcast.server.reports import ANSWERS, download, job_page
from rowcast.server.routing import (
    MASK_PARAMETER,
    PAGE_PARAMETERS,
    PARENT,
    At,
    Body,
    By,
    Listing,
    Wired,
    answers,
    parameters,
    takes,
)
from rowcast.server.submitting import submit

COLLECTION = PARENT + "/batchPredictionJobs"
ONE = COLLECTION + "/{job}"

router = APIRouter(tags=["batchPredictionJobs"])


@router.post(
    COLLECTION,
    operation_id="batchPredictionJobs.create",
    response_model=None,
    responses=answers(messages.BatchPredictionJob),
    openapi_extra={
        **parameters(requestId="Repeating a request with the same id answers its job."),
        **takes(messages.BatchPredictionJob),
    },
)
def create(at: At, content: Body, request: Request, wired: Wired, by: By) -> dict[str, Any]:
    """Start a job, or only check it if ``rowcast.validateOnly`` is set."""
    query = request.query_params
    asked = wire.parse_job(content, query.get("requestId") or query.get("request_id"))
    return submit(wired.jobs, at, asked, by)


@router.get(
    COLLECTION,
    operation_id="batchPredictionJobs.list",
    response_model=None,
    responses=answers(messages.ListBatchPredictionJobsResponse),
    openapi_extra=parameters(
        **PAGE_PARAMETERS,
        **MASK_PARAMETER,
        filter="Comparisons of display_name, model_display_name, state, create_time, labels.KEY, "
        "joined by AND, OR (binds tighter than AND), NOT and parentheses.",
    ),
)
def list_(at: At, query: Listing, wired: Wired) -> dict[str, Any]:
    """List jobs, newest first."""
    where = parse_filter(query.filter, JOB_FIELDS)
    after = query.after()
    parse_mask(query.read_mask, messages.BatchPredictionJob)
    found = wired.jobs.list(at, where=where, limit=query.page_size + 1, after=after)
    return render_page(
        query,
        "batchPredictionJobs",
        found,
        wire.render_job,
        _position,
        messages.BatchPredictionJob,
    )


@router.get(
    ONE + ":report",
    operation_id="batchPredictionJobs.report",
    response_model=None,
    responses=ANSWERS,
)
def report(at: At, job: str, wired: Wired, by: By) -> HTMLResponse:
    """Download a job's report: failed rows, predictions, what mattered to them, drift.

    Values of rows are in it, so it is for those who may read the results.
    """
    found = wired.jobs.get(at, job)
    table = f"{found.output_dataset}.{found.output_table}" if found.output_table else None
    require_data(wired.guard, by, reads=filter(None, [found.output_directory, table]))
    return download(job_page(wired.jobs, at, job), f"job-{job}-report.html")


@router.get(
    ONE,
    operation_id="batchPredictionJobs.get",
    response_model=None,
    responses=answers(messages.BatchPredictionJob),
)
def get(at: At, job: str, wired: Wired) -> dict[str, Any]:
    """Show a job."""
    return wire.render_job(wired.jobs.get(at, job))


@router.post(
    ONE + ":cancel",
    operation_id="batchPredictionJobs.cancel",
    response_model=None,
    responses=answers(messages.Empty),
)
def cancel(at: At, job: str, wired: Wired) -> dict[str, Any]:
    """Ask a job to stop; it does so after the batches in flight."""
    wired.jobs.cancel(at, job)
    return {}


@router.delete(
    ONE,
    operation_id="batchPredictionJobs.delete",
    response_model=None,
    responses=answers(messages.Operation),
)
def delete(at: At, job: str, wired: Wired) -> dict[str, Any]:
    """Forget a finished job; what it wrote stays."""
    started = wired.clock()
    wired.jobs.delete(at, job)
    return operations.keep_deletion(wired, at, started)


def _position(job: Job) -> Position:
    return job.created, job.id
