import json
from dataclasses import replace

import pytest

from rowcast.core.job import Status
from rowcast.core.pipeline import MadeModel, PipelineState, TrainingProgress
from rowcast.server import training_messages
from rowcast.server.pipeline_wire import render_pipeline

from .fakes import PARENT, START, make_model, saved_model

AT = "/v1/projects/acme/locations/us-central1"
PIPELINES = f"{AT}/trainingPipelines"
DATASET = {
    "displayName": "bank",
    "metadataSchemaUri": "gs://x/schema/dataset/metadata/tabular_1.0.0.yaml",
    "metadata": {"inputConfig": {"gcsSource": {"uri": ["gs://data/bank.csv"]}}},
}
DEFINITION = "gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_tabular_1.0.0.yaml"


@pytest.fixture
def dataset(client):
    created = client.post(f"{AT}/datasets", json=DATASET).json()["response"]
    return created["name"].rpartition("/")[2]


@pytest.fixture
def body(dataset):
    return {
        "displayName": "bank-1",
        "inputDataConfig": {"datasetId": dataset},
        "trainingTaskDefinition": DEFINITION,
        "trainingTaskInputs": {
            "predictionType": "classification",
            "targetColumn": "y",
            "trainBudgetMilliNodeHours": "1000",
        },
        "modelToUpload": {"displayName": "bank"},
    }


def merged(body, **changes):
    """The body with members replaced; those of objects one by one."""
    body = json.loads(json.dumps(body))
    for name, value in changes.items():
        body[name] = {**body.get(name, {}), **value} if isinstance(value, dict) else value
    return body


def violations(answer):
    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (400, "INVALID_ARGUMENT"), answer.text
    found = error["details"][0]["fieldViolations"]
    return {violation["field"]: violation["description"] for violation in found}


def test_a_pipeline_is_created_pending_and_echoed(client, body, dataset):
    asked = merged(
        body,
        labels={"env": "test"},
        trainingTaskInputs={
            "transformations": [
                {"auto": {"columnName": "age"}},
                {"timestamp": {"columnName": "when", "timeFormat": "unix-seconds",
                               "invalidValuesAllowed": True}},
                {"repeatedText": {"columnName": "tags"}},
            ],
            "trainBudgetMilliNodeHours": 2000,
            "optimizationObjective": "maximize-precision-at-recall",
            "optimizationObjectiveRecallValue": 0,
            "weightColumnName": "w",
            "disableEarlyStopping": True,
            "additionalExperiments": ["x"],
            "rowcast": {"trials": 3, "seed": 7, "intervalLevel": 0.9},
        },
        inputDataConfig={"timestampSplit": {"key": "when", "trainingFraction": 0.7}},
        modelToUpload={"displayName": "bank", "versionAliases": ["default", "new"],
                       "labels": {"a": "b"}, "description": "d"},
        modelId="bank_1",
    )  # fmt: skip
    made = client.post(PIPELINES, json=asked).json()
    training_messages.TrainingPipeline.model_validate(made)
    assert made["state"] == "PIPELINE_STATE_PENDING"
    assert made["name"].startswith("projects/acme/locations/us-central1/trainingPipelines/")
    asked["trainingTaskInputs"]["trainBudgetMilliNodeHours"] = "2000"
    assert {name: made[name] for name in asked} == asked
    assert set(made) - set(asked) == {"name", "state", "createTime", "updateTime"}
    assert client.get(f"/v1/{made['name']}").json() == made


def test_the_official_clients_body_is_read(client, dataset):
    """It has nulls, numbers with fractions, and snake_case within the inputs."""
    made = client.post(
        PIPELINES,
        json={
            "displayName": "bank-1",
            "inputDataConfig": {
                "datasetId": dataset,
                "fractionSplit": {"trainingFraction": 0.8, "validationFraction": 0.1,
                                  "testFraction": 0.1},
            },
            "trainingTaskDefinition": DEFINITION,
            "trainingTaskInputs": {
                "targetColumn": "y",
                "predictionType": "classification",
                "transformations": [{"auto": {"column_name": "age"}}],
                "trainBudgetMilliNodeHours": 1000.0,
                "disableEarlyStopping": False,
                "weightColumnName": None,
                "optimizationObjective": None,
                "optimizationObjectiveRecallValue": None,
                "optimizationObjectivePrecisionValue": None,
            },
            "modelToUpload": {"displayName": "bank", "versionAliases": ["default"]},
        },
    ).json()  # fmt: skip
    assert made["trainingTaskInputs"] == {
        "targetColumn": "y",
        "predictionType": "classification",
        "transformations": [{"auto": {"columnName": "age"}}],
        "trainBudgetMilliNodeHours": "1000",
    }


def test_every_violation_is_listed_at_once(client):
    found = violations(client.post(PIPELINES, json={
        "inputDataConfig": {"fractionSplit": {"trainingFraction": 0.9, "testFraction": 0.2},
                            "predefinedSplit": {"key": "s"}},
        "trainingTaskDefinition": "x/automl_image_1.0.0.yaml",
        "trainingTaskInputs": {
            "predictionType": "clustering",
            "targetColumn": "y",
            "transformations": [{"auto": {"columnName": "y"}}, {}, {"text": {}},
                                {"categorical": {"columnName": "a", "invalidValuesAllowed": True}}],
            "trainBudgetMilliNodeHours": 10,
            "colour": "red",
            "rowcast": {"trials": 0, "budgetSeconds": -1},
        },
        "labels": {"A": "b"},
        "modelToUpload": {"versionAliases": ["1"], "labels": {"B": "c"}},
        "modelId": "9x",
    }))  # fmt: skip
    inputs = "training_task_inputs"
    assert set(found) == {
        "display_name",
        "labels[A]",
        "input_data_config",
        "input_data_config.dataset_id",
        "input_data_config.fraction_split",
        "training_task_definition",
        f"{inputs}.prediction_type",
        f"{inputs}.colour",
        f"{inputs}.transformations[0]",
        f"{inputs}.transformations[1]",
        f"{inputs}.transformations[2].text.column_name",
        f"{inputs}.transformations[3].categorical.invalid_values_allowed",
        f"{inputs}.rowcast.trials",
        f"{inputs}.train_budget_milli_node_hours",
        f"{inputs}.rowcast.budget_seconds",
        "model_to_upload.version_aliases[0]",
        "model_to_upload.labels[B]",
        "model_id",
    }


@pytest.mark.parametrize(
    ("inputs", "field"),
    [
        ({"trainBudgetMilliNodeHours": 999}, "train_budget_milli_node_hours"),
        ({"trainBudgetMilliNodeHours": "72001"}, "train_budget_milli_node_hours"),
        ({"trainBudgetMilliNodeHours": None}, "train_budget_milli_node_hours"),
        ({"trainBudgetMilliNodeHours": 1000.5}, "train_budget_milli_node_hours"),
        ({"rowcast": {"budgetSeconds": 5}}, "rowcast.budget_seconds"),
        ({"rowcast": {"maxScoringCost": 0}}, "rowcast.max_scoring_cost"),
        ({"rowcast": {"intervalLevel": 0.4}}, "rowcast.interval_level"),
        ({"rowcast": {"trails": 1}}, "rowcast.trails"),
        ({"targetColumn": ""}, "target_column"),
        ({"weightColumnName": "y"}, "weight_column_name"),
        ({"optimizationObjective": "minimize-rmse"}, "optimization_objective"),
        (
            {"optimizationObjective": "maximize-precision-at-recall"},
            "optimization_objective_recall_value",
        ),
        ({"optimizationObjectiveRecallValue": 0.5}, "optimization_objective_recall_value"),
        (
            {"optimizationObjective": "maximize-recall-at-precision",
             "optimizationObjectivePrecisionValue": 1.5},
            "optimization_objective_precision_value",
        ),
        (
            {"transformations": [{"auto": {"columnName": "a"}, "text": {"columnName": "a"}}]},
            "transformations[0]",
        ),
        (
            {"transformations": [{"auto": {"columnName": "a"}}, {"text": {"columnName": "a"}}]},
            "transformations[1]",
        ),
        (
            {"exportEvaluatedDataItemsConfig": {"destinationBigqueryUri": "bq://p.d.t"}},
            "export_evaluated_data_items_config",
        ),
    ],
)  # fmt: skip
def test_inputs_that_make_no_sense_are_named(client, body, inputs, field):
    answer = client.post(PIPELINES, json=merged(body, trainingTaskInputs=inputs))
    assert f"training_task_inputs.{field}" in violations(answer)


@pytest.mark.parametrize(
    ("split", "field"),
    [
        ({"predefinedSplit": {}}, "predefined_split.key"),
        ({"timestampSplit": {"trainingFraction": 0.5}}, "timestamp_split.key"),
        ({"stratifiedSplit": {"key": ""}}, "stratified_split.key"),
        ({"fractionSplit": {"trainingFraction": 1.2}}, "fraction_split.training_fraction"),
        ({"fractionSplit": {"testFraction": -0.1}}, "fraction_split.test_fraction"),
        ({"filterSplit": {"trainingFilter": "x"}}, "filter_split"),
        ({"predefinedSplit": {"key": "s", "trainingFraction": 0.5}},
         "predefined_split.training_fraction"),
    ],
)  # fmt: skip
def test_splits_that_make_no_sense_are_named(client, body, split, field):
    answer = client.post(PIPELINES, json=merged(body, inputDataConfig=split))
    assert f"input_data_config.{field}" in violations(answer)


def test_seconds_may_be_given_in_place_of_node_hours(client, body):
    inputs = {"trainBudgetMilliNodeHours": None, "rowcast": {"budgetSeconds": 2.5}}
    made = client.post(PIPELINES, json=merged(body, trainingTaskInputs=inputs)).json()
    assert made["trainingTaskInputs"]["rowcast"] == {"budgetSeconds": 2.5}
    assert "trainBudgetMilliNodeHours" not in made["trainingTaskInputs"]


def test_trials_need_no_budget_and_may_have_one(client, body):
    inputs = {"trainBudgetMilliNodeHours": None, "rowcast": {"trials": 2}}
    made = client.post(PIPELINES, json=merged(body, trainingTaskInputs=inputs)).json()
    assert made["trainingTaskInputs"]["rowcast"] == {"trials": 2}
    inputs = {"rowcast": {"trials": 2}}
    answer = client.post(PIPELINES, json=merged(body, trainingTaskInputs=inputs))
    assert answer.status_code == 200


def test_unknown_datasets_and_parents_are_not_found(client, body):
    missing = merged(body, inputDataConfig={"datasetId": "77"})
    assert client.post(PIPELINES, json=missing).status_code == 404
    assert client.post(PIPELINES, json=merged(body, parentModel="nix")).status_code == 404
    assert client.get(PIPELINES).json() == {}


@pytest.mark.parametrize(
    ("parent", "shown"),
    [("5520", 200), (f"{AT[4:]}/models/5520", 200), (f"{AT[4:]}/models/5520@1", 200),
     ("projects/acme/locations/europe-west4/models/5520", 400), ("a/b", 400)],
)  # fmt: skip
def test_the_parent_model_is_one_of_this_place(client, body, parent, shown):
    answer = client.post(PIPELINES, json=merged(body, parentModel=parent))
    assert answer.status_code == shown
    if shown == 200:
        assert answer.json()["parentModel"] == f"{AT[4:]}/models/5520"


def test_a_model_id_that_is_taken_is_refused(client, body, wired):
    wired.store.add_model(make_model("taken"))
    answer = client.post(PIPELINES, json=merged(body, modelId="taken"))
    assert (answer.status_code, answer.json()["error"]["status"]) == (409, "ALREADY_EXISTS")
    assert client.post(PIPELINES, json=merged(body, modelId="soon")).status_code == 200
    assert client.post(PIPELINES, json=merged(body, modelId="soon")).status_code == 409
    both = merged(body, modelId="x", parentModel="5520")
    assert "model_id" in violations(client.post(PIPELINES, json=both))


def test_pipelines_are_listed_by_filter_order_and_mask(client, body):
    for name in "bac":
        client.post(PIPELINES, json=merged(body, displayName=name, labels={"of": name}))

    def names(**query):
        page = client.get(PIPELINES, params=query).json()
        return [one["displayName"] for one in page.get("trainingPipelines", [])]

    assert names() == ["c", "a", "b"]
    assert names(orderBy="display_name") == ["a", "b", "c"]
    assert names(filter='state="PIPELINE_STATE_PENDING" AND labels.of=b') == ["b"]
    assert names(filter="training_task_definition:*tabular*", pageSize=2) == ["c", "a"]
    assert names(filter='state="PIPELINE_STATE_FAILED"') == []
    assert client.get(PIPELINES, params={"filter": 'state="JOB_STATE_FAILED"'}).status_code == 400
    page = client.get(PIPELINES, params={"readMask": "state,modelToUpload.displayName"}).json()
    assert set(page["trainingPipelines"][0]) == {"name", "state", "modelToUpload"}


def test_a_pipeline_that_waits_is_cancelled_at_once_and_can_be_deleted(client, body, dataset):
    path = f"/v1/{client.post(PIPELINES, json=body).json()['name']}"
    for refused in (client.delete(path), client.delete(f"{AT}/datasets/{dataset}")):
        assert refused.json()["error"]["status"] == "FAILED_PRECONDITION"
    assert client.post(f"{path}:cancel", json={}).json() == {}
    shown = client.get(path).json()
    assert shown["state"] == "PIPELINE_STATE_CANCELLED"
    assert shown["error"] == {"code": 1, "message": "CANCELED"}
    assert shown["endTime"]
    assert client.post(f"{path}:cancel").json()["error"]["status"] == "FAILED_PRECONDITION"
    assert client.delete(f"{AT}/datasets/{dataset}").status_code == 200
    assert client.delete(path).json()["done"] is True
    for answer in (client.get(path), client.delete(path), client.post(f"{path}:cancel")):
        assert answer.status_code == 404


def test_a_model_that_is_being_extended_is_not_deleted(client, body):
    path = f"/v1/{client.post(PIPELINES, json=merged(body, parentModel='5520')).json()['name']}"
    refused = client.delete(f"{AT}/models/5520").json()["error"]
    assert refused["status"] == "FAILED_PRECONDITION"
    assert path[4:] in refused["message"]
    client.post(f"{path}:cancel")
    assert client.delete(f"{AT}/models/5520").status_code == 200


def test_progress_and_the_end_are_shown(client, body, wired):
    id_ = client.post(PIPELINES, json=body).json()["name"].rpartition("/")[2]
    pipeline = wired.pipelines.get(PARENT, id_)
    running = replace(
        pipeline,
        state=PipelineState.RUNNING,
        started=START,
        attempts=1,
        progress=TrainingProgress("search", 0.25, "trial 3", 40.04, ("a: 0.5",)),
    )
    shown = render_pipeline(running, 3600)
    training_messages.TrainingPipeline.model_validate(shown)
    assert shown["rowcast"] == {
        "stage": "search",
        "fraction": 0.25,
        "message": "trial 3",
        "secondsLeft": 40.0,
        "candidates": ["a: 0.5"],
        "attempts": 1,
    }
    done = replace(
        running,
        state=PipelineState.SUCCEEDED,
        ended=START,
        progress=None,
        made=MadeModel("77", "1"),
        seconds=1800.0,
        leaderboard=({"name": "medium", "loss": 0.3}, {"name": "broken", "loss": None}),
    )
    shown = render_pipeline(done, 3600)
    training_messages.TrainingPipeline.model_validate(shown)
    assert shown["modelToUpload"]["name"] == f"{AT[4:]}/models/77"
    assert shown["modelToUpload"]["versionId"] == "1"
    assert shown["trainingTaskMetadata"] == {"trainCostMilliNodeHours": "500"}
    leaderboard = [{"name": "medium", "loss": 0.3}, {"name": "broken"}]
    assert shown["rowcast"]["leaderboard"] == leaderboard
    over = render_pipeline(replace(done, seconds=3700.0), 3600)
    assert over["trainingTaskMetadata"] == {"trainCostMilliNodeHours": "1000"}
    failed = replace(running, state=PipelineState.FAILED, error=Status(3, "no target"))
    assert render_pipeline(failed, 3600)["error"] == {"code": 3, "message": "no target"}


def test_models_say_which_pipeline_made_them(client, wired):
    model = saved_model(wired.folder / "m", version="2", minutes=1)
    wired.store.add_model(replace(model, pipeline=f"{AT[4:]}/trainingPipelines/31"))
    shown = client.get(f"{AT}/models/5520").json()
    assert shown["trainingPipeline"] == f"{AT[4:]}/trainingPipelines/31"
