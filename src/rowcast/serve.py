"""The server process: one application, one port, one lock on its home folder."""

from __future__ import annotations

import fcntl
from contextlib import contextmanager
from typing import TYPE_CHECKING

import structlog

from rowcast.errors import FailedPrecondition
from rowcast.settings import load_settings
from rowcast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

logger = structlog.get_logger(__name__)


def serve(*, host: str, port: int, home: Path | None) -> None:
    """Serve until told to stop.

    Raises
    ------
    InvalidRequest
        If ``host`` is not this machine alone and there is no token.
    FailedPrecondition
        If another server works on the same home folder, or the port is taken.
    """
    import uvicorn

    from rowcast.bootstrap import build
    from rowcast.logs import configure_logging
    from rowcast.server.access import Access, check_bind, load_or_make_token
    from rowcast.server.app import create_app
    from rowcast.server.services import ServerOptions

    settings = load_settings(home=home, host=host, port=port)
    configure_logging(settings.log_level)
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    given = settings.token.get_secret_value() if settings.token else None
    token = given or load_or_make_token(settings.home)
    check_bind(settings.host, token)
    with exclusive(settings.home):
        application = build(settings)
        app = create_app(
            jobs=application.jobs,
            models=application.store,
            operations=application.operations,
            access=Access(token),
            settings=ServerOptions(
                default_location=settings.location,
                allowed_hosts=settings.allowed_hosts,
                max_request_bytes=settings.max_request_bytes,
            ),
        )
        config = uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        where = "ROWCAST_TOKEN" if given else str(settings.home / "token")
        logger.info(
            "serving",
            url=f"http://{settings.host}:{settings.port}",
            home=str(settings.home),
            token_in=where,
            version=__version__,
        )
        application.manager.start()
        try:
            server.run()
        except SystemExit as error:  # how uvicorn reports a port that is taken
            raise FailedPrecondition(
                f"Cannot listen on {settings.host}:{settings.port}; is another program there?"
            ) from error
        finally:
            application.close()


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
