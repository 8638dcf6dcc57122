import json
from dataclasses import replace
from pathlib import Path

import pytest

from rowcast.core.job import Job, JobState
from rowcast.core.names import Parent, new_id
from rowcast.server import messages

from .fakes import PARENT, START, make_model, make_spec, saved_model

MODELS = "/v1/projects/acme/locations/us-central1/models"
NAME = "projects/acme/locations/us-central1/models/5520"


def versions(client, model="5520"):
    shown = client.get(f"{MODELS}/{model}:listVersions").json()["models"]
    return {one["versionId"]: one.get("versionAliases", []) for one in shown}


@pytest.fixture
def three(wired):
    """The model 5520 with versions 1 to 3, of which 3 is the default."""
    for number in (2, 3):
        folder = wired.folder / "models" / "5520" / str(number)
        wired.store.add_model(saved_model(folder, version=str(number), minutes=number))
    return wired


def unfinished_job(wired, version):
    model = wired.store.get_model(PARENT, "5520", version)
    job = Job(new_id(), PARENT, make_spec(), model.pinned(), JobState.PENDING, START, START)
    return wired.store.create_job(job)


@pytest.mark.parametrize("suffix", ["", "@1", "%401", "@default", "%40default"])
def test_a_model_is_shown_by_version_or_alias(client, suffix):
    shown = client.get(f"{MODELS}/5520{suffix}").json()
    assert shown.pop("etag")
    assert shown == {
        "name": NAME,
        "displayName": "churn",
        "versionId": "1",
        "versionAliases": ["default"],
        "createTime": "2026-01-31T08:15:30.123456Z",
        "updateTime": "2026-01-31T08:15:30.123456Z",
        "versionCreateTime": "2026-01-31T08:15:30.123456Z",
        "versionUpdateTime": "2026-01-31T08:15:30.123456Z",
        "supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES"],
        "supportedInputStorageFormats": ["csv", "jsonl", "bigquery", "parquet"],
        "supportedOutputStorageFormats": ["csv", "jsonl", "bigquery", "parquet"],
        "rowcast": {"damaged": True},
    }


def test_a_model_shows_what_its_files_say(client, wired):
    model = replace(saved_model(wired.folder / "m", version="2"), pipeline="projects/p/t/1")
    wired.store.add_model(model)
    shown = client.get(f"{MODELS}/5520@2").json()
    messages.Model.model_validate(shown)
    assert shown["trainingPipeline"] == "projects/p/t/1"
    assert shown["dataStats"] == {
        "trainingDataItemsCount": "8000",
        "validationDataItemsCount": "1000",
        "testDataItemsCount": "1000",
    }
    inputs = shown["explanationSpec"]["metadata"]["inputs"]
    assert inputs["age"]["inputBaselines"] == [39]
    assert inputs["job"]["inputBaselines"] == ["technician"]
    assert shown["explanationSpec"]["metadata"]["outputs"] == {"scores": {}}
    assert shown["explanationSpec"]["parameters"]["sampledShapleyAttribution"]["pathCount"] == 10
    assert shown["rowcast"]["targetColumn"] == "churn"
    assert shown["rowcast"]["features"][0] == {"name": "age", "kind": "numeric"}
    assert shown["rowcast"]["droppedColumns"] == {"id": "every value is different"}


@pytest.mark.parametrize("id_", ["5521", "5520@2", "5520@latest"])
def test_unknown_models_and_versions_are_not_found(client, id_):
    assert client.get(f"{MODELS}/{id_}").status_code == 404
    assert client.patch(f"{MODELS}/{id_}", json={"displayName": "x"}).status_code == 404
    aliases = {"versionAliases": ["prod"]}
    assert client.post(f"{MODELS}/{id_}:mergeVersionAliases", json=aliases).status_code == 404
    assert client.get(f"{MODELS}/{id_}/evaluations").status_code == 404


@pytest.mark.parametrize("id_", ["5520@", "@1", "5520@1@1"])
def test_names_that_are_none_are_refused(client, id_):
    assert client.get(f"{MODELS}/{id_}").status_code == 400


def test_models_show_no_path(client):
    assert "secret" not in client.get(f"{MODELS}/5520").text + client.get(MODELS).text


def test_models_are_paged_newest_first_within_their_parent(client, wired):
    for i in range(1, 6):
        wired.store.add_model(make_model(str(i), minutes=i))
    wired.store.add_model(make_model("9", parent=Parent("other", "us-central1")))
    seen, token = [], ""
    while True:
        page = client.get(MODELS, params={"pageSize": 2, "pageToken": token}).json()
        seen += [model["name"].rpartition("/")[2] for model in page["models"]]
        token = page.get("nextPageToken")
        if not token:
            break
    assert seen == ["5", "4", "3", "2", "1", "5520"]


def test_models_are_filtered_and_masked(client, wired):
    wired.store.add_model(make_model("2", name="price", labels={"env": "prod"}))
    query = {"filter": "labels.env=prod OR display_name:chu*", "readMask": "displayName"}
    shown = client.get(MODELS, params=query).json()["models"]
    assert [set(model) for model in shown] == [{"name", "displayName"}] * 2
    query["filter"] = "model=2 AND labels.env:*"
    assert len(client.get(MODELS, params=query).json()["models"]) == 1
    assert client.get(MODELS, params={"filter": "state=x"}).status_code == 400


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("", ["d", "c", "b", "a", "5520"]),
        ("create_time desc", ["d", "c", "b", "a", "5520"]),
        ("createTime", ["5520", "a", "b", "c", "d"]),
        ("display_name, create_time desc", ["c", "a", "5520", "d", "b"]),
        ("display_name desc", ["b", "d", "5520", "a", "c"]),
    ],
)
def test_models_are_listed_in_the_order_asked_for(client, wired, order, expected, size):
    for minutes, (id_, name) in enumerate([("a", "a"), ("b", "x"), ("c", "a"), ("d", "x")], 1):
        wired.store.add_model(make_model(id_, name=name, minutes=minutes))
    seen, token = [], ""
    while True:
        query = {"orderBy": order, "pageSize": size, "pageToken": token}
        page = client.get(MODELS, params=query).json()
        seen += [model["name"].rpartition("/")[2] for model in page["models"]]
        token = page.get("nextPageToken")
        if not token:
            break
    assert seen == expected


@pytest.mark.parametrize(
    "order", ["labels", "display_name up", "name", ",", "create_time desc desc"]
)
def test_other_orders_are_refused(client, order):
    answer = client.get(MODELS, params={"orderBy": order})
    assert answer.status_code == 400
    assert "order_by" in answer.json()["error"]["message"]


def test_a_token_belongs_to_its_order(client, wired):
    wired.store.add_model(make_model("2", minutes=1))
    token = client.get(MODELS, params={"pageSize": 1}).json()["nextPageToken"]
    query = {"pageToken": token, "orderBy": "display_name"}
    assert client.get(MODELS, params=query).status_code == 400
    assert client.get(MODELS, params={"pageToken": "bm90aGluZw"}).status_code == 400


def test_a_patch_changes_what_the_mask_names_and_nothing_else(client, three):
    body = {"displayName": "loyalty", "description": "d", "labels": {"env": "prod"}}
    query = {"updateMask": "display_name,labels"}
    shown = client.patch(f"{MODELS}/5520", json=body, params=query).json()
    assert (shown["displayName"], shown["labels"]) == ("loyalty", {"env": "prod"})
    assert "description" not in shown
    assert client.get(f"{MODELS}/5520@2").json()["displayName"] == "loyalty"
    again = client.patch(f"{MODELS}/5520", json={}, params={"updateMask": "labels"}).json()
    assert "labels" not in again
    assert client.patch(f"{MODELS}/5520@2", json={"versionDescription": "two"}).status_code == 200
    assert client.get(f"{MODELS}/5520@2").json()["versionDescription"] == "two"
    assert "versionDescription" not in client.get(f"{MODELS}/5520").json()


@pytest.mark.parametrize(
    ("body", "mask", "field"),
    [
        ({"displayName": ""}, "displayName", "display_name"),
        ({"displayName": "x" * 129}, "", "display_name"),
        ({"labels": {"Env": "x"}}, "", "labels[Env]"),
        ({"versionAliases": ["prod"]}, "", "version_aliases"),
        ({"displayName": "x"}, "createTime", "create_time"),
        ({"colour": "x"}, "displayName", "colour"),
    ],
)
def test_a_patch_that_makes_no_sense_names_the_field(client, body, mask, field):
    answer = client.patch(f"{MODELS}/5520", json=body, params={"updateMask": mask})
    assert answer.status_code == 400
    details = answer.json()["error"]["details"][0]["fieldViolations"]
    assert field in [violation["field"] for violation in details]


def test_a_patch_of_what_has_changed_since_is_refused(client):
    etag = client.get(f"{MODELS}/5520").json()["etag"]
    body = {"displayName": "x", "etag": etag}
    aliases = {"versionAliases": ["prod"]}
    assert client.post(f"{MODELS}/5520:mergeVersionAliases", json=aliases).status_code == 200
    assert client.patch(f"{MODELS}/5520", json=body).status_code == 200
    answer = client.patch(f"{MODELS}/5520", json=body)
    assert (answer.status_code, answer.json()["error"]["status"]) == (409, "ABORTED")


def test_versions_are_listed_newest_first(client, three):
    assert versions(client) == {"3": ["default"], "2": [], "1": []}
    assert list(versions(client)) == ["3", "2", "1"]
    assert client.get(f"{MODELS}/9:listVersions").status_code == 404


def test_aliases_move_and_exactly_one_version_is_the_default(client, three):
    def merge(version, *aliases):
        body = {"versionAliases": list(aliases)}
        return client.post(f"{MODELS}/5520@{version}:mergeVersionAliases", json=body)

    assert merge(1, "prod", "blue").json()["versionAliases"] == ["blue", "prod"]
    assert merge(2, "prod", "default").json()["versionAliases"] == ["default", "prod"]
    assert versions(client) == {"3": [], "2": ["default", "prod"], "1": ["blue"]}
    assert client.get(f"{MODELS}/5520").json()["versionId"] == "2"
    assert client.get(f"{MODELS}/5520@prod").json()["versionId"] == "2"
    assert merge(2, "-prod").json()["versionAliases"] == ["default"]
    assert merge(3, "-default").status_code == 200  # it is not its alias
    refused = merge(2, "-default")
    assert refused.json()["error"]["status"] == "FAILED_PRECONDITION"
    assert [aliases.count("default") for aliases in versions(client).values()] == [0, 1, 0]


@pytest.mark.parametrize("aliases", [[], ["1"], ["a"], ["Prod"], ["prod-"], ["--x"], ["ab", "-ab"]])
def test_what_is_no_alias_is_refused(client, aliases):
    body = {"versionAliases": aliases}
    answer = client.post(f"{MODELS}/5520@1:mergeVersionAliases", json=body)
    assert answer.status_code == 400
    assert "version_aliases" in answer.json()["error"]["message"]


def test_a_version_is_deleted_with_its_files(client, three):
    folder = Path(three.store.get_model(PARENT, "5520", "2").folder)
    operation = client.delete(f"{MODELS}/5520@2:deleteVersion").json()
    assert operation["done"] is True
    assert operation["response"]["@type"].endswith("google.protobuf.Empty")
    assert client.get(f"/v1/{operation['name']}").json() == operation
    assert versions(client) == {"3": ["default"], "1": []}
    assert not folder.exists()
    assert sorted(p.name for p in folder.parent.iterdir()) == ["3"]
    assert three.store.next_version(PARENT, "5520") == "4"


def test_the_default_version_is_not_deleted(client, three):
    for version in ("3", "default"):
        answer = client.delete(f"{MODELS}/5520@{version}:deleteVersion")
        assert answer.json()["error"]["status"] == "FAILED_PRECONDITION"
    assert client.delete(f"{MODELS}/5520:deleteVersion").status_code == 400
    assert len(versions(client)) == 3


def test_a_model_is_deleted_with_all_versions_and_files(client, three):
    assert client.delete(f"{MODELS}/5520").json()["done"] is True
    assert client.get(f"{MODELS}/5520").status_code == 404
    assert client.delete(f"{MODELS}/5520").status_code == 404
    assert not (three.folder / "models" / "5520").exists()
    assert three.store.next_version(PARENT, "5520") == "1"


def test_files_elsewhere_are_never_removed(client, wired, tmp_path_factory):
    """A copy of a home folder still names the files of the original."""
    folder = tmp_path_factory.mktemp("original") / "models" / "5520" / "2"
    wired.store.add_model(saved_model(folder, version="2", minutes=1))
    assert client.delete(f"{MODELS}/5520").status_code == 200
    assert folder.exists()


def test_one_version_is_not_deleted_by_deleting_the_model(client, three):
    answer = client.delete(f"{MODELS}/5520@2")
    assert answer.status_code == 400
    assert "5520@2:deleteVersion" in answer.json()["error"]["message"]
    assert len(versions(client)) == 3


def test_a_model_in_use_is_not_deleted(client, three):
    job = unfinished_job(three, "2")
    for path in (f"{MODELS}/5520", f"{MODELS}/5520@2:deleteVersion"):
        answer = client.delete(path)
        assert answer.status_code == 400
        assert answer.json()["error"]["status"] == "FAILED_PRECONDITION"
        assert job.name in answer.json()["error"]["message"]
    assert client.delete(f"{MODELS}/5520@1:deleteVersion").status_code == 200
    assert Path(three.store.get_model(PARENT, "5520", "2").folder).exists()
    three.store.request_cancel(PARENT, job.id, START)
    assert client.delete(f"{MODELS}/5520").status_code == 200


# Evaluations

EVALUATION = {
    "metrics": {
        "auRoc": 0.9,
        "confidenceMetrics": [{"truePositiveCount": "7"}],
    },
    "slices": [
        {"dimension": "annotationSpec", "value": value, "metrics": {"auRoc": share}}
        for value, share in (("no", 0.8), ("yes", 0.7))
    ],
    "importance": {"age": 0.75, "job": 0.25, "note": 0.0},
    "curves": {"more": "than the API shows"},
}


@pytest.fixture
def measured(wired):
    members = {"evaluation.json": json.dumps(EVALUATION).encode()}
    wired.store.add_model(saved_model(wired.folder / "m", version="2", members=members, minutes=1))
    return wired


def test_an_evaluation_shows_metrics_slices_and_importance(client, measured):
    page = client.get(f"{MODELS}/5520@2/evaluations").json()
    messages.ListModelEvaluationsResponse.model_validate(page)
    assert set(page) == {"modelEvaluations"}
    (evaluation,) = page["modelEvaluations"]
    id_ = evaluation["name"].removeprefix(f"{NAME}/evaluations/")
    assert id_.isdigit()
    assert len(id_) <= 19
    assert evaluation == {
        "name": f"{NAME}/evaluations/{id_}",
        "metricsSchemaUri": "gs://google-cloud-aiplatform/schema/modelevaluation/"
        "classification_metrics_1.0.0.yaml",
        "metrics": EVALUATION["metrics"],
        "createTime": "2026-01-31T08:16:30.123456Z",
        "sliceDimensions": ["annotationSpec"],
        "modelExplanation": {
            "meanAttributions": [{"featureAttributions": EVALUATION["importance"]}]
        },
    }
    further = {"rowcast": {"curves": EVALUATION["curves"]}}
    assert client.get(f"/v1/{evaluation['name']}").json() == evaluation | further
    slices = client.get(f"/v1/{evaluation['name']}/slices").json()["modelEvaluationSlices"]
    assert [one["slice"] for one in slices] == [
        {"dimension": "annotationSpec", "value": "yes"},
        {"dimension": "annotationSpec", "value": "no"},
    ]
    for one in slices:
        assert client.get(f"/v1/{one['name']}").json() == one
    only = client.get(
        f"/v1/{evaluation['name']}/slices", params={"filter": 'slice_value="no"'}
    ).json()["modelEvaluationSlices"]
    assert [one["metrics"] for one in only] == [{"auRoc": 0.8}]


def test_evaluations_keep_their_ids(client, measured):
    first = client.get(f"{MODELS}/5520@2/evaluations").json()
    assert client.get(f"{MODELS}/5520/evaluations").json() == first


def test_a_model_that_was_not_measured_has_no_evaluation(client, wired):
    wired.store.add_model(saved_model(wired.folder / "m", version="2", regression=True))
    assert client.get(f"{MODELS}/5520@2/evaluations").json() == {}
    assert client.get(f"{MODELS}/5520@2/evaluations/1").status_code == 404
    assert client.get(f"{MODELS}/5520@2/evaluations/1/slices").status_code == 404


def test_unknown_slices_are_not_found(client, measured):
    name = client.get(f"{MODELS}/5520/evaluations").json()["modelEvaluations"][0]["name"]
    assert client.get(f"/v1/{name}/slices/7").status_code == 404


def test_an_evaluation_that_was_damaged_is_not_shown(client, measured):
    (measured.folder / "m" / "evaluation.json").write_bytes(b'{"metrics": {"auRoc": 1.0}}')
    answer = client.get(f"{MODELS}/5520/evaluations")
    assert (answer.status_code, answer.json()["error"]["status"]) == (500, "INTERNAL")
