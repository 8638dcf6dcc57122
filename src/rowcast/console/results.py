"""What a job wrote, read from the preview of its objects, whatever their format."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rowcast.console.api import Json

BINS = 20
ATTRIBUTION = "_attribution"


@dataclass(frozen=True)
class Row:
    """A row of the results."""

    cells: dict[str, str | None]
    """The input's columns."""
    scores: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    bounds: tuple[float, float] | None = None
    error: str = ""
    attributions: dict[str, float] = field(default_factory=dict)
    baseline: float | None = None
    """The output that the attributions start from."""

    @property
    def best(self) -> tuple[str, float] | None:
        """The class with the highest score."""
        return max(self.scores.items(), key=lambda item: item[1]) if self.scores else None


@dataclass(frozen=True)
class Histogram:
    """Rows by score or value."""

    label: str
    edges: list[float]
    counts: list[int]

    def above(self, threshold: float) -> float:
        """Guess the share of rows at or above a threshold; a bin it cuts is shared out evenly."""
        kept = 0.0
        for low, high, rows in zip(self.edges[:-1], self.edges[1:], self.counts, strict=True):
            if low >= threshold:
                kept += rows
            elif high > threshold:
                kept += rows * (high - threshold) / (high - low)
        return kept / max(1, sum(self.counts))


def histograms_of(summary: Json, target: str) -> list[Histogram]:
    """Take histograms of all rows from a job's summary, the one that matters most first."""
    found = []
    classes = [one for one in summary.get("classes", []) if one.get("scores")]
    bins = summary.get("scoreBins") or 1
    edges = [place / bins for place in range(bins + 1)]
    if len(classes) == 2:
        classes.sort(key=lambda one: one["class"])
        classes.reverse()
    elif summary.get("highestScores"):
        found.append(Histogram("Highest score", edges, summary["highestScores"]))
    found += [Histogram(f"Score of {one['class']}", edges, one["scores"]) for one in classes]
    for name, label in (("values", f"Value of {target}"), ("intervalWidths", "Width of interval")):
        if shown := summary.get(name, {}).get("histogram"):
            found.append(Histogram(label, shown["edges"], shown["counts"]))
    return found


def read_rows(preview: Json, target: str, classes: list[str]) -> list[Row]:
    """Read predictions or errors of any format.

    Parameters
    ----------
    preview
        The API's answer about the objects.
    target, classes
        Those of the model; no classes for regression.
    """
    names = [column["name"] for column in preview.get("columns", [])]
    records = (dict(zip(names, row, strict=True)) for row in preview.get("rows", []))
    return [_row(record, target, classes) for record in records]


def _row(record: dict[str, str | None], target: str, classes: list[str]) -> Row:
    if "instance" in record and ("prediction" in record or "error" in record):
        instance = _parsed(record["instance"])
        cells = (
            {name: _text(cell) for name, cell in instance.items()}
            if isinstance(instance, dict)
            else {"instance": record["instance"]}
        )
        return _answered(
            cells,
            _parsed(record.get("prediction")),
            _parsed(record.get("error")),
            _parsed(record.get("explanation")),
        )
    cells = dict(record)
    given = {
        name.removesuffix(ATTRIBUTION): _number(cells.pop(name))
        for name in record
        if name.endswith(ATTRIBUTION) and name.removesuffix(ATTRIBUTION) in record
    }
    error = _parsed(cells.pop(f"errors_{target}", None))
    explanation = _parsed(cells.pop("explanation", None))
    if any(given.values()):
        explanation = {"attributions": [{"featureAttributions": given}]}
    answer: Any = _parsed(cells.get(f"predicted_{target}"))
    if answer is not None:
        cells.pop(f"predicted_{target}")
    scored = {
        one: cells.pop(f"{target}_{one}_score")
        for one in classes
        if f"{target}_{one}_score" in cells
    }
    if scored:
        answer = {"classes": list(scored), "scores": [_number(v) for v in scored.values()]}
    return _answered(cells, answer, error, explanation)


def _answered(cells: dict[str, str | None], answer: Any, error: Any, explanation: Any) -> Row:
    said = error.get("message", "") if isinstance(error, dict) else str(error or "")
    given: dict[str, float] = {}
    baseline = None
    if isinstance(explanation, dict) and explanation.get("attributions"):
        first = explanation["attributions"][0]
        given = {k: float(v) for k, v in first.get("featureAttributions", {}).items()}
        baseline = first.get("baselineOutputValue")
    if isinstance(answer, dict) and "scores" in answer:
        scores = dict(zip(answer["classes"], answer["scores"], strict=False))
        return Row(cells, scores, error=said, attributions=given, baseline=baseline)
    if isinstance(answer, dict):
        low, high = answer.get("lower_bound"), answer.get("upper_bound")
        bounds = (low, high) if low is not None and high is not None else None
        return Row(cells, {}, answer.get("value"), bounds, said, given, baseline)
    value = float(answer) if isinstance(answer, int | float) else None
    return Row(cells, {}, value, None, said, given, baseline)


def histogram_of(preview: Json, rows: list[Row], target: str, classes: list[str]) -> Histogram:
    """Count scores of the class that matters, or values; without columns of them, in the rows."""
    of_two = classes[1] if len(classes) == 2 else None
    wanted = f"{target}_{of_two}_score" if of_two else f"predicted_{target}"
    label = f"Score of {of_two}" if of_two else "Highest score" if classes else f"Value of {target}"
    for column in preview.get("columns", []):
        if column["name"] == wanted and column.get("counts"):
            return Histogram(label, column["edges"], column["counts"])
    if of_two:
        found = [row.scores[of_two] for row in rows if of_two in row.scores]
    elif classes:
        found = [row.best[1] for row in rows if row.best]
    else:
        found = [row.value for row in rows if row.value is not None]
    if not found:
        return Histogram(label, [0.0, 1.0], [0])
    span = (0.0, 1.0) if classes else None
    counts, edges = np.histogram(np.array(found, float), BINS, span)
    return Histogram(label, edges.tolist(), counts.tolist())


def _parsed(text: str | None) -> Any:
    if not text:
        return None
    with suppress(ValueError):
        return json.loads(text)
    return text


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _number(text: str | None) -> float:
    return float(text) if text else 0.0
