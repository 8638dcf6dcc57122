import warnings
from types import SimpleNamespace

import pytest

from rowcast.server.access import Access
from rowcast.server.app import ServerOptions, create_app
from rowcast.server.services import Services

from .fakes import FakeJobs, FakeModels, FakeOperations, make_model

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


@pytest.fixture(scope="session")
def app():
    models = FakeModels()
    return create_app(
        jobs=FakeJobs(models),
        models=models,
        operations=FakeOperations(),
        access=Access(TOKEN),
        settings=OPTIONS,
    )


@pytest.fixture
def wired(app):
    """The application over new fakes, and the fakes."""
    models = FakeModels(make_model())
    jobs, operations = FakeJobs(models), FakeOperations()
    app.state.services = Services(jobs, models, operations, OPTIONS)
    return SimpleNamespace(app=app, jobs=jobs, models=models, operations=operations)


@pytest.fixture
def anonymous(wired):
    return TestClient(wired.app, base_url=BASE)


@pytest.fixture
def client(wired):
    return TestClient(wired.app, base_url=BASE, headers={"Authorization": f"Bearer {TOKEN}"})
