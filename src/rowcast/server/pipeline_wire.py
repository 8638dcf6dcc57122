"""Training pipelines: camelCase JSON to core values and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic.alias_generators import to_camel

from rowcast.core.names import ModelName, rfc3339
from rowcast.core.pipeline import (
    ColumnRule,
    ExportSpec,
    NewModel,
    PipelineSpec,
    PipelineState,
    SplitSpec,
    TrainingExtension,
    TrainingTask,
)
from rowcast.pipelines.task import cost_milli_node_hours
from rowcast.server import messages as resources
from rowcast.server import training_messages as messages
from rowcast.server.body import parse_object
from rowcast.server.reading import Findings, members, read_message, without_output

if TYPE_CHECKING:
    from rowcast.core.pipeline import Pipeline, SplitKind

KINDS = (
    "auto",
    "numeric",
    "categorical",
    "timestamp",
    "text",
    "repeated_numeric",
    "repeated_categorical",
    "repeated_text",
)
SPLITS: tuple[SplitKind, ...]
SPLITS = ("fraction", "predefined", "timestamp", "stratified")


def parse_pipeline(body: bytes) -> tuple[PipelineSpec, Findings]:
    """Read the body of a create request, and note what cannot be read.

    Raises
    ------
    InvalidRequest
        If the body is not a JSON object.
    """
    findings = Findings()
    raw = without_output(parse_object(body), messages.TrainingPipeline)
    for key in ("modelToUpload", "model_to_upload"):
        if isinstance(raw.get(key), dict):
            raw[key] = without_output(raw[key], resources.Model)
    message = read_message(raw, messages.TrainingPipeline, findings)
    data = message.input_data_config or messages.InputDataConfig()
    encryption = message.encryption_spec
    spec = PipelineSpec(
        display_name=message.display_name,
        dataset_id=data.dataset_id,
        task_definition=message.training_task_definition,
        task=_task(message.training_task_inputs or messages.TrainingTaskInputs(), findings),
        split=_split(data, findings),
        model=_new_model(message.model_to_upload or resources.Model()),
        model_id=message.model_id,
        parent_model=message.parent_model,
        labels=dict(message.labels),
        kms_key_name=encryption.kms_key_name if encryption else "",
    )
    return spec, findings


def _split(data: messages.InputDataConfig, findings: Findings) -> SplitSpec | None:
    given = [kind for kind in SPLITS if getattr(data, f"{kind}_split") is not None]
    if len(given) > 1:
        findings.add(
            "input_data_config",
            f"at most one split may be given, not {' and '.join(f'{k}_split' for k in given)}",
        )
    if not given:
        return None
    split = getattr(data, f"{given[0]}_split")
    return SplitSpec(
        given[0],
        getattr(split, "key", ""),
        *(getattr(split, f"{name}_fraction", None) for name in ("training", "validation", "test")),
    )


def _task(inputs: messages.TrainingTaskInputs, findings: Findings) -> TrainingTask:
    export = inputs.export_evaluated_data_items_config
    own = inputs.rowcast or messages.RowcastTraining()
    return TrainingTask(
        prediction_type=inputs.prediction_type,
        target=inputs.target_column,
        transformations=tuple(
            _rule(i, item, findings) for i, item in enumerate(inputs.transformations)
        ),
        budget_milli_node_hours=inputs.train_budget_milli_node_hours,
        objective=inputs.optimization_objective,
        recall_value=inputs.optimization_objective_recall_value,
        precision_value=inputs.optimization_objective_precision_value,
        weight=inputs.weight_column_name,
        disable_early_stopping=inputs.disable_early_stopping,
        export=ExportSpec(export.destination_bigquery_uri, export.override_existing_table)
        if export
        else None,
        experiments=tuple(inputs.additional_experiments),
        extension=TrainingExtension(
            budget_s=own.budget_seconds,
            trials=own.trials,
            seed=own.seed,
            max_scoring_cost=own.max_scoring_cost,
            interval_level=own.interval_level,
            drop_null_target=own.drop_null_target,
        ),
    )


def _rule(index: int, item: messages.Transformation, findings: Findings) -> ColumnRule:
    given = [kind for kind in KINDS if getattr(item, kind) is not None]
    if len(given) != 1:
        findings.add(
            f"training_task_inputs.transformations[{index}]",
            f"needs exactly one of {', '.join(KINDS)}",
        )
        return ColumnRule("", "")
    rule = getattr(item, given[0])
    return ColumnRule(
        to_camel(given[0]),
        rule.column_name,
        getattr(rule, "invalid_values_allowed", False),
        getattr(rule, "time_format", ""),
    )


def _new_model(model: resources.Model) -> NewModel:
    return NewModel(
        display_name=model.display_name,
        description=model.description,
        version_description=model.version_description,
        labels=dict(model.labels),
        version_aliases=tuple(model.version_aliases),
    )


# Answers


def render_pipeline(pipeline: Pipeline, node_hour_s: float) -> dict[str, Any]:
    """Show a pipeline as ``TrainingPipeline``."""
    spec = pipeline.spec
    ended_badly = pipeline.state in (PipelineState.FAILED, PipelineState.CANCELLED)
    error = pipeline.error if ended_badly else None
    return members(
        name=pipeline.name,
        displayName=spec.display_name,
        inputDataConfig={"datasetId": spec.dataset_id, **_render_split(spec.split)},
        trainingTaskDefinition=spec.task_definition,
        trainingTaskInputs=_render_task(spec.task),
        trainingTaskMetadata=_render_cost(pipeline, node_hour_s),
        modelToUpload=_render_model(pipeline),
        modelId=spec.model_id,
        parentModel=str(ModelName.parse(spec.parent_model, pipeline.parent))
        if spec.parent_model
        else "",
        state=pipeline.state.value,
        error=members(code=error.code, message=error.message) if error else None,
        createTime=rfc3339(pipeline.created),
        startTime=rfc3339(pipeline.started) if pipeline.started else None,
        endTime=rfc3339(pipeline.ended) if pipeline.ended else None,
        updateTime=rfc3339(pipeline.updated),
        labels=dict(spec.labels),
        encryptionSpec=members(kmsKeyName=spec.kms_key_name),
        rowcast=_render_progress(pipeline),
    )


def _render_split(split: SplitSpec | None) -> dict[str, Any]:
    if split is None:
        return {}
    shown = members(
        key=split.key,
        trainingFraction=split.training,
        validationFraction=split.validation,
        testFraction=split.test,
    )
    return {f"{split.kind}Split": shown}


def _render_task(task: TrainingTask) -> dict[str, Any]:
    own = task.extension
    values = {
        "optimizationObjectiveRecallValue": task.recall_value,
        "optimizationObjectivePrecisionValue": task.precision_value,
    }
    return {
        **members(
            predictionType=task.prediction_type,
            targetColumn=task.target,
            transformations=[_render_rule(rule) for rule in task.transformations],
            trainBudgetMilliNodeHours=str(task.budget_milli_node_hours or ""),
            optimizationObjective=task.objective,
            weightColumnName=task.weight,
            disableEarlyStopping=task.disable_early_stopping,
            additionalExperiments=list(task.experiments),
            rowcast=members(
                budgetSeconds=own.budget_s,
                trials=own.trials,
                seed=own.seed,
                maxScoringCost=own.max_scoring_cost,
                intervalLevel=own.interval_level,
                dropNullTarget=own.drop_null_target,
            ),
        ),
        **{name: value for name, value in values.items() if value is not None},
    }


def _render_rule(rule: ColumnRule) -> dict[str, Any]:
    return {
        rule.kind: members(
            columnName=rule.column,
            invalidValuesAllowed=rule.invalid_values_allowed,
            timeFormat=rule.time_format,
        )
    }


def _render_cost(pipeline: Pipeline, node_hour_s: float) -> dict[str, Any] | None:
    if pipeline.made is None:
        return None
    cost = cost_milli_node_hours(pipeline.spec.task, pipeline.seconds, node_hour_s)
    return {"trainCostMilliNodeHours": str(cost)}


def _render_model(pipeline: Pipeline) -> dict[str, Any]:
    given, made = pipeline.spec.model, pipeline.made
    return members(
        name=pipeline.parent.child("models", made.model_id) if made else "",
        versionId=made.version_id if made else "",
        displayName=given.display_name,
        description=given.description,
        versionDescription=given.version_description,
        labels=dict(given.labels),
        versionAliases=list(given.version_aliases),
    )


def _render_progress(pipeline: Pipeline) -> dict[str, Any]:
    at = pipeline.progress
    return members(
        stage=at.stage if at else "",
        fraction=round(at.fraction, 4) if at else 0,
        message=at.message if at else "",
        secondsLeft=round(at.seconds_left, 1) if at else 0,
        attempts=pipeline.attempts,
        candidates=list(at.candidates) if at else [],
        leaderboard=[
            {name: value for name, value in entry.items() if value is not None}
            for entry in pipeline.leaderboard
        ],
    )
