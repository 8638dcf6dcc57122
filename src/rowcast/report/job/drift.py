"""How a job's input differs from the training data of its model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rowcast.core.drift import DISTANCE
from rowcast.report.markup import Content, Markup, details, name, paragraph, section, table, tag
from rowcast.report.plots import compare, meter
from rowcast.report.words import count, percent, plural

if TYPE_CHECKING:
    from rowcast.report.job.subject import JobSubject

WARNINGS = 20
COLUMNS = 30


def compared(subject: JobSubject) -> Markup:
    """Show warnings, and each column beside the training data."""
    found = subject.drift
    if not found:
        return Markup("")
    warnings = found.get("warnings") or []
    columns = sorted(found.get("features") or [], key=lambda one: -_distance(one))
    outputs = found.get("predictions") or []
    rows = [_row(one, found) for one in columns]
    head = ("Column", "Training and this input", "Distance", "Missing", "New categories", "Kind")
    rest = rows[COLUMNS:]
    return section(
        "drift",
        "Drift",
        paragraph(
            f"{plural(found.get('countedRows', 0), 'row')} of this input beside "
            f"{count(found.get('trainingRows', 0))} rows of the training data. ",
            "Nothing is worth a warning." if not warnings else None,
        ),
        *(paragraph(one["message"], class_="note") for one in warnings[:WARNINGS]),
        paragraph(f"{plural(len(warnings) - WARNINGS, 'more warning')}.")
        if len(warnings) > WARNINGS
        else None,
        _key(),
        table(head, rows[:COLUMNS], class_="drift"),
        details(f"{len(rest)} more columns", table(head, rest, class_="drift")) if rest else None,
        [
            tag("h3", "Predictions"),
            paragraph("Beside those for rows held out in training.", class_="soft"),
            table(("Output", "Training and this input", "Distance"), map(_output, outputs)),
        ]
        if outputs
        else None,
        paragraph(
            "Distance is the Jensen-Shannon divergence, 0 to 1, less what chance explains; "
            f"{DISTANCE} is about half a standard deviation.",
            class_="soft",
        ),
    )


def _key() -> Markup:
    return tag(
        "p",
        tag("span", tag("i", class_="key step"), "training"),
        tag("span", tag("i", class_="key one"), "this input"),
        class_="legend",
    )


def _distance(one: dict[str, Any]) -> float:
    return float((one.get("statistics") or {}).get("jensenShannon", 0.0))


def _row(one: dict[str, Any], found: dict[str, Any]) -> list[Content]:
    statistics = one.get("statistics") or {}
    unknown = statistics.get("unseenChange")
    return [
        name(one["name"]),
        _pair(one),
        _measured(one),
        _change(one, found),
        _unknown(unknown),
        tag("span", one.get("kind", ""), class_="tag"),
    ]


def _unknown(change: float | None) -> str:
    if change is None:
        return "–"
    return f"{100 * change:+.1f}\N{NO-BREAK SPACE}%" if abs(change) >= 0.0005 else "0"


def _measured(one: dict[str, Any]) -> Content:
    distance = (one.get("statistics") or {}).get("jensenShannon")
    return (
        "–"
        if distance is None
        else meter(distance, f"{distance:.3f}" if distance >= 0.0005 else "0")
    )


def _change(one: dict[str, Any], found: dict[str, Any]) -> Content:
    """The share of nulls, before and now."""
    before = one["training"]["null"] / max(1, found.get("trainingRows", 0))
    now = one["input"]["null"] / max(1, found.get("countedRows", 0))
    if not before and not now:
        return "0"
    return f"{percent(before)} \N{RIGHTWARDS ARROW} {percent(now)}"


def _output(one: dict[str, Any]) -> list[Content]:
    return [name(one["name"]), _pair(one), _measured(one)]


def _pair(one: dict[str, Any]) -> Markup:
    return compare(one["training"]["counts"], one["input"]["counts"])
