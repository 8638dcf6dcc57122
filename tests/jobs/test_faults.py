import errno
import os
import shutil
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rowcast.core.job import JobState
from rowcast.storage.objects import Objects
from rowcast.stores.sql import SqlStore
from tests.jobs.lab import (
    PARENT,
    Hooked,
    Lab,
    csv_text,
    input_rows,
    input_texts,
    jsonl_text,
    trained_model,
    whole_rows,
)
from tests.jobs.traps import Deadly, FullDisk, Greedy, Slow

HEADER = ["id", "amount", "kind", "note", "when"]
SIX = ["1", "2", "a", "n", "2026-01-01", "3"]


def failed(job):
    assert job.state is JobState.FAILED, job
    return job.error.code, job.error.message


def no_results(lab, job):
    """No object and no manifest are visible, and nothing staged is left."""
    return not lab.path(job).exists() or not any(lab.path(job).iterdir())


def test_a_missing_bucket_is_9(lab):
    code, message = failed(lab.run("gs://nothing/x.csv"))
    assert code == 9
    assert "'nothing'" in message


def test_a_missing_output_bucket_is_9_before_anything_is_scored(lab):
    spec = lab.spec(lab.put_input())
    spec = replace(spec, output=replace(spec.output, uri_prefix="gs://nothing/out"))
    job = lab.drive(lab.service.create(PARENT, spec))
    assert failed(job)[0] == 9
    assert lab.store.load_plan(job.id) is None


@pytest.mark.parametrize("uri", ["gs://b/none.csv", "gs://b/none-*.csv", "gs://b/folder"])
def test_no_object_is_5(lab, uri):
    (lab.bucket / "folder").mkdir()
    code, message = failed(lab.run(uri))
    assert code == 5
    assert uri in message


def test_an_unreadable_source_is_7(lab):
    (lab.bucket / "link.csv").symlink_to("/etc/passwd")
    code, message = failed(lab.run("gs://b/link.csv"))
    assert code == 7
    assert "link.csv" in message


def test_an_unwritable_destination_is_7(lab):
    lab.put("out", b"a file where the folder would be")
    assert failed(lab.run())[0] == 7


def test_missing_columns_are_3_and_all_are_named(lab):
    rows = [{"id": row["id"], "kind": row["kind"]} for row in whole_rows()[:5]]
    code, message = failed(lab.run(lab.put("x.csv", csv_text(rows))))
    assert code == 3
    assert all(name in message for name in ("amount", "note", "when"))


@pytest.mark.parametrize(
    ("data", "of", "words"),
    [
        (csv_text([SIX], [*HEADER, "amount"]), "csv", "'amount'"),
        (csv_text([SIX], [*HEADER, "errors_label"]), "csv", "errors_label"),
        (b"", "csv", "empty"),
        (b"id,amount,kind,note,when\n1,2,a,\xff\xfe,2026-01-01\n", "csv", "UTF-8"),
        (b"not parquet", "parquet", "Parquet"),
    ],
    ids=["duplicate column", "result column", "zero bytes", "invalid UTF-8", "unparsable"],
)  # fmt: skip
def test_input_that_cannot_be_read_is_3(lab, data, of, words):
    job = lab.run(lab.put(f"x.{of}", data), of=of)
    code, message = failed(job)
    assert code == 3
    assert words in message
    assert no_results(lab, job)


def test_a_row_number_column_that_is_in_the_input_is_3(lab):
    assert failed(lab.run(extension={"row_number_column": "id"}))[0] == 3


@pytest.mark.parametrize("into", ["csv", "jsonl", "parquet"])
def test_a_header_alone_succeeds_with_no_rows(lab, into):
    job = lab.run(lab.put("x.csv", csv_text([], HEADER)), into=into)
    assert job.state is JobState.SUCCEEDED
    assert (job.stats.successful, job.stats.failed, job.stats.incomplete) == (0, 0, 0)
    assert set(lab.bytes(job)) == {f"predictions_1.{into}"}


def test_every_row_may_fail_in_a_job_that_succeeds(lab):
    rows = [{**row, "amount": "n/a"} for row in whole_rows()[:7]]
    job = lab.run(lab.put("x.csv", csv_text(rows)))
    assert job.state is JobState.SUCCEEDED
    assert (job.stats.successful, job.stats.failed) == (0, 7)


@pytest.mark.parametrize("damage", ["link", "bytes", "named link"])
def test_one_bad_object_among_several_is_told_and_the_others_are_scored(lab, damage):
    uris = [lab.put_input()]
    bad = lab.bucket / "in" / "a-bad.csv"
    if damage == "bytes":
        bad.write_bytes(csv_text([["1", "2", "a", "n", "x"]], HEADER) + b"\xff\xfe,\n")
    else:
        bad.symlink_to(lab.bucket / "in" / "rows-00.csv")
    if damage == "named link":
        uris = [f"gs://b/in/{path.name}" for path in (lab.bucket / "in").iterdir()]
    job = lab.run(*uris)
    assert job.state is JobState.SUCCEEDED, job.error
    assert [f.code for f in job.partial_failures] == [3 if damage == "bytes" else 7]
    assert "a-bad.csv" in job.partial_failures[0].message
    assert job.stats.successful + job.stats.failed == len(input_rows())


def test_devices_are_passed_over(lab):
    lab.put_input()
    os.mkfifo(lab.bucket / "in" / "pipe.csv")
    job = lab.run("gs://b/in/*.csv")
    assert job.state is JobState.SUCCEEDED
    assert not job.partial_failures


def test_a_folder_that_cannot_be_listed_fails_the_job_rather_than_being_passed_over(
    lab, monkeypatch
):
    lab.put("in/sub/x.csv", input_texts()["rows-00.csv"])
    real = os.open

    def refuse(path, *args, **options):
        if path == "sub":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    code, _ = failed(lab.run("gs://b/in/**.csv"))
    assert code == 7


@pytest.mark.parametrize("moment", [("finish_part", 2, True), ("save_plan", 1, True)])
def test_input_that_is_replaced_during_the_job_fails_it_with_both_versions(lab, moment):
    job = lab.create()
    before = lab.objects.stat("gs://b/in/rows-02.csv").version

    def hook(*call):
        if call == moment:
            with lab.objects.create("gs://b/in/rows-02.csv") as file:  # there is no third version
                file.write(b"x" + input_texts()["rows-02.csv"])

    job = lab.drive(job, store=Hooked(lab.store, hook))
    code, message = failed(job)
    assert code == 9
    assert before in message
    assert lab.objects.stat("gs://b/in/rows-02.csv").version in message
    assert no_results(lab, job)
    assert (job.stats.successful, job.stats.failed) == (0, 0)
    assert job.stats.incomplete == len(input_rows())
    assert job.causes == {}


def test_input_that_is_replaced_after_the_last_part_is_noticed(lab):
    job = lab.create()
    parts = []

    def hook(name, number, after):
        if name == "finish_part" and after:
            parts.append(number)
            if len(parts) == len(lab.store.load_plan(job.id).parts):
                lab.put("in/rows-00.csv", b"x" + input_texts()["rows-00.csv"])

    job = lab.drive(job, store=Hooked(lab.store, hook))
    assert failed(job)[0] == 9
    assert no_results(lab, job)


def copied_model(lab):
    """The model in a folder of its own, and the store that names it."""
    folder = lab.folder / "model"
    shutil.copytree(trained_model().folder, folder)
    store = SqlStore(f"sqlite:///{lab.folder}/damaged.db")
    store.add_model(replace(trained_model(), folder=str(folder)))
    return folder, store


def test_a_damaged_model_is_13_and_the_next_job_works(lab):
    lab.store.close()
    folder, store = copied_model(lab)
    lab.store, uri = store, lab.put_input()
    lab.service = lab.make_service()
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for damaged in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            code, message = failed(lab.run(uri))
            assert code == 13
            assert path.name in message
        path.write_bytes(whole)
    assert lab.run(uri).state is JobState.SUCCEEDED


def test_a_part_that_needs_too_much_memory_is_8(lab):
    job = lab.drive(lab.create(), objects=Greedy(lab.objects.roots))
    code, message = failed(job)
    assert code == 8
    assert "replica_memory_bytes" in message
    assert no_results(lab, job)


def test_a_part_that_kills_its_replicas_is_13_and_another_job_goes_on(lab):
    other, thread = lab.create(), None
    slow = Slow(lab.objects.roots, "part-", 0.1)
    _, thread = lab.in_background(other, objects=slow)
    job = lab.create()
    assert lab.manager(objects=Deadly(lab.objects.roots, "part-000000002")).run_one(job.id)
    code, message = failed(lab.get(job))
    assert code == 13
    assert "signal 9" in message
    assert no_results(lab, job)
    thread.join(20)
    assert lab.get(other).state is JobState.SUCCEEDED


def test_a_disk_that_fills_while_parts_are_staged_is_8_with_the_bytes_left(lab):
    job = lab.drive(lab.create(), objects=FullDisk(lab.objects.roots, "part-000000004"))
    code, message = failed(job)
    assert code == 8
    assert "bytes are free" in message
    assert no_results(lab, job)


def test_a_disk_that_fills_while_publishing_is_8_and_nothing_is_marked_complete(tmp_path, engine):
    lab = Lab(tmp_path, engine, output_object_bytes=20_000)
    job = lab.drive(lab.create(), objects=FullDisk(lab.objects.roots, "predictions_2"))
    code, message = failed(job)
    assert code == 8
    assert "bytes are free" in message
    assert {path.name for path in lab.path(job).iterdir()} <= {"predictions_1.csv"}
    assert lab.run().state is JobState.SUCCEEDED
    lab.close()


def test_no_replica_writes_after_its_job_has_failed(lab):
    """The slow part is in flight when the other one fails the job."""

    job = lab.create()
    lab.drive(job, objects=SlowAndFull(lab.objects.roots))
    assert lab.get(job).state is JobState.FAILED
    assert no_results(lab, job)
    time.sleep(0.6)
    assert no_results(lab, job)


class SlowAndFull(Objects):
    """Part 0 has no space, at once; all others take their time and then make their folder."""

    @contextmanager
    def create(self, uri):
        if "part-000000000" in uri:
            with super().create(uri):
                raise OSError(errno.ENOSPC, "No space left on device")
        time.sleep(0.3)
        with super().create(uri) as file:
            yield file


def test_the_name_of_a_model_cannot_make_the_output_folder_unusable(lab):
    for n, name in enumerate(["a/b..#c", "50%25[a]*?", "b\\c:d e", "長" * 128]):
        model = replace(trained_model(), id=f"m{n}", display_name=name)
        lab.store.add_model(model)
        uri = lab.put("s.csv", csv_text([*whole_rows()[:3], {**whole_rows()[3], "amount": "?"}]))
        spec = replace(lab.spec(uri), model=f"m{n}")
        job = lab.drive(lab.service.create(PARENT, spec))
        assert job.state is JobState.SUCCEEDED, job.error
        assert lab.path(job).parent == lab.bucket / "out"
        retry = replace(
            lab.spec(), display_name="r", model=f"m{n}", extension=replace(
                spec.extension, retry_of=job.name)
        )  # fmt: skip
        assert lab.drive(lab.service.create(PARENT, retry)).stats.failed == 1


def test_a_local_root_that_is_also_the_folder_of_buckets_holds_paths_not_buckets(lab):
    objects = Objects(replace(lab.objects.roots, local=(lab.folder / "gs",)))
    path = lab.folder / "gs" / "x.csv"
    path.write_bytes(csv_text(whole_rows()[:3]))
    lab.objects = objects
    lab.service = lab.make_service()
    job = lab.drive(lab.service.create(PARENT, lab.spec(str(path))))
    assert job.state is JobState.SUCCEEDED, job.error
    job = lab.drive(lab.service.create(PARENT, lab.spec(str(lab.folder / "gs" / "nothing.csv"))))
    assert failed(job)[0] == 5


def test_a_local_root_that_is_gone_is_9(lab):
    lab.put_input()
    spec = lab.spec("gs://b/in/*.csv")
    spec = replace(spec, output=replace(spec.output, uri_prefix=str(lab.folder / "local" / "x")))
    job = lab.service.create(PARENT, spec)
    Path(lab.folder / "local").rmdir()
    assert failed(lab.drive(job))[0] == 9


def test_jsonl_lines_that_are_no_records_are_errors_rows(lab):
    rows = whole_rows()[:5]
    data = jsonl_text(rows[:2]) + b"not json\n[1, 2]\n" + jsonl_text(rows[2:])
    job = lab.run(lab.put("x.jsonl", data), of="jsonl", into="jsonl")
    assert (job.stats.successful, job.stats.failed) == (5, 2)
