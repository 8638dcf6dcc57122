"""A bench for jobs: a store and buckets of its own for each test, one pool of replicas for all."""

import atexit
import csv
import io
import json
import os
import shutil
import tempfile
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from stress.harness import BUCKET, make_home

from rowcast.bootstrap import open_store, open_tables, open_warehouse
from rowcast.core.job import Extension, InputSpec, JobSpec, OutputSpec
from rowcast.core.names import Parent
from rowcast.jobs.manager import JobManager
from rowcast.jobs.runner import RunnerOptions
from rowcast.jobs.service import JobService
from rowcast.settings import Settings
from rowcast.sources import Limits
from rowcast.storage.objects import Objects, Roots
from rowcast.stores.sql import SqlStore
from tests.databases import database_url

PARENT = Parent("local", "us-central1")
ROWS, OBJECTS = 1200, 3
PART_BYTES = 10_000
LEASE_S = 5.0
OPTIONS = RunnerOptions(
    limits=Limits(),
    part_bytes=PART_BYTES,
    batch_rows=8192,
    output_object_bytes=1 << 30,
    default_replicas=2,
)


@cache
def trained_home():
    """Train once in this process: a home folder with a model and a CSV input of 3 objects."""
    before = [path for path in [os.environ.get("PYTHONPATH")] if path]
    os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), *before])  # replicas import traps
    home = Path(tempfile.mkdtemp(prefix="rowcast-lab-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    make_home(home, rows=ROWS, objects=OBJECTS)
    return home


@cache
def trained_model():
    store = open_store(Settings(home=trained_home()))
    model = store.get_model(PARENT, "stress")
    store.close()
    return model


@cache
def input_texts():
    folder = trained_home() / "buckets" / BUCKET / "in"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def read_csv(data):
    """An independent reading: Python's own."""
    header, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
    return header, rows


def input_rows():
    return [row for text in input_texts().values() for row in read_csv(text)[1]]


def whole_rows():
    """Rows as long as the header, as dicts."""
    header = ["id", "amount", "kind", "note", "when"]
    return [dict(zip(header, row, strict=True)) for row in input_rows() if len(row) == 5]


def csv_text(rows, header=None):
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header or list(rows[0]))
    writer.writerows([list(row.values()) if isinstance(row, dict) else row for row in rows])
    return file.getvalue().encode()


class Hooked:
    """Passes every call on to ``inner``, and tells ``hook(method, number, after)`` of it.

    Replicas get ``inner`` itself.
    """

    def __init__(self, inner, hook):
        self._inner, self._hook, self._counts = inner, hook, {}

    def __reduce__(self):
        return _itself, (self._inner,)

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args, **kwargs):
            number = self._counts[name] = self._counts.get(name, 0) + 1
            self._hook(name, number, False)
            answer = found(*args, **kwargs)
            self._hook(name, number, True)
            return answer

        return call


def _itself(inner):
    return inner


class Lab:
    """One installation with its own database and buckets."""

    def __init__(self, folder, engine, **options):
        self.folder, self.engine = folder, engine
        self.bucket = folder / "gs" / "b"
        self.bucket.mkdir(parents=True)
        (folder / "s3").mkdir()
        (folder / "local").mkdir()
        self.store = SqlStore(database_url(folder))
        self.store.add_model(trained_model())
        reached = Roots(folder / "gs", folder / "s3", (folder / "local",))
        self.objects = Objects(reached)
        settings = Settings(home=folder)
        self.warehouse = open_warehouse(settings)
        self.tables = open_tables(settings, self.warehouse, reached)
        self.options = replace(OPTIONS, **options)
        self.service = self.make_service()
        self.managers = []

    def make_service(self, wake=lambda: None):
        return JobService(
            store=self.store,
            models=self.store,
            engine=self.engine,
            objects=self.objects,
            tables=self.tables,
            options=self.options,
            wake=wake,
        )

    def put(self, name, data):
        path = self.bucket / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"gs://b/{name}"

    def put_input(self):
        for name, text in input_texts().items():
            self.put(f"in/{name}", text)
        return "gs://b/in/*.csv"

    def spec(self, *uris, into="csv", of="csv", extension=None, **changes):
        given = {k: changes.pop(k) for k in InputSpec.__dataclass_fields__ if k in changes}
        return JobSpec(
            "nightly",
            "stress",
            InputSpec(of, table=uris[0]) if of == "bigquery" else InputSpec(of, uris, **given),
            OutputSpec(into, tables="bq://local.scores")
            if into == "bigquery"
            else OutputSpec(into, "gs://b/out"),
            extension=Extension(**(extension or {})),
            **changes,
        )

    def create(self, *uris, **changes):
        return self.service.create(PARENT, self.spec(*(uris or (self.put_input(),)), **changes))

    def manager(self, **parts):
        parts = {"lease_s": LEASE_S, "max_running": 4, "options": self.options, **parts}
        wired = {
            "store": self.store,
            "engine": self.engine,
            "objects": self.objects,
            "tables": self.tables,
            **parts,
        }
        manager = JobManager(**wired)
        self.managers.append(manager)
        return manager

    def drive(self, job, **parts):
        """Take a job to its end on this thread, over whatever an earlier manager left."""
        for owner in self.store.owners():
            self.store.release_owner(owner)
        assert self.manager(**parts).run_one(job.id)
        return self.get(job)

    def run(self, *uris, **changes):
        return self.drive(self.create(*uris, **changes))

    def in_background(self, job, **parts):
        manager = self.manager(**parts)
        thread = threading.Thread(target=manager.run_one, args=(job.id,), daemon=True)
        thread.start()
        return manager, thread

    def get(self, job):
        return self.store.get_job(PARENT, job.id)

    def wait(self, job, timeout_s=30):
        deadline = time.monotonic() + timeout_s
        while not self.get(job).state.finished:
            assert time.monotonic() < deadline, self.get(job)
            time.sleep(0.01)
        return self.get(job)

    def path(self, job):
        """The job's output folder."""
        return self.folder / "gs" / self.get(job).output_directory.removeprefix("gs://")

    def bytes(self, job):
        """Name to bytes of everything in the output folder but the manifest."""
        return {
            str(path.relative_to(self.path(job))): path.read_bytes()
            for path in sorted(self.path(job).rglob("*"))
            if path.is_file() and path.name != "_rowcast_manifest.json"
        }

    def manifest(self, job):
        return json.loads((self.path(job) / "_rowcast_manifest.json").read_bytes())

    def joined(self, job, kind, suffix):
        """All objects of a kind, in the order of their numbers."""
        paths = self.path(job).glob(f"{kind}_*.{suffix}")
        return [p.read_bytes() for p in sorted(paths, key=lambda p: int(p.stem.split("_")[1]))]

    def csv_rows(self, job, kind):
        """Header and rows of all CSV objects of a kind."""
        read = [read_csv(data) for data in self.joined(job, kind, "csv")]
        assert len({tuple(header) for header, _ in read}) <= 1
        return (read[0][0] if read else []), [row for _, rows in read for row in rows]

    def close(self):
        for manager in self.managers:
            manager.stop()
        self.warehouse.close()
        self.store.close()


def parquet_text(rows):
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=200)
    return file.getvalue()


def jsonl_text(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
