"""The console's door: who is logged in, what a browser may do with a page, and the pages behind.

The user's token is in a cookie that scripts cannot read. It is compared by the API alone: the door
asks the API whether it knows the token, and asks again after a while, so that a token which is
taken away soon opens nothing. Pages and the connection that keeps them live need it; the login
page and the libraries that every browser may have do not.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from rowcast.console.api import Transport, Visitor
from rowcast.console.places import FORWARD, STATIC, owns
from rowcast.console.plain import login_page

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rowcast.console.places import Home

TRUSTED_S = 20.0
"""The API is asked about a token at most this often."""
MOST_TRUSTED = 1000
MOST_FORM_BYTES = 16_384
COOKIE_S = 30 * 24 * 3600
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Nothing from elsewhere, whatever a page is told. Vue compiles its templates in the browser, and
the page's own data is in a script within it, hence the two exceptions."""
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
}
HELD_DOWN = {
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Content-Disposition": "attachment",
    "Cache-Control": "no-store",
}
"""What users have stored is saved by a browser and never shown as a page of this server."""


class WebConsole:
    """The console, made of NiceGUI's pages, which are loaded when the first one is asked for."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._api: ASGIApp | None = None
        self._transport: Transport | None = None
        self._pages: ASGIApp | None = None
        self._loading = asyncio.Lock()
        self._running = AsyncExitStack()
        self._trusted: dict[str, float] = {}

    def connect(self, api: ASGIApp) -> None:
        """See ``Console.connect``."""
        self._api, self._transport = api, Transport(api)

    def owns(self, path: str) -> bool:
        """See ``Console.owns``."""
        return owns(path)

    async def close(self) -> None:
        """See ``Console.close``."""
        await self._running.aclose()
        if self._transport is not None:
            await self._transport.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ``Console.__call__``."""
        path = scope["path"]
        if scope["type"] == "http" and path in ("/login", "/logout"):
            request = Request(scope, receive)
            answer = await (self._login(request) if path == "/login" else self._logout(request))
            await answer(scope, receive, _with(HEADERS, send))
            return
        if not _open(path) and not await self._admits(visitor_of(scope)):
            await _turn_away(scope, receive, send)
            return
        if path.startswith(f"{FORWARD}/"):
            await self._forward(scope, receive, send)
            return
        pages = await self._loaded()
        await pages(scope, receive, _with(HEADERS, send) if scope["type"] == "http" else send)

    async def _loaded(self) -> ASGIApp:
        """The pages; their libraries take a second to load, once."""
        if self._pages is None:
            async with self._loading:
                if self._pages is None:
                    if self._transport is None:
                        raise RuntimeError("The console was not connected to an API.")
                    from rowcast.console.shell import make_shell

                    shell = make_shell(self._transport, self._home)
                    await self._running.enter_async_context(shell.router.lifespan_context(shell))
                    self._pages = shell
        return self._pages

    # Who is there

    async def _admits(self, who: Visitor) -> bool:
        digest = hashlib.sha256(who.token.encode()).hexdigest()
        now = time.monotonic()
        if now - self._trusted.get(digest, -TRUSTED_S) < TRUSTED_S:
            return True
        if self._transport is None or not await self._transport.knows(who, self._home):
            self._trusted.pop(digest, None)
            return False
        if len(self._trusted) >= MOST_TRUSTED:
            self._trusted.clear()
        self._trusted[digest] = now
        return True

    async def _login(self, request: Request) -> Response:
        if request.method == "GET":
            return HTMLResponse(login_page(_target(request.query_params.get("next", ""))))
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "GET, POST"})
        form = parse_qs((await _body(request)).decode("utf-8", "replace"))
        token = form.get("token", [""])[0].strip()
        target = _target(form.get("next", [""])[0])
        who = Visitor(token, visitor_of(request.scope).address)
        if not token or not token.isascii() or not await self._admits(who):
            fault = "This server does not know that token. Is it complete, and from this server?"
            return HTMLResponse(login_page(target, fault), 401)
        answer = RedirectResponse(target, 303)
        answer.set_cookie(
            cookie_name(request.headers),
            token,
            max_age=COOKIE_S,
            httponly=True,
            samesite="lax",
            secure=request.url.scheme == "https",
        )
        return answer

    async def _logout(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status_code=405, headers={"Allow": "POST"})
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(cookie_name(request.headers))
        return answer

    # What browsers fetch themselves

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the API answer, with the cookie's token in the place of a bearer."""
        if self._api is None or scope["type"] != "http":
            await _turn_away(scope, receive, send)
            return
        kept = [
            (name, value)
            for name, value in scope["headers"]
            if name not in (b"authorization", b"cookie", b"x-goog-api-key", b"accept-encoding")
        ]
        if token := visitor_of(scope).token:
            kept.append((b"authorization", f"Bearer {token}".encode()))
        path = scope["path"].removeprefix(FORWARD)
        raw = scope.get("raw_path", b"").partition(b"?")[0]
        inner = {
            **scope,
            "path": path,
            "raw_path": raw.removeprefix(FORWARD.encode()) or quote(path).encode(),
            "headers": kept,
            "state": dict(scope.get("state", {})),
        }
        if owns(path):
            await Response(status_code=404)(scope, receive, send)
            return
        await self._api(inner, receive, _with(HELD_DOWN, send))


def visitor_of(scope: Scope) -> Visitor:
    """Who sends a request, as its cookie says."""
    headers = Headers(scope=scope)
    address = str((scope.get("client") or ("",))[0])
    wanted = cookie_name(headers)
    for item in headers.get("cookie", "").split(";"):
        name, _, value = item.strip().partition("=")
        if name == wanted:
            return Visitor(value.strip('"'), address)
    return Visitor("", address)


def cookie_name(headers: Headers) -> str:
    """The cookie's name. Browsers share cookies between ports, so the port is in it."""
    port = headers.get("host", "").rpartition(":")[2]
    return f"rowcast_{port if port.isdigit() else 'token'}"


def _open(path: str) -> bool:
    """Whether everybody may have what is at a path: libraries, styles and the icon."""
    shared = path.startswith("/_nicegui/") and not path.startswith("/_nicegui/client/")
    return shared or path.startswith(STATIC) or path == "/favicon.ico"


def _target(asked: str) -> str:
    """Where to go after the login: a page of this console, or its first one."""
    parts = urlsplit(asked)
    inside = not parts.scheme and not parts.netloc and "\\" not in asked
    return asked if inside and asked.isprintable() and owns(parts.path) else "/"


async def _body(request: Request) -> bytes:
    received = b""
    async for chunk in request.stream():
        received += chunk
        if len(received) > MOST_FORM_BYTES:
            return b""
    return received


async def _turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    """Show the login to somebody who wants a page, and refuse anything else."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    headers = Headers(scope=scope)
    wants_page = scope["method"] == "GET" and headers.get("sec-fetch-dest", "document") in (
        "document",
        "",
    )
    if not wants_page or scope["path"].startswith((FORWARD, "/_nicegui")):
        await Response("Log in first.", 401)(scope, receive, _with(HEADERS, send))
        return
    asked = scope["path"]
    if scope["query_string"]:
        asked += "?" + scope["query_string"].decode("latin-1")
    target = "/login" if asked == "/" else f"/login?next={quote(asked, safe='')}"
    await RedirectResponse(target, 303)(scope, receive, _with(HEADERS, send))


def _with(fixed: dict[str, str], send: Send) -> Send:
    """Add headers to an answer; they win over those that it has."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in fixed.items():
                headers[name] = value
        await send(message)

    return sending
