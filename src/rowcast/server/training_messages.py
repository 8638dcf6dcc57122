"""The messages of datasets and training pipelines. See ``rowcast.server.messages``."""

# Annotations are read at run time here, so they are not strings.

from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictStr, WithJsonSchema

from rowcast.server.messages import (
    PIPELINE_STATES,
    EncryptionSpec,
    Int32,
    Int64,
    Message,
    Model,
    RpcStatus,
    Strings,
    Struct,
    Timestamp,
    output_only,
)

PipelineState = Annotated[
    str, WithJsonSchema({"type": "string", "enum": list(PIPELINE_STATES.values())})
]


class DatasetGcsSource(Message):
    """Files to train on."""

    uri: Strings = Field(default=[])
    """``gs://``, ``s3://``, ``file://`` or local paths, with wildcards."""


class DatasetBigQuerySource(Message):
    """A table to train on."""

    uri: StrictStr = ""
    """``bq://project.dataset.table``."""


class DatasetInputConfig(Message):
    """Where the data is: exactly one source."""

    gcs_source: DatasetGcsSource | None = None
    bigquery_source: DatasetBigQuerySource | None = None


class PreviewRequest(Message):
    """What to look at before it is used."""

    input_config: DatasetInputConfig | None = None
    target_column: StrictStr = ""
    """The column to be predicted; the answer then says what training would say of it."""
    prediction_type: StrictStr = ""
    """``classification`` or ``regression``; without it, the target's values decide."""
    row_count: Int32 = 20
    """Rows to answer with, at most 200."""
    rows_only: StrictBool = False
    """Do not look into the columns: their names and the rows, as quickly as can be."""


class PreviewValue(Message):
    """A value, and in how many rows it is."""

    value: StrictStr = ""
    count: int = 0


class PreviewColumn(Message):
    """What a column is like."""

    name: StrictStr = ""
    stored_type: StrictStr = ""
    kind: StrictStr = ""
    """What training would take it for."""
    reason: StrictStr = ""
    """Why training would not use it."""
    note: StrictStr = ""
    """What is odd about it."""
    null_rate: float = 0.0
    distinct: int = 0
    edges: list[float] = Field(default=[])
    """Of numbers and moments: bins of equal width."""
    counts: list[int] = Field(default=[])
    """Rows in each bin."""
    unit: StrictStr = ""
    """``number`` or ``daysSince1970``."""
    mean: float = 0.0
    values: list[PreviewValue] = Field(default=[])
    """Of anything else: the most frequent values."""


class PreviewTarget(Message):
    """What is to be predicted."""

    prediction_type: StrictStr = ""
    reason: StrictStr = ""
    classes: Strings = Field(default=[])


class PreviewResponse(Message):
    """The beginning of data: at most 20,000 rows or 8 MiB of the first object."""

    object_count: int = 0
    bytes: StrictStr = ""
    row_count: int = 0
    """Rows that were looked at."""
    complete: StrictBool = False
    """Whether these are all rows."""
    columns: list[PreviewColumn] = Field(default=[])
    rows: list[list[StrictStr | None]] = Field(default=[])
    """Cells as text, in the order of the columns."""
    target: PreviewTarget | None = None
    warnings: Strings = Field(default=[])
    """What training would warn of."""
    problems: Strings = Field(default=[])
    """What training would refuse."""


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
    labels: dict[StrictStr, StrictStr] = Field(default={})
    encryption_spec: EncryptionSpec | None = None
    saved_queries: list[Any] = output_only([])
    data_item_count: Any = output_only()
    metadata_artifact: StrictStr = output_only("")
    model_reference: StrictStr = output_only("")
    satisfies_pzs: StrictBool = output_only(default=False)
    satisfies_pzi: StrictBool = output_only(default=False)


class ListDatasetsResponse(Message):
    """A page of datasets."""

    datasets: list[Dataset] = Field(default=[])
    next_page_token: StrictStr = ""


class FractionSplit(Message):
    """Random rows; what the fractions leave is shared out in their proportion."""

    training_fraction: float | None = None
    validation_fraction: float | None = None
    test_fraction: float | None = None


class PredefinedSplit(Message):
    """A column says which set each row is in."""

    key: StrictStr = ""
    """The column; its values are ``training``, ``validation``, ``test``, or ``TRAIN``,
    ``VALIDATE``, ``TEST``, ``UNASSIGNED``."""


class TimestampSplit(FractionSplit):
    """The earliest rows are to learn from, the latest to measure on."""

    key: StrictStr = ""
    """The column with the times."""


class StratifiedSplit(FractionSplit):
    """The shares of a column's values are the same in each set."""

    key: StrictStr = ""
    """The column."""


class InputDataConfig(Message):
    """What to train on; at most one split, and without one 80 %, 10 % and 10 % at random."""

    dataset_id: StrictStr = ""
    fraction_split: FractionSplit | None = None
    predefined_split: PredefinedSplit | None = None
    timestamp_split: TimestampSplit | None = None
    stratified_split: StratifiedSplit | None = None


class ColumnTransformation(Message):
    """A column that is used as what its values look like, or as what the kind says."""

    column_name: StrictStr = ""


class NumericTransformation(ColumnTransformation):
    """A column that is used as numbers."""

    invalid_values_allowed: StrictBool = False
    """Take values that are no numbers for nulls, instead of leaving out their rows."""


class TimestampTransformation(NumericTransformation):
    """A column that is used as times."""

    time_format: StrictStr = ""
    """``unix-seconds``, ``unix-milliseconds``, ``unix-microseconds``, ``unix-nanoseconds``, or a
    strftime format; RFC 3339 without it."""


class Transformation(Message):
    """How one column is used: exactly one of these."""

    auto: ColumnTransformation | None = None
    numeric: NumericTransformation | None = None
    categorical: ColumnTransformation | None = None
    timestamp: TimestampTransformation | None = None
    text: ColumnTransformation | None = None
    repeated_numeric: NumericTransformation | None = None
    repeated_categorical: ColumnTransformation | None = None
    repeated_text: ColumnTransformation | None = None


class ExportEvaluatedDataItemsConfig(Message):
    """Where to write the test rows with their predictions. Not offered so far."""

    destination_bigquery_uri: StrictStr = ""
    override_existing_table: StrictBool = False


class RowcastTraining(Message):
    """What rowcast adds to the inputs of a training. Without it they are plain Vertex AI."""

    budget_seconds: float | None = None
    """Instead of ``trainBudgetMilliNodeHours``."""
    trials: Int32 | None = None
    """Try exactly so many candidates, however long it takes, instead of a budget: then the model
    does not depend on the machine's speed."""
    seed: Int32 = 0
    max_scoring_cost: float | None = None
    """Limit what the model may cost to score with."""
    interval_level: float | None = None
    """Share of true values that an interval is to hold; 0.95 without it."""
    drop_null_target: StrictBool = False
    """Leave rows without a target out, instead of failing."""


class TrainingTaskInputs(Message):
    """What to train; members in either case style, nulls are overlooked."""

    prediction_type: StrictStr = ""
    """``classification`` or ``regression``."""
    target_column: StrictStr = ""
    transformations: list[Transformation] = Field(default=[])
    """Columns without one are not used; none at all is ``auto`` for every column."""
    train_budget_milli_node_hours: Int64 = 0
    """1000 to 72000."""
    optimization_objective: StrictStr = ""
    """``maximize-au-roc`` (default for two classes), ``minimize-log-loss`` (default for more),
    ``maximize-au-prc``, ``maximize-precision-at-recall``, ``maximize-recall-at-precision``;
    ``minimize-rmse`` (default for regression), ``minimize-mae``, ``minimize-rmsle``."""
    optimization_objective_recall_value: float | None = None
    optimization_objective_precision_value: float | None = None
    weight_column_name: StrictStr = ""
    disable_early_stopping: StrictBool = False
    export_evaluated_data_items_config: ExportEvaluatedDataItemsConfig | None = None
    additional_experiments: Strings = Field(default=[])
    """Overlooked."""
    rowcast: RowcastTraining | None = None


class TrainingTaskMetadata(Message):
    """What the training took."""

    train_cost_milli_node_hours: Int64 = 0


class RowcastPipeline(Message):
    """How a pipeline gets on."""

    stage: StrictStr = ""
    fraction: float = 0.0
    """Of the whole work that is done, 0 to 1."""
    message: StrictStr = ""
    seconds_left: float = 0.0
    """Of the budget."""
    attempts: Int32 = 0
    """Processes that were started for it; more than one if servers ended meanwhile."""
    candidates: Strings = Field(default=[])
    """While it runs: a line for each candidate that was tried so far."""
    leaderboard: list[Struct] = Field(default=[])
    """The candidates of the model that was made."""


class TrainingPipeline(Message):
    """A training: data in, a model version out."""

    name: StrictStr = output_only("")
    display_name: StrictStr = ""
    """1 to 128 characters."""
    input_data_config: InputDataConfig | None = None
    training_task_definition: StrictStr = ""
    """Ends in ``/automl_tabular_1.0.0.yaml``."""
    training_task_inputs: TrainingTaskInputs | None = None
    training_task_metadata: TrainingTaskMetadata | None = output_only()
    model_to_upload: Model | None = None
    """The new model's name, description, labels and aliases; once it is there, its resource
    name and version as well."""
    model_id: StrictStr = ""
    """The new model's id; without it, a number is drawn."""
    parent_model: StrictStr = ""
    """Add a version to this model instead."""
    state: PipelineState = output_only("")
    error: RpcStatus | None = output_only()
    create_time: Timestamp = output_only("")
    start_time: Timestamp = output_only("")
    end_time: Timestamp = output_only("")
    update_time: Timestamp = output_only("")
    labels: dict[StrictStr, StrictStr] = Field(default={})
    encryption_spec: EncryptionSpec | None = None
    rowcast: RowcastPipeline | None = output_only()


class ListTrainingPipelinesResponse(Message):
    """A page of pipelines."""

    training_pipelines: list[TrainingPipeline] = Field(default=[])
    next_page_token: StrictStr = ""
