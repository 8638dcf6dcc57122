"""``predictions_N.csv`` and ``errors_N.csv``: the input's columns, then scores or the error.

Intervals and attributions have columns of their own if the job asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from rowcast.core.schema import attribution_column
from rowcast.sinks.columns import as_text, carried, carried_names, error_rows
from rowcast.sinks.explained import attributed, attribution_arrays
from rowcast.sinks.join import csv_header, csv_lines, csv_records
from rowcast.sinks.staging import LineSink

if TYPE_CHECKING:
    import numpy as np

    from rowcast.core.prediction import Scored


class CsvSink(LineSink):
    """Writes CSV."""

    suffix = "csv"

    def added_columns(self) -> tuple[str, ...]:
        """See ``Sink.added_columns``."""
        number = self.options.row_number_column
        own = (*self._answer_columns(), self.options.target.error_column)
        return own if number is None else (number, *own)

    def header(self, kind: str) -> bytes:
        """Name the columns."""
        target = self.options.target
        added = self._answer_columns() if kind == "predictions" else (target.error_column,)
        return csv_header([*carried_names(self.options), *added])

    def predictions(self, scored: Scored) -> bytes:
        """Input columns, scores or value, bounds, attributions."""
        answers = scored.predictions
        if answers.scores is not None:
            added = [as_text(pa.array(s)) for s in answers.scores.T.copy()]
        else:
            added = [as_text(pa.array(answers.value))]
        if self.options.interval_columns:
            added += [_bound(bound, len(answers)) for bound in (answers.lower, answers.upper)]
        added += [as_text(array) for array in attribution_arrays(scored, self.options)]
        text, rows = scored.batch.text, scored.scored_rows
        if text is None or text.records is None or self.options.key_field is not None:
            columns = [as_text(c) for _, c in carried(scored, rows, self.options)]
            return csv_lines([*columns, *added])
        if self.options.row_number_column is not None:
            added.insert(0, as_text(pa.array(scored.batch.places.row[rows])))
        return csv_records(text.records, rows, text.take, added)

    def errors(self, scored: Scored) -> bytes:
        """Input columns and ``{"code":..,"message":..}``."""
        columns = [as_text(c) for _, c in carried(scored, error_rows(scored), self.options)]
        texts = [orjson.dumps({"code": e.code, "message": e.message}) for e in scored.errors]
        return csv_lines([*columns, pa.array(texts, pa.binary()).cast(pa.string())])

    def _answer_columns(self) -> tuple[str, ...]:
        target = self.options.target
        return (
            *target.score_columns(),
            *(target.interval_columns() if self.options.interval_columns else ()),
            *map(attribution_column, attributed(self.options)),
        )


def _bound(bound: np.ndarray | None, rows: int) -> pa.Array:
    """A bound as text; one that does not exist is the empty field."""
    if bound is None:
        return pa.nulls(rows, pa.string())
    return as_text(pa.array(bound, from_pandas=True))
