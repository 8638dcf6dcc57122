"""The Java sample, built by its own build file."""

import subprocess
import time

from rest import train
from steps import HOW, SERVER, step

NAME = f"java{int(time.time() * 1000)}"
train(NAME, project="local")

with step("predict"):
    door = [SERVER["grpc"], SERVER["token"], SERVER["data"], SERVER["out"]]
    trust = [SERVER["authority"]] if SERVER["authority"] else []
    done = subprocess.run(
        ["java", "-cp", f"{HOW}/classes:{HOW}/lib/*", "Rowcast", *door, *trust],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
    assert "JOB_STATE_SUCCEEDED 1200" in done.stdout, done.stdout

with step("delete"):
    assert done.stdout.endswith("deleted\n")
