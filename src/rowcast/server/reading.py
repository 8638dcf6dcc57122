"""Reads a request's JSON as a message, noting everything in it that cannot be read.

A request is read in one go: what cannot be read is noted as a violation and left out, so that
the rest can still be checked for sense, and one answer lists everything there is to mend.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from rowcast.errors import InvalidRequest, Violation
from rowcast.server import messages
from rowcast.server.body import json_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

M = TypeVar("M", bound=messages.Message)

MAX_PASSES = 10
"""Readings of one request, each without what the one before could not read; two are enough."""
MAX_SUGGESTIONS = 100
"""Unknown fields that are compared with the known ones."""
_PLAIN_NAME = re.compile(r"[\w-]{1,100}")


@dataclass
class Findings:
    """Violations while a request is being read."""

    violations: list[Violation] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    def add(self, path: str, description: str, *, settles: str | None = None) -> None:
        """Note a violation, and a field of which there is no more to say."""
        self.violations.append(Violation(path, description))
        if settles is not None:
            self.settled.add(settles)


def merged(
    violations: Iterable[Violation], settled: Collection[str], semantic: Iterable[Violation]
) -> list[Violation]:
    """Add what a service found to what could not be read, less what follows from that.

    ``settled`` are the fields of which all there is to say is among ``violations``.
    """
    unread = list(violations)
    named = {violation.field for violation in unread}
    return [
        *unread,
        *(v for v in semantic if v.field not in named and not _is_below(v.field, settled)),
    ]


def _is_below(path: str, fields: Iterable[str]) -> bool:
    return any(path == name or path.startswith((f"{name}.", f"{name}[")) for name in fields)


def read_message(raw: dict[str, Any], kind: type[M], findings: Findings) -> M:
    """Read what can be read of ``raw``, which is changed; note the rest and leave it out."""
    for _ in range(MAX_PASSES):
        try:
            return kind.model_validate(raw)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=False):
                path, holder = _paths(kind, problem["loc"])
                if problem["type"] == "extra_forbidden":
                    suggest = len(findings.violations) < MAX_SUGGESTIONS
                    findings.add(path, _unknown(kind, problem["loc"], suggest=suggest))
                else:
                    findings.add(path, _mismatch(problem), settles=holder)
                _cut(raw, problem["loc"])
    raise InvalidRequest.listing(findings.violations)


def _paths(kind: Any, loc: Sequence[str | int]) -> tuple[str, str]:
    """Name the place of a problem, and the nearest object member around it.

    Members of arrays and of maps are in brackets: ``uris[0]``, ``labels[env]``.
    """
    path = holder = ""
    for key in loc:
        named = messages.as_message(kind) is not None
        name, kind = messages.step(kind, key)
        shown = _printable(_snake(str(key)) if name is None else name)
        if named:
            path += f".{shown}" if path else shown
        else:
            path += f"[{shown}]"
        if isinstance(key, str):
            holder = path
    return path, holder


def _printable(name: str) -> str:
    """Names in messages are short and on one line."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    return json.dumps(name if len(name) <= 100 else name[:100] + "...")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower() if name.isidentifier() else name


def _unknown(kind: Any, loc: Sequence[str | int], *, suggest: bool) -> str:
    for key in loc[:-1]:
        kind = messages.step(kind, key)[1]
    message = messages.as_message(kind)
    if message is None:
        return "unknown field"
    given = str(loc[-1])
    if message.field_name(given) is not None:
        return "given twice, in camelCase and in snake_case"
    fields = message.model_fields if suggest else ()
    close = difflib.get_close_matches(_snake(given)[:100], fields, n=1)
    return f"unknown field; did you mean {close[0]}?" if close else "unknown field"


_EXPECTED = {
    "string_type": "a string",
    "bool_type": "a boolean",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def _mismatch(problem: Any) -> str:
    expected = _EXPECTED.get(problem["type"])
    if expected is None:
        return str(problem["msg"])
    return f"must be {expected}, not {json_type(problem['input'])}"


def _cut(raw: dict[str, Any], loc: Sequence[str | int]) -> None:
    """Remove the nearest object member around a place; it may be gone already."""
    holder, key = raw, loc[0]
    node: Any = raw
    for index in loc:
        if isinstance(node, dict):
            if index not in node:
                return
            holder, key = node, index
        node = node[index]
    holder.pop(str(key), None)


def without_output(raw: dict[str, Any], kind: type[messages.Message]) -> dict[str, Any]:
    """Leave out the fields that only the server sets."""
    unread = messages.read_only(kind)
    return {key: value for key, value in raw.items() if key not in unread}


def members(**given: Any) -> dict[str, Any]:
    """Make an object without the members that are at proto3's default."""
    return {name: value for name, value in given.items() if value}


def refuse(violations: Sequence[Violation]) -> None:
    """Raise InvalidRequest if there is any violation."""
    if violations:
        raise InvalidRequest.listing(violations)
