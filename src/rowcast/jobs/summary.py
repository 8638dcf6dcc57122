"""A job's results summed up: what is asked of replicas, kept with the job, and written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.core.summary import STRONGEST_KEPT, ClassShare, Strength, Summary, Values
from rowcast.jobs.written import written
from rowcast.scoring.attributions import read_explanation
from rowcast.scoring.summary import SCORE_BINS, PartSummary, SampledRow, Summing, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rowcast.core.job import JobSpec
    from rowcast.core.plan import Plan
    from rowcast.core.schema import Feature, ModelSchema
    from rowcast.scoring.histogram import Histogram

DIGITS = 9
"""Sums of floats are told to so many digits, which do not depend on how rows were cut."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
HISTOGRAM_BINS = 40
SAMPLED_FEATURES = 20
"""The strongest features, whose sampled rows are written."""


@dataclass(frozen=True)
class Totals:
    """A job's results, summed up."""

    kept: Summary
    """For the job."""
    report: bytes
    """For the output folder."""


def summing(schema: ModelSchema, spec: JobSpec, plan: Plan) -> Summing | None:
    """Say what to sum up of a job; None if the request wants none of it."""
    if spec.extension.skip_summary:
        return None
    output = None
    if spec.generate_explanation:
        asked = read_explanation(spec.explanation_spec, schema)
        output = next(iter(asked.output_indices), None)
    return Summing.of(schema, len(plan.parts), output)


def totals(
    asked: Summing,
    packed: Iterable[str],
    causes: Mapping[str, int],
    facts: dict[str, Any],
) -> Totals | None:
    """Put the sums of all parts together; None if one of them has none, or there is no part.

    Parameters
    ----------
    asked
        What the replicas were asked to sum up.
    packed
        What they answered, in the order of the parts.
    causes
        Failed rows by cause.
    facts
        What the report begins with.
    """
    parts = list(packed)
    if not parts or not all(parts):
        return None
    whole = asked.total(unpack(text) for text in parts)
    return Totals(_kept(asked.schema, whole), _report(asked, whole, causes, facts))


def as_json(summary: Summary, rows: int, seconds: float) -> dict[str, Any]:
    """Show what a job keeps, as in ``rowcast.summary``.

    Parameters
    ----------
    summary
    rows : int
        That came to an end, well or badly.
    seconds : float
        From the job's start to its end.
    """
    values = summary.values
    shown = {
        "explainedRows": str(summary.explained) if summary.explained else None,
        "meanAbsoluteAttributions": [
            {"feature": one.feature, "value": one.mean_absolute} for one in summary.strongest
        ],
        "classes": [
            {"class": one.label, "count": str(one.rows), "meanScore": one.mean_score}
            for one in summary.classes
        ],
        "values": None
        if values is None
        else {
            "mean": values.mean,
            "least": values.least,
            "median": values.median,
            "greatest": values.greatest,
            **({} if values.mean_width is None else {"meanIntervalWidth": values.mean_width}),
        },
        "rowsPerSecond": _short(rows / seconds) if seconds > 0 else None,
        "replicas": summary.replicas or None,
    }
    return {name: value for name, value in shown.items() if value not in (None, [])}


def _kept(schema: ModelSchema, whole: PartSummary) -> Summary:
    order = _strongest_first(whole)[:STRONGEST_KEPT]
    means = _mean_absolute(whole)
    shares = [
        ClassShare(label, rows, _short(total / max(1, whole.scored)))
        for label, rows, total in zip(
            schema.target.classes, whole.on_top, whole.score_sums, strict=False
        )
    ]
    shares.sort(key=lambda share: -share.rows)
    return Summary(
        explained=whole.explained,
        strongest=tuple(Strength(schema.feature_names[j], means[j]) for j in order),
        classes=tuple(shares[:STRONGEST_KEPT]),
        values=_values(whole),
    )


def _values(whole: PartSummary) -> Values | None:
    if not whole.extremes:
        return None
    least, greatest = whole.extremes
    median = min(max(whole.values.quantile(0.5), least), greatest)
    bounded = whole.widths.total
    return Values(
        mean=_short(whole.score_sums[0] / whole.scored),
        least=least,
        median=_short(median),
        greatest=greatest,
        mean_width=_short(whole.width_sum / bounded) if bounded else None,
    )


def _report(
    asked: Summing, whole: PartSummary, causes: Mapping[str, int], facts: dict[str, Any]
) -> bytes:
    target = asked.schema.target
    members: dict[str, Any] = {
        **facts,
        "target": target.name,
        "predictionType": target.prediction_type,
        "scoredRows": whole.scored,
        "explainedRows": whole.explained,
    }
    if target.classes and whole.scored:
        members |= {
            "scoreBins": SCORE_BINS,
            "highestScores": list(whole.highest),
            "classes": _classes(target.classes, whole),
        }
    if whole.extremes:
        members["values"] = {**_spread(whole.values, whole.score_sums[0]), **_ends(whole)}
    if whole.widths.total:
        members["intervalWidths"] = _spread(whole.widths, whole.width_sum)
    if whole.explained:
        members |= _attributions(asked, whole)
    members["errors"] = [
        {
            "cause": cause,
            "count": count,
            "examples": [
                {"row": one.row, "message": one.message} for one in whole.examples.get(cause, ())
            ],
        }
        for cause, count in sorted(causes.items(), key=lambda item: (-item[1], item[0]))
    ]
    return written(members)


def _classes(classes: Sequence[str], whole: PartSummary) -> list[dict[str, Any]]:
    """Each class; the first ones with the bins of their scores."""
    return [
        {
            "class": label,
            "rows": rows,
            "meanScore": _short(total / whole.scored),
            **({"scores": list(whole.scores[k])} if k < len(whole.scores) else {}),
        }
        for k, (label, rows, total) in enumerate(
            zip(classes, whole.on_top, whole.score_sums, strict=True)
        )
    ]


def _spread(histogram: Histogram, total: float) -> dict[str, Any]:
    edges, counts, below, above = histogram.drawn(HISTOGRAM_BINS)
    return {
        "mean": _short(total / histogram.total),
        "quantiles": {str(share): _short(histogram.quantile(share)) for share in QUANTILES},
        "histogram": {"edges": edges, "counts": counts, "below": below, "above": above},
    }


def _ends(whole: PartSummary) -> dict[str, float]:
    return {"least": whole.extremes[0], "greatest": whole.extremes[1]}


def _attributions(asked: Summing, whole: PartSummary) -> dict[str, Any]:
    """All features, the strongest first, and the sampled rows of the strongest."""
    schema = asked.schema
    order = _strongest_first(whole)
    means = _mean_absolute(whole)
    names = schema.feature_names
    sampled = np.array([row.attributions for row in whole.sample]).reshape(-1, len(names))
    return {
        **_explained(schema.target.classes, asked.output),
        "attributions": [
            {
                "feature": names[j],
                "meanAbsolute": means[j],
                "mean": _short(whole.signed[j] / whole.explained),
                "quantiles": {
                    str(share): _short(float(np.quantile(sampled[:, j], share)))
                    for share in QUANTILES
                },
            }
            for j in order
        ],
        **_sample(schema.features, whole.sample, order[:SAMPLED_FEATURES]),
    }


def _explained(classes: Sequence[str], output: int | None) -> dict[str, str]:
    """What attributions are to: one class' score, each row's highest score, or the value."""
    if not classes:
        return {"attributionsTo": "value"}
    if len(classes) == 2:
        output = 1
    if output is None:
        return {"attributionsTo": "highestScore"}
    return {"attributionsTo": "class", "attributionsToClass": classes[output]}


def _sample(
    features: Sequence[Feature], sample: Sequence[SampledRow], order: Sequence[int]
) -> dict[str, Any]:
    """Column by column, rows in the order of the input."""
    rows = sorted(sample, key=lambda one: one.row)
    return {
        "sampledRows": [one.row for one in rows],
        "sampledOutputs": [one.output for one in rows],
        "sampledFeatures": [
            {
                "feature": features[j].name,
                "kind": features[j].kind,
                "cells": [one.cells[j] for one in rows],
                "attributions": [one.attributions[j] for one in rows],
            }
            for j in order
        ],
    }


def _mean_absolute(whole: PartSummary) -> list[float]:
    return [_short(total / whole.explained) for total in whole.absolute]


def _strongest_first(whole: PartSummary) -> list[int]:
    means = _mean_absolute(whole)
    return sorted(range(len(means)), key=lambda j: (-means[j], j))


def _short(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")
