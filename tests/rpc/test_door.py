"""The official client's low-level classes, unchanged, over a plaintext channel."""

from dataclasses import replace

import grpc
import pytest
from google.api_core import exceptions
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf import field_mask_pb2
from google.rpc import error_details_pb2, status_pb2

from rowcast.core.job import JobState
from rowcast.rpc.bridge import MAX_DETAILS_BYTES
from rowcast.rpc.methods import load_methods
from tests.server.conftest import OPTIONS, TOKEN
from tests.server.fakes import make_model, saved_model

PARENT = "projects/acme/locations/us-central1"
SHOWN = [("authorization", f"Bearer {TOKEN}")]
JOB = {
    "display_name": "nightly",
    "model": f"{PARENT}/models/5520@1",
    "input_config": {"instances_format": "csv", "gcs_source": {"uris": ["gs://b/x.csv"]}},
    "output_config": {
        "predictions_format": "jsonl",
        "gcs_destination": {"output_uri_prefix": "gs://b/out"},
    },
    "generate_explanation": True,
    "labels": {"env": "test"},
}


@pytest.fixture
def client(library, channel):
    """Make a client of a service by name: ``client("Job")``."""
    from importlib import import_module

    def make(service):
        package = import_module(
            f"google.cloud.aiplatform_v1.services.{service.lower()}_service.transports"
        )
        transport = getattr(package, f"{service}ServiceGrpcTransport")(channel=channel)
        return getattr(library, f"{service}ServiceClient")(transport=transport)

    return make


@pytest.fixture
def jobs(client):
    return client("Job")


def test_a_job_goes_through_its_life(jobs, wired, library):
    job = jobs.create_batch_prediction_job(parent=PARENT, batch_prediction_job=JOB, metadata=SHOWN)
    assert job.state == library.JobState.JOB_STATE_PENDING
    assert job.input_config.gcs_source.uris == ["gs://b/x.csv"]
    assert dict(job.labels) == {"env": "test"}
    assert job.generate_explanation
    assert job.create_time.year == 2026
    found = jobs.get_batch_prediction_job(name=job.name, metadata=SHOWN)
    assert found == job
    jobs.cancel_batch_prediction_job(name=job.name, metadata=SHOWN)
    kept = wired.jobs.jobs.popitem()[1]
    assert kept.state is JobState.CANCELLING
    wired.jobs.put(replace(kept, state=JobState.CANCELLED))
    done = jobs.delete_batch_prediction_job(name=job.name, metadata=SHOWN)
    assert done.done()
    assert wired.jobs.jobs == {}
    with pytest.raises(exceptions.NotFound, match="does not exist"):
        jobs.get_batch_prediction_job(name=job.name, metadata=SHOWN)


def test_lists_have_pages_filters_and_masks(jobs):
    for number in range(5):
        jobs.create_batch_prediction_job(
            parent=PARENT,
            batch_prediction_job={**JOB, "display_name": f"job-{number}"},
            metadata=SHOWN,
        )
    request = {"parent": PARENT, "page_size": 2}
    pages = [
        [job.display_name for job in page.batch_prediction_jobs]
        for page in jobs.list_batch_prediction_jobs(request=request, metadata=SHOWN).pages
    ]
    assert pages == [["job-4", "job-3"], ["job-2", "job-1"], ["job-0"]]
    request = {
        "parent": PARENT,
        "filter": 'display_name="job-3" AND state="JOB_STATE_PENDING"',
        "read_mask": field_mask_pb2.FieldMask(paths=["display_name"]),
    }
    (job,) = jobs.list_batch_prediction_jobs(request=request, metadata=SHOWN)
    assert (job.display_name, job.model) == ("job-3", "")


def test_models_and_their_versions(client, wired):
    models = client("Model")
    model = models.get_model(name=f"{PARENT}/models/5520@default", metadata=SHOWN)
    assert (model.display_name, model.version_id) == ("churn", "1")
    wired.store.add_model(make_model(version="2", minutes=1))
    name = f"{PARENT}/models/5520"
    versions = models.list_model_versions(name=name, metadata=SHOWN)
    assert [version.version_id for version in versions] == ["2", "1"]
    models.merge_version_aliases(name=f"{name}@2", version_aliases=["prod"], metadata=SHOWN)
    changed = models.update_model(
        model={"name": name, "description": "tried"},
        update_mask=field_mask_pb2.FieldMask(paths=["description"]),
        metadata=SHOWN,
    )
    assert changed.description == "tried"
    assert models.delete_model_version(name=f"{name}@1", metadata=SHOWN).done()


def test_evaluations_hold_their_metrics_as_structs(client, wired, tmp_path):
    wired.store.add_model(saved_model(tmp_path / "model", id_="77"))
    found = client("Model").list_model_evaluations(parent=f"{PARENT}/models/77@1", metadata=SHOWN)
    assert list(found) == []


def test_a_dataset_and_its_finished_operation(client, library, channel):
    datasets = client("Dataset")
    operation = datasets.create_dataset(
        parent=PARENT,
        dataset={
            "display_name": "bank",
            "metadata_schema_uri": "gs://google-cloud-aiplatform/schema/dataset/metadata/"
            "tabular_1.0.0.yaml",
            "metadata": {"inputConfig": {"gcsSource": {"uri": ["gs://data/bank.csv"]}}},
        },
        metadata=SHOWN,
    )
    dataset = operation.result()
    assert isinstance(dataset, library.Dataset)
    assert dataset.metadata["inputConfig"]["gcsSource"]["uri"] == ["gs://data/bank.csv"]
    assert datasets.get_dataset(name=dataset.name, metadata=SHOWN).display_name == "bank"

    stub = operations_pb2_grpc.OperationsStub(channel)
    name = operation.operation.name
    for request in (
        stub.GetOperation(operations_pb2.GetOperationRequest(name=name), metadata=SHOWN),
        stub.WaitOperation(operations_pb2.WaitOperationRequest(name=name), metadata=SHOWN),
    ):
        assert (request.name, request.done) == (name, True)
    listed = stub.ListOperations(
        operations_pb2.ListOperationsRequest(name=PARENT, page_size=10), metadata=SHOWN
    )
    assert [found.name for found in listed.operations] == [name]
    stub.CancelOperation(operations_pb2.CancelOperationRequest(name=name), metadata=SHOWN)
    stub.DeleteOperation(operations_pb2.DeleteOperationRequest(name=name), metadata=SHOWN)
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetOperation(operations_pb2.GetOperationRequest(name=name), metadata=SHOWN)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_training_pipeline_is_kept_with_its_inputs(client, library):
    datasets, pipelines = client("Dataset"), client("Pipeline")
    created = datasets.create_dataset(
        parent=PARENT,
        dataset={
            "display_name": "bank",
            "metadata_schema_uri": "gs://google-cloud-aiplatform/schema/dataset/metadata/"
            "tabular_1.0.0.yaml",
            "metadata": {"inputConfig": {"gcsSource": {"uri": ["gs://data/bank.csv"]}}},
        },
        metadata=SHOWN,
    ).result()
    pipeline = pipelines.create_training_pipeline(
        parent=PARENT,
        training_pipeline={
            "display_name": "bank",
            "input_data_config": {"dataset_id": created.name.rpartition("/")[2]},
            "training_task_definition": "gs://google-cloud-aiplatform/schema/trainingjob/"
            "definition/automl_tabular_1.0.0.yaml",
            "training_task_inputs": {
                "targetColumn": "y",
                "predictionType": "classification",
                "trainBudgetMilliNodeHours": 1000.0,
                "transformations": [{"auto": {"column_name": "age"}}],
                "weightColumnName": None,
            },
            "model_to_upload": {"display_name": "bank"},
        },
        metadata=SHOWN,
    )
    assert pipeline.state == library.PipelineState.PIPELINE_STATE_PENDING
    assert pipeline.training_task_inputs["targetColumn"] == "y"


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", TOKEN)],
        [("x-goog-api-key", "wrong")],
    ],
)
def test_no_method_answers_without_the_token(channel, metadata):
    methods = load_methods()
    for method in methods:
        call = channel.unary_unary(
            method.path, method.request.SerializeToString, method.response.FromString
        )
        message = method.request()
        _fill(message, method.rules[0]["uri"])
        with pytest.raises(grpc.RpcError) as refused:
            call(message, metadata=metadata)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED, method.name
    assert len(methods) > 80


def _fill(message, template):
    """Name a resource, as the method's rule wants it."""
    import re

    field, form = re.search(r"\{([\w.]+)=([^}]*)\}", template).groups()
    *parents, last = field.split(".")
    for parent in parents:
        message = getattr(message, parent)
    setattr(message, last, form.replace("*", "us-central1"))


def test_the_token_opens_as_api_key(jobs):
    assert not list(
        jobs.list_batch_prediction_jobs(parent=PARENT, metadata=[("x-goog-api-key", TOKEN)])
    )


def test_a_refusal_lists_every_violation(jobs):
    with pytest.raises(exceptions.InvalidArgument) as refused:
        jobs.create_batch_prediction_job(
            parent=PARENT, batch_prediction_job={"display_name": ""}, metadata=SHOWN
        )
    assert "display_name" in refused.value.message
    (details,) = refused.value.details
    assert isinstance(details, error_details_pb2.BadRequest)
    assert {"display_name", "model"} <= {found.field for found in details.field_violations}


def test_many_violations_fit_into_the_trailing_metadata(jobs, channel):
    labels = {f"{'k' * 60}{number}": "V" * 100 for number in range(400)}
    with pytest.raises(exceptions.InvalidArgument) as refused:
        jobs.create_batch_prediction_job(
            parent=PARENT, batch_prediction_job={**JOB, "labels": labels, "model": ""},
            metadata=SHOWN,
        )  # fmt: skip
    trailing = dict(refused.value.response.trailing_metadata())
    content = trailing["grpc-status-details-bin"]
    assert len(content) < 2 * MAX_DETAILS_BYTES
    assert status_pb2.Status.FromString(content).code == 3


@pytest.mark.parametrize("name", ["", "jobs/1", f"{PARENT}/batchPredictionJobs/1/x", "../1"])
def test_a_name_of_another_form_is_refused(jobs, name):
    with pytest.raises(exceptions.InvalidArgument, match="names no resource"):
        jobs.get_batch_prediction_job(name=name, metadata=SHOWN)


def test_methods_that_are_not_offered_say_so(jobs, client):
    with pytest.raises(exceptions.MethodNotImplemented, match=r"JobService\.ListCustomJobs"):
        jobs.list_custom_jobs(parent=PARENT, metadata=SHOWN)
    with pytest.raises(exceptions.MethodNotImplemented, match=r"ModelService\.ExportModel"):
        client("Model").export_model(name=f"{PARENT}/models/5520", metadata=SHOWN)


def test_unknown_services_are_unimplemented(channel):
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary("/nowhere.Service/Nothing")(b"", metadata=SHOWN)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_bytes_that_are_no_message_are_refused(channel):
    call = channel.unary_unary("/google.cloud.aiplatform.v1.JobService/ListBatchPredictionJobs")
    with pytest.raises(grpc.RpcError) as refused:
        call(b"\xff", metadata=SHOWN)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no ListBatchPredictionJobsRequest" in refused.value.details()


def test_a_request_beyond_the_limit_is_refused(jobs):
    with pytest.raises(exceptions.ResourceExhausted):
        jobs.create_batch_prediction_job(
            parent=PARENT,
            batch_prediction_job={**JOB, "display_name": "x" * OPTIONS.max_request_bytes},
            metadata=SHOWN,
        )


def test_what_breaks_inside_shows_a_reference_only(jobs, wired):
    def fail(*args, **kwargs):
        raise RuntimeError("/secret/path")

    wired.jobs.get = fail
    with pytest.raises(exceptions.InternalServerError) as broken:
        jobs.get_batch_prediction_job(name=f"{PARENT}/batchPredictionJobs/1", metadata=SHOWN)
    assert "/secret" not in str(broken.value)
    assert "internal error" in str(broken.value)
