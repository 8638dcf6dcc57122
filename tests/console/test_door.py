"""Who gets in, and what a browser may do with what it gets."""

import re

import pytest
from starlette.websockets import WebSocketDisconnect

from .conftest import COOKIE, TOKEN

JOBS = "/locations/us-central1/batch-predictions"
API = "/v1/projects/local/locations/us-central1/models"
PAGES = ["/", JOBS, f"{JOBS}/new", f"{JOBS}/123", "/locations/us-central1/nix"]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_for_the_login_and_comes_back(anonymous, path):
    answer = anonymous.get(path)
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")
    if path != "/":
        assert answer.headers["location"].endswith(path.replace("/", "%2F"))


@pytest.mark.parametrize(
    "path", ["/_nicegui/client/1/upload/1", "/console/api/storage/v1/b", "/_nicegui_ws/socket.io/"]
)
def test_what_scripts_fetch_is_refused_without_login(anonymous, path):
    assert anonymous.get(path).status_code == 401
    assert anonymous.post(path).status_code == 401


def test_no_connection_is_held_without_login(anonymous):
    with (
        pytest.raises(WebSocketDisconnect),
        anonymous.websocket_connect("/_nicegui_ws/socket.io/?EIO=4&transport=websocket"),
    ):
        pass


def test_the_right_token_is_kept_where_scripts_cannot_read_it(anonymous):
    answer = anonymous.post("/login", data={"token": f" {TOKEN} ", "next": f"{JOBS}?status=FAILED"})
    assert answer.status_code == 303
    assert answer.headers["location"] == f"{JOBS}?status=FAILED"
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"rowcast_8080={TOKEN};")
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert anonymous.get("/").status_code == 200


@pytest.mark.parametrize("token", ["", "nix", TOKEN[:-1], "ü" * 20, "x" * 100_000])
def test_a_wrong_token_is_not_taken(anonymous, token):
    answer = anonymous.post("/login", data={"token": token})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert "does not know that token" in answer.text


@pytest.mark.parametrize(
    "target",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "/v1",
     "/\tevil", "\\\\evil.example", "/login?x=\r\nSet-Cookie: a=b"],
)  # fmt: skip
def test_the_login_leads_to_no_other_place(anonymous, target):
    answer = anonymous.post("/login", data={"token": TOKEN, "next": target})
    assert answer.headers["location"] == "/"
    assert "evil" not in anonymous.get("/login", params={"next": target}).text


def test_logging_out_takes_the_cookie_away(client):
    assert client.get("/logout").status_code == 405
    answer = client.post("/logout")
    assert answer.headers["location"] == "/login"
    assert "rowcast_8080=" in answer.headers["set-cookie"]
    assert "Max-Age=0" in answer.headers["set-cookie"]


@pytest.mark.parametrize("path", PAGES[:3])
def test_a_page_holds_no_token_and_nothing_from_elsewhere(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert TOKEN not in answer.text
    assert TOKEN not in str(answer.headers)
    addresses = re.findall(r"""(?:src|href)=["']?([^"'\s>]+)""", answer.text)
    assert addresses
    assert not [address for address in addresses if re.match(r"(\w+:)?//", address)]
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy


def test_the_api_takes_no_cookie(client):
    assert client.get(API).status_code == 401


def test_pages_of_other_sites_change_nothing(client):
    evil = {"Origin": "https://evil.example"}
    assert client.post("/login", data={"token": TOKEN}, headers=evil).status_code == 403
    assert client.post("/console/api/storage/v1/b", json={}, headers=evil).status_code == 403
    embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert client.get("/", headers=embedded).status_code == 403
    framed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate",
              "Sec-Fetch-Dest": "iframe"}  # fmt: skip
    assert client.get("/", headers=framed).status_code == 403


def test_a_link_to_a_page_may_stand_anywhere(client):
    followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate",
                "Sec-Fetch-Dest": "document"}  # fmt: skip
    assert client.get(JOBS, headers=followed).status_code == 200
    assert client.get(API, headers=followed).status_code == 403


def test_another_host_name_is_refused(client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_what_users_stored_is_saved_and_never_shown(served, client):
    (served.bucket / "page.html").write_text("<script>alert(1)</script>")
    answer = client.get("/console/api/storage/v1/b/shop/o/page.html?alt=media")
    assert answer.text == "<script>alert(1)</script>"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-security-policy"].startswith("sandbox")


def test_a_token_of_the_browser_is_not_passed_on(client):
    headers = {"Authorization": "Bearer nix", "x-goog-api-key": "nix"}
    assert client.get("/console/api/storage/v1/b", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/console/api/login", "/console/api/console/api/storage/v1/b"])
def test_only_the_api_is_behind_the_forward(client, path):
    assert client.get(path).status_code == 404


def test_a_cookie_of_another_server_on_this_machine_is_not_looked_at(anonymous):
    anonymous.cookies.update({"rowcast_9999": TOKEN})
    assert anonymous.get("/").status_code == 303
    assert list(COOKIE) == ["rowcast_8080"]
