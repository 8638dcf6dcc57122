"""Uploads as Google's clients send them: in one piece, as two parts, or chunk after chunk.

What arrives waits in a folder that no request can name, until it is whole.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from starlette.responses import Response

from rowcast.errors import InvalidRequest, NotFound, ResourceExhausted
from rowcast.server.body import parse_object, read_body

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

MAX_METADATA = 4 << 20
OPEN_SESSIONS = 1000
SESSION_S = 24 * 3600.0
_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)")
_BOUNDARY = re.compile(r"""boundary=(?:"([^"]+)"|'([^']+)'|([^;,\s]+))""", re.IGNORECASE)


@dataclass(frozen=True)
class Arrived:
    """A whole upload: what was said of it, and the file that holds it."""

    metadata: dict[str, Any]
    path: Path
    start: int
    stop: int
    content_type: str = ""


@dataclass
class _Session:
    metadata: dict[str, Any]
    path: Path
    asked: dict[str, str]
    content_type: str
    received: int = 0
    touched: float = field(default_factory=time.monotonic)


class Transfers:
    """Uploads on their way. Sessions end with the server, and clients begin again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sessions: dict[str, _Session] = {}
        self._lock = threading.Lock()

    async def receive(self, request: Request) -> tuple[Path, int]:
        """Write the body of a request to a file; the caller removes it."""
        path = self._new_path()
        with ExitStack() as stack:
            file = await to_thread.run_sync(lambda: stack.enter_context(path.open("wb")))
            size = 0
            async for piece in request.stream():
                size += len(piece)
                await to_thread.run_sync(file.write, piece)
        return path, size

    async def receive_parts(self, request: Request) -> Arrived:
        """Receive ``multipart/related``: an object of JSON, and data. Raises InvalidRequest."""
        marked = _BOUNDARY.search(request.headers.get("content-type", ""))
        if marked is None:
            raise InvalidRequest("The content type of the upload names no boundary.")
        boundary = next(group for group in marked.groups() if group).encode()
        path, size = await self.receive(request)
        try:
            return await to_thread.run_sync(split_parts, path, size, boundary)
        except BaseException:
            path.unlink()
            raise

    async def begin(self, request: Request) -> str:
        """Open a session; its id."""
        metadata = parse_object(await read_body(request, MAX_METADATA))
        kind = request.headers.get("x-upload-content-type", "")
        session = _Session(metadata, self._new_path(), dict(request.query_params), kind)
        await to_thread.run_sync(session.path.touch)
        with self._lock:
            self._forget_old()
            if len(self._sessions) >= OPEN_SESSIONS:
                raise ResourceExhausted(f"{OPEN_SESSIONS} uploads are open; end one first.")
            id_ = uuid.uuid4().hex
            self._sessions[id_] = session
        return id_

    async def proceed(self, request: Request, id_: str) -> Arrived | Response:
        """Take a chunk: the whole upload, or the answer that more is awaited.

        Raises
        ------
        NotFound
            If there is no such session: the server was started since.
        InvalidRequest
            If the chunk does not follow the one before.
        """
        session = self._session(id_)
        said = _RANGE.fullmatch(request.headers.get("content-range", ""))
        first = int(said[1]) if said and said[1] else session.received if said else 0
        total = int(said[3]) if said and said[3] != "*" else None
        if first != session.received:
            raise InvalidRequest(f"The next byte is {session.received}, not {first}.")
        with session.path.open("ab") as file:
            async for piece in request.stream():
                await to_thread.run_sync(file.write, piece)
        session.received = session.path.stat().st_size
        session.touched = time.monotonic()
        if said and (total is None or session.received < total):
            return _awaiting(session.received)
        with self._lock:
            self._sessions.pop(id_, None)
        return Arrived(session.metadata, session.path, 0, session.received, session.content_type)

    def asked(self, id_: str) -> dict[str, str]:
        """The query that began a session. Raises NotFound."""
        return self._session(id_).asked

    def metadata(self, id_: str) -> dict[str, Any]:
        """What was said of the upload when it began. Raises NotFound."""
        return self._session(id_).metadata

    def _session(self, id_: str) -> _Session:
        with self._lock:
            session = self._sessions.get(id_)
        if session is None:
            raise NotFound("There is no such upload; begin again.")
        return session

    def _new_path(self) -> Path:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._folder / uuid.uuid4().hex

    def _forget_old(self) -> None:
        now = time.monotonic()
        for id_, session in list(self._sessions.items()):
            if now - session.touched > SESSION_S:
                del self._sessions[id_]
                session.path.unlink(missing_ok=True)


def split_parts(path: Path, size: int, boundary: bytes) -> Arrived:
    """Find the two parts of an upload in a file, whatever its line ends are."""
    with path.open("rb") as file:
        head = file.read(MAX_METADATA)
        file.seek(max(0, size - len(boundary) - 100))
        tail = file.read()
    mark = b"--" + boundary
    second = head.find(mark, head.find(mark) + len(mark))
    end = tail.rfind(mark + b"--")
    if not head.lstrip().startswith(mark) or second < 0 or end < 0:
        raise InvalidRequest("The upload is not made of two parts with its boundary around them.")
    _, text = _part(head[head.find(mark) + len(mark) : second])
    try:
        metadata = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"The first part of the upload is no JSON: {error}.") from error
    if not isinstance(metadata, dict):
        raise InvalidRequest("The first part of the upload is no JSON object.")
    rest = head[second + len(mark) :]
    headers, body = _part(rest)
    start = second + len(mark) + len(rest) - len(body)
    stop = size - len(tail) + end
    before = tail[max(0, end - 2) : end] if end else b""
    stop -= 2 if before == b"\r\n" else 1 if before[-1:] == b"\n" else 0
    kind = re.search(rb"^content-type:\s*([^\r\n]+)", headers, re.IGNORECASE | re.MULTILINE)
    return Arrived(metadata, path, start, max(start, stop), kind[1].decode() if kind else "")


def _part(text: bytes) -> tuple[bytes, bytes]:
    """Headers and body of a part."""
    found = re.search(rb"\r?\n\r?\n", text)
    if found is None:
        raise InvalidRequest("A part of the upload has no end of its headers.")
    return text[: found.start()], text[found.end() :]


def _awaiting(received: int) -> Response:
    headers = {"Range": f"bytes=0-{received - 1}"} if received else {}
    return Response(status_code=308, headers=headers)
