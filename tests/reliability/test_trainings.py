"""Trainings through the REST API of a real server, which may be killed meanwhile."""

import os
import signal
import time

import psutil
import pyarrow.csv as pc
import pytest
from stress.harness import PARENT, Server

from tests.homes import customers

SETTINGS = {"lease_s": "3", "warm_replicas": "1", "max_replicas": "2"}
FINISHED = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")


@pytest.fixture
def home(tmp_path):
    data = tmp_path / "home" / "buckets" / "shop"
    data.mkdir(parents=True)
    pc.write_csv(customers(1200), data / "customers.csv")
    return tmp_path / "home"


@pytest.fixture
def server(home):
    with Server(home, SETTINGS) as server:
        yield server


def ask(server, method, path, body=None):
    answer = server.call(method, path, **({} if body is None else {"json": body}))
    assert answer.is_success, answer.text
    return answer.json()


def start(server, **changes):
    dataset = ask(server, "POST", f"{PARENT}/datasets", {
        "displayName": "customers",
        "metadataSchemaUri": "gs://x/schema/dataset/metadata/tabular_1.0.0.yaml",
        "metadata": {"inputConfig": {"gcsSource": {"uri": ["gs://shop/customers.csv"]}}},
    })["response"]  # fmt: skip
    return ask(server, "POST", f"{PARENT}/trainingPipelines", {
        "displayName": "churn",
        "inputDataConfig": {"datasetId": dataset["name"].rpartition("/")[2]},
        "trainingTaskDefinition": "gs://x/automl_tabular_1.0.0.yaml",
        "trainingTaskInputs": {
            "predictionType": "classification", "targetColumn": "churn",
            "rowcast": {"trials": 2},
        },
        "modelToUpload": {"displayName": "churn", "versionAliases": ["default"]},
        **changes,
    })  # fmt: skip


def until(server, name, ready):
    for _ in range(2000):
        found = ask(server, "GET", f"/v1/{name}")
        if ready(found):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def ended(resource):
    return resource["state"] in (*FINISHED, *(s.replace("PIPELINE", "JOB") for s in FINISHED))


def trainer(server):
    """The server's training process, once there is one."""
    for _ in range(2000):
        for child in psutil.Process(server.process.pid).children():
            if "rowcast.pipelines.trainer" in child.cmdline():
                return child
        time.sleep(0.02)
    raise AssertionError("no training process")


def test_from_a_dataset_over_a_model_to_predictions(server, home):
    pipeline = until(server, start(server, modelId="churn")["name"], ended)
    assert pipeline["state"] == "PIPELINE_STATE_SUCCEEDED", pipeline
    assert int(pipeline["trainingTaskMetadata"]["trainCostMilliNodeHours"]) > 0
    assert len(pipeline["rowcast"]["leaderboard"]) == 2
    model = ask(server, "GET", f"/v1/{pipeline['modelToUpload']['name']}@1")
    assert model["trainingPipeline"] == pipeline["name"]
    assert model["versionAliases"] == ["default"]
    assert sum(map(int, model["dataStats"].values())) == 1200
    assert set(model["explanationSpec"]["metadata"]["inputs"]) == {"age", "job", "income"}
    (evaluation,) = ask(server, "GET", f"/v1/{model['name']}/evaluations")["modelEvaluations"]
    assert evaluation["metrics"]["auRoc"] > 0.7
    shares = evaluation["modelExplanation"]["meanAttributions"][0]["featureAttributions"]
    assert set(shares) == {"age", "job", "income"}
    assert abs(sum(shares.values()) - 1) < 1e-6
    slices = ask(server, "GET", f"/v1/{evaluation['name']}/slices")["modelEvaluationSlices"]
    assert {one["slice"]["value"] for one in slices} == {"no", "yes"}
    job = ask(server, "POST", f"{PARENT}/batchPredictionJobs", {
        "displayName": "score", "model": model["name"],
        "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://shop/*.csv"]}},
        "outputConfig": {"predictionsFormat": "jsonl",
                         "gcsDestination": {"outputUriPrefix": "gs://shop/out"}},
    })  # fmt: skip
    job = until(server, job["name"], ended)
    assert job["completionStats"] == {"successfulCount": "1200"}
    version = start(server, parentModel="churn", modelToUpload={"versionAliases": ["new"]})
    version = until(server, version["name"], ended)
    assert version["modelToUpload"]["versionId"] == "2"
    shown = ask(server, "GET", f"/v1/{model['name']}:listVersions")["models"]
    assert {one["versionId"]: one["versionAliases"] for one in shown} == {
        "1": ["default"],
        "2": ["new"],
    }
    assert sorted(path.name for path in (home / "models").iterdir()) == [".training", "churn"]
    assert list((home / "models" / ".training").iterdir()) == []


def test_a_training_goes_on_after_kill_9_and_its_process_does_not_outlive_the_server(home):
    server = Server(home, SETTINGS).start()
    name = start(server, modelId="churn")["name"]
    orphan = trainer(server)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    orphan.wait(timeout=60)
    with Server(home, SETTINGS) as again:
        found = until(again, name, lambda p: p["state"] != "PIPELINE_STATE_PENDING")
        assert found["rowcast"]["attempts"] == 2
        pipeline = until(again, name, ended)
        assert pipeline["state"] == "PIPELINE_STATE_SUCCEEDED", pipeline
        versions = ask(again, "GET", f"{PARENT}/models/churn:listVersions")["models"]
        assert [one["versionId"] for one in versions] == ["1"]
        assert list((home / "models" / ".training").iterdir()) == []


def test_a_cancelled_training_ends_with_its_process(server):
    name = start(server, modelId="churn")["name"]
    process = trainer(server)
    ask(server, "POST", f"/v1/{name}:cancel", {})
    pipeline = until(server, name, ended)
    assert pipeline["state"] == "PIPELINE_STATE_CANCELLED"
    assert pipeline["error"] == {"code": 1, "message": "CANCELED"}
    process.wait(timeout=20)
    assert ask(server, "GET", f"{PARENT}/models") == {}


def test_a_server_that_is_told_to_stop_leaves_its_training_to_the_next(home):
    server = Server(home, SETTINGS).start()
    name = start(server)["name"]
    process = trainer(server)
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(timeout=60)
    process.wait(timeout=20)
    with Server(home, SETTINGS) as again:
        pipeline = until(again, name, ended)
        assert (pipeline["state"], pipeline["rowcast"]["attempts"]) == (
            "PIPELINE_STATE_SUCCEEDED",
            1,
        )
