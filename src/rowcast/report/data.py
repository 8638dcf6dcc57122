"""What the model was made of: candidates, features, columns, versions."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rowcast.core.model import MODEL_JSON
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
from rowcast.report.plots import bar, meter, spark
from rowcast.report.words import count, day, microseconds, number, percent, plural, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.core.profile import ColumnProfile
    from rowcast.core.schema import Feature
    from rowcast.report.subject import Subject

BARS = 25
COLUMNS = 150
TOP_LABELS = 3
SPARKS = 20
TALLEST = 4
"""A bar shows at most so many times the mean density, so that others can be seen beside it."""
FEW_BINS = 8
"""A profile has more bins unless the values are few."""
METHODS = {
    "sampledShapley": (
        "Mean size of a feature's Shapley attribution to the highest score or the value, brought "
        "to a sum of 1"
    ),
    "shuffledValues": (
        "Mean change of the highest score or the value when a feature's values are shuffled, "
        "brought to a sum of 1"
    ),
}
DAY_MICROSECONDS = 86_400e6


def importance(subject: Subject) -> Markup:
    """Rank the features."""
    shares: dict[str, float] = subject.evaluation.get("importance") or {}
    if not shares:
        return Markup("")
    ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    largest = max(ranked[0][1], 1e-12)
    bars = [
        part
        for feature, share in ranked[:BARS]
        for part in bar(name(feature), share / largest, percent(share))
    ]
    rest = ranked[BARS:]
    if rest:
        words = f"{plural(len(rest), 'other feature')} together"
        together = sum(share for _, share in rest)
        bars += bar(words, together / largest, percent(together))
    method = subject.evaluation.get("importanceMethod") or {}
    words = METHODS.get(method.get("method", ""), "Shares of all features' contributions")
    rows = f", over {plural(method['rows'], 'held-out row')}" if method.get("rows") else ""
    everything = table(
        ("Feature", "Share"),
        [(name(feature), percent(share, 2)) for feature, share in ranked],
        class_="numbers",
    )
    return section(
        "importance",
        "What matters",
        paragraph(f"{words}{rows}."),
        tag("div", *bars, class_="bars"),
        details(f"All {plural(len(ranked), 'feature')}", everything) if rest else None,
    )


def leaderboard(subject: Subject) -> Markup:
    """Show what was tried, best first."""
    candidates: list[dict[str, Any]] = (
        subject.evaluation.get("leaderboard") or subject.training.get("candidates") or []
    )
    if not candidates:
        return Markup("")
    ranked = sorted(candidates, key=lambda one: (one.get("loss") is None, one.get("loss") or 0.0))
    columns = [
        (key, title, write)
        for key, title, write in (
            ("family", "Family", str),
            ("loss", "Validation loss", number),
            ("weight", "Weight", percent),
            ("rounds", "Rounds", count),
            ("seconds", "Time", seconds),
            ("scoringCost", "Scoring a row", microseconds),
            ("note", "Note", str),
        )
        if any(one.get(key) is not None for one in ranked)
    ]
    rows = [
        (
            name(one.get("name", "")),
            *("–" if one.get(key) is None else write(one[key]) for key, _, write in columns),
        )
        for one in ranked
    ]
    return section(
        "candidates",
        "Candidates",
        paragraph(
            "What was tried, by its ",
            subject.training.get("lossName") or "loss",
            " on rows that it had not seen.",
            " The model is the weighted sum of those with a weight" + _ensemble_loss(subject)
            if any(one.get("weight") for one in ranked)
            else None,
        ),
        table(("Candidate", *(title for _, title, _ in columns)), rows),
    )


def _ensemble_loss(subject: Subject) -> str:
    loss = subject.training.get("ensembleLoss")
    return "." if loss is None else f"; together they have {number(loss)}."


def columns(subject: Subject) -> Markup:
    """Show each column of the training data and what became of it."""
    entries = (subject.evaluation.get("data") or {}).get("columns") or _known_columns(subject)
    rows = list(_column_rows(subject, entries))
    head = ("Column", "Use", "Null", "Distinct", "Values", "")
    first = table(head, rows[:COLUMNS], class_="columns")
    rest = rows[COLUMNS:]
    training = subject.training
    warnings = [paragraph(warning, class_="note") for warning in training.get("warnings") or []]
    left_out = training.get("rowsLeftOut") or {}
    return section(
        "data",
        "Data",
        facts(
            [
                ("Rows used", count(training["rows"]) if training.get("rows") else None),
                *((f"Left out: {why}", plural(rows, "row")) for why, rows in left_out.items()),
                ("Features", count(len(subject.spec.schema.features))),
                ("Columns not used", count(len(training.get("dropped") or {}))),
                ("Why this problem", training.get("predictionTypeReason")),
            ]
        ),
        *warnings,
        first,
        details(f"{len(rest)} more columns", table(head, rest, class_="columns")) if rest else None,
    )


def _known_columns(subject: Subject) -> list[dict[str, Any]]:
    """What the model itself says of its columns, where nobody looked at them."""
    schema = subject.spec.schema
    dropped = subject.training.get("dropped") or {}
    return [
        {"name": schema.target.name, "role": "target"},
        *({"name": f.name, "role": "feature", "kind": f.kind} for f in schema.features),
        *({"name": column, "role": "dropped", "reason": why} for column, why in dropped.items()),
    ]


def _column_rows(subject: Subject, entries: list[dict[str, Any]]) -> Iterator[list[Content]]:
    features = {feature.name: feature for feature in subject.spec.schema.features}
    profiles = {one.name: one for one in subject.profile.features} if subject.profile else {}
    for entry in entries:
        profile = profiles.get(entry["name"])
        feature = features.get(entry["name"])
        rate = entry.get("nullRate", _null_rate(profile))
        distinct = entry.get("distinct")
        reason = entry.get("reason")
        yield [
            name(entry["name"]),
            _use(entry),
            "–" if rate is None else meter(rate, percent(rate)),
            "–" if distinct is None else count(distinct),
            tag("td", reason, class_="reason quiet")
            if reason
            else joined(_range(profile) or _typical(feature)),
            _drawn(profile),
        ]


def _use(entry: dict[str, Any]) -> Markup:
    role = entry.get("role", "feature")
    words = {"dropped": "not used", "aside": "set aside", "feature": entry.get("kind")}
    return tag("span", words.get(role) or role, class_=f"tag {role}")


def _null_rate(profile: ColumnProfile | None) -> float | None:
    if profile is None or not profile.values + profile.null:
        return None
    return profile.null / (profile.values + profile.null)


def _range(profile: ColumnProfile | None) -> Content:
    """The most frequent categories, or least and greatest value."""
    if profile is None:
        return None
    if profile.labels:
        shown = list(zip(profile.labels, profile.counts, strict=False))[:TOP_LABELS]
        more = max(profile.known, len(profile.labels)) - len(shown)
        total = max(1, profile.values)
        return [
            *(
                joined(", " if place else None, name(label), f" {percent(rows / total, 0)}")
                for place, (label, rows) in enumerate(shown)
            ),
            f" and {count(more)} more" if more > 0 else None,
        ]
    if not profile.edges:
        return None
    write = day if profile.kind == "timestamp" else number
    unit = " values" if profile.kind.startswith("repeated") else ""
    unit = " characters" if profile.kind == "text" else unit
    return f"{write(profile.edges[0])} to {write(profile.edges[-1])}{unit}"


def _typical(feature: Feature | None) -> Content:
    if feature is None or feature.baseline is None:
        return None
    if isinstance(feature.baseline, str):
        return joined("mostly ", name(feature.baseline))
    if feature.kind == "timestamp":
        return f"median {day(feature.baseline / DAY_MICROSECONDS)}"
    return f"median {number(feature.baseline)}"


def _drawn(profile: ColumnProfile | None) -> Content:
    """Draw the distribution; numbers without their outermost bins, which may be very wide."""
    if profile is None:
        return None
    if profile.labels:
        return spark(profile.counts[:-1][:SPARKS])
    rows = profile.counts[1:-1]
    if len(rows) < FEW_BINS:  # single values rather than ranges
        return spark(rows)
    widths = [high - low for low, high in pairwise(profile.edges)]
    rows, widths = rows[1:-1], widths[1:-1]
    room = sum(widths)
    if not room > 0:
        return None
    widths = [max(width, room / 40) for width in widths]
    tallest = TALLEST * sum(rows) / room
    return spark([min(n / w, tallest) for n, w in zip(rows, widths, strict=True)], widths)


def reproducibility(subject: Subject) -> Markup:
    """Show what is needed to tell whether another model is the same."""
    spec = subject.spec
    versions = ", ".join(f"{library} {version}" for library, version in spec.versions.items())
    members = [
        (tag("code", member), tag("code", digest))
        for member, digest in sorted(spec.members.items())
    ]
    return section(
        "reproducibility",
        "Reproducibility",
        facts(
            [
                ("Seed", spec.training.get("seed")),
                ("Made with", versions),
                ("Kind of model", spec.predictor),
                ("Folder format", spec.format_version),
            ]
        ),
        table(
            ("File", "SHA-256"), [(tag("code", MODEL_JSON), tag("code", subject.digest)), *members]
        ),
        paragraph(
            f"The digest of {MODEL_JSON} stands for the whole folder. The same data, seed and "
            "number of trials give the same digests.",
            class_="soft",
        ),
    )
