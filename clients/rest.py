"""A model for clients that cannot make one themselves."""

import json
import ssl
import time
import urllib.request

from steps import SERVER

SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/metadata/tabular_1.0.0.yaml"
DEFINITION = "gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_tabular_1.0.0.yaml"


def train(name, project=SERVER["project"]):
    """Train a model of the example table, with its name as id."""
    parent = f"{SERVER['url']}/v1/projects/{project}/locations/{SERVER['location']}"
    trust = ssl.create_default_context(cafile=SERVER["authority"])

    def ask(path, body=None):
        request = urllib.request.Request(
            f"{parent}/{path}",
            json.dumps(body).encode() if body else None,
            {"Authorization": f"Bearer {SERVER['token']}"},
        )
        return json.load(urllib.request.urlopen(request, context=trust))

    source = {"inputConfig": {"gcsSource": {"uri": [SERVER["data"]]}}}
    made = ask("datasets", {"displayName": name, "metadataSchemaUri": SCHEMA, "metadata": source})
    pipeline = ask(
        "trainingPipelines",
        {
            "displayName": name,
            "inputDataConfig": {"datasetId": made["response"]["name"].rpartition("/")[2]},
            "trainingTaskDefinition": DEFINITION,
            "trainingTaskInputs": {
                "targetColumn": "churn",
                "predictionType": "classification",
                "trainBudgetMilliNodeHours": "1000",
            },
            "modelToUpload": {"displayName": name},
            "modelId": name,
        },
    )
    while not pipeline["state"].endswith(("SUCCEEDED", "FAILED")):
        time.sleep(0.5)
        pipeline = ask(f"trainingPipelines/{pipeline['name'].rpartition('/')[2]}")
    assert pipeline["state"].endswith("SUCCEEDED"), pipeline
