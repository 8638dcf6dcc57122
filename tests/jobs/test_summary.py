"""What a job says of its results, in the resource and in a file."""

import json
import shutil
from dataclasses import replace

import pytest

from rowcast.core.job import JobState, MachineSpec, ReplicaSpec
from rowcast.core.names import DRIFT, SUMMARY
from rowcast.errors import NotFound
from rowcast.server import messages
from rowcast.server.wire import render_job
from tests.jobs.lab import PARENT, Hooked, Lab, csv_text, jsonl_text, parquet_text
from tests.jobs.test_drift import like_training
from tests.jobs.test_manager import cancel_when
from tests.jobs.test_resume import Crash, crash_at
from tests.jobs.traps import Slow

FAILING = {7: ("amount", "n/a"), 20: ("amount", "x"), 21: ("amount", "")}


def rows(count=200):
    made = like_training(count)
    for number, (name, cell) in FAILING.items():
        made[number][name] = cell
    return made


def report(lab, job):
    return json.loads((lab.path(job) / SUMMARY).read_bytes())


def explained(lab, uri, **changes):
    return lab.run(uri, into="jsonl", generate_explanation=True, **changes)


def test_a_job_is_summed_up_in_the_resource_and_in_a_file(lab):
    job = explained(lab, lab.put("in.csv", csv_text(rows())))
    found = report(lab, job)
    lines = [
        json.loads(line)
        for text in lab.joined(job, "predictions", "jsonl")
        for line in text.splitlines()
    ]
    assert (found["inputRows"], found["scoredRows"], found["explainedRows"]) == (200, 197, 197)
    moved = [
        (1 if one["outputIndex"] == [1] else -1) * one["featureAttributions"]["amount"]
        for line in lines
        for one in line["explanation"]["attributions"]
    ]
    (amount,) = [one for one in found["attributions"] if one["feature"] == "amount"]
    assert amount["meanAbsolute"] == pytest.approx(sum(map(abs, moved)) / 197)
    assert amount["mean"] == pytest.approx(sum(moved) / 197)
    scores = [line["prediction"]["scores"][1] for line in lines]
    assert found["classes"][1]["meanScore"] == pytest.approx(sum(scores) / 197)
    assert found["classes"][1]["rows"] == sum(score > 0.5 for score in scores)
    causes = {one["cause"]: one for one in found["errors"]}
    assert {cause: one["count"] for cause, one in causes.items()} == job.causes
    examples = [example for one in causes.values() for example in one["examples"]]
    assert sorted(example["row"] for example in examples) == [8, 21, 22]
    shown = render_job(job)
    messages.BatchPredictionJob.model_validate(shown)
    told = shown["rowcast"]["summary"]
    assert told["explainedRows"] == "197"
    assert told["meanAbsoluteAttributions"][0] == {
        "feature": found["attributions"][0]["feature"],
        "value": found["attributions"][0]["meanAbsolute"],
    }
    assert sum(int(one["count"]) for one in told["classes"]) == 197
    assert told["rowsPerSecond"] > 0
    assert told["replicas"] in (1, 2)


def test_replicas_batches_and_the_formats_change_no_byte(tmp_path, engine):
    seen = set()
    for number, (suffix, text, options, changes) in enumerate(
        [
            ("csv", csv_text(rows()), {"part_bytes": 2000}, {}),
            ("csv", csv_text(rows()), {"part_bytes": 2000}, {"batch_size": 7}),
            (
                "csv",
                csv_text(rows()),
                {"part_bytes": 2000},
                {"replicas": ReplicaSpec(MachineSpec("local"), 2, 2)},
            ),
            ("jsonl", jsonl_text(rows()), {"part_bytes": 900}, {}),
            ("parquet", parquet_text(rows()), {}, {}),
        ]
    ):
        lab = Lab(tmp_path / str(number), engine, **options)
        job = explained(lab, lab.put(f"in.{suffix}", text), of=suffix, **changes)
        found = report(lab, job)
        for cause in found["errors"]:
            for example in cause["examples"]:
                example["message"] = example["message"].partition(" (")[0]  # names the place
        seen.add(json.dumps(found))
        lab.close()
    assert len(seen) == 1


@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_job_that_was_interrupted_sums_every_part_up_once(lab, number):
    lab.options = replace(lab.options, part_bytes=700)
    uri = lab.put("in.csv", csv_text(rows()))
    reference = explained(lab, uri)
    job = lab.create(uri, into="jsonl", generate_explanation=True)
    with pytest.raises(Crash):
        lab.drive(job, store=Hooked(lab.store, crash_at("finish_part", number, True)))
    job = lab.drive(job)
    assert (lab.path(job) / SUMMARY).read_bytes() == (lab.path(reference) / SUMMARY).read_bytes()
    assert replace(job.summary, replicas=0) == replace(reference.summary, replicas=0)


def test_a_plain_job_has_scores_and_causes_and_no_attributions(lab):
    job = lab.run(lab.put("in.csv", csv_text(rows())))
    found = report(lab, job)
    assert "attributions" not in found
    assert sum(found["highestScores"]) == 197
    assert job.summary.explained == 0
    assert "explainedRows" not in render_job(job)["rowcast"]["summary"]


def test_a_request_can_leave_the_summary_out(lab):
    job = lab.run(lab.put("in.csv", csv_text(rows())), extension={"skip_summary": True})
    assert job.summary is None
    assert not (lab.path(job) / SUMMARY).exists()
    assert SUMMARY not in {one["name"] for one in lab.manifest(job)["reports"]}


def test_a_cancelled_job_sums_up_what_it_has_published(lab):
    job = lab.create(lab.put_input(), replicas=ReplicaSpec(MachineSpec("local"), 2, 2))
    slow = Slow(lab.objects.roots, "part-", 0.4)
    started = lambda: lab.store.finished_parts(job.id)  # noqa: E731
    job, _ = cancel_when(lab, job, started, objects=slow)
    assert job.state is JobState.CANCELLED
    found = report(lab, job)
    assert found["scoredRows"] == job.stats.successful < found["inputRows"]
    assert sum(one["count"] for one in found["errors"]) == job.stats.failed


def test_parts_that_an_earlier_release_has_done_leave_the_summary_out(lab):
    uri = lab.put("in.csv", csv_text(rows()))
    job = lab.create(uri)  # of one part

    class Older:
        def __getattr__(self, name):
            return getattr(lab.store, name)

        def finish_part(self, lease, number, result):
            lab.store.finish_part(lease, number, replace(result, sums=""))

    with pytest.raises(Crash):
        lab.drive(job, store=Hooked(Older(), crash_at("finish_part", 1, True)))
    job = lab.drive(job)
    assert (job.state, job.summary) == (JobState.SUCCEEDED, None)
    assert not (lab.path(job) / SUMMARY).exists()


def test_what_a_job_says_is_kept_with_it_when_its_output_is_gone(lab):
    job = lab.run(lab.put("in.csv", csv_text(rows())))
    files = {name: (lab.path(job) / name).read_bytes() for name in (DRIFT, SUMMARY)}
    shutil.rmtree(lab.path(job))
    assert lab.service.reports(PARENT, job.id) == files
    with pytest.raises(NotFound):
        lab.service.reports(PARENT, "7")


def test_a_class_that_every_row_is_explained_for_is_named(lab):
    asked = {"parameters": {"outputIndices": [0]}}
    job = explained(lab, lab.put("in.csv", csv_text(rows())), explanation_spec=asked)
    other = explained(lab, lab.put("in.csv", csv_text(rows())))
    assert report(lab, job)["attributionsToClass"] == "yes"  # of two, always the second
    found, expected = (
        [one["mean"] for one in report(lab, each)["attributions"]] for each in (job, other)
    )
    assert found == pytest.approx(expected, abs=1e-6)
