"""Batch prediction jobs: camelCase JSON to core values and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcast.core.job import (
    Extension,
    InputSpec,
    JobSpec,
    JobState,
    MachineSpec,
    OutputSpec,
    ReplicaSpec,
    Stats,
)
from rowcast.core.names import MAX_TABLE_URI, TABLE_URI, ModelName, rfc3339
from rowcast.errors import Unimplemented, Violation
from rowcast.jobs.drift import as_json
from rowcast.jobs.summary import as_json as summary_json
from rowcast.server import messages
from rowcast.server.body import parse_object
from rowcast.server.reading import Findings, members, merged, read_message, without_output

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rowcast.core.job import Job, Status
    from rowcast.core.names import Parent

MAX_PARTIAL_FAILURES = 20
_DATASET = re.compile(r"bq://[^./]+(?::[^./]+)?(?:\.[^./]+)?")
_OBJECT_SOURCES = ("csv", "jsonl", "parquet")


# Requests


@dataclass(frozen=True)
class JobRequest:
    """A create request as far as it could be read."""

    spec: JobSpec
    violations: tuple[Violation, ...] = ()
    settled: frozenset[str] = frozenset()
    """Fields of which all there is to say is among ``violations``."""
    validate_only: bool = False
    request_id: str | None = None

    def with_semantic(self, semantic: Iterable[Violation]) -> list[Violation]:
        """Add the violations that the service found, less what follows from ours."""
        return merged(self.violations, self.settled, semantic)


def parse_job(body: bytes, request_id: str | None = None) -> JobRequest:
    """Read the body of a create request.

    Fields may be absent that a job needs: with ``retryOf``, the earlier job has them. What is
    required, and what values mean, is the service's to check.

    Parameters
    ----------
    body : bytes
        The request's JSON.
    request_id : str, optional
        From the query; the body may give it instead.

    Raises
    ------
    InvalidRequest
        If the body is not a JSON object.
    Unimplemented
        If the job has a container of its own in place of a model.
    """
    raw = parse_object(body)
    raw = without_output(raw, messages.BatchPredictionJob)
    extension = raw.get("rowcast")
    if isinstance(extension, dict):
        raw["rowcast"] = without_output(extension, messages.RowcastExtension)
    for key in ("unmanagedContainerModel", "unmanaged_container_model"):
        if raw.get(key) is not None:
            raise Unimplemented(
                "unmanagedContainerModel is not offered; register the model and name it in model."
            )
    findings = Findings()
    message = read_message(raw, messages.BatchPredictionJob, findings)
    spec = _job_spec(message, findings)
    added = message.rowcast or messages.RowcastExtension()
    if request_id and added.request_id and request_id != added.request_id:
        findings.add("rowcast.request_id", "differs from the requestId of the query")
    return JobRequest(
        spec,
        tuple(findings.violations),
        frozenset(findings.settled),
        added.validate_only,
        added.request_id or request_id or None,
    )


def _job_spec(message: messages.BatchPredictionJob, findings: Findings) -> JobSpec:
    tuning = message.manual_batch_tuning_parameters
    encryption = message.encryption_spec
    return JobSpec(
        display_name=message.display_name,
        model=message.model,
        input=_input_spec(message, findings),
        output=_output_spec(message, findings),
        replicas=_replica_spec(message.dedicated_resources),
        batch_size=(tuning.batch_size or None) if tuning else None,
        generate_explanation=message.generate_explanation,
        explanation_spec=_explanation_spec(message.explanation_spec, findings),
        model_parameters=message.model_parameters,
        service_account=message.service_account,
        labels=dict(message.labels),
        kms_key_name=encryption.kms_key_name if encryption else "",
        disable_container_logging=message.disable_container_logging,
        model_monitoring_config=message.model_monitoring_config,
        extension=_extension(message, findings),
    )


def _input_spec(message: messages.BatchPredictionJob, findings: Findings) -> InputSpec:
    config = message.input_config or messages.InputConfig()
    instances = message.instance_config or messages.InstanceConfig()
    table = config.bigquery_source
    if table is not None:
        _check_choice(
            findings,
            place="input_config",
            objects="gcs_source",
            table="bigquery_source",
            wanted=(config.instances_format, "instances_format"),
            both=config.gcs_source is not None,
        )
        uri = table.input_uri
        if len(uri) > MAX_TABLE_URI or not TABLE_URI.fullmatch(uri):
            findings.add(
                "input_config.bigquery_source.input_uri",
                f"must be bq://project.dataset.table, of at most {MAX_TABLE_URI} characters",
            )
    elif config.instances_format == "bigquery" and config.gcs_source is not None:
        findings.add("input_config.gcs_source", "instances_format bigquery needs bigquery_source")
    return InputSpec(
        format=config.instances_format,
        uris=tuple(config.gcs_source.uris) if config.gcs_source else (),
        instance_type=instances.instance_type or None,
        key_field=instances.key_field or None,
        included_fields=tuple(instances.included_fields),
        excluded_fields=tuple(instances.excluded_fields),
        table=table.input_uri if table else "",
    )


def _output_spec(message: messages.BatchPredictionJob, findings: Findings) -> OutputSpec:
    config = message.output_config or messages.OutputConfig()
    table = config.bigquery_destination
    if table is not None:
        _check_choice(
            findings,
            place="output_config",
            objects="gcs_destination",
            table="bigquery_destination",
            wanted=(config.predictions_format, "predictions_format"),
            both=config.gcs_destination is not None,
        )
        uri = table.output_uri
        if TABLE_URI.fullmatch(uri):
            findings.add(
                "output_config.bigquery_destination.output_uri",
                "Table name is not allowed in Bigquery output uri.",
            )
        elif len(uri) > MAX_TABLE_URI or not _DATASET.fullmatch(uri):
            findings.add(
                "output_config.bigquery_destination.output_uri",
                "must be bq://project or bq://project.dataset, "
                f"of at most {MAX_TABLE_URI} characters",
            )
    elif config.predictions_format == "bigquery" and config.gcs_destination is not None:
        findings.add(
            "output_config.gcs_destination",
            "predictions_format bigquery needs bigquery_destination",
        )
    return OutputSpec(
        format=config.predictions_format,
        uri_prefix=config.gcs_destination.output_uri_prefix if config.gcs_destination else "",
        tables=table.output_uri if table else "",
    )


def _check_choice(
    findings: Findings,
    *,
    place: str,
    objects: str,
    table: str,
    wanted: tuple[str, str],
    both: bool,
) -> None:
    """See that a table stands alone, and that the format is one for tables."""
    findings.settled.add(f"{place}.{objects}")
    if both:
        findings.add(place, f"exactly one of {objects} and {table} may be given")
    elif wanted[0] in _OBJECT_SOURCES:
        findings.add(f"{place}.{table}", f"{wanted[1]} {wanted[0]} needs {objects}")


def _replica_spec(resources: messages.BatchDedicatedResources | None) -> ReplicaSpec | None:
    if resources is None:
        return None
    machine = resources.machine_spec or messages.MachineSpec()
    return ReplicaSpec(
        MachineSpec(machine.machine_type, machine.accelerator_type, machine.accelerator_count),
        starting=resources.starting_replica_count or 1,
        maximum=resources.max_replica_count or 10,
    )


def _explanation_spec(
    spec: messages.ExplanationSpec | None, findings: Findings
) -> dict[str, Any] | None:
    if spec is None:
        return None
    for method in ("integrated_gradients_attribution", "xrai_attribution", "examples"):
        if spec.parameters is not None and getattr(spec.parameters, method) is not None:
            findings.add(
                f"explanation_spec.parameters.{method}",
                "not offered; the method is sampled_shapley_attribution",
            )
    return spec.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _extension(message: messages.BatchPredictionJob, findings: Findings) -> Extension:
    added = message.rowcast or messages.RowcastExtension()
    name = added.output_name
    if added.merge_output and not name:
        written = message.output_config.predictions_format if message.output_config else ""
        if written:
            name = f"predictions.{written}"
        else:
            findings.add(
                "rowcast.merge_output", "needs output_config.predictions_format or output_name"
            )
    return Extension(
        row_number_column=added.row_number_column or None,
        output_name=name or None,
        retry_of=added.retry_of or None,
        skip_drift=added.skip_drift,
        skip_summary=added.skip_summary,
        attribution_columns=added.attribution_columns,
        max_explanations=added.max_explanations or None,
        threshold_high=added.threshold_high,
        threshold_low=added.threshold_low,
        interval_columns=added.interval_columns,
        interval_level=added.interval_level,
    )


# Answers


def render_job(job: Job) -> dict[str, Any]:
    """Show a job as ``BatchPredictionJob``."""
    ended_badly = job.state in (JobState.FAILED, JobState.CANCELLED)
    return {
        "name": job.name,
        **_render_spec(job.spec, job.parent.child("models", job.model.model_id)),
        **members(
            modelVersionId=job.model.version_id,
            outputInfo=members(
                gcsOutputDirectory=job.output_directory,
                bigqueryOutputDataset=job.output_dataset,
                bigqueryOutputTable=job.output_table,
            ),
            state=job.state.value,
            error=_render_status(job.error) if job.error and ended_badly else None,
            partialFailures=[
                _render_status(status) for status in job.partial_failures[:MAX_PARTIAL_FAILURES]
            ],
            completionStats=_render_stats(job.stats),
            resourcesConsumed=members(replicaHours=job.replica_hours),
            createTime=rfc3339(job.created),
            startTime=rfc3339(job.started) if job.started else None,
            endTime=rfc3339(job.ended) if job.ended else None,
            updateTime=rfc3339(job.updated),
            rowcast={
                **_render_extension(job.spec.extension, job.causes),
                **members(
                    drift=as_json(job.drift) if job.drift else None, summary=_render_summary(job)
                ),
            },
        ),
    }


def render_checked(parent: Parent, spec: JobSpec, report: dict[str, Any]) -> dict[str, Any]:
    """Show a request that was checked and not started."""
    model = str(ModelName.parse(spec.model, parent)) if spec.model else ""
    extension = _render_extension(spec.extension, {})
    return {**_render_spec(spec, model), "rowcast": {**extension, "preflight": report}}


def _render_spec(spec: JobSpec, model: str) -> dict[str, Any]:
    return members(
        displayName=spec.display_name,
        model=model,
        inputConfig=members(
            instancesFormat=spec.input.format,
            gcsSource=members(uris=list(spec.input.uris)),
            bigquerySource=members(inputUri=spec.input.table),
        ),
        instanceConfig=members(
            instanceType=spec.input.instance_type,
            keyField=spec.input.key_field,
            includedFields=list(spec.input.included_fields),
            excludedFields=list(spec.input.excluded_fields),
        ),
        modelParameters=spec.model_parameters,
        outputConfig=members(
            predictionsFormat=spec.output.format,
            gcsDestination=members(outputUriPrefix=spec.output.uri_prefix),
            bigqueryDestination=members(outputUri=spec.output.tables),
        ),
        dedicatedResources=_render_replicas(spec.replicas),
        manualBatchTuningParameters=members(batchSize=spec.batch_size),
        generateExplanation=spec.generate_explanation,
        explanationSpec=spec.explanation_spec,
        serviceAccount=spec.service_account,
        labels=dict(spec.labels),
        encryptionSpec=members(kmsKeyName=spec.kms_key_name),
        disableContainerLogging=spec.disable_container_logging,
        modelMonitoringConfig=spec.model_monitoring_config,
    )


def _render_replicas(replicas: ReplicaSpec | None) -> dict[str, Any] | None:
    if replicas is None:
        return None
    return members(
        machineSpec=members(
            machineType=replicas.machine.machine_type,
            acceleratorType=replicas.machine.accelerator_type,
            acceleratorCount=replicas.machine.accelerator_count,
        ),
        startingReplicaCount=replicas.starting,
        maxReplicaCount=replicas.maximum,
    )


def _render_status(status: Status) -> dict[str, Any]:
    """Show code and message only: official clients choke on details they do not know."""
    return members(code=status.code, message=status.message)


def _render_stats(stats: Stats | None) -> dict[str, Any] | None:
    if stats is None:
        return None
    counts = members(
        successfulCount=stats.successful,
        failedCount=stats.failed,
        incompleteCount=stats.incomplete,
    )
    return {name: str(count) for name, count in counts.items()}


def _render_summary(job: Job) -> dict[str, Any] | None:
    if job.summary is None:
        return None
    stats = job.stats or Stats()
    seconds = (job.ended - job.started).total_seconds() if job.ended and job.started else 0.0
    return summary_json(job.summary, stats.successful + stats.failed, seconds)


def _render_extension(extension: Extension, causes: dict[str, int]) -> dict[str, Any]:
    shown = members(
        rowNumberColumn=extension.row_number_column,
        outputName=extension.output_name,
        retryOf=extension.retry_of,
        skipDrift=extension.skip_drift,
        skipSummary=extension.skip_summary,
        attributionColumns=extension.attribution_columns,
        maxExplanations=extension.max_explanations,
        intervalColumns=extension.interval_columns,
        intervalLevel=extension.interval_level,
        errorCauses=[
            {"cause": cause, "count": str(count)}
            for cause, count in sorted(causes.items(), key=lambda item: (-item[1], item[0]))
        ],
    )
    return {**shown, **_thresholds(extension)}


def _thresholds(extension: Extension) -> dict[str, float]:
    """Show thresholds also where they are 0, which is not their default."""
    pairs = {"thresholdHigh": extension.threshold_high, "thresholdLow": extension.threshold_low}
    return {name: value for name, value in pairs.items() if value is not None}
