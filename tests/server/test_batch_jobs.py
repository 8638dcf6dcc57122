import json
from dataclasses import replace
from datetime import timedelta

import pytest

from rowcast.core.job import Extension, JobState, Stats, Status
from rowcast.core.names import Parent

from .fakes import PARENT, START, make_model, make_spec

AT = "/v1/projects/acme/locations/us-central1"
JOBS = f"{AT}/batchPredictionJobs"
REQUEST = {
    "displayName": "score-2026-01",
    "model": "projects/acme/locations/us-central1/models/5520@1",
    "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["s3://data/in/part-*.csv"]}},
    "outputConfig": {
        "predictionsFormat": "jsonl",
        "gcsDestination": {"outputUriPrefix": "gs://acme/scores"},
    },
    "dedicatedResources": {
        "machineSpec": {"machineType": "n1-standard-4"},
        "startingReplicaCount": 2,
        "maxReplicaCount": 6,
    },
    "manualBatchTuningParameters": {"batchSize": 256},
    "generateExplanation": True,
}


def violations(answer):
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")
    (detail,) = error["details"]
    assert detail["@type"] == "type.googleapis.com/google.rpc.BadRequest"
    return {item["field"]: item["description"] for item in detail["fieldViolations"]}


def refused(answer, code, status):
    assert answer.status_code == code, answer.text
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (code, status)
    return error["message"]


def changed(**members):
    return {**REQUEST, **members}


@pytest.fixture
def add(wired):
    """Put a job into the store as it is."""

    def put(**changes):
        job = wired.jobs.create(PARENT, make_spec())
        return wired.jobs.put(replace(job, **changes))

    return put


# create


def test_create_answers_the_pending_job_with_its_input_fields(client):
    answer = client.post(JOBS, json=REQUEST)
    assert answer.status_code == 200
    assert answer.json() == {
        **REQUEST,
        "name": "projects/acme/locations/us-central1/batchPredictionJobs/4417450692310990848",
        "model": "projects/acme/locations/us-central1/models/5520",
        "modelVersionId": "1",
        "state": "JOB_STATE_PENDING",
        "createTime": "2026-01-31T08:15:30.123456Z",
        "updateTime": "2026-01-31T08:15:30.123456Z",
    }


def test_snake_case_bodies_are_read_like_camel_case_ones(client):
    body = {
        "display_name": "score-2026-01",
        "model": "5520",
        "input_config": {"instances_format": "csv", "gcs_source": {"uris": ["gs://b/x"]}},
        "output_config": {
            "predictions_format": "csv",
            "gcs_destination": {"output_uri_prefix": "gs://b/o"},
        },
        "dedicated_resources": {
            "machine_spec": {"machine_type": "n1", "accelerator_count": "0"},
            "max_replica_count": "4",
        },
    }
    job = client.post(JOBS, json=body).json()
    assert job["displayName"] == "score-2026-01"
    assert job["dedicatedResources"] == {
        "machineSpec": {"machineType": "n1"},
        "startingReplicaCount": 1,
        "maxReplicaCount": 4,
    }


@pytest.mark.parametrize("name", ["5520", "5520@1", "5520@default", REQUEST["model"]])
def test_every_form_of_a_model_name_is_taken(client, name):
    job = client.post(JOBS, json=changed(model=name)).json()
    assert job["model"] == "projects/acme/locations/us-central1/models/5520"


def test_an_unknown_model_is_not_found(client):
    refused(client.post(JOBS, json=changed(model="77")), 404, "NOT_FOUND")


@pytest.mark.parametrize("content_type", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_the_content_type_does_not_matter(client, content_type):
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = client.post(JOBS, content=json.dumps(REQUEST), headers=headers)
    assert answer.status_code == 200


SAMPLE = b"""{
  "displayName": "JOB_NAME",
  "model": "5520",
  "inputConfig": {
    "instancesFormat": "csv",
    "gcsSource": {
      "uris": ["gs://bucket/a,]b.csv"]
    },
  },
  "outputConfig": {
    "predictionsFormat": "csv",
    "gcsDestination": {
      "outputUriPrefix": "gs://bucket/out"
    }
  },
  "dedicatedResources": {
    "machineSpec": {
      "machineType": "n1-standard-2",
      "acceleratorCount": "0"
    },
    "startingReplicaCount": 1,
    "maxReplicaCount": 2
  },
  "generateExplanation": false
}"""


def test_the_published_sample_body_with_its_trailing_comma_and_bare_model_id_is_taken(client):
    job = client.post(JOBS, content=SAMPLE).json()
    assert job["inputConfig"]["gcsSource"]["uris"] == ["gs://bucket/a,]b.csv"]
    assert "generateExplanation" not in job
    assert "acceleratorCount" not in job["dedicatedResources"]["machineSpec"]


def test_query_parameters_of_official_clients_are_ignored(client):
    query = "%24alt=json%3Benum-encoding%3Dint&alt=json&prettyPrint=true&fields=name&key=abc"
    assert client.post(f"{JOBS}?{query}", json=REQUEST).status_code == 200
    assert client.get(f"{JOBS}?{query}").status_code == 200


def test_the_beta_path_is_an_alias(client):
    name = client.post(JOBS.replace("/v1/", "/v1beta1/"), json=REQUEST).json()["name"]
    assert client.get(f"/v1/{name}").status_code == 200
    assert client.get(f"/v1beta1/{name}").status_code == 200


def test_nulls_are_unset_and_output_only_fields_are_ignored(client):
    body = changed(
        labels=None,
        generateExplanation=None,
        dedicatedResources={"machineSpec": {"machineType": "n1"}, "maxReplicaCount": None},
        name="projects/x",
        state="NONSENSE",
        error={"code": "x"},
        create_time=5,
        rowcast={"preflight": 1, "errorCauses": [2]},
    )
    job = client.post(JOBS, json=body).json()
    assert job["state"] == "JOB_STATE_PENDING"
    assert job["dedicatedResources"]["maxReplicaCount"] == 10
    assert None not in job.values()


def test_accelerator_types_are_read_by_name_and_number_and_answered_by_name(client):
    def machine(kind):
        spec = {"machineType": "n1", "acceleratorType": kind, "acceleratorCount": 1}
        return changed(dedicatedResources={"machineSpec": spec})

    for given in (5, "NVIDIA_TESLA_T4"):
        job = client.post(JOBS, json=machine(given)).json()
        shown = job["dedicatedResources"]["machineSpec"]["acceleratorType"]
        assert shown == "NVIDIA_TESLA_T4"
    field = "dedicated_resources.machine_spec.accelerator_type"
    assert list(violations(client.post(JOBS, json=machine("T4")))) == [field]
    assert list(violations(client.post(JOBS, json=machine(99)))) == [field]


def test_stored_and_echoed_fields_come_back(client):
    echoed = {
        "serviceAccount": "robot@acme",
        "labels": {"env": "test", "empty": ""},
        "encryptionSpec": {"kmsKeyName": "projects/p/key"},
        "disableContainerLogging": True,
        "modelMonitoringConfig": {"anything": {"at_all": [1, None]}},
        "instanceConfig": {"keyField": "id", "excludedFields": ["a"]},
        "explanationSpec": {
            "parameters": {"sampledShapleyAttribution": {"pathCount": 5}, "topK": 2},
            "metadata": {"inputs": {"some_Column": {"inputBaselines": [39]}}},
        },
    }
    job = client.post(JOBS, json=changed(**echoed)).json()
    assert {name: job[name] for name in echoed} == echoed


def test_every_violation_is_listed_at_once(client):
    body = {
        "displayName": 5,
        "labels": {"env": 1, "ok": "yes"},
        "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://b/x", 7], "uri": 1}},
        "outputConfig": {"predictionsFormat": "tf-record", "gcsDestination": []},
        "dedicatedResources": {"startingReplicaCount": 6, "maxReplicaCount": 4},
        "manualBatchTuningParameters": {"batchSize": "many"},
        "generateExplanation": "yes",
        "fooBar": None,
        "rowcast": {"mergeOutput": 1, "row_number_columns": "n"},
    }
    found = violations(client.post(JOBS, json=body))
    assert found == {
        "display_name": "must be a string, not a number",
        "labels[env]": "must be a string, not a number",
        "input_config.gcs_source.uris[1]": "must be a string, not a number",
        "input_config.gcs_source.uri": "unknown field; did you mean uris?",
        "output_config.gcs_destination": "must be an object, not an array",
        "output_config.predictions_format": "is not supported by the model",
        "dedicated_resources.starting_replica_count": "must not exceed max_replica_count",
        "manual_batch_tuning_parameters.batch_size": "must be an integer",
        "generate_explanation": "must be a boolean, not a string",
        "foo_bar": "unknown field",
        "rowcast.merge_output": "must be a boolean, not a number",
        "rowcast.row_number_columns": "unknown field; did you mean row_number_column?",
        "model": "is required",
    }


def test_missing_fields_are_listed(client):
    assert set(violations(client.post(JOBS, content=b""))) == {
        "display_name",
        "model",
        "input_config.instances_format",
        "input_config.gcs_source.uris",
        "output_config.predictions_format",
        "output_config.gcs_destination.output_uri_prefix",
    }


def test_a_refused_request_about_an_unknown_model_still_lists_its_violations(client):
    found = violations(client.post(JOBS, json=changed(model="77", nonsense=1)))
    assert found == {"nonsense": "unknown field"}


BIGQUERY_SOURCE = {
    "instancesFormat": "bigquery",
    "bigquerySource": {"inputUri": "bq://acme.data.rows"},
}


@pytest.mark.parametrize(
    ("input_config", "field"),
    [
        (
            {**BIGQUERY_SOURCE, "bigquerySource": {"inputUri": "bq://acme.rows"}},
            "input_config.bigquery_source.input_uri",
        ),
        ({**BIGQUERY_SOURCE, "instancesFormat": "csv"}, "input_config.bigquery_source"),
        ({**BIGQUERY_SOURCE, "gcsSource": {"uris": ["gs://b/x"]}}, "input_config"),
        (
            {"instancesFormat": "bigquery", "gcsSource": {"uris": ["gs://b/x"]}},
            "input_config.gcs_source",
        ),
        ({"instancesFormat": "csv"}, "input_config.gcs_source.uris"),
        (
            {"instancesFormat": "tf-record", "gcsSource": {"uris": ["gs://b/x"]}},
            "input_config.instances_format",
        ),
    ],
)
def test_a_source_that_is_not_one_or_not_of_the_format_is_refused(client, input_config, field):
    found = violations(client.post(JOBS, json=changed(inputConfig=input_config)))
    assert field in found
    assert "input_config.gcs_source.uris" not in found or "bigquerySource" not in input_config


def test_a_table_as_destination_is_refused_in_the_platforms_words(client):
    output = {"predictionsFormat": "bigquery", "bigqueryDestination": {"outputUri": "bq://p.d.t"}}
    answer = client.post(JOBS, json=changed(outputConfig=output))
    field = "output_config.bigquery_destination.output_uri"
    assert violations(answer)[field] == "Table name is not allowed in Bigquery output uri."
    assert "Table name is not allowed in Bigquery output uri." in answer.json()["error"]["message"]


@pytest.mark.parametrize("uri", ["bq://p", "bq://p.d"])
def test_tables_as_source_and_destination_are_echoed(client, uri):
    output = {"predictionsFormat": "bigquery", "bigqueryDestination": {"outputUri": uri}}
    made = client.post(JOBS, json=changed(inputConfig=BIGQUERY_SOURCE, outputConfig=output)).json()
    assert made["inputConfig"] == BIGQUERY_SOURCE
    assert made["outputConfig"] == output


def test_a_container_of_ones_own_is_not_offered(client):
    body = changed(unmanagedContainerModel={"artifactUri": "gs://b/m"})
    refused(client.post(JOBS, json=body), 501, "UNIMPLEMENTED")


def test_other_attribution_methods_are_refused(client):
    spec = {"parameters": {"integratedGradientsAttribution": {"stepCount": 5}}}
    found = violations(client.post(JOBS, json=changed(explanationSpec=spec)))
    assert list(found) == ["explanation_spec.parameters.integrated_gradients_attribution"]


def test_a_repeated_request_id_answers_the_first_job(client):
    first = client.post(f"{JOBS}?requestId=r1", json=REQUEST).json()
    assert client.post(f"{JOBS}?request_id=r1", json=REQUEST).json() == first
    in_body = client.post(JOBS, json=changed(rowcast={"requestId": "r1"})).json()
    assert in_body == first
    both = client.post(f"{JOBS}?requestId=r2", json=changed(rowcast={"requestId": "r1"}))
    assert list(violations(both)) == ["rowcast.request_id"]


def test_validate_only_answers_the_request_and_a_report_and_starts_nothing(client, wired):
    answer = client.post(JOBS, json=changed(rowcast={"validateOnly": True}))
    assert answer.status_code == 200
    assert answer.json() == {
        **REQUEST,
        "model": "projects/acme/locations/us-central1/models/5520",
        "rowcast": {"preflight": {"missingColumns": ["age"], "rowsRead": 100}},
    }
    assert wired.jobs.jobs == {}


def test_validate_only_refuses_as_create_does(client):
    body = {"rowcast": {"validateOnly": True, "x": 1}, "displayName": "n"}
    found = violations(client.post(JOBS, json=body))
    assert {"rowcast.x", "model", "input_config.instances_format"} <= set(found)
    assert "model" in violations(client.post(JOBS, json={"rowcast": {"validateOnly": True}}))


@pytest.mark.parametrize(
    ("extension", "name"),
    [
        ({"outputName": "scores.csv"}, "scores.csv"),
        ({"mergeOutput": True}, "predictions.jsonl"),
        ({"mergeOutput": True, "outputName": "one.jsonl"}, "one.jsonl"),
        ({"merge_output": False}, None),
    ],
)
def test_one_output_object_can_be_asked_for(client, wired, extension, name):
    client.post(JOBS, json=changed(rowcast=extension))
    (job,) = wired.jobs.jobs.values()
    assert job.spec.extension == Extension(output_name=name)


def test_a_retry_may_leave_out_what_the_earlier_job_has(client, wired):
    body = {"rowcast": {"retryOf": "projects/acme/locations/us-central1/batchPredictionJobs/1"}}
    assert client.post(JOBS, json=body).status_code == 200
    (job,) = wired.jobs.jobs.values()
    assert job.spec.extension.retry_of == body["rowcast"]["retryOf"]
    body["rowcast"]["mergeOutput"] = True
    assert list(violations(client.post(JOBS, json=body))) == ["rowcast.merge_output"]


def test_a_body_that_is_too_long_is_refused(client):
    message = refused(client.post(JOBS, content=b" " * 200_001), 400, "INVALID_ARGUMENT")
    assert "200,000" in message


def test_violations_beyond_a_hundred_are_counted(client):
    answer = client.post(JOBS, json=changed(**{f"field{i}": 1 for i in range(5000)}))
    assert len(violations(answer)) == 100
    assert answer.json()["error"]["message"].endswith("and 4900 more")


# get, cancel, delete


def test_a_finished_job_shows_everything(client, add):
    job = add(
        state=JobState.FAILED,
        started=START + timedelta(seconds=1),
        ended=START + timedelta(minutes=5, microseconds=4),
        error=Status(3, "It lacks the column 'age'."),
        partial_failures=tuple(Status(5, f"object {i}") for i in range(30)),
        stats=Stats(successful=99987, failed=13, incomplete=-1),
        output_directory="gs://b/out/prediction-churn-2026-01-31T08:15:30.123456Z",
        replica_hours=0.42,
        causes={"age: not a number": 3, "rare": 10},
    )
    shown = client.get(f"/v1/{job.name}").json()
    assert len(shown.pop("partialFailures")) == 20
    assert shown == {
        "name": job.name,
        "displayName": "nightly",
        "model": "projects/acme/locations/us-central1/models/5520",
        "modelVersionId": "1",
        "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://b/x.csv"]}},
        "outputConfig": {
            "predictionsFormat": "csv",
            "gcsDestination": {"outputUriPrefix": "gs://b/out"},
        },
        "outputInfo": {
            "gcsOutputDirectory": "gs://b/out/prediction-churn-2026-01-31T08:15:30.123456Z"
        },
        "state": "JOB_STATE_FAILED",
        "error": {"code": 3, "message": "It lacks the column 'age'."},
        "completionStats": {
            "successfulCount": "99987",
            "failedCount": "13",
            "incompleteCount": "-1",
        },
        "resourcesConsumed": {"replicaHours": 0.42},
        "createTime": "2026-01-31T08:15:30.123456Z",
        "startTime": "2026-01-31T08:15:31.123456Z",
        "endTime": "2026-01-31T08:20:30.123460Z",
        "updateTime": "2026-01-31T08:15:30.123456Z",
        "rowcast": {
            "errorCauses": [
                {"cause": "rare", "count": "10"},
                {"cause": "age: not a number", "count": "3"},
            ]
        },
    }


def test_counts_of_zero_are_left_out_and_an_error_is_shown_at_the_end_only(client, add):
    job = add(state=JobState.CANCELLING, stats=Stats(5, 0, 0), error=Status(1, "CANCELED"))
    shown = client.get(f"/v1/{job.name}").json()
    assert shown["completionStats"] == {"successfulCount": "5"}
    assert "error" not in shown


def test_jobs_of_other_projects_and_locations_are_not_found(client, wired, add):
    job = add()
    for at in ("projects/other/locations/us-central1", "projects/acme/locations/europe-west4"):
        path = f"/v1/{at}/batchPredictionJobs/{job.id}"
        refused(client.get(path), 404, "NOT_FOUND")
        refused(client.post(f"{path}:cancel"), 404, "NOT_FOUND")
        refused(client.delete(path), 404, "NOT_FOUND")
    assert wired.jobs.get(PARENT, job.id) == job


@pytest.mark.parametrize("body", [b"{}", b"", b"not json"])
def test_cancel_answers_an_empty_object(client, wired, add, body):
    job = add(state=JobState.RUNNING)
    for _ in range(2):
        answer = client.post(f"/v1/{job.name}:cancel", content=body)
        assert (answer.status_code, answer.json()) == (200, {})
    assert wired.jobs.get(PARENT, job.id).state is JobState.CANCELLING


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED])
def test_a_finished_job_cannot_be_cancelled(client, add, state):
    job = add(state=state)
    refused(client.post(f"/v1/{job.name}:cancel", json={}), 400, "FAILED_PRECONDITION")


def test_only_a_finished_job_can_be_deleted(client, add):
    job = add(state=JobState.RUNNING)
    refused(client.delete(f"/v1/{job.name}"), 400, "FAILED_PRECONDITION")


def test_deleting_answers_a_finished_operation(client, add):
    job = add(state=JobState.SUCCEEDED)
    operation = client.delete(f"/v1/{job.name}").json()
    times = operation["metadata"].pop("genericMetadata")
    assert times["createTime"] <= times["updateTime"]
    assert operation == {
        "name": operation["name"],
        "metadata": {
            "@type": "type.googleapis.com/google.cloud.aiplatform.v1.DeleteOperationMetadata"
        },
        "done": True,
        "response": {"@type": "type.googleapis.com/google.protobuf.Empty"},
    }
    assert operation["name"].startswith("projects/acme/locations/us-central1/operations/")
    refused(client.get(f"/v1/{job.name}"), 404, "NOT_FOUND")


@pytest.mark.parametrize(
    "id_", ["%00", "%FF", "a%2Fb", "%0A", "..", "%2e%2e", "'; --", "x" * 2000, "{}", "%F0%9F%98%80"]
)
def test_odd_ids_are_not_found(client, id_):
    for answer in (
        client.get(f"{JOBS}/{id_}"),
        client.post(f"{JOBS}/{id_}:cancel"),
        client.delete(f"{JOBS}/{id_}"),
        client.get(f"{AT}/models/{id_}"),
        client.get(f"{AT}/operations/{id_}"),
    ):
        assert answer.status_code in (404, 405), answer.text
        assert answer.json()["error"]["status"] in ("NOT_FOUND", "UNIMPLEMENTED")


@pytest.mark.parametrize(
    "at", ["projects/a%20b/locations/us-central1", "projects/acme/locations/local"]
)
def test_parents_that_cannot_be_are_refused(client, at):
    refused(client.get(f"/v1/{at}/batchPredictionJobs"), 400, "INVALID_ARGUMENT")


# list


def names(answer):
    assert answer.status_code == 200, answer.text
    return [job["name"].rpartition("/")[2] for job in answer.json().get("batchPredictionJobs", [])]


def test_an_empty_list_is_an_empty_object(client):
    assert client.get(JOBS).json() == {}


def test_pages_are_complete_and_newest_first(client, wired, add):
    jobs = [add() for _ in range(7)]
    seen, token = [], ""
    while True:
        answer = client.get(JOBS, params={"pageSize": 3, "pageToken": token})
        seen += names(answer)
        token = answer.json().get("nextPageToken")
        if not token:
            break
    assert seen == [job.id for job in reversed(jobs)]


def test_jobs_of_one_microsecond_are_paged_by_id(client, add):
    jobs = [add(created=START) for _ in range(5)]
    first = client.get(JOBS, params={"page_size": "2"}).json()
    rest = client.get(JOBS, params={"page_token": first["nextPageToken"]})
    assert names(rest) == sorted(job.id for job in jobs)[2:]


@pytest.mark.parametrize(("size", "count"), [("", 100), ("0", 100), ("5", 5), ("9999", 150)])
def test_page_sizes(client, add, size, count):
    for _ in range(150):
        add()
    assert len(names(client.get(JOBS, params={"pageSize": size}))) == count


def test_a_page_has_at_most_a_thousand_jobs(client, wired):
    limits = []
    wired.jobs.list = lambda parent, *, where, limit, after: limits.append(limit) or []
    client.get(JOBS, params={"pageSize": "5000"})
    assert limits == [1001]


@pytest.mark.parametrize("size", ["-1", "x", "1.5", "9" * 30, "٣", "--1"])
def test_bad_page_sizes_are_refused(client, size):
    refused(client.get(JOBS, params={"pageSize": size}), 400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "token",
    ["garbage", "e30", "W10", "🦊", "WzEsMiwzXQ", "A" * 5000, "bnVsbA", "WyJ4IiwxZTk5LCJ5Il0"],
)
def test_tokens_that_were_not_given_out_are_refused(client, token):
    refused(client.get(JOBS, params={"pageToken": token}), 400, "INVALID_ARGUMENT")


def test_a_token_belongs_to_its_filter_and_parent(client, add):
    for _ in range(3):
        add()
    token = client.get(JOBS, params={"pageSize": 1}).json()["nextPageToken"]
    other = {"pageToken": token, "filter": "state=JOB_STATE_PENDING"}
    refused(client.get(JOBS, params=other), 400, "INVALID_ARGUMENT")
    elsewhere = JOBS.replace("acme", "other")
    refused(client.get(elsewhere, params={"pageToken": token}), 400, "INVALID_ARGUMENT")
    assert client.get(JOBS, params={"pageToken": token, "readMask": "name"}).status_code == 200


def test_filters_choose_jobs(client, wired, add):
    kept = add(state=JobState.SUCCEEDED, spec=make_spec(display_name="nightly_7"))
    add(state=JobState.SUCCEEDED, spec=make_spec(display_name="weekly"))
    add(state=JobState.FAILED, spec=make_spec(display_name="nightly_8", labels={"env": "test"}))
    wanted = 'state="JOB_STATE_SUCCEEDED" AND display_name:"nightly_*"'
    assert names(client.get(JOBS, params={"filter": wanted})) == [kept.id]
    wanted = 'create_time>"2026-01-01T00:00:00Z" AND NOT labels.env=test'
    assert len(names(client.get(JOBS, params={"filter": wanted}))) == 2


def test_a_bad_filter_is_refused_with_its_position(client):
    message = refused(client.get(JOBS, params={"filter": "state=="}), 400, "INVALID_ARGUMENT")
    assert "character 7" in message


@pytest.mark.parametrize(
    ("mask", "fields"),
    [
        ("name,state", {"name", "state"}),
        ("displayName", {"name", "displayName"}),
        ("display_name,create_time", {"name", "displayName", "createTime"}),
        ("*", None),
        (" ", None),
    ],
)
def test_a_read_mask_chooses_fields(client, add, mask, fields):
    add()
    (job,) = client.get(JOBS, params={"readMask": mask}).json()["batchPredictionJobs"]
    assert len(job) > 5 if fields is None else set(job) == fields


def test_a_read_mask_reaches_into_messages_and_maps(client, add):
    add(spec=make_spec(labels={"env_x": "a", "b": "c"}))
    mask = "input_config.instancesFormat,labels.env_x,outputConfig,output_config.predictions_format"
    (job,) = client.get(JOBS, params={"read_mask": mask}).json()["batchPredictionJobs"]
    assert job["inputConfig"] == {"instancesFormat": "csv"}
    assert job["labels"] == {"env_x": "a"}
    assert "name" in job


@pytest.mark.parametrize(
    "mask", ["nme", "inputConfig.x", "name.x", "a" * 5000, "name,,.", "state."]
)
def test_unknown_paths_of_a_read_mask_are_refused(client, mask):
    refused(client.get(JOBS, params={"readMask": mask}), 400, "INVALID_ARGUMENT")


def test_a_failing_service_tells_the_client_nothing(client, wired, capsys):
    def broken(*args, **kwargs):
        raise RuntimeError("/srv/secret/path")

    wired.jobs.get = broken
    answer = client.get(f"{JOBS}/1")
    message = refused(answer, 500, "INTERNAL")
    assert "secret" not in answer.text
    reference = message.split()[-1].rstrip(".")
    assert reference in capsys.readouterr().out


def test_parents_reach_the_service_as_they_are_in_the_path(client, wired):
    wired.store.add_model(make_model(parent=Parent("42", "asia-east1")))
    path = "/v1/projects/42/locations/asia-east1/batchPredictionJobs"
    job = client.post(path, json=changed(model="5520")).json()
    assert job["name"].startswith("projects/42/locations/asia-east1/batchPredictionJobs/")


def test_a_report_is_downloaded_as_a_page_that_can_do_nothing(client):
    made = client.post(JOBS, json=changed(displayName="<script>alert(1)</script>")).json()
    answer = client.get(f"/v1/{made['name']}:report")
    id_ = made["name"].rsplit("/", 1)[-1]
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-disposition"].endswith(f"''job-{id_}-report.html")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox; default-src 'none'" in answer.headers["content-security-policy"]
    assert "&lt;script&gt;" in answer.text
    assert "<script" not in answer.text
    refused(client.get(f"{JOBS}/7:report"), 404, "NOT_FOUND")
    refused(client.get(f"{JOBS}/x%22%0d%0aSet-Cookie: a:report"), 404, "NOT_FOUND")
