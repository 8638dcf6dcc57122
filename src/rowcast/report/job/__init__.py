"""A job's report: what came of its rows, and why."""

from __future__ import annotations

from rowcast.report.job import drift, explained, results, rows
from rowcast.report.job.subject import JobSubject
from rowcast.report.markup import joined, name
from rowcast.report.page import page

LINKS = {
    "rows": "Rows",
    "errors": "Failed rows",
    "results": "Predictions",
    "intervals": "Intervals",
    "attributions": "What mattered",
    "dependence": "Value by value",
    "drift": "Drift",
    "request": "Request",
}


def render_job_report(subject: JobSubject) -> str:
    """Write a job's report as one HTML page."""
    return page(
        f"{subject.title}: job report",
        rows.head(subject),
        LINKS,
        [
            rows.counts(subject),
            rows.errors(subject),
            results.predictions(subject),
            results.intervals(subject),
            explained.strongest(subject),
            explained.dependence(subject),
            drift.compared(subject),
            rows.request(subject),
        ],
        joined("for job ", name(subject.id)),
    )


__all__ = ["JobSubject", "render_job_report"]
