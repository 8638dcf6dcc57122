"""Reports of models and jobs as pages that are downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fastapi.responses import HTMLResponse

from rowcast.report import JobSubject, read_subject, render_job_report, render_report
from rowcast.server.routing import ERRORS
from rowcast.server.wire import render_job

if TYPE_CHECKING:
    from rowcast.core.names import Parent
    from rowcast.server.services import JobService
    from rowcast.stores import Model

HEADERS = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""The pages hold names and values that others gave, so they are kept from being more than pages."""
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One HTML file that needs no network",
        "content": {"text/html": {"schema": {"type": "string"}}},
    },
    **ERRORS,
}


def job_page(jobs: JobService, parent: Parent, job: str) -> str:
    """Write a job's report. Raises NotFound."""
    found = jobs.get(parent, job)
    return render_job_report(JobSubject.of(render_job(found), jobs.reports(parent, found.id)))


def model_page(model: Model) -> str:
    """Write a model's report. Raises ModelDamaged."""
    return render_report(
        read_subject(
            Path(model.folder),
            model.digest,
            id_=model.id,
            version=model.version_id,
            created=model.created,
        )
    )


def download(page: str, name: str) -> HTMLResponse:
    """Answer with a page that is to be saved under a name."""
    named = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    return HTMLResponse(page, headers={**HEADERS, **named})
