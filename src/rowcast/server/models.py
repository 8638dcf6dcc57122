"""``models``: get, list, patch, delete, and their versions and aliases."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from rowcast.core.names import ModelName, Parent
from rowcast.errors import InvalidRequest
from rowcast.server import messages, operations
from rowcast.server.body import parse_object
from rowcast.server.filters import MODEL_FIELDS
from rowcast.server.model_wire import model_etag, render_model
from rowcast.server.reading import Findings, read_message, refuse
from rowcast.server.reports import ANSWERS, download, model_page
from rowcast.server.routing import (
    MASK_PARAMETER,
    PAGE_PARAMETERS,
    PARENT,
    UPDATE_PARAMETER,
    At,
    Body,
    Listing,
    Wired,
    answers,
    parameters,
    takes,
    takes_only,
)
from rowcast.server.services import Services
from rowcast.server.sorting import Listed
from rowcast.server.updates import read_update
from rowcast.stores import Model

COLLECTION = PARENT + "/models"
ONE = COLLECTION + "/{model}"
ORDERS = ("create_time", "display_name", "update_time")
CHANGEABLE = ("display_name", "description", "labels", "version_description")
_ORDER_PARAMETER = {
    "orderBy": "display_name, create_time or update_time, each optionally with desc; the default "
    "is create_time desc."
}

router = APIRouter(tags=["models"])

# Methods with a verb come first: a path without one would take the verb for a part of the id.


@router.get(
    ONE + ":listVersions",
    operation_id="models.listVersions",
    response_model=None,
    responses=answers(messages.ListModelVersionsResponse),
    openapi_extra=parameters(
        **PAGE_PARAMETERS,
        **MASK_PARAMETER,
        **_ORDER_PARAMETER,
        filter="Comparisons of display_name, create_time, update_time and labels.KEY.",
    ),
)
def list_versions(at: At, model: str, query: Listing, wired: Wired) -> dict[str, Any]:
    """List the versions of a model, newest first."""
    name = ModelName.parse(model, at)
    return _listed(wired, "version_id").page(query, wired.models.versions(at, name.model))


@router.post(
    ONE + ":mergeVersionAliases",
    operation_id="models.mergeVersionAliases",
    response_model=None,
    responses=answers(messages.Model),
    openapi_extra=takes_only(messages.MergeVersionAliasesRequest),
)
def merge_version_aliases(at: At, model: str, content: Body, wired: Wired) -> dict[str, Any]:
    """Give aliases to the version after ``@``, else to the default one; ``-`` takes one away."""
    findings = Findings()
    raw = parse_object(content)
    asked = read_message(raw, messages.MergeVersionAliasesRequest, findings)
    refuse(findings.violations)
    found = wired.models.merge_aliases(find(wired, at, model), asked.version_aliases)
    return _render(wired, found)


@router.delete(
    ONE + ":deleteVersion",
    operation_id="models.deleteVersion",
    response_model=None,
    responses=answers(messages.Operation),
)
def delete_version(at: At, model: str, wired: Wired) -> dict[str, Any]:
    """Delete the version after ``@``, which must not be the default one, with its files."""
    started = wired.clock()
    if ModelName.parse(model, at).version is None:
        raise InvalidRequest("Name the version to delete, as in models/ID@2:deleteVersion.")
    wired.models.delete_version(find(wired, at, model))
    return operations.keep_deletion(wired, at, started)


@router.get(
    ONE + ":report",
    operation_id="models.report",
    response_model=None,
    responses=ANSWERS,
)
def report(at: At, model: str, wired: Wired) -> HTMLResponse:
    """Download the report of a version: how good it is, and what it was made of."""
    found = find(wired, at, model)
    return download(model_page(found), f"{found.id}-{found.version_id}-report.html")


@router.get(
    ONE,
    operation_id="models.get",
    response_model=None,
    responses=answers(messages.Model),
)
def get(at: At, model: str, wired: Wired) -> dict[str, Any]:
    """Show a model: the version or alias after ``@``, else its default version."""
    return _render(wired, find(wired, at, model))


@router.get(
    COLLECTION,
    operation_id="models.list",
    response_model=None,
    responses=answers(messages.ListModelsResponse),
    openapi_extra=parameters(
        **PAGE_PARAMETERS,
        **MASK_PARAMETER,
        **_ORDER_PARAMETER,
        filter="Comparisons of model (an id), display_name, create_time, update_time and "
        "labels.KEY.",
    ),
)
def list_(at: At, query: Listing, wired: Wired) -> dict[str, Any]:
    """List models, each in its default version, newest first."""
    return _listed(wired, "model").page(query, wired.models.list(at))


@router.patch(
    ONE,
    operation_id="models.patch",
    response_model=None,
    responses=answers(messages.Model),
    openapi_extra={**parameters(**UPDATE_PARAMETER), **takes(messages.Model)},
)
def patch(at: At, model: str, content: Body, request: Request, wired: Wired) -> dict[str, Any]:
    """Change a model's name, description or labels, or the description of one version."""
    found = find(wired, at, model)
    changes = _changes(content, request.query_params, found)
    return _render(wired, wired.models.update(found, changes))


@router.delete(
    ONE,
    operation_id="models.delete",
    response_model=None,
    responses=answers(messages.Operation),
)
def delete(at: At, model: str, wired: Wired) -> dict[str, Any]:
    """Delete a model: all of its versions, with their files."""
    started = wired.clock()
    name = ModelName.parse(model, at)
    if name.version is not None:
        raise InvalidRequest(
            f"{str(name)!r} is deleted whole; for one version use "
            f"models/{name.model}@{name.version}:deleteVersion."
        )
    wired.models.delete(at, name.model)
    return operations.keep_deletion(wired, at, started)


def find(wired: Services, at: Parent, model: str) -> Model:
    """Look up the version that a path names. Raises NotFound."""
    name = ModelName.parse(model, at)
    return wired.models.get(at, name.model, name.version)


def _render(wired: Services, model: Model) -> dict[str, Any]:
    return render_model(model, wired.models.facts(model))


def _changes(content: bytes, query: Mapping[str, str], found: Model) -> dict[str, Any]:
    return read_update(content, query, messages.Model, CHANGEABLE, model_etag(found))


def _listed(wired: Services, id_: str) -> Listed[Model]:
    """How models are listed; ``id_`` tells those apart that are as old as each other."""

    def value(model: Model, name: str) -> Any:
        if name.startswith("labels."):
            return (model.labels or {}).get(name.removeprefix("labels."))
        return {
            "model": model.id,
            "display_name": model.display_name,
            "create_time": model.created,
            "update_time": model.updated or model.created,
            "id": model.id if id_ == "model" else model.version_id,
        }[name]

    return Listed(
        "models", messages.Model, MODEL_FIELDS, ORDERS, value, lambda model: _render(wired, model)
    )
