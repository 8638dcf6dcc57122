"""One job from its claim to its end.

The order of writes is what keeps every row: a part's outcome is on disk before the ledger says
so, the ledger knows every part before anything is published, each object is whole before its
name appears, the manifest comes last, and only then does the job end. A runner that finds a
job half done goes on from what the ledger says.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from rowcast import metrics
from rowcast.access.guard import OwnerOnly, require_data
from rowcast.core.job import CANCELLED, JobState, Stats, Status
from rowcast.core.names import DRIFT, MANIFEST, SUMMARY, output_directory_name
from rowcast.engines import Replicas
from rowcast.errors import (
    Aborted,
    Cancelled,
    InputChanged,
    NotFound,
    ResourceExhausted,
    RowcastError,
)
from rowcast.jobs.drift import Counting, Findings, counting, findings, total
from rowcast.jobs.part import Extremes, PartResult, PartWork
from rowcast.jobs.plan import (
    STAGING,
    PlanWork,
    check_output_columns,
    list_input,
    sink_options,
    source_options,
)
from rowcast.jobs.summary import Totals, summing, totals
from rowcast.scoring.attributions import read_explanation
from rowcast.sinks import Published, SinkOptions, open_sink
from rowcast.storage.model_folder import read_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from rowcast.access.guard import Guard
    from rowcast.core.caller import Caller
    from rowcast.core.job import Job, JobSpec
    from rowcast.core.model import ModelSpec
    from rowcast.core.plan import InputObject, Plan
    from rowcast.engines import Engine
    from rowcast.jobs.tables import Tables
    from rowcast.scoring.attributions import Explanation
    from rowcast.sinks import Staged
    from rowcast.sources import Limits, SourceOptions
    from rowcast.storage.objects import Objects
    from rowcast.stores import JobStore, Lease

logger = structlog.get_logger(__name__)

# Here, once: msgspec crashes when two threads are the first to convert to the same type.
msgspec.json.Decoder(PartResult)
PROGRESS_S = 0.5
PARTIAL_FAILURES_SHOWN = 20
PARTS_A_REPLICA = 4
SMALL_PART_BYTES = 256 << 10
"""What a part takes besides its rows is not worth a smaller one."""


def require_job_data(guard: Guard, caller: Caller, spec: JobSpec) -> None:
    """Raise PermissionDenied unless a caller may read a job's input and write its output."""
    reads = [*spec.input.uris, spec.input.table]
    writes = [spec.output.uri_prefix, spec.output.tables]
    require_data(guard, caller, reads=filter(None, reads), writes=filter(None, writes))


@dataclass(frozen=True)
class RunnerOptions:
    """Settings that a runner needs."""

    limits: Limits
    part_bytes: int
    batch_rows: int
    output_object_bytes: int
    default_replicas: int
    """Most replicas of a job that does not say."""
    drift: bool = True
    """Compare inputs with the training data."""


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
        tables: Tables,
        options: RunnerOptions,
        cancelled: Callable[[], bool],
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or OwnerOnly()
        self._lease = lease
        self._job = job
        self._store = store
        self._engine = engine
        self._objects = objects
        self._tables = tables
        self._options = options
        self._cancelled = cancelled
        """True once the job is to stop: the user cancelled it, or the lease is lost."""
        self._seconds = 0.0
        self._replicas_seen: set[int] = set()
        self._log = logger.bind(job=job.id)

    def run(self) -> None:
        """Bring the job to its end; errors become its state.

        Raises
        ------
        Aborted
            If another process has taken the job over.
        """
        try:
            with metrics.JOBS_RUNNING.track_inprogress():
                self._run()
        except (Aborted, Cancelled):
            raise
        except RowcastError as error:
            self._fail(Status(error.code, str(error)))
        except Exception:  # noqa: BLE001 - the job must end, whatever broke
            self._log.exception("job_broke")
            self._fail(Status(13, "Internal error; the server's log has the details."))

    def _run(self) -> None:
        if self._job.state in (JobState.PENDING, JobState.QUEUED):
            self._start()
        job = self._job
        if not job.output_known:  # cancelled before it ever ran
            self._end(JobState.CANCELLED, error=CANCELLED)
            return
        if job.error is not None:  # a runner ended while it was making this job fail
            self._fail(job.error)
            return
        spec = read_spec_of(job)
        plan = self._store.load_plan(job.id) or self._plan(spec)
        if job.stats is None:
            shown = plan.failures[:PARTIAL_FAILURES_SHOWN]
            self._update(
                stats=Stats(0, 0, plan.rows),
                partial_failures=tuple(Status(f.code, f"{f.uri}: {f.message}") for f in shown),
            )
        self._publish_or_stop(spec, plan)

    def _start(self) -> None:
        """Enter RUNNING, unless the user cancels at this very moment.

        Raises
        ------
        PermissionDenied
            If whoever made the job may no longer read its input or write its output.
        """
        job = self._job
        require_job_data(self._guard, job.created_by, job.spec)
        place = self._name_output()
        try:
            self._update(state=JobState.RUNNING, started=self._now(), **place)
        except Aborted:
            if not self._update().cancel_requested:
                raise
        else:
            self._log.info("job_started", model=job.model.model_id, **place)

    def _name_output(self) -> dict[str, str]:
        job = self._job
        if job.spec.output.tables:
            dataset, table = self._tables.name_output(job)
            return {"output_dataset": dataset.uri, "output_table": table}
        prefix = job.spec.output.uri_prefix.rstrip("/")
        name = output_directory_name(job.model.display_name, job.created)
        return {"output_directory": f"{prefix}/{name}"}

    def _publish_or_stop(self, spec: ModelSpec, plan: Plan) -> None:
        """Score the parts that are left; publish all, or what a cancelled job has done."""
        sink_options = self._sink_options(spec, plan)
        manifest = self._read_manifest(sink_options)
        results = self._results()
        counting = self._counting(spec, plan)
        if manifest is not None:
            done = [results[n] for n in sorted(results)][: manifest["parts"]]
        else:
            if not self._cancelled():
                self._score(plan, sink_options, results, counting)
            if self._cancelled():
                self._check_lease()
                done = _prefix(plan, results)
            else:
                self._check_input(plan)
                done = [results[part.number] for part in plan.parts]
        found = self._findings(counting, plan, done)
        sums = self._totals(spec, plan, done)
        reports = {} if found is None else {DRIFT: found.report}
        reports |= {} if sums is None else {SUMMARY: sums.report}
        if manifest is None:
            manifest = self._publish(plan, sink_options, done, reports)
        self._store.keep_reports(self._lease, reports)
        self._hold()
        self._clear_staging()
        facts: dict[str, Any] = {
            "stats": _stats(plan, done),
            "causes": _causes(done),
            "summary": sums and replace(sums.kept, replicas=len(self._replicas_seen)),
        }
        if manifest["complete"]:
            self._end(JobState.SUCCEEDED, drift=found and found.kept, **facts)
        else:
            self._end(JobState.CANCELLED, error=CANCELLED, **facts)

    def _publish(
        self,
        plan: Plan,
        options: SinkOptions,
        done: Sequence[PartResult],
        reports: dict[str, bytes],
    ) -> dict[str, Any]:
        """Turn staged parts into final objects, and list them for readers."""
        self._hold()
        options.objects.sweep_temporaries(options.directory)
        sink = open_sink(self._job.spec.output.format, options, self._tables.warehouse)
        published = sink.publish([result.staged for result in done])
        self._hold()
        self._remove_stale(options, {one.name for one in published})
        for name, content in reports.items():
            with options.objects.create(options.directory + name) as file:
                file.write(content)
        return self._write_manifest(options, plan, published, reports, len(done))

    def _counting(self, spec: ModelSpec, plan: Plan) -> Counting | None:
        if not self._options.drift:
            return None
        return counting(self._job.model.folder, spec, self._job.spec, plan.rows)

    def _findings(
        self, counting: Counting | None, plan: Plan, done: Sequence[PartResult]
    ) -> Findings | None:
        """Compare a whole input with the training data; half of one is no sample of it."""
        counts = total(result.counts for result in done)
        if counting is None or counts is None or len(done) < len(plan.parts):
            return None
        facts = {"modelSha256": self._job.model.digest, "inputRows": plan.rows}
        config = self._job.spec.model_monitoring_config
        return findings(counting.profile, counts, config, facts)

    def _totals(self, spec: ModelSpec, plan: Plan, done: Sequence[PartResult]) -> Totals | None:
        """Sum up what is published, be it all of the input or the beginning of it."""
        asked = summing(spec.schema, self._job.spec, plan)
        if asked is None:
            return None
        facts: dict[str, Any] = {"modelSha256": self._job.model.digest, "inputRows": plan.rows}
        level = self._job.spec.extension.interval_level or spec.details.get("intervalLevel")
        if level is not None:
            facts["intervalLevel"] = level
        return totals(asked, (result.sums for result in done), _causes(done), facts)

    def _remove_stale(self, options: SinkOptions, names: Collection[str]) -> None:
        """Remove what a runner with another object size published before it was interrupted."""
        for name in options.objects.names(options.directory):
            if name.startswith(("predictions_", "errors_")) and name not in names:
                options.objects.delete(options.directory + name)

    def _plan(self, spec: ModelSpec) -> Plan:
        job = self._job
        source = self._source_options(spec)
        try:
            objects = self._input(source)
        except Cancelled:
            self._check_lease()
            return self._nothing_planned()
        work = PlanWork(job.spec.input, source, spec.schema, self._part_bytes(objects))
        outcomes = self._engine.run(work, [objects], replicas=Replicas(1, 1), stop=self._cancelled)
        with closing(outcomes):
            outcome = next(outcomes, None)
        if outcome is None:
            self._check_lease()
            return self._nothing_planned()
        self._seconds += outcome.seconds
        if outcome.error is not None:
            raise outcome.error
        plan: Plan = outcome.result
        check_output_columns(job.spec, self._sink_options(spec, plan))
        self._store.save_plan(self._lease, plan)
        self._log.info("job_planned", rows=plan.rows, parts=len(plan.parts))
        return plan

    def _input(self, source: SourceOptions) -> tuple[InputObject, ...]:
        """Find the input, once it is clear that the output has a place."""
        spec = self._job.spec
        if spec.output.tables:
            self._tables.need_destination(spec.output.tables)
        else:
            self._objects.need_bucket(spec.output.uri_prefix)
        if not spec.input.table:
            return tuple(list_input(self._objects, spec.input.uris))
        one = self._tables.input(
            spec.input.table,
            source,
            part_bytes=self._options.part_bytes,
            limits=self._options.limits,
            stop=self._cancelled,
        )
        return (one,)

    def _part_bytes(self, objects: Sequence[InputObject]) -> int:
        """Cut a small input finer, so that its replicas end at about the same time."""
        shares = PARTS_A_REPLICA * self._replicas().maximum
        share = sum(item.size for item in objects) // shares
        return min(self._options.part_bytes, max(share, SMALL_PART_BYTES))

    def _nothing_planned(self) -> Plan:
        """End a job that was cancelled while its input was being counted."""
        self._clear_staging()
        self._end(JobState.CANCELLED, error=CANCELLED)
        raise Cancelled("The job was cancelled before its input was counted.")

    def _score(
        self,
        plan: Plan,
        sink_options: SinkOptions,
        results: dict[int, PartResult],
        counting: Counting | None,
    ) -> None:
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
            counting,
            Extremes(job.spec.extension.threshold_low, job.spec.extension.threshold_high),
            job.spec.extension.interval_level,
            summing(spec.schema, job.spec, plan),
        )
        shown = time.monotonic()
        outcomes = self._engine.run(work, todo, replicas=self._replicas(), stop=self._cancelled)
        with closing(outcomes):  # whatever ends the loop, no replica writes after it
            for outcome in outcomes:
                self._seconds += outcome.seconds
                self._replicas_seen.add(outcome.replica)
                if outcome.error is not None:
                    raise outcome.error
                self._store.finish_part(self._lease, outcome.task.number, outcome.result)
                results[outcome.task.number] = outcome.result
                _count(outcome.result.staged, outcome.seconds)
                if time.monotonic() - shown > PROGRESS_S:
                    shown = time.monotonic()
                    done = results.values()
                    self._update(
                        stats=_stats(plan, done), causes=_causes(done), replica_hours=self._hours()
                    )

    def _results(self) -> dict[int, PartResult]:
        return {
            number: msgspec.convert(result, PartResult)
            for number, result in self._store.finished_parts(self._job.id).items()
        }

    def _check_input(self, plan: Plan) -> None:
        """See that what was read is still what the URIs name. Tables were read in one moment."""
        if self._job.spec.input.table:
            return
        unread = {failure.uri for failure in plan.failures}
        for item in plan.layout.objects:
            if item.uri in unread:
                continue
            try:
                found = self._objects.stat(item.uri).version
            except NotFound:
                found = "nothing"
            if found != item.version:
                raise InputChanged.at(item.uri, item.version, found)

    def _check_lease(self) -> None:
        """Tell a cancelled job from a lost one. Raises Aborted."""
        if not self._hold().cancel_requested:
            raise Cancelled("The server stops; the job goes on when it is back.")

    def _hold(self) -> Job:
        """See that the job is still ours, before something that cannot be undone."""
        return self._update()

    def _source_options(self, spec: ModelSpec) -> SourceOptions:
        job = self._job
        objects, folder = self._objects, f"{job.output_directory}/{STAGING}"
        if self._in_tables:
            objects, folder = self._tables.objects, self._tables.place(job.id)
        limits = self._options.limits
        return source_options(job.spec, spec.schema, objects, f"{folder}spool/", limits)

    def _sink_options(self, spec: ModelSpec, plan: Plan) -> SinkOptions:
        job = self._job
        tables = self._tables.output(job)
        return sink_options(
            job.spec,
            spec.schema,
            plan,
            self._objects if tables is None else self._tables.objects,
            f"{job.output_directory}/" if tables is None else self._tables.place(job.id),
            self._options.output_object_bytes,
            tables,
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
            data = options.objects.read_bytes(options.directory + MANIFEST)
            manifest: dict[str, Any] = json.loads(data)
            return manifest
        return None

    def _write_manifest(
        self,
        options: SinkOptions,
        plan: Plan,
        published: list[Published],
        reports: dict[str, bytes],
        parts: int,
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
            "reports": [
                {
                    "name": name,
                    "bytes": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                }
                for name, content in reports.items()
            ],
        }
        with options.objects.create(options.directory + MANIFEST) as file:
            file.write(json.dumps(manifest, indent=2).encode() + b"\n")
        return manifest

    @property
    def _in_tables(self) -> bool:
        """Whether the job has a folder beside the warehouse."""
        spec = self._job.spec
        return bool(spec.input.table or spec.output.tables)

    def _hours(self) -> float:
        """Replica hours up to now; the new ones are counted once."""
        hours, self._seconds = self._seconds / 3600, 0.0
        return self._job.replica_hours + hours

    def _now(self) -> datetime:
        """The time, never before the last write: the clock may have been put back."""
        return max(datetime.now(UTC), self._job.updated)

    def _update(self, **changes: Any) -> Job:
        self._job = self._store.update_job(self._lease, updated=self._now(), **changes)
        return self._job

    def _clear_staging(self) -> None:
        """Remove staged files. What cannot be removed is no reason to fail."""
        job = self._job
        try:
            if job.output_directory is not None:
                self._objects.delete_folder(f"{job.output_directory}/{STAGING}")
            if self._in_tables:  # but not the manifest, by which a later owner sees the end
                for name in (STAGING, "spool/") if not job.state.finished else ("",):
                    self._tables.clear(job.id, name)
        except RowcastError as error:
            self._log.warning("staging_not_removed", reason=str(error))

    def _end(self, state: JobState, **changes: Any) -> None:
        job = self._update(state=state, ended=self._now(), replica_hours=self._hours(), **changes)
        if self._in_tables:
            self._clear_staging()
        stats = job.stats or Stats()
        metrics.JOBS_ENDED.labels(state.removeprefix("JOB_STATE_").lower()).inc()
        self._log.info(
            "job_ended", state=state.value, rows=stats.successful, failed_rows=stats.failed
        )

    def _fail(self, error: Status) -> None:
        """End in FAILED, taking staged files away first: the disk may be full of them.

        The error is kept before that, so that a runner that takes over halfway does not go on
        without those files; and a runner that has lost its lease stops here.
        """
        with suppress(ResourceExhausted):
            self._update(error=error)
        self._clear_staging()
        stats = self._job.stats
        if stats is not None and stats.incomplete >= 0:
            stats = replace(
                stats,
                successful=0,
                failed=0,
                incomplete=stats.successful + stats.failed + stats.incomplete,
            )
        self._log.warning("job_failed", code=error.code, reason=error.message)
        self._end(JobState.FAILED, error=error, stats=stats, causes={})


def _count(staged: Staged, seconds: float) -> None:
    metrics.PART_SECONDS.observe(seconds)
    metrics.ROWS.labels("scored").inc(staged.predictions_rows)
    metrics.ROWS.labels("failed").inc(staged.errors_rows)


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


def _causes(results: Iterable[PartResult]) -> dict[str, int]:
    causes: Counter[str] = Counter()
    for result in results:
        causes.update(result.causes)
    return dict(causes.most_common(PARTIAL_FAILURES_SHOWN))


def _stats(plan: Plan, results: Iterable[PartResult]) -> Stats:
    good = bad = 0
    for result in results:
        good += result.staged.predictions_rows
        bad += result.staged.errors_rows
    return Stats(good, bad, plan.rows - good - bad)
