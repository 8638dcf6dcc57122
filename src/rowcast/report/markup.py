"""HTML that is safe by construction: text becomes markup by being escaped, in no other way."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta"})
"""Elements that have no end tag. Those of SVG have one."""


_UNSHOWN = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]"
)
"""Controls, marks that change the direction of writing, and halves of characters."""


class Markup(str):
    """HTML that is safe as it stands; made by the functions of this module alone."""

    __slots__ = ()


Content = str | int | Iterable["Content"] | None
"""A text, a number, markup, nothing, or several of these."""


def text(value: object) -> Markup:
    """Escape a text; characters without a glyph, or that turn others around, are replaced."""
    return Markup(escape(_UNSHOWN.sub("\N{REPLACEMENT CHARACTER}", str(value)), quote=True))


def joined(*content: Content) -> Markup:
    """Put content together."""
    parts = []
    for item in content:
        if isinstance(item, Markup):
            parts.append(item)
        elif item is None:
            continue
        elif isinstance(item, str | int):
            parts.append(text(item))
        else:
            parts.append(joined(*item))
    return Markup("".join(parts))


def tag(element: str, /, *content: Content, **attributes: object) -> Markup:
    """Make an element. ``class_`` is ``class``, other underscores are hyphens; None is left out."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{joined(*content)}</{element}>")


def name(value: object) -> Markup:
    """Show a name that others gave: a column, a class, a model; in its own writing direction."""
    shown = str(value)
    return tag("bdi", shown if shown.strip() else f"‘{shown}’", class_="name")


def table(
    head: Iterable[Content], rows: Iterable[Iterable[Content]], *, class_: str = ""
) -> Markup:
    """Make a table that scrolls sideways if it has to."""
    header = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head)))
    body = [
        tag("tr", *(cell if _is_cell(cell) else tag("td", cell) for cell in row)) for row in rows
    ]
    made = tag("table", header, tag("tbody", *body), class_=class_ or None)
    return tag("div", made, class_="scroll", tabindex=0)


def _is_cell(content: Content) -> bool:
    return isinstance(content, Markup) and content.startswith(("<td", "<th"))


def facts(pairs: Iterable[tuple[str, Content]]) -> Markup:
    """Make a list of terms and what they are; empty ones are left out."""
    kept = [(term, value) for term, value in pairs if value not in (None, "")]
    return tag(
        "dl",
        *(tag("div", tag("dt", term), tag("dd", value)) for term, value in kept),
        class_="facts",
    )


def section(id_: str, title: str, *content: Content) -> Markup:
    """Make a section with a heading; nothing if there is no content."""
    inner = joined(*content)
    if not inner:
        return inner
    return tag("section", tag("h2", title), inner, id=id_)


def paragraph(*content: Content, class_: str | None = None) -> Markup:
    """Make a paragraph."""
    return tag("p", *content, class_=class_)


def details(summary: str, *content: Content) -> Markup:
    """Make a part that is folded away until somebody wants it."""
    return tag("details", tag("summary", summary), *content)
