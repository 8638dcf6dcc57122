"""Who may talk to the server: Host, Origin and token, checked before any routing.

The checks are an ASGI middleware around the whole application, so that no method of any path,
known or unknown, is left out:

1. The Host header names this server. A web page that points its own name at this address (DNS
   rebinding) does not get past this.
2. A browser does not act for another site: Origin, if given, is the host asked for, and
   ``Sec-Fetch-Site``, if given, does not say otherwise. Following a link to a page for people is
   the exception: an address can be shared, and looking at a page changes nothing.
3. A token says who it is, except on ``/healthz``, where tokens are exchanged, and on pages, which
   have their own login. What they may do is asked later, method by method: see
   ``rowcast.server.permissions``.
4. Nobody sends more requests than is allowed, nor tries many tokens.

Every answer but a page's gets the headers that keep browsers from reading more into it than it is.
"""

from __future__ import annotations

import hmac
import math
import os
import re
import secrets
import stat
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders

from rowcast.core.caller import OWNER
from rowcast.errors import (
    InvalidRequest,
    PermissionDenied,
    RowcastError,
    TooManyRequests,
    Unauthenticated,
)
from rowcast.server.limits import RateLimiter
from rowcast.server.status import respond
from rowcast.server.token_exchange import PATH as TOKEN_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rowcast.access.guard import Guard
    from rowcast.core.caller import Caller

TOKEN_FILE = "token"  # noqa: S105
TOKEN_BYTES = 32
PUBLIC_PATHS = frozenset({"/healthz", TOKEN_PATH})
BURST = 10
"""A caller who was quiet may send so many seconds' worth of requests at once."""
FAILURES = 0.1
"""Of the requests that a caller may send, so many may come from one address with a wrong token;
what comes after that is not even looked at."""
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?P<port>:[0-9]{1,5})?")


class Access:
    """Who callers are.

    Parameters
    ----------
    token : str, optional
        The owner's token; None where everybody on this machine may call, and is the owner.
    guard : Guard, optional
        Knows the tokens of everybody else.
    """

    def __init__(self, token: str | None, guard: Guard | None = None) -> None:
        if token is not None and not token.strip():
            raise InvalidRequest("The access token is empty; leave it out to have one made.")
        self._token = None if token is None else token.strip().encode()
        self._guard = guard

    def __repr__(self) -> str:
        return f"Access({'no token' if self._token is None else '***'})"

    def admits(self, headers: Headers) -> bool:
        """Whether a request shows the owner's token, as bearer or as API key.

        Takes constant time.
        """
        if self._token is None:
            return True
        matches = [hmac.compare_digest(shown.encode(), self._token) for shown in _shown(headers)]
        return any(matches)

    async def caller(self, headers: Headers) -> Caller | None:
        """Say who sends a request; None if that cannot be told."""
        if self.admits(headers):
            return OWNER
        for shown in _shown(headers):
            if shown and (found := await run_in_threadpool(self.identify, shown)):
                return found
        return None

    def identify(self, credential: str) -> Caller | None:
        """Say who shows a credential, which may take a look into the database."""
        if self._token is not None and hmac.compare_digest(credential.encode(), self._token):
            return OWNER
        return self._guard.identify(credential) if self._guard else None


def _shown(headers: Headers) -> tuple[str, str]:
    """The bearer token and the API key of a request."""
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    shown = bearer.strip() if scheme.lower() == "bearer" else ""
    return shown, headers.get("x-goog-api-key", "")


class Doorman:
    """ASGI middleware that lets only requests through that pass the module's checks."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        allowed_hosts: Collection[str],
        requests_per_second: float = 0.0,
        is_page: Callable[[str], bool] | None = None,
    ) -> None:
        self._app = app
        self._access = access
        self._is_page = is_page or (lambda _: False)
        self._requests = RateLimiter(requests_per_second, BURST * requests_per_second)
        self._failures = RateLimiter(FAILURES * requests_per_second, requests_per_second)
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
            await self._admit(scope)
        except RowcastError as error:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": error.status})
                return
            await respond(error, _advice(error))(scope, receive, _guarded(send))
            return
        own = self._is_page(scope["path"])
        await self._app(scope, receive, send if own else _guarded(send))

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_here(hosts[0], scope):
            raise PermissionDenied(
                "The Host header does not name this server; add the name to the setting "
                "allowed_hosts if it is right."
            )
        if any(_netloc(origin) != _netloc(hosts[0]) for origin in headers.getlist("origin")):
            raise PermissionDenied("Requests from pages of other sites are not accepted.")
        page = self._is_page(scope["path"])
        here = headers.get("sec-fetch-site", "none").lower() in ("none", "same-origin")
        if not here and not (page and _follows_link(scope, headers)):
            raise PermissionDenied("Requests from pages of other sites are not accepted.")

    async def _admit(self, scope: Scope) -> None:
        """Find out who calls, and whether they call too often."""
        if self._is_page(scope["path"]):
            return
        address = str((scope.get("client") or ("",))[0])
        if scope["path"] in PUBLIC_PATHS:
            self._hold(self._requests, address)
            return
        headers = Headers(scope=scope)
        if not self._access.admits(headers):
            self._hold(self._failures, address, take=False)
        caller = await self._access.caller(headers)
        if caller is None:
            self._failures.wait_s(address)
            raise Unauthenticated(
                "Request had invalid authentication credentials. Send a token of this server as "
                "'Authorization: Bearer TOKEN'."
            )
        scope.setdefault("state", {})["caller"] = caller
        self._hold(self._requests, caller.member)

    def _hold(self, limiter: RateLimiter, key: str, *, take: bool = True) -> None:
        wait_s = limiter.wait_s(key, take=take)
        if wait_s > 0:
            raise TooManyRequests.for_s(wait_s)

    def _is_here(self, host: str, scope: Scope) -> bool:
        """Whether a Host header names this server: a loopback name, the very address that the
        connection came in on, or an allowed name. The port may be that of a tunnel.
        """
        parts = _HOST.fullmatch(host.lower())
        if parts is None:
            return False
        name = parts["v6"] or parts["name"]
        if name in _LOOPBACK_NAMES or not self._allowed.isdisjoint((name, host.lower())):
            return True
        own = (scope.get("server") or ("",))[0]
        return _is_address(own) and name == own.lower()


def _advice(error: RowcastError) -> dict[str, str] | None:
    """The header that tells a client what to do about a refusal."""
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="rowcast"'}
    if isinstance(error, TooManyRequests):
        return {"Retry-After": str(max(1, math.ceil(error.wait_s)))}
    return None


def _guarded(send: Send) -> Send:
    """Add the headers that every answer has, unless it says otherwise itself."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
            if headers.get("content-type", "").startswith("application/json"):
                headers.setdefault("Content-Security-Policy", "default-src 'none'")
        await send(message)

    return sending


def check_bind(host: str, token: str | None) -> None:
    """See that a server without a token is reachable from this machine only.

    Raises
    ------
    InvalidRequest
        If ``host`` is not a loopback address and there is no token.
    """
    if token is None and not _is_loopback(host):
        raise InvalidRequest(
            f"Listening on {host or 'every address'!r} without a token would let everybody on the "
            "network start and delete jobs; set a token, or listen on 127.0.0.1."
        )


def load_or_make_token(home: Path) -> str:
    """Read the token of an installation, or make its 256-bit token on first use.

    Servers that start at the same moment end up with the same token.

    Raises
    ------
    PermissionDenied
        If the file cannot be read, is a link, or others may read it.
    InvalidRequest
        If the file holds no token.
    """
    path = home / TOKEN_FILE
    if not os.path.lexists(path):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _place(path, secrets.token_urlsafe(TOKEN_BYTES))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise PermissionDenied(f"{path} cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
            raise PermissionDenied(
                f"{path} can be read by others, so its token is no secret; remove the file to "
                "have a new one made, or set its mode to 600."
            )
        token = file.read(4096).strip()
    if len(token) < 16:
        raise InvalidRequest(
            f"{path} holds no token of at least 16 characters; remove it to have one made."
        )
    return token


def _place(path: Path, token: str) -> None:
    """Give a file its name once it is whole; if there is one by now, leave that."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(token + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        with suppress(FileExistsError):
            os.link(temporary, path)
    finally:
        temporary.unlink()


def _follows_link(scope: Scope, headers: Headers) -> bool:
    """Whether a browser goes to a page as a whole, as when somebody clicks on a link."""
    return (
        scope.get("method") == "GET"
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def _netloc(origin: str) -> str:
    """Host and port of an origin or a Host header, without a default port."""
    netloc = origin.lower().rpartition("://")[2]
    return netloc.removesuffix(":80").removesuffix(":443")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host.lower() == "localhost" or (_is_address(host) and ip_address(host).is_loopback)
