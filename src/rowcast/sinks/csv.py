"""``predictions_N.csv`` and ``errors_N.csv``: the input's columns, then scores or the error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pyarrow as pa

from rowcast.sinks.columns import as_text, carried, carried_names, error_rows
from rowcast.sinks.join import csv_header, csv_lines
from rowcast.sinks.staging import LineSink

if TYPE_CHECKING:
    from rowcast.core.prediction import Scored


class CsvSink(LineSink):
    """Writes CSV. Intervals and attributions have no place in this format."""

    suffix = "csv"

    def added_columns(self) -> tuple[str, ...]:
        """See ``Sink.added_columns``."""
        target, number = self.options.target, self.options.row_number_column
        own = (*target.score_columns(), target.error_column)
        return own if number is None else (number, *own)

    def header(self, kind: str) -> bytes:
        """Name the columns."""
        target = self.options.target
        added = target.score_columns() if kind == "predictions" else (target.error_column,)
        return csv_header([*carried_names(self.options), *added])

    def predictions(self, scored: Scored) -> bytes:
        """Input columns and scores."""
        answers = scored.predictions
        columns = [as_text(c) for _, c in carried(scored, scored.scored_rows, self.options)]
        if answers.scores is not None:
            columns += [as_text(pa.array(s)) for s in answers.scores.T.copy()]
        else:
            columns.append(as_text(pa.array(answers.value)))
        return csv_lines(columns)

    def errors(self, scored: Scored) -> bytes:
        """Input columns and ``{"code":..,"message":..}``."""
        columns = [as_text(c) for _, c in carried(scored, error_rows(scored), self.options)]
        texts = [orjson.dumps({"code": e.code, "message": e.message}) for e in scored.errors]
        return csv_lines([*columns, pa.array(texts, pa.binary()).cast(pa.string())])
