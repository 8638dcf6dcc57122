import re

import pytest

from rowcast.errors import RPC_CODES, Aborted, Internal, ResourceExhausted, Unimplemented
from rowcast.server.status import HTTP_CODES

from .conftest import TOKEN

JOBS = "/v1/projects/acme/locations/us-central1/batchPredictionJobs"
IDS = {
    "healthz",
    *(f"batchPredictionJobs.{verb}" for verb in ("create", "get", "list", "cancel", "delete")),
    "batchPredictionJobs.report",
    *(f"datasets.{verb}" for verb in ("create", "get", "list", "patch", "delete", "preview")),
    *(f"trainingPipelines.{verb}" for verb in ("create", "get", "list", "cancel", "delete")),
    *(f"models.{verb}" for verb in ("get", "list", "patch", "delete", "upload")),
    *(
        f"models.{verb}"
        for verb in ("listVersions", "report", "deleteVersion", "mergeVersionAliases")
    ),
    *(
        f"{what}.{verb}"
        for what in ("modelEvaluations", "modelEvaluationSlices")
        for verb in ("get", "list")
    ),
    *(f"operations.{verb}" for verb in ("get", "list", "wait", "cancel", "delete")),
}


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", f"{JOBS}/", f"{JOBS}/1/operations/2", "/é"])
def test_unknown_paths_answer_a_status(client, path):
    answer = client.get(path, follow_redirects=False)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (404, 404, "NOT_FOUND")


def test_wrong_methods_answer_a_status_and_the_right_ones(client):
    answer = client.put(f"{JOBS}/1")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["status"]) == (405, 405, "UNIMPLEMENTED")
    assert answer.headers["allow"]


def test_every_code_has_its_http_code():
    assert set(HTTP_CODES) == set(RPC_CODES)


@pytest.mark.parametrize(
    ("error", "code"),
    [(Aborted, 409), (ResourceExhausted, 429), (Unimplemented, 501), (Internal, 500)],
)
def test_errors_on_purpose_keep_their_status_and_message(client, wired, error, code):
    def fail(*args, **kwargs):
        raise error("said so")

    wired.jobs.get = fail
    answer = client.get(f"{JOBS}/1")
    expected = {"code": code, "status": error.status, "message": "said so"}
    assert (answer.status_code, answer.json()) == (code, {"error": expected})


def test_the_openapi_text_names_every_method_and_its_errors(client):
    text = client.get("/openapi.json").json()
    operations = {
        operation["operationId"]: operation
        for path in text["paths"].values()
        for operation in path.values()
    }
    assert set(operations) == IDS
    for name, operation in operations.items():
        if name != "healthz":
            answers = operation["responses"]
            assert {"200", "400", "401", "403", "404", "409", "429", "500"} <= set(answers)
            assert "422" not in answers
            if name.endswith(".report"):
                assert answers.pop("200")["content"]["text/html"] == {"schema": {"type": "string"}}
            for code, answer in answers.items():
                assert answer["content"]["application/json"]["schema"]["$ref"].endswith(
                    "ErrorBody"
                ) == (code != "200")
    references = set(re.findall(r"#/components/schemas/(\w+)", str(text)))
    assert references <= set(text["components"]["schemas"])
    job = text["components"]["schemas"]["BatchPredictionJob"]
    assert "required" not in job
    assert job["properties"]["state"]["readOnly"] is True
    assert {"displayName", "inputConfig", "rowcast"} <= set(job["properties"])


def test_each_request_is_logged_in_a_line_without_secrets(client, capsys):
    client.post(f"{JOBS}/1%0A%1B[31m\u202e:cancel?key={TOKEN}", json={"displayName": "cell value"})
    logged = capsys.readouterr().out
    assert len(logged.splitlines()) == 1
    assert "\\n" in logged
    assert "\\u202e" in logged
    assert "status=404" in re.sub("\x1b\\[[0-9;]*m", "", logged)
    assert TOKEN not in logged
    assert "cell value" not in logged


def test_endless_paths_are_cut_in_the_log(client, capsys):
    client.get("/" + "x" * 5000)
    assert len(capsys.readouterr().out) < 700
