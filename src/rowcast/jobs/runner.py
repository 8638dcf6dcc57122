"""One job from its claim to its end.

The order of writes is what keeps every row: a part's outcome is on disk before the ledger says
so, the ledger knows every part before anything is published, each object is whole before its
name appears, the manifest comes last, and only then does the job end. A runner that finds a
job half done goes on from what the ledger says.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from rowcast.core.job import CANCELLED, JobState, Stats, Status
from rowcast.core.names import output_directory_name
from rowcast.core.schema import check_added_columns
from rowcast.engines import Replicas
from rowcast.errors import Aborted, Cancelled, InputChanged, NotFound, RowcastError
from rowcast.jobs.part import PartResult, PartWork
from rowcast.jobs.plan import PlanWork, list_input
from rowcast.scoring.attributions import read_explanation
from rowcast.sinks import Published, SinkOptions, open_sink
from rowcast.sources import Limits, SourceOptions
from rowcast.storage.model_folder import read_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.core.job import Job
    from rowcast.core.model import ModelSpec
    from rowcast.core.plan import Plan
    from rowcast.engines import Engine
    from rowcast.scoring.attributions import Explanation
    from rowcast.storage.objects import Objects
    from rowcast.stores import JobStore, Lease

logger = structlog.get_logger(__name__)

MANIFEST = "_rowcast_manifest.json"
STAGING = "_staging/"
PROGRESS_S = 0.5
PARTIAL_FAILURES_SHOWN = 20


@dataclass(frozen=True)
class RunnerOptions:
    """Settings that a runner needs."""

    limits: Limits
    part_bytes: int
    batch_rows: int
    output_object_bytes: int
    default_replicas: int
    """Most replicas of a job that does not say."""


class JobRunner:
    """Drives one job. Holds its lease; loses it the moment a write is refused."""

    def __init__(
        self,
        lease: Lease,
        job: Job,
        *,
        store: JobStore,
        engine: Engine,
        objects: Objects,
        options: RunnerOptions,
        cancelled: Callable[[], bool],
    ) -> None:
        self._lease = lease
        self._job = job
        self._store = store
        self._engine = engine
        self._objects = objects
        self._options = options
        self._cancelled = cancelled
        """True once the job is to stop: the user cancelled it, or the lease is lost."""
        self._seconds = 0.0
        self._log = logger.bind(job=job.id)

    def run(self) -> None:
        """Bring the job to its end; errors become its state.

        Raises
        ------
        Aborted
            If another process has taken the job over.
        """
        try:
            self._run()
        except (Aborted, Cancelled):
            raise
        except RowcastError as error:
            self._fail(Status(error.code, str(error)))
        except Exception:  # noqa: BLE001 - the job must end, whatever broke
            self._log.exception("job_broke")
            self._fail(Status(13, "Internal error; the server's log has the details."))

    def _run(self) -> None:
        job = self._job
        if job.state in (JobState.PENDING, JobState.QUEUED):
            prefix = job.spec.output.uri_prefix.rstrip("/")
            directory = f"{prefix}/{output_directory_name(job.model.display_name, job.created)}"
            job = self._update(state=JobState.RUNNING, started=_now(), output_directory=directory)
            self._log.info("job_started", model=job.model.model_id, output=directory)
        elif job.output_directory is None:  # cancelled before it ever ran
            self._end(JobState.CANCELLED, error=CANCELLED)
            return
        spec = read_spec_of(job)
        plan = self._store.load_plan(job.id) or self._plan(spec)
        self._publish_or_stop(spec, plan)

    def _publish_or_stop(self, spec: ModelSpec, plan: Plan) -> None:
        """Score the parts that are left; publish all, or what a cancelled job has done."""
        sink_options = self._sink_options(spec, plan)
        manifest = self._read_manifest(sink_options)
        results = self._results()
        if manifest is None:
            if not self._cancelled():
                self._score(plan, sink_options, results)
            if self._cancelled():
                self._check_lease()
                done = _prefix(plan, results)
            else:
                self._check_input(plan)
                done = [results[part.number] for part in plan.parts]
            self._objects.sweep_temporaries(sink_options.directory)
            published = open_sink(self._job.spec.output.format, sink_options).publish(
                [result.staged for result in done]
            )
            manifest = self._write_manifest(sink_options, plan, published, len(done))
        self._objects.delete_folder(sink_options.staging)
        stats = _stats(plan, [results[n] for n in sorted(results)][: manifest["parts"]])
        if manifest["complete"]:
            self._end(JobState.SUCCEEDED, stats=stats)
        else:
            self._end(JobState.CANCELLED, stats=stats, error=CANCELLED)

    def _plan(self, spec: ModelSpec) -> Plan:
        job = self._job
        objects = tuple(list_input(self._objects, job.spec.input.uris))
        work = PlanWork(
            job.spec.input, self._source_options(spec), spec.schema, self._options.part_bytes
        )
        outcomes = self._engine.run(work, [objects], replicas=Replicas(1, 1), stop=self._cancelled)
        outcome = next(iter(outcomes), None)
        if outcome is None:
            self._check_lease()
            return self._nothing_planned()
        self._seconds += outcome.seconds
        if outcome.error is not None:
            raise outcome.error
        plan: Plan = outcome.result
        names = plan.layout.schema.names if job.spec.input.key_field is None else ["key"]
        sink = open_sink(job.spec.output.format, self._sink_options(spec, plan))
        check_added_columns(sink.added_columns(), names)
        self._store.save_plan(self._lease, plan)
        shown = plan.failures[:PARTIAL_FAILURES_SHOWN]
        self._update(
            stats=Stats(0, 0, plan.rows),
            partial_failures=tuple(Status(f.code, f"{f.uri}: {f.message}") for f in shown),
        )
        self._log.info("job_planned", rows=plan.rows, parts=len(plan.parts))
        return plan

    def _nothing_planned(self) -> Plan:
        """End a job that was cancelled while its input was being counted."""
        self._end(JobState.CANCELLED, error=CANCELLED)
        raise Cancelled("The job was cancelled before its input was counted.")

    def _score(self, plan: Plan, sink_options: SinkOptions, results: dict[int, PartResult]) -> None:
        """Score every part that has no result, adding to ``results`` and to the ledger."""
        job = self._job
        todo = [part for part in plan.parts if part.number not in results]
        if not todo:
            return
        spec = read_spec_of(job)
        work = PartWork(
            job.spec.input.format,
            self._source_options(spec),
            plan.layout,
            job.spec.output.format,
            sink_options,
            job.model.folder,
            job.model.digest,
            job.spec.batch_size or self._options.batch_rows,
            self._explanation(spec),
        )
        shown = time.monotonic()
        outcomes = self._engine.run(work, todo, replicas=self._replicas(), stop=self._cancelled)
        for outcome in outcomes:
            self._seconds += outcome.seconds
            if outcome.error is not None:
                raise outcome.error
            self._store.finish_part(self._lease, outcome.task.number, outcome.result)
            results[outcome.task.number] = outcome.result
            if time.monotonic() - shown > PROGRESS_S:
                shown = time.monotonic()
                self._update(stats=_stats(plan, results.values()), **self._costs(results))

    def _results(self) -> dict[int, PartResult]:
        return {
            number: msgspec.convert(result, PartResult)
            for number, result in self._store.finished_parts(self._job.id).items()
        }

    def _check_input(self, plan: Plan) -> None:
        """See that what was read is still what the URIs name."""
        for item in plan.layout.objects:
            try:
                found = self._objects.stat(item.uri).version
            except NotFound:
                found = "nothing"
            if found != item.version:
                raise InputChanged.at(item.uri, item.version, found)

    def _check_lease(self) -> None:
        """Tell a cancelled job from a lost one. Raises Aborted."""
        self._job = self._update()
        if not self._job.cancel_requested:
            raise Cancelled("The server stops; the job goes on when it is back.")

    def _source_options(self, spec: ModelSpec) -> SourceOptions:
        job = self._job
        dropped = (spec.schema.target.error_column,) if job.spec.extension.retry_of else ()
        return SourceOptions(
            self._objects,
            f"{job.output_directory}/{STAGING}spool/",
            self._options.limits,
            spec.schema.feature_names,
            dropped,
        )

    def _sink_options(self, spec: ModelSpec, plan: Plan) -> SinkOptions:
        job = self._job
        return SinkOptions(
            self._objects,
            f"{job.output_directory}/",
            f"{job.output_directory}/{STAGING}",
            spec.schema.target,
            plan.layout.schema,
            job.spec.input.key_field,
            job.spec.extension.row_number_column,
            job.spec.extension.output_name,
            self._options.output_object_bytes,
        )

    def _explanation(self, spec: ModelSpec) -> Explanation | None:
        if not self._job.spec.generate_explanation:
            return None
        return read_explanation(self._job.spec.explanation_spec, spec.schema)

    def _replicas(self) -> Replicas:
        wanted = self._job.spec.replicas
        if wanted is None:
            return Replicas(1, self._options.default_replicas)
        return Replicas(wanted.starting, wanted.maximum)

    def _read_manifest(self, options: SinkOptions) -> dict[str, Any] | None:
        with suppress(NotFound):
            data = self._objects.read_bytes(options.directory + MANIFEST)
            manifest: dict[str, Any] = json.loads(data)
            return manifest
        return None

    def _write_manifest(
        self, options: SinkOptions, plan: Plan, published: list[Published], parts: int
    ) -> dict[str, Any]:
        """List the objects for readers, who may trust what it names."""
        manifest = {
            "job": self._job.name,
            "model": f"{self._job.parent.child('models', self._job.model.model_id)}"
            f"@{self._job.model.version_id}",
            "modelSha256": self._job.model.digest,
            "complete": parts == len(plan.parts),
            "parts": parts,
            "inputRows": plan.rows,
            "inputs": [
                {"uri": item.uri, "bytes": item.size, "version": item.version}
                for item in plan.layout.objects
            ],
            "objects": [
                {
                    "name": p.name,
                    "kind": p.kind,
                    "rows": p.rows,
                    "bytes": p.bytes,
                    "sha256": p.sha256,
                }
                for p in published
            ],
        }
        with self._objects.create(options.directory + MANIFEST) as file:
            file.write(json.dumps(manifest, indent=2).encode() + b"\n")
        return manifest

    def _costs(self, results: dict[int, PartResult]) -> dict[str, Any]:
        causes: Counter[str] = Counter()
        for result in results.values():
            causes.update(result.causes)
        return {
            "replica_hours": self._job.replica_hours + self._take_hours(),
            "causes": dict(causes.most_common(PARTIAL_FAILURES_SHOWN)),
        }

    def _take_hours(self) -> float:
        hours, self._seconds = self._seconds / 3600, 0.0
        return hours

    def _update(self, **changes: Any) -> Job:
        self._job = self._store.update_job(self._lease, updated=_now(), **changes)
        return self._job

    def _end(self, state: JobState, **changes: Any) -> None:
        costs = self._costs(self._results())
        job = self._update(state=state, ended=_now(), **costs, **changes)
        stats = job.stats or Stats()
        self._log.info(
            "job_ended", state=state.value, rows=stats.successful, failed_rows=stats.failed
        )

    def _fail(self, error: Status) -> None:
        """End in FAILED, taking staged files away first: the disk may be full of them."""
        directory = self._job.output_directory
        if directory is not None:
            with suppress(RowcastError):
                self._objects.delete_folder(f"{directory}/{STAGING}")
        stats = self._job.stats
        if stats is not None and stats.incomplete >= 0:
            stats = replace(
                stats,
                successful=0,
                failed=0,
                incomplete=stats.successful + stats.failed + stats.incomplete,
            )
        self._log.warning("job_failed", code=error.code, reason=error.message)
        self._end(JobState.FAILED, error=error, stats=stats)


def read_spec_of(job: Job) -> ModelSpec:
    """Read the description of a job's model. Raises ModelDamaged."""
    return read_spec(Path(job.model.folder), job.model.digest)


def _prefix(plan: Plan, results: dict[int, PartResult]) -> list[PartResult]:
    """Results of the parts before the first one that has none."""
    done = []
    for part in plan.parts:
        if part.number not in results:
            break
        done.append(results[part.number])
    return done


def _stats(plan: Plan, results: Any) -> Stats:
    good = bad = 0
    for result in results:
        good += result.staged.predictions_rows
        bad += result.staged.errors_rows
    return Stats(good, bad, plan.rows - good - bad)


def _now() -> datetime:
    return datetime.now(UTC)
