"""The application: routes to handlers, with the services handed in."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import structlog
from fastapi import Depends, FastAPI
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from rowcast import metrics
from rowcast.access.guard import OwnerOnly
from rowcast.server import (
    batch_jobs,
    bigquery_door,
    datasets,
    evaluations,
    models,
    operations,
    pipelines,
    status,
    storage_door,
    token_exchange,
    upload,
    warehouse,
)
from rowcast.server.access import Doorman
from rowcast.server.audit import Audit
from rowcast.server.bigquery_jobs import TableJobs
from rowcast.server.permissions import authorise
from rowcast.server.services import ServerOptions, Services
from rowcast.server.transfers import Transfers
from rowcast.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rowcast.access.guard import Guard
    from rowcast.importing.uploads import UploadService
    from rowcast.jobs.loading import TableService
    from rowcast.pipelines.datasets import DatasetService
    from rowcast.pipelines.preview import PreviewService
    from rowcast.pipelines.service import PipelineService
    from rowcast.registry.service import ModelService
    from rowcast.server.access import Access
    from rowcast.server.audit import AuditLog
    from rowcast.server.services import JobService
    from rowcast.storage.objects import Objects
    from rowcast.stores import OperationStore

__all__ = ["ServerOptions", "create_app"]

logger = structlog.get_logger(__name__)

MAX_LOGGED_PATH = 300


class Pages(Protocol):
    """Pages for people beside the API. They see to their own login."""

    def owns(self, path: str) -> bool:
        """Whether a path is theirs and not the API's."""
        ...

    def connect(self, api: ASGIApp) -> None:
        """Say which application answers the API."""
        ...

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for one of their paths."""
        ...

    async def close(self) -> None:
        """End with the server."""
        ...


def create_app(
    *,
    jobs: JobService,
    models: ModelService,
    datasets: DatasetService,
    pipelines: PipelineService,
    uploads: UploadService,
    operations: OperationStore,
    previews: PreviewService,
    tables: TableService,
    objects: Objects,
    access: Access,
    settings: ServerOptions,
    guard: Guard | None = None,
    audit: AuditLog | None = None,
    pages: Pages | None = None,
) -> FastAPI:
    """Make the HTTP application.

    ``/v1beta1`` is an alias of ``/v1``; ``/ui`` serves operations. ``/healthz`` needs no token,
    everything else does, ``/metrics`` and ``/openapi.json`` included, except what ``pages`` own.
    ``guard`` decides what callers other than the owner may do; ``audit`` is told of every change.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        if pages is not None:
            await pages.close()

    app = FastAPI(
        lifespan=lifespan,
        title="rowcast",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = Services(
        jobs,
        models,
        datasets,
        pipelines,
        uploads,
        operations,
        previews,
        tables,
        objects,
        settings,
        guard=guard or OwnerOnly(),
    )
    app.add_api_route("/healthz", _healthz, methods=["GET"], operation_id="healthz")
    app.add_api_route(
        "/metrics", _metrics, methods=["GET"], include_in_schema=False, operation_id="metrics"
    )
    for prefix in ("/v1", "/v1beta1"):
        for router in _ROUTERS:
            app.include_router(
                router,
                prefix=prefix,
                include_in_schema=prefix == "/v1",
                dependencies=[Depends(authorise)],
            )
    app.include_router(
        _OPERATIONS, prefix="/ui", include_in_schema=False, dependencies=[Depends(authorise)]
    )
    app.include_router(storage_door.router, dependencies=[Depends(authorise)])
    waiting = Path(tables.tables.folder).parent
    app.state.transfers = Transfers(waiting / "transfers")
    app.state.bigquery = bigquery_door.Door(
        tables.tables.warehouse, TableJobs(tables, waiting / "answers"), app.state.transfers
    )
    app.include_router(bigquery_door.router, dependencies=[Depends(authorise)])
    app.add_route(token_exchange.PATH, token_exchange.exchange_with(access), methods=["POST"])
    status.install(app)
    if pages is not None:
        pages.connect(app)
        app.add_middleware(Beside, pages=pages)
    app.add_middleware(
        Doorman,
        access=access,
        allowed_hosts=settings.allowed_hosts,
        requests_per_second=settings.requests_per_second,
        is_page=pages.owns if pages is not None else None,
    )
    if audit is not None:
        app.add_middleware(Audit, log=audit)
    app.add_middleware(RequestLog)
    return app


_OPERATIONS = operations.router
_ROUTERS = (
    batch_jobs.router,
    datasets.router,
    pipelines.router,
    upload.router,
    models.router,
    evaluations.router,
    operations.router,
    warehouse.router,
)


_METHODS = frozenset({"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"})


async def _metrics() -> Response:
    """What this process has counted, for Prometheus."""
    return Response(metrics.exposition(), media_type=metrics.CONTENT_TYPE)


async def _healthz() -> dict[str, str]:
    """Whether the server is up."""
    return {"status": "ok", "version": __version__}


class Beside:
    """ASGI middleware that leaves the paths of pages to them."""

    def __init__(self, app: ASGIApp, *, pages: Pages) -> None:
        self._app = app
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        own = scope["type"] != "lifespan" and self._pages.owns(scope["path"])
        await (self._pages if own else self._app)(scope, receive, send)


class RequestLog:
    """ASGI middleware that logs each request in a line, and answers those that break.

    Logged are method, path, status and duration: no query, which may hold a key, no header and
    no body.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        code = 0

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ClientDisconnect:
            code = status.HTTP_CODES["CANCELLED"]
        except Exception as error:  # noqa: BLE001 - the last stop before the web server
            response = status.respond_to_unexpected(error)
            if code == 0:
                await response(scope, receive, noting)
        finally:
            seconds = time.perf_counter() - began
            method = scope["method"] if scope["method"] in _METHODS else "other"
            metrics.REQUEST_SECONDS.labels(method, code).observe(seconds)
            logger.info(
                "request",
                method=_escape(scope["method"]),
                path=_escape(scope["path"]),
                status=code,
                ms=round(seconds * 1000, 1),
            )


def _escape(text: str) -> str:
    """Make a text safe for a line of a log: printable, and not endless."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[:MAX_LOGGED_PATH])
    return shown if len(text) <= MAX_LOGGED_PATH else f"{shown}..."
