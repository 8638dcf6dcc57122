"""Plots of many dots: swarms on a line, and clouds.

Dots of one colour are one path of points with round ends, a few bytes each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowcast.report.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.report.plots import Axis

LEVELS = 5
"""Colours from a feature's lowest to its highest values; style ``v0`` to ``v4``."""
WIDTH, HALF, TALL = 400, 230, 34
"""Of a strip across the page, of one beside another, and of both in height."""
SIDE = 8
"""Room on the left and the right for half a label."""
DOT = 3.4


@dataclass(frozen=True)
class Dot:
    """A place and how high the value there is among all, 0 to 1; None if that has no meaning."""

    at: float
    level: float | None = None


def _style(level: float | None) -> str:
    return "vn" if level is None else f"v{min(int(level * LEVELS), LEVELS - 1)}"


def dots(places: Sequence[tuple[float, float, float | None]]) -> list[Markup]:
    """Draw dots: (x, y, level) each."""
    paths: dict[str, list[str]] = {}
    for x, y, level in places:
        paths.setdefault(_style(level), []).append(f"M{x:.1f} {y:.1f}h0")
    return [
        tag("path", d="".join(moves), class_=f"dots {style}")
        for style, moves in sorted(paths.items())
    ]


def place(axis: Axis, value: float, wide: int = WIDTH) -> float:
    """Place of a value on a strip, from the left; what is outside sticks to the end."""
    share = (value - axis.low) / (axis.high - axis.low)
    return SIDE + min(max(share, 0.0), 1.0) * (wide - 2 * SIDE)


def strip(axis: Axis, swarm: Sequence[Dot], title: str, wide: int = WIDTH) -> Markup:
    """Draw dots along a line, piled up where there are many."""
    piles: dict[int, int] = {}
    columns = [int(place(axis, dot.at, wide) / DOT) for dot in swarm]
    for column in columns:
        piles[column] = piles.get(column, 0) + 1
    step = min(DOT * 0.8, (TALL - DOT - 2) / max(piles.values(), default=1))
    seen: dict[int, int] = {}
    places = []
    for dot, column in zip(swarm, columns, strict=True):
        number = seen[column] = seen.get(column, 0) + 1
        offset = (number // 2) * (1 if number % 2 else -1) * step
        places.append((place(axis, dot.at, wide), TALL / 2 + offset, dot.level))
    lines = []
    if axis.low <= 0 <= axis.high:
        zero = round(place(axis, 0, wide), 1)
        lines.append(tag("line", x1=zero, x2=zero, y1=0, y2=TALL, class_="axis"))
    return tag(
        "svg",
        tag("line", x1=0, x2=wide, y1=TALL / 2, y2=TALL / 2, class_="grid"),
        *lines,
        *dots(places),
        viewBox=f"0 0 {wide} {TALL}",
        role="img",
        aria_label=title,
    )


def scale(axis: Axis, wide: int = WIDTH) -> Markup:
    """Write the values under strips."""
    labels = [
        tag("span", axis.write(value), style=f"left:{100 * place(axis, value, wide) / wide:.2f}%")
        for value in axis.ticks(wide // 50)
    ]
    return tag("div", *labels, class_="scale", aria_hidden="true")


def levels(values: Sequence[float | None]) -> list[float | None]:
    """How high each value is among all, by rank; equal values have one level."""
    known = sorted({value for value in values if value is not None})
    if len(known) < 2:
        return [None] * len(values)
    ranks = {value: place / (len(known) - 1) for place, value in enumerate(known)}
    return [None if value is None else ranks[value] for value in values]


def middle(values: Sequence[float], share: float = 0.98) -> tuple[float, float]:
    """The range of the middle of the values."""
    ordered = sorted(values)
    cut = math.floor((1 - share) / 2 * len(ordered))
    return ordered[cut], ordered[len(ordered) - 1 - cut]
