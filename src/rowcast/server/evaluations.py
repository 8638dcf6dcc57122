"""``evaluations`` and their ``slices``: get and list."""

from typing import Any

from fastapi import APIRouter

from rowcast.core.names import Parent
from rowcast.errors import NotFound
from rowcast.registry.evaluations import Evaluation, Slice
from rowcast.server import messages
from rowcast.server.filters import EVALUATION_FIELDS, SLICE_FIELDS
from rowcast.server.model_wire import render_evaluation, render_slice
from rowcast.server.models import ONE as MODEL
from rowcast.server.models import find
from rowcast.server.routing import (
    MASK_PARAMETER,
    PAGE_PARAMETERS,
    At,
    Listing,
    Wired,
    answers,
    parameters,
)
from rowcast.server.services import Services
from rowcast.server.sorting import Listed
from rowcast.stores import Model

COLLECTION = MODEL + "/evaluations"
ONE = COLLECTION + "/{evaluation}"
SLICES = ONE + "/slices"

router = APIRouter(tags=["evaluations"])


@router.get(
    COLLECTION,
    operation_id="modelEvaluations.list",
    response_model=None,
    responses=answers(messages.ListModelEvaluationsResponse),
    openapi_extra=parameters(**PAGE_PARAMETERS, **MASK_PARAMETER),
)
def list_(at: At, model: str, query: Listing, wired: Wired) -> dict[str, Any]:
    """List the evaluations of a model version: one, or none if it was not measured."""
    found = find(wired, at, model)
    evaluation = wired.models.evaluation(found)
    listed: Listed[Evaluation] = Listed(
        "modelEvaluations",
        messages.ModelEvaluation,
        EVALUATION_FIELDS,
        ("create_time",),
        lambda one, name: one.created if name == "create_time" else one.id,
        lambda one: render_evaluation(found, one),
    )
    return listed.page(query, [evaluation] if evaluation else [])


@router.get(
    ONE,
    operation_id="modelEvaluations.get",
    response_model=None,
    responses=answers(messages.ModelEvaluation),
)
def get(at: At, model: str, evaluation: str, wired: Wired) -> dict[str, Any]:
    """Show an evaluation."""
    return render_evaluation(*_find(wired, at, model, evaluation), further=True)


@router.get(
    SLICES,
    operation_id="modelEvaluationSlices.list",
    response_model=None,
    responses=answers(messages.ListModelEvaluationSlicesResponse),
    openapi_extra=parameters(
        **PAGE_PARAMETERS,
        **MASK_PARAMETER,
        filter="Comparisons of slice_dimension and slice_value.",
    ),
)
def list_slices(
    at: At, model: str, evaluation: str, query: Listing, wired: Wired
) -> dict[str, Any]:
    """List an evaluation's slices: one for each class."""
    found, measured = _find(wired, at, model, evaluation)

    def value(one: Slice, name: str) -> Any:
        return {
            "id": one.id,
            "slice_dimension": one.dimension,
            "slice_value": one.value,
        }.get(name)

    listed: Listed[Slice] = Listed(
        "modelEvaluationSlices",
        messages.ModelEvaluationSlice,
        SLICE_FIELDS,
        ("slice_value",),
        value,
        lambda one: render_slice(found, measured, one),
    )
    return listed.page(query, measured.slices)


@router.get(
    SLICES + "/{slice_id}",
    operation_id="modelEvaluationSlices.get",
    response_model=None,
    responses=answers(messages.ModelEvaluationSlice),
)
def get_slice(at: At, model: str, evaluation: str, slice_id: str, wired: Wired) -> dict[str, Any]:
    """Show a slice."""
    found, measured = _find(wired, at, model, evaluation)
    return render_slice(found, measured, measured.slice(slice_id))


def _find(wired: Services, at: Parent, model: str, evaluation: str) -> tuple[Model, Evaluation]:
    found = find(wired, at, model)
    measured = wired.models.evaluation(found)
    if measured is None or measured.id != evaluation:
        raise NotFound(f"{found.name}/evaluations/{evaluation[:100]} does not exist.")
    return found, measured
