"""What a replica does with one part: read, encode, score, explain, stage."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from rowcast.core.prediction import Attributions, Predictions, Scored
from rowcast.errors import Internal
from rowcast.predictors import answered, load_predictor
from rowcast.scoring.attributions import explain
from rowcast.scoring.profile import pack
from rowcast.scoring.summary import pack as pack_summary
from rowcast.sinks import SinkOptions, Staged, open_sink
from rowcast.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.core.batch import Batch
    from rowcast.core.plan import Layout, Part
    from rowcast.jobs.drift import Counting
    from rowcast.predictors import Predictor
    from rowcast.scoring.attributions import Explanation
    from rowcast.scoring.profile import Counter as RowCounter
    from rowcast.scoring.summary import Summing, Tally

READ_ROWS = 4096
"""Rows encoded together: few enough for the second-level cache. What is scored together is the
job's batch size."""
CAUSES_KEPT = 100


@dataclass(frozen=True)
class PartResult:
    """What the ledger keeps of a finished part."""

    staged: Staged
    causes: dict[str, int] = field(default_factory=dict)
    """Failed rows by cause."""
    counts: str = ""
    """What was counted for the comparison with the training data; see ``jobs/drift.py``."""
    sums: str = ""
    """What its results sum up to; see ``jobs/summary.py``."""


@dataclass(frozen=True)
class Extremes:
    """Rows whose output is high or low enough to be of interest; without bounds, all rows."""

    low: float | None = None
    """Highest output of interest from below."""
    high: float | None = None
    """Lowest output of interest from above."""

    def choose(self, answers: Predictions) -> np.ndarray | None:
        """Numbers of the rows, ascending: int64. None if all rows are of interest."""
        if self.low is None and self.high is None:
            return None
        output = answers.deciding()
        chosen = np.zeros(len(output), np.bool_)
        if self.low is not None:
            chosen |= output <= self.low
        if self.high is not None:
            chosen |= output >= self.high
        return np.flatnonzero(chosen)


@dataclass(frozen=True)
class PartWork:
    """Everything that the parts of one job have in common; called in a replica."""

    source: str
    source_options: SourceOptions
    layout: Layout
    sink: str
    sink_options: SinkOptions
    model_folder: str
    model_digest: str
    batch_rows: int
    explanation: Explanation | None = None
    counting: Counting | None = None
    explained: Extremes = field(default_factory=Extremes)
    """Rows to explain."""
    interval_level: float | None = None
    summing: Summing | None = None

    def __call__(self, part: Part) -> PartResult:
        """Score one part and stage the outcome under a name of its own.

        Raises
        ------
        Internal
            If not every row came to an end.
        """
        predictor = load_predictor(self.model_folder, self.model_digest, self.interval_level)
        causes: Counter[str] = Counter()
        counter = self.counting.counter(predictor) if self.counting else None
        batches = open_source(self.source, self.source_options).read(self.layout, part, READ_ROWS)
        tally = self.summing.tally() if self.summing else None
        scored = (self._score(predictor, batch, causes, counter, tally) for batch in batches)
        sink = open_sink(self.sink, self.sink_options)
        staged = sink.stage(part.number, uuid.uuid4().hex[:8], scored)
        ended = staged.predictions_rows + staged.errors_rows
        if ended != part.rows:
            raise Internal(f"Part {part.number} has {part.rows} rows, but {ended} came to an end.")
        counts = pack(counter.counts) if counter else ""
        sums = pack_summary(tally.summary) if tally else ""
        return PartResult(staged, dict(causes.most_common(CAUSES_KEPT)), counts, sums)

    def _score(
        self,
        predictor: Predictor,
        batch: Batch,
        causes: Counter[str],
        counter: RowCounter | None,
        tally: Tally | None,
    ) -> Scored:
        encoded = predictor.encode(batch)
        answers = concatenate(
            [predictor.score(rows) for rows in self._slices(encoded.matrix)]
            or [predictor.score(encoded.matrix)]
        )
        encoded, answers = answered(encoded, answers, batch.places)
        causes.update(error.cause for error in encoded.errors)
        if counter is not None and encoded.whole is not None:
            counter.add(batch, encoded.whole, encoded.rows, answers)
        rows, why = self._explain(predictor, encoded.matrix, answers)
        scored = Scored(batch, encoded.rows, answers, encoded.errors, why, rows)
        if tally is not None:
            tally.add(scored)
        return scored

    def _explain(
        self, predictor: Predictor, matrix: np.ndarray, answers: Predictions
    ) -> tuple[np.ndarray | None, Attributions | None]:
        """Explain the rows that are to be; say which those are, unless it is all of them."""
        if self.explanation is None:
            return None, None
        rows = self.explained.choose(answers)
        if not (len(matrix) if rows is None else len(rows)):
            return rows, Attributions.none(tuple(name for name, _ in predictor.groups()))
        if rows is not None:
            matrix, answers = matrix[rows], answers.take(rows)
        return rows, explain(predictor, matrix, answers, self.explanation)

    def _slices(self, matrix: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(matrix), self.batch_rows):
            yield matrix[start : start + self.batch_rows]


def concatenate(pieces: list[Predictions]) -> Predictions:
    """Put the answers of consecutive rows together."""
    if len(pieces) == 1:
        return pieces[0]

    def joined(name: str) -> np.ndarray | None:
        arrays = [getattr(piece, name) for piece in pieces]
        return None if arrays[0] is None else np.concatenate(arrays)

    return Predictions(joined("scores"), joined("value"), joined("lower"), joined("upper"))
