import gzip
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from rowcast.core.job import InputSpec, JobSpec, JobState, MachineSpec, OutputSpec, ReplicaSpec
from rowcast.errors import FailedPrecondition, InvalidRequest, MissingColumns, NotFound
from tests.jobs.lab import PARENT, csv_text, jsonl_text, parquet_text, whole_rows

TEXTS = {"csv": csv_text, "jsonl": jsonl_text, "parquet": parquet_text}


def retry(lab, job, **changes):
    spec = lab.spec(**changes)
    return replace(
        spec,
        display_name="",
        model="",
        input=InputSpec(""),
        output=OutputSpec(""),
        extension=replace(spec.extension, retry_of=job.name),
    )


def test_all_violations_of_a_request_are_listed_at_once(lab):
    spec = JobSpec(
        "",
        "",
        InputSpec("tf-record", ("gs://b/../x", "relative/path.csv"), included_fields=("a",),
                  excluded_fields=("b",)),
        OutputSpec("xml", ""),
        replicas=ReplicaSpec(MachineSpec(""), 5, 2),
        batch_size=0,
        labels={"UPPER": "x"},
        explanation_spec={},
    )  # fmt: skip
    with pytest.raises(InvalidRequest) as caught:
        lab.service.create(PARENT, spec)
    assert {violation.field for violation in caught.value.violations} >= {
        "display_name",
        "model",
        "input_config.instances_format",
        "input_config.gcs_source.uris[0]",
        "input_config.gcs_source.uris[1]",
        "instance_config.included_fields",
        "output_config.predictions_format",
        "output_config.gcs_destination.output_uri_prefix",
        "dedicated_resources.machine_spec.machine_type",
        "dedicated_resources.starting_replica_count",
        "manual_batch_tuning_parameters.batch_size",
        "labels[UPPER]",
        "explanation_spec",
    }
    assert lab.service.list(PARENT) == []


def test_an_unknown_model_is_not_found(lab):
    with pytest.raises(NotFound):
        lab.service.create(PARENT, replace(lab.spec("gs://b/x.csv"), model="other"))


def test_an_output_name_that_would_pass_for_compressed_is_refused(lab):
    with pytest.raises(InvalidRequest) as caught:
        lab.create(extension={"output_name": "scores.csv.gz"})
    assert caught.value.violations[0].field == "rowcast.output_name"


def test_fifty_creates_with_one_request_id_make_one_job(lab):
    spec = lab.spec(lab.put_input())
    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(lambda _: lab.service.create(PARENT, spec, "key"), range(50)))
    assert len({job.id for job in made}) == 1
    assert len(lab.service.list(PARENT)) == 1
    ended = lab.drive(made[0])
    assert lab.service.create(PARENT, spec, "key") == ended


def test_jobs_created_at_one_moment_by_two_processes_have_folders_of_their_own(lab):
    one, two = lab.make_service(), lab.make_service()
    later = max(job.created for job in [lab.create()]).replace(year=2100)
    one._latest = two._latest = later
    spec = lab.spec("gs://b/in/*.csv")
    jobs = [service.create(PARENT, spec) for service in (one, two)]
    assert len({lab.path(lab.drive(job)) for job in jobs}) == 2


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_retry_scores_the_failed_rows_and_no_others(lab, form):
    rows = [row for row in whole_rows() if row["amount"] != "n/a"][:40]
    for bad in (3, 17, 31):
        rows[bad] = {**rows[bad], "amount": "many"}
    first = lab.run(lab.put(f"x.{form}", TEXTS[form](rows)), of=form, into=form)
    assert first.stats.failed == 3
    again = lab.drive(lab.service.create(PARENT, retry(lab, first)))
    assert again.state is JobState.SUCCEEDED, again.error
    assert again.spec.display_name == "nightly-retry"
    assert (again.stats.successful, again.stats.failed) == (0, 3)
    names = [f"errors_1.{form}"]
    assert lab.bytes(again).keys() >= set(names)
    if form == "parquet":
        paths = [lab.path(job) / names[0] for job in (first, again)]
        assert (
            pq.read_table(paths[0])
            .drop_columns("errors_label")
            .equals(pq.read_table(paths[1]).drop_columns("errors_label"))
        )
    else:
        counts = {len(lab.bytes(job)[names[0]].splitlines()) for job in (first, again)}
        assert len(counts) == 1


def test_a_retry_scores_lines_that_have_been_mended(lab):
    """An errors object is input like any other: what can be read now is scored."""
    rows = [{**row, "amount": "many"} for row in whole_rows()[:4]]
    first = lab.run(lab.put("x.jsonl", jsonl_text(rows)), of="jsonl", into="jsonl")
    errors = lab.path(first) / "errors_1.jsonl"
    errors.write_bytes(errors.read_bytes().replace(b'"many"', b'"12.5"'))
    again = lab.drive(lab.service.create(PARENT, retry(lab, first)))
    assert (again.stats.successful, again.stats.failed) == (4, 0)


def test_only_a_finished_job_with_failed_rows_at_hand_can_be_retried(lab):
    waiting = lab.create()
    with pytest.raises(FailedPrecondition):
        lab.service.create(PARENT, retry(lab, waiting))
    good = lab.run(lab.put("good.csv", csv_text([whole_rows()[0]])))
    with pytest.raises(FailedPrecondition, match="no failed rows"):
        lab.service.create(PARENT, retry(lab, good))
    keyed = lab.run(key_field="id")
    with pytest.raises(FailedPrecondition, match="keyField"):
        lab.service.create(PARENT, retry(lab, keyed))


def test_a_preflight_reports_rates_and_examples_and_makes_no_job(lab):
    rows = [dict(row) for row in whole_rows()[:40]]
    for n, row in enumerate(rows):
        row["amount"] = "12 apples" if n % 4 == 0 else "1.5"
        row["kind"] = "never seen" if n % 2 else ""
        row["extra"] = "x"
    uri = lab.put("x.csv", csv_text(rows))
    report = lab.service.preflight(PARENT, lab.spec(uri))
    assert report["estimatedRows"] == report["sampledRows"] == 40
    assert report["sampledFailures"] == report["estimatedFailedRows"] == 10
    assert set(report["extraColumns"]) == {"id", "extra"}
    assert report["errors"][0]["count"] == 10
    assert "12 apples" in report["errors"][0]["examples"][0]
    features = {feature["name"]: feature for feature in report["features"]}
    assert features["kind"]["nullRate"] == 0.5
    assert features["kind"]["unseenCategoryRate"] == 0.5
    assert features["amount"]["nullRate"] == 0.0
    assert lab.service.list(PARENT) == []
    assert not (lab.bucket / "out").exists()


def test_a_preflight_fails_as_the_job_would(lab):
    few = lab.put("few.csv", csv_text([{"id": "1", "kind": "a"}]))
    with pytest.raises(MissingColumns, match="'amount', 'note', 'when'"):
        lab.service.preflight(PARENT, lab.spec(few))
    clash = lab.put("clash.csv", csv_text([{**whole_rows()[0], "label_no_score": "1"}]))
    with pytest.raises(InvalidRequest, match="label_no_score"):
        lab.service.preflight(PARENT, lab.spec(clash))
    good = lab.spec(lab.put("good.csv", csv_text(whole_rows()[:3])))
    nowhere = replace(good, output=replace(good.output, uri_prefix="gs://nowhere/out"))
    with pytest.raises(FailedPrecondition, match="nowhere"):
        lab.service.preflight(PARENT, nowhere)


def test_a_preflight_reads_arrays(lab):
    rows = [[row[n] for n in ("amount", "kind", "note", "when")] for row in whole_rows()[:5]]
    report = lab.service.preflight(
        PARENT, lab.spec(lab.put("x.jsonl", jsonl_text(rows)), of="jsonl", into="jsonl")
    )
    assert report["sampledRows"] == 5


def test_preflights_side_by_side_do_not_disturb_each_other(lab):
    uris = [
        lab.put(f"x{n}.csv.gz", gzip.compress(csv_text(whole_rows()[: 100 * (n + 1)])))
        for n in range(4)
    ]
    reports, start = {}, threading.Barrier(4)

    def check(uri):
        start.wait()
        reports[uri] = lab.service.preflight(PARENT, lab.spec(uri))["estimatedRows"]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, uris))
    assert [reports[uri] for uri in uris] == [100, 200, 300, 400]
    assert not list((lab.bucket / "out").glob(".rowcast*"))
