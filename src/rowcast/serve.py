"""The server process: one application, one port, one lock on its home folder."""

from __future__ import annotations

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

    from rowcast.settings import Settings

logger = structlog.get_logger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(*, host: str | None, port: int | None, home: Path | None) -> None:
    """Serve until told to stop, by Ctrl-C or SIGTERM. None means the setting.

    Raises
    ------
    InvalidRequest
        If a setting is wrong, or the host is not this machine alone and there is no token.
    FailedPrecondition
        If another server works on the same home folder, or the port is taken.
    """
    from rowcast.logs import configure_logging

    settings = load_settings(home=home, host=host, port=port)
    configure_logging(settings.log_level, json_lines=not sys.stderr.isatty())
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    with exclusive(settings.home), listening(settings.host, settings.port) as listener:
        _serve(settings, listener)


def _serve(settings: Settings, listener: socket.socket) -> None:
    import uvicorn

    from rowcast.bootstrap import build
    from rowcast.server.access import Access, check_bind, load_or_make_token
    from rowcast.server.app import create_app
    from rowcast.server.services import ServerOptions

    given = settings.token.get_secret_value() if settings.token else None
    token = given or load_or_make_token(settings.home)
    check_bind(settings.host, token)
    application = build(settings)
    app = create_app(
        jobs=application.jobs,
        models=application.models,
        datasets=application.datasets,
        pipelines=application.pipelines,
        uploads=application.uploads,
        operations=application.operations,
        access=Access(token),
        settings=ServerOptions(
            default_location=settings.location,
            allowed_hosts=settings.allowed_hosts,
            max_request_bytes=settings.max_request_bytes,
            node_hour_s=settings.node_hour_s,
        ),
    )
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    logger.info(
        "serving",
        url=_url(settings.host, listener.getsockname()[1]),
        home=str(settings.home),
        token_in="ROWCAST_TOKEN" if given else str(settings.home / "token"),
        version=__version__,
    )
    try:
        with _told_to_stop():
            application.manager.start()
            application.trainings.start()
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        application.close()


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


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


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
