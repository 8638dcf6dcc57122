import pytest
import structlog
from hypothesis import settings

settings.register_profile("rowcast", deadline=None)  # the first call may compile a kernel
settings.load_profile("rowcast")


@pytest.fixture(autouse=True)
def log_of_its_own():
    """Leave no test with the logging that another one chose."""
    yield
    structlog.reset_defaults()
