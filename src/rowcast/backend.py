"""Jobs and models through one door, wherever they are: in this process, or on a server.

Both speak the REST API's JSON, so that a command line, a script and a remote caller see the
same resources and the same errors.
"""

from __future__ import annotations

import json
import re
import tempfile
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from glob import iglob
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from rowcast.core.names import MANIFEST
from rowcast.errors import RPC_CODES, InvalidRequest, NotFound, RowcastError, Violation

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

    import httpx
    import pyarrow as pa

    from rowcast.bootstrap import Application
    from rowcast.core.names import Parent
    from rowcast.engines import Engine
    from rowcast.settings import Settings
    from rowcast.stores import Model

Json = dict[str, Any]
MOST_A_PAGE = 1000
SPOOL_BYTES = 32 << 20
LONG_S = 3600.0
"""A query or a load may be at work for so long before it answers."""


@dataclass(frozen=True)
class WrittenFile:
    """One object of a job's results."""

    name: str
    rows: int
    bytes: int


class Backend(Protocol):
    """Where jobs and models are. Resources are the REST API's JSON objects."""

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

    def report(self, job: str) -> str:
        """A job's report, one HTML page."""
        ...

    def model_report(self, name: str) -> str:
        """A model's report, one HTML page."""
        ...

    def models(self) -> list[Json]:
        """The default version of each model."""
        ...

    def model(self, name: str) -> Json:
        """Look a model up by id, optionally with @version."""
        ...

    def model_versions(self, name: str) -> list[Json]:
        """All versions of a model, newest first; what is after ``@`` makes no difference."""
        ...

    def merge_aliases(self, name: str, aliases: Sequence[str]) -> Json:
        """Give a version aliases; one that begins with ``-`` is taken away."""
        ...

    def delete_model(self, name: str) -> None:
        """Delete a model, or only the version after ``@``."""
        ...

    def files(self, directory: str) -> list[WrittenFile]:
        """The objects that a finished job wrote; empty where that cannot be seen from here."""
        ...

    def query(
        self, statement: str, *, dataset: str | None = None, write: bool = False
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Run a statement in BigQuery's dialect and read its rows."""
        ...

    def scan(self, table: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Read all rows of ``bq://project.dataset.table``."""
        ...

    def load(self, files: Sequence[str], table: str, *, format_: str, mode: str, text: bool) -> int:
        """Make a table of files, replace one, or append to one; the rows."""
        ...

    def close(self) -> None:
        """Release what the backend holds."""
        ...


class LocalBackend:
    """Jobs of a home folder, run by this process.

    With ``roots``, the folders of a job that is about to be created, replicas start at once.
    """

    def __init__(self, settings: Settings, roots: Iterable[Path] = ()) -> None:
        from rowcast.pool import default_replicas, open_replicas

        roots = tuple(roots)
        engine = open_replicas(settings, default_replicas(settings) if roots else 0)
        try:
            self._app = _application(settings, roots, engine)
        except BaseException:
            engine.close()
            raise
        self._workers: list[threading.Thread] = []

    @property
    def application(self) -> Application:
        """The wired application."""
        return self._app

    def create(self, body: Json) -> Json:
        """See ``Backend.create``. The job runs on a thread of this process."""
        self._app.engine.warm(self._app.replicas)  # while the request is being looked at
        from rowcast.server.submitting import submit
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

    def report(self, job: str) -> str:
        """See ``Backend.report``."""
        from rowcast.server.reports import job_page

        return job_page(self._app.jobs, self._app.parent, _last(job))

    def model_report(self, name: str) -> str:
        """See ``Backend.model_report``."""
        from rowcast.server.reports import model_page

        return model_page(self._named(name))

    def models(self) -> list[Json]:
        """See ``Backend.models``."""
        from rowcast.server.model_wire import render_model

        models = self._app.models.list(self._app.parent)
        return [render_model(model, self._app.models.facts(model)) for model in models]

    def model(self, name: str) -> Json:
        """See ``Backend.model``."""
        from rowcast.server.model_wire import render_model

        model = self._named(name)
        return render_model(model, self._app.models.facts(model))

    def model_versions(self, name: str) -> list[Json]:
        """See ``Backend.model_versions``."""
        from rowcast.server.model_wire import render_model

        id_ = _last(name).partition("@")[0]
        versions = self._app.models.versions(self._app.parent, id_)
        return [render_model(model, self._app.models.facts(model)) for model in versions]

    def merge_aliases(self, name: str, aliases: Sequence[str]) -> Json:
        """See ``Backend.merge_aliases``."""
        from rowcast.server.model_wire import render_model

        model = self._app.models.merge_aliases(self._named(name), aliases)
        return render_model(model, self._app.models.facts(model))

    def delete_model(self, name: str) -> None:
        """See ``Backend.delete_model``."""
        id_, _, version = _last(name).partition("@")
        if version:
            self._app.models.delete_version(self._named(name))
        else:
            self._app.models.delete(self._app.parent, id_)

    def _named(self, name: str) -> Model:
        id_, _, version = _last(name).partition("@")
        return self._app.models.get(self._app.parent, id_, version or None)

    def files(self, directory: str) -> list[WrittenFile]:
        """See ``Backend.files``."""
        try:
            manifest = self._app.objects.read_bytes(f"{directory.rstrip('/')}/{MANIFEST}")
        except RowcastError:
            return []
        return _written(manifest)

    def query(
        self, statement: str, *, dataset: str | None = None, write: bool = False
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """See ``Backend.query``."""
        return self._app.tables.query(statement, dataset=dataset, write=write)

    def scan(self, table: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """See ``Backend.scan``."""
        return self._app.tables.scan(table)

    def load(self, files: Sequence[str], table: str, *, format_: str, mode: str, text: bool) -> int:
        """See ``Backend.load``."""
        uris = [_absolute(file) for file in files]
        return self._app.tables.load(uris, table, format_=format_, mode=mode, text=text)

    def close(self) -> None:
        """See ``Backend.close``."""
        self._app.close()
        for worker in self._workers:
            worker.join(timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _application(settings: Settings, roots: Iterable[Path], engine: Engine) -> Application:
    import structlog

    from rowcast.bootstrap import build
    from rowcast.logs import configure_logging

    if not structlog.is_configured():  # what goes wrong is in the job itself as well
        asked = settings.log_level if "log_level" in settings.model_fields_set else "error"
        configure_logging(asked, json_lines=False)
    return build(settings, roots=roots, reserve_jobs=True, engine=engine)


class HttpBackend:
    """Jobs of a server, through its REST API.

    Parameters
    ----------
    url : str
        ``http://HOST:PORT``.
    token : str, optional
        Sent as bearer token.
    authority : Path, optional
        PEM file, trusted beside the system's authorities if it exists: the one that a server on
        this machine has made for itself.
    """

    def __init__(
        self, url: str, token: str | None, parent: Parent, authority: Path | None = None
    ) -> None:
        import httpx

        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if not re.match(r"https?://[^/]", url):
            raise InvalidRequest(f"{url!r} is not a server's URL; write http://HOST:PORT.")
        if token is not None and not token.isascii():
            raise InvalidRequest("The token holds characters that no token has.")
        try:
            self._http = httpx.Client(
                base_url=url.rstrip("/"), headers=headers, timeout=60, verify=_trust(authority)
            )
        except httpx.InvalidURL as error:
            raise InvalidRequest(f"{url!r} is not a server's URL: {error}.") from error
        self._parent = parent

    def create(self, body: Json) -> Json:
        """See ``Backend.create``."""
        return self._call("POST", f"/v1/{self._parent}/batchPredictionJobs", json=body)

    def get(self, job: str) -> Json:
        """See ``Backend.get``."""
        return self._call("GET", f"/v1/{self._name('batchPredictionJobs', job)}")

    def jobs(self, *, filter_: str = "", limit: int = 20) -> list[Json]:
        """See ``Backend.jobs``."""
        return self._listed("batchPredictionJobs", limit, filter_)

    def cancel(self, job: str) -> None:
        """See ``Backend.cancel``."""
        self._call("POST", f"/v1/{self._name('batchPredictionJobs', job)}:cancel", json={})

    def report(self, job: str) -> str:
        """See ``Backend.report``."""
        return self._answer("GET", f"/v1/{self._name('batchPredictionJobs', job)}:report").text

    def model_report(self, name: str) -> str:
        """See ``Backend.model_report``."""
        return self._answer("GET", f"/v1/{self._name('models', name)}:report").text

    def models(self) -> list[Json]:
        """See ``Backend.models``."""
        return self._listed("models")

    def model(self, name: str) -> Json:
        """See ``Backend.model``."""
        return self._call("GET", f"/v1/{self._name('models', name)}")

    def model_versions(self, name: str) -> list[Json]:
        """See ``Backend.model_versions``."""
        path = self._name("models", name).partition("@")[0]
        return self._pages(f"/v1/{path}:listVersions", "models", {})

    def merge_aliases(self, name: str, aliases: Sequence[str]) -> Json:
        """See ``Backend.merge_aliases``."""
        path = f"/v1/{self._name('models', name)}:mergeVersionAliases"
        return self._call("POST", path, json={"versionAliases": list(aliases)})

    def delete_model(self, name: str) -> None:
        """See ``Backend.delete_model``."""
        path = self._name("models", name)
        self._call("DELETE", f"/v1/{path}:deleteVersion" if "@" in path else f"/v1/{path}")

    def files(self, directory: str) -> list[WrittenFile]:
        """See ``Backend.files``. A server on this machine may have written to a local folder."""
        if "://" in directory:
            return []
        try:
            return _written((Path(directory) / MANIFEST).read_bytes())
        except OSError:
            return []

    @contextmanager
    def query(
        self, statement: str, *, dataset: str | None = None, write: bool = False
    ) -> Iterator[pa.RecordBatchReader]:
        """See ``Backend.query``."""
        with self._rows({"query": statement, "dataset": dataset, "write": write}) as reader:
            yield reader

    @contextmanager
    def scan(self, table: str) -> Iterator[pa.RecordBatchReader]:
        """See ``Backend.scan``."""
        with self._rows({"table": table}) as reader:
            yield reader

    def load(self, files: Sequence[str], table: str, *, format_: str, mode: str, text: bool) -> int:
        """See ``Backend.load``. The files are of this machine; each is sent."""
        rows = 0
        for path in _local_files(files):
            asked = {
                "table": table,
                "format": format_,
                "mode": mode,
                "text": "true" if text else "false",
                "ending": path.suffix if path.suffix in (".gz", ".zst") else "",
            }
            with path.open("rb") as file:
                place = f"/v1/{self._parent}/warehouse:load"
                answer = self._call("POST", place, params=asked, content=file, timeout=LONG_S)
            rows += int(answer["rows"])
            mode = "append"
        return rows

    @contextmanager
    def _rows(self, body: Json) -> Iterator[pa.RecordBatchReader]:
        """Receive rows whole, to the disk if they are many, and read them."""
        import pyarrow as pa

        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as file:
            with self._sent("POST", f"/v1/{self._parent}/warehouse:query", body) as response:
                for piece in response.iter_bytes():
                    file.write(piece)
            file.seek(0)
            with pa.ipc.open_stream(file) as reader:
                yield reader

    @contextmanager
    def _sent(self, method: str, path: str, body: Json) -> Iterator[httpx.Response]:
        import httpx

        try:
            with self._http.stream(method, path, json=body, timeout=LONG_S) as response:
                if not response.is_success:
                    response.read()
                    raise _remote_error(response.status_code, response.text, response.json)
                yield response
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        """See ``Backend.close``."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _listed(self, collection: str, limit: int | None = None, filter_: str = "") -> list[Json]:
        params: Json = {"filter": filter_} if filter_ else {}
        return self._pages(f"/v1/{self._parent}/{collection}", collection, params, limit)

    def _pages(
        self, path: str, collection: str, params: Json, limit: int | None = None
    ) -> list[Json]:
        """Fetch pages of a list until it ends, or ``limit`` items are there."""
        found: list[Json] = []
        while limit is None or len(found) < limit:
            size = MOST_A_PAGE if limit is None else min(limit, MOST_A_PAGE)
            answer = self._call("GET", path, params={**params, "pageSize": size})
            found += answer.get(collection, [])
            if not answer.get("nextPageToken"):
                break
            params = {**params, "pageToken": answer["nextPageToken"]}
        return found if limit is None else found[:limit]

    def _name(self, collection: str, name: str) -> str:
        """Name a resource by its id; what looks like a full name is one."""
        if name.startswith("projects/"):
            return quote(name, safe="/@")
        return self._parent.child(collection, quote(name, safe="@"))

    def _call(self, method: str, path: str, **options: Any) -> Json:
        response = self._answer(method, path, **options)
        try:
            answer: Json = response.json()
        except ValueError:
            raise _remote_error(response.status_code, response.text, response.json) from None
        return answer

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request. Raises the error that it is answered with."""
        import httpx

        try:
            response = self._http.request(method, path, **options)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise _remote_error(response.status_code, response.text, response.json)
        return response

    def _unreachable(self, error: Exception) -> RowcastError:
        where = str(self._http.base_url).rstrip("/")
        return RowcastError(
            f"The server at {where} cannot be reached: {error}. Is `rowcast serve` running?"
        )


def _trust(authority: Path | None) -> ssl.SSLContext | bool:
    if authority is None or not authority.exists():
        return True
    import ssl

    context = ssl.create_default_context()
    context.load_verify_locations(authority)
    return context


def find_model(backend: Backend, name: str) -> str:
    """Let people name a model by its display name as well as by its id.

    Raises
    ------
    NotFound
        If it is neither, or several models have the name.
    """
    if name.startswith("projects/"):
        return name
    models = backend.models()
    for plain, version in ((name, ""), name.rpartition("@")[::2]) if "@" in name else ((name, ""),):
        if any(_last(model["name"]) == plain for model in models):
            return name
        named = [model["name"] for model in models if model.get("displayName") == plain]
        if len(named) > 1:
            ids = ", ".join(sorted(map(_last, named)))
            raise NotFound(f"Several models have the name {plain!r}; give one of the ids {ids}.")
        if named:
            return f"{named[0]}@{version}" if version else str(named[0])
    known = ", ".join(sorted(m.get("displayName", "") for m in models)) or "none yet"
    raise NotFound(f"There is no model {name!r}. Models: {known}.")


def _absolute(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).expanduser().absolute())


def _local_files(names: Sequence[str]) -> list[Path]:
    """The files that names and patterns mean, each once, in order."""
    found: dict[Path, None] = {}
    for name in names:
        if "://" in name:
            raise InvalidRequest(f"{name}: name files of this machine; they are sent.")
        path = Path(name).expanduser()
        matches = [path] if path.is_file() else [Path(m) for m in sorted(iglob(str(path)))]  # noqa: PTH207
        if not matches:
            raise NotFound(f"There is no file {name}.")
        found.update(dict.fromkeys(matches))
    return list(found)


def _written(manifest: bytes) -> list[WrittenFile]:
    with suppress(ValueError, KeyError, TypeError):
        return [
            WrittenFile(item["name"], item["rows"], item["bytes"])
            for item in json.loads(manifest)["objects"]
        ]
    return []


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
    return RowcastError(
        f"What answers there is no rowcast server: HTTP {http_status}: {text[:200]}"
    )


def _kinds(base: type[RowcastError]) -> list[type[RowcastError]]:
    """Direct subclasses: the first of each status."""
    return list(base.__subclasses__())
