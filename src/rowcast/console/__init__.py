"""The web console: pages at ``/`` for people, made of nothing but the public API's answers.

Its pages ask the server they are part of, in this process, with the token that the user gave at
the login. So whoever looks at a page sees what the API would tell them, and no more; the console
keeps no state of its own and imports no code of jobs, training or stores.

It needs the extra ``rowcast[console]``. Without it there is one page, which says so.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from rowcast.console.places import Home, owns

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["Console", "Home", "open_console", "owns"]


class Console(Protocol):
    """An ASGI application for the paths that ``owns`` tells."""

    def connect(self, api: ASGIApp) -> None:
        """Say which application answers the API; once, before the first request."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hold one connection."""
        ...

    async def close(self) -> None:
        """End what runs in the background."""
        ...

    def owns(self, path: str) -> bool:
        """Whether a path is the console's."""
        ...


def open_console(home: Home) -> Console:
    """Make the console, or, without its extra, the page that says how to install it."""
    if find_spec("nicegui") is None:
        from rowcast.console.missing import MissingConsole

        return MissingConsole()
    from rowcast.console.door import WebConsole

    return WebConsole(home)
