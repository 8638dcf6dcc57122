"""A request tried on a sample of its input: what would happen if it were a job."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.core.plan import InputObject
from rowcast.engines import Replicas
from rowcast.jobs.drift import Counting, as_json, counting, findings
from rowcast.jobs.part import Extremes
from rowcast.jobs.plan import (
    PlanWork,
    check_output_columns,
    list_input,
    sink_options,
    source_options,
)
from rowcast.predictors import load_predictor
from rowcast.scoring.attributions import explain, read_explanation
from rowcast.sources import SourceOptions, open_source
from rowcast.sources.table import spooled_rows
from rowcast.storage.model_folder import read_spec

if TYPE_CHECKING:
    from typing import Self

    from rowcast.core.batch import Batch
    from rowcast.core.job import JobSpec, ModelVersion
    from rowcast.core.model import ModelSpec
    from rowcast.core.plan import Plan
    from rowcast.core.prediction import Predictions
    from rowcast.core.schema import ModelSchema
    from rowcast.engines import Engine
    from rowcast.jobs.runner import RunnerOptions
    from rowcast.jobs.tables import Tables
    from rowcast.predictors import Predictor
    from rowcast.scoring.attributions import Explanation
    from rowcast.scoring.profile import Counter as RowCounter
    from rowcast.storage.objects import Objects

SURVEY_BYTES = 256 << 20
"""Objects beyond this much input are not read; counts are then scaled up."""
PREFIX = ".rowcast-preflight-"
SAMPLE_ROWS = 20_000
EXAMPLES = 3
EXPLAINED_ROWS = 500
"""Rows on which the cost of explanations is tried."""


@dataclass(frozen=True)
class PreflightWork:
    """Surveys and samples an input; called in a replica."""

    job: JobSpec
    options: SourceOptions
    model_folder: str
    model_digest: str
    part_bytes: int
    counting: Counting | None = None

    def __call__(self, objects: tuple[InputObject, ...]) -> dict[str, Any]:
        """Answer what would happen to the rows of ``objects``; see ``Preflight.run``."""
        level = self.job.extension.interval_level
        predictor = load_predictor(self.model_folder, self.model_digest, level)
        schema = predictor.spec.schema
        started = time.monotonic()
        plan = PlanWork(self.job.input, self.options, schema, self.part_bytes)(objects)
        directory = self.job.output.uri_prefix
        check_output_columns(
            self.job,
            sink_options(self.job, schema, plan, self.options.objects, directory, 1),
        )
        surveyed_s = time.monotonic() - started
        features = {name: _FeatureCount() for name in schema.feature_names}
        causes: Counter[str] = Counter()
        examples: dict[str, list[str]] = {}
        rows = failed = 0
        counter = self.counting.counter(predictor) if self.counting else None
        explaining = _Explaining.of(self.job, schema)
        started = time.monotonic()
        for batch in self._sample(plan):
            encoded = predictor.encode(batch)
            answers = predictor.score(encoded.matrix)
            if counter is not None and encoded.whole is not None:
                counter.add(batch, encoded.whole, encoded.rows, answers)
            rows += len(batch)
            failed += len(encoded.errors)
            for error in encoded.errors:
                causes[error.cause] += 1
                shown = examples.setdefault(error.cause, [])
                if len(shown) < EXAMPLES:
                    shown.append(error.message)
            _count(predictor, batch, features)
            if explaining is not None:
                explaining.add(predictor, encoded.matrix, answers)
        seconds = time.monotonic() - started
        names = plan.layout.schema.names
        return {
            "rows": plan.rows,
            "sampledRows": rows,
            "sampledFailures": failed,
            "surveySeconds": surveyed_s,
            "sampleSeconds": seconds - (explaining.spent_s if explaining else 0.0),
            "explainSeconds": explaining.seconds if explaining else 0.0,
            "extraColumns": [n for n in names if n not in schema.feature_names],
            "objectFailures": [
                {"uri": f.uri, "code": f.code, "message": f.message} for f in plan.failures
            ],
            "errors": [
                {"cause": cause, "count": count, "examples": examples[cause]}
                for cause, count in causes.most_common(20)
            ],
            "features": [{"name": name, **count.report(rows)} for name, count in features.items()],
            **self._drift(counter),
        }

    def _drift(self, counter: RowCounter | None) -> dict[str, Any]:
        if counter is None or self.counting is None or not counter.counts[0]:
            return {}
        config = self.job.model_monitoring_config
        return {"drift": as_json(findings(self.counting.profile, counter.counts, config, {}).kept)}

    def _sample(self, plan: Plan) -> list[Batch]:
        """Rows from the first, the middle and the last part."""
        parts = plan.parts
        picked = {0, len(parts) // 2, len(parts) - 1} if parts else set()
        source = open_source(self.job.input.format, self.options)
        batches = []
        for number in sorted(picked):
            left = SAMPLE_ROWS // len(picked)
            for batch in source.read(plan.layout, parts[number], left):
                batches.append(batch.slice(0, min(left, len(batch))))
                left -= len(batches[-1])
                if left <= 0:
                    break
        return batches


@dataclass
class _Explaining:
    """Tries what explanations cost, on a few rows of the sample."""

    explanation: Explanation
    extremes: Extremes
    chosen: int = 0
    tried: int = 0
    tried_s: float = 0.0
    spent_s: float = 0.0
    """The trial and its warming up."""

    @classmethod
    def of(cls, job: JobSpec, schema: ModelSchema) -> Self | None:
        """Prepare for a job; None if it explains nothing."""
        if not job.generate_explanation:
            return None
        asked = read_explanation(job.explanation_spec, schema)
        return cls(asked, Extremes(job.extension.threshold_low, job.extension.threshold_high))

    @property
    def seconds(self) -> float:
        """What explaining the chosen rows of the sample would take."""
        return self.chosen * self.tried_s / max(1, self.tried)

    def add(self, predictor: Predictor, matrix: np.ndarray, answers: Predictions) -> None:
        """Explain a few rows of a batch."""
        chosen = self.extremes.choose(answers)
        rows = np.arange(len(matrix)) if chosen is None else chosen
        self.chosen += len(rows)
        rows = rows[: EXPLAINED_ROWS - self.tried]
        if not len(rows):
            return
        began = time.monotonic()
        if not self.tried:  # the first call loads what later ones have at hand
            explain(predictor, matrix[rows[:1]], answers.take(rows[:1]), self.explanation)
        started = time.monotonic()
        explain(predictor, matrix[rows], answers.take(rows), self.explanation)
        ended = time.monotonic()
        self.tried += len(rows)
        self.tried_s += ended - started
        self.spent_s += ended - began


@dataclass
class _FeatureCount:
    null: int = 0
    unseen: int = 0

    def report(self, rows: int) -> dict[str, float]:
        if not rows:
            return {}
        return {"nullRate": self.null / rows, "unseenCategoryRate": self.unseen / rows}


def _count(predictor: Predictor, batch: Batch, features: dict[str, _FeatureCount]) -> None:
    """Add a batch's nulls and unseen categories to the counts."""
    for name, count in features.items():
        column = batch.rows.column(name)
        count.null += column.null_count
        if pa.types.is_string(column.type):
            count.null += pc.sum(pc.equal(column, "")).as_py() or 0
    for name, unseen in predictor.unseen(batch.rows).items():
        features[name].unseen += unseen


class Preflight:
    """Runs ``PreflightWork`` and says what it means."""

    def __init__(
        self, engine: Engine, objects: Objects, tables: Tables, options: RunnerOptions
    ) -> None:
        self._engine = engine
        self._objects = objects
        self._tables = tables
        self._options = options

    def run(self, spec: JobSpec, model: ModelVersion) -> dict[str, Any]:
        """Report on columns, sampled errors, null and unseen-category rates, and the cost.

        Raises what the job would fail with: missing columns, unreadable input and so on.
        """
        described = read_spec(Path(model.folder), model.digest)
        self._need_destination(spec)
        name = f"{PREFIX}{uuid.uuid4().hex}"
        in_tables = bool(spec.input.table or spec.output.tables)
        prefix = f"{spec.output.uri_prefix.rstrip('/')}/{name}/"
        spool = self._tables.place(name) if in_tables else prefix
        objects = self._tables.objects if in_tables else self._objects
        options = source_options(spec, described.schema, objects, spool, self._options.limits)
        try:
            return self._report(spec, model, described, options)
        finally:
            objects.delete_folder(spool)

    def _need_destination(self, spec: JobSpec) -> None:
        if spec.output.tables:
            self._tables.need_destination(spec.output.tables)
        else:
            self._objects.need_bucket(spec.output.uri_prefix)

    def _report(
        self, spec: JobSpec, model: ModelVersion, described: ModelSpec, options: SourceOptions
    ) -> dict[str, Any]:
        listed, read, scale = self._input(spec, options)
        total = sum(item.size for item in listed)
        counted = counting(model.folder, described, spec, 0) if self._options.drift else None
        work = PreflightWork(
            spec, options, model.folder, model.digest, self._options.part_bytes, counted
        )
        with closing(self._engine.run(work, [tuple(read)], replicas=Replicas(1, 1))) as outcomes:
            outcome = next(outcomes)
        if outcome.error is not None:
            raise outcome.error
        report: dict[str, Any] = outcome.result
        rows = round(report.pop("rows") * scale)
        sampled = report["sampledRows"]
        survey_s = report.pop("surveySeconds") * scale
        scored_s, explained_s = report.pop("sampleSeconds"), report.pop("explainSeconds")
        if explained_s:
            factor = (scored_s + explained_s) / max(scored_s, 1e-9)
            report["explanationCostFactor"] = round(factor, 1)
        per_row = (scored_s + explained_s) / max(1, sampled)
        replicas = spec.replicas.maximum if spec.replicas else self._options.default_replicas
        return {
            "inputObjects": len(listed),
            "inputBytes": total,
            "surveyedObjects": len(read),
            "estimatedRows": rows,
            "estimatedFailedRows": round(rows * report["sampledFailures"] / max(1, sampled)),
            "estimatedSeconds": round(survey_s + rows * per_row / max(1, replicas), 2),
            **report,
        }

    def _input(
        self, spec: JobSpec, options: SourceOptions
    ) -> tuple[list[InputObject], list[InputObject], float]:
        """All objects, those to be read, and how many times as much the whole is."""
        if spec.input.table:
            one, rows = self._tables.sample(
                spec.input.table, options, rows=SAMPLE_ROWS, limits=self._options.limits
            )
            read = spooled_rows(options)
            whole = InputObject(one.uri, round(one.size * rows / max(1, read)), one.version)
            return [whole], [one], rows / max(1, read)
        listed = list_input(self._objects, spec.input.uris)
        chosen: list[InputObject] = []
        budget = SURVEY_BYTES
        for item in listed:
            if chosen and item.size > budget:
                break
            chosen.append(item)
            budget -= item.size
        total = sum(item.size for item in listed)
        return listed, chosen, total / max(1, sum(item.size for item in chosen))
