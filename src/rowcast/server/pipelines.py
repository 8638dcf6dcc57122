"""``trainingPipelines``: create, get, list, cancel, delete."""

from typing import Any

from fastapi import APIRouter

from rowcast.core.pipeline import Pipeline
from rowcast.server import messages, operations
from rowcast.server import training_messages as training
from rowcast.server.filters import PIPELINE_FIELDS
from rowcast.server.pipeline_wire import parse_pipeline, render_pipeline
from rowcast.server.reading import merged, refuse
from rowcast.server.routing import (
    MASK_PARAMETER,
    PAGE_PARAMETERS,
    PARENT,
    At,
    Body,
    By,
    Listing,
    Wired,
    answers,
    parameters,
    takes,
)
from rowcast.server.sorting import Listed

COLLECTION = PARENT + "/trainingPipelines"
ONE = COLLECTION + "/{pipeline}"
ORDERS = ("create_time", "display_name", "update_time")

router = APIRouter(tags=["trainingPipelines"])


@router.post(
    COLLECTION,
    operation_id="trainingPipelines.create",
    response_model=None,
    responses=answers(training.TrainingPipeline),
    openapi_extra=takes(training.TrainingPipeline),
)
def create(at: At, content: Body, wired: Wired, by: By) -> dict[str, Any]:
    """Start a training; it runs once its turn has come."""
    spec, findings = parse_pipeline(content)
    if findings.violations:
        found = wired.pipelines.violations(at, spec)
        refuse(merged(findings.violations, findings.settled, found))
    pipeline = wired.pipelines.create(at, spec, by=by)
    return render_pipeline(pipeline, wired.options.node_hour_s)


@router.get(
    COLLECTION,
    operation_id="trainingPipelines.list",
    response_model=None,
    responses=answers(training.ListTrainingPipelinesResponse),
    openapi_extra=parameters(
        **PAGE_PARAMETERS,
        **MASK_PARAMETER,
        filter="Comparisons of display_name, state, training_task_definition, create_time, "
        "update_time and labels.KEY.",
        orderBy="display_name, create_time or update_time, each optionally with desc; the default "
        "is create_time desc.",
    ),
)
def list_(at: At, query: Listing, wired: Wired) -> dict[str, Any]:
    """List pipelines, newest first."""
    node_hour_s = wired.options.node_hour_s
    listed: Listed[Pipeline] = Listed(
        "trainingPipelines",
        training.TrainingPipeline,
        PIPELINE_FIELDS,
        ORDERS,
        _value,
        lambda pipeline: render_pipeline(pipeline, node_hour_s),
    )
    return listed.page(query, wired.pipelines.list(at))


@router.get(
    ONE,
    operation_id="trainingPipelines.get",
    response_model=None,
    responses=answers(training.TrainingPipeline),
)
def get(at: At, pipeline: str, wired: Wired) -> dict[str, Any]:
    """Show a pipeline."""
    return render_pipeline(wired.pipelines.get(at, pipeline), wired.options.node_hour_s)


@router.post(
    ONE + ":cancel",
    operation_id="trainingPipelines.cancel",
    response_model=None,
    responses=answers(messages.Empty),
)
def cancel(at: At, pipeline: str, wired: Wired) -> dict[str, Any]:
    """Ask a pipeline to stop; no model appears."""
    wired.pipelines.cancel(at, pipeline)
    return {}


@router.delete(
    ONE,
    operation_id="trainingPipelines.delete",
    response_model=None,
    responses=answers(messages.Operation),
)
def delete(at: At, pipeline: str, wired: Wired) -> dict[str, Any]:
    """Forget a finished pipeline; its model stays."""
    started = wired.clock()
    wired.pipelines.delete(at, pipeline)
    return operations.keep_deletion(wired, at, started)


def _value(pipeline: Pipeline, name: str) -> Any:
    if name.startswith("labels."):
        return pipeline.spec.labels.get(name.removeprefix("labels."))
    return {
        "display_name": pipeline.spec.display_name,
        "state": pipeline.state.value,
        "training_task_definition": pipeline.spec.task_definition,
        "create_time": pipeline.created,
        "update_time": pipeline.updated,
        "id": pipeline.id,
    }[name]
