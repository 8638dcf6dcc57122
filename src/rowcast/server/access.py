"""Who may talk to the server: Host, Origin and token, checked before any routing.

The checks are an ASGI middleware around the whole application, so that no method of any path,
known or unknown, is left out:

1. The Host header names this server. A web page that points its own name at this address (DNS
   rebinding) does not get past this.
2. A browser does not act for another site: Origin, if given, is the host asked for, and
   ``Sec-Fetch-Site``, if given, does not say otherwise. Following a link to a page for people is
   the exception: an address can be shared, and looking at a page changes nothing.
3. The bearer token is right, except on ``/healthz``, and on pages, which have their own login.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
import stat
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from rowcast.errors import InvalidRequest, PermissionDenied, RowcastError, Unauthenticated
from rowcast.server.status import respond

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from starlette.types import ASGIApp, Receive, Scope, Send

TOKEN_FILE = "token"  # noqa: S105
TOKEN_BYTES = 32
PUBLIC_PATHS = frozenset({"/healthz"})
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._-]+))(?P<port>:[0-9]{1,5})?")


class Access:
    """The token that callers must show, or None where everybody on this machine may call."""

    def __init__(self, token: str | None) -> None:
        if token is not None and not token.strip():
            raise InvalidRequest("The access token is empty; leave it out to have one made.")
        self._token = None if token is None else token.strip().encode()

    def __repr__(self) -> str:
        return f"Access({'no token' if self._token is None else '***'})"

    def admits(self, headers: Headers) -> bool:
        """Whether a request shows the token, as bearer or as API key. Takes constant time."""
        if self._token is None:
            return True
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        shown = bearer if scheme.lower() == "bearer" else ""
        by_bearer = hmac.compare_digest(shown.strip().encode(), self._token)
        by_key = hmac.compare_digest(headers.get("x-goog-api-key", "").encode(), self._token)
        return by_bearer or by_key


class Doorman:
    """ASGI middleware that lets only requests through that pass the module's checks."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        allowed_hosts: Collection[str],
        is_page: Callable[[str], bool] | None = None,
    ) -> None:
        self._app = app
        self._access = access
        self._is_page = is_page or (lambda _: False)
        self._allowed = frozenset(host.lower() for host in allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except RowcastError as error:
            if scope["type"] == "websocket":
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": error.status})
                return
            challenge = isinstance(error, Unauthenticated)
            headers = {"WWW-Authenticate": 'Bearer realm="rowcast"'} if challenge else None
            await respond(error, headers)(scope, receive, send)
            return
        await self._app(scope, receive, send)

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
        if page or scope["path"] in PUBLIC_PATHS:
            return
        if not self._access.admits(headers):
            raise Unauthenticated(
                "Request had invalid authentication credentials. Send the server's token as "
                "'Authorization: Bearer TOKEN'."
            )

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
