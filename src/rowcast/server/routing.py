"""What the routes of all resources share: their dependencies, and how they are documented."""

# FastAPI reads the annotations at run time, so they are not strings here.

import re
from typing import Annotated, Any

from fastapi import Depends, Request

from rowcast.core.caller import Caller
from rowcast.core.names import Parent
from rowcast.errors import InvalidRequest
from rowcast.server import messages
from rowcast.server.body import read_body
from rowcast.server.paging import ListQuery
from rowcast.server.services import Services

PARENT = "/projects/{project}/locations/{location}"
REGION = re.compile(r"[a-z]{2,20}-[a-z]{2,20}[0-9]{1,2}")
PROJECT = re.compile(r"[\w.:-]{1,100}")

_ERRORS = {
    400: "INVALID_ARGUMENT or FAILED_PRECONDITION",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED: the path has no such method",
    409: "ALREADY_EXISTS or ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"model": messages.ErrorBody, "description": text} for code, text in _ERRORS.items()
} | {"default": {"model": messages.ErrorBody, "description": "Any other error"}}
"""Documents the answers of every route that are not a success."""


def answers(message: type[messages.Message]) -> dict[int | str, dict[str, Any]]:
    """Document the success of one route, next to the errors of all."""
    return {200: {"model": message}, **ERRORS}


def parameters(**described: str) -> dict[str, Any]:
    """Document query parameters, which are read in either case."""
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": text,
                "schema": {"type": "integer" if name == "pageSize" else "string"},
            }
            for name, text in described.items()
        ]
    }


def takes(message: type[messages.Message]) -> dict[str, Any]:
    """Document the body of a request: a resource, which some route answers with."""
    return _body({"$ref": f"#/components/schemas/{message.__name__}"})


def takes_only(message: type[messages.Message]) -> dict[str, Any]:
    """Document the body of a request that no route answers with."""
    return _body(message.model_json_schema())


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


PAGE_PARAMETERS = {
    "pageSize": "At most this many; default 100, and more than 1000 means 1000.",
    "pageToken": "The `nextPageToken` of the page before.",
}
MASK_PARAMETER = {"readMask": "Comma-separated fields to answer with; `name` always is."}

UPDATE_PARAMETER = {
    "updateMask": "Comma-separated fields to change; without it, those that the body holds."
}


async def services(request: Request) -> Services:
    """Find what the application was made with."""
    found = request.app.state.services
    if not isinstance(found, Services):
        raise TypeError(found)
    return found


Wired = Annotated[Services, Depends(services)]


async def caller(request: Request) -> Caller:
    """Say who was let in."""
    found = request.scope["state"]["caller"]
    if not isinstance(found, Caller):
        raise TypeError(found)
    return found


By = Annotated[Caller, Depends(caller)]


async def parent(project: str, location: str, wired: Wired) -> Parent:
    """Read the project and location of a path."""
    if not PROJECT.fullmatch(project):
        raise InvalidRequest(f"{project[:100]!r} is not a project id.")
    if not REGION.fullmatch(location) and location != wired.options.default_location:
        raise InvalidRequest(
            f"{location[:100]!r} is not a location; use {wired.options.default_location}."
        )
    return Parent(project, location)


At = Annotated[Parent, Depends(parent)]


async def body(request: Request, wired: Wired) -> bytes:
    """Receive the body, whatever its content type says."""
    return await read_body(request, wired.options.max_request_bytes)


Body = Annotated[bytes, Depends(body)]


async def list_query(request: Request, at: At) -> ListQuery:
    """Read the parameters of a list request."""
    return ListQuery.read(at, request.query_params)


Listing = Annotated[ListQuery, Depends(list_query)]
