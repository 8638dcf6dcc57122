"""Reports of models and of jobs: one HTML file that needs no network and no script.

The parts of a model's report are functions from a ``Subject`` to markup, those of a job's from a
``JobSubject``; a part without anything to show is empty.
"""

from __future__ import annotations

from rowcast.report import classes, data, overview, values
from rowcast.report.job import JobSubject, render_job_report
from rowcast.report.markup import joined, name
from rowcast.report.page import page
from rowcast.report.subject import Subject, read_subject

LINKS = {
    "quality": "Quality",
    "candidates": "Candidates",
    "thresholds": "Thresholds",
    "curves": "Curves",
    "confusion": "Confusion",
    "classes": "Classes",
    "calibration": "Calibration",
    "errors": "Errors",
    "interval": "Intervals",
    "importance": "What matters",
    "data": "Data",
    "reproducibility": "Reproducibility",
}


def render_report(subject: Subject) -> str:
    """Write a model's report as one HTML page."""
    parts = [
        overview.quality(subject),
        data.leaderboard(subject),
        classes.thresholds(subject),
        classes.curves(subject),
        classes.confusion(subject),
        classes.slices(subject),
        classes.calibration(subject),
        values.residuals(subject),
        values.interval(subject),
        data.importance(subject),
        data.columns(subject),
        data.reproducibility(subject),
    ]
    return page(
        f"{subject.spec.name}: model report",
        overview.head(subject),
        LINKS,
        parts,
        joined("for ", name(subject.spec.name)),
    )


__all__ = ["JobSubject", "Subject", "read_subject", "render_job_report", "render_report"]
