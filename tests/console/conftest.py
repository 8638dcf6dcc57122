import warnings

import pyarrow.csv as pc
import pytest

import rowcast
from rowcast.bootstrap import build
from rowcast.console import Home, open_console
from rowcast.server.access import Access
from rowcast.server.app import ServerOptions, create_app
from rowcast.settings import Settings
from tests.homes import customers

with warnings.catch_warnings():  # the test client prefers a successor of httpx
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

TOKEN = "let-me-in-0123456789"
BASE = "http://127.0.0.1:8080"
COOKIE = {"rowcast_8080": TOKEN}


class Served:
    """A server's application in this process. Its jobs and trainings wait for ever."""

    def __init__(self, home):
        self.home = home
        self.bucket = home / "buckets" / "shop"
        self.bucket.mkdir(parents=True)
        pc.write_csv(customers(), self.bucket / "customers.csv")
        rowcast.train(
            self.bucket / "customers.csv", target="churn", name="churn", home=home, trials=1
        )
        self.wired = build(Settings(home=home), warm_replicas=0)
        self.pages = open_console(Home("local", "us-central1", "local"))
        self.app = create_app(
            jobs=self.wired.jobs,
            models=self.wired.models,
            datasets=self.wired.datasets,
            pipelines=self.wired.pipelines,
            uploads=self.wired.uploads,
            operations=self.wired.operations,
            previews=self.wired.previews,
            tables=self.wired.tables,
            objects=self.wired.objects,
            access=Access(TOKEN),
            settings=ServerOptions(),
            pages=self.pages,
        )


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    pytest.importorskip("nicegui", reason="the console needs the extra rowcast[console]")
    made = Served(tmp_path_factory.mktemp("console"))
    with TestClient(made.app, base_url=BASE, follow_redirects=False) as client:
        made.client = client
        yield made
    made.wired.close()


@pytest.fixture
def anonymous(served):
    served.client.cookies.clear()
    return served.client


@pytest.fixture
def client(served):
    served.client.cookies.clear()
    served.client.cookies.update(COOKIE)
    return served.client


@pytest.fixture
def api(served):
    """Call the API as a program would."""
    served.client.cookies.clear()

    def call(method, path, **options):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        response = served.client.request(method, path, headers=headers, **options)
        return response.json()

    return call
