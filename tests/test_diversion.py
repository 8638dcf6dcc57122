"""Programs that know Google's hosts alone, run by ``rowcast exec`` against local servers."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading

import httpx
import pytest

from rowcast.diversion import Target, check_door, diverting
from rowcast.errors import InvalidRequest
from tests.homes import trained_home
from tests.test_serve import serve

pytest.importorskip("grpc", reason="rowcast[grpc] is not installed")


def run(program, *options, home):
    command = [sys.executable, "-m", "rowcast", "exec", "--home", str(home), *options, "--"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ROWCAST_")}
    return subprocess.run(
        [*command, sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)],
        env=environment, capture_output=True, text=True, timeout=110,
    )  # fmt: skip


UNCHANGED = """
    from google.api_core.exceptions import NotFound
    from google.cloud import aiplatform, aiplatform_v1

    aiplatform.init(project="local", location="us-central1")
    print([model.display_name for model in aiplatform.Model.list()])
    try:
        aiplatform.BatchPredictionJob("1")
    except NotFound as error:
        print(error.message)
    rest = aiplatform_v1.ModelServiceClient(
        transport="rest",
        client_options={"api_endpoint": "europe-west4-aiplatform.googleapis.com"},
    )
    print(len(list(rest.list_models(parent="projects/local/locations/us-central1"))))
    """


@pytest.mark.slow
@pytest.mark.parametrize("secure", [False, True], ids=["plaintext", "tls"])
def test_unchanged_code_runs_over_grpc_and_rest(secure):
    import json

    home = trained_home()
    process = serve(home, "--port", "0", "--grpc-port", "0", *(["--tls"] if secure else []))
    try:
        events = [json.loads(process.stderr.readline()) for _ in range(2)]
        serving, door = sorted(events, key=lambda event: event["event"])
        options = ["--server", serving["url"], "--grpc", door["address"]]
        done = run(UNCHANGED, *options, home=home)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert done.stdout.splitlines() == [
        "['churn']",
        "projects/local/locations/us-central1/batchPredictionJobs/1 does not exist.",
        "1",
    ], done.stderr[-2000:]


class Upstream:
    """A server that says what it was asked."""

    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.heads = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.heads.append(connection.recv(65536).decode())
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")

    def close(self):
        self._socket.close()


@pytest.fixture
def upstream():
    server = Upstream()
    yield server
    server.close()


@pytest.fixture
def variables(upstream, tmp_path):
    (tmp_path / "token").write_text("secret")
    url = f"http://127.0.0.1:{upstream.port}"
    with diverting(Target(url, None, tmp_path / "token")) as found:
        yield found


def ask(variables, url):
    context = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
    with httpx.Client(proxy=variables["https_proxy"], verify=context, trust_env=False) as client:
        return client.get(url, headers={"Authorization": "Bearer x"})


@pytest.mark.parametrize(
    "host", ["us-central1-aiplatform.googleapis.com", "storage.googleapis.com"]
)
def test_google_s_hosts_are_answered_by_the_server(variables, upstream, host):
    assert ask(variables, f"https://{host}/v1/x%2Fy?a=1").text == "here"
    (head,) = upstream.heads
    assert head.startswith("GET /v1/x%2Fy?a=1 HTTP/1.1\r\n")
    lines = head.lower().splitlines()
    assert f"host: 127.0.0.1:{upstream.port}" in lines
    assert "authorization: bearer x" in lines


@pytest.mark.parametrize(
    "host", ["googleapis.com.evil.example", "notgoogleapis.com", "127.0.0.1:1"]
)
def test_other_hosts_are_not_answered(variables, upstream, host):
    with pytest.raises(httpx.HTTPError):
        ask(variables, f"https://{host}/")
    assert upstream.heads == []


def test_other_hosts_are_passed_through_unseen(variables, upstream):
    address = variables["https_proxy"].removeprefix("http://")
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % upstream.port)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        connection.sendall(b"anything")
        assert connection.recv(1000).endswith(b"here")
    assert upstream.heads == ["anything"]


def test_what_is_no_connect_is_refused(variables):
    answer = httpx.get(variables["https_proxy"] + "/", trust_env=False)
    assert answer.status_code == 405


def test_nothing_is_left_and_no_key_of_an_authority_stays(variables, tmp_path):
    from pathlib import Path

    folder = Path(variables["SSL_CERT_FILE"]).parent
    assert "ca-key.pem" not in {path.name for path in folder.rglob("*")}
    assert "secret" not in (folder / "credentials.json").read_text()
    assert folder.stat().st_mode & 0o077 == 0


def test_the_program_s_exit_code_and_mistakes_are_told(tmp_path):
    home = tmp_path / "home"
    assert "There is no token" in run("", home=home).stderr
    home.mkdir()
    (home / "token").write_text("secret")
    assert run("raise SystemExit(7)", home=home).returncode == 7
    with pytest.raises(InvalidRequest, match="HOST:PORT"):
        check_door("http://x")
    assert check_door("[::1]:80") == "[::1]:80"
