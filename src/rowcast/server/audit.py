"""The audit log: who changed what, and who was refused. A JSON line an event, only ever added."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

READING = frozenset({"GET", "HEAD", "OPTIONS"})
REFUSED = frozenset({401, 403})
MAX_ANSWER = 64 << 10
"""Answers up to this size are looked at for the name of what was made."""
MAX_TEXT = 300


class AuditLog:
    """Adds events to a file that its owner alone may read.

    The file is opened for each event, so that it can be moved away at any time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, **event: Any) -> None:
        """Add one event; its line is on disk when this returns."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(), **event}) + "\n"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, line.encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Audit:
    """ASGI middleware that writes down every request that may change something, and refusals.

    Written are who, the method, the resource, the outcome and the caller's address: nothing of
    the request's body, of its headers or of its query.
    """

    def __init__(self, app: ASGIApp, *, log: AuditLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        code, answer = 0, bytearray()

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            elif len(answer) <= MAX_ANSWER:
                answer.extend(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            if scope["method"] not in READING or code in REFUSED:
                await run_in_threadpool(self._note, scope, code or 500, bytes(answer))

    def _note(self, scope: Scope, code: int, answer: bytes) -> None:
        caller = scope.get("state", {}).get("caller")
        route = scope.get("route")
        self._log.write(
            member=caller.member if caller else None,
            method=getattr(route, "operation_id", None) or scope["method"],
            resource=scope["path"][:MAX_TEXT],
            status=code,
            made=_name(answer),
            address=(scope.get("client") or (None,))[0],
        )


def _name(answer: bytes) -> str | None:
    """The name of the resource, or of the operation, that was answered with."""
    try:
        found = json.loads(answer)
    except ValueError:
        return None
    name = found.get("name") if isinstance(found, dict) else None
    return name[:MAX_TEXT] if isinstance(name, str) else None
