"""``models:upload``: models from elsewhere, by URI."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from rowcast.storage.model_folder import read_spec
from tests.importing.makers import (
    FEATURES,
    as_columns,
    booster,
    linear_classifier,
    matrix,
    numbers,
    regressor_of_columns,
    write_csv,
    write_json,
)
from tests.server.fakes import PARENT

URL = "/v1/projects/acme/locations/us-central1/models"


@pytest.fixture
def bucket(wired):
    folder = wired.folder / "buckets" / "models"
    (folder / "churn").mkdir(parents=True)
    booster("binary").save_model(folder / "churn" / "anything.txt")
    return folder


def body(uri="gs://models/churn", parent_model="", **model):
    given = {"displayName": "churn", "artifactUri": uri, **model}
    return {"model": given, **({"parentModel": parent_model} if parent_model else {})}


TARGET = {"rowcast": {"targetColumn": "churn"}}


def test_a_folder_with_a_schema_and_an_example_becomes_a_model(client, bucket):
    write_json(bucket / "churn" / "schema.json", {"target": "churn", "classes": ["no", "yes"]})
    found = booster("binary").predict(matrix(numbers()))
    answers = as_columns("churn", ("no", "yes"), np.stack([1 - found, found], axis=1))
    write_csv(bucket / "churn" / "example.csv", numbers().select(FEATURES), **answers)
    (bucket / "churn" / "README.md").write_text("passed over")
    request = body(versionAliases=["prod"], labels={"env": "test"}, containerSpec={"imageUri": "x"})
    operation = client.post(f"{URL}:upload", json={**request, "modelId": "mine"}).json()
    assert operation["done"]
    kind = "type.googleapis.com/google.cloud.aiplatform.v1.Upload"
    assert operation["metadata"]["@type"] == f"{kind}ModelOperationMetadata"
    name = "projects/acme/locations/us-central1/models/mine"
    assert operation["response"] == {
        "@type": f"{kind}ModelResponse",
        "model": name,
        "modelVersionId": "1",
    }
    assert client.get(f"/v1/{operation['name']}").json() == operation
    model = client.get(f"/v1/{name}@1").json()
    assert model["displayName"] == "churn"
    assert set(model["versionAliases"]) == {"default", "prod"}
    assert model["labels"] == {"env": "test"}
    assert model["rowcast"]["targetColumn"] == "churn"
    assert [feature["name"] for feature in model["rowcast"]["features"]] == list(FEATURES)


def test_a_parent_model_gets_a_version(client, bucket):
    first = client.post(f"{URL}:upload", json=body(**TARGET)).json()["response"]
    again = body(parent_model=first["model"], **TARGET)
    second = client.post(f"{URL}:upload", json=again).json()["response"]
    assert (second["model"], second["modelVersionId"]) == (first["model"], "2")
    versions = client.get(f"/v1/{first['model']}:listVersions").json()["models"]
    aliases = {version["versionId"]: version.get("versionAliases", []) for version in versions}
    assert aliases == {"1": ["default"], "2": []}
    third = client.post(f"{URL}:upload", json={**again, "model": {
        **again["model"], "versionAliases": ["default"]}}).json()["response"]  # fmt: skip
    assert client.get(f"/v1/{first['model']}").json()["versionId"] == third["modelVersionId"] == "3"
    elsewhere = body(parent_model="projects/acme/locations/us-central1/models/none", **TARGET)
    assert client.post(f"{URL}:upload", json=elsewhere).status_code == 404


def test_an_object_alone_is_a_model(client, bucket):
    (bucket / "m.onnx").write_bytes(regressor_of_columns())
    request = body("gs://models/m.onnx", rowcast={"targetColumn": "price"})
    answer = client.post(f"{URL}:upload", json=request)
    assert answer.status_code == 200, answer.json()
    model = client.get(f"/v1/{answer.json()['response']['model']}").json()
    assert "Nothing was there to compare" in model["rowcast"]["warnings"][0]


def test_every_violation_is_listed(client):
    request = {
        "model": {
            "labels": {"Bad": "x"},
            "versionAliases": ["1"],
            "rowcast": {"format": "pmml", "predictionType": "clustering"},
            "nmae": 1,
        },
        "modelId": "X",
    }
    answer = client.post(f"{URL}:upload", json=request)
    assert answer.status_code == 400
    fields = {v["field"] for v in answer.json()["error"]["details"][0]["fieldViolations"]}
    assert fields == {
        "model.nmae",
        "model.display_name",
        "model.artifact_uri",
        "model.labels[Bad]",
        "model.version_aliases[0]",
        "model.rowcast.format",
        "model.rowcast.prediction_type",
        "model_id",
    }


def test_an_id_that_is_taken_is_refused(client, bucket):
    request = {**body(**TARGET), "modelId": "mine"}
    assert client.post(f"{URL}:upload", json=request).status_code == 200
    assert client.post(f"{URL}:upload", json=request).status_code == 409


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("gs://models/nothing", 404),
        ("gs://models/../secret", 400),
        ("/etc", 403),
        ("file:///etc/passwd", 403),
        ("http://example.com/m.onnx", 400),
        ("gs://models/link", 403),
    ],
)
def test_only_what_may_be_read_is_read(client, bucket, uri, status):
    (bucket / "link").symlink_to("/etc/hostname")
    assert client.post(f"{URL}:upload", json=body(uri, **TARGET)).status_code == status


def test_messages_name_the_uri_and_no_path_of_the_server(client, bucket):
    write_csv(bucket / "churn" / "example.csv", numbers().select(["age"]))
    (bucket / "damaged.onnx").write_bytes(linear_classifier(("a", "b"))[:60])
    for uri in ("gs://models/churn", "gs://models/damaged.onnx"):
        error = client.post(f"{URL}:upload", json=body(uri, **TARGET)).json()["error"]
        assert error["status"] == "INVALID_ARGUMENT"
        assert "/tmp" not in error["message"]
    assert "gs://models/damaged.onnx" in error["message"]


def test_several_models_in_a_folder_are_one_too_many(client, bucket):
    (bucket / "churn" / "other.onnx").write_bytes(regressor_of_columns())
    error = client.post(f"{URL}:upload", json=body(**TARGET)).json()["error"]
    assert "holds anything.txt, other.onnx; one model file is expected" in error["message"]


def test_a_model_folder_is_taken_over_as_it_is(client, wired, bucket):
    first = client.post(f"{URL}:upload", json=body(**TARGET)).json()["response"]["model"]
    kept = wired.store.get_model(PARENT, first.rpartition("/")[2])
    shutil.copytree(kept.folder, bucket / "folder")
    answer = client.post(f"{URL}:upload", json=body("gs://models/folder")).json()["response"]
    other = wired.store.get_model(PARENT, answer["model"].rpartition("/")[2])
    assert other.digest == kept.digest
    assert read_spec(Path(other.folder), kept.digest).schema.target.name == "churn"
    path = bucket / "folder" / "forest.lgb.txt"
    path.write_bytes(path.read_bytes().replace(b"threshold", b"thresh0ld", 1))
    error = client.post(f"{URL}:upload", json=body("gs://models/folder")).json()["error"]
    assert error["status"] == "INVALID_ARGUMENT"
    assert "not the file that was saved" in error["message"]
