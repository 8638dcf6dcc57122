"""Models and evaluations as the API shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rowcast.core.names import rfc3339
from rowcast.server.reading import members
from rowcast.server.updates import etag_of

if TYPE_CHECKING:
    from rowcast.registry.evaluations import Evaluation, Slice
    from rowcast.registry.service import Facts
    from rowcast.stores import Model

MODEL_FORMATS = ("csv", "jsonl", "bigquery", "parquet")
_METRICS_SCHEMA = "gs://google-cloud-aiplatform/schema/modelevaluation/{}_metrics_1.0.0.yaml"


def render_model(model: Model, facts: Facts | None) -> dict[str, Any]:
    """Show a model version as ``Model``; without ``facts`` its files are damaged."""
    created, updated = rfc3339(model.created), rfc3339(model.updated or model.created)
    return members(
        name=model.name,
        displayName=model.display_name,
        description=model.description,
        versionId=model.version_id,
        versionAliases=list(model.aliases),
        versionDescription=model.version_description,
        trainingPipeline=model.pipeline,
        createTime=rfc3339(model.model_created or model.created),
        updateTime=updated,
        versionCreateTime=created,
        versionUpdateTime=updated,
        labels=dict(model.labels or {}),
        etag=model_etag(model),
        supportedDeploymentResourcesTypes=["DEDICATED_RESOURCES"],
        supportedInputStorageFormats=list(MODEL_FORMATS),
        supportedOutputStorageFormats=list(MODEL_FORMATS),
        dataStats=_data_stats(facts) if facts else None,
        explanationSpec=facts.explanation_spec if facts else None,
        rowcast=_extension(facts) if facts else {"damaged": True},
    )


def model_etag(model: Model) -> str:
    """The etag of a model version."""
    return etag_of(
        model.name,
        model.version_id,
        model.display_name,
        model.description,
        model.labels,
        model.version_description,
    )


def _data_stats(facts: Facts) -> dict[str, str]:
    return {f"{name}DataItemsCount": str(count) for name, count in facts.split.items() if count}


def _extension(facts: Facts) -> dict[str, Any]:
    return members(
        targetColumn=facts.target,
        predictionType=facts.prediction_type,
        classes=list(facts.classes),
        features=[
            members(name=feature.name, kind=feature.kind, nullable=feature.nullable)
            for feature in facts.features
        ],
        droppedColumns=facts.dropped,
        warnings=list(facts.warnings),
    )


def render_evaluation(
    model: Model, evaluation: Evaluation, *, further: bool = False
) -> dict[str, Any]:
    """Show an evaluation as ``ModelEvaluation``; ``further`` with curves and the like."""
    importance = evaluation.importance
    return members(
        name=_evaluation_name(model, evaluation),
        metricsSchemaUri=_METRICS_SCHEMA.format(evaluation.prediction_type),
        metrics=evaluation.metrics,
        createTime=rfc3339(evaluation.created),
        sliceDimensions=list(dict.fromkeys(one.dimension for one in evaluation.slices)),
        modelExplanation=members(
            meanAttributions=[{"featureAttributions": importance}] if importance else []
        ),
        rowcast=evaluation.further if further else None,
    )


def render_slice(model: Model, evaluation: Evaluation, one: Slice) -> dict[str, Any]:
    """Show a slice as ``ModelEvaluationSlice``."""
    return members(
        name=f"{_evaluation_name(model, evaluation)}/slices/{one.id}",
        slice={"dimension": one.dimension, "value": one.value},
        metricsSchemaUri=_METRICS_SCHEMA.format(evaluation.prediction_type),
        metrics=one.metrics,
        createTime=rfc3339(evaluation.created),
    )


def _evaluation_name(model: Model, evaluation: Evaluation) -> str:
    return f"{model.name}/evaluations/{evaluation.id}"
