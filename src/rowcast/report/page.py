"""The page around the parts of a report."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from rowcast.report.markup import Content, Markup, joined, tag
from rowcast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""What a browser may do for this page: apply the style within it."""


def page(
    title: str,
    head: Markup,
    links: Mapping[str, str],
    parts: Sequence[Content],
    whom: Content,
) -> str:
    """Write one HTML page.

    Parameters
    ----------
    title
        For the window.
    head
        What the page begins with.
    links
        Id of a part to its name; parts that are not there have no link.
    parts
        The parts, in order.
    whom
        What it was written for: "for X".
    """
    content = joined(*parts)
    shown = [
        tag("a", name, href=f"#{id_}") for id_, name in links.items() if f'id="{id_}"' in content
    ]
    style = Markup(files("rowcast.report").joinpath("report.css").read_text("utf-8"))
    made = tag(
        "html",
        tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name="referrer", content="no-referrer"),
            tag("title", title),
            tag("style", style),
        ),
        tag(
            "body",
            head,
            tag("nav", *shown, aria_label="Parts of the report") if shown else None,
            tag("main", content),
            tag("footer", "Written by rowcast ", __version__, " ", whom, "."),
        ),
        lang="en",
    )
    return f"<!doctype html>\n{made}\n"
