"""What a job predicted: scores by class, or values and their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rowcast.report.markup import (
    Content,
    Markup,
    details,
    joined,
    name,
    paragraph,
    section,
    table,
    tag,
)
from rowcast.report.plots import figure, histogram, meter, spark
from rowcast.report.words import count, number, percent, plural

if TYPE_CHECKING:
    from rowcast.report.job.subject import JobSubject

CLASSES = 40
COARSE = 10
"""Bins of a class' small picture."""


def predictions(subject: JobSubject) -> Markup:
    """Show how scores or values are spread."""
    if subject.classes:
        return _of_classes(subject)
    found = subject.summary.get("values")
    if not found:
        return Markup("")
    target = subject.summary.get("target", "value")
    rows = [
        ("Mean", number(found["mean"])),
        ("Least", number(found["least"])),
        *_quantile_rows(found),
        ("Greatest", number(found["greatest"])),
    ]
    return section(
        "results",
        "Predictions",
        paragraph("Predicted values of ", name(target), "."),
        tag(
            "div",
            _histogram("Predicted values", target, found),
            tag("div", tag("h3", "Quantiles"), table(("", "Value"), rows, class_="numbers")),
            class_="figures",
        ),
    )


def _quantile_rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("Median" if share == "0.5" else f"{percent(float(share), 0)} are below", number(value))
        for share, value in found["quantiles"].items()
    ]


def _histogram(title: str, label: str, found: dict[str, Any]) -> Markup:
    drawn = found["histogram"]
    below, above = drawn["below"], drawn["above"]
    caption = None
    if below or above:
        caption = f"{plural(below, 'row')} below and {count(above)} above are left out."
    return figure(title, histogram(title, label, drawn["edges"], drawn["counts"]), caption)


def _of_classes(subject: JobSubject) -> Markup:
    bins = subject.summary["scoreBins"]
    edges = [place / bins for place in range(bins + 1)]
    classes, two = subject.classes, len(subject.classes) == 2
    if two:
        label = joined("Score for ", name(classes[1]["class"]))
        counts = classes[1]["scores"]
    else:
        label, counts = joined("Highest score"), subject.summary["highestScores"]
    drawn = histogram("Scores", "Score", edges, counts)
    ranked = sorted(classes, key=lambda one: -one["rows"])
    scored = max(1, subject.summary["scoredRows"])
    rows = [
        (
            name(one["class"]),
            count(one["rows"]),
            meter(one["rows"] / scored, percent(one["rows"] / scored)),
            f"{one['meanScore']:.3f}",
            _small(one),
        )
        for one in ranked
    ]
    heading = ("Class", "Rows on top", "Share", "Mean score", "Scores, 0 to 1")
    rest = rows[CLASSES:]
    return section(
        "results",
        "Predictions",
        paragraph(
            "Rows by their scores, and the classes with the highest score of a row. Few rows in "
            "the middle mean that the model is sure of most."
            if two
            else "Rows by their highest score, and the classes that have it."
        ),
        tag(
            "div",
            figure(label, drawn),
            table(heading, rows[:CLASSES], class_="classes"),
            class_="figures",
        ),
        details(f"{len(rest)} more classes", table(heading, rest)) if rest else None,
    )


def _small(one: dict[str, Any]) -> Content:
    """Draw a class' scores as small as a word; the tallest bars are cut so that others show."""
    scores = one.get("scores")
    if not scores:
        return None
    step = len(scores) // COARSE
    return spark([sum(scores[i * step : (i + 1) * step]) for i in range(COARSE)])


def intervals(subject: JobSubject) -> Markup:
    """Show how wide the bounds are."""
    found = subject.summary.get("intervalWidths")
    if not found:
        return Markup("")
    level = subject.summary.get("intervalLevel")
    rows = [("Mean", number(found["mean"])), *_quantile_rows(found)]
    return section(
        "intervals",
        "Intervals",
        paragraph(
            "Upper minus lower bound of each row. Wide intervals are rows that the model is not "
            "sure of.",
            f" They are to hold {100 * level:g} % of the true values." if level else None,
        ),
        tag(
            "div",
            _histogram("Widths", "Width of the interval", found),
            tag("div", tag("h3", "Quantiles"), table(("", "Width"), rows, class_="numbers")),
            class_="figures",
        ),
    )
