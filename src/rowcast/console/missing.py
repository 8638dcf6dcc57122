"""The console's place where its extra is not installed: one page that says how to get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

from rowcast.console.places import owns
from rowcast.console.plain import plain_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class MissingConsole:
    """Answers every page with the way to install the console."""

    def connect(self, api: ASGIApp) -> None:
        """There is nothing to ask."""

    def owns(self, path: str) -> bool:
        """See ``Console.owns``."""
        return owns(path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the page."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        await HTMLResponse(_PAGE, 501, _HEADERS)(scope, receive, send)

    async def close(self) -> None:
        """There is nothing to end."""


_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}
_PAGE = plain_page(
    "The console is not installed",
    "<p>This server works: its REST API, the command line and the Python package are all there. "
    "The web console comes with an extra. Install it where the server runs, and start the server "
    "again:</p>"
    "<pre>pip install 'rowcast[console]'</pre>",
)
