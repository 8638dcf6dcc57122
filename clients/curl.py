"""curl, with requests in the forms that documentation prints them in."""

import json
import subprocess
import time

from steps import SERVER, step

PARENT = f"{SERVER['url']}/v1/projects/{SERVER['project']}/locations/{SERVER['location']}"
NAME = f"curl{int(time.time() * 1000)}"
DEFINITION = "gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_tabular_1.0.0.yaml"


def curl(method, url, body=None, *, header="Content-Type: application/json; charset=utf-8"):
    """Call the server; HTTP code and answer."""
    command = ["curl", "-s", "-X", method, "-w", "\n%{http_code}", url]
    command += ["-H", f"Authorization: Bearer {SERVER['token']}"]
    if header:
        command += ["-H", header]
    if body is not None:
        command += ["-d", body]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, _, code = done.stdout.rpartition("\n")
    return int(code), json.loads(text)


def until_ended(name):
    """Look a resource up until it has ended."""
    while True:
        _, found = curl("GET", f"{SERVER['url']}/v1/{name}")
        if found["state"].endswith(("SUCCEEDED", "FAILED", "CANCELLED")):
            return found
        time.sleep(0.3)


SNAKE = """{
  "display_name": "NAME",
  "metadata_schema_uri": "gs://google-cloud-aiplatform/schema/dataset/metadata/tabular_1.0.0.yaml",
  "metadata": {"input_config": {"gcs_source": {"uri": ["DATA"]}}}
}"""

with step("dataset"):
    body = SNAKE.replace("NAME", NAME).replace("DATA", SERVER["data"])
    code, operation = curl("POST", f"{PARENT}/datasets", body)
    assert code == 200, operation
    assert operation["done"] is True
    dataset = operation["response"]["name"]

with step("train"):
    code, pipeline = curl(
        "POST",
        f"{PARENT}/trainingPipelines",
        json.dumps(
            {
                "displayName": NAME,
                "inputDataConfig": {"datasetId": dataset.rpartition("/")[2]},
                "trainingTaskDefinition": DEFINITION,
                "trainingTaskInputs": {
                    "targetColumn": "churn",
                    "predictionType": "classification",
                    "trainBudgetMilliNodeHours": "1000",
                },
                "modelToUpload": {"displayName": NAME},
                "modelId": NAME,
            }
        ),
    )
    assert code == 200, pipeline
    assert until_ended(pipeline["name"])["state"] == "PIPELINE_STATE_SUCCEEDED"

with step("model"):
    code, model = curl("GET", f"{PARENT}/models/{NAME}@default")
    assert (code, model["versionId"]) == (200, "1")

with step("evaluations"):
    _, found = curl("GET", f"{PARENT}/models/{NAME}%401/evaluations")
    assert found["modelEvaluations"][0]["metrics"]["auRoc"] > 0.7

# As the documentation of batch predictions prints it: a bare model id, and a comma too many.
PRINTED = """{
  "displayName": "%s",
  "model": "%s",
  "inputConfig": {
    "instancesFormat": "csv",
    "gcsSource": {
      "uris": [
        "%s",
      ],
    },
  },
  "outputConfig": {
    "predictionsFormat": "jsonl",
    "gcsDestination": {
      "outputUriPrefix": "%s",
    },
  },
  "dedicatedResources": {
    "machineSpec": {
      "machineType": "n1-standard-4",
      "acceleratorCount": "0"
    },
    "startingReplicaCount": 1,
    "maxReplicaCount": 2
  },
}"""

with step("predict"):
    body = PRINTED % (NAME, NAME, SERVER["data"], SERVER["out"])
    code, job = curl("POST", f"{PARENT}/batchPredictionJobs", body)
    assert code == 200, job
    code, again = curl("POST", f"{PARENT}/batchPredictionJobs", body, header="")
    assert code == 200, again  # with the content type that curl gives to -d
    for name in (job["name"], again["name"]):
        ended = until_ended(name)
        assert ended["state"] == "JOB_STATE_SUCCEEDED", ended
        assert ended["completionStats"]["successfulCount"] == "1200"

with step("list"):
    _, found = curl("GET", f"{PARENT}/batchPredictionJobs?filter=display_name%3D{NAME}&pageSize=1")
    assert len(found["batchPredictionJobs"]) == 1
    assert found["nextPageToken"]

with step("cancel"):
    code, third = curl("POST", f"{PARENT}/batchPredictionJobs", body)
    code, answer = curl("POST", f"{SERVER['url']}/v1/{third['name']}:cancel", "")
    assert (code, answer) == (200, {}) or answer["error"]["status"] == "FAILED_PRECONDITION"
    until_ended(third["name"])

with step("errors"):
    code, answer = curl("POST", f"{PARENT}/batchPredictionJobs", '{"displayName": ')
    assert (code, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "line 1, column" in answer["error"]["message"]
    code, answer = curl("GET", f"{PARENT}/models/none")
    assert (code, answer["error"]["status"]) == (404, "NOT_FOUND")

with step("delete"):
    for name in (
        job["name"],
        again["name"],
        third["name"],
        f"{PARENT.partition('/v1/')[2]}/models/{NAME}",
        pipeline["name"],
        dataset,
    ):
        code, operation = curl("DELETE", f"{SERVER['url']}/v1/{name}")
        assert (code, operation["done"]) == (200, True), operation
