"""One gRPC call as the HTTP request that stands for it.

The answer's body becomes the method's message; what the message has no field for, such as the
``rowcast`` object, is left out. An error becomes a status with the code, message and details of the
REST answer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from rowcast.errors import RPC_CODES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx
    from google.protobuf.message import Message
    from starlette.types import ASGIApp

    from rowcast.rpc.methods import Method

Address = tuple[str, int]

HERE = "http://localhost"
"""The Host header is of this machine: what it guards against, a page that points its own name at
this address, cannot speak gRPC from within a browser."""
CREDENTIALS = ("authorization", "x-goog-api-key")
"""Metadata that is handed on as headers."""
MAX_MESSAGE = 1024
"""Characters of a status's message: a client refuses more than about 8 KiB of headers."""
MAX_DETAILS_BYTES = 4096


class Refusal(Exception):
    """A call that ends with a status other than OK.

    Attributes
    ----------
    status : str
        Name of the google.rpc.Code.
    message : str
    details : bytes
        The serialised ``google.rpc.Status``, or nothing.
    """

    def __init__(self, status: str, message: str, details: bytes = b"") -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.details = details


async def call(
    app: ASGIApp, method: Method, content: bytes, metadata: Mapping[str, str], client: Address
) -> Message:
    """Send one call through the HTTP application.

    Parameters
    ----------
    content : bytes
        The serialised message.
    metadata : mapping
        Of the call; of several values of one key, any.
    client : (str, int)
        Address and port that the call came from.

    Raises
    ------
    Refusal
        If the answer is an error, or the message names no resource of this method.
    """
    import httpx
    from google.protobuf import json_format

    asked = _transcode(method, _read(method, content))
    request = httpx.Request(
        asked["method"].upper(),
        HERE + unquote(asked["uri"]),
        params=_query(asked["query_params"]),
        content=_json(asked["body"]) if "body" in asked else None,
        headers={key: metadata[key] for key in CREDENTIALS if key in metadata},
    )
    answer = await httpx.ASGITransport(app, client=client).handle_async_request(request)
    await answer.aread()
    if not answer.is_success:
        raise refusal(answer)
    return json_format.Parse(answer.content, method.response(), ignore_unknown_fields=True)


def _read(method: Method, content: bytes) -> Message:
    from google.protobuf.message import DecodeError

    try:
        return method.request.FromString(content)
    except DecodeError as error:
        kind = method.request.__name__
        raise Refusal("INVALID_ARGUMENT", f"{method.name}: the request is no {kind}.") from error


def _transcode(method: Method, message: Message) -> dict[str, Any]:
    from google.api_core import path_template

    try:
        found: dict[str, Any] = path_template.transcode(list(method.rules), message=message)
    except ValueError as error:
        forms = " or ".join(rule["uri"] for rule in method.rules)
        raise Refusal(
            "INVALID_ARGUMENT", f"{method.name}: the request names no resource of {forms}."
        ) from error
    return found


def _query(message: Message) -> list[tuple[str, Any]]:
    from google.api_core import rest_helpers
    from google.protobuf import json_format

    fields = json_format.MessageToDict(message)
    found: list[tuple[str, Any]] = rest_helpers.flatten_query_params(fields, strict=True)
    return found


def _json(message: Message) -> str:
    from google.protobuf import json_format

    text: str = json_format.MessageToJson(message, indent=None)
    return text


def refusal(answer: httpx.Response) -> Refusal:
    """Read the status of an answer that is an error."""
    try:
        error = json.loads(answer.content)["error"]
        status, message = error["status"], error["message"]
        violations = [
            (violation["field"], violation["description"])
            for detail in error.get("details", ())
            for violation in detail.get("fieldViolations", ())
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        return Refusal("INTERNAL", f"The server answered with HTTP {answer.status_code}.")
    if len(message) > MAX_MESSAGE:
        message = message[:MAX_MESSAGE] + "..."
    return Refusal(status, message, _details(status, message, violations))


def _details(status: str, message: str, violations: list[tuple[str, str]]) -> bytes:
    """Write the status for the trailing metadata, with as many violations as there is room for."""
    from google.rpc import error_details_pb2, status_pb2

    found = status_pb2.Status(code=RPC_CODES[status], message=message)
    listed = error_details_pb2.BadRequest()
    for field, description in violations:
        listed.field_violations.add(field=field, description=description)
        if listed.ByteSize() > MAX_DETAILS_BYTES:
            del listed.field_violations[-1]
            break
    if violations:
        found.details.add().Pack(listed)
    content: bytes = found.SerializeToString()
    return content
