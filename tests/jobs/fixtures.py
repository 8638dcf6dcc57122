"""Fixtures of the tests of jobs and of reliability; each folder's conftest imports them."""

import pytest

from rowcast.bootstrap import build
from rowcast.settings import Settings
from tests.jobs.lab import Lab, trained_home


@pytest.fixture(scope="session")
def engine(tmp_path_factory):
    trained_home()
    home = tmp_path_factory.mktemp("pool")
    app = build(Settings(home=home, max_replicas=4, warm_replicas=2, replica_idle_s=5))
    yield app.engine
    app.close()


@pytest.fixture
def lab(tmp_path, engine):
    lab = Lab(tmp_path, engine)
    yield lab
    lab.close()
