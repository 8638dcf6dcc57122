"""The methods of the API as gRPC has them, read from the installed client library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rowcast.errors import FailedPrecondition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.message import Message

SERVICES = ("Job", "Model", "Dataset", "Pipeline")
"""Each is a service of its own, as in ``google.cloud.aiplatform.v1.JobService``."""
NEEDED = "google-cloud-aiplatform and grpcio; install rowcast[grpc]"

_WORD = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PACKAGE = "google.cloud.aiplatform_v1.services.{name}_service.transports"


@dataclass(frozen=True)
class Method:
    """One unary method, and the HTTP request that stands for it."""

    path: str
    """As on the wire: ``/google.cloud.aiplatform.v1.JobService/GetBatchPredictionJob``."""
    request: type[Message]
    response: type[Message]
    rules: tuple[dict[str, str], ...]
    """``method``, ``uri`` and perhaps ``body`` of each form that the request may have."""

    @property
    def name(self) -> str:
        """Service and method, as people say them: ``JobService.GetBatchPredictionJob``."""
        service, _, method = self.path.removeprefix("/").partition("/")
        return f"{service.rpartition('.')[2]}.{method}"


def load_methods() -> list[Method]:
    """Read all methods. The first call imports the client library, which takes seconds.

    Raises
    ------
    FailedPrecondition
        If the client library is not installed.
    """
    try:
        return [method for name in SERVICES for method in _service(name)] + list(_operations())
    except ImportError as error:
        raise FailedPrecondition(f"The gRPC door needs {NEEDED} ({error}).") from error


def _service(name: str) -> Iterator[Method]:
    """The methods of one service.

    The rules are those of the library's REST transport. The messages are known to the stubs of
    its gRPC transport: calling one over a channel that leads nowhere tells what it was made of.
    """
    package = _PACKAGE.format(name=name.lower())
    rest = getattr(import_module(f"{package}.rest_base"), f"_Base{name}ServiceRestTransport")
    channel = _noting_channel()
    transport = getattr(import_module(package), f"{name}ServiceGrpcTransport")(channel=channel)
    for attribute in dir(rest):
        method = attribute.removeprefix("_Base")
        stub = getattr(transport, _WORD.sub("_", method).lower(), None)
        if method == attribute or stub is None:
            continue
        stub(None)
        path, request, response = channel.noted[-1]
        if path == f"/google.cloud.aiplatform.v1.{name}Service/{method}":  # not one that all share
            rules = getattr(rest, attribute)._get_http_options()
            yield Method(path, _message(request), _message(response), tuple(rules))


def _operations() -> Iterator[Method]:
    """Long-running operations, whose methods all services share."""
    from google.longrunning import operations_pb2
    from google.protobuf import empty_pb2

    one = "{name=projects/*/locations/*/operations/*}"
    for method, http, uri, response in (
        ("Get", "get", f"/v1/{one}", operations_pb2.Operation),
        ("List", "get", "/v1/{name=projects/*/locations/*}/operations", None),
        ("Wait", "post", f"/v1/{one}:wait", operations_pb2.Operation),
        ("Cancel", "post", f"/v1/{one}:cancel", empty_pb2.Empty),
        ("Delete", "delete", f"/v1/{one}", empty_pb2.Empty),
    ):
        name = f"{method}Operation{'s' if method == 'List' else ''}"
        yield Method(
            f"/google.longrunning.Operations/{name}",
            getattr(operations_pb2, f"{name}Request"),
            response or operations_pb2.ListOperationsResponse,
            ({"method": http, "uri": uri},),
        )


def _message(function: Any) -> type[Message]:
    """The class of protobuf message that a serialising method belongs to."""
    owner: Any = function.__self__
    return type(owner.pb(owner())) if hasattr(owner, "pb") else owner


def _noting_channel() -> Any:
    import grpc

    class NotingChannel(grpc.Channel):  # type: ignore[misc]
        """A channel that leads nowhere, and notes which stubs are called."""

        def __init__(self) -> None:
            self.noted: list[tuple[str, Any, Any]] = []

        def unary_unary(
            self,
            method: str,
            request_serializer: Any = None,
            response_deserializer: Any = None,
            _registered_method: object = None,
        ) -> Any:
            self.noted.append((method, request_serializer, response_deserializer))
            return _Nowhere()

        def _nothing(self, *_: object, **__: object) -> None:
            pass

        unary_stream = stream_unary = stream_stream = _nothing
        subscribe = unsubscribe = close = __enter__ = __exit__ = _nothing

    return NotingChannel()


class _Nowhere:
    """What calls a method, with and without an interceptor of the library's before it."""

    def __call__(self, *_: object, **__: object) -> None:
        pass

    def with_call(self, *_: object, **__: object) -> tuple[None, None]:
        return None, None
