"""The helper for code that is written for Vertex AI's library, in processes of their own."""

import json
import os
import subprocess
import sys
import warnings

import pytest

from rowcast.errors import InvalidRequest
from rowcast.logins import check_server, keep_token, local_server, token_file, token_for
from rowcast.settings import load_settings
from rowcast.vertex import connect

pytest.importorskip("grpc", reason="rowcast[grpc] is not installed")

PROGRAM = """
import json, os, re, sys, warnings
warnings.simplefilter("ignore")
import rowcast.vertex
rowcast.vertex.connect(**json.loads(sys.argv[1]))
from google.cloud import aiplatform
aiplatform.init(project="acme", location="europe-west4")
config = aiplatform.initializer.global_config
print(json.dumps({
    "endpoint": config.api_endpoint, "transport": config._api_transport,
    "token": config.credentials.token, "project": config.project, "location": config.location,
    "variables": {k: v for k, v in os.environ.items() if re.search("EMULATOR|SSL|BUNDLE", k)},
}))
"""  # fmt: skip


def connected(home, **options):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps({"home": str(home), **options})],
        env={name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_later_calls_of_init_keep_the_server(tmp_path):
    (tmp_path / "token").write_text("secret\n")
    assert connected(tmp_path, server="http://127.0.0.1:9000/") == {
        "endpoint": "http://127.0.0.1:9000",
        "transport": "rest",
        "token": "secret",
        "project": "acme",
        "location": "europe-west4",
        "variables": {
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9000",
            "BIGQUERY_EMULATOR_HOST": "http://127.0.0.1:9000",
        },
    }


def test_grpc_and_https_trust_the_authority_of_the_home_folder(tmp_path):
    authority = tmp_path / "tls" / "ca.pem"
    authority.parent.mkdir()
    authority.write_text("a certificate")
    found = connected(
        tmp_path, server="https://localhost:9000", grpc="localhost:9001", token="given"
    )
    assert (found["endpoint"], found["transport"], found["token"]) == (
        "localhost:9001",
        None,
        "given",
    )
    assert found["variables"]["REQUESTS_CA_BUNDLE"] == str(authority)
    assert found["variables"]["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] == str(authority)


@pytest.fixture
def settings(tmp_path, monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROWCAST_")]:
        monkeypatch.delenv(name)
    return load_settings(home=tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"server": "127.0.0.1:9000"},
        {"server": "http://"},
        {"server": "http://h:x"},
        {"server": "http://h/path"},
        {"server": "http://h:1", "token": "t", "grpc": "http://h:2"},
        {"server": "http://h:1"},
    ],
)
def test_mistakes_are_explained(settings, options):
    with pytest.raises(InvalidRequest), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        connect(home=settings.home, **options)


def test_the_server_of_the_settings(settings):
    def url(**changes):
        return local_server(settings.model_copy(update=changes))

    assert url() == "http://127.0.0.1:8080"
    assert url(host="0.0.0.0", tls=True, port=1) == "https://localhost:1"
    assert url(host="::1") == "http://[::1]:8080"
    assert check_server("https://ann:secret@h:1/") == "https://h:1"


def test_a_login_goes_before_the_token_of_this_installation(settings):
    assert token_for(settings, "http://h:1") is None
    (settings.home / "token").write_text("own\n")
    path = keep_token(settings, "http://H:1", "theirs")
    assert path.stat().st_mode & 0o777 == 0o600
    assert token_for(settings, "http://h:1/") == "theirs"
    assert token_for(settings, "http://h:2") == "own"
    assert token_file(settings, "http://h:2") == settings.home / "token"
