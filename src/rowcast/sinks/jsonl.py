"""``predictions_N.jsonl`` and ``errors_N.jsonl``: one object per row.

Lines are joined column by column in Arrow; only a cell that needs escaping becomes a Python
object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.sinks.columns import as_text, carried, error_rows, json_texts
from rowcast.sinks.explained import explanation_texts
from rowcast.sinks.staging import LineSink

if TYPE_CHECKING:
    import numpy as np

    from rowcast.core.prediction import Predictions, Scored

_NEEDS_ESCAPING = '["\\\\\\x00-\\x1f]'


class JsonlSink(LineSink):
    """Writes JSON lines; an instance read from JSONL is repeated to the letter."""

    suffix = "jsonl"

    def added_columns(self) -> tuple[str, ...]:
        """See ``Sink.added_columns``: what JSONL adds stands beside the instance, not in it."""
        return ()

    def header(self, kind: str) -> bytes:  # noqa: ARG002
        """JSON lines have none."""
        return b""

    def predictions(self, scored: Scored) -> bytes:
        """Instance or key, prediction, and explanation if there is one."""
        pieces = self._row_start(scored, scored.scored_rows)
        pieces += [', "prediction": ', *self._prediction(scored.predictions)]
        found = explanation_texts(scored, self.options)
        if found is not None:
            named = pc.binary_join_element_wise(', "explanation": ', found, "")
            pieces.append(pc.fill_null(named, ""))
        return _lines([*pieces, "}\n"])

    def errors(self, scored: Scored) -> bytes:
        """Instance or key, and the error."""
        found = json_texts([{"code": e.code, "message": e.message} for e in scored.errors])
        return _lines([*self._row_start(scored, error_rows(scored)), ', "error": ', found, "}\n"])

    def _row_start(self, scored: Scored, rows: np.ndarray) -> list[str | pa.Array]:
        columns = carried(scored, rows, self.options)
        number: list[str | pa.Array] = []
        if self.options.row_number_column is not None:
            name, values = columns.pop()
            number = [f", {_quoted(name)}: ", as_text(values)]
        if self.options.key_field is not None:
            return ['{"key": ', self._key(columns[0][1]), *number]
        if scored.batch.instances is not None:
            return ['{"instance": ', scored.batch.instances.take(pa.array(rows)), *number]
        pieces: list[str | pa.Array] = ['{"instance": {']
        for i, (name, column) in enumerate(columns):
            pieces += [f"{', ' if i else ''}{_quoted(name)}: ", as_json(column)]
        return [*pieces, "}", *number]

    def _key(self, column: pa.Array) -> pa.Array:
        """The key as it was: what JSONL gave as a number or boolean is one again."""
        field = self.options.schema.field(self.options.key_field)
        if (field.metadata or {}).get(b"json_type") in (b"number", b"boolean"):
            return pc.fill_null(column, "null")
        return as_json(column)

    def _prediction(self, answers: Predictions) -> list[str | pa.Array]:
        if answers.scores is not None:
            classes = orjson.dumps(list(self.options.target.classes)).decode()
            pieces: list[str | pa.Array] = [f'{{"classes": {classes}, "scores": [']
            for i, scores in enumerate(answers.scores.T.copy()):
                pieces += [", " if i else "", as_json(pa.array(scores))]
            return [*pieces, "]}"]
        pieces = []
        for name, values in (
            ("value", answers.value),
            ("lower_bound", answers.lower),
            ("upper_bound", answers.upper),
        ):
            if values is not None:
                pieces += [f'{", " if pieces else "{"}"{name}": ', as_json(pa.array(values))]
        return [*pieces, "}"]


def as_json(column: pa.Array) -> pa.Array:
    """Each cell as JSON text, in a string column without nulls.

    Text becomes a string; numbers and booleans stay what they are, except for NaN and
    infinities, which JSON does not have.
    """
    kind = column.type
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        texts = pc.cast(column, pa.string())
    elif pa.types.is_floating(kind):
        finite = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
        texts = pc.cast(finite, pa.string())
    elif pa.types.is_nested(kind):
        texts = as_text(column)
    else:
        texts = _strings(as_text(column))
    return pc.fill_null(texts, "null")


def _strings(texts: pa.Array) -> pa.Array:
    special = pc.match_substring_regex(texts, _NEEDS_ESCAPING)
    if not pc.any(special).as_py():
        return pc.binary_join_element_wise('"', texts, '"', "")
    escaped = [None if t is None else orjson.dumps(t).decode() for t in texts.to_pylist()]
    return pa.array(escaped, pa.string())


def _quoted(name: str) -> str:
    return orjson.dumps(name).decode()


def _lines(pieces: list[str | pa.Array]) -> bytes:
    """Join literals and columns row by row, and the rows to one text."""
    joined = pc.binary_join_element_wise(*pieces, "")
    _, offsets, data = joined.buffers()
    start, stop = (
        int.from_bytes(offsets[4 * i : 4 * i + 4].to_pybytes(), "little")
        for i in (joined.offset, joined.offset + len(joined))
    )
    return bytes(data[start:stop].to_pybytes())
