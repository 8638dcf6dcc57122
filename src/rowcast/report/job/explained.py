"""What mattered to a job's predictions: bars, swarms, and value by value."""

from __future__ import annotations

from collections import Counter
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
from rowcast.report.plots import Plot, bar, figure, roomy
from rowcast.report.swarm import HALF, Dot, dots, levels, middle, scale, strip
from rowcast.report.words import count, day, number, percent, plural, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.report.job.subject import JobSubject

BARS = 25
SWARMS = 12
PLOTS = 6
CATEGORIES = 8
UNITS = {"text": "characters", "timestamp": "time"}


def strongest(subject: JobSubject) -> Markup:
    """Rank the features by the mean size of their attributions, and show single rows."""
    found = subject.summary.get("attributions") or []
    if not found:
        return Markup("")
    largest = max(found[0]["meanAbsolute"], 1e-300)
    bars = [
        part
        for one in found[:BARS]
        for part in bar(
            name(one["feature"]), one["meanAbsolute"] / largest, number(one["meanAbsolute"])
        )
    ]
    rows = [
        (
            name(one["feature"]),
            number(one["meanAbsolute"]),
            _signed(one["mean"]),
            *(_signed(value) for value in one["quantiles"].values()),
        )
        for one in found
    ]
    shares = [percent(float(share), 0) for share in found[0]["quantiles"]]
    return section(
        "attributions",
        "What mattered",
        paragraph(
            "How much each column moved ",
            _unit(subject),
            " away from that of the typical row, up or down, on average over "
            f"{plural(subject.summary['explainedRows'], 'explained row')}.",
        ),
        tag("div", *bars, class_="bars"),
        _swarms(subject),
        details(
            f"All {plural(len(found), 'column')}",
            table(("Column", "Mean size", "Mean", *shares), rows, class_="numbers"),
            paragraph(
                "The last numbers are of the sampled rows: that share of them is below.",
                class_="soft",
            ),
        ),
    )


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)


def _unit(subject: JobSubject) -> Content:
    to = subject.summary.get("attributionsTo")
    if to == "value":
        return name(subject.summary.get("target", "value"))
    if to == "class":
        return joined("the score for ", name(subject.summary.get("attributionsToClass", "")))
    return "each row's highest score"


def _swarms(subject: JobSubject) -> Content:
    """Draw the sampled rows of the strongest features, a line for each."""
    found = (subject.summary.get("sampledFeatures") or [])[:SWARMS]
    everything = [value for one in found for value in one["attributions"]]
    if not everything:
        return None
    axis = roomy("", min(0.0, *everything), max(0.0, *everything))
    lines: list[Markup] = []
    for one in found:
        swarm = [
            Dot(at, level)
            for at, level in zip(one["attributions"], levels(_numbers(one["cells"])), strict=True)
        ]
        lines += [
            tag("span", name(one["feature"])),
            strip(axis, swarm, f"Attributions of {one['feature']}"),
        ]
    lines += [tag("span"), scale(axis)]
    return [
        tag("h3", "Row by row"),
        paragraph(
            f"Each dot is one of {plural(len(found[0]['attributions']), 'sampled row')}: right of "
            "the line the column raised ",
            _unit(subject),
            ", left of it lowered it.",
            class_="soft",
        ),
        _key(),
        tag("div", *lines, class_="swarm"),
    ]


def _key() -> Markup:
    return tag(
        "p",
        tag(
            "span", "low value ", *(tag("i", class_=f"ball v{k}") for k in range(5)), " high value"
        ),
        tag("span", tag("i", class_="ball vn"), " no order, or missing"),
        class_="legend",
    )


def _numbers(cells: Sequence[Any]) -> list[float | None]:
    return [cell if isinstance(cell, int | float) else None for cell in cells]


def dependence(subject: JobSubject) -> Markup:
    """Draw attributions against values for the strongest features."""
    found = (subject.summary.get("sampledFeatures") or [])[:PLOTS]
    drawn = [part for part in (_dependence(one) for one in found) if part]
    if not drawn:
        return Markup("")
    return section(
        "dependence",
        "Value by value",
        paragraph(
            "For the strongest columns: what a row has, and how far that moved ",
            _unit(subject),
            ". Dots of one value differ because other columns matter to what this one does.",
        ),
        tag("div", *drawn, class_="figures"),
    )


def _dependence(one: dict[str, Any]) -> Markup | None:
    cells = one["cells"]
    if any(isinstance(cell, str) for cell in cells):
        return _by_category(one)
    pairs = [
        (cell, moved)
        for cell, moved in zip(cells, one["attributions"], strict=True)
        if cell is not None
    ]
    return _by_number(one, pairs) if pairs else None


def _by_number(one: dict[str, Any], pairs: list[tuple[float, float]]) -> Markup:
    moment = one.get("kind") == "timestamp"
    low, high = middle([cell for cell, _ in pairs])
    shown = [(cell, moved) for cell, moved in pairs if low <= cell <= high]
    x = roomy(UNITS.get(one.get("kind", ""), "value"), low, high, day if moment else short)
    moves = [moved for _, moved in shown]
    y = roomy("moved by", min(0.0, *moves), max(0.0, *moves))
    plot = Plot(x, y, f"Attributions of {one['feature']} by its value")
    plot.add(
        tag("line", x1=plot.x(x.low), x2=plot.x(x.high), y1=plot.y(0), y2=plot.y(0), class_="axis")
    )
    plot.add(*dots([(plot.x(cell), plot.y(moved), 0.0) for cell, moved in shown]))
    return figure(name(one["feature"]), plot.render(), _missing(one, len(pairs) - len(shown)))


def _missing(one: dict[str, Any], outside: int) -> Content:
    without = [
        moved for cell, moved in zip(one["cells"], one["attributions"], strict=True) if cell is None
    ]
    words = []
    if without:
        mean = sum(without) / len(without)
        words.append(f"{plural(len(without), 'row')} without a value: {_signed(mean)} on average.")
    if outside:
        words.append(f"{plural(outside, 'row')} with extreme values left out.")
    return " ".join(words) or None


def _by_category(one: dict[str, Any]) -> Markup:
    groups: dict[str | None, list[float]] = {}
    for cell, moved in zip(one["cells"], one["attributions"], strict=True):
        groups.setdefault(cell, []).append(moved)
    frequent = [cell for cell, _ in Counter(one["cells"]).most_common(CATEGORIES)]
    frequent.sort(key=lambda cell: -sum(groups[cell]) / len(groups[cell]))
    values = [value for cell in frequent for value in groups[cell]]
    axis = roomy("", min(0.0, *values), max(0.0, *values))
    lines: list[Markup] = []
    for cell in frequent:
        label = "no value" if cell is None else name(cell)
        lines += [
            tag("span", label, " ", tag("small", count(len(groups[cell])))),
            strip(
                axis, [Dot(moved, 0.0) for moved in groups[cell]], f"{one['feature']} {cell}", HALF
            ),
        ]
    lines += [tag("span"), scale(axis, HALF)]
    rest = len(groups) - len(frequent)
    return figure(
        name(one["feature"]),
        tag("div", *lines, class_="swarm"),
        f"The {len(frequent)} most frequent of {len(groups)} values; the highest mean first."
        if rest
        else None,
    )
