"""Summing up what a job says: scores, values, bounds, attributions, errors.

A replica sums up each part; the sums travel with the part's result and are put together in the
order of the parts. Counts are exact. Sums of floats are added in the order of the rows, so they
are the same whoever worked on which part. The sample is the rows with the least scrambled
numbers, which depends on nothing but the numbers of the rows.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from rowcast.scoring.histogram import Histogram, share_bins
from rowcast.scoring.parse import OK, as_text, parse_numbers, parse_timestamps
from rowcast.scoring.profile import scrambled

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rowcast.core.batch import Batch
    from rowcast.core.prediction import Attributions, Predictions, Scored
    from rowcast.core.schema import Feature, ModelSchema

MOST_SAMPLED, LEAST_SAMPLED = 500, 50
SAMPLED_CELLS = 100_000
"""Of wide models so many attributions are sampled, as long as that leaves enough rows."""
SPARE = 4
"""A part may hold so many times its even share of the sample."""
SCORE_BINS = 40
MOST_CLASSES = 20
"""Classes whose scores have a histogram of their own."""
EXAMPLES = 3
MOST_CAUSES = 50
LONGEST_MESSAGE = 500
LONGEST_CELL = 40
DAY_US = 86_400_000_000

Cell = float | str | None
N = TypeVar("N", int, float)


@dataclass(frozen=True)
class SampledRow:
    """One explained row."""

    row: int
    """Its number in the input."""
    output: float
    """What it is judged by; see ``Predictions.deciding``."""
    attributions: tuple[float, ...]
    """Of each feature, with six digits."""
    cells: tuple[Cell, ...]
    """Of each feature: a number, days since 1970, a category, the length of a text. None if there
    is none, or for a list."""


@dataclass(frozen=True)
class Example:
    """One failed row."""

    row: int
    message: str


@dataclass(frozen=True)
class PartSummary:
    """What is kept of a part, or of several."""

    scored: int = 0
    score_sums: tuple[float, ...] = ()
    """Sum of each class' scores; of a value, the one sum."""
    on_top: tuple[int, ...] = ()
    """For each class, the rows whose highest score is its."""
    highest: tuple[int, ...] = ()
    """Bins of each row's highest score."""
    scores: tuple[tuple[int, ...], ...] = ()
    """Bins of the first classes' scores."""
    values: Histogram = field(default_factory=Histogram)
    extremes: tuple[float, ...] = ()
    """The least and the greatest value."""
    widths: Histogram = field(default_factory=Histogram)
    """Of intervals that exist."""
    width_sum: float = 0.0
    explained: int = 0
    absolute: tuple[float, ...] = ()
    """Sum of the sizes of each feature's attributions."""
    signed: tuple[float, ...] = ()
    """Sum of the attributions themselves."""
    sample: tuple[SampledRow, ...] = ()
    """In order of their scrambled numbers."""
    examples: dict[str, tuple[Example, ...]] = field(default_factory=dict)
    """The first failed rows of each cause."""


_PART = msgspec.json.Decoder(PartSummary)  # here, once: see ``scoring/profile.py``


@dataclass(frozen=True)
class Summing:
    """What replicas sum up of a job. Pickles."""

    schema: ModelSchema
    sampled: int
    """Rows that the sample of the whole job has."""
    by_part: int
    """Rows that it may have of one part."""
    output: int | None = None
    """The class that every row is explained for; None if that differs by row."""

    @classmethod
    def of(cls, schema: ModelSchema, parts: int, output: int | None = None) -> Summing:
        """Say what to sum up of a job of so many parts."""
        room = SAMPLED_CELLS // max(1, len(schema.features))
        sampled = min(MOST_SAMPLED, max(LEAST_SAMPLED, room))
        by_part = max(2, -(-SPARE * sampled // max(1, parts)))
        return cls(schema, sampled, min(sampled, by_part), output)

    def tally(self) -> Tally:
        """Begin with a part."""
        return Tally(self.schema, self.by_part)

    def total(self, parts: Iterable[PartSummary]) -> PartSummary:
        """Put the parts of a job together, in their order."""
        whole = PartSummary()
        for part in parts:
            whole = joined(whole, part, self.sampled)
        return whole


def joined(one: PartSummary, other: PartSummary, sampled: int) -> PartSummary:
    """Put two neighbours together; the sample is cut to so many rows."""
    return PartSummary(
        scored=one.scored + other.scored,
        score_sums=_added(one.score_sums, other.score_sums),
        on_top=_added(one.on_top, other.on_top),
        highest=_added(one.highest, other.highest),
        scores=_added_each(one.scores, other.scores),
        values=one.values + other.values,
        extremes=_outermost(one.extremes + other.extremes),
        widths=one.widths + other.widths,
        width_sum=one.width_sum + other.width_sum,
        explained=one.explained + other.explained,
        absolute=_added(one.absolute, other.absolute),
        signed=_added(one.signed, other.signed),
        sample=_least(one.sample, other.sample, sampled),
        examples=_first(one.examples, other.examples),
    )


def _added(one: tuple[N, ...], other: tuple[N, ...]) -> tuple[N, ...]:
    """Add number by number; nothing at all counts as zeros."""
    if not one or not other:
        return one or other
    return tuple(a + b for a, b in zip(one, other, strict=True))


def _added_each(
    one: tuple[tuple[int, ...], ...], other: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    if not one or not other:
        return one or other
    return tuple(_added(a, b) for a, b in zip(one, other, strict=True))


def _outermost(numbers: tuple[float, ...]) -> tuple[float, ...]:
    return (min(numbers), max(numbers)) if numbers else ()


def _least(
    one: tuple[SampledRow, ...], other: tuple[SampledRow, ...], most: int
) -> tuple[SampledRow, ...]:
    """Keep the rows with the least scrambled numbers."""
    if not other:
        return one
    rows = one + other
    numbers = scrambled(np.array([row.row for row in rows], np.int64))
    return tuple(rows[place] for place in np.argsort(numbers, kind="stable")[:most].tolist())


def _first(
    one: dict[str, tuple[Example, ...]], other: dict[str, tuple[Example, ...]]
) -> dict[str, tuple[Example, ...]]:
    """Keep the first examples of each cause, and the causes that came first."""
    examples = dict(one)
    for cause, found in other.items():
        if cause in examples or len(examples) < MOST_CAUSES:
            examples[cause] = (examples.get(cause, ()) + found)[:EXAMPLES]
    return examples


def pack(part: PartSummary) -> str:
    """Write a part's sums as short text."""
    return base64.b64encode(zlib.compress(msgspec.json.encode(part), 1)).decode()


def unpack(text: str) -> PartSummary:
    """Read what ``pack`` wrote."""
    return _PART.decode(zlib.decompress(base64.b64decode(text)))


class Tally:
    """Sums up one part, batch by batch."""

    def __init__(self, schema: ModelSchema, sampled: int) -> None:
        self._schema = schema
        self._sampled = sampled
        self.summary = PartSummary()

    def add(self, scored: Scored) -> None:
        """Add a batch."""
        fresh = PartSummary(scored=len(scored.scored_rows), examples=_examples(scored))
        if fresh.scored:
            fresh = _with_answers(fresh, scored.predictions)
        why = scored.attributions
        if why is not None and len(why.values):
            order = [why.feature_names.index(name) for name in self._schema.feature_names]
            values = towards(why, len(self._schema.target.classes))[:, order]
            fresh = replace(
                fresh,
                explained=len(values),
                absolute=tuple(np.abs(values).sum(axis=0).tolist()),
                signed=tuple(values.sum(axis=0).tolist()),
                sample=self._sample(scored, values),
            )
        self.summary = joined(self.summary, fresh, self._sampled)

    def _sample(self, scored: Scored, values: np.ndarray) -> tuple[SampledRow, ...]:
        """Take the rows of a batch that may be among those with the least scrambled numbers."""
        explained = scored.explained
        rows = scored.scored_rows if explained is None else scored.scored_rows[explained]
        numbers = scrambled(scored.batch.places.row[rows])
        chosen = np.argsort(numbers, kind="stable")[: self._sampled]
        if len(self.summary.sample) == self._sampled:
            last = scrambled(np.array([self.summary.sample[-1].row], np.int64))
            chosen = chosen[numbers[chosen] < last]
        output = scored.predictions.deciding()
        output = (output if explained is None else output[explained])[chosen]
        features = self._schema.features
        taken = [cells_of(feature, scored.batch, rows[chosen]) for feature in features]
        return tuple(
            SampledRow(row, _short(said), tuple(map(_short, moved)), cells)
            for row, said, moved, cells in zip(
                scored.batch.places.row[rows[chosen]].tolist(),
                output.tolist(),
                values[chosen].tolist(),
                zip(*taken, strict=True),
                strict=True,
            )
        )


def towards(why: Attributions, classes: int) -> np.ndarray:
    """Attributions to each row's first explained output: shape (n, n_features).

    Of two classes it is the second one's score for every row, whichever was explained: what
    raises one score lowers the other as much.
    """
    values = why.values[:, 0]
    if classes != 2:
        return values
    return np.where(why.output_index[:, :1] == 1, values, -values)


def cells_of(feature: Feature, batch: Batch, rows: np.ndarray) -> list[Cell]:
    """What some rows have for a feature; see ``SampledRow.cells``."""
    column = batch.held.column(feature.name).take(pa.array(rows))
    if feature.kind == "numeric":
        numbers, status = parse_numbers(column)
        return _known(status == OK, numbers)
    if feature.kind == "timestamp":
        us, status = parse_timestamps(column, feature.time_format)
        return _known(status == OK, us / DAY_US)
    if feature.kind not in ("categorical", "text"):
        return [None] * len(rows)
    texts = as_text(column).to_pylist()
    if feature.kind == "text":
        return [len(text) if text else None for text in texts]
    return [text[:LONGEST_CELL] if text else None for text in texts]


def _known(known: np.ndarray, numbers: np.ndarray) -> list[Cell]:
    return [
        number if there and np.isfinite(number) else None
        for there, number in zip(known.tolist(), numbers.tolist(), strict=True)
    ]


def _examples(scored: Scored) -> dict[str, tuple[Example, ...]]:
    """The first failed rows of each cause."""
    examples: dict[str, tuple[Example, ...]] = {}
    for error in scored.errors:
        found = examples.get(error.cause, ())
        if len(found) < EXAMPLES and (found or len(examples) < MOST_CAUSES):
            row = int(scored.batch.places.row[error.index])
            examples[error.cause] = (*found, Example(row, error.message[:LONGEST_MESSAGE]))
    return examples


def _with_answers(fresh: PartSummary, answers: Predictions) -> PartSummary:
    scores = answers.scores
    if scores is None:
        return _with_values(fresh, answers)
    classes = scores.shape[1]
    return replace(
        fresh,
        score_sums=tuple(scores.sum(axis=0).tolist()),
        on_top=tuple(np.bincount(scores.argmax(axis=1), minlength=classes).tolist()),
        highest=tuple(share_bins(scores.max(axis=1), SCORE_BINS).tolist()),
        scores=tuple(
            tuple(share_bins(scores[:, k], SCORE_BINS).tolist())
            for k in range(min(classes, MOST_CLASSES))
        ),
    )


def _with_values(fresh: PartSummary, answers: Predictions) -> PartSummary:
    value = np.asarray(answers.value)
    fresh = replace(
        fresh,
        score_sums=(float(value.sum()),),
        values=Histogram.of(value),
        extremes=(float(value.min()), float(value.max())),
    )
    if answers.lower is None or answers.upper is None:
        return fresh
    widths = answers.upper - answers.lower
    widths = widths[np.isfinite(widths)]
    return replace(fresh, widths=Histogram.of(widths), width_sum=float(widths.sum()))


def _short(number: float) -> float:
    """Keep six digits."""
    return float(f"{number:.6g}")
