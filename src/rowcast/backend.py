"""Jobs through one door, wherever they run: in this process, or on a server.

Both speak the REST API's JSON, so that a command line, a script and a remote caller see the
same resources and the same errors.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from rowcast.errors import RPC_CODES, InvalidRequest, RowcastError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

    from rowcast.bootstrap import Application
    from rowcast.core.names import Parent
    from rowcast.settings import Settings

Json = dict[str, Any]
FINISHED = ("JOB_STATE_SUCCEEDED", "JOB_STATE_FAILED", "JOB_STATE_CANCELLED")


class Backend(Protocol):
    """Where jobs are created and looked up. Resources are the REST API's JSON objects."""

    def create(self, body: Json) -> Json:
        """Create a job, or try it if ``rowcast.validateOnly`` is set."""
        ...

    def get(self, job: str) -> Json:
        """Look a job up by id or name."""
        ...

    def jobs(self, *, filter_: str = "", limit: int = 20) -> list[Json]:
        """The newest jobs."""
        ...

    def cancel(self, job: str) -> None:
        """Ask a job to stop."""
        ...

    def models(self) -> list[Json]:
        """The default version of each model."""
        ...

    def model(self, name: str) -> Json:
        """Look a model up by id, optionally with @version."""
        ...

    def close(self) -> None:
        """Release what the backend holds."""
        ...


class LocalBackend:
    """Jobs of a home folder, run by this process."""

    def __init__(self, settings: Settings, roots: Iterable[Path] = ()) -> None:
        from rowcast.bootstrap import build
        from rowcast.logs import configure_logging

        configure_logging("warning", json_lines=False)
        self._app: Application = build(settings, roots=roots, warm_replicas=0)
        self._workers: list[threading.Thread] = []

    @property
    def application(self) -> Application:
        """The wired application."""
        return self._app

    def create(self, body: Json) -> Json:
        """See ``Backend.create``. The job runs on a thread of this process."""
        from rowcast.server.batch_jobs import submit
        from rowcast.server.wire import parse_job

        asked = parse_job(json.dumps(body).encode())
        resource: Json = submit(self._app.jobs, self._app.parent, asked)
        if "name" in resource:
            self.resume(resource["name"])
        return resource

    def resume(self, job: str) -> None:
        """Take a job over and run it on a thread of this process."""
        self._app.manager.release_dead_owners()
        worker = threading.Thread(
            target=self._app.manager.run_one, args=(_last(job),), name="job", daemon=True
        )
        worker.start()
        self._workers.append(worker)

    def get(self, job: str) -> Json:
        """See ``Backend.get``."""
        from rowcast.server.wire import render_job

        return render_job(self._app.jobs.get(self._app.parent, _last(job)))

    def jobs(self, *, filter_: str = "", limit: int = 20) -> list[Json]:
        """See ``Backend.jobs``."""
        from rowcast.server.filters import JOB_FIELDS, parse_filter
        from rowcast.server.wire import render_job

        where = parse_filter(filter_, JOB_FIELDS)
        return [
            render_job(job)
            for job in self._app.jobs.list(self._app.parent, where=where, limit=limit)
        ]

    def cancel(self, job: str) -> None:
        """See ``Backend.cancel``."""
        self._app.jobs.cancel(self._app.parent, _last(job))

    def models(self) -> list[Json]:
        """See ``Backend.models``."""
        from rowcast.server.wire import render_model

        return [render_model(model) for model in self._app.store.list_models(self._app.parent)]

    def model(self, name: str) -> Json:
        """See ``Backend.model``."""
        from rowcast.server.wire import render_model

        id_, _, version = _last(name).partition("@")
        return render_model(self._app.store.get_model(self._app.parent, id_, version or None))

    def close(self) -> None:
        """See ``Backend.close``."""
        self._app.close()
        for worker in self._workers:
            worker.join(timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class HttpBackend:
    """Jobs of a server, through its REST API.

    Parameters
    ----------
    url : str
        ``http://HOST:PORT``.
    token : str, optional
        Sent as bearer token.
    """

    def __init__(self, url: str, token: str | None, parent: Parent) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=60)
        self._parent = parent

    def create(self, body: Json) -> Json:
        """See ``Backend.create``."""
        return self._call("POST", f"/v1/{self._parent}/batchPredictionJobs", json=body)

    def get(self, job: str) -> Json:
        """See ``Backend.get``."""
        return self._call("GET", f"/v1/{self._name('batchPredictionJobs', job)}")

    def jobs(self, *, filter_: str = "", limit: int = 20) -> list[Json]:
        """See ``Backend.jobs``."""
        params = {"pageSize": limit, **({"filter": filter_} if filter_ else {})}
        answer = self._call("GET", f"/v1/{self._parent}/batchPredictionJobs", params=params)
        return list(answer.get("batchPredictionJobs", []))

    def cancel(self, job: str) -> None:
        """See ``Backend.cancel``."""
        self._call("POST", f"/v1/{self._name('batchPredictionJobs', job)}:cancel", json={})

    def models(self) -> list[Json]:
        """See ``Backend.models``."""
        return list(self._call("GET", f"/v1/{self._parent}/models").get("models", []))

    def model(self, name: str) -> Json:
        """See ``Backend.model``."""
        return self._call("GET", f"/v1/{self._name('models', name)}")

    def close(self) -> None:
        """See ``Backend.close``."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _name(self, collection: str, name: str) -> str:
        return name if "/" in name else self._parent.child(collection, name)

    def _call(self, method: str, path: str, **options: Any) -> Json:
        import httpx

        try:
            response = self._http.request(method, path, **options)
        except httpx.TransportError as error:
            where = f"{self._http.base_url}"
            raise RowcastError(f"The server at {where} cannot be reached: {error}.") from error
        if response.is_success:
            answer: Json = response.json()
            return answer
        raise _remote_error(response.status_code, response.text, response.json)


def _last(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def _remote_error(http_status: int, text: str, parse: Any) -> RowcastError:
    """Rebuild the error that a server answered with."""
    with suppress(ValueError, KeyError, TypeError):
        body = parse()["error"]
        status = body["status"]
        if status in RPC_CODES:
            kinds = {kind.status: kind for kind in _kinds(RowcastError) if kind.__doc__}
            error: RowcastError = kinds.get(status, RowcastError)(body["message"])
            if isinstance(error, InvalidRequest):
                error.violations = tuple(
                    Violation(item["field"], item["description"])
                    for detail in body.get("details", [])
                    for item in detail.get("fieldViolations", [])
                )
            return error
    return RowcastError(f"The server answered HTTP {http_status}: {text[:200]}")


def _kinds(base: type[RowcastError]) -> list[type[RowcastError]]:
    """Direct subclasses: the first of each status."""
    return list(base.__subclasses__())
