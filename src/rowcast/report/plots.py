"""Plots as inline SVG: no script, no font, no file beside the page. Colours are the page's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowcast.report.markup import Content, Markup, joined, tag
from rowcast.report.words import count, percent, short

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WIDTH, HEIGHT = 400, 290
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 12, 44
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
LEAST_DOT, LARGEST_DOT = 2.6, 7.0


@dataclass(frozen=True)
class Axis:
    """What a direction means."""

    label: str
    low: float = 0.0
    high: float = 1.0
    write: Callable[[float], str] = short

    def ticks(self, most: int = 6) -> list[float]:
        """Choose round values, at most so many."""
        room = self.high - self.low
        size = 10.0 ** math.floor(math.log10(room / most))
        step = next(size * s for s in STEPS if room / (size * s) <= most)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def around(label: str, low: float, high: float, write: Callable[[float], str] = short) -> Axis:
    """Make an axis of a range, with room even if it is empty."""
    if not high - low > 1e-12 * max(abs(low), abs(high)):
        room = max(abs(low), 1.0) / 2
        low, high = low - room, high + room
    return Axis(label, low, high, write)


def roomy(label: str, low: float, high: float, write: Callable[[float], str] = short) -> Axis:
    """Make an axis of a range with a little room at both ends, for dots."""
    room = 0.04 * (high - low)
    return around(label, low - room, high + room, write)


def rate(label: str) -> Axis:
    """Make an axis from 0 to 1."""
    return Axis(label, 0.0, 1.0, lambda value: f"{value:.4g}")


@dataclass(frozen=True)
class Line:
    """Points that are joined."""

    xs: Sequence[float]
    ys: Sequence[float]
    style: str = "one"
    """``one``, ``two`` or ``guide``."""
    label: str = ""
    rows: Sequence[int] = ()
    """If given, there is a dot at each point whose area shows how many rows it stands for."""


class Plot:
    """A drawing area with axes."""

    def __init__(self, x: Axis, y: Axis, title: str, height: int = HEIGHT) -> None:
        self._x, self._y, self._title, self._height = x, y, title, height
        self._parts: list[Markup] = []

    def x(self, value: float) -> float:
        """Place of a value, from the left."""
        share = (value - self._x.low) / (self._x.high - self._x.low)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 2)

    def y(self, value: float) -> float:
        """Place of a value, from the top."""
        share = (value - self._y.low) / (self._y.high - self._y.low)
        return round(self._height - BOTTOM - share * (self._height - TOP - BOTTOM), 2)

    def box(
        self, x: tuple[float, float], y: tuple[float, float], title: str, **attributes: object
    ) -> None:
        """Draw a rectangle between values."""
        left, right = sorted(map(self.x, x))
        top, bottom = sorted(map(self.y, y))
        size = {"width": round(right - left, 2), "height": round(bottom - top, 2)}
        self._parts.append(tag("rect", tag("title", title), x=left, y=top, **size, **attributes))

    def line(self, line: Line) -> None:
        """Draw a line, and its dots."""
        places = [(self.x(x), self.y(y)) for x, y in zip(line.xs, line.ys, strict=True)]
        points = " ".join(f"{x:g},{y:g}" for x, y in places)
        self._parts.append(tag("polyline", points=points, class_=f"line {line.style}"))
        most = max(line.rows, default=1)
        for place, x, y, rows in zip(places, line.xs, line.ys, line.rows, strict=False):
            said = f"{self._x.write(x)}, {self._y.write(y)}: {count(rows)} rows"
            radius = round(max(LEAST_DOT, LARGEST_DOT * math.sqrt(rows / most)), 2)
            self.dot(place, radius, f"dot {line.style}", said)

    def dot(self, place: tuple[float, float], radius: float, style: str, title: str = "") -> None:
        """Draw a dot at a place."""
        inner = tag("title", title) if title else None
        self._parts.append(tag("circle", inner, cx=place[0], cy=place[1], r=radius, class_=style))

    def add(self, *parts: Markup) -> None:
        """Draw what was made elsewhere, from places of ``x`` and ``y``."""
        self._parts += parts

    def render(self) -> Markup:
        """Put it all together."""
        lines: list[Markup] = []
        for value in self._y.ticks():
            at = self.y(value)
            lines += [
                tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=at, y2=at, class_="grid"),
                tag("text", self._y.write(value), x=LEFT - 6, y=at + 4, text_anchor="end"),
            ]
        floor = self._height - BOTTOM
        lines.append(tag("line", x1=LEFT, x2=WIDTH - RIGHT, y1=floor, y2=floor, class_="axis"))
        for value in self._x.ticks():
            lines.append(
                tag(
                    "text",
                    self._x.write(value),
                    x=self.x(value),
                    y=floor + 16,
                    text_anchor="middle",
                )
            )
        middle = (LEFT + WIDTH - RIGHT) / 2
        lines.append(
            tag(
                "text",
                self._x.label,
                x=middle,
                y=self._height - 8,
                class_="label",
                text_anchor="middle",
            )
        )
        height = (TOP + floor) / 2
        lines.append(
            tag(
                "text",
                self._y.label,
                x=11,
                y=height,
                class_="label",
                text_anchor="middle",
                transform=f"rotate(-90 11 {height:g})",
            )
        )
        return tag(
            "svg",
            *lines,
            *self._parts,
            viewBox=f"0 0 {WIDTH} {self._height}",
            role="img",
            aria_label=self._title,
        )


def figure(
    title: Content, drawing: Content, caption: Content = None, legend: Content = None
) -> Markup:
    """Frame a plot with its title above and what to make of it below."""
    return tag(
        "figure",
        tag("h3", title),
        legend,
        drawing,
        tag("figcaption", caption) if caption is not None else None,
    )


def legend(lines: Sequence[Line]) -> Markup:
    """Name the lines."""
    named = [line for line in lines if line.label]
    return tag(
        "p",
        *(joined(tag("span", tag("i", class_=f"key {line.style}"), line.label)) for line in named),
        class_="legend",
    )


def line_plot(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> Markup:
    """Draw lines, those that come later on top."""
    plot = Plot(x, y, title)
    for line in lines:
        plot.line(line)
    return plot.render()


def histogram(title: str, label: str, edges: Sequence[float], counts: Sequence[int]) -> Markup:
    """Draw rows per bin."""
    plot = Plot(around(label, edges[0], edges[-1]), Axis("Rows", 0, max(*counts, 1)), title)
    for low, high, rows in zip(edges[:-1], edges[1:], counts, strict=True):
        if rows:
            said = f"{short(low)} to {short(high)}: {count(rows)} rows"
            plot.box((low, high), (0, rows), said, class_="bar one")
    if edges[0] < 0 < edges[-1]:
        plot.line(Line([0, 0], [0, max(counts)], "guide"))
    return plot.render()


def deviations(
    title: str, x: str, y: str, shares: Sequence[float], goal: float, said: Sequence[str]
) -> Markup:
    """Draw how far each part, numbered from 1, is from the share that is aimed at."""
    low, high = min(goal, *shares), max(goal, *shares)
    room = max(0.03, 0.15 * (high - low))
    plot = Plot(
        Axis(x, 0.4, len(shares) + 0.6, lambda value: f"{value:.0f}"),
        Axis(y, max(0.0, low - room), min(1.0, high + room), lambda value: percent(value, 0)),
        title,
    )
    for place, (share, words) in enumerate(zip(shares, said, strict=True), start=1):
        plot.box((place - 0.36, place + 0.36), (goal, share), words, class_="bar one")
        plot.dot((plot.x(place), plot.y(share)), 4.5, "dot one", words)
    plot.line(Line([0.4, len(shares) + 0.6], [goal, goal], "two"))
    return plot.render()


def value_plot(
    title: str,
    axes: tuple[str, str],
    edges: Sequence[float],
    cells: Sequence[Sequence[int]],
    points: Sequence[tuple[float, float]],
) -> Markup:
    """Draw how often each pair of values occurs, or each pair where ``points`` are given."""
    low, high = edges[0], edges[-1]
    plot = Plot(around(axes[0], low, high), around(axes[1], low, high), title, height=360)
    if points:
        for x, y in points:
            if low <= x <= high and low <= y <= high:
                plot.dot((plot.x(x), plot.y(y)), 2.2, "point")
    else:
        most = max((rows for _, _, rows in cells), default=1)
        for i, j, rows in cells:
            said = f"true {short(edges[i])}, predicted {short(edges[j])}: {count(rows)} rows"
            weight = round(0.12 + 0.88 * math.sqrt(rows / most), 3)
            plot.box(
                (edges[i], edges[i + 1]),
                (edges[j], edges[j + 1]),
                said,
                class_="cell",
                fill_opacity=weight,
            )
    plot.line(Line([low, high], [low, high], "guide"))
    return plot.render()


def spark(heights: Sequence[float], widths: Sequence[float] | None = None) -> Markup:
    """Draw a distribution as small as a word."""
    widths = widths or [1.0] * len(heights)
    room, most = sum(widths), max(heights, default=0.0)
    if not heights or room <= 0 or most <= 0:
        return Markup("")
    bars, left = [], 0.0
    for height, width in zip(heights, widths, strict=True):
        size, tall = 96 * width / room, max(20 * height / most, 0.6)
        bars.append(
            tag(
                "rect",
                x=round(left, 2),
                y=round(22 - tall, 2),
                width=round(max(size - 0.8, 0.4), 2),
                height=round(tall, 2),
                class_="bar one",
            )
        )
        left += size
    return tag("svg", *bars, viewBox="0 0 96 22", class_="spark", aria_hidden="true")


def compare(before: Sequence[int], now: Sequence[int]) -> Markup:
    """Draw two distributions over the same bins as small as a word: a line, and bars."""
    if not sum(before) or not sum(now):
        return Markup("")
    shares = [[rows / sum(side) for rows in side] for side in (before, now)]
    most, wide = max(map(max, shares)), 140 / len(before)
    tall = [[round(24 * share / most, 2) for share in side] for side in shares]
    bars = [
        tag(
            "rect",
            x=round(i * wide + 0.4, 2),
            y=round(26 - height, 2),
            width=round(max(wide - 0.8, 0.4), 2),
            height=height,
            class_="bar one",
        )
        for i, height in enumerate(tall[1])
    ]
    steps = " ".join(
        f"{x:g},{26 - height:g}"
        for i, height in enumerate(tall[0])
        for x in (round(i * wide, 2), round((i + 1) * wide, 2))
    )
    line = tag("polyline", points=steps, class_="line step")
    return tag("svg", *bars, line, viewBox="0 0 140 28", class_="pair", aria_hidden="true")


def bar(label: Content, share: float, words: str) -> tuple[Markup, Markup, Markup]:
    """Draw one of several bars below each other: its label, itself, its value."""
    width = f"width:{100 * min(max(share, 0.0), 1.0):.2f}%"
    return (
        tag("span", label),
        tag("span", tag("span", class_="fill", style=width), class_="track"),
        tag("span", words, class_="value"),
    )


def meter(share: float, words: str) -> Markup:
    """Draw a share as a bar behind its number."""
    width = f"{100 * min(max(share, 0.0), 1.0):.2f}%"
    return tag(
        "span", tag("span", class_="fill", style=f"width:{width}"), tag("b", words), class_="meter"
    )
