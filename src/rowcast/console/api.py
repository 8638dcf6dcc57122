"""The public API as the pages call it: JSON in, JSON out, in this process."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from typing import Self

    from starlette.types import ASGIApp

    from rowcast.console.places import Home

Json = dict[str, Any]
UNAUTHENTICATED = 401
FORBIDDEN = 403
MOST_CLIENTS = 64
MOST_A_PAGE = 1000


@dataclass(frozen=True)
class Visitor:
    """Who looks at a page."""

    token: str = field(repr=False)
    """Empty where the API asks for none."""
    address: str = ""
    """Of the browser."""


class ApiError(Exception):
    """The API refused a request.

    Parameters
    ----------
    code
        The HTTP code.
    message
        What the API said.
    violations
        Field to what is wrong with it.
    """

    def __init__(self, code: int, message: str, violations: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.violations = violations or {}

    @classmethod
    def read(cls, code: int, answer: bytes) -> Self:
        """Read what the API said."""
        body: Any = {}
        with suppress(ValueError):
            body = json.loads(answer)
        error = body.get("error", {}) if isinstance(body, dict) else {}
        violations = {
            item["field"]: item["description"]
            for detail in error.get("details", [])
            for item in detail.get("fieldViolations", [])
        }
        said = error.get("message") or f"The server answered HTTP {code}."
        return cls(code, said, violations)


class Transport:
    """The HTTP clients of all pages. Their requests go to the application itself, which is told
    the address that the browser has.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def call(self, who: Visitor, method: str, path: str, **options: Any) -> Json:
        """Send a request. Raises ApiError."""
        headers = {"Authorization": f"Bearer {who.token}"} if who.token else {}
        http = self._client(who.address)
        response = await http.request(method, path, headers=headers, **options)
        body: Json = {}
        with suppress(ValueError):
            body = response.json()
        if response.is_success:
            return body
        raise ApiError.read(response.status_code, response.content)

    async def knows(self, who: Visitor, home: Home) -> bool:
        """Whether the API takes a token for somebody's, whatever they may do."""
        try:
            await self.call(who, "GET", f"/v1/{home.parent}/models", params={"pageSize": 1})
        except ApiError as error:
            return error.code == FORBIDDEN
        return True

    async def first_bytes(
        self, who: Visitor, path: str, body: Json, most: int
    ) -> tuple[bytes, bool]:
        """Post, and take the beginning of the answer; see ``stream.first_bytes``."""
        from rowcast.console.stream import first_bytes

        return await first_bytes(self._app, who, path, body, most)

    def _client(self, address: str) -> httpx.AsyncClient:
        if address not in self._clients:
            while len(self._clients) >= MOST_CLIENTS:
                self._clients.pop(
                    next(iter(self._clients))
                )  # without sockets, nothing is left open
            self._clients[address] = httpx.AsyncClient(
                transport=httpx.ASGITransport(
                    app=self._app, raise_app_exceptions=False, client=(address, 0)
                ),
                base_url="http://localhost",
                timeout=None,  # noqa: S113 - no network lies between
                trust_env=False,
            )
        return self._clients[address]

    async def close(self) -> None:
        """Release the clients."""
        for http in self._clients.values():
            await http.aclose()


class Api:
    """The API with a user's token, in one project and location."""

    def __init__(self, transport: Transport, who: Visitor, home: Home) -> None:
        self._transport = transport
        self._who = who
        self.home = home

    def __repr__(self) -> str:
        return f"Api({self.home.parent!r})"

    async def get(self, name: str, **params: Any) -> Json:
        """Get a resource by its name, which may end in a verb."""
        return await self._call("GET", f"/v1/{_quoted(name)}", params=params)

    async def post(self, name: str, body: Json | None = None) -> Json:
        """Post to a collection or a verb."""
        return await self._call("POST", f"/v1/{_quoted(name)}", json=body or {})

    async def patch(self, name: str, body: Json, mask: str) -> Json:
        """Change fields of a resource."""
        path = f"/v1/{_quoted(name)}"
        return await self._call("PATCH", path, json=body, params={"updateMask": mask})

    async def delete(self, name: str) -> Json:
        """Delete a resource."""
        return await self._call("DELETE", f"/v1/{_quoted(name)}")

    async def page(self, collection: str, **params: Any) -> tuple[list[Json], str]:
        """Get a page of a collection, and the token of the next one."""
        answer = await self.get(
            f"{self.home.parent}/{collection}",
            **{name: value for name, value in params.items() if value},
        )
        return answer.get(collection, []), answer.get("nextPageToken", "")

    async def all(self, collection: str, most: int = 5000, **params: Any) -> list[Json]:
        """Get a collection, page by page, up to ``most`` resources."""
        found: list[Json] = []
        async for one in self._pages(collection, params):
            found.append(one)
            if len(found) >= most:
                break
        return found

    async def _pages(self, collection: str, params: Json) -> AsyncIterator[Json]:
        token = ""
        while True:
            asked = {**params, "pageSize": MOST_A_PAGE, "pageToken": token}
            items, token = await self.page(collection, **asked)
            for item in items:
                yield item
            if not token:
                return

    async def raw(self, method: str, path: str, **options: Any) -> Json:
        """Call a path that is not below ``/v1``."""
        return await self._call(method, path, **options)

    async def first_bytes(self, name: str, body: Json, most: int) -> tuple[bytes, bool]:
        """Post to a verb that answers data, and take the beginning of it."""
        return await self._transport.first_bytes(self._who, f"/v1/{name}", body, most)

    async def _call(self, method: str, path: str, **options: Any) -> Json:
        return await self._transport.call(self._who, method, path, **options)


def _quoted(name: str) -> str:
    return quote(name, safe="/@:")
