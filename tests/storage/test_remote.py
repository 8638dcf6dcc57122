"""Object stores: S3 as moto plays it, behind a proxy that fails as real ones do."""

import hashlib
import http.client
import io
import os
import pickle
import random
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowcast.bootstrap import build
from rowcast.core.job import InputSpec, JobSpec, JobState, OutputSpec
from rowcast.errors import FailedPrecondition, InputChanged, InvalidRequest, NotFound, Unavailable
from rowcast.settings import Settings
from rowcast.storage.objects import Objects, Roots
from tests.jobs.lab import PARENT, input_texts, trained_home, trained_model

moto = pytest.importorskip("moto.server")


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server, and fails some of them."""

    daemon_threads = True

    def __init__(self, target):
        super().__init__(("127.0.0.1", 0), Passing)
        self.target = target
        self.failing, self.resetting = 0.0, 0.0
        self.failed = 0
        self.draw = random.Random(5)


class Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        server = self.server
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        chance = server.draw.random()
        if chance < server.failing:
            server.failed += 1
            self.send_response(503)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if chance < server.failing + server.resetting:
            server.failed += 1
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        upstream = http.client.HTTPConnection(*server.target)
        upstream.request(self.command, self.path, body, dict(self.headers))
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection", "date"):
                self.send_header(name, value)
        length = answer.getheader("content-length") if self.command == "HEAD" else len(data)
        self.send_header("content-length", str(length or 0))
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def proxy():
    upstream = moto.ThreadedMotoServer(port=0, verbose=False)
    upstream.start()
    server = Proxy(("127.0.0.1", upstream.get_host_and_port()[1]))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    given = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "AWS_ALLOW_HTTP": "true",
    }
    before = dict(os.environ)
    os.environ.update(given)
    plain = http.client.HTTPConnection(*server.target)
    plain.request("PUT", "/lake")
    assert plain.getresponse().status == 200
    plain.close()
    yield server
    os.environ.clear()
    os.environ.update(before)
    server.shutdown()
    server.server_close()
    upstream.stop()


@pytest.fixture
def faults(proxy):
    """A proxy that fails one request in five, and cuts one in twenty off."""
    proxy.failing, proxy.resetting, proxy.failed = 0.2, 0.05, 0
    yield proxy
    proxy.failing = proxy.resetting = 0.0


@pytest.fixture
def objects(proxy, tmp_path):
    return Objects(Roots(tmp_path / "gs", tmp_path / "s3", (), ("s3://lake", "s3://nothing"), 20.0))


def put(objects, uri, data):
    with objects.create(uri) as file:
        file.write(data)
    return uri


def test_objects_come_back_whatever_part_is_read(objects):
    data = os.urandom(20_000_000)
    uri = put(objects, "s3://lake/in/big.bin", data)
    found = objects.stat(uri)
    assert (found.uri, found.size) == (uri, len(data))
    with objects.open(found) as reader:
        assert reader.read_range(1_000_000, 1_000_100) == data[1_000_000:1_000_100]
        assert hashlib.sha256(reader.file.read()).digest() == hashlib.sha256(data).digest()
        reader.file.seek(-5, io.SEEK_END)
        assert reader.file.read() == data[-5:]
        reader.check()
    assert objects.read_bytes(uri) == data
    assert pickle.loads(pickle.dumps(objects)).stat(uri) == found


def test_patterns_find_what_they_do_in_folders(objects):
    for name in ("a.csv", "b.csv", "c.txt", "deep/d.csv", "_staging/e.csv"):
        put(objects, f"s3://lake/list/{name}", b"x")

    def names(uri):
        return [one.uri.removeprefix("s3://lake/list/") for one in objects.list(uri)]

    assert names("s3://lake/list/*.csv") == ["a.csv", "b.csv"]
    assert names("s3://lake/list/**.csv") == ["a.csv", "b.csv", "deep/d.csv"]
    assert names("s3://lake/list/[ac].*") == ["a.csv", "c.txt"]
    assert names("s3://lake/list/a.csv") == ["a.csv"]
    assert objects.names("s3://lake/list/") == ("_staging", "a.csv", "b.csv", "c.txt", "deep")
    objects.delete("s3://lake/list/a.csv")
    objects.delete("s3://lake/list/a.csv")
    assert not objects.exists("s3://lake/list/a.csv")
    objects.delete_folder("s3://lake/list/")
    with pytest.raises(NotFound, match="No object matches"):
        objects.list("s3://lake/list/**")


def test_an_object_whose_writer_ends_does_not_appear(objects):
    with pytest.raises(RuntimeError), objects.create("s3://lake/half.bin") as file:
        file.write(os.urandom(20_000_000))
        raise RuntimeError
    assert not objects.exists("s3://lake/half.bin")


def test_an_object_that_was_replaced_is_not_read_on(objects):
    uri = put(objects, "s3://lake/changing.bin", b"a" * 9_000_000)
    found = objects.stat(uri)
    with objects.open(found) as reader:
        assert reader.file.read(10) == b"a" * 10
        put(objects, uri, b"b" * 9_000_000)
        with pytest.raises(InputChanged):
            reader.read_range(8_000_000, 8_000_010)
        with pytest.raises(InputChanged):
            reader.check()


def test_what_is_not_there_is_said_to_be_missing(objects):
    with pytest.raises(NotFound):
        objects.stat("s3://lake/nix")
    with pytest.raises(FailedPrecondition, match="s3://nothing"):
        objects.need_bucket("s3://nothing/x")
    with pytest.raises(InvalidRequest, match="az"):
        objects.resolve("az://lake/x")
    assert objects.resolve("s3://other/x").bucket is None


def test_parquet_is_read_and_written_in_place(objects):
    table = pa.table({"n": list(range(1000))})
    with objects.create("s3://lake/t.parquet") as file:
        pq.write_table(table, file)
    with objects.open(objects.stat("s3://lake/t.parquet")) as reader:
        assert pq.read_table(reader.file) == table


def test_requests_that_fail_are_repeated_and_the_bytes_are_the_same(objects, faults):
    data = os.urandom(12_000_000)
    for number in range(4):
        uri = put(objects, f"s3://lake/faulty/{number}.bin", data)
        with objects.open(objects.stat(uri)) as reader:
            assert reader.file.read() == data
    assert len(objects.list("s3://lake/faulty/*.bin")) == 4
    assert faults.failed > 5


def test_a_store_that_only_fails_is_given_up_at_the_deadline(proxy, tmp_path):
    short = Objects(Roots(tmp_path / "gs", tmp_path / "s3", (), ("s3://lake",), 1.0))
    proxy.failing = 1.0
    try:
        with pytest.raises(Unavailable, match="s3://lake/x"):
            short.stat("s3://lake/x")
    finally:
        proxy.failing = 0.0


@pytest.mark.parametrize(
    "flaky", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["steady", "flaky"]
)
def test_a_job_over_a_store_writes_what_one_over_folders_does(objects, proxy, tmp_path, flaky):
    trained_home()
    proxy.failing, proxy.resetting, proxy.failed = (0.2, 0.05, 0) if flaky else (0.0, 0.0, 0)
    home = tmp_path / "home"
    settings = Settings(home=home, remote_buckets=("s3://lake",), max_replicas=2, part_bytes=20_000)
    app = build(settings, warm_replicas=1)
    try:
        app.store.add_model(trained_model())
        (home / "buckets" / "b" / "in").mkdir(parents=True)
        for name, text in input_texts().items():
            put(objects, f"s3://lake/job/in/{name}", text)
            (home / "buckets" / "b" / "in" / name).write_bytes(text)
        done = {}
        for place in ("s3://lake/job", "gs://b"):
            spec = JobSpec(
                "n",
                "stress",
                InputSpec("csv", (f"{place}/in/*.csv",)),
                OutputSpec("csv", f"{place}/out"),
            )
            job = app.jobs.create(PARENT, spec)
            assert app.manager.run_one(job.id)
            job = app.store.get_job(PARENT, job.id)
            assert job.state is JobState.SUCCEEDED, job.error
            done[place] = {
                kind: app.objects.read_bytes(f"{job.output_directory}/{kind}_1.csv")
                for kind in ("predictions", "errors")
            }
            assert "_staging" not in app.objects.names(f"{job.output_directory}/")
        remote, local = done.values()
        assert remote["predictions"] == local["predictions"]
        assert remote["errors"].replace(b"s3://lake/job", b"gs://b") == local["errors"]
        assert not flaky or proxy.failed > 5
    finally:
        proxy.failing = proxy.resetting = 0.0
        app.close()


def test_training_files_are_copied_from_a_store(objects, tmp_path):
    put(objects, "s3://lake/train/x.csv", b"a,b\n1,2\n")
    copy = objects.fetch("s3://lake/train/x.csv", tmp_path / "data")
    assert copy.suffix == ".csv"
    assert copy.read_bytes() == b"a,b\n1,2\n"
    assert isinstance(copy, Path)
