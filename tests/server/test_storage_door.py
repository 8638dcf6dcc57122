"""Objects by the names and answers of Cloud Storage's JSON API."""

from urllib.parse import quote

import pytest

BUCKETS = "/storage/v1/b"
UPLOAD = "/upload/storage/v1/b/shop/o"


@pytest.fixture
def bucket(client, wired):
    (wired.folder / "buckets").mkdir()
    assert client.post(BUCKETS, json={"name": "shop"}).json()["name"] == "shop"
    return wired.folder / "buckets" / "shop"


def upload(client, name, content, **more):
    return client.post(UPLOAD, params={"name": name, **more}, content=content)


def test_buckets_are_made_and_listed(client, bucket):
    assert [item["name"] for item in client.get(BUCKETS).json()["items"]] == ["shop"]
    assert client.post(BUCKETS, json={"name": "shop"}).status_code == 409
    for name in ("", "../x", "a/b", ".hidden", 5, None):
        assert client.post(BUCKETS, json={"name": name}).status_code == 400
    (bucket.parent / "link").symlink_to("/etc")
    assert [item["name"] for item in client.get(BUCKETS).json()["items"]] == ["shop"]


def test_an_object_comes_back_as_it_went_in(client, bucket):
    content = bytes(range(256)) * 10_000
    made = upload(client, "in/a b?%.csv", content).json()
    assert (made["name"], made["size"]) == ("in/a b?%.csv", str(len(content)))
    path = f"{BUCKETS}/shop/o/{quote('in/a b?%.csv', safe='')}"
    assert client.get(path).json()["size"] == str(len(content))
    assert client.get(path, params={"alt": "media"}).content == content
    assert client.get(made["mediaLink"]).content == content
    assert upload(client, "in/a b?%.csv", b"new").json()["size"] == "3"
    assert client.delete(path).status_code == 204
    assert client.get(path).status_code == 404


@pytest.mark.parametrize(
    ("asked", "code", "first", "end"),
    [("bytes=2-5", 206, 2, 6), ("bytes=3-", 206, 3, 10), ("bytes=5-99", 206, 5, 10),
     ("bytes=10-", 416, 0, 0), ("nonsense", 200, 0, 10)],
)  # fmt: skip
def test_a_range_is_answered(client, bucket, asked, code, first, end):
    upload(client, "a.txt", b"0123456789")
    answer = client.get(f"{BUCKETS}/shop/o/a.txt?alt=media", headers={"Range": asked})
    assert answer.status_code == code
    assert answer.content == b"0123456789"[first:end]


def test_folders_are_listed_one_at_a_time_or_all_in_all(client, bucket):
    for name in ("a.csv", "in/b.csv", "in/c.csv", "in/deep/d.csv", "in[1]/e.csv"):
        upload(client, name, b"x")
    found = client.get(f"{BUCKETS}/shop/o", params={"delimiter": "/"}).json()
    assert [item["name"] for item in found["items"]] == ["a.csv"]
    assert found["prefixes"] == ["in/", "in[1]/"]
    found = client.get(f"{BUCKETS}/shop/o", params={"delimiter": "/", "prefix": "in/"}).json()
    assert [item["name"] for item in found["items"]] == ["in/b.csv", "in/c.csv"]
    assert found["prefixes"] == ["in/deep/"]
    for prefix, names in {
        "in/": ["in/b.csv", "in/c.csv", "in/deep/d.csv"],
        "in[1]": ["in[1]/e.csv"],
        "nix": [],
    }.items():
        found = client.get(f"{BUCKETS}/shop/o", params={"prefix": prefix}).json()
        assert [item["name"] for item in found["items"]] == names


@pytest.mark.parametrize("name", ["../x", "a/../../x", "a\x00b", "..", ".", "a\\b", ""])
def test_no_name_leads_out_of_the_bucket(client, bucket, name):
    assert upload(client, name, b"x").status_code == 400
    assert not [path for path in bucket.parent.rglob("*") if path.is_file()]


def test_a_link_is_not_followed(client, bucket, tmp_path):
    (tmp_path / "secret").write_text("secret")
    (bucket / "link").symlink_to(tmp_path / "secret")
    assert client.get(f"{BUCKETS}/shop/o/link?alt=media").status_code in (403, 404)


def test_an_upload_that_breaks_leaves_nothing(client, bucket):
    def breaking():
        yield b"half"
        raise RuntimeError

    assert upload(client, "a.csv", breaking()).status_code == 500
    assert list(bucket.iterdir()) == []


def test_what_is_not_offered_is_refused(client, anonymous, bucket):
    assert upload(client, "a", b"x", uploadType="resumable").status_code == 400
    assert client.get(f"{BUCKETS}/shop/o", params={"delimiter": "x"}).status_code == 400
    assert client.get(f"{BUCKETS}/nix/o").status_code == 400
    assert anonymous.get(BUCKETS).status_code == 401
    assert anonymous.post(UPLOAD, params={"name": "a"}, content=b"x").status_code == 401
