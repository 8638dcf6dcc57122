"""``POST /token``: a credential for another (RFC 8693), as Google's libraries ask for it.

A library that is given an ``external_account`` file shows the token it finds in a file of its own,
and is given an access token. Here that is the same token: it is as short-lived, as revocable and
as much a secret as one made for the occasion would be, and there is one less to look after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from rowcast.errors import InvalidRequest
from rowcast.server.body import read_body

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from rowcast.server.access import Access

PATH = "/token"
LASTS_S = 3600
"""After this, clients ask again; whether the token is still valid is seen at each request."""
MAX_BYTES = 64 << 10
_GRANT = "urn:ietf:params:oauth:grant-type:token-exchange"


def exchange_with(access: Access) -> Callable[[Request], Awaitable[Response]]:
    """Make the handler of ``POST /token``."""

    async def exchange(request: Request) -> Response:
        try:
            body = await read_body(request, MAX_BYTES)
            given = parse_qs(body.decode(), max_num_fields=50)
        except (InvalidRequest, ValueError):
            return _refuse("invalid_request", "The body is no form.")
        if given.get("grant_type") != [_GRANT]:
            return _refuse("unsupported_grant_type", f"Send grant_type={_GRANT}.")
        token = given.get("subject_token", [""])[0].strip()  # files of tokens end with a line break
        if await run_in_threadpool(access.identify, token) is None:
            return _refuse("invalid_grant", "The subject_token is no valid token of this server.")
        return JSONResponse(
            {
                "access_token": token,
                "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                "token_type": "Bearer",
                "expires_in": LASTS_S,
            }
        )

    return exchange


def _refuse(error: str, description: str) -> JSONResponse:
    return JSONResponse({"error": error, "error_description": description}, 400)
