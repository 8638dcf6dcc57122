"""The low-level clients of ``google-cloud-aiplatform``, one for each service."""

import time

from steps import HOW, SERVER, refused, step

import grpc
from google.api_core import exceptions
from google.cloud import aiplatform_v1 as api
from google.oauth2.credentials import Credentials

PARENT = f"projects/{SERVER['project']}/locations/{SERVER['location']}"
NAME = f"low-{int(time.time() * 1000)}"
PLAINTEXT = HOW == "grpc" and SERVER["authority"] is None
SHOWN = [("authorization", f"Bearer {SERVER['token']}")] if PLAINTEXT else []


def client(service):
    """Make the client of a service, over the transport that was asked for."""
    kind = getattr(api, f"{service}ServiceClient")
    if PLAINTEXT:
        channel = grpc.insecure_channel(SERVER["grpc"])
        transport = kind.get_transport_class("grpc")(channel=channel, host=SERVER["grpc"])
        return kind(transport=transport)
    address = SERVER["grpc"] if HOW == "grpc" else SERVER["url"]
    return kind(
        credentials=Credentials(SERVER["token"]),
        transport=HOW,
        client_options={"api_endpoint": address},
    )


datasets, pipelines, models, jobs = map(client, ("Dataset", "Pipeline", "Model", "Job"))


def body(**changes):
    """Write a job's message."""
    return {
        "display_name": NAME,
        "model": model.name,
        "input_config": {"instances_format": "csv", "gcs_source": {"uris": [SERVER["data"]]}},
        "output_config": {
            "predictions_format": "csv",
            "gcs_destination": {"output_uri_prefix": SERVER["out"]},
        },
        **changes,
    }


with step("dataset"):
    dataset = datasets.create_dataset(
        parent=PARENT,
        dataset={
            "display_name": NAME,
            "metadata_schema_uri": "gs://google-cloud-aiplatform/schema/dataset/metadata/"
            "tabular_1.0.0.yaml",
            "metadata": {"inputConfig": {"gcsSource": {"uri": [SERVER["data"]]}}},
        },
        metadata=SHOWN,
    ).result()
    assert datasets.get_dataset(name=dataset.name, metadata=SHOWN).display_name == NAME

with step("train"):
    pipeline = pipelines.create_training_pipeline(
        parent=PARENT,
        training_pipeline={
            "display_name": NAME,
            "input_data_config": {"dataset_id": dataset.name.rpartition("/")[2]},
            "training_task_definition": "gs://google-cloud-aiplatform/schema/trainingjob/"
            "definition/automl_tabular_1.0.0.yaml",
            "training_task_inputs": {
                "targetColumn": "churn",
                "predictionType": "classification",
                "trainBudgetMilliNodeHours": 1000,
            },
            "model_to_upload": {"display_name": NAME},
        },
        metadata=SHOWN,
    )
    while pipeline.state < api.PipelineState.PIPELINE_STATE_SUCCEEDED:
        time.sleep(0.5)
        pipeline = pipelines.get_training_pipeline(name=pipeline.name, metadata=SHOWN)
    assert pipeline.state == api.PipelineState.PIPELINE_STATE_SUCCEEDED, pipeline.error

with step("model"):
    model = models.get_model(name=pipeline.model_to_upload.name, metadata=SHOWN)
    request = {"parent": PARENT, "filter": f'display_name="{NAME}"'}
    assert [m.name for m in models.list_models(request=request, metadata=SHOWN)] == [model.name]
    versions = models.list_model_versions(name=model.name, metadata=SHOWN)
    assert [version.version_id for version in versions] == ["1"]
    changed = models.update_model(
        model={"name": model.name, "description": "tried"},
        update_mask={"paths": ["description"]},
        metadata=SHOWN,
    )
    assert changed.description == "tried"

with step("evaluations"):
    (evaluation,) = models.list_model_evaluations(parent=model.name, metadata=SHOWN)
    assert evaluation.metrics["auRoc"] > 0.7
    slices = models.list_model_evaluation_slices(parent=evaluation.name, metadata=SHOWN)
    assert {found.slice_.value for found in slices} == {"no", "yes"}

with step("upload"):
    answer = models.upload_model(
        parent=PARENT,
        model={"display_name": f"{NAME}-uploaded", "artifact_uri": SERVER["model"]},
        metadata=SHOWN,
    ).result()
    uploaded = models.get_model(name=answer.model, metadata=SHOWN)
    assert uploaded.display_name == f"{NAME}-uploaded"

with step("predict"):
    job = jobs.create_batch_prediction_job(
        parent=PARENT, batch_prediction_job=body(), metadata=SHOWN
    )
    assert job.state == api.JobState.JOB_STATE_PENDING
    while job.state < api.JobState.JOB_STATE_SUCCEEDED:
        time.sleep(0.2)
        job = jobs.get_batch_prediction_job(name=job.name, metadata=SHOWN)
    assert job.state == api.JobState.JOB_STATE_SUCCEEDED, job.error
    assert job.completion_stats.successful_count == 1200
    assert job.output_info.gcs_output_directory.startswith(SERVER["out"])

with step("list"):
    request = {
        "parent": PARENT,
        "filter": f'display_name="{NAME}" AND state="JOB_STATE_SUCCEEDED"',
        "page_size": 1,
        "read_mask": {"paths": ["display_name"]},
    }
    (found,) = jobs.list_batch_prediction_jobs(request=request, metadata=SHOWN)
    assert (found.name, found.model) == (job.name, "")

with step("cancel"):
    stopped = jobs.create_batch_prediction_job(
        parent=PARENT, batch_prediction_job=body(display_name=f"{NAME}-stopped"), metadata=SHOWN
    )
    jobs.cancel_batch_prediction_job(name=stopped.name, metadata=SHOWN)
    while stopped.state not in (
        api.JobState.JOB_STATE_CANCELLED,
        api.JobState.JOB_STATE_SUCCEEDED,
    ):
        time.sleep(0.2)
        stopped = jobs.get_batch_prediction_job(name=stopped.name, metadata=SHOWN)

with step("errors"):
    error = refused(
        exceptions.BadRequest,
        jobs.create_batch_prediction_job,
        parent=PARENT,
        batch_prediction_job={"display_name": ""},
        metadata=SHOWN,
    )
    (details,) = error.details  # a message over gRPC, a dictionary over REST
    if not isinstance(details, dict):
        details = {"fieldViolations": [{"field": v.field} for v in details.field_violations]}
    fields = {violation["field"] for violation in details["fieldViolations"]}
    assert {"display_name", "model", "input_config.instances_format"} <= fields
    refused(exceptions.NotFound, models.get_model, name=f"{PARENT}/models/none", metadata=SHOWN)
    refused(
        exceptions.BadRequest,
        jobs.cancel_batch_prediction_job,
        name=job.name,
        metadata=SHOWN,
    )

with step("delete"):
    for name in (job.name, stopped.name):
        jobs.delete_batch_prediction_job(name=name, metadata=SHOWN).result()
    models.delete_model(name=model.name, metadata=SHOWN).result()
    pipelines.delete_training_pipeline(name=pipeline.name, metadata=SHOWN).result()
    datasets.delete_dataset(name=dataset.name, metadata=SHOWN).result()
    refused(exceptions.NotFound, jobs.get_batch_prediction_job, name=job.name, metadata=SHOWN)
