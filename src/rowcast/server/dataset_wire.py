"""Datasets: camelCase JSON to core values and back."""

from __future__ import annotations

from typing import Any

from rowcast.core.dataset import Dataset, DatasetSpec
from rowcast.core.names import TABLE_URI, rfc3339
from rowcast.errors import InvalidRequest
from rowcast.pipelines.preview import PreviewSpec
from rowcast.server import training_messages as messages
from rowcast.server.body import parse_object
from rowcast.server.reading import Findings, members, read_message, refuse, without_output
from rowcast.server.updates import etag_of

SYSTEM_LABELS = {"aiplatform.googleapis.com/dataset_metadata_schema": "TABLE"}
"""Shown with every dataset, and overlooked in requests: clients send back what they were shown."""


def parse_dataset(body: bytes) -> tuple[DatasetSpec, Findings]:
    """Read the body of a create request, and note what cannot be read.

    Raises
    ------
    InvalidRequest
        If the body is not a JSON object.
    """
    findings = Findings()
    raw = without_output(parse_object(body), messages.Dataset)
    message = read_message(raw, messages.Dataset, findings)
    config = (message.metadata or messages.DatasetMetadata()).input_config
    config = config or messages.DatasetInputConfig()
    if config.gcs_source is not None and config.bigquery_source is not None:
        findings.add(
            "metadata.input_config", "exactly one of gcs_source and bigquery_source may be given"
        )
    encryption = message.encryption_spec
    spec = DatasetSpec(
        display_name=message.display_name,
        metadata_schema_uri=message.metadata_schema_uri,
        uris=tuple(config.gcs_source.uri) if config.gcs_source else (),
        table=config.bigquery_source.uri if config.bigquery_source else None,
        description=message.description,
        labels=own_labels(message.labels),
        kms_key_name=encryption.kms_key_name if encryption else "",
    )
    return spec, findings


def parse_preview(body: bytes) -> PreviewSpec:
    """Read the body of a preview request.

    Raises
    ------
    InvalidRequest
        If the body is not a JSON object, or with every violation.
    """
    findings = Findings()
    message = read_message(parse_object(body), messages.PreviewRequest, findings)
    refuse(findings.violations)
    config = message.input_config or messages.DatasetInputConfig()
    table = config.bigquery_source
    if table is not None and (config.gcs_source is not None or not TABLE_URI.fullmatch(table.uri)):
        raise InvalidRequest(
            "input_config.bigquery_source: must stand alone, as bq://project.dataset.table."
        )
    objects = config.gcs_source.uri if config.gcs_source else ()
    return PreviewSpec(
        (table.uri,) if table else tuple(objects),
        message.target_column,
        message.prediction_type,
        message.row_count,
        message.rows_only,
    )


def own_labels(labels: dict[str, str]) -> dict[str, str]:
    """The labels that are the user's."""
    return {key: value for key, value in labels.items() if key not in SYSTEM_LABELS}


def render_dataset(dataset: Dataset) -> dict[str, Any]:
    """Show a dataset as ``Dataset``."""
    spec = dataset.spec
    source = (
        {"gcsSource": {"uri": list(spec.uris)}}
        if spec.table is None
        else {"bigquerySource": {"uri": spec.table}}
    )
    return members(
        name=dataset.name,
        displayName=spec.display_name,
        description=spec.description,
        metadataSchemaUri=spec.metadata_schema_uri,
        metadata={"inputConfig": source},
        createTime=rfc3339(dataset.created),
        updateTime=rfc3339(dataset.updated),
        etag=dataset_etag(dataset),
        labels={**SYSTEM_LABELS, **spec.labels},
        encryptionSpec=members(kmsKeyName=spec.kms_key_name),
    )


def dataset_etag(dataset: Dataset) -> str:
    """The etag of a dataset."""
    return etag_of(dataset.name, dataset.spec)
