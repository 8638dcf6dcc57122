"""Request bodies: bytes to a JSON object, with errors that name the place."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    from starlette.requests import Request

# A string (also one without an end), the start of an empty container with a comma, or a comma
# before a closing bracket. Possessive, so the pass over a body is linear whatever it holds.
_TRAILING_COMMA = re.compile(
    r'"(?:[^"\\]++|\\.)*+"?|[\[{][ \t\r\n]*+,|(?P<comma>,)(?=[ \t\r\n]*+[\]}])', re.DOTALL
)


async def read_body(request: Request, limit: int) -> bytes:
    """Receive a request's body.

    Raises
    ------
    InvalidRequest
        If it is longer than ``limit`` bytes; no more than that is kept.
    """
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > limit:
            raise InvalidRequest(f"The request body is longer than {limit:,} bytes.")
    return bytes(received)


def parse_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object; an empty body is an empty one.

    Commas before a closing bracket are overlooked. Anything else that is not JSON is refused, as
    are NaN and Infinity, names that occur twice, and halves of surrogate pairs.

    Raises
    ------
    InvalidRequest
        Naming the line and column, or what the body is instead.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8: byte {error.start} is wrong.") from error
    if not text.strip():
        return {}
    try:
        value = _load(text)
    except json.JSONDecodeError:
        value = _load_leniently(text)
    if not isinstance(value, dict):
        raise InvalidRequest(f"The body is {json_type(value)}; a JSON object is needed.")
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("The body holds half of a surrogate pair in a \\u escape.") from error
    return value


def json_type(value: object) -> str:
    """Say what kind of JSON value this is, with its article."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names: dict[type, str] = {
        str: "a string",
        int: "a number",
        float: "a number",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), "not JSON")


def _load_leniently(text: str) -> Any:
    spaced = _TRAILING_COMMA.sub(lambda found: " " if found["comma"] else found[0], text)
    try:
        return _load(spaced)
    except json.JSONDecodeError as error:
        raise InvalidRequest(
            f"The body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}."
        ) from error


def _load(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError:
        raise
    except RecursionError as error:
        raise InvalidRequest("The body is nested too deeply.") from error
    except ValueError as error:
        raise InvalidRequest(f"The body holds a number that is too long: {error}.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidRequest(f"The body gives {name[:100]!r} twice in one object.")
            seen.add(name)
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"The body holds {name}, which is not JSON.")
