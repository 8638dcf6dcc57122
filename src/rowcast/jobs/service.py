"""Create, get, list, cancel, delete: what the API and the command line call."""

from __future__ import annotations

import math
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcast.access.guard import OwnerOnly
from rowcast.core.caller import OWNER
from rowcast.core.job import Extension, InputSpec, Job, JobSpec, JobState
from rowcast.core.labels import display_name_fault, label_faults
from rowcast.core.names import ModelName, Parent, new_id
from rowcast.core.tables import TableName, parse_destination
from rowcast.errors import FailedPrecondition, InvalidRequest, NotFound, RowcastError, Violation
from rowcast.jobs.drift import monitoring_violations
from rowcast.jobs.preflight import Preflight
from rowcast.jobs.runner import require_job_data
from rowcast.jobs.tables import failed_rows_table
from rowcast.scoring.attributions import explanation_violations, read_explanation
from rowcast.scoring.intervals import LEVELS
from rowcast.sinks import SINKS
from rowcast.sources import SOURCES
from rowcast.storage.model_folder import read_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rowcast.access.guard import Guard
    from rowcast.core.caller import Caller
    from rowcast.core.model import ModelSpec
    from rowcast.engines import Engine
    from rowcast.jobs.runner import RunnerOptions
    from rowcast.jobs.tables import Tables
    from rowcast.storage.objects import Objects
    from rowcast.stores import Filter, JobStore, Model, ModelStore

MAX_REPLICAS = 1000
NAME_IN_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_JOB_NAME = re.compile(r"projects/([^/]+)/locations/([^/]+)/batchPredictionJobs/([^/]+)")
_TAKEN_COLUMNS = frozenset({"instance", "prediction", "error", "key", "explanation"})


class JobService:
    """Checks requests and keeps jobs. Storage is not touched when a job is created.

    Parameters
    ----------
    wake : callable
        Called when a job is ready to be claimed, or is to be cancelled.
    reserve : bool
        Keep jobs from servers on the same store: the command line runs its own, which may read
        and write where a server may not.
    guard : Guard
        Asked whether callers may read and write what their jobs would; they are asked again when
        the jobs run.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        models: ModelStore,
        engine: Engine,
        objects: Objects,
        tables: Tables,
        options: RunnerOptions,
        wake: Callable[[], None] = lambda: None,
        reserve: bool = False,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or OwnerOnly()
        self._store = store
        self._models = models
        self._engine = engine
        self._objects = objects
        self._tables = tables
        self._options = options
        self._wake = wake
        self._reserve = reserve
        self._latest = datetime(1970, 1, 1, tzinfo=UTC)
        self._lock = threading.Lock()

    def create(
        self,
        parent: Parent,
        spec: JobSpec,
        request_id: str | None = None,
        *,
        by: Caller = OWNER,
    ) -> Job:
        """Check a request and keep it as a PENDING job.

        Raises
        ------
        InvalidRequest
            With every violation.
        NotFound
            If the model, or the job to retry, does not exist.
        PermissionDenied
            If the caller may not read the input, or write below the destination.
        """
        spec = self.completed(parent, spec)
        violations = self.violations(parent, spec)
        if violations:
            raise InvalidRequest.listing(violations)
        require_job_data(self._guard, by, spec)
        model = self._model(parent, spec)
        now = self._next_moment()
        job = Job(new_id(), parent, spec, model.pinned(), JobState.PENDING, now, now, created_by=by)
        job = self._store.create_job(job, request_id, reserved=self._reserve)
        self._wake()
        return job

    def preflight(self, parent: Parent, spec: JobSpec, *, by: Caller = OWNER) -> dict[str, Any]:
        """Try a request on a sample of its input, without creating a job.

        Raises what ``create`` raises, and what the job itself would fail with.
        """
        spec = self.completed(parent, spec)
        violations = self.violations(parent, spec)
        if violations:
            raise InvalidRequest.listing(violations)
        require_job_data(self._guard, by, spec)
        model = self._model(parent, spec)
        checking = Preflight(self._engine, self._objects, self._tables, self._options)
        return checking.run(spec, model.pinned())

    def get(self, parent: Parent, job_id: str) -> Job:
        """Raises NotFound."""
        return self._store.get_job(parent, job_id)

    def list(
        self,
        parent: Parent,
        *,
        where: Filter | None = None,
        limit: int = 100,
        after: tuple[datetime, str] | None = None,
    ) -> list[Job]:
        """Newest first."""
        return self._store.list_jobs(parent, where=where, limit=limit, after=after)

    def cancel(self, parent: Parent, job_id: str) -> Job:
        """Ask a job to stop. Raises NotFound, FailedPrecondition."""
        job = self._store.request_cancel(parent, job_id, datetime.now(UTC))
        self._wake()
        return job

    def reports(self, parent: Parent, job_id: str) -> dict[str, bytes]:
        """What a finished job says of its results, by name of the object. Raises NotFound."""
        self._store.get_job(parent, job_id)
        return self._store.reports(job_id)

    def delete(self, parent: Parent, job_id: str) -> None:
        """Forget a finished job; its output stays. Raises NotFound, FailedPrecondition."""
        self._store.delete_job(parent, job_id)

    def completed(self, parent: Parent, spec: JobSpec) -> JobSpec:
        """Fill a retry's open fields from the job that it retries.

        Raises
        ------
        NotFound, FailedPrecondition, InvalidRequest
            If that job does not exist, has not ended, or has no failed rows.
        """
        retried = spec.extension.retry_of
        if retried is None:
            return spec
        match = _JOB_NAME.fullmatch(retried)
        source = Parent(*match.groups()[:2]) if match else parent
        if source != parent:
            raise InvalidRequest.listing(
                [Violation("rowcast.retry_of", "must be a job of the same project and location")]
            )
        earlier = self._store.get_job(parent, match.group(3) if match else retried)
        if not earlier.state.finished:
            raise FailedPrecondition(f"{earlier.name} is in {earlier.state}; retry it at its end.")
        if not (earlier.stats and earlier.stats.failed):
            raise FailedPrecondition(f"{earlier.name} has no failed rows to retry.")
        given, failed = spec.input, _failed_rows(earlier)
        if (given.uris or given.table) and (given.uris, given.table) != (failed.uris, failed.table):
            raise InvalidRequest.listing(
                [Violation("input_config", "must be absent with rowcast.retry_of")]
            )
        before = earlier.spec
        if before.input.key_field is not None:
            raise FailedPrecondition(
                f"{earlier.name} wrote keys in place of its rows (keyField), so its failed rows "
                "are not there to retry; start a job over its input."
            )
        return replace(
            spec,
            display_name=spec.display_name or f"{before.display_name[:120]}-retry",
            model=spec.model or before.model,
            input=failed,
            output=spec.output if spec.output.format else before.output,
        )

    def violations(self, parent: Parent, spec: JobSpec) -> Sequence[Violation]:
        """Everything that is wrong with a request, apart from names of unknown resources.

        Raises what ``completed`` raises.
        """
        spec = self.completed(parent, spec)
        return [
            Violation(field, description)
            for check in (
                self._check_names,
                self._check_input,
                self._check_output,
                self._check_replicas,
                self._check_explanation,
                self._check_extension,
                self._check_monitoring,
            )
            for field, description in check(parent, spec)
        ]

    def _check_names(self, parent: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        if fault := display_name_fault(spec.display_name):
            yield "display_name", fault
        if not spec.model:
            yield "model", "is required"
        else:
            try:
                name = ModelName.parse(spec.model, parent)
            except InvalidRequest as error:
                yield "model", str(error)
            else:
                if name.parent.location != parent.location:
                    yield "model", f"must be in location {parent.location}, as the job"
        yield from label_faults(spec.labels)
        for key in spec.model_parameters or {}:
            yield f"model_parameters.{key}", "is unknown; tabular models have no parameters"

    def _check_input(self, _: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        given = spec.input
        if not given.format:
            yield "input_config.instances_format", "is required"
        elif given.format not in SOURCES:
            yield "input_config.instances_format", _unsupported(given.format, sorted(SOURCES))
        if given.table or given.format == "bigquery":
            yield from _table_faults("input_config.bigquery_source.input_uri", given.table)
        elif not given.uris:
            yield "input_config.gcs_source.uris", "needs at least one URI"
        for i, uri in enumerate(given.uris):
            yield from self._check_uri(f"input_config.gcs_source.uris[{i}]", uri)
        if given.instance_type not in (None, "object", "array"):
            yield "instance_config.instance_type", "must be object or array"
        elif given.instance_type and given.format == "bigquery":
            yield "instance_config.instance_type", "is not allowed with bigquery"
        elif given.instance_type and given.format == "csv":
            yield "instance_config.instance_type", "is not allowed with csv"
        if given.included_fields and given.excluded_fields:
            yield "instance_config.included_fields", "excludes excluded_fields; give one of them"
        if (given.included_fields or given.excluded_fields) and (
            given.format not in ("jsonl", "bigquery") or given.instance_type == "array"
        ):
            yield "instance_config", "included and excluded fields need jsonl objects or bigquery"

    def _check_output(self, _: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        given = spec.output
        if not given.format:
            yield "output_config.predictions_format", "is required"
        elif given.format not in SINKS:
            yield "output_config.predictions_format", _unsupported(given.format, sorted(SINKS))
        if given.uri_prefix:
            yield from self._check_uri(
                "output_config.gcs_destination.output_uri_prefix", given.uri_prefix
            )
        elif not given.tables and given.format != "bigquery":
            yield "output_config.gcs_destination.output_uri_prefix", "is required"
        if given.tables or given.format == "bigquery":
            yield from _destination_faults(
                "output_config.bigquery_destination.output_uri", given.tables
            )

    def _check_replicas(self, _: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        if spec.batch_size is not None and not 1 <= spec.batch_size < 2**31:
            yield "manual_batch_tuning_parameters.batch_size", "must be at least 1"
        given = spec.replicas
        if given is None:
            return
        if not given.machine.machine_type:
            yield "dedicated_resources.machine_spec.machine_type", "is required"
        if given.machine.accelerator_count < 0:
            yield "dedicated_resources.machine_spec.accelerator_count", "must not be negative"
        if given.starting < 1:
            yield "dedicated_resources.starting_replica_count", "must be at least 1"
        if not 1 <= given.maximum <= MAX_REPLICAS:
            yield "dedicated_resources.max_replica_count", f"must be 1 to {MAX_REPLICAS}"
        if given.starting > given.maximum:
            yield (
                "dedicated_resources.starting_replica_count",
                f"({given.starting}) must not exceed max_replica_count ({given.maximum})",
            )

    def _check_explanation(self, parent: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        in_csv = spec.output.format == "csv"
        if spec.generate_explanation and in_csv and not spec.extension.attribution_columns:
            yield (
                "generate_explanation",
                "needs jsonl, parquet or bigquery output, not csv; csv has columns for it with "
                "rowcast.attribution_columns",
            )
        if spec.explanation_spec is None:
            return
        if not spec.generate_explanation:
            yield "explanation_spec", "needs generate_explanation"
        described = self._described(parent, spec)
        if described is None:
            return
        found = explanation_violations(spec.explanation_spec, described.schema)
        for violation in found:
            yield violation.field, violation.description
        if in_csv and not found:
            asked = read_explanation(spec.explanation_spec, described.schema)
            if len(asked.output_indices) > 1 or (not asked.output_indices and asked.top_k != 1):
                yield "explanation_spec.parameters", "csv has room for one explained output a row"

    def _check_extension(self, parent: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        given: Extension = spec.extension
        yield from _explanation_choices(spec)
        yield from self._check_interval(parent, spec)
        if given.row_number_column is not None and (
            not given.row_number_column or given.row_number_column in _TAKEN_COLUMNS
        ):
            yield "rowcast.row_number_column", f"must be a name, and none of {_TAKEN_COLUMNS}"
        if given.output_name is None:
            return
        if spec.output.tables:
            yield "rowcast.output_name", "is not offered for tables, which are named by their time"
        if not NAME_IN_FOLDER.fullmatch(given.output_name):
            yield "rowcast.output_name", "must be a file name of letters, digits, '.', '_' or '-'"
        elif given.output_name.lower().endswith((".gz", ".zst")):
            yield "rowcast.output_name", "must not end in .gz or .zst: output is not compressed"

    def _check_interval(self, parent: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        columns, level = spec.extension.interval_columns, spec.extension.interval_level
        if columns and spec.output.format != "csv":
            yield "rowcast.interval_columns", "is for csv; other formats have the bounds anyway"
        if level is not None and not LEVELS[0] <= level <= LEVELS[-1]:
            yield "rowcast.interval_level", f"must be from {LEVELS[0]} to {LEVELS[-1]}"
        described = self._described(parent, spec) if columns or level is not None else None
        if described is None:
            return
        fault = None
        if described.schema.target.classes:
            fault = "is for models that predict a value"
        elif described.predictor != "boosted":
            fault = "is for models that were trained here; others have no interval"
        for name, given in (("interval_columns", columns), ("interval_level", level is not None)):
            if given and fault:
                yield f"rowcast.{name}", fault

    def _check_monitoring(self, _: Parent, spec: JobSpec) -> Iterator[tuple[str, str]]:
        for violation in monitoring_violations(spec.model_monitoring_config):
            yield violation.field, violation.description

    def _check_uri(self, field: str, uri: str) -> Iterator[tuple[str, str]]:
        try:
            self._objects.resolve(uri)
        except RowcastError as error:
            yield field, str(error)
        else:
            if "://" not in uri and not uri.startswith(("/", "~")):
                yield field, "must be a URI or an absolute path"

    def _described(self, parent: Parent, spec: JobSpec) -> ModelSpec | None:
        """The model's description; None if it cannot be had, which is told where it is named."""
        try:
            model = self._model(parent, spec)
            return read_spec(Path(model.folder), model.digest)
        except RowcastError:
            return None

    def _model(self, parent: Parent, spec: JobSpec) -> Model:
        name = ModelName.parse(spec.model, parent)
        if name.parent != parent:
            raise NotFound(f"Model {name} does not exist in {parent}.")
        return self._models.get_model(name.parent, name.model, name.version)

    def _next_moment(self) -> datetime:
        """Now, later than ever before: times of creation name output folders."""
        with self._lock:
            self._latest = max(datetime.now(UTC), self._latest + timedelta(microseconds=1))
            return self._latest


def _explanation_choices(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """Check what is asked of explanations beyond the API."""
    given = spec.extension
    asked = {
        "attribution_columns": given.attribution_columns,
        "max_explanations": given.max_explanations is not None,
        "threshold_high": given.threshold_high is not None,
        "threshold_low": given.threshold_low is not None,
    }
    if not spec.generate_explanation:
        for name in (name for name, given_ in asked.items() if given_):
            yield f"rowcast.{name}", "needs generate_explanation"
    if given.attribution_columns and spec.output.format != "csv":
        yield "rowcast.attribution_columns", "is for csv; other formats have explanation"
    if given.max_explanations is not None and given.max_explanations < 1:
        yield "rowcast.max_explanations", "must be at least 1"
    low, high = given.threshold_low, given.threshold_high
    for name, value in (("threshold_low", low), ("threshold_high", high)):
        if value is not None and not math.isfinite(value):
            yield f"rowcast.{name}", "must be a finite number"
    if low is not None and high is not None and low >= high:
        yield "rowcast.threshold_low", f"({low:g}) must be below threshold_high ({high:g})"


def _failed_rows(job: Job) -> InputSpec:
    """The rows that a job could not score, as the input of another."""
    if job.output_table is not None:
        return InputSpec("bigquery", table=failed_rows_table(job))
    suffix, name = job.spec.output.format, job.spec.extension.output_name
    errors = f"errors_*.{suffix}" if name is None else f"errors_{name}"
    return InputSpec(suffix, (f"{job.output_directory}/{errors}",))


def _table_faults(field: str, uri: str) -> Iterator[tuple[str, str]]:
    if not uri:
        yield field, "is required"
        return
    try:
        TableName.parse(uri)
    except InvalidRequest as error:
        yield field, str(error)


def _destination_faults(field: str, uri: str) -> Iterator[tuple[str, str]]:
    if not uri:
        yield field, "is required"
        return
    try:
        parse_destination(uri)
    except InvalidRequest as error:
        yield field, str(error)


def _unsupported(format_: str, known: list[str]) -> str:
    return f"{format_!r} is not supported by the model; it takes {', '.join(known)}"
