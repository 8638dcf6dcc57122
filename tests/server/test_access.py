import itertools
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.websockets import WebSocketDisconnect

from rowcast.errors import InvalidRequest, PermissionDenied
from rowcast.server.access import Access, check_bind, load_or_make_token

from .conftest import BASE, TOKEN

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
UNKNOWN = ("/", "/v1", "/docs", "/redoc", "/openapi.json", "/healthz/", "/HEALTHZ", "//healthz")
JOBS = "/v1/projects/acme/locations/us-central1/batchPredictionJobs"


def paths(app):
    known = [re.sub(r"\{\w+\}", "7", path) for path in app.openapi()["paths"]]
    known = [path for path in known if path != "/healthz"]
    aliases = [path.replace("/v1/", f"/{base}/") for path in known for base in ("v1beta1", "ui")]
    return [*known, *aliases, *UNKNOWN]


def status_of(answer):
    return answer.status_code, answer.json()["error"]["status"] if answer.content else None


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"x-goog-api-key": "wrong"},
    ],
)
def test_no_route_answers_without_the_token(wired, anonymous, headers):
    walked = 0
    for path, method in itertools.product(paths(wired.app), METHODS):
        answer = anonymous.request(method, path, headers=headers, content=b"{}")
        assert answer.status_code == 401, (method, path)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        if method != "HEAD":
            assert status_of(answer) == (401, "UNAUTHENTICATED")
        walked += 1
    assert walked > 200


def test_the_token_is_not_taken_from_the_query(anonymous):
    assert anonymous.get(JOBS, params={"key": TOKEN, "access_token": TOKEN}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {TOKEN}"},
        {"authorization": f"bearer  {TOKEN} "},
        {"x-goog-api-key": TOKEN},
    ],
)
def test_the_token_opens_as_bearer_or_api_key(anonymous, headers):
    assert anonymous.get(JOBS, headers=headers).status_code == 200


def test_health_needs_no_token_but_the_right_host(anonymous):
    answer = anonymous.get("/healthz")
    assert answer.json()["status"] == "ok"
    assert set(answer.json()) == {"status", "version"}
    assert status_of(anonymous.get("/healthz", headers={"Host": "evil.example"}))[0] == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:9999",
        "[::1]:8080",
        "[::1]",
        "rowcast.example",
        "rowcast.example:443",
        "Proxy.example:8443",
    ],
)
def test_hosts_that_name_this_server_are_served(client, host):
    assert client.get(JOBS, headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "localhost@evil.example",
        "localhost:8080@evil.example",
        "localhost, evil.example",
        "10.0.0.1",
        "0.0.0.0",
        "proxy.example",
        "proxy.example:80",
        "[::2]",
        "[::1].evil.example",
        "[::1]evil",
        "localhost:x",
        "2130706433",
    ],
)
def test_other_hosts_are_refused_on_every_method_and_path(wired, client, host):
    for path, method in itertools.product((JOBS, "/nowhere", "/healthz"), METHODS):
        answer = client.request(method, path, headers={"Host": host})
        assert answer.status_code == 403
        assert method == "HEAD" or status_of(answer) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:8080.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_requests_for_other_sites_are_refused_on_every_method(client, headers):
    for path, method in itertools.product((JOBS, "/openapi.json", "/none", "/healthz"), METHODS):
        assert client.request(method, path, headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers", [{"Origin": BASE}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_requests_of_the_servers_own_pages_are_served(client, headers):
    assert client.get(JOBS, headers=headers).status_code == 200


def test_no_answer_allows_another_origin(client):
    answer = client.options(JOBS, headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_websockets_are_refused_without_the_token(anonymous):
    with pytest.raises(WebSocketDisconnect) as caught, anonymous.websocket_connect("/v1"):
        pass
    assert caught.value.code == 1008


def test_an_access_shows_no_token():
    assert TOKEN not in repr(Access(TOKEN))
    with pytest.raises(InvalidRequest):
        Access(" ")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_loopback_may_be_bound_without_a_token(host):
    check_bind(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "rowcast.example"])
def test_other_addresses_need_a_token(host):
    with pytest.raises(InvalidRequest, match="without a token"):
        check_bind(host, None)
    check_bind(host, TOKEN)


def test_a_token_is_made_once_and_is_secret(tmp_path):
    home = tmp_path / "home"
    token = load_or_make_token(home)
    assert len(token) >= 43
    assert load_or_make_token(home) == token
    assert stat.S_IMODE((home / "token").stat().st_mode) == 0o600
    assert os.listdir(home) == ["token"]


def test_servers_that_start_together_share_a_token(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: load_or_make_token(tmp_path), range(64)))) == 1
    assert os.listdir(tmp_path) == ["token"]


def test_a_token_file_that_is_open_empty_or_a_link_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o644)
    with pytest.raises(PermissionDenied, match="read by others"):
        load_or_make_token(tmp_path)
    path.chmod(0o600)
    path.write_text("\n")
    with pytest.raises(InvalidRequest, match="no token"):
        load_or_make_token(tmp_path)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionDenied):
        load_or_make_token(tmp_path)
