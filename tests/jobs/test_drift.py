"""What a job says of an input that is not like the training data of its model."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from rowcast.core.job import JobState, MachineSpec, ReplicaSpec
from rowcast.core.names import DRIFT
from rowcast.errors import InvalidRequest
from rowcast.jobs.drift import monitoring_violations, read_thresholds
from rowcast.storage.model_folder import read_spec, write_model
from tests.jobs.lab import PARENT, Hooked, Lab, csv_text, jsonl_text, parquet_text, trained_model
from tests.jobs.test_manager import cancel_when
from tests.jobs.test_resume import Crash, crash_at
from tests.jobs.traps import Slow


def like_training(rows=600, seed=5):
    """Rows drawn as ``make_home`` draws its training data."""
    draw = Random(seed)
    made = []
    for number in range(rows):
        month = draw.randint(1, 12)
        made.append(
            {
                "id": str(number),
                "amount": f"{draw.uniform(0, 1000):.2f}",
                "kind": draw.choice("abcdef"),
                "note": draw.choice(["plain", "two\nlines", "a,b"]),
                "when": f"2026-{month:02d}-01",
            }
        )
    return made


def moved(rows=600):
    """The same with larger amounts, unknown kinds and failing rows."""
    made = like_training(rows)
    for number, row in enumerate(made):
        row["amount"] = str(float(row["amount"]) / 2 + 500)
        if number % 4 == 0:
            row["kind"] = "new"
        if number % 5 == 0:
            row["amount"] = ""
    return made


def report(lab, job):
    return json.loads((lab.path(job) / DRIFT).read_bytes())


def warnings(job):
    return {(w.feature, w.kind) for w in job.drift.warnings}


def test_an_input_like_the_training_data_gives_a_report_without_warnings(lab):
    job = lab.run(lab.put("in.csv", csv_text(like_training())))
    assert (job.drift.rows, job.drift.features, job.drift.warnings) == (600, 4, ())
    found = report(lab, job)
    assert found["warnings"] == []
    assert [f["name"] for f in found["features"]] == ["amount", "kind", "note", "when"]
    assert (found["inputRows"], found["countedRows"]) == (600, 600)
    assert found["modelSha256"] == trained_model().digest
    for feature in found["features"]:
        side = feature["input"]
        assert sum(side["counts"]) + side["null"] + side["unreadable"] == 600
        assert len(side["counts"]) == len(feature["training"]["counts"])
    assert {p["name"] for p in found["predictions"]} == {"label_yes_score", "label"}


def test_an_input_that_has_moved_is_told_in_the_job_and_in_a_file(lab):
    job = lab.run(lab.put("in.csv", csv_text(moved())))
    assert job.state is JobState.SUCCEEDED
    assert job.stats.failed == 120  # nulls in a column that had none
    assert {
        ("amount", "distribution"),
        ("amount", "missing"),
        ("kind", "unseen"),
        ("label", "prediction"),
    } <= warnings(job)
    told = {(w["feature"], w["kind"], w["message"]) for w in report(lab, job)["warnings"]}
    assert told == {(w.feature, w.kind, w.message) for w in job.drift.warnings}


def test_the_report_is_in_the_manifest_with_its_digest(lab):
    job = lab.run(lab.put("in.csv", csv_text(moved())))
    content = (lab.path(job) / DRIFT).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    expected = {"name": DRIFT, "bytes": len(content), "sha256": digest}
    assert expected in lab.manifest(job)["reports"]
    assert DRIFT not in {one["name"] for one in lab.manifest(job)["objects"]}


def test_formats_parts_replicas_and_batches_give_the_same_bytes(tmp_path, engine):
    rows = moved(1000)
    seen = set()
    for number, (suffix, text, options, changes) in enumerate(
        [
            ("csv", csv_text(rows), {}, {}),
            ("csv", csv_text(rows), {"part_bytes": 2000}, {"batch_size": 7}),
            ("csv", csv_text(rows), {"part_bytes": 700, "default_replicas": 4}, {}),
            ("csv", csv_text(rows), {"default_replicas": 1}, {"into": "parquet"}),
            ("jsonl", jsonl_text(rows), {"part_bytes": 5000}, {"into": "jsonl"}),
            ("parquet", parquet_text(rows), {}, {"batch_size": 64}),
        ]
    ):
        lab = Lab(tmp_path / str(number), engine, **options)
        job = lab.run(lab.put(f"in.{suffix}", text), of=suffix, **changes)
        seen.add((lab.path(job) / DRIFT).read_bytes())
        lab.close()
    assert len(seen) == 1


def test_a_large_input_is_counted_in_part_and_in_the_same_part_whatever_the_pieces(
    tmp_path, engine, monkeypatch
):
    for name in ("MOST_COUNTED", "LEAST_COUNTED"):
        monkeypatch.setattr(f"rowcast.scoring.profile.{name}", 500)
    seen = set()
    for part_bytes in (3000, 1 << 20):
        lab = Lab(tmp_path / str(part_bytes), engine, part_bytes=part_bytes)
        job = lab.run(lab.put("in.csv", csv_text(moved(2000))))
        assert 400 < job.drift.rows < 600
        assert ("kind", "unseen") in warnings(job)
        seen.add((lab.path(job) / DRIFT).read_bytes())
        lab.close()
    assert len(seen) == 1


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("number", range(1, 6))
def test_a_runner_that_ends_while_it_publishes_is_followed_by_one_with_the_same_reports(
    lab, number, after
):
    uri = lab.put("in.csv", csv_text(moved()))
    reference = lab.run(uri)
    job = lab.create(uri)
    hooked = Hooked(lab.objects, crash_at("create", number, after))
    with pytest.raises(Crash):  # predictions, errors, both reports, the manifest
        lab.drive(job, objects=hooked)
    lab.drive(job)
    assert lab.get(job).drift == reference.drift
    assert replace(lab.get(job).summary, replicas=0) == replace(reference.summary, replicas=0)
    assert lab.bytes(job) == lab.bytes(reference)


def test_thresholds_of_the_request_decide_what_is_told(lab):
    uri = lab.put("in.csv", csv_text(moved()))

    def config(skew):
        return {"objectiveConfigs": [{"trainingPredictionSkewDetectionConfig": skew}]}

    one = config({"skewThresholds": {"kind": {"value": 0.1}, "typo": {"value": 0.1}}})
    job = lab.run(uri, model_monitoring_config=one)
    of_features = {(f, k) for f, k in warnings(job) if k != "prediction"}
    assert of_features == {("kind", "distribution"), ("kind", "unseen"), ("typo", "threshold")}
    (told,) = [w for w in job.drift.warnings if w.kind == "distribution"]
    assert (told.statistic, told.threshold) == ("lInfinity", 0.1)
    high = config({"defaultSkewThreshold": {"value": 0.9}})
    job = lab.run(uri, model_monitoring_config=high)
    assert "distribution" not in {kind for _, kind in warnings(job)}


def test_a_request_with_thresholds_that_are_none_is_refused_with_every_violation(lab):
    skew = {"skew_thresholds": {"a": {"value": "much"}, "b": 3}, "default_skew_threshold": []}
    config = {"objective_configs": [{"training_prediction_skew_detection_config": skew}]}
    with pytest.raises(InvalidRequest) as caught:
        lab.create(lab.put("in.csv", csv_text(moved(5))), model_monitoring_config=config)
    start = (
        "model_monitoring_config.objective_configs[0].training_prediction_skew_detection_config."
    )
    assert [(v.field, v.description) for v in caught.value.violations] == [
        (start + "default_skew_threshold", "must be an object"),
        (start + "skew_thresholds[a].value", "must be a number, at least 0"),
        (start + "skew_thresholds[b]", "must be an object"),
    ]


@pytest.mark.parametrize(
    ("config", "features", "default"),
    [
        (None, {}, None),
        ({}, {}, None),
        ({"alertConfig": {"x": 1}, "objectiveConfigs": []}, {}, None),
        ({"objectiveConfigs": [{"trainingDataset": {}}]}, {}, None),
        (
            {
                "objectiveConfigs": [
                    {
                        "deployedModelId": "1",
                        "objectiveConfig": {
                            "trainingPredictionSkewDetectionConfig": {
                                "skewThresholds": {"skew_a": {"value": 0.25}, "b": {}},
                                "defaultSkewThreshold": {"value": "0.5"},
                                "attributionScoreSkewThresholds": {"b": 7},
                            }
                        },
                    }
                ]
            },
            {"skew_a": 0.25, "b": 0.0},
            0.5,
        ),
    ],
)
def test_thresholds_are_read_in_either_case_and_the_rest_is_left_alone(config, features, default):
    assert monitoring_violations(config) == []
    found = read_thresholds(config)
    assert (found.features, found.default) == (features, default)


@pytest.mark.parametrize(
    "config",
    [
        {"objectiveConfigs": {}},
        {"objectiveConfigs": [1]},
        {"objectiveConfigs": [{"objectiveConfig": "x"}]},
        *(
            {
                "objectiveConfigs": [
                    {
                        "trainingPredictionSkewDetectionConfig": {
                            "defaultSkewThreshold": {"value": v}
                        }
                    }
                ]
            }
            for v in (-1, True, "NaN", "1e999", [0.3])
        ),
    ],
)
def test_what_is_no_threshold_is_a_violation(config):
    assert len(monitoring_violations(config)) == 1


def test_the_comparison_can_be_left_out(tmp_path, engine, lab):
    uri = lab.put("in.csv", csv_text(moved()))
    job = lab.run(uri, extension={"skip_drift": True})
    assert job.drift is None
    assert not (lab.path(job) / DRIFT).exists()
    assert DRIFT not in {one["name"] for one in lab.manifest(job)["reports"]}
    lab.options = replace(lab.options, drift=False)
    assert lab.run(uri).drift is None


def test_a_retry_is_not_compared_because_it_is_no_sample(lab):
    job = lab.run(lab.put("in.csv", csv_text(moved())))
    spec = lab.spec(extension={"retry_of": job.id})
    retried = lab.drive(
        lab.service.create(PARENT, replace(spec, input=replace(spec.input, format="")))
    )
    assert retried.state is JobState.SUCCEEDED
    assert retried.drift is None


def test_a_model_without_a_profile_has_no_report(lab, tmp_path):
    model = trained_model()
    folder = Path(model.folder)
    spec = read_spec(folder, model.digest)
    members = {n: (folder / n).read_bytes() for n in spec.members if n != "profile.json"}
    digest = write_model(tmp_path / "older", spec, members)
    lab.store.add_model(
        replace(model, version_id="2", folder=str(tmp_path / "older"), digest=digest)
    )
    job = lab.run(lab.put("in.csv", csv_text(moved())))
    assert (job.state, job.drift) == (JobState.SUCCEEDED, None)
    assert not (lab.path(job) / DRIFT).exists()


def test_a_cancelled_job_has_no_report(lab):
    job = lab.create(lab.put_input(), replicas=ReplicaSpec(MachineSpec("local"), 2, 2))
    slow = Slow(lab.objects.roots, "part-", 0.15)
    started = lambda: len(lab.store.finished_parts(job.id)) >= 2  # noqa: E731
    job, _ = cancel_when(lab, job, started, objects=slow)
    assert (job.state, job.drift) == (JobState.CANCELLED, None)
    assert not (lab.path(job) / DRIFT).exists()
    assert DRIFT not in {one["name"] for one in lab.manifest(job)["reports"]}


def test_parts_that_an_earlier_release_counted_nothing_of_leave_the_report_out(lab):
    uri = lab.put("in.csv", csv_text(moved()))
    job = lab.create(uri)
    with pytest.raises(Crash):
        lab.options = replace(lab.options, drift=False)
        lab.drive(job, store=Hooked(lab.store, crash_at("finish_part", 1, True)))
    lab.options = replace(lab.options, drift=True)
    job = lab.drive(job)
    assert (job.state, job.drift) == (JobState.SUCCEEDED, None)


def test_a_check_of_a_request_tells_of_drift_in_the_sampled_rows(lab):
    spec = lab.spec(lab.put("in.csv", csv_text(moved())))
    found = lab.service.preflight(PARENT, spec)["drift"]
    assert {("amount", "missing"), ("kind", "unseen")} <= {
        (w["feature"], w["kind"]) for w in found["warnings"]
    }
    spec = lab.spec(lab.put("in.csv", csv_text(like_training())))
    assert lab.service.preflight(PARENT, spec)["drift"]["warnings"] == []
