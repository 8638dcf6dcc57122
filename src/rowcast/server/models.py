"""``models``: get and list."""

from functools import partial
from typing import Any

from fastapi import APIRouter

from rowcast.core.names import ModelName
from rowcast.errors import InvalidRequest
from rowcast.server import messages, wire
from rowcast.server.filters import MODEL_FIELDS, matches, parse_filter
from rowcast.server.paging import Position, parse_mask, render_page
from rowcast.server.routing import (
    MASK_PARAMETER,
    PAGE_PARAMETERS,
    PARENT,
    At,
    Listing,
    Wired,
    answers,
    parameters,
)
from rowcast.stores import Model

COLLECTION = PARENT + "/models"
ONE = COLLECTION + "/{model}"

router = APIRouter(tags=["models"])


@router.get(
    ONE,
    operation_id="models.get",
    response_model=None,
    responses=answers(messages.Model),
)
def get(at: At, model: str, wired: Wired) -> dict[str, Any]:
    """Show a model: the version or alias after ``@``, else its default version."""
    name = ModelName.parse(model, at)
    return wire.render_model(wired.models.get_model(at, name.model, name.version))


@router.get(
    COLLECTION,
    operation_id="models.list",
    response_model=None,
    responses=answers(messages.ListModelsResponse),
    openapi_extra=parameters(
        **PAGE_PARAMETERS,
        **MASK_PARAMETER,
        filter="Comparisons of model (an id), display_name, create_time and labels.KEY.",
        orderBy="Only `create_time desc`, which is the default.",
    ),
)
def list_(at: At, query: Listing, wired: Wired) -> dict[str, Any]:
    """List models, each in its default version, newest first."""
    where = parse_filter(query.filter, MODEL_FIELDS)
    after = query.after()
    parse_mask(query.read_mask, messages.Model)
    if " ".join(query.order_by.split()) not in ("", "create_time desc", "createTime desc"):
        raise InvalidRequest("order_by: models are listed by create_time desc only.")
    found = sorted(wired.models.list_models(at), key=_rank)
    found = [model for model in found if matches(where, partial(_value, model))]
    if after is not None:
        found = [model for model in found if _rank(model) > (-after[0].timestamp(), after[1])]
    return render_page(query, "models", found, wire.render_model, _position, messages.Model)


def _position(model: Model) -> Position:
    return model.created, model.id


def _rank(model: Model) -> tuple[float, str]:
    return -model.created.timestamp(), model.id


def _value(model: Model, name: str) -> Any:
    if name.startswith("labels."):
        return (model.labels or {}).get(name.removeprefix("labels."))
    return {
        "model": model.id,
        "display_name": model.display_name,
        "create_time": model.created,
    }[name]
