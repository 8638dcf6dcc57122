"""How the report writes numbers."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

GAP = "\N{NO-BREAK SPACE}"
"""Between a number and its unit."""
_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count(value: float) -> str:
    """Write a number of things: 48,842."""
    return f"{value:,.0f}"


def percent(share: float, digits: int = 1) -> str:
    """Write a share: 12.3 %, and never 0 or 100 for what is merely near."""
    least = 10.0**-digits
    shown = 100 * share
    if 0 < shown < least / 2:
        return f"<{GAP}{least:.{digits}f}{GAP}%"
    if 100 - least / 2 <= shown < 100:
        return f">{GAP}{100 - least:.{digits}f}{GAP}%"
    return f"{shown:.{digits}f}{GAP}%"


def number(value: float | None) -> str:
    """Write a measured value with four digits, more if it is large."""
    if value is None or not math.isfinite(value):
        return "unknown"
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.3e}"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def short(value: float) -> str:
    """Write a value where there is little room: 1.5M."""
    for size, letter in _STEPS:
        if abs(value) >= size * (10 if letter == "k" else 1):
            return f"{value / size:.4g}{letter}"
    return f"{round(value, 10):g}"


def seconds(value: float) -> str:
    """Write a time the way people say it."""
    if value < 60:
        return f"{value:.1f}{GAP}s" if value < 10 else f"{value:.0f}{GAP}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{GAP}min {whole % 60}{GAP}s"
    return f"{whole // 3600}{GAP}h {whole % 3600 // 60}{GAP}min"


def microseconds(value: float) -> str:
    """Write a very short time."""
    return f"{number(value)}{GAP}\N{GREEK SMALL LETTER MU}s"


def plural(value: int, noun: str) -> str:
    """Count things: 1 row, 1,200 rows."""
    many = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{value:,} {noun if value == 1 else many}"


def day(value: float) -> str:
    """Write a moment, given in days since 1970, as a date."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=value)
    except OverflowError:
        return number(value)
    return moment.strftime("%Y-%m-%d")
