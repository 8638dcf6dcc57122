"""The gRPC server beside the HTTP server: one port, plaintext or TLS."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.routing import Match

from rowcast.errors import FailedPrecondition
from rowcast.rpc import bridge
from rowcast.rpc.methods import NEEDED, Method, load_methods

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from google.protobuf.message import Message

_VARIABLE = re.compile(r"\{[^=}]+=([^}]*)\}")
STOP_S = 5.0
"""Seconds that calls may take to end once the server is told to stop."""


@dataclass(frozen=True)
class Identity:
    """What a server shows: the PEM text of its private key and of its certificates."""

    key: bytes
    certificates: bytes

    def __repr__(self) -> str:
        return "Identity(***)"


class RpcServer:
    """A gRPC server that hands every call to an HTTP application.

    Make it within the event loop that the application runs in.
    """

    def __init__(self, app: FastAPI, *, max_request_bytes: int) -> None:
        self._app = app
        self._limit = max_request_bytes
        self._server: Any = None

    async def start(self, host: str, port: int, identity: Identity | None) -> int:
        """Begin to serve; return the port, which is chosen if 0 is given.

        Without an identity, calls come in plaintext.

        Raises
        ------
        FailedPrecondition
            If the libraries are not installed, or the address cannot be listened on.
        """
        methods = await asyncio.to_thread(load_methods)
        import grpc

        self._server = grpc.aio.server(
            options=[
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", self._limit),
            ]
        )
        self._server.add_generic_rpc_handlers((_handlers(self._app, methods),))
        address = f"[{host}]:{port}" if ":" in host or not host else f"{host}:{port}"
        address = address.replace("[]", "[::]")
        try:
            if identity is None:
                bound = self._server.add_insecure_port(address)
            else:
                pair = (identity.key, identity.certificates)
                bound = self._server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            raise FailedPrecondition(
                f"Cannot listen on {host}:{port} for gRPC; choose another --grpc-port."
            ) from error
        await self._server.start()
        return int(bound)

    async def stop(self) -> None:
        """Let running calls end, and serve no more."""
        if self._server is not None:
            await self._server.stop(STOP_S)


def require() -> None:
    """See that the libraries are there, before anything is started.

    Raises
    ------
    FailedPrecondition
        Naming the extra to install.
    """
    from importlib.util import find_spec

    try:
        missing = [name for name in ("grpc", "google.cloud.aiplatform_v1") if not find_spec(name)]
    except ModuleNotFoundError as error:
        missing = [str(error.name)]
    if missing:
        raise FailedPrecondition(f"The gRPC door needs {NEEDED}.")


def _handlers(app: FastAPI, methods: list[Method]) -> Any:
    """Find the handler of a call by its path."""
    import grpc

    known = {
        method.path: grpc.unary_unary_rpc_method_handler(
            _handler(app, method, offered=_offers(app, method)),
            response_serializer=method.response.SerializeToString,
        )
        for method in methods
    }

    class Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            return known.get(details.method)

    return Handlers()


def _handler(
    app: FastAPI, method: Method, *, offered: bool
) -> Callable[[bytes, Any], Awaitable[Message]]:
    import grpc

    async def handle(content: bytes, context: Any) -> Message:
        metadata = {
            key: value for key, value in context.invocation_metadata() if isinstance(value, str)
        }
        try:
            return await bridge.call(app, method, content, metadata, _address(context.peer()))
        except bridge.Refusal as refusal:
            if refusal.status in ("NOT_FOUND", "UNIMPLEMENTED") and not offered:
                refusal = bridge.Refusal("UNIMPLEMENTED", f"Rowcast has no {method.name}.")
            trailing = (("grpc-status-details-bin", refusal.details),) if refusal.details else ()
            await context.abort(grpc.StatusCode[refusal.status], refusal.message, trailing)
            raise

    return handle


def _address(peer: str) -> bridge.Address:
    """Read what gRPC calls a peer, such as ``ipv4:127.0.0.1:53422`` or ``ipv6:%5B::1%5D:53422``."""
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    return host.strip("[]") or peer, int(port) if port.isdecimal() else 0


def _offers(app: FastAPI, method: Method) -> bool:
    """Whether the application has a route for a method's request."""
    return any(
        route.matches({"type": "http", "method": rule["method"].upper(), "path": path})[0]
        is Match.FULL
        for rule in method.rules
        for path in [_example(rule["uri"])]
        for route in app.routes
    )


def _example(template: str) -> str:
    """A path of a template's form: ``/v1/projects/x`` for ``/v1/{name=projects/*}``."""
    return _VARIABLE.sub(r"\1", template).replace("*", "x")
