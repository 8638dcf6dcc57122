"""Which permission each method needs, and on what: one table, and the check of every request."""

# FastAPI reads the annotations at run time, so they are not strings.

import re

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from rowcast.access.places import EVERYTHING, object_place
from rowcast.errors import PermissionDenied
from rowcast.server.routing import By, Wired

_VERBS = {
    "batchPredictionJobs": ("create", "get", "list", "cancel", "delete"),
    "datasets": ("create", "get", "list", "delete"),
    "trainingPipelines": ("create", "get", "list", "cancel", "delete"),
    "models": ("get", "list", "upload", "delete"),
    "modelEvaluations": ("get", "list"),
    "modelEvaluationSlices": ("get", "list"),
    "operations": ("get", "list", "cancel", "delete"),
}
PERMISSIONS: dict[str, str] = {
    f"{collection}.{verb}": f"aiplatform.{collection}.{verb}"
    for collection, verbs in _VERBS.items()
    for verb in verbs
} | {
    "storage.buckets.list": "storage.buckets.list",
    "storage.buckets.create": "storage.buckets.create",
    "storage.buckets.get": "storage.buckets.get",
    "storage.objects.list": "storage.objects.list",
    "storage.objects.compose": "storage.objects.create",
    "storage.objects.copy": "storage.objects.create",
    "storage.objects.get": "storage.objects.get",
    "storage.objects.create": "storage.objects.create",
    "storage.objects.delete": "storage.objects.delete",
    "batchPredictionJobs.report": "aiplatform.batchPredictionJobs.get",
    "warehouse.query": "bigquery.jobs.create",
    "warehouse.load": "bigquery.jobs.create",
    "bigquery.projects.list": "bigquery.datasets.get",
    "bigquery.datasets.list": "bigquery.datasets.get",
    "bigquery.datasets.get": "bigquery.datasets.get",
    "bigquery.datasets.create": "bigquery.datasets.create",
    "bigquery.datasets.delete": "bigquery.datasets.delete",
    "bigquery.tables.list": "bigquery.tables.list",
    "bigquery.tables.get": "bigquery.tables.get",
    "bigquery.tables.create": "bigquery.tables.create",
    "bigquery.tables.delete": "bigquery.tables.delete",
    "bigquery.tables.getData": "bigquery.tables.getData",
    "bigquery.tables.updateData": "bigquery.tables.updateData",
    "bigquery.jobs.query": "bigquery.jobs.create",
    "bigquery.jobs.create": "bigquery.jobs.create",
    "bigquery.jobs.upload": "bigquery.jobs.create",
    "bigquery.jobs.getQueryResults": "bigquery.jobs.get",
    "bigquery.jobs.get": "bigquery.jobs.get",
    "bigquery.jobs.list": "bigquery.jobs.list",
    "bigquery.jobs.cancel": "bigquery.jobs.get",
    "datasets.patch": "aiplatform.datasets.update",
    "datasets.preview": "aiplatform.datasets.create",
    "models.patch": "aiplatform.models.update",
    "models.report": "aiplatform.models.get",
    "models.listVersions": "aiplatform.models.list",
    "models.mergeVersionAliases": "aiplatform.models.update",
    "models.deleteVersion": "aiplatform.models.delete",
    "operations.wait": "aiplatform.operations.get",
}
"""Operation id of a method: the permission that it needs."""
OWNER_ALONE = "rowcast.installation.administer"
"""What a method needs that has no line in the table."""

_MODEL = re.compile(r"(projects/[^/]+/locations/[^/]+/models/[^/@]+).*")


def resource_of(path: str) -> str:
    """The resource that a request's permission is checked on.

    That is the resource in the path; for methods of a collection, its parent; for all that belongs
    to a model, the model: ``/v1/projects/p/locations/l/models/5@2/evaluations`` is about
    ``projects/p/locations/l/models/5``.
    """
    name = path.removeprefix("/").partition("/")[2]
    head, slash, last = name.rpartition("/")
    name = f"{head}{slash}{last.partition(':')[0]}"
    if name.count("/") % 2 == 0:  # it ends with the name of a collection
        name = name.rpartition("/")[0]
    model = _MODEL.fullmatch(name)
    return model[1] if model else name


def place_of_objects(request: Request) -> str:
    """The place that a request for objects is about: an object, a folder, a bucket, or all."""
    bucket = request.path_params.get("bucket")
    if bucket is None:
        return EVERYTHING
    if "to" in request.path_params:  # what is written decides; what is read is looked at later
        return object_place(request.path_params["to"], request.path_params["into"])
    asked = request.query_params
    folder = asked.get("prefix", "").rpartition("/")[0]
    return object_place(bucket, request.path_params.get("name") or asked.get("name") or folder)


def place_of_tables(request: Request) -> str:
    """The place that a request for tables is about: a table, a dataset, a project, or all."""
    at = request.path_params
    named = [at[key] for key in ("project", "dataset", "table") if key in at]
    return f"bq://{'.'.join(named)}" if named else EVERYTHING


async def authorise(request: Request, wired: Wired, by: By) -> None:
    """Let a request through whose caller has the permission that its method needs.

    Raises
    ------
    PermissionDenied
        Naming the permission and the resource.
    """
    if by.is_owner:
        return
    method = getattr(request.scope["route"], "operation_id", None)
    permission = PERMISSIONS.get(str(method))
    about = (permission or "").partition(".")[0]
    if about == "storage":
        resource = place_of_objects(request)
    elif about == "bigquery":
        resource = place_of_tables(request)
    else:
        resource = resource_of(request.scope["path"])
    if permission is None:
        raise PermissionDenied.on(OWNER_ALONE, resource)
    await run_in_threadpool(wired.guard.require, by, permission, resource)
