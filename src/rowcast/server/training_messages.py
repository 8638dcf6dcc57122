"""The messages of datasets and training pipelines. See ``rowcast.server.messages``."""

# Annotations are read at run time here, so they are not strings.

from typing import Any

from pydantic import Field, StrictBool, StrictStr

from rowcast.server.messages import (
    EncryptionSpec,
    Message,
    Strings,
    Timestamp,
    output_only,
)


class DatasetGcsSource(Message):
    """Files to train on."""

    uri: Strings = Field([])
    """``gs://``, ``s3://``, ``file://`` or local paths, with wildcards."""


class DatasetBigQuerySource(Message):
    """A table to train on."""

    uri: StrictStr = ""
    """``bq://project.dataset.table``. Kept; training on it is refused so far."""


class DatasetInputConfig(Message):
    """Where the data is: exactly one source."""

    gcs_source: DatasetGcsSource | None = None
    bigquery_source: DatasetBigQuerySource | None = None


class DatasetMetadata(Message):
    """What is known of a table."""

    input_config: DatasetInputConfig | None = None


class Dataset(Message):
    """A table to train on. It is read when training starts."""

    name: StrictStr = output_only("")
    display_name: StrictStr = ""
    """1 to 128 characters."""
    description: StrictStr = ""
    metadata_schema_uri: StrictStr = ""
    """``gs://google-cloud-aiplatform/schema/dataset/metadata/tabular_1.0.0.yaml``."""
    metadata: DatasetMetadata | None = None
    create_time: Timestamp = output_only("")
    update_time: Timestamp = output_only("")
    etag: StrictStr = ""
    """Given in a request, it must be that of the dataset as it is."""
    labels: dict[StrictStr, StrictStr] = Field({})
    encryption_spec: EncryptionSpec | None = None
    saved_queries: list[Any] = output_only([])
    data_item_count: Any = output_only()
    metadata_artifact: StrictStr = output_only("")
    model_reference: StrictStr = output_only("")
    satisfies_pzs: StrictBool = output_only(default=False)
    satisfies_pzi: StrictBool = output_only(default=False)


class ListDatasetsResponse(Message):
    """A page of datasets."""

    datasets: list[Dataset] = Field([])
    next_page_token: StrictStr = ""
