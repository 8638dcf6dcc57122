"""The API's messages, field by field: what requests are checked against, and the OpenAPI text.

Names follow proto3 JSON: camelCase out, camelCase and snake_case in, null is unset, int64 is a
string out and a string or number in. Fields of a message that are absent have proto3's default,
so that ``""``, ``0``, ``false`` and absence are one.
"""

# Annotations are read at run time here, so they are not strings.

import re
from contextlib import suppress
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

ACCELERATOR_TYPES = {
    0: "ACCELERATOR_TYPE_UNSPECIFIED",
    1: "NVIDIA_TESLA_K80",
    2: "NVIDIA_TESLA_P100",
    3: "NVIDIA_TESLA_V100",
    4: "NVIDIA_TESLA_P4",
    5: "NVIDIA_TESLA_T4",
    6: "TPU_V2",
    7: "TPU_V3",
    8: "NVIDIA_TESLA_A100",
    9: "NVIDIA_A100_80GB",
    10: "TPU_V4_POD",
    11: "NVIDIA_L4",
    12: "TPU_V5_LITEPOD",
    13: "NVIDIA_H100_80GB",
    14: "NVIDIA_H100_MEGA_80GB",
    15: "NVIDIA_H200_141GB",
    16: "NVIDIA_B200",
    17: "NVIDIA_GB200",
    18: "NVIDIA_RTX_PRO_6000",
}
ENCODINGS = {
    0: "ENCODING_UNSPECIFIED",
    1: "IDENTITY",
    2: "BAG_OF_FEATURES",
    3: "BAG_OF_FEATURES_SPARSE",
    4: "INDICATOR",
    5: "COMBINED_EMBEDDING",
    6: "CONCAT_EMBEDDING",
}
JOB_STATES = {
    0: "JOB_STATE_UNSPECIFIED",
    1: "JOB_STATE_QUEUED",
    2: "JOB_STATE_PENDING",
    3: "JOB_STATE_RUNNING",
    4: "JOB_STATE_SUCCEEDED",
    5: "JOB_STATE_FAILED",
    6: "JOB_STATE_CANCELLING",
    7: "JOB_STATE_CANCELLED",
    8: "JOB_STATE_PAUSED",
    9: "JOB_STATE_EXPIRED",
    10: "JOB_STATE_UPDATING",
    11: "JOB_STATE_PARTIALLY_SUCCEEDED",
}
PIPELINE_STATES = {
    0: "PIPELINE_STATE_UNSPECIFIED",
    1: "PIPELINE_STATE_QUEUED",
    2: "PIPELINE_STATE_PENDING",
    3: "PIPELINE_STATE_RUNNING",
    4: "PIPELINE_STATE_SUCCEEDED",
    5: "PIPELINE_STATE_FAILED",
    6: "PIPELINE_STATE_CANCELLING",
    7: "PIPELINE_STATE_CANCELLED",
    8: "PIPELINE_STATE_PAUSED",
}
_DIGITS = re.compile(r"-?[0-9]{1,19}")


def _integer(bits: int) -> BeforeValidator:
    """Read an integer as proto3 JSON has it: a number without a fraction, or its digits."""
    limit = 1 << (bits - 1)

    def check(value: Any) -> int:
        number: int | None = None
        digits = isinstance(value, str) and _DIGITS.fullmatch(value)
        whole = isinstance(value, float) and value.is_integer()
        if digits or whole or (isinstance(value, int) and not isinstance(value, bool)):
            number = int(value)
        if number is None:
            raise PydanticCustomError("wrong_integer", "must be an integer")
        if not -limit <= number < limit:
            raise PydanticCustomError("wrong_integer", "does not fit {bits} bits", {"bits": bits})
        return number

    return BeforeValidator(check)


def _enum_name(names: dict[int, str]) -> BeforeValidator:
    """Read an enum value by name or number, as its name."""

    def check(value: object) -> str:
        if isinstance(value, int) and not isinstance(value, bool) and value in names:
            return names[value]
        if isinstance(value, str) and value in names.values():
            return value
        raise PydanticCustomError(
            "wrong_enum", "must be one of {names}", {"names": ", ".join(names.values())}
        )

    return BeforeValidator(check)


def _double(value: object) -> float:
    """Read a double as proto3 JSON has it: a number, or the text of one."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        with suppress(ValueError, OverflowError):
            return float(value)
    raise PydanticCustomError("wrong_double", "must be a number")


Double = Annotated[
    float, BeforeValidator(_double), WithJsonSchema({"type": "number", "format": "double"})
]
Int32 = Annotated[int, _integer(32), WithJsonSchema({"type": "integer", "format": "int32"})]
Int64 = Annotated[int, _integer(64), WithJsonSchema({"type": "string", "format": "int64"})]
AcceleratorType = Annotated[
    str,
    _enum_name(ACCELERATOR_TYPES),
    WithJsonSchema({"type": "string", "enum": list(ACCELERATOR_TYPES.values())}),
]
Encoding = Annotated[
    str,
    _enum_name(ENCODINGS),
    WithJsonSchema({"type": "string", "enum": list(ENCODINGS.values())}),
]
State = Annotated[str, WithJsonSchema({"type": "string", "enum": list(JOB_STATES.values())})]
Timestamp = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Strings = list[StrictStr]
Struct = dict[str, Any]


def output_only(default: Any = None, description: str | None = None) -> Any:
    """Describe a field that only the server sets."""
    return Field(default, description=description, json_schema_extra={"readOnly": True})


class Message(BaseModel):
    """A message with the rules of the module."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            key: item
            for key, item in value.items()
            if item is not None or cls.field_name(key) is None
        }

    @classmethod
    def field_name(cls, key: str) -> str | None:
        """The snake_case name of a field that is given in either case; None if unknown."""
        return _names(cls).get(key)


@cache
def _names(message: type[Message]) -> dict[str, str]:
    fields = message.model_fields.items()
    return {spelling: name for name, info in fields for spelling in (name, info.alias or name)}


class GcsSource(Message):
    """Objects to read."""

    uris: Strings = []
    """``gs://``, ``s3://``, ``file://`` or local paths, with wildcards ``*``, ``**``, ``?`` and
    ``[...]``."""


class BigQuerySource(Message):
    """A table or view to read."""

    input_uri: StrictStr = ""
    """``bq://project.dataset.table``."""


class InputConfig(Message):
    """Where the instances are: exactly one source, matching the format."""

    instances_format: StrictStr = ""
    """One of the model's ``supportedInputStorageFormats``."""
    gcs_source: GcsSource | None = None
    bigquery_source: BigQuerySource | None = None


class InstanceConfig(Message):
    """How instances become what the model reads."""

    instance_type: StrictStr = ""
    """``object`` or ``array``; not with CSV."""
    key_field: StrictStr = ""
    included_fields: Strings = []
    excluded_fields: Strings = []


class GcsDestination(Message):
    """A folder to write into."""

    output_uri_prefix: StrictStr = ""


class BigQueryDestination(Message):
    """A project or dataset to write into."""

    output_uri: StrictStr = ""


class OutputConfig(Message):
    """Where predictions go: exactly one destination, matching the format."""

    predictions_format: StrictStr = ""
    """One of the model's ``supportedOutputStorageFormats``."""
    gcs_destination: GcsDestination | None = None
    bigquery_destination: BigQueryDestination | None = None


class MachineSpec(Message):
    """Stored and echoed."""

    machine_type: StrictStr = ""
    accelerator_type: AcceleratorType = ""
    accelerator_count: Int32 = 0


class BatchDedicatedResources(Message):
    """How many replicas to score with."""

    machine_spec: MachineSpec | None = None
    starting_replica_count: Int32 = 0
    """Default 1."""
    max_replica_count: Int32 = 0
    """Default 10."""


class ManualBatchTuningParameters(Message):
    """Rows that a replica scores together."""

    batch_size: Int32 = 0


class SampledShapleyAttribution(Message):
    """The attribution method."""

    path_count: Int32 = 0


class ExplanationParameters(Message):
    """How to attribute."""

    sampled_shapley_attribution: SampledShapleyAttribution | None = None
    integrated_gradients_attribution: Struct | None = None
    xrai_attribution: Struct | None = None
    examples: Struct | None = None
    top_k: Int32 = 0
    output_indices: list[Any] = []


class InputMetadata(Message):
    """What is known of one feature."""

    input_baselines: list[Any] = []
    input_tensor_name: StrictStr = ""
    encoding: Encoding = ""
    modality: StrictStr = ""
    feature_value_domain: Struct | None = None
    indices_tensor_name: StrictStr = ""
    dense_shape_tensor_name: StrictStr = ""
    index_feature_mapping: Strings = []
    encoded_tensor_name: StrictStr = ""
    encoded_baselines: list[Any] = []
    visualization: Struct | None = None
    group_name: StrictStr = ""


class OutputMetadata(Message):
    """What is known of one output."""

    index_display_name_mapping: Any = None
    display_name_mapping_key: StrictStr = ""
    output_tensor_name: StrictStr = ""


class ExplanationMetadata(Message):
    """What is known of features and outputs."""

    inputs: dict[str, InputMetadata] = {}
    outputs: dict[str, OutputMetadata] = {}
    feature_attributions_schema_uri: StrictStr = ""
    latent_space_source: StrictStr = ""


class ExplanationSpec(Message):
    """Overrides the model's own, field by field."""

    parameters: ExplanationParameters | None = None
    metadata: ExplanationMetadata | None = None


class EncryptionSpec(Message):
    """Stored and echoed."""

    kms_key_name: StrictStr = ""


class RpcStatus(Message):
    """A ``google.rpc.Status``; ``code`` is a ``google.rpc.Code``."""

    code: Int32 = 0
    message: StrictStr = ""
    details: list[Struct] = []


class OutputInfo(Message):
    """Where the results are; set when the job starts to run."""

    gcs_output_directory: StrictStr = ""
    bigquery_output_dataset: StrictStr = ""
    bigquery_output_table: StrictStr = ""


class CompletionStats(Message):
    """Rows of the input; -1 means not known yet."""

    successful_count: Int64 = 0
    failed_count: Int64 = 0
    incomplete_count: Int64 = 0


class ResourcesConsumed(Message):
    """Work done by replicas."""

    replica_hours: float = 0.0


class ErrorCause(Message):
    """Failed rows that share a cause."""

    cause: StrictStr = ""
    count: Int64 = 0


class DriftWarning(Message):
    """A feature, or an output, that is not as it was in training."""

    feature: StrictStr = ""
    """For predictions, the output column."""
    kind: StrictStr = ""
    """distribution, missing, unreadable, unseen, range, prediction, or threshold (one for a
    feature that the model does not have)."""
    statistic: StrictStr = ""
    value: float = 0.0
    threshold: float = 0.0
    message: StrictStr = ""


class Drift(Message):
    """How a job's input differs from the training data of its model."""

    features_checked: Int32 = 0
    counted_rows: Int64 = 0
    """Rows of the input that were looked at; of a large one, a part."""
    warning_count: Int32 = 0
    warnings: list[DriftWarning] = []
    """The gravest 20."""


class MeanAbsoluteAttribution(Message):
    """How much a feature moved the answers."""

    feature: StrictStr = ""
    value: float = 0.0
    """Mean size of its attributions over the explained rows."""


class ClassSummary(Message):
    """How often a class came out."""

    class_: StrictStr = Field("", alias="class")
    count: Int64 = 0
    """Rows with the highest score for it."""
    mean_score: float = 0.0


class ValueSummary(Message):
    """Predicted values."""

    mean: float = 0.0
    least: float = 0.0
    median: float = 0.0
    greatest: float = 0.0
    mean_interval_width: float | None = None


class JobSummary(Message):
    """A job's results in a few numbers."""

    explained_rows: Int64 = 0
    mean_absolute_attributions: list[MeanAbsoluteAttribution] = []
    """The strongest 20 features."""
    classes: list[ClassSummary] = []
    """The most frequent 20."""
    values: ValueSummary | None = None
    rows_per_second: float = 0.0
    """Rows scored and failed, from the job's start to its end."""
    replicas: Int32 = 0
    """Replicas that worked on the job."""


class RowcastExtension(Message):
    """What rowcast adds to the API. A request without it is plain Vertex AI."""

    validate_only: StrictBool = False
    """Check the request against the model and the input, and start nothing."""
    row_number_column: StrictStr = ""
    """Add a column of this name with each row's number in the input, from 1."""
    output_name: StrictStr = ""
    """Write one predictions object of exactly this name."""
    merge_output: StrictBool = False
    """Write one predictions object, ``predictions.csv`` or its like unless ``outputName`` says
    otherwise."""
    retry_of: StrictStr = ""
    """Score the failed rows of this finished job again; what the request leaves out is as there."""
    request_id: StrictStr = ""
    """Repeating a request with the same id answers the job of the first one."""
    error_causes: list[ErrorCause] = output_only([], "Failed rows by cause, most frequent first.")
    skip_drift: StrictBool = False
    """Do not compare the input with the training data of the model."""
    skip_summary: StrictBool = False
    """Do not sum the results up."""
    attribution_columns: StrictBool = False
    """CSV: write attributions as columns, ``<feature>_attribution``."""
    max_explanations: Int32 = 0
    """Keep only so many features of each explained output, the largest attributions first."""
    threshold_high: Double | None = None
    """Explain only rows whose output is at least this (or at most ``thresholdLow``): the value,
    the score of the second of two classes, or the highest score."""
    threshold_low: Double | None = None
    """Explain only rows whose output is at most this (or at least ``thresholdHigh``)."""
    interval_columns: StrictBool = False
    """CSV: write the bounds of a predicted value as columns."""
    interval_level: Double | None = None
    """Share of true values that the bounds of a value are to hold, 0.5 to 0.995."""
    drift: Drift | None = output_only(None, "The comparison with the training data, at the end.")
    summary: JobSummary | None = output_only(None, "The results in short, at the end.")
    preflight: Struct | None = output_only(None, "What a ``validateOnly`` request found.")


class BatchPredictionJob(Message):
    """A job that scores the rows of a table."""

    name: StrictStr = output_only("")
    display_name: StrictStr = ""
    """1 to 128 characters."""
    model: StrictStr = ""
    """``projects/P/locations/L/models/ID``, with ``@VERSION`` or ``@ALIAS`` if wanted, or the
    id alone."""
    model_version_id: StrictStr = output_only("")
    unmanaged_container_model: Struct | None = None
    """Not offered: answers 501."""
    input_config: InputConfig | None = None
    instance_config: InstanceConfig | None = None
    model_parameters: Struct | None = None
    """Tabular models have none."""
    output_config: OutputConfig | None = None
    dedicated_resources: BatchDedicatedResources | None = None
    manual_batch_tuning_parameters: ManualBatchTuningParameters | None = None
    generate_explanation: StrictBool = False
    explanation_spec: ExplanationSpec | None = None
    service_account: StrictStr = ""
    labels: dict[StrictStr, StrictStr] = {}
    encryption_spec: EncryptionSpec | None = None
    disable_container_logging: StrictBool = False
    model_monitoring_config: Struct | None = None
    """Echoed. Thresholds in ``objectiveConfigs[].trainingPredictionSkewDetectionConfig`` decide
    what ``rowcast.drift`` warns of."""
    output_info: OutputInfo | None = output_only()
    state: State = output_only("")
    error: RpcStatus | None = output_only()
    partial_failures: list[RpcStatus] = output_only([])
    completion_stats: CompletionStats | None = output_only()
    resources_consumed: ResourcesConsumed | None = output_only()
    create_time: Timestamp = output_only("")
    start_time: Timestamp = output_only("")
    end_time: Timestamp = output_only("")
    update_time: Timestamp = output_only("")
    model_monitoring_status: RpcStatus | None = output_only()
    model_monitoring_stats_anomalies: list[Struct] = output_only([])
    satisfies_pzs: StrictBool = output_only(default=False)
    satisfies_pzi: StrictBool = output_only(default=False)
    rowcast: RowcastExtension | None = None


class ListBatchPredictionJobsResponse(Message):
    """A page of jobs, newest first."""

    batch_prediction_jobs: list[BatchPredictionJob] = []
    next_page_token: StrictStr = ""


class DataStats(Message):
    """Rows that a model was made and measured with."""

    training_data_items_count: Int64 = 0
    validation_data_items_count: Int64 = 0
    test_data_items_count: Int64 = 0


class RowcastFeature(Message):
    """A column that a model reads."""

    name: StrictStr = ""
    kind: StrictStr = ""
    """``numeric``, ``categorical``, ``timestamp`` or ``text``."""
    nullable: StrictBool = False


class RowcastModel(Message):
    """What rowcast adds to a model."""

    target_column: StrictStr = ""
    prediction_type: StrictStr = ""
    classes: Strings = []
    features: list[RowcastFeature] = []
    dropped_columns: dict[StrictStr, StrictStr] = {}
    """Columns that are not used, and why."""
    warnings: Strings = []
    damaged: StrictBool = False
    """Its files are missing or not those that were saved; it cannot be used."""


class Model(Message):
    """One version of a trained model."""

    name: StrictStr = output_only("")
    version_id: StrictStr = output_only("")
    version_aliases: Strings = []
    """``default`` for exactly one version. Changed by ``:mergeVersionAliases``."""
    version_description: StrictStr = ""
    display_name: StrictStr = ""
    description: StrictStr = ""
    training_pipeline: StrictStr = output_only("")
    supported_deployment_resources_types: Strings = output_only([])
    supported_input_storage_formats: Strings = output_only([])
    supported_output_storage_formats: Strings = output_only([])
    data_stats: DataStats | None = output_only()
    explanation_spec: ExplanationSpec | None = output_only()
    """Its baselines are those of the training data."""
    create_time: Timestamp = output_only("")
    update_time: Timestamp = output_only("")
    version_create_time: Timestamp = output_only("")
    version_update_time: Timestamp = output_only("")
    labels: dict[StrictStr, StrictStr] = {}
    etag: StrictStr = ""
    """Given in a request, it must be that of the version as it is."""
    rowcast: RowcastModel | None = output_only()


class ListModelVersionsResponse(Message):
    """A page of the versions of a model, newest first."""

    models: list[Model] = []
    next_page_token: StrictStr = ""


class UploadExtension(Message):
    """What Vertex AI has no fields for."""

    target_column: StrictStr = ""
    """Name of what the model predicts; the folder's ``schema.json`` may say it instead."""
    prediction_type: StrictStr = ""
    """``classification`` or ``regression``, where the file leaves it open."""
    format: StrictStr = "auto"
    """Default: told from the file's content."""


class UploadedModel(Message):
    """The model to make."""

    display_name: StrictStr = ""
    description: StrictStr = ""
    version_description: StrictStr = ""
    version_aliases: Strings = []
    labels: dict[StrictStr, StrictStr] = {}
    artifact_uri: StrictStr = ""
    """An object, or a folder with the model, ``schema.json``, ``example.csv``, ``expected.csv``."""
    container_spec: Struct = {}
    """Accepted, as official clients always send it; models run in no container here."""
    rowcast: UploadExtension | None = None


class UploadModelRequest(Message):
    """What to upload, and as what."""

    model: UploadedModel | None = None
    model_id: StrictStr = ""
    parent_model: StrictStr = ""
    """The model that gets another version."""


class MergeVersionAliasesRequest(Message):
    """Aliases to give to a version."""

    version_aliases: Strings = []
    """``-`` before an alias takes it away."""


class ModelEvaluationSliceSpec(Message):
    """Which rows a slice is of."""

    dimension: StrictStr = ""
    value: StrictStr = ""


class ModelEvaluationSlice(Message):
    """Metrics of one class against the rest."""

    name: StrictStr = ""
    slice: ModelEvaluationSliceSpec | None = None
    metrics_schema_uri: StrictStr = ""
    metrics: Struct | None = None
    create_time: Timestamp = ""


class MeanAttribution(Message):
    """How much each feature matters."""

    feature_attributions: Struct | None = None
    """Shares, not negative, that sum to 1."""


class ModelExplanation(Message):
    """What matters to a model."""

    mean_attributions: list[MeanAttribution] = []


class ModelEvaluation(Message):
    """How good a model version is on rows that it had not seen."""

    name: StrictStr = ""
    metrics_schema_uri: StrictStr = ""
    metrics: Struct | None = None
    create_time: Timestamp = ""
    slice_dimensions: Strings = []
    model_explanation: ModelExplanation | None = None
    rowcast: Struct | None = None
    """Of one evaluation, not in lists: ``curves``, ``calibration``, ``residuals``, ``interval``."""


class ListModelEvaluationsResponse(Message):
    """The evaluations of a model version: one, or none."""

    model_evaluations: list[ModelEvaluation] = []
    next_page_token: StrictStr = ""


class ListModelEvaluationSlicesResponse(Message):
    """A page of an evaluation's slices."""

    model_evaluation_slices: list[ModelEvaluationSlice] = []
    next_page_token: StrictStr = ""


class ListModelsResponse(Message):
    """A page of models, each in its default version."""

    models: list[Model] = []
    next_page_token: StrictStr = ""


class Operation(Message):
    """A ``google.longrunning.Operation``."""

    name: StrictStr = ""
    metadata: Struct | None = None
    done: StrictBool = False
    error: RpcStatus | None = None
    response: Struct | None = None


class ListOperationsResponse(Message):
    """A page of operations, newest first."""

    operations: list[Operation] = []
    next_page_token: StrictStr = ""


class Empty(Message):
    """``{}``."""


class ErrorInfo(Message):
    """What went wrong."""

    code: Int32 = 0
    """The HTTP code."""
    status: StrictStr = ""
    """The ``google.rpc.Code`` by name."""
    message: StrictStr = ""
    details: list[Struct] = []
    """For a bad request, one ``google.rpc.BadRequest`` that lists every field at fault."""


class ErrorBody(Message):
    """The answer to every request that fails."""

    error: ErrorInfo = ErrorInfo()


def read_only(message: type[Message]) -> frozenset[str]:
    """Name the fields that only the server sets, in both cases."""
    found: set[str] = set()
    for name, info in message.model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("readOnly"):
            found |= {name, info.alias or name}
    return frozenset(found)


def as_message(kind: Any) -> type[Message] | None:
    """See through Optional and Annotated to a message's class, if it is one."""
    kind = _bare(kind)
    return kind if isinstance(kind, type) and issubclass(kind, Message) else None


def step(kind: Any, key: str | int) -> tuple[str | None, Any]:
    """Go from a type to the type of a member of it.

    Returns the member's canonical name (snake_case for fields, as it is for the keys of maps),
    or None if the type has no such member; and the member's type.
    """
    message = as_message(kind)
    if message is not None:
        name = message.field_name(str(key))
        return (None, Any) if name is None else (name, message.model_fields[name].annotation)
    kind = _bare(kind)
    if get_origin(kind) is dict:
        return str(key), get_args(kind)[1]
    if get_origin(kind) is list and isinstance(key, int):
        return str(key), get_args(kind)[0]
    return (str(key), Any) if kind is Any else (None, Any)


def _bare(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        kind = next(option for option in get_args(kind) if option is not type(None))
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
