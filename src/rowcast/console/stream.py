"""The beginning of an answer that may be endless: so many bytes, and the rest is left."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from rowcast.console.api import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message

    from rowcast.console.api import Json, Visitor


async def first_bytes(
    app: ASGIApp, who: Visitor, path: str, body: Json, most: int
) -> tuple[bytes, bool]:
    """Post to the API and take at most about ``most`` bytes of what it answers.

    Returns
    -------
    bytes
    bool
        Whether that is all.

    Raises
    ------
    ApiError
        If the API refuses.
    """
    received = bytearray()
    code = 0
    sent = False
    enough = asyncio.Event()

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}
        await enough.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        nonlocal code
        if message["type"] == "http.response.start":
            code = message["status"]
        elif message["type"] == "http.response.body" and not enough.is_set():
            received.extend(message.get("body", b""))
            if len(received) > most:
                enough.set()

    await app(_scope(who, path), receive, send)
    if code >= 400:
        raise ApiError.read(code, bytes(received))
    return bytes(received), not enough.is_set()


def _scope(who: Visitor, path: str) -> dict[str, Any]:
    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    if who.token:
        headers.append((b"authorization", f"Bearer {who.token}".encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "server": ("localhost", None),
        "client": (who.address, 0),
        "state": {},
    }
