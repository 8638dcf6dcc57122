"""A model's report: one HTML file that needs no network and no script.

Its parts are functions from a ``Subject`` to markup; a part without anything to show is empty.
"""

from __future__ import annotations

from importlib.resources import files

from rowcast.report import classes, data, overview, values
from rowcast.report.markup import Markup, joined, name, tag
from rowcast.report.subject import Subject, read_subject
from rowcast.version import __version__

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do for this page: apply the style within it."""
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
    """Write the report as one HTML page."""
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
    content = joined(*parts)
    links = [
        tag("a", title, href=f"#{id_}") for id_, title in LINKS.items() if f'id="{id_}"' in content
    ]
    style = Markup(files(__name__).joinpath("report.css").read_text("utf-8"))
    page = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", f"{subject.spec.name}: model report"),
            tag("style", style),
        ),
        tag(
            "body",
            overview.head(subject),
            tag("nav", *links, aria_label="Parts of the report"),
            tag("main", content),
            tag(
                "footer", "Written by rowcast ", __version__, " for ", name(subject.spec.name), "."
            ),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


__all__ = ["Subject", "read_subject", "render_report"]
