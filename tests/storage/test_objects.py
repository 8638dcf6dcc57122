import errno
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.errors import (
    FailedPrecondition,
    InputChanged,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RowcastError,
)
from rowcast.storage.objects import Objects, Roots


@pytest.fixture
def home(tmp_path):
    (tmp_path / "gs" / "bucket" / "in").mkdir(parents=True)
    (tmp_path / "allowed").mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "canary.csv").write_text("secret")
    return tmp_path


@pytest.fixture
def objects(home):
    return Objects(Roots(home / "gs", home / "s3", (home / "allowed",)))


def put(objects, uri, data=b"x"):
    with objects.create(uri) as file:
        file.write(data)


def names(objects, uri):
    return [item.uri for item in objects.list(uri)]


def test_what_is_written_is_read_back_by_every_spelling_of_its_place(objects, home):
    put(objects, "gs://bucket/in/a.csv", b"a")
    put(objects, str(home / "allowed" / "b c.csv"), b"b")
    assert objects.read_bytes("gs://bucket/in/a.csv") == b"a"
    assert objects.read_bytes(f"file://{home}/allowed/b%20c.csv") == b"b"
    assert objects.read_bytes(f"file://localhost{home}/allowed/b%20c.csv") == b"b"
    assert (home / "gs" / "bucket" / "in" / "a.csv").read_bytes() == b"a"


def test_wildcards_follow_the_rules_of_object_stores(objects):
    for name in ("a.csv", "b.csv", "deep/c.csv", "deep/er/d.csv", "x[1].csv", "e.txt"):
        put(objects, f"gs://bucket/in/{name}")
    at = "gs://bucket/in/"
    assert names(objects, at + "*.csv") == [at + n for n in ("a.csv", "b.csv", "x[1].csv")]
    assert names(objects, at + "[ab].csv") == [at + "a.csv", at + "b.csv"]
    assert names(objects, at + "[!a].csv") == [at + "b.csv"]
    assert names(objects, at + "?.txt") == [at + "e.txt"]
    assert names(objects, at + "*/*.csv") == [at + "deep/c.csv"]
    assert names(objects, at + "deep/**") == [at + "deep/c.csv", at + "deep/er/d.csv"]
    assert names(objects, at + "**/d.csv") == [at + "deep/er/d.csv"]
    assert names(objects, at + "x[1].csv") == [at + "x[1].csv"]
    with pytest.raises(NotFound, match=r"No object matches .*/z\*"):
        objects.list(at + "z*")


def test_a_missing_bucket_is_told_from_a_missing_object(objects):
    with pytest.raises(FailedPrecondition, match="Bucket 'nothing'"):
        objects.list("gs://nothing/a.csv")
    with pytest.raises(NotFound):
        objects.list("gs://bucket/nothing.csv")
    with pytest.raises(NotFound, match="folder"):
        objects.stat("gs://bucket/in")


HOSTILE = [
    "gs://bucket/../secret/canary.csv",
    "gs://bucket/in/../../../secret/canary.csv",
    "gs://bucket/in/./a.csv",
    "gs://bucket/%2e%2e/secret/canary.csv",
    "gs://bucket/..%2fsecret%2fcanary.csv",
    "gs://bucket/..%5csecret",
    "gs://bucket/%252e%252e/secret",
    "gs://bucket/a\0.csv",
    "gs://bucket/a%00.csv",
    "gs://bucket/a#/../../secret/canary.csv",
    "gs://bucket/..\\secret\\canary.csv",
    "gs://user:password@bucket/a.csv",
    "gs://bucket:80/a.csv",
    "gs://../secret/canary.csv",
    "gs://./canary.csv",
    "gs:///etc/passwd",
    "gs://",
    "s3://b/../x",
    "file://evil.host/etc/passwd",
    "file:etc/passwd",
    "file:///%c0%ae%c0%ae/etc/passwd",
    "http://127.0.0.1/a.csv",
    "ftp://bucket/a.csv",
    "bq://p.d.t",
    "",
    "\n",
    "{home}/secret/canary.csv",
    "{home}/allowed/../secret/canary.csv",
    "{home}/allowed/link/canary.csv",
    "{home}/allowed/link.csv",
    "file://{home}/secret/canary.csv",
    "file://{home}/allowed/../secret/canary.csv",
    "file://{home}/allowed/%2e%2e/secret/canary.csv",
    "file://{home}/allowed/link/canary.csv",
    "gs://bucket/link/canary.csv",
    "gs://bucket/link.csv",
    "/etc/passwd",
    "//etc/passwd",
]


@pytest.mark.parametrize("uri", HOSTILE)
def test_no_uri_leaves_its_root(objects, home, uri):
    for folder in (home / "allowed", home / "gs" / "bucket"):
        (folder / "link").symlink_to(home / "secret")
        (folder / "link.csv").symlink_to(home / "secret" / "canary.csv")
    uri = uri.replace("{home}", str(home))
    for act in (objects.list, objects.stat, objects.read_bytes, lambda u: put(objects, u)):
        try:
            act(uri)
        except RowcastError:
            continue
        assert uri.endswith("link.csv"), uri  # replacing a link is not following it
        os.unlink(home / "gs" / "bucket" / "link.csv")
    assert (home / "secret" / "canary.csv").read_text() == "secret"
    assert os.listdir(home / "secret") == ["canary.csv"]


@given(st.text(max_size=40), st.sampled_from(["gs://bucket/", "file:///", "s3://", ""]))
def test_any_text_is_resolved_beneath_a_root_or_refused(text, scheme):
    objects = Objects(Roots("/srv/gs", "/srv/s3", ("/srv/allowed",)))
    try:
        location = objects.resolve(scheme + text)
    except (InvalidRequest, PermissionDenied):
        return
    assert ".." not in location.parts
    assert str(location.root) in ("/srv/gs", "/srv/s3", "/srv/allowed")


def test_nothing_appears_if_the_writer_fails(objects, home):
    with pytest.raises(KeyError), objects.create("gs://bucket/out/a.csv") as file:
        file.write(b"half")
        raise KeyError
    assert list((home / "gs" / "bucket" / "out").iterdir()) == []


def test_an_object_is_replaced_whole(objects):
    put(objects, "gs://bucket/a", b"old")
    with objects.create("gs://bucket/a") as file:
        file.write(b"new")
        assert objects.read_bytes("gs://bucket/a") == b"old"
    assert objects.read_bytes("gs://bucket/a") == b"new"


def test_a_full_disk_is_reported_with_the_bytes_left(objects):
    with (
        pytest.raises(ResourceExhausted, match=r"[\d,]+ bytes are free"),
        objects.create("gs://bucket/a"),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_replaced_object_is_noticed_before_and_while_it_is_read(objects, home):
    put(objects, "gs://bucket/a", b"old")
    planned = objects.stat("gs://bucket/a")
    put(objects, "gs://bucket/a", b"newer")
    with pytest.raises(InputChanged, match=planned.version):
        objects.open(planned)
    planned = objects.stat("gs://bucket/a")
    with objects.open(planned) as reader:
        (home / "gs" / "bucket" / "a").write_bytes(b"cut")
        with pytest.raises(InputChanged):
            reader.read_range(0, 5)
        with pytest.raises(InputChanged):
            reader.check()
    objects.delete("gs://bucket/a")
    with pytest.raises(InputChanged, match="nothing was found"):
        objects.open(planned)


def test_what_interrupted_writers_leave_is_swept_and_never_listed(objects, home):
    put(objects, "gs://bucket/out/a")
    (home / "gs" / "bucket" / "out" / ".rowcast-tmp-1").write_text("half")
    assert names(objects, "gs://bucket/out/*") == ["gs://bucket/out/a"]
    objects.sweep_temporaries("gs://bucket/out/")
    assert os.listdir(home / "gs" / "bucket" / "out") == ["a"]


def test_wildcards_pass_over_what_unfinished_jobs_stage(objects):
    put(objects, "gs://bucket/out/a.csv")
    put(objects, "gs://bucket/out/_staging/part-1.csv")
    assert names(objects, "gs://bucket/out/**.csv") == ["gs://bucket/out/a.csv"]


def test_deleting_is_quiet_about_what_is_not_there_and_never_takes_a_bucket(objects, home):
    put(objects, "gs://bucket/out/deep/a")
    objects.delete_folder("gs://bucket/out/")
    objects.delete_folder("gs://bucket/out/")
    objects.delete("gs://bucket/out/a")
    assert not (home / "gs" / "bucket" / "out").exists()
    with pytest.raises(InvalidRequest):
        objects.delete_folder("gs://bucket/")


def test_replicas_open_objects_by_the_same_rules(objects):
    put(objects, "gs://bucket/a", b"a")
    assert pickle.loads(pickle.dumps(objects)).read_bytes("gs://bucket/a") == b"a"
