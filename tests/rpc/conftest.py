"""The gRPC door over the application that the server's tests use, with the official client."""

import asyncio
import threading
import warnings

import pytest

from rowcast.rpc.server import RpcServer
from tests.server.conftest import OPTIONS, app, wired

__all__ = ["app", "wired"]


class Running:
    """A door on an event loop of its own thread."""

    def __init__(self, app, identity=None):
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._door = RpcServer(app, max_request_bytes=OPTIONS.max_request_bytes)
        self.port = self._run(self._door.start("127.0.0.1", 0, identity))

    def _run(self, task):
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(30)

    def close(self):
        self._run(self._door.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def library():
    """The client library, whose import warns of things that are not ours."""
    pytest.importorskip("grpc", reason="rowcast[grpc] is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from google.cloud import aiplatform_v1
    return aiplatform_v1


@pytest.fixture(scope="session")
def door(app, library):
    running = Running(app)
    yield running
    running.close()


@pytest.fixture
def channel(door, wired):
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        yield channel
