"""Google's own client of Cloud Storage against the door, unchanged but for the address."""

import io
import os

import httpx
import pytest

storage = pytest.importorskip("google.cloud.storage")
from google.api_core.exceptions import NotFound, PreconditionFailed  # noqa: E402
from google.oauth2.credentials import Credentials  # noqa: E402


@pytest.fixture(scope="module")
def bucket(server):
    url, token, _ = server
    client = storage.Client(
        project="acme", credentials=Credentials(token), client_options={"api_endpoint": url}
    )
    yield client.create_bucket("things")
    client.close()


def test_buckets_are_looked_up_and_listed(bucket):
    client = bucket.client
    assert client.get_bucket("things").name == "things"
    assert "things" in {b.name for b in client.list_buckets()}
    with pytest.raises(NotFound):
        client.get_bucket("nothing")


@pytest.mark.parametrize("size", [0, 10, 700_000])
def test_objects_come_back_byte_for_byte(bucket, size):
    data = os.urandom(size)
    blob = bucket.blob("in/a b&c=é.bin")
    blob.upload_from_string(data)
    again = bucket.get_blob("in/a b&c=é.bin")
    assert (again.size, again.download_as_bytes()) == (size, data)
    assert again.generation == blob.generation


def test_objects_are_sent_in_chunks(bucket, server):
    data = os.urandom(1_300_000)
    blob = bucket.blob("in/chunks.bin", chunk_size=256 * 1024)
    blob.upload_from_file(io.BytesIO(data))
    assert blob.download_as_bytes() == data
    assert (server[2] / "buckets" / "things" / "in" / "chunks.bin").read_bytes() == data
    with bucket.blob("in/stream.bin").open("wb", chunk_size=256 * 1024) as file:
        file.write(data)
    with bucket.blob("in/stream.bin").open("rb", chunk_size=256 * 1024) as file:
        assert file.read() == data


def test_ranges_are_parts_of_the_bytes(bucket):
    bucket.blob("r.txt").upload_from_string(b"0123456789")
    assert bucket.blob("r.txt").download_as_bytes(start=2, end=4) == b"234"
    assert bucket.blob("r.txt").download_as_bytes(start=8, end=999) == b"89"


def test_lists_have_prefixes_folders_and_pages(bucket):
    names = [f"list/{folder}/{n}.csv" for folder in "ab" for n in range(3)] + ["list/x.csv"]
    for name in names:
        bucket.blob(name).upload_from_string(b"x")
    client = bucket.client
    assert [b.name for b in client.list_blobs(bucket, prefix="list/")] == sorted(names)
    assert [b.name for b in client.list_blobs(bucket, prefix="list/", page_size=2)] == sorted(names)
    found = client.list_blobs(bucket, prefix="list/", delimiter="/")
    assert [b.name for b in found] == ["list/x.csv"]
    assert found.prefixes == {"list/a/", "list/b/"}
    bucket.delete_blobs(list(client.list_blobs(bucket, prefix="list/")))
    assert list(client.list_blobs(bucket, prefix="list/")) == []


def test_conditions_keep_what_is_there(bucket):
    blob = bucket.blob("once.txt")
    blob.upload_from_string(b"first", if_generation_match=0)
    for condition in (0, blob.generation + 1):
        with pytest.raises(PreconditionFailed):
            bucket.blob("once.txt").upload_from_string(b"no", if_generation_match=condition)
    with pytest.raises(PreconditionFailed):
        blob.delete(if_generation_match=blob.generation + 1)
    before = blob.generation
    blob.upload_from_string(b"second", if_generation_match=before)
    assert blob.generation != before
    assert bucket.blob("once.txt").download_as_bytes() == b"second"


def test_objects_are_composed_copied_and_deleted(bucket):
    for name in ("one", "two"):
        bucket.blob(name).upload_from_string(name.encode())
    bucket.blob("both").compose([bucket.blob("one"), bucket.blob("two")])
    assert bucket.blob("both").download_as_bytes() == b"onetwo"
    bucket.copy_blob(bucket.blob("both"), bucket, "deep/copy")
    other = bucket.blob("rewritten")
    token, done, total = other.rewrite(bucket.blob("both"))
    assert (token, done, total) == (None, 6, 6)
    assert bucket.blob("deep/copy").download_as_bytes() == other.download_as_bytes() == b"onetwo"
    other.delete()
    with pytest.raises(NotFound):
        other.delete()
    assert not other.exists()


@pytest.mark.parametrize(
    ("boundary", "end"), [("'==single=='", "\n"), ('"==double=="', "\r\n"), ("==plain==", "\r\n")]
)
def test_parts_are_read_whatever_their_line_ends(bucket, server, boundary, end):
    url, token, _ = server
    mark = boundary.strip("'\"")
    data = b"--==not the boundary\r\n\r\nlast line\n"
    body = (
        (
            f"--{mark}{end}content-type: application/json{end}{end}"
            f'{{"name": "parts.bin"}}{end}--{mark}{end}content-type: text/plain{end}{end}'
        ).encode()
        + data
        + f"{end}--{mark}--{end}".encode()
    )
    answer = httpx.post(
        f"{url}/upload/storage/v1/b/things/o?uploadType=multipart",
        content=body,
        headers={
            "Authorization": f"Bearer {token}",
            "content-type": f"multipart/related; boundary={boundary}",
        },
    )
    assert answer.status_code == 200
    assert bucket.blob("parts.bin").download_as_bytes() == data


PARTS = {"content-type": "multipart/related; boundary=b"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"x"),
        (PARTS, b"no parts at all"),
        (PARTS, b"--b\r\n\r\nnot json\r\n--b\r\n\r\nx\r\n--b--"),
        (PARTS, b"--b\r\n\r\n{}\r\n--b\r\n\r\nx"),
        (PARTS, b'--b\r\n\r\n{"name": "../x"}\r\n--b\r\n\r\nx\r\n--b--'),
    ],
)
def test_uploads_that_are_none_are_refused_and_leave_nothing(server, headers, body):
    url, token, home = server
    answer = httpx.post(
        f"{url}/upload/storage/v1/b/things/o?uploadType=multipart",
        content=body,
        headers={"Authorization": f"Bearer {token}", **headers},
    )
    assert answer.status_code == 400
    assert list((home / "warehouse" / "waiting" / "transfers").iterdir()) == []


def test_a_session_that_is_unknown_or_out_of_step_is_refused(bucket, server):
    url, token, _ = server
    auth = {"Authorization": f"Bearer {token}"}
    place = f"{url}/upload/storage/v1/b/things/o?uploadType=resumable"
    assert httpx.put(f"{place}&upload_id=nix", content=b"x", headers=auth).status_code == 404
    session = httpx.post(f"{place}&name=steps.bin", json={}, headers=auth).headers["location"]
    first = httpx.put(session, content=b"abc", headers={**auth, "content-range": "bytes 0-2/*"})
    assert (first.status_code, first.headers["range"]) == (308, "bytes=0-2")
    wrong = httpx.put(session, content=b"abc", headers={**auth, "content-range": "bytes 9-11/12"})
    assert wrong.status_code == 400
    asked = httpx.put(session, headers={**auth, "content-range": "bytes */*"})
    assert (asked.status_code, asked.headers["range"]) == (308, "bytes=0-2")
    last = httpx.post(session, content=b"de", headers={**auth, "content-range": "bytes 3-4/5"})
    assert last.json()["size"] == "5"
    assert bucket.blob("steps.bin").download_as_bytes() == b"abcde"
