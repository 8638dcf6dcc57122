"""``models:upload``: a model that was trained elsewhere."""

from typing import Any

from fastapi import APIRouter

from rowcast.access.guard import require_data
from rowcast.importing.uploads import Upload
from rowcast.server import messages, operations
from rowcast.server.body import parse_object
from rowcast.server.reading import Findings, read_message, refuse, without_output
from rowcast.server.routing import PARENT, At, Body, By, Wired, answers, takes_only

router = APIRouter(tags=["models"])


@router.post(
    PARENT + "/models:upload",
    operation_id="models.upload",
    response_model=None,
    responses=answers(messages.Operation),
    openapi_extra=takes_only(messages.UploadModelRequest),
)
def upload(at: At, content: Body, wired: Wired, by: By) -> dict[str, Any]:
    """Import a model; the operation is done once it is answered."""
    started = wired.clock()
    asked, unread = _parse(content)
    if unread:
        named = {violation.field for violation in unread}
        more = wired.uploads.violations(at, asked)
        refuse([*unread, *(v for v in more if v.field not in named)])
    if asked.artifact_uri:
        require_data(wired.guard, by, reads=[asked.artifact_uri])
    model = wired.uploads.upload(at, asked)
    return operations.keep_upload(wired, at, started, model)


def _parse(content: bytes) -> tuple[Upload, list[Any]]:
    """Read the body of a request, and note what cannot be read."""
    findings = Findings()
    raw = parse_object(content)
    if isinstance(raw.get("model"), dict):
        raw["model"] = without_output(raw["model"], messages.Model) | {
            key: value for key, value in raw["model"].items() if key == "rowcast"
        }
    message = read_message(raw, messages.UploadModelRequest, findings)
    model = message.model or messages.UploadedModel()
    own = model.rowcast or messages.UploadExtension()
    asked = Upload(
        display_name=model.display_name,
        artifact_uri=model.artifact_uri,
        description=model.description,
        version_description=model.version_description,
        version_aliases=tuple(model.version_aliases),
        labels=model.labels,
        model_id=message.model_id,
        parent_model=message.parent_model,
        target=own.target_column or None,
        prediction_type=own.prediction_type or None,  # type: ignore[arg-type]
        format=own.format or "auto",
    )
    return asked, findings.violations
