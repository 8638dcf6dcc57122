import threading
from dataclasses import replace

import pyarrow as pa
import pytest

from rowcast.core.job import JobState
from rowcast.core.plan import Layout, Plan
from rowcast.core.tables import DatasetName, TableName
from rowcast.errors import Aborted
from tests.jobs.lab import Hooked, Lab
from tests.jobs.traps import FullDisk


class Crash(BaseException):
    """What ends a runner the way kill -9 would, as far as its own code goes."""


def crash_at(method, number, after):
    def hook(name, count, done):
        if (name, count, done) == (method, number, after):
            raise Crash

    return hook


class Counting:
    """An engine that remembers which parts it was given."""

    def __init__(self, engine):
        self._engine, self.tasks = engine, []

    def run(self, work, tasks, **options):
        self.tasks.append(len(tasks))
        return self._engine.run(work, tasks, **options)


WRITES = [
    ("store", "update_job", "csv"),
    ("store", "save_plan", "csv"),
    ("store", "finish_part", "csv"),
    ("objects", "create", "csv"),
    ("objects", "create", "parquet"),
    ("objects", "sweep_temporaries", "csv"),
    ("objects", "names", "csv"),
    ("objects", "delete_folder", "csv"),
]


@pytest.mark.parametrize(("part", "method", "into"), WRITES)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_runner_that_ends_at_any_write_is_followed_by_one_with_the_same_bytes(
    tmp_path, engine, part, method, into, after
):
    lab = Lab(tmp_path, engine, output_object_bytes=30_000)
    reference = lab.run(into=into)
    expected, parts = lab.bytes(reference), lab.manifest(reference)["parts"]
    assert parts >= 6
    number, crashed = 0, True
    while crashed:
        number += 1
        job = lab.create(into=into)
        hooked = Hooked(getattr(lab, part), crash_at(method, number, after))
        try:
            lab.drive(job, **{part: hooked})
            crashed = False
        except Crash:
            finished = len(lab.store.finished_parts(job.id))
            counting = Counting(engine)
            if not lab.get(job).state.finished:
                lab.drive(job, engine=counting)
                assert counting.tasks[-1:] in ([parts - finished], [1], [])
        job = lab.get(job)
        assert job.state is JobState.SUCCEEDED
        assert job.stats == reference.stats
        assert job.causes == reference.causes
        assert lab.bytes(job) == expected
    assert number > 1
    lab.close()


def test_partial_failures_are_told_even_if_the_runner_ended_right_after_planning(lab):
    lab.put_input()
    (lab.bucket / "in" / "a-link.csv").symlink_to(lab.bucket / "in" / "rows-00.csv")
    job = lab.create("gs://b/in/*.csv")
    with pytest.raises(Crash):
        lab.drive(job, store=Hooked(lab.store, crash_at("save_plan", 1, True)))
    job = lab.drive(job)
    assert job.state is JobState.SUCCEEDED
    assert [failure.code for failure in job.partial_failures] == [7]


def test_a_job_that_was_being_failed_fails_with_the_same_error_under_the_next_runner(lab):
    job = lab.create()
    full = FullDisk(lab.objects.roots, "part-000000002")
    with pytest.raises(Crash):
        lab.drive(job, objects=Hooked(full, crash_at("delete_folder", 1, True)))
    job = lab.drive(job)
    assert (job.state, job.error.code) == (JobState.FAILED, 8)


def test_objects_published_under_another_size_limit_do_not_stay_beside_the_new_ones(
    tmp_path, engine
):
    lab = Lab(tmp_path, engine, output_object_bytes=10_000)
    job = lab.create()
    with pytest.raises(Crash):
        lab.drive(job, objects=Hooked(lab.objects, crash_at("names", 1, False)))
    assert len(lab.joined(job, "predictions", "csv")) > 2
    other = Lab(tmp_path / "other", engine)
    lab.options = other.options
    lab.drive(job)
    assert lab.bytes(job) == other.bytes(other.run())
    lab.close()
    other.close()


def test_a_runner_that_was_overtaken_writes_nothing_any_more(lab):
    """It sleeps at each of its steps in turn while another runner takes the job to its end."""
    expected = lab.bytes(lab.run())
    for method in ("save_plan", "finish_part", "update_job"):
        job = lab.create()
        asleep, awake = threading.Event(), threading.Event()

        def hook(name, number, after, method=method, asleep=asleep, awake=awake):
            if name == method and not after and not asleep.is_set():
                asleep.set()
                awake.wait(20)

        _, thread = lab.in_background(job, store=Hooked(lab.store, hook))
        assert asleep.wait(20)
        lab.drive(job)
        ended = lab.get(job)
        written = {path: path.stat().st_mtime_ns for path in lab.path(job).rglob("*")}
        awake.set()
        thread.join(20)
        assert lab.get(job) == ended
        assert {path: path.stat().st_mtime_ns for path in lab.path(job).rglob("*")} == written
        assert lab.bytes(job) == expected


def test_a_failing_runner_that_was_overtaken_leaves_the_others_staged_files_alone(lab):
    job = lab.create()
    overtaken = threading.Event()

    def hook(name, number, after):
        if name == "finish_part" and not after and not overtaken.is_set():
            overtaken.set()
            staged = lab.path(job) / "_staging" / "of-the-new-owner"
            lab.store.release_owner(manager.owner)
            lab.store.claim_job("new", 2e12, job.id)
            staged.write_bytes(b"x")
            raise OSError("this runner breaks")

    manager = lab.manager(store=Hooked(lab.store, hook))
    assert manager.run_one(job.id)
    assert (lab.path(job) / "_staging" / "of-the-new-owner").exists()
    assert lab.get(job).state is JobState.RUNNING


def test_a_write_with_an_old_fence_is_refused(lab):
    job = lab.create()
    old = lab.store.claim_job("old", 0.0, job.id)
    new = lab.store.claim_job("new", 2e12, job.id)
    assert new.fence > old.fence
    for write in (
        lambda: lab.store.update_job(old, replica_hours=1.0),
        lambda: lab.store.finish_part(old, 0, {}),
        lambda: lab.store.save_plan(old, Plan(Layout((), pa.schema([])), ())),
    ):
        with pytest.raises(Aborted):
            write()
    assert lab.store.renew(old, 2e12) is None


@pytest.mark.parametrize(
    ("part", "method", "after"),
    [
        ("warehouse", "publish", False),
        ("warehouse", "publish", True),
        ("store", "update_job", True),
        ("objects", "delete_folder", False),
    ],
)
def test_a_runner_that_ends_while_it_writes_tables_is_followed_by_one_with_the_same_rows(
    lab, part, method, after
):
    lab.warehouse.create_dataset(DatasetName("local", "scores"))
    reference = lab.run(into="bigquery")
    expected = tables_of(lab, reference)
    number, crashed = 0, True
    while crashed:
        number += 1
        job = lab.create(into="bigquery")
        hook = crash_at(method, number, after)
        if part == "store":
            parts = {"store": Hooked(lab.store, hook)}
        else:
            parts = {
                "tables": replace(lab.tables, **{part: Hooked(getattr(lab.tables, part), hook)})
            }
        try:
            lab.drive(job, **parts)
            crashed = False
        except Crash:
            if not lab.get(job).state.finished:
                lab.drive(job)
        job = lab.get(job)
        assert job.state is JobState.SUCCEEDED
        assert job.stats == reference.stats
        assert tables_of(lab, job) == expected
    assert number > 1
    tables = lab.warehouse.tables(DatasetName("local", "scores"))
    assert len(tables) == 2 * (number + 1)


def tables_of(lab, job):
    dataset = lab.get(job).output_dataset.rpartition(".")[2]
    found = []
    for kind in ("predictions", "errors"):
        table = lab.get(job).output_table.replace("predictions", kind)
        with lab.warehouse.scan(TableName("local", dataset, table)) as reader:
            found.append(reader.read_all())
    return found
