import pytest

from rowcast.core.dataset import Dataset, DatasetSpec
from rowcast.core.names import Parent
from rowcast.server import training_messages

from .fakes import PARENT, START

DATASETS = "/v1/projects/acme/locations/us-central1/datasets"
SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/metadata/tabular_1.0.0.yaml"
BANK = {
    "displayName": "bank",
    "metadataSchemaUri": SCHEMA,
    "metadata": {"inputConfig": {"gcsSource": {"uri": ["gs://data/bank.csv"]}}},
}


def created(client, **changes):
    answer = client.post(DATASETS, json={**BANK, **changes})
    assert answer.status_code == 200, answer.text
    return answer.json()["response"]


def violations(answer):
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT")
    found = error["details"][0]["fieldViolations"]
    return {violation["field"]: violation["description"] for violation in found}


def test_a_dataset_is_created_by_an_operation_that_is_done(client):
    operation = client.post(DATASETS, json={**BANK, "labels": {"env": "test"}}).json()
    assert operation["done"] is True
    prefix = "type.googleapis.com/google.cloud.aiplatform.v1."
    assert operation["metadata"]["@type"] == prefix + "CreateDatasetOperationMetadata"
    dataset = dict(operation["response"])
    assert dataset.pop("@type") == prefix + "Dataset"
    training_messages.Dataset.model_validate(dataset)
    assert client.get(f"/v1/{dataset['name']}").json() == dataset
    assert client.get(f"/ui/{operation['name']}").json() == operation
    assert {name: dataset[name] for name in BANK} == BANK
    assert dataset["labels"] == {
        "aiplatform.googleapis.com/dataset_metadata_schema": "TABLE",
        "env": "test",
    }
    assert dataset["name"].rpartition("/")[2].isdigit()


def test_snake_case_and_nulls_are_read(client):
    body = {
        "display_name": "bank",
        "metadata_schema_uri": SCHEMA,
        "metadata": {
            "input_config": {"bigquery_source": {"uri": "bq://p.d.t"}, "gcs_source": None}
        },
        "labels": None,
    }
    shown = client.post(DATASETS, json=body).json()["response"]
    assert shown["metadata"] == {"inputConfig": {"bigquerySource": {"uri": "bq://p.d.t"}}}


def test_every_violation_is_listed_at_once(client):
    body = {"metadata": {"inputConfig": {"gcsSource": {"uri": ["ftp://x", "there.csv"]}}}, "a": 1}
    assert set(violations(client.post(DATASETS, json={**body, "labels": {"A": "x"}}))) == {
        "a",
        "display_name",
        "labels[A]",
        "metadata_schema_uri",
        "metadata.input_config.gcs_source.uri[0]",
        "metadata.input_config.gcs_source.uri[1]",
    }


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({}, "metadata.input_config"),
        ({"gcsSource": {"uri": []}}, "metadata.input_config"),
        ({"gcsSource": {"uris": ["gs://b/x"]}}, "metadata.input_config.gcs_source.uris"),
        ({"gcsSource": {"uri": "gs://b/x"}}, "metadata.input_config.gcs_source.uri"),
        ({"bigquerySource": {"uri": "p.d.t"}}, "metadata.input_config.bigquery_source.uri"),
        (
            {"gcsSource": {"uri": ["gs://b/x"]}, "bigquerySource": {"uri": "bq://p.d.t"}},
            "metadata.input_config",
        ),
    ],
)
def test_a_dataset_has_exactly_one_source(client, config, field):
    answer = client.post(DATASETS, json={**BANK, "metadata": {"inputConfig": config}})
    assert field in violations(answer)


def test_only_tables_are_kept(client):
    body = {**BANK, "metadataSchemaUri": SCHEMA.replace("tabular", "image")}
    assert (
        "tabular_1.0.0.yaml" in violations(client.post(DATASETS, json=body))["metadata_schema_uri"]
    )


def test_datasets_are_listed_within_their_parent_by_filter_and_order(client, wired):
    for name in "bac":
        created(client, displayName=name, labels={"of": name})
    other = Parent("other", "us-central1")
    spec = DatasetSpec("d", SCHEMA, ("gs://b/x",))
    wired.datasets._store.create(Dataset("7", other, spec, START, START))

    def names(**query):
        page = client.get(DATASETS, params=query).json()
        return [one["displayName"] for one in page.get("datasets", [])]

    assert names() == ["c", "a", "b"]
    assert names(orderBy="display_name") == ["a", "b", "c"]
    assert names(orderBy="createTime") == ["b", "a", "c"]
    assert names(filter='display_name="a" OR labels.of=b') == ["a", "b"]
    assert names(filter="metadata_schema_uri:*tabular*") == ["c", "a", "b"]
    assert names(filter="NOT labels.of:*") == []
    masked = client.get(DATASETS, params={"readMask": "displayName,etag"}).json()["datasets"]
    assert set(masked[0]) == {"name", "displayName", "etag"}
    assert client.get(DATASETS, params={"filter": "state=x"}).status_code == 400
    assert client.get(DATASETS, params={"readMask": "colour"}).status_code == 400


def test_a_dataset_is_patched(client):
    path = f"/v1/{created(client)['name']}"
    before = client.get(path).json()
    answer = client.patch(
        path,
        json={"displayName": "new", "description": "d", "labels": before["labels"]},
        params={"updateMask": "displayName,labels"},
    )
    shown = answer.json()
    assert shown["displayName"] == "new"
    assert shown["labels"] == before["labels"]
    assert "description" not in shown
    assert shown["etag"] != before["etag"]
    assert shown["updateTime"] > before["updateTime"]
    assert client.patch(path, json={"displayName": "x", "etag": before["etag"]}).status_code == 409
    assert "metadata" in violations(client.patch(path, json={"metadata": BANK["metadata"]}))
    assert "display_name" in violations(client.patch(path, json={"displayName": ""}))
    assert client.get(path).json() == shown


def test_a_dataset_is_deleted_and_its_data_stays(client, wired):
    data = wired.folder / "buckets" / "data" / "bank.csv"
    data.parent.mkdir(parents=True)
    data.write_text("a,b\n")
    path = f"/v1/{created(client)['name']}"
    operation = client.delete(path).json()
    assert operation["metadata"]["@type"].endswith("DeleteOperationMetadata")
    assert client.get(path).status_code == 404
    assert client.delete(path).status_code == 404
    assert client.patch(path, json={"displayName": "x"}).status_code == 404
    assert data.exists()
    assert PARENT.project in path
