"""What the patch methods share: update masks and etags."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic.alias_generators import to_snake

from rowcast.errors import Aborted, InvalidRequest
from rowcast.server.body import parse_object
from rowcast.server.reading import Findings, read_message, refuse, without_output

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rowcast.server import messages


def read_update(
    body: bytes,
    query: Mapping[str, str],
    kind: type[messages.Message],
    fields: Collection[str],
    etag: str,
) -> dict[str, Any]:
    """Read a patch request: the fields that ``updateMask`` names, by their snake_case names.

    Without a mask, those that the body holds. A field that the mask names and the body does not
    hold gets its default, as everywhere in the API.

    Parameters
    ----------
    body, query
        Of the request.
    kind
        The resource.
    fields
        Those that may be changed.
    etag
        Of the resource as it is.

    Raises
    ------
    InvalidRequest
        With every violation.
    Aborted
        If the body holds another etag.
    """
    findings = Findings()
    message = read_message(without_output(parse_object(body), kind), kind, findings)
    given = query.get("updateMask") or query.get("update_mask") or ""
    asked = [to_snake(path.strip()) for path in given.split(",") if path.strip()]
    if "*" in asked or not asked:
        asked = sorted(message.model_fields_set - {"etag", "name"})
    for path in asked:
        if path not in fields:
            findings.add(path, f"cannot be changed; what can be is {', '.join(sorted(fields))}")
    refuse(findings.violations)
    if not asked:
        raise InvalidRequest(f"There is nothing to change: give {', '.join(sorted(fields))}.")
    if getattr(message, "etag", "") not in ("", etag):
        raise Aborted("The resource has changed since its etag was read; read it again.")
    return {path: getattr(message, path) for path in asked}


def etag_of(*fields: Any) -> str:
    """A text that changes whenever one of the fields does, which are those of a patch.

    It leaves alone what has methods of its own, such as aliases: clients keep the etag of a
    resource over their calls of these.
    """
    return hashlib.sha256(msgspec.json.encode(fields, order="deterministic")).hexdigest()[:16]
