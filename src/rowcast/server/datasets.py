"""``datasets``: create, get, list, patch, delete."""

from typing import Any

from fastapi import APIRouter, Request

from rowcast.access.guard import require_data
from rowcast.core.dataset import Dataset
from rowcast.server import messages, operations
from rowcast.server import training_messages as training
from rowcast.server.dataset_wire import (
    SYSTEM_LABELS,
    dataset_etag,
    own_labels,
    parse_dataset,
    parse_preview,
    render_dataset,
)
from rowcast.server.filters import DATASET_FIELDS
from rowcast.server.reading import merged, refuse
from rowcast.server.routing import (
    MASK_PARAMETER,
    PAGE_PARAMETERS,
    PARENT,
    UPDATE_PARAMETER,
    At,
    Body,
    By,
    Listing,
    Wired,
    answers,
    parameters,
    takes,
    takes_only,
)
from rowcast.server.sorting import Listed
from rowcast.server.updates import read_update

COLLECTION = PARENT + "/datasets"
ONE = COLLECTION + "/{dataset}"
CHANGEABLE = ("display_name", "description", "labels")

router = APIRouter(tags=["datasets"])


@router.post(
    COLLECTION,
    operation_id="datasets.create",
    response_model=None,
    responses=answers(messages.Operation),
    openapi_extra=takes(training.Dataset),
)
def create(at: At, content: Body, wired: Wired) -> dict[str, Any]:
    """Keep a dataset; the operation is done at once."""
    started = wired.clock()
    spec, findings = parse_dataset(content)
    if findings.violations:
        found = wired.datasets.violations(spec)
        refuse(merged(findings.violations, findings.settled, found))
    dataset = wired.datasets.create(at, spec)
    return operations.keep_creation(wired, at, started, "Dataset", render_dataset(dataset))


@router.post(
    COLLECTION + ":preview",
    operation_id="datasets.preview",
    response_model=None,
    responses=answers(training.PreviewResponse),
    openapi_extra=takes_only(training.PreviewRequest),
)
def preview(_at: At, content: Body, wired: Wired, by: By) -> dict[str, Any]:
    """Look at the beginning of data: rows, and what each column is like. Nothing is kept."""
    spec = parse_preview(content)
    require_data(wired.guard, by, reads=spec.uris)
    return wired.previews.preview(spec)


@router.get(
    COLLECTION,
    operation_id="datasets.list",
    response_model=None,
    responses=answers(training.ListDatasetsResponse),
    openapi_extra=parameters(
        **PAGE_PARAMETERS,
        **MASK_PARAMETER,
        filter="Comparisons of display_name, metadata_schema_uri, create_time, update_time and "
        "labels.KEY.",
        orderBy="display_name, create_time or update_time, each optionally with desc; the default "
        "is create_time desc.",
    ),
)
def list_(at: At, query: Listing, wired: Wired) -> dict[str, Any]:
    """List datasets, newest first."""
    return _LISTED.page(query, wired.datasets.list(at))


@router.get(
    ONE,
    operation_id="datasets.get",
    response_model=None,
    responses=answers(training.Dataset),
)
def get(at: At, dataset: str, wired: Wired) -> dict[str, Any]:
    """Show a dataset."""
    return render_dataset(wired.datasets.get(at, dataset))


@router.patch(
    ONE,
    operation_id="datasets.patch",
    response_model=None,
    responses=answers(training.Dataset),
    openapi_extra={**parameters(**UPDATE_PARAMETER), **takes(training.Dataset)},
)
def patch(at: At, dataset: str, content: Body, request: Request, wired: Wired) -> dict[str, Any]:
    """Change a dataset's name, description or labels."""
    found = wired.datasets.get(at, dataset)
    changes = read_update(
        content, request.query_params, training.Dataset, CHANGEABLE, dataset_etag(found)
    )
    if "labels" in changes:
        changes["labels"] = own_labels(changes["labels"])
    return render_dataset(wired.datasets.update(found, changes))


@router.delete(
    ONE,
    operation_id="datasets.delete",
    response_model=None,
    responses=answers(messages.Operation),
)
def delete(at: At, dataset: str, wired: Wired) -> dict[str, Any]:
    """Forget a dataset; its data stays."""
    started = wired.clock()
    wired.datasets.delete(at, dataset)
    return operations.keep_deletion(wired, at, started)


def _value(dataset: Dataset, name: str) -> Any:
    if name.startswith("labels."):
        return {**SYSTEM_LABELS, **dataset.spec.labels}.get(name.removeprefix("labels."))
    return {
        "display_name": dataset.spec.display_name,
        "metadata_schema_uri": dataset.spec.metadata_schema_uri,
        "create_time": dataset.created,
        "update_time": dataset.updated,
        "id": dataset.id,
    }[name]


_LISTED = Listed(
    "datasets",
    training.Dataset,
    DATASET_FIELDS,
    ("create_time", "display_name", "update_time"),
    _value,
    render_dataset,
)
