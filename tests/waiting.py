"""Waiting for servers that tests have started."""

import json
import time

import httpx


def until_ready(process):
    """Read the log up to the line that names the URL, then wait for /healthz."""
    for line in process.stderr:
        event = json.loads(line)
        if event["event"] == "serving":
            break
    else:
        raise AssertionError("the server ended")
    return until_healthy(event["url"])


def until_healthy(url, **options):
    """Wait for /healthz."""
    for _ in range(300):
        try:
            if httpx.get(url + "/healthz", **options).status_code == 200:
                return url
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("not ready")
