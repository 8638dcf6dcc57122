"""Thousands of hostile names in every field that takes one: nothing beside buckets is touched."""

import itertools
import os
from urllib.parse import quote

import pytest

from rowcast.errors import RowcastError
from rowcast.storage.objects import Objects, Roots

from .test_permissions import PARENT, TOKEN, Office

CANARY = "the-canary-sings"
UPS = ["..", ".", "%2e%2e", "%2E%2e", "..%2f", "%252e%252e", "..;", "...", "..\\", "%c0%ae%c0%ae",
       "..%00", "%u002e%u002e", "\uff0e\uff0e", "link", ".%2e", "..%5c"]  # fmt: skip
JOINS = ["/", "//", "/./", "\\", "%2f", "%5c", "/;/", "#/", "?/", "/%20/"]
HEADS = ["gs://shop/", "gs://shop", "gs:///", "gs://", "gs://shop@", "s3://shop/", "file://{home}/",
         "file:///", "file://localhost{home}/", "{home}/", "/", "//", "\\\\", "GS://shop/",
         "gs://shop:80/", "gs://link/", "file:{home}/", "http://127.0.0.1/"]  # fmt: skip
TAILS = ["secret/canary.csv", "secret/", "secret/*", "**", "canary.csv", "etc/passwd"]


def corpus(home):
    """Every head, two ways up, a join and a tail, in an order that mixes them: 5,000 URIs."""
    made = itertools.product(HEADS, UPS, JOINS, ("", "../", "../../", "link/"), TAILS)
    texts = [
        f"{head}{up}{join}{more}{tail}".replace("{home}", str(home))
        for head, up, join, more, tail in made
    ]
    return texts[:: max(1, len(texts) // 5000)][:5000]


@pytest.fixture
def home(tmp_path):
    """Buckets, and beside them a secret that links from within lead to."""
    secret = tmp_path / "secret"
    (tmp_path / "buckets" / "shop" / "in").mkdir(parents=True)
    secret.mkdir()
    (secret / "canary.csv").write_text(f"a\n{CANARY}\n")
    (tmp_path / "buckets" / "shop" / "link").symlink_to(secret)
    (tmp_path / "buckets" / "link").symlink_to(secret)
    return tmp_path


def untouched(home):
    secret = home / "secret"
    return os.listdir(secret) == ["canary.csv"] and CANARY in (secret / "canary.csv").read_text()


def outside(home):
    """Every file that is not in a bucket, but for what the server keeps itself."""
    return {
        path
        for path in home.rglob("*")
        if path.is_file() and "buckets" not in path.parts and not path.name.startswith("rowcast.db")
    }


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_hostile_uri_reads_or_writes_outside_of_its_bucket(home):
    objects = Objects(Roots(home / "buckets", home / "s3", ()))
    before, uris, refused = outside(home), corpus(home), 0
    assert len(uris) == 5000
    for uri in uris:
        for act in (objects.list, objects.read_bytes, lambda u: _put(objects, u)):
            try:
                found = act(uri)
            except RowcastError:
                refused += 1
            else:
                assert CANARY not in str(found)
                assert "secret" not in str(found) or str(home / "secret") not in str(found)
    assert untouched(home)
    assert outside(home) == before
    assert refused > 5000


def _put(objects, uri):
    with objects.create(uri) as file:
        file.write(b"written")


def _previewed(uri, _):
    return {"json": {"inputConfig": {"gcsSource": {"uri": [uri]}}}}


def _uploaded(uri, name):
    model = {"displayName": uri[:100], "artifactUri": uri}
    return {"json": {"model": model, "modelId": name}}


REQUESTS = [
    ("POST", f"{PARENT}/datasets:preview", _previewed),
    ("POST", f"{PARENT}/models:upload", _uploaded),
    ("GET", "/storage/v1/b/shop/o/NAME?alt=media", None),
    ("POST", "/upload/storage/v1/b/shop/o?name=NAME", lambda *_: {"content": b"x"}),
    ("GET", "/storage/v1/b/NAME/o", None),
    ("GET", "/storage/v1/b/shop/o?prefix=NAME", None),
    ("DELETE", "/storage/v1/b/shop/o/NAME", None),
    ("GET", f"{PARENT}/models/NAME", None),
    ("GET", f"{PARENT}/batchPredictionJobs/NAME", None),
]
"""Each field of a request that takes a URI or a name."""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_hostile_name_in_a_request_gets_out(home):
    office = Office(home)
    owner = office.showing(TOKEN)
    before = outside(home)
    try:
        for number, uri in enumerate(corpus(home)):
            name = uri.rpartition("://")[2]
            method, path, body = REQUESTS[number % len(REQUESTS)]
            path = path.replace("NAME", quote(name, safe=""))
            answer = owner.request(method, path, **(body(uri, name) if body else {}))
            assert answer.status_code < 500, (uri, answer.text)
            assert CANARY not in answer.text, uri
    finally:
        office.made.store.close()
    assert untouched(home)
    assert {path for path in outside(home) if path.name != "audit.jsonl"} <= before
