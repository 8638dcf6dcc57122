"""List filters: ``state="JOB_STATE_SUCCEEDED" AND display_name:"nightly_*"`` to a ``Filter``.

Comparisons are joined by AND, OR, NOT and parentheses; OR binds tighter than AND. Values are
bare or quoted, with backslash escapes. The grammar is LALR(1), so reading takes time linear in
the filter's length, and limits keep what comes out small enough for a database.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from lark import Lark, Token, Transformer, UnexpectedInput, UnexpectedToken, v_args

from rowcast.core.names import parse_rfc3339
from rowcast.errors import InvalidRequest
from rowcast.server.messages import JOB_STATES, PIPELINE_STATES
from rowcast.stores import AllOf, AnyOf, Condition, Filter, Not

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

MAX_LENGTH = 10_000
MAX_CONDITIONS = 200
MAX_DEPTH = 50

GRAMMAR = r"""
?start: conjunction
?conjunction: disjunction ("AND" disjunction)*
?disjunction: term ("OR" term)*
?term: ("NOT" | "-") term -> negation
     | "(" conjunction ")"
     | FIELD OPERATOR (BARE | QUOTED) -> condition

FIELD: /[^\W\d][\w.-]*/
OPERATOR: "<=" | ">=" | "!=" | "=" | "<" | ">" | ":"
BARE: /[^\s()"'=!<>:\\][^\s()"'\\]*/
QUOTED: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
%ignore /\s+/
"""


@dataclass(frozen=True)
class Field:
    """What a field may be compared with."""

    operators: frozenset[str]
    read: Callable[[str], Any] = str
    """Turns the text of a value into what is compared. Raises ValueError."""


def _one_of(states: Collection[str]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in states:
            raise ValueError(f"{text!r} is not a state; states are {', '.join(states)}")
        return text

    return check


def _moment(text: str) -> datetime:
    try:
        return parse_rfc3339(text)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text!r} is not an RFC 3339 time such as 2026-01-31T08:15:30Z"
        ) from error


_EQUALITY = frozenset({"=", "!="})
_TIME = Field(_EQUALITY | {"<", "<=", ">", ">="}, _moment)
_LABEL = Field(_EQUALITY | {":"})


class Fields:
    """The fields that a kind of resource can be filtered by, besides its labels."""

    def __init__(self, **fields: Field) -> None:
        self._fields = fields

    @cached_property
    def parser(self) -> Lark:
        """Reads filters over these fields, making a ``Filter`` as it goes."""
        return Lark(GRAMMAR, parser="lalr", transformer=_Builder(self._fields))


JOB_FIELDS = Fields(
    display_name=Field(_EQUALITY | {":"}),
    model_display_name=Field(_EQUALITY),
    state=Field(_EQUALITY, _one_of(JOB_STATES.values())),
    create_time=_TIME,
)
MODEL_FIELDS = Fields(
    model=Field(_EQUALITY),
    display_name=Field(_EQUALITY | {":"}),
    create_time=_TIME,
    update_time=_TIME,
)
DATASET_FIELDS = Fields(
    display_name=Field(_EQUALITY | {":"}),
    metadata_schema_uri=Field(_EQUALITY | {":"}),
    create_time=_TIME,
    update_time=_TIME,
)
PIPELINE_FIELDS = Fields(
    display_name=Field(_EQUALITY | {":"}),
    state=Field(_EQUALITY, _one_of(PIPELINE_STATES.values())),
    training_task_definition=Field(_EQUALITY | {":"}),
    create_time=_TIME,
    update_time=_TIME,
)
EVALUATION_FIELDS = Fields()
SLICE_FIELDS = Fields(slice_dimension=Field(_EQUALITY), slice_value=Field(_EQUALITY))


def parse_filter(text: str, fields: Fields) -> Filter | None:
    """Read a list filter over ``fields`` and labels; None for a blank one.

    Raises
    ------
    InvalidRequest
        Naming what is wrong, and the character at which it is, from 1.
    """
    if not text.strip():
        return None
    if len(text) > MAX_LENGTH:
        raise InvalidRequest(f"filter: longer than {MAX_LENGTH:,} characters.")
    try:
        found = cast("Filter", fields.parser.parse(text))
    except UnexpectedInput as error:
        raise InvalidRequest(_explain(text, error)) from None
    _check_size(found)
    return found


def _check_size(where: Filter) -> None:
    conditions, level = 0, [where]
    for _ in range(MAX_DEPTH):
        conditions += sum(isinstance(item, Condition) for item in level)
        level = [inner for item in level for inner in _operands(item)]
    if level:
        raise InvalidRequest(f"filter: nested more than {MAX_DEPTH} deep.")
    if conditions > MAX_CONDITIONS:
        raise InvalidRequest(f"filter: more than {MAX_CONDITIONS} comparisons.")


def _operands(where: Filter) -> tuple[Filter, ...]:
    if isinstance(where, Condition):
        return ()
    return (where.operand,) if isinstance(where, Not) else where.operands


def matches(where: Filter | None, value_of: Callable[[str], Any]) -> bool:
    """Whether a resource passes a filter; ``value_of`` gives its fields, None where absent."""
    if where is None:
        return True
    if isinstance(where, Not):
        return not matches(where.operand, value_of)
    if isinstance(where, AllOf):
        return all(matches(operand, value_of) for operand in where.operands)
    if isinstance(where, AnyOf):
        return any(matches(operand, value_of) for operand in where.operands)
    value = value_of(where.field)
    if value is None:
        return where.operator == "!="
    return bool(_COMPARE[where.operator](value, where.value))


def _has(value: str, pattern: str) -> bool:
    """Match a text with a pattern in which ``*`` stands for anything, in linear time."""
    first, *rest = pattern.split("*")
    if not rest:
        return value == pattern
    *middle, last = rest
    if not value.startswith(first) or not value[len(first) :].endswith(last):
        return False
    start, stop = len(first), len(value) - len(last)
    for piece in middle:
        found = value.find(piece, start, stop)
        if found < 0:
            return False
        start = found + len(piece)
    return True


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    ":": _has,
}


class _Builder(Transformer[Token, Filter]):
    """Makes a ``Filter`` of a parsed one, from the leaves up."""

    def __init__(self, fields: Mapping[str, Field]) -> None:
        super().__init__()
        self._fields = fields

    @v_args(inline=True)
    def condition(self, name: Token, symbol: Token, value: Token) -> Condition:
        field_name, field = self._field(name)
        if symbol not in field.operators:
            raise InvalidRequest(
                f"filter: {field_name} has no operator {symbol} (at character "
                f"{_place(symbol)}); it has {' '.join(sorted(field.operators))}"
            )
        text = _unquote(value) if value.type == "QUOTED" else str(value)
        if field is _LABEL and symbol == ":" and text != "*":
            raise InvalidRequest(
                f"filter: write {field_name}:* or {field_name}=VALUE (at character "
                f"{_place(symbol)})"
            )
        try:
            return Condition(field_name, str(symbol), field.read(text))
        except ValueError as error:
            raise InvalidRequest(f"filter: {error} (at character {_place(value)})") from error

    def _field(self, name: Token) -> tuple[str, Field]:
        if name.startswith("labels.") and len(name) > len("labels."):
            return str(name), _LABEL
        snake = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
        field = self._fields.get(snake)
        if field is None:
            raise InvalidRequest(
                f"filter: {str(name)[:100]!r} is not a field that can be filtered by (at "
                f"character {_place(name)}); those are {', '.join(self._fields)} and labels.KEY"
            )
        return snake, field

    @v_args(inline=True)
    def negation(self, operand: Filter) -> Filter:
        return operand.operand if isinstance(operand, Not) else Not(operand)

    def conjunction(self, operands: list[Filter]) -> Filter:
        return AllOf(tuple(operands))

    def disjunction(self, operands: list[Filter]) -> Filter:
        return AnyOf(tuple(operands))


def _place(token: Token) -> int:
    return (token.start_pos or 0) + 1


def _unquote(token: str) -> str:
    return re.sub(r"\\(.)", r"\1", token[1:-1], flags=re.DOTALL)


def _explain(text: str, error: UnexpectedInput) -> str:
    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return f"filter: incomplete at character {len(text) + 1}"
    start = error.pos_in_stream or 0
    return f"filter: {text[start : start + 20]!r} is not expected at character {start + 1}"
