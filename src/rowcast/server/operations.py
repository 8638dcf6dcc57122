"""Long-running operations. Those of today are finished by the time they are answered.

Official clients poll ``/v1/{name}`` or ``/ui/{name}``, so the routes are served below both.
"""

from datetime import datetime
from typing import Any

from fastapi import APIRouter

from rowcast.core.names import Parent, new_id, rfc3339
from rowcast.errors import InvalidRequest
from rowcast.server import messages
from rowcast.server.paging import Position, render_page
from rowcast.server.routing import (
    PAGE_PARAMETERS,
    PARENT,
    At,
    Listing,
    Wired,
    answers,
    parameters,
)
from rowcast.server.services import Services
from rowcast.stores import Model

COLLECTION = PARENT + "/operations"
ONE = COLLECTION + "/{operation}"

_TYPE = "type.googleapis.com/"
_API_TYPE = _TYPE + "google.cloud.aiplatform.v1."

router = APIRouter(tags=["operations"])


def keep_deletion(wired: Services, parent: Parent, started: datetime) -> dict[str, Any]:
    """Make and keep the operation of a resource that was just deleted."""
    empty = {"@type": _TYPE + "google.protobuf.Empty"}
    return _keep(wired, parent, started, "DeleteOperationMetadata", empty)


def keep_creation(
    wired: Services, parent: Parent, started: datetime, kind: str, resource: dict[str, Any]
) -> dict[str, Any]:
    """Make and keep the operation of a resource that was just created, such as a ``Dataset``."""
    response = {"@type": f"{_API_TYPE}{kind}", **resource}
    return _keep(wired, parent, started, f"Create{kind}OperationMetadata", response)


def keep_upload(wired: Services, parent: Parent, started: datetime, model: Model) -> dict[str, Any]:
    """Make and keep the operation of a model version that was just uploaded."""
    response = {
        "@type": f"{_API_TYPE}UploadModelResponse",
        "model": model.name,
        "modelVersionId": model.version_id,
    }
    return _keep(wired, parent, started, "UploadModelOperationMetadata", response)


def _keep(
    wired: Services, parent: Parent, started: datetime, metadata: str, response: dict[str, Any]
) -> dict[str, Any]:
    id_ = new_id()
    body = {
        "name": parent.child("operations", id_),
        "metadata": {
            "@type": _API_TYPE + metadata,
            "genericMetadata": {
                "createTime": rfc3339(started),
                "updateTime": rfc3339(wired.clock()),
            },
        },
        "done": True,
        "response": response,
    }
    wired.operations.add(parent, id_, body)
    return body


@router.get(
    COLLECTION,
    operation_id="operations.list",
    response_model=None,
    responses=answers(messages.ListOperationsResponse),
    openapi_extra=parameters(**PAGE_PARAMETERS),
)
def list_(at: At, query: Listing, wired: Wired) -> dict[str, Any]:
    """List operations, newest first."""
    if query.filter.strip():
        raise InvalidRequest("filter: operations cannot be filtered.")
    found = list(wired.operations.list(at))
    after = query.after()
    if after is not None:
        names = [body["name"] for body in found]
        last = at.child("operations", after[1])
        found = found[names.index(last) + 1 :] if last in names else []
    return render_page(query, "operations", found, dict, _position, messages.Operation)


@router.get(
    ONE, operation_id="operations.get", response_model=None, responses=answers(messages.Operation)
)
def get(at: At, operation: str, wired: Wired) -> dict[str, Any]:
    """Show an operation."""
    return wired.operations.get(at, operation)


@router.post(
    ONE + ":wait",
    operation_id="operations.wait",
    response_model=None,
    responses=answers(messages.Operation),
    openapi_extra=parameters(timeout="How long to wait at most; operations are finished."),
)
def wait(at: At, operation: str, wired: Wired) -> dict[str, Any]:
    """Show an operation once it is finished."""
    return wired.operations.get(at, operation)


@router.post(
    ONE + ":cancel",
    operation_id="operations.cancel",
    response_model=None,
    responses=answers(messages.Empty),
)
def cancel(at: At, operation: str, wired: Wired) -> dict[str, Any]:
    """Ask an operation to stop, which has no effect on a finished one."""
    wired.operations.get(at, operation)
    return {}


@router.delete(
    ONE, operation_id="operations.delete", response_model=None, responses=answers(messages.Empty)
)
def delete(at: At, operation: str, wired: Wired) -> dict[str, Any]:
    """Forget an operation."""
    wired.operations.delete(at, operation)
    return {}


def _position(body: dict[str, Any]) -> Position:
    created = datetime.fromisoformat(body["metadata"]["genericMetadata"]["createTime"])
    return created, body["name"].rpartition("/")[2]
