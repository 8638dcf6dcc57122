"""Calls of a program to Google's hosts, answered by a rowcast server: for code that cannot change.

A proxy on this machine takes the program's connections. Those to ``*.googleapis.com`` it answers
itself, with a certificate of an authority that is made for the occasion, that only this program is
told to trust, and that is gone with it; what arrives goes on to the server: gRPC to its gRPC door,
all else to its REST API. Nothing for these hosts leaves the machine by another way. Connections to
other hosts are passed through unseen.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import ssl
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from rowcast.errors import InvalidRequest
from rowcast.logins import external_account

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from starlette.types import Receive, Scope, Send

logger = structlog.get_logger(__name__)

DIVERTED = re.compile(r"([a-z0-9-]+\.)*googleapis\.com")
NAMES = ("*.googleapis.com", "googleapis.com")
HEAD_BYTES = 16 << 10
HEAD_S = 10.0
HOP_BY_HOP = frozenset({b"host", b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_CONNECT = re.compile(
    rb"CONNECT ([\w.-]+|\[[0-9a-f:]+\]):(\d{1,5}) HTTP/1\.[01]\r\n", re.IGNORECASE
)


@dataclass(frozen=True)
class Target:
    """The server that calls are brought to.

    Parameters
    ----------
    url : str
        Of its REST API.
    grpc : str, optional
        ``HOST:PORT`` of its gRPC door, which speaks TLS if the URL is https.
    token_file : Path
        Holds the token that the program shows where it looks for default credentials.
    authority : Path, optional
        PEM file of what the server's certificate is from.
    """

    url: str
    grpc: str | None
    token_file: Path
    authority: Path | None = None

    def trust(self, *protocols: str) -> ssl.SSLContext | None:
        """What to speak TLS to the server with; None if it speaks plaintext."""
        if not self.url.startswith("https:"):
            return None
        context = ssl.create_default_context()
        if self.authority is not None and self.authority.exists():
            context.load_verify_locations(self.authority)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context


@contextlib.contextmanager
def diverting(target: Target) -> Iterator[dict[str, str]]:
    """Run the proxy; yield the variables that a program must be given to go through it.

    Raises
    ------
    FailedPrecondition
        If the library that makes certificates is not installed.
    """
    from rowcast.server.certificates import load_or_make

    with tempfile.TemporaryDirectory(prefix="rowcast-exec-") as name:
        folder = Path(name)
        files = load_or_make(folder / "tls", NAMES)
        (folder / "tls" / "ca-key.pem").unlink()  # it has signed all that it is to sign
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate, files.key)
        context.set_alpn_protocols(["h2", "http/1.1"])
        proxy = _Running(target, context)
        try:
            yield _variables(folder, files.authority, proxy.port, target)
        finally:
            proxy.close()


def _variables(folder: Path, authority: Path | None, port: int, target: Target) -> dict[str, str]:
    """The environment of the program: where the proxy is, whom to trust, and who it is."""
    bundle = folder / "trusted.pem"
    own = [path for path in (authority, target.authority) if path is not None and path.exists()]
    bundle.write_bytes(_system_authorities() + b"".join(path.read_bytes() for path in own))
    credentials = folder / "credentials.json"
    credentials.write_text(json.dumps(external_account(target.url, target.token_file)))
    proxy, near = f"http://127.0.0.1:{port}", "127.0.0.1,localhost,::1"
    proxies = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "grpc_proxy"), proxy)
    trusted = (
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
        "REQUESTS_CA_BUNDLE",
        "SSL_CERT_FILE",
        "CURL_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
    )
    return {
        **proxies,
        "no_proxy": near,
        "NO_PROXY": near,
        **dict.fromkeys(trusted, str(bundle)),
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
    }


def _system_authorities() -> bytes:
    """What this machine trusts, for connections that are passed through."""
    paths = ssl.get_default_verify_paths()
    with contextlib.suppress(OSError, TypeError):
        return Path(paths.cafile or paths.openssl_cafile).read_bytes() + b"\n"
    import certifi

    return Path(certifi.where()).read_bytes() + b"\n"


class _Running:
    """The proxy on an event loop of a thread of its own."""

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._proxy = Proxy(target, context)
        self.port = self._call(self._proxy.start())

    def _call(self, task: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(30)

    def close(self) -> None:
        self._call(self._proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Proxy:
    """Takes CONNECT requests: ends those to Google's hosts here, passes on the others."""

    def __init__(self, target: Target, context: ssl.SSLContext) -> None:
        self._target = target
        self._context = context
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> int:
        """Begin to listen, on this machine alone; return the port."""
        import httpx
        import uvicorn

        self._http = httpx.AsyncClient(
            base_url=self._target.url,
            verify=self._target.trust() or True,
            timeout=None,  # noqa: S113 - the program's own
            trust_env=False,
        )
        config = uvicorn.Config(
            self._forward,
            host="127.0.0.1",
            port=0,
            log_config=None,
            access_log=False,
            lifespan="off",
            interface="asgi3",
        )
        self._inner = uvicorn.Server(config)
        self._inner_socket = config.bind_socket()
        self._inner_task = asyncio.create_task(self._inner.serve(sockets=[self._inner_socket]))
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """End every connection."""
        self._server.close()
        self._inner.should_exit = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, self._inner_task, return_exceptions=True)
        await self._http.aclose()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            logger.info("diversion_ended", reason=f"{type(error).__name__}: {error}")
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), HEAD_S)
        asked = _CONNECT.match(head)
        if asked is None or len(head) > HEAD_BYTES:
            writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        host, port = asked[1].decode().lower(), int(asked[2])
        if not DIVERTED.fullmatch(host):
            there = await asyncio.open_connection(host.strip("[]"), port)
            await _agree(writer)
            await _joined((reader, writer), there)
            return
        await _agree(writer)
        await writer.start_tls(self._context)
        protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()
        await _joined((reader, writer), await self._upstream(host, rpc=protocol == "h2"))

    async def _upstream(
        self, host: str, *, rpc: bool
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to what answers in the place of a host."""
        logger.info("diverted", host=host, door="grpc" if rpc else "rest")
        if not rpc:
            return await asyncio.open_connection(*self._inner_socket.getsockname()[:2])
        if self._target.grpc is None:
            raise ConnectionRefusedError(
                "the program speaks gRPC; name the server's door with --grpc HOST:PORT"
            )
        place, _, port = self._target.grpc.rpartition(":")
        trust = self._target.trust("h2")
        return await asyncio.open_connection(place.strip("[]"), int(port), ssl=trust)

    async def _forward(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a REST request by the server's answer: ASGI, behind the proxy."""
        if scope["type"] != "http":
            return
        path = scope["raw_path"].decode("ascii")
        query = scope["query_string"].decode("ascii")
        headers = [item for item in scope["headers"] if item[0] not in HOP_BY_HOP]
        request = self._http.build_request(
            scope["method"],
            f"{path}?{query}" if query else path,
            headers=headers,
            content=_body(receive),
        )
        answer = await self._http.send(request, stream=True)
        try:
            kept = [item for item in answer.headers.raw if item[0].lower() not in HOP_BY_HOP]
            await send(
                {"type": "http.response.start", "status": answer.status_code, "headers": kept}
            )
            async for chunk in answer.aiter_raw():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _agree(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await writer.drain()


async def _joined(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Carry bytes both ways until either side has ended."""
    tasks = [
        asyncio.create_task(_carry(one[0], other[1])),
        asyncio.create_task(_carry(other[0], one[1])),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        other[1].close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(64 << 10):
        writer.write(chunk)
        await writer.drain()


def check_door(address: str | None) -> str | None:
    """Return the address of a gRPC door if it is one. Raises InvalidRequest."""
    if address is not None and not re.fullmatch(r"([\w.-]+|\[[0-9a-fA-F:]+\]):\d{1,5}", address):
        raise InvalidRequest(f"{address!r} is not the address of a gRPC door; write HOST:PORT.")
    return address


def run(command: list[str], target: Target) -> int:
    """Run a program whose calls to Google's hosts the server answers; its exit code."""
    import subprocess

    with diverting(target) as variables:
        return subprocess.call(command, env={**os.environ, **variables})  # noqa: S603 - the user's
