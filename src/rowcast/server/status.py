"""Errors to ``google.rpc.Status`` bodies: the one place with HTTP codes.

Every answer that is not a success has the same shape::

    {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "...", "details": [...]}}

``details`` holds one ``google.rpc.BadRequest`` when the error names fields, one
``google.rpc.ErrorInfo`` when a permission is lacking, and is absent otherwise. A path that exists
with another method answers HTTP 405 with the status UNIMPLEMENTED
and an ``Allow`` header.
"""

from __future__ import annotations

import secrets
from traceback import format_exception
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from rowcast.errors import InvalidRequest, PermissionDenied, RowcastError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastapi import FastAPI
    from starlette.requests import Request

    from rowcast.errors import Violation

logger = structlog.get_logger(__name__)

HTTP_CODES = {
    "CANCELLED": 499,
    "UNKNOWN": 500,
    "INVALID_ARGUMENT": 400,
    "DEADLINE_EXCEEDED": 504,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "PERMISSION_DENIED": 403,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "ABORTED": 409,
    "OUT_OF_RANGE": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "UNAUTHENTICATED": 401,
}
"""HTTP code of each google.rpc.Code."""

_STATUS_OF_HTTP = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 405: "UNIMPLEMENTED"}
"""For errors that the framework raises by HTTP code."""

MAX_VIOLATIONS = 100
"""Violations listed in one answer; the rest is counted."""


def status_body(
    code: int,
    status: str,
    message: str,
    violations: Sequence[Violation] = (),
    lacking: PermissionDenied | None = None,
) -> dict[str, Any]:
    """Build the JSON of an error."""
    error: dict[str, Any] = {"code": code, "status": status, "message": message}
    if lacking:
        error["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "IAM_PERMISSION_DENIED",
                "domain": "aiplatform.googleapis.com",
                "metadata": {"permission": lacking.permission, "resource": lacking.resource},
            }
        ]
    if violations:
        error["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [
                    {"field": violation.field, "description": violation.description}
                    for violation in violations
                ],
            }
        ]
    return {"error": error}


def respond(error: RowcastError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer with an error that was raised on purpose."""
    violations = error.violations if isinstance(error, InvalidRequest) else ()
    message = str(error)
    if len(violations) > MAX_VIOLATIONS:
        more = len(violations) - MAX_VIOLATIONS
        violations = violations[:MAX_VIOLATIONS]
        message = f"{InvalidRequest.listing(violations)}; and {more} more"
    code = HTTP_CODES[error.status]
    lacking = error if isinstance(error, PermissionDenied) and error.permission else None
    body = status_body(code, error.status, message, violations, lacking)
    return JSONResponse(body, code, headers)


def respond_to_unexpected(error: BaseException) -> JSONResponse:
    """Answer with nothing but a reference, under which the log has the whole story."""
    reference = secrets.token_hex(8)
    _log(error, reference=reference)
    message = f"An internal error occurred. The server's log has it under {reference}."
    return JSONResponse(status_body(500, "INTERNAL", message), 500)


def _log(error: BaseException, **facts: str) -> None:
    """Log a traceback as one field, which no renderer adds the values of variables to."""
    logger.error("request_failed", **facts, traceback="".join(format_exception(error)))


def _on_rowcast_error(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RowcastError):
        raise error
    if HTTP_CODES[error.status] >= 500:
        _log(error, status=error.status)
    return respond(error)


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    status = _STATUS_OF_HTTP.get(error.status_code, "UNKNOWN")
    message = {
        404: f"{request.url.path} is not a path of this API.",
        405: f"{request.url.path} does not have the method {request.method}.",
    }.get(error.status_code, str(error.detail))
    body = status_body(error.status_code, status, message)
    return JSONResponse(body, error.status_code, error.headers)


def _on_bad_parameters(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    text = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return respond(InvalidRequest(text))


def install(app: FastAPI) -> None:
    """Make an application answer every error in this shape."""
    app.add_exception_handler(RowcastError, _on_rowcast_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_bad_parameters)
