"""gcloud: models and operations; it has no command for batch predictions."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from rest import train
from steps import SERVER, step

NAME = f"gcloud{int(time.time() * 1000)}"
FOLDER = tempfile.mkdtemp()
TOKEN = Path(FOLDER) / "token"
TOKEN.write_text(SERVER["token"])
ENVIRONMENT = {
    **os.environ,
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_AIPLATFORM": f"{SERVER['url']}/",
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": f"{SERVER['url']}/storage/v1/",
    "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(TOKEN),
    "CLOUDSDK_CORE_PROJECT": SERVER["project"],
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
    "CLOUDSDK_CONFIG": FOLDER,
}


def run(*words):
    """Run a command; what it printed."""
    done = subprocess.run(
        words,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-1000:])
    return done.stdout


def gcloud(*words):
    """Run a command about models; its answer."""
    text = run("gcloud", *words, f"--region={SERVER['location']}", "--format=json", "--quiet")
    return json.loads(text) if text.strip() else None


train(NAME)

with step("model"):
    (model,) = [m for m in gcloud("ai", "models", "list") if m["displayName"] == NAME]
    assert gcloud("ai", "models", "describe", NAME)["name"] == model["name"]

with step("results"):
    copy = Path(FOLDER) / "copy.csv"
    bucket, _, name = SERVER["data"].removeprefix("gs://").partition("/")
    run("gcloud", "storage", "cp", SERVER["data"], str(copy))
    assert len(copy.read_text().splitlines()) == 1201
    run("gcloud", "storage", "cp", str(copy), f"gs://{bucket}/{NAME}.csv")
    assert f"gs://{bucket}/{NAME}.csv" in run("gcloud", "storage", "ls", f"gs://{bucket}")
    assert run("gcloud", "storage", "cat", f"gs://{bucket}/{NAME}.csv") == copy.read_text()
    run("gcloud", "storage", "rm", f"gs://{bucket}/{NAME}.csv")

with step("errors"):
    try:
        gcloud("ai", "models", "describe", "none")
    except RuntimeError as error:
        assert "does not exist" in str(error), error
    else:
        raise AssertionError("it was not refused")

with step("delete"):
    gcloud("ai", "models", "delete", NAME)
    assert NAME not in {m["displayName"] for m in gcloud("ai", "models", "list") or []}
