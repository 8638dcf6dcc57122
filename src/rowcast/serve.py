"""The server process: one application, one port, one lock on its home folder."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import signal
import socket
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from rowcast.errors import FailedPrecondition
from rowcast.settings import load_settings
from rowcast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import uvicorn
    from fastapi import FastAPI

    from rowcast.bootstrap import Application
    from rowcast.server.certificates import ServerFiles
    from rowcast.settings import Settings

logger = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    *,
    host: str | None,
    port: int | None,
    home: Path | None,
    grpc_port: int | None = None,
    tls: bool | None = None,
) -> None:
    """Serve until told to stop, by Ctrl-C or SIGTERM. None means the setting.

    Raises
    ------
    InvalidRequest
        If a setting is wrong, or the host is not this machine alone and there is no token.
    FailedPrecondition
        If another server works on the same home folder, a port is taken, or the setting
        ``grpc_port`` or ``tls`` needs a library that is not installed.
    """
    from rowcast.logs import configure_logging

    settings = load_settings(home=home, host=host, port=port, grpc_port=grpc_port, tls=tls)
    configure_logging(settings.log_level, json_lines=not sys.stderr.isatty())
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(settings.home), listening(settings.host, settings.port) as listener:
        _serve(settings, listener)


def _serve(settings: Settings, listener: socket.socket) -> None:
    import uvicorn

    from rowcast.bootstrap import build
    from rowcast.console import Home, open_console
    from rowcast.rpc.server import require
    from rowcast.server.access import Access, check_bind, load_or_make_token
    from rowcast.server.app import create_app
    from rowcast.server.audit import AuditLog
    from rowcast.server.services import ServerOptions

    given = settings.token.get_secret_value() if settings.token else None
    token = given or load_or_make_token(settings.home)
    check_bind(settings.host, token)
    if settings.grpc_port is not None:
        require()
    files = server_files(settings)
    application = build(settings)
    app = create_app(
        jobs=application.jobs,
        models=application.models,
        datasets=application.datasets,
        pipelines=application.pipelines,
        uploads=application.uploads,
        operations=application.operations,
        previews=application.previews,
        tables=application.tables,
        objects=application.objects,
        access=Access(token, application.guard),
        guard=application.guard,
        audit=AuditLog(settings.audit_file),
        settings=ServerOptions(
            default_location=settings.location,
            allowed_hosts=settings.allowed_hosts,
            max_request_bytes=settings.max_request_bytes,
            requests_per_second=settings.requests_per_second,
            node_hour_s=settings.node_hour_s,
        ),
        pages=open_console(Home(settings.project, settings.location, settings.project)),
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        ssl_certfile=files.certificate if files else None,
        ssl_keyfile=files.key if files else None,
    )
    url = _url(settings.host, listener.getsockname()[1], secure=files is not None)
    logger.info(
        "serving",
        url=url,
        console=f"{url}/",
        home=str(settings.home),
        token_in="ROWCAST_TOKEN" if given else str(settings.home / "token"),
        trust=str(files.authority) if files and files.authority else None,
        version=__version__,
    )
    try:
        with _told_to_stop(), asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            _own_warehouse(application)
            application.manager.start()
            application.trainings.start()
            runner.run(_answer(settings, uvicorn.Server(config), listener, app, files))
    finally:
        application.close()


async def _answer(
    settings: Settings,
    server: uvicorn.Server,
    listener: socket.socket,
    app: FastAPI,
    files: ServerFiles | None,
) -> None:
    """Answer over HTTP, and over gRPC if the settings give it a port."""
    from rowcast.rpc.server import Identity, RpcServer

    if settings.grpc_port is None:
        await server.serve(sockets=[listener])
        return
    identity = Identity(files.key.read_bytes(), files.certificate.read_bytes()) if files else None
    door = RpcServer(app, max_request_bytes=settings.max_request_bytes)
    try:
        port = await door.start(settings.host, settings.grpc_port, identity)
        logger.info("serving_grpc", address=_netloc(settings.host, port), tls=identity is not None)
        await server.serve(sockets=[listener])
    finally:
        await door.stop()


def server_files(settings: Settings) -> ServerFiles | None:
    """Find or make what a server shows over TLS; None if it speaks plaintext.

    Raises
    ------
    InvalidRequest, PermissionDenied
        If a file is not what it should be.
    FailedPrecondition
        If a certificate must be made and the library for it is not installed.
    """
    from rowcast.server.certificates import given_files, load_or_make, machine_names

    if settings.tls_certificate is not None:
        return given_files(settings.tls_certificate, settings.tls_key)
    if not settings.tls:
        return None
    return load_or_make(settings.tls_folder, machine_names(settings.host, settings.allowed_hosts))


def _own_warehouse(application: Application) -> None:
    """Take the warehouse before a command does; without it, the rest is served all the same."""
    try:
        application.warehouse.open()
    except FailedPrecondition as error:
        logger.warning("warehouse_not_opened", reason=str(error))


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Hold a bound socket.

    Raises
    ------
    FailedPrecondition
        If the address is taken, or not one of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise FailedPrecondition(f"{host!r} is not an address to listen on: {error}.") from error
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)  # uvicorn listens on it once it can answer
        except OSError as error:
            hint = " Choose another --port." if error.errno == errno.EADDRINUSE else ""
            reason = os.strerror(error.errno or 0).lower()
            raise FailedPrecondition(f"Cannot listen on {host}:{port}: {reason}.{hint}") from error
        yield listener


@contextmanager
def _told_to_stop() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C do no more than end uvicorn, which raises them again at its end."""
    before = {number: signal.signal(number, lambda *_: None) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _url(host: str, port: int, *, secure: bool) -> str:
    return f"{'https' if secure else 'http'}://{_netloc(host, port)}"


def _netloc(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Hold the home folder's server lock, which ends with the process however it ends.

    Raises
    ------
    FailedPrecondition
        If another server has it.
    """
    with (home / "server.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FailedPrecondition(
                f"Another rowcast server works on {home}; stop it, or choose another --home."
            ) from None
        yield
