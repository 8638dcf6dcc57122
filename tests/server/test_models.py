import pytest

from rowcast.core.names import Parent

from .fakes import make_model

MODELS = "/v1/projects/acme/locations/us-central1/models"


@pytest.mark.parametrize("suffix", ["", "@1", "%401", "@default", "%40default"])
def test_a_model_is_shown_by_version_or_alias(client, suffix):
    assert client.get(f"{MODELS}/5520{suffix}").json() == {
        "name": "projects/acme/locations/us-central1/models/5520",
        "displayName": "churn",
        "versionId": "1",
        "versionAliases": ["default"],
        "createTime": "2026-01-31T08:15:30.123456Z",
        "updateTime": "2026-01-31T08:15:30.123456Z",
        "versionCreateTime": "2026-01-31T08:15:30.123456Z",
        "versionUpdateTime": "2026-01-31T08:15:30.123456Z",
        "supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES"],
        "supportedInputStorageFormats": ["csv", "jsonl", "parquet"],
        "supportedOutputStorageFormats": ["csv", "jsonl", "parquet"],
    }


@pytest.mark.parametrize("id_", ["5521", "5520@2", "5520@latest"])
def test_unknown_models_and_versions_are_not_found(client, id_):
    assert client.get(f"{MODELS}/{id_}").status_code == 404


@pytest.mark.parametrize("id_", ["5520@", "@1", "5520@1@1"])
def test_names_that_are_none_are_refused(client, id_):
    assert client.get(f"{MODELS}/{id_}").status_code == 400


def test_models_show_no_path(client):
    assert "secret" not in client.get(f"{MODELS}/5520").text + client.get(MODELS).text


def test_models_are_paged_newest_first_within_their_parent(client, wired):
    wired.models.models += [make_model(str(i), minutes=i) for i in range(1, 6)]
    wired.models.models.append(make_model("9", parent=Parent("other", "us-central1")))
    seen, token = [], ""
    while True:
        page = client.get(MODELS, params={"pageSize": 2, "pageToken": token}).json()
        seen += [model["name"].rpartition("/")[2] for model in page["models"]]
        token = page.get("nextPageToken")
        if not token:
            break
    assert seen == ["5", "4", "3", "2", "1", "5520"]


def test_models_are_filtered_and_masked(client, wired):
    wired.models.models.append(make_model("2", name="price", labels={"env": "prod"}))
    query = {"filter": "labels.env=prod OR display_name:chu*", "readMask": "displayName"}
    shown = client.get(MODELS, params=query).json()["models"]
    assert [set(model) for model in shown] == [{"name", "displayName"}] * 2
    query["filter"] = "model=2 AND labels.env:*"
    assert len(client.get(MODELS, params=query).json()["models"]) == 1
    assert client.get(MODELS, params={"filter": "state=x"}).status_code == 400


def test_models_have_one_order(client):
    assert client.get(MODELS, params={"orderBy": "create_time desc"}).status_code == 200
    assert client.get(MODELS, params={"orderBy": "display_name"}).status_code == 400
