"""What a request can ask of attributions and intervals beyond the API."""

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rowcast.core.job import JobState, MachineSpec, ReplicaSpec
from rowcast.errors import InvalidRequest
from rowcast.predictors import load_predictor
from rowcast.storage.model_folder import write_model
from tests.jobs.lab import PARENT, Lab, csv_text, jsonl_text, trained_model, whole_rows
from tests.tables import shop, shop_model

FEATURES = ("amount", "kind", "note", "when")


def rows(count=60):
    return [row for row in whole_rows() if row["amount"] != "n/a"][:count]


def lines(lab, job):
    return [
        json.loads(line)
        for data in lab.joined(job, "predictions", "jsonl")
        for line in data.splitlines()
    ]


def attributed(line):
    return line["explanation"]["attributions"][0]["featureAttributions"]


@pytest.fixture
def priced(lab, tmp_path):
    """The lab with a model ``price`` that predicts a value, and rows for it."""
    model = shop_model("regression")
    digest = write_model(tmp_path / "price", model.spec, model.members)
    folder = str(tmp_path / "price")
    lab.store.add_model(
        replace(trained_model(), id="price", display_name="price", folder=folder, digest=digest)
    )
    names = model.spec.schema.feature_names
    cells = shop(40, seed=3).select(names).to_pylist()
    text = [{n: "" if v is None else str(v) for n, v in row.items()} for row in cells]
    return lab.put("price.csv", csv_text(text))


def run(lab, uri, **changes):
    spec = replace(lab.spec(uri, **changes), model="price")
    return lab.drive(lab.service.create(PARENT, spec))


def test_csv_has_the_attributions_of_json_lines_as_columns(lab):
    uri = lab.put("in.csv", csv_text(rows()))
    told = lines(lab, lab.run(uri, into="jsonl", generate_explanation=True))
    job = lab.run(uri, generate_explanation=True, extension={"attribution_columns": True})
    header, found = lab.csv_rows(job, "predictions")
    assert header[-4:] == [f"{name}_attribution" for name in FEATURES]
    assert [[float(cell) for cell in row[-4:]] for row in found] == [
        [attributed(line)[name] for name in FEATURES] for line in told
    ]


def test_only_rows_with_a_high_or_a_low_score_are_explained_and_as_in_any_job(lab):
    uri = lab.put("in.csv", csv_text(rows()))
    every = lines(lab, lab.run(uri, into="jsonl", generate_explanation=True))
    for low, high in ((0.2, 0.9), (None, 0.6), (0.3, None), (0.0, None)):
        wanted = {"threshold_low": low, "threshold_high": high}
        job = lab.run(uri, into="jsonl", generate_explanation=True, batch_size=7, extension=wanted)
        chosen = 0
        for line, full in zip(lines(lab, job), every, strict=True):
            score = full["prediction"]["scores"][1]
            inside = (low is not None and score <= low) or (high is not None and score >= high)
            chosen += inside
            assert line == (full if inside else {k: full[k] for k in ("instance", "prediction")})
        assert chosen < len(every)
    parquet = lab.run(
        uri, into="parquet", generate_explanation=True, extension={"threshold_high": 2.0}
    )
    column = pq.read_table(lab.path(parquet) / "predictions_1.parquet").column("explanation")
    assert column.null_count == len(every)


def test_only_the_features_that_matter_most_to_a_row_are_written(lab):
    uri = lab.put("in.csv", csv_text(rows()))
    every = lines(lab, lab.run(uri, into="jsonl", generate_explanation=True))
    job = lab.run(uri, into="jsonl", generate_explanation=True, extension={"max_explanations": 2})
    for line, full in zip(lines(lab, job), every, strict=True):
        ranked = sorted(attributed(full).items(), key=lambda item: -abs(item[1]))
        assert list(attributed(line).items()) == ranked[:2]


def test_replicas_batches_and_the_format_of_the_input_change_no_byte(tmp_path, engine):
    wanted = {
        "attribution_columns": True,
        "max_explanations": 2,
        "threshold_low": 0.3,
        "threshold_high": 0.7,
    }
    seen = set()
    for number, (suffix, text, options, changes) in enumerate(
        [
            ("csv", csv_text(rows(200)), {}, {}),
            ("csv", csv_text(rows(200)), {"part_bytes": 900}, {"batch_size": 3}),
            (
                "jsonl",
                jsonl_text(rows(200)),
                {"part_bytes": 2000},
                {"replicas": ReplicaSpec(MachineSpec("local"), 2, 2)},
            ),
        ]
    ):
        lab = Lab(tmp_path / str(number), engine, **options)
        job = lab.run(
            lab.put(f"in.{suffix}", text),
            of=suffix,
            generate_explanation=True,
            extension=wanted,
            **changes,
        )
        assert job.state is JobState.SUCCEEDED
        seen.add(b"".join(lab.joined(job, "predictions", "csv")))
        lab.close()
    assert len(seen) == 1


def test_a_column_that_the_output_adds_must_not_be_in_the_input(lab):
    clashing = [{**row, "kind_attribution": "x"} for row in rows(5)]
    uri = lab.put("in.csv", csv_text(clashing))
    wanted = {"attribution_columns": True}
    job = lab.run(uri, generate_explanation=True, extension=wanted)
    assert (job.state, job.error.code) == (JobState.FAILED, 3)
    assert "'kind_attribution'" in job.error.message
    with pytest.raises(InvalidRequest, match="'kind_attribution'"):
        lab.service.preflight(PARENT, lab.spec(uri, generate_explanation=True, extension=wanted))
    assert lab.run(uri).state is JobState.SUCCEEDED
    uri = lab.put("in.csv", csv_text(rows(5)))
    twice = {**wanted, "row_number_column": "note_attribution"}
    job = lab.run(uri, generate_explanation=True, extension=twice)
    assert "'note_attribution' more than once" in job.error.message


def test_csv_has_the_bounds_of_a_value_if_asked_to(lab, priced):
    told = lines(lab, run(lab, priced, into="jsonl"))
    header, found = lab.csv_rows(
        run(lab, priced, extension={"interval_columns": True}), "predictions"
    )
    assert header[-3:] == [
        "predicted_price",
        "predicted_price_lower_bound",
        "predicted_price_upper_bound",
    ]
    assert [[float(cell) for cell in row[-3:]] for row in found] == [
        [line["prediction"][name] for name in ("value", "lower_bound", "upper_bound")]
        for line in told
    ]


def test_a_job_can_ask_for_intervals_of_another_level(lab, priced):
    plain = lines(lab, run(lab, priced, into="jsonl"))
    narrow = lines(lab, run(lab, priced, into="jsonl", extension={"interval_level": 0.6}))
    model = shop_model("regression")
    predictor = load_predictor(str(Path(lab.folder) / "price"), model_digest(lab), 0.6)
    assert predictor is load_predictor(str(Path(lab.folder) / "price"), model_digest(lab), 0.6)
    assert model.spec.schema.feature_names == predictor.spec.schema.feature_names
    for line, usual in zip(narrow, plain, strict=True):
        one, other = line["prediction"], usual["prediction"]
        assert one["value"] == other["value"]
        assert other["lower_bound"] < one["lower_bound"] <= one["value"]
        assert one["value"] <= one["upper_bound"] < other["upper_bound"]


def model_digest(lab):
    return lab.store.get_model(PARENT, "price").digest


@pytest.mark.parametrize(
    ("changes", "extension", "fields"),
    [
        (
            {},
            {"attribution_columns": True, "max_explanations": 0, "threshold_high": 0.5},
            {"attribution_columns", "max_explanations", "threshold_high"},
        ),
        (
            {"generate_explanation": True, "into": "jsonl"},
            {"attribution_columns": True, "threshold_high": 0.5, "threshold_low": 0.5},
            {"attribution_columns", "threshold_low"},
        ),
        (
            {"generate_explanation": True, "into": "jsonl"},
            {"threshold_high": float("nan")},
            {"threshold_high"},
        ),
        ({}, {"interval_columns": True}, {"interval_columns"}),
        ({"into": "jsonl"}, {"interval_level": 0.3}, {"interval_level"}),
    ],
)
def test_what_makes_no_sense_is_refused(lab, changes, extension, fields):
    with pytest.raises(InvalidRequest) as caught:
        lab.create(lab.put("in.csv", csv_text(rows(3))), extension=extension, **changes)
    assert {v.field for v in caught.value.violations} == {f"rowcast.{name}" for name in fields}


def test_csv_has_room_for_one_explained_output_a_row(lab):
    uri = lab.put("in.csv", csv_text(rows(3)))
    asked = {"generate_explanation": True, "extension": {"attribution_columns": True}}
    for parameters in ({"topK": 2}, {"topK": -1}, {"outputIndices": [0, 1]}):
        with pytest.raises(InvalidRequest, match="room for one explained output"):
            lab.create(uri, explanation_spec={"parameters": parameters}, **asked)
    job = lab.run(uri, explanation_spec={"parameters": {"outputIndices": [1]}}, **asked)
    assert job.state is JobState.SUCCEEDED


def test_a_check_says_what_explanations_cost(lab):
    uri = lab.put("in.csv", csv_text(rows()))
    plain = lab.service.preflight(PARENT, lab.spec(uri, into="jsonl"))
    assert "explanationCostFactor" not in plain
    asked = lab.spec(uri, into="jsonl", generate_explanation=True)
    told = lab.service.preflight(PARENT, asked)
    assert told["explanationCostFactor"] >= 1
    none = lab.spec(uri, into="jsonl", generate_explanation=True, extension={"threshold_high": 2.0})
    assert "explanationCostFactor" not in lab.service.preflight(PARENT, none)
