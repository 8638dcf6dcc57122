"""The head of a job's report, its rows, and those that failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rowcast.report.markup import (
    Content,
    Markup,
    details,
    facts,
    joined,
    name,
    paragraph,
    section,
    table,
    tag,
)
from rowcast.report.plots import meter
from rowcast.report.words import count, number, percent, plural, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from rowcast.report.job.subject import JobSubject

SHOWN_INPUTS = 5
ENDINGS = {
    "SUCCEEDED": "Every row is in the results.",
    "CANCELLED": "The job was cancelled; the results hold the rows that were done.",
    "FAILED": "The job failed, and there are no results.",
}


def head(subject: JobSubject) -> Markup:
    """Say which job this is, and how it went."""
    resource = subject.resource
    model = str(resource.get("model", "")).rsplit("/", 1)[-1]
    version = resource.get("modelVersionId")
    return tag(
        "header",
        tag("h1", name(subject.title)),
        paragraph(
            "Batch prediction with the model ",
            tag("strong", name(model)),
            f", version {version}." if version else ".",
            class_="lead",
        ),
        facts(
            [
                ("State", subject.state.lower()),
                ("Job", name(subject.id)),
                ("Created", _written(subject.moment("createTime"))),
                ("Time", None if subject.seconds is None else seconds(subject.seconds)),
                ("Input", joined(*_inputs(resource.get("inputConfig") or {}))),
                ("Results", _place(resource.get("outputInfo") or {})),
                ("Format", (resource.get("outputConfig") or {}).get("predictionsFormat")),
                ("Replicas", subject.short.get("replicas")),
            ]
        ),
    )


def _written(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%d %H:%M UTC") if moment else None


def _inputs(config: dict[str, Any]) -> Iterator[Content]:
    table_ = (config.get("bigquerySource") or {}).get("inputUri")
    uris = [table_] if table_ else (config.get("gcsSource") or {}).get("uris") or []
    for place, uri in enumerate(uris[:SHOWN_INPUTS]):
        yield joined(", " if place else None, name(uri))
    if len(uris) > SHOWN_INPUTS:
        yield f" and {plural(len(uris) - SHOWN_INPUTS, 'more URI')}"


def _place(info: dict[str, Any]) -> Content:
    if "bigqueryOutputTable" in info:
        return name(f"{info['bigqueryOutputDataset']}.{info['bigqueryOutputTable']}")
    return name(info["gcsOutputDirectory"]) if "gcsOutputDirectory" in info else None


def counts(subject: JobSubject) -> Markup:
    """Count the rows."""
    good, bad, rest = subject.rows
    total = good + bad + rest
    error = (subject.resource.get("error") or {}).get("message")
    ending = ENDINGS.get(subject.state, "The job has not ended yet; this is how it stands.")
    note = None
    if subject.state != "SUCCEEDED":
        why = joined(" ", error) if error and subject.state == "FAILED" else None
        note = paragraph(ending, why, class_="note")
    if not total:
        return section("rows", "Rows", note or paragraph("The input has no rows."))
    tiles = [
        _tile("Scored", count(good), f"{percent(good / total)} of {plural(total, 'row')}"),
        _tile("Failed", count(bad), "each is in the errors, with its reason" if bad else "none"),
    ]
    if rest:
        tiles.append(_tile("Not attempted", count(rest), "the job ended before"))
    explained = subject.summary.get("explainedRows")
    if explained:
        tiles.append(_tile("Explained", count(explained), f"{percent(explained / good)} of those"))
    if "rowsPerSecond" in subject.short:
        tiles.append(
            _tile("Rows per second", number(subject.short["rowsPerSecond"]), _speed(subject))
        )
    return section(
        "rows", "Rows", note, tag("div", *tiles, class_="tiles few"), _unread(subject.resource)
    )


def _speed(subject: JobSubject) -> str:
    replicas = subject.short.get("replicas")
    hours = (subject.resource.get("resourcesConsumed") or {}).get("replicaHours")
    words = "from start to end"
    if replicas:
        words += f", by {plural(replicas, 'replica')}"
    return f"{words}; {seconds(3600 * hours)} of replicas' time" if hours else words


def _tile(title: str, value: str, words: Content) -> Markup:
    return tag("div", tag("h3", title), tag("strong", value), paragraph(words), class_="tile")


def _unread(resource: dict[str, Any]) -> Content:
    failures = resource.get("partialFailures") or []
    if not failures:
        return None
    return [
        tag("h3", "Objects that were not read"),
        *(paragraph(one.get("message", ""), class_="note") for one in failures),
    ]


def errors(subject: JobSubject) -> Markup:
    """Show why rows failed, with examples."""
    bad = subject.rows[1]
    known = {one["cause"]: one["examples"] for one in subject.summary.get("errors") or []}
    causes = [(one["cause"], int(one["count"])) for one in subject.added.get("errorCauses") or []]
    if not causes:
        return Markup("")
    rows = [
        (
            name(cause),
            count(rows),
            meter(rows / bad, percent(rows / bad)) if bad else "–",
            _examples(known.get(cause, [])),
        )
        for cause, rows in causes
    ]
    return section(
        "errors",
        "Failed rows",
        paragraph("By cause, the most frequent first, with the first rows of each."),
        table(("Cause", "Rows", "Share", "Examples"), rows, class_="causes"),
    )


def _examples(examples: list[dict[str, Any]]) -> Content:
    return tag("ul", *(tag("li", one["message"]) for one in examples)) if examples else "–"


def request(subject: JobSubject) -> Markup:
    """Show what was asked for, as the API has it."""
    asked = {
        key: value
        for key, value in subject.resource.items()
        if key not in ("partialFailures", "rowcast", "error", "completionStats")
    }
    added = {
        key: value
        for key, value in subject.added.items()
        if key not in ("summary", "drift", "errorCauses")
    }
    if added:
        asked["rowcast"] = added
    digest = subject.summary.get("modelSha256") or subject.drift.get("modelSha256")
    written = json.dumps(asked, indent=2, ensure_ascii=False)
    return section(
        "request",
        "Request",
        paragraph("The job as the API shows it, without counts.", class_="soft"),
        details("Show it", tag("pre", written, class_="code")),
        paragraph("Digest of the model: ", tag("code", digest), class_="soft") if digest else None,
    )
