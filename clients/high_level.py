"""The high-level classes of ``google-cloud-aiplatform``, as a team's code uses them."""

import logging
import time

from steps import HOW, SERVER, refused, step

from google.api_core import exceptions
from google.cloud import aiplatform, bigquery
from google.oauth2.credentials import Credentials

logging.disable(logging.INFO)
aiplatform.init(
    project=SERVER["project"],
    location=SERVER["location"],
    credentials=Credentials(SERVER["token"]),
    **(
        {"api_endpoint": SERVER["grpc"]}
        if HOW == "grpc"
        else {"api_endpoint": SERVER["url"], "api_transport": "rest"}
    ),
)
NAME = f"churn-{int(time.time() * 1000)}"
Job, Model = aiplatform.BatchPredictionJob, aiplatform.Model

with step("dataset"):
    dataset = aiplatform.TabularDataset.create(display_name=NAME, gcs_source=[SERVER["data"]])
    assert aiplatform.TabularDataset(dataset.resource_name).display_name == NAME
    assert [d.name for d in aiplatform.TabularDataset.list(filter=f'display_name="{NAME}"')]

with step("train"):
    training = aiplatform.AutoMLTabularTrainingJob(
        display_name=NAME,
        optimization_prediction_type="classification",
        column_specs={"age": "numeric", "job": "categorical", "income": "auto"},
    )
    model = training.run(
        dataset=dataset,
        target_column="churn",
        budget_milli_node_hours=1000,
        model_display_name=NAME,
    )
    assert training.state.name == "PIPELINE_STATE_SUCCEEDED"

with step("model"):
    assert [m.resource_name for m in Model.list(filter=f'display_name="{NAME}"')] == [
        model.resource_name
    ]
    assert (model.version_id, model.version_aliases) == ("1", ["default"])
    assert [v.version_id for v in model.versioning_registry.list_versions()] == ["1"]
    model.update(description="tried", labels={"env": "test"})
    assert Model(f"{model.resource_name}@1").description == "tried"

with step("evaluations"):
    (evaluation,) = model.list_model_evaluations()
    assert 0.7 < evaluation.metrics["auRoc"] <= 1
    assert model.get_model_evaluation().resource_name == evaluation.resource_name

with step("upload"):
    uploaded = Model.upload(
        display_name=f"{NAME}-uploaded",
        artifact_uri=SERVER["model"],
        serving_container_image_uri="none/needed",
        version_aliases=["brought"],
    )
    assert (uploaded.version_id, "brought" in uploaded.version_aliases) == ("1", True)
    second_version = Model.upload(
        display_name=f"{NAME}-uploaded",
        artifact_uri=SERVER["model"],
        serving_container_image_uri="none/needed",
        parent_model=uploaded.resource_name,
    )
    assert second_version.version_id == "2"

with step("predict"):
    job = model.batch_predict(
        job_display_name=NAME,
        gcs_source=[SERVER["data"]],
        instances_format="csv",
        predictions_format="jsonl",
        gcs_destination_prefix=SERVER["out"],
        machine_type="n1-standard-4",
        starting_replica_count=1,
        max_replica_count=2,
        batch_size=64,
        generate_explanation=True,
        sync=False,
    )
    job.wait()
    assert job.state.name == "JOB_STATE_SUCCEEDED"
    assert job.completion_stats.successful_count == 1200
    second = Job.create(
        job_display_name=f"{NAME}-csv",
        model_name=f"{model.resource_name}@default",
        gcs_source=SERVER["data"],
        instances_format="csv",
        predictions_format="csv",
        gcs_destination_prefix=SERVER["out"],
    )
    assert second.state.name == "JOB_STATE_SUCCEEDED"

with step("results"):
    assert set(dataset.column_names) == {"age", "job", "income", "churn"}
    blobs = {blob.name.rpartition("/")[2]: blob for blob in job.iter_outputs()}
    text = blobs["predictions_1.jsonl"].download_as_bytes()
    assert len(text.splitlines()) == 1200
    assert b"featureAttributions" in text

with step("tables"):
    warehouse = bigquery.Client(project=SERVER["project"], credentials=Credentials(SERVER["token"]))
    warehouse.create_dataset("scores", exists_ok=True)  # with it, there is the project
    to_table = model.batch_predict(
        job_display_name=f"table-{NAME}",
        gcs_source=[SERVER["data"]],
        instances_format="csv",
        predictions_format="bigquery",
        bigquery_destination_prefix=f"bq://{SERVER['project']}",
        generate_explanation=True,
    )
    place = to_table.output_info
    rows = list(to_table.iter_outputs())
    assert len(rows) == 100  # so many unless asked for more
    assert set(rows[0]["predicted_churn"]) == {"classes", "scores"}
    table = f"{place.bigquery_output_dataset}.{place.bigquery_output_table}"
    again = aiplatform.TabularDataset.create(display_name=f"table-{NAME}", bq_source=table)
    assert {"age", "job", "income", "churn"} <= set(again.column_names)
    again.delete()
    to_table.delete()

with step("list"):
    assert [j.resource_name for j in Job.list(filter=f'display_name="{NAME}"')] == [
        job.resource_name
    ]
    assert len(Job.list(filter=f'display_name:"{NAME}*"')) == 2
    assert Job(job.resource_name).display_name == NAME

with step("cancel"):
    third = Job.submit(
        job_display_name=f"{NAME}-cancelled",
        model_name=model.resource_name,
        gcs_source=SERVER["data"],
        instances_format="csv",
        predictions_format="csv",
        gcs_destination_prefix=SERVER["out"],
    )
    try:
        third.cancel()
    except exceptions.FailedPrecondition:
        pass  # it has ended already, which only a small job can
    except exceptions.BadRequest as error:
        assert "has ended" in error.message  # the same, over REST
    while Job(third.resource_name).state.name not in ("JOB_STATE_CANCELLED", "JOB_STATE_SUCCEEDED"):
        time.sleep(0.2)

with step("errors"):
    error = refused(
        exceptions.BadRequest,
        Job.submit,
        job_display_name=NAME,
        model_name=model.resource_name,
        gcs_source="gs://shop/../x",
        instances_format="csv",
        predictions_format="csv",
        gcs_destination_prefix="gs://shop/out",
    )
    assert "input_config.gcs_source.uris[0]" in error.message
    (details,) = error.details  # a message over gRPC, a dictionary over REST
    if not isinstance(details, dict):
        details = {"fieldViolations": [{"field": v.field} for v in details.field_violations]}
    assert [v["field"] for v in details["fieldViolations"]] == ["input_config.gcs_source.uris[0]"]
    refused(exceptions.NotFound, Model, "no-such-model")

with step("delete"):
    for one in (job, second, Job(third.resource_name)):
        one.delete()
    refused(exceptions.NotFound, Job, job.resource_name)
    model.delete()
    refused(exceptions.NotFound, Model, model.resource_name)
    training.delete()
    dataset.delete()
