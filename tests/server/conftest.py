import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import rowcast
from rowcast.bootstrap import open_tables, open_warehouse
from rowcast.importing.uploads import UploadService
from rowcast.jobs.loading import TableService
from rowcast.jobs.runner import RunnerOptions
from rowcast.pipelines.datasets import DatasetService
from rowcast.pipelines.preview import PreviewService
from rowcast.pipelines.service import PipelineService
from rowcast.registry.service import ModelService
from rowcast.registry.versions import Registry
from rowcast.server.access import Access
from rowcast.server.app import ServerOptions, create_app
from rowcast.server.services import Services
from rowcast.settings import Settings
from rowcast.sources import Limits
from rowcast.storage.objects import Objects, Roots
from rowcast.stores.sql import SqlStore
from rowcast.stores.sql_training import SqlDatasets, SqlPipelines
from tests.databases import database_url
from tests.waiting import until_ready

from .fakes import FakeJobs, FakeOperations, InProcess, make_model

with warnings.catch_warnings():  # the test client prefers a successor of httpx
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

TOKEN = "let-me-in-0123456789"
BASE = "http://127.0.0.1:8080"
OPTIONS = ServerOptions(
    default_location="us-central1",
    allowed_hosts=("rowcast.example", "proxy.example:8443"),
    max_request_bytes=200_000,
)


JOB_OPTIONS = RunnerOptions(Limits(), 1 << 20, 8192, 1 << 30, 1)


class Wired:
    """What an application is made of: a database in a folder, and jobs that never run."""

    def __init__(self, folder):
        self.folder = folder
        self.store = SqlStore(database_url(folder))
        self.operations = FakeOperations()
        self.jobs = FakeJobs(self.store)
        self.models = ModelService(self.store, folder / "models")
        self.objects = Objects(Roots(folder / "buckets", folder / "s3", ()))
        datasets, self.kept = SqlDatasets(self.store), SqlPipelines(self.store)
        self.datasets = DatasetService(datasets, self.objects)
        self.pipelines = PipelineService(store=self.kept, datasets=datasets, models=self.store)
        registry = Registry(self.store, folder / "models")
        self.uploads = UploadService(InProcess(), self.objects, self.store, registry)
        settings = Settings(home=folder)
        reached = Roots(folder / "buckets", folder / "s3", ())
        self.warehouse = open_warehouse(settings)
        self.previews = PreviewService(InProcess(), self.objects, self.warehouse)
        self.tables = TableService(
            InProcess(),
            self.objects,
            open_tables(settings, self.warehouse, reached),
            JOB_OPTIONS,
            project="acme",
            timeout_s=30,
        )

    def services(self):
        return {
            "jobs": self.jobs,
            "models": self.models,
            "datasets": self.datasets,
            "pipelines": self.pipelines,
            "uploads": self.uploads,
            "operations": self.operations,
            "previews": self.previews,
            "tables": self.tables,
            "objects": self.objects,
        }


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    made = Wired(tmp_path_factory.mktemp("first"))
    yield create_app(**made.services(), access=Access(TOKEN), settings=OPTIONS)
    made.store.close()


@pytest.fixture
def wired(app, tmp_path):
    """The application over a new database with one model."""
    made = Wired(tmp_path)
    made.app = app
    made.store.add_model(make_model())
    app.state.services = Services(**made.services(), options=OPTIONS)
    yield made
    made.warehouse.close()
    made.store.close()


@pytest.fixture
def anonymous(wired):
    return TestClient(wired.app, base_url=BASE)


@pytest.fixture
def client(wired):
    return TestClient(wired.app, base_url=BASE, headers={"Authorization": f"Bearer {TOKEN}"})


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server of its own: its address and token."""
    home = tmp_path_factory.mktemp("home")
    process = subprocess.Popen(
        [sys.executable, "-m", "rowcast", "serve", "--port", "0", "--home", str(home)],
        env={**os.environ, "PYTHONPATH": str(Path(rowcast.__file__).parents[1])},
        stderr=subprocess.PIPE,
        text=True,
    )
    url = until_ready(process)
    (home / "buckets" / "data").mkdir(parents=True, exist_ok=True)
    yield url, (home / "token").read_text().strip(), home
    process.kill()
    process.communicate()
