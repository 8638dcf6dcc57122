"""The server process, as other programs see it."""

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys

import httpx
import pytest

from tests.homes import trained_home
from tests.waiting import until_healthy, until_ready


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return trained_home()


def serve(home, *options):
    return subprocess.Popen(
        [sys.executable, "-m", "rowcast", "serve", "--home", str(home), *options],
        env={**os.environ, "ROWCAST_LOG_LEVEL": "info"},
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="module")
def url(home):
    process = serve(home, "--port", "0")
    yield until_ready(process)
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "Traceback" not in rest
    token = (home / "token").read_text().strip()
    kept = [path for path in home.rglob("*") if path.is_file() and path.name != "token"]
    assert not [path for path in kept if token.encode() in path.read_bytes()]
    assert token not in rest


def cli(home, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rowcast", *map(str, arguments)],
        env={**os.environ, "ROWCAST_HOME": str(home)},
        capture_output=True,
        text=True,
    )


def test_a_free_port_is_picked_and_named(url):
    assert int(url.rsplit(":", 1)[1]) > 0


def test_the_token_is_kept_in_the_home_folder(url, home):
    token = (home / "token").read_text().strip()
    models = url + "/v1/projects/local/locations/us-central1/models"
    assert httpx.get(models).status_code == 401
    found = httpx.get(models, headers={"Authorization": f"Bearer {token}"}).json()
    assert found["models"][0]["displayName"] == "churn"


def test_commands_ask_the_server(url, home):
    (home / "buckets" / "shop").mkdir(exist_ok=True, parents=True)
    (home / "buckets" / "shop" / "in.csv").write_bytes((home / "customers.csv").read_bytes())
    done = cli(home, "predict", "churn", "gs://shop/in.csv", "-o", "gs://shop/out", "--json",
               "--server", url)  # fmt: skip
    assert done.returncode == 0, done.stderr
    job = json.loads(done.stdout)
    assert job["completionStats"]["successfulCount"] == "300"
    name = job["name"].rsplit("/", 1)[-1]
    assert name in cli(home, "jobs", "list", "--server", url).stdout
    assert "SUCCEEDED" in cli(home, "jobs", "watch", name, "--server", url).stdout
    assert "JOB_STATE_SUCCEEDED" in cli(home, "jobs", "cancel", name, "--server", url).stderr
    assert "churn" in cli(home, "models", "show", "churn", "--server", url).stdout
    done = cli(home, "report", name, "-o", home / "job.html", "--server", url)
    assert done.returncode == 0, done.stderr
    assert f"for job {name}" in re.sub("<[^>]*>", "", (home / "job.html").read_text())
    done = cli(home, "report", "churn", "-o", home / "model.html", "--server", url)
    assert "churn: model report" in (home / "model.html").read_text(), done.stderr
    assert "blue" in cli(home, "models", "alias", "churn@1", "blue", "--server", url).stdout
    assert "blue" in cli(home, "models", "versions", "churn", "--server", url).stdout
    refused = cli(home, "models", "delete", "churn@blue", "--yes", "--server", url)
    assert "is the default version" in refused.stderr


def test_a_wrong_token_is_explained(url, home):
    done = cli(home, "jobs", "list", "--server", url, "--token", "nix")
    assert done.returncode == 1
    assert "invalid authentication" in done.stderr


def test_a_second_server_on_one_home_is_refused(url, home):
    done = cli(home, "serve", "--port", "0")
    assert done.returncode == 1
    assert f"Another rowcast server works on {home}" in done.stderr


def test_a_port_that_is_taken_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = cli(tmp_path, "serve", "--port", port)
    assert done.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}: address already in use." in done.stderr


@pytest.mark.parametrize("host", ["nix.invalid", "192.0.2.1"])
def test_a_host_that_is_not_here_is_named(tmp_path, host):
    done = cli(tmp_path, "serve", "--port", "0", "--host", host)
    assert done.returncode == 1
    assert host in done.stderr
    assert "Traceback" not in done.stderr


def test_the_port_may_come_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("ROWCAST_PORT", "nix")
    assert "ROWCAST_PORT" in cli(tmp_path, "serve").stderr


def test_both_doors_speak_tls_with_a_certificate_made_at_first_start(tmp_path):
    grpc = pytest.importorskip("grpc", reason="rowcast[grpc] is not installed")
    pytest.importorskip("cryptography", reason="rowcast[grpc] is not installed")
    process = serve(tmp_path, "--port", "0", "--tls", "--grpc-port", "0")
    try:
        events = [json.loads(process.stderr.readline()) for _ in range(2)]
        serving, door = sorted(events, key=lambda event: event["event"])
        authority = tmp_path / "tls" / "ca.pem"
        assert serving["trust"] == str(authority)
        assert door["tls"] is True
        until_healthy(serving["url"], verify=ssl.create_default_context(cafile=authority))
        credentials = grpc.ssl_channel_credentials(authority.read_bytes())
        with grpc.secure_channel(door["address"], credentials) as channel:
            call = channel.unary_unary("/google.longrunning.Operations/ListOperations")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"\x22\x23projects/acme/locations/us-central1", timeout=20)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        listed = cli(tmp_path, "models", "list", "--json", "--server", serving["url"])
        assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
        shown = cli(tmp_path, "tls").stdout
        assert f"export GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={authority}" in shown
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "Traceback" not in rest


def test_a_login_is_kept_once_the_server_knows_the_token(url, home, tmp_path):
    token = (home / "token").read_text()

    def login(text):
        return subprocess.run(
            [sys.executable, "-m", "rowcast", "auth", "login", url, "--home", str(tmp_path)],
            input=text, capture_output=True, text=True,
        )  # fmt: skip

    assert "invalid authentication" in login("wrong\n").stderr
    assert not (tmp_path / "logins").exists()
    assert login(token).returncode == 0
    shown = cli(tmp_path, "auth", "print-access-token", "--server", url)
    assert shown.stdout == token
    models = cli(tmp_path, "models", "list", "--server", url, "--json")
    assert json.loads(models.stdout)[0]["displayName"] == "churn"


def test_google_s_libraries_take_the_credentials_file(url, home, tmp_path):
    pool = pytest.importorskip("google.auth.identity_pool", reason="rowcast[grpc] is not installed")
    from google.auth.transport.requests import Request

    file = tmp_path / "credentials.json"
    done = cli(home, "auth", "credentials-file", "-o", file, "--server", url)
    assert done.stdout == f"export GOOGLE_APPLICATION_CREDENTIALS={file}\n"
    credentials = pool.Credentials.from_file(file)
    credentials.refresh(Request())
    assert credentials.token == (home / "token").read_text().strip()
    assert credentials.token not in file.read_text()
