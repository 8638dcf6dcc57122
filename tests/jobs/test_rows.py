import hashlib
import json

import pyarrow.parquet as pq
import pytest

from rowcast.core.job import JobState, MachineSpec, ReplicaSpec
from rowcast.core.names import DRIFT, SUMMARY
from tests.jobs.lab import (
    Lab,
    csv_text,
    input_rows,
    input_texts,
    jsonl_text,
    parquet_text,
    read_csv,
    whole_rows,
)

TEXTS = {"csv": csv_text, "jsonl": jsonl_text, "parquet": parquet_text}


def scores(lab, job, suffix):
    """(id, score of each class) of every prediction, in order, whatever the format."""
    if suffix == "csv":
        header, rows = lab.csv_rows(job, "predictions")
        at = header.index("label_no_score")
        return [(row[header.index("id")], float(row[at]), float(row[at + 1])) for row in rows]
    if suffix == "jsonl":
        lines = [json.loads(line) for data in lab.joined(job, "predictions", "jsonl")
                 for line in data.splitlines()]  # fmt: skip
        return [(line["instance"]["id"], *line["prediction"]["scores"]) for line in lines]
    rows = pq.read_table(lab.path(job) / "predictions_1.parquet").to_pylist()
    return [(row["id"], *row["predicted_label"]["scores"]) for row in rows]


def test_every_input_row_ends_once_in_order_in_predictions_or_errors(lab):
    job = lab.run()
    assert job.state is JobState.SUCCEEDED
    header, good = lab.csv_rows(job, "predictions")
    _, bad = lab.csv_rows(job, "errors")
    assert header == ["id", "amount", "kind", "note", "when", "label_no_score", "label_yes_score"]
    ids = [int(row[0]) for row in good], [int(row[0]) for row in bad]
    assert ids[0] == sorted(ids[0])
    assert ids[1] == sorted(ids[1])
    assert sorted(ids[0] + ids[1]) == [int(row[0]) for row in input_rows()]
    fits = {
        int(row[0]): row for row in input_rows() if len(row) == 5 and row[1] != "n/a"
    }  # read by Python's csv
    assert {int(row[0]): row[:5] for row in good} == fits
    assert (job.stats.successful, job.stats.failed, job.stats.incomplete) == (
        len(good),
        len(bad),
        0,
    )
    assert sum(job.causes.values()) == len(bad)


def test_the_manifest_describes_the_objects_and_nothing_else_is_left(lab):
    job = lab.run(extension={"row_number_column": "row"})
    manifest = lab.manifest(job)
    found = lab.bytes(job)
    assert manifest["complete"]
    assert manifest["inputRows"] == len(input_rows())
    listed = [*manifest["objects"], *manifest["reports"]]
    assert {o["name"] for o in listed} == set(found)
    for entry in listed:
        data = found[entry["name"]]
        assert entry["sha256"] == hashlib.sha256(data).hexdigest()
        assert entry["bytes"] == len(data)
    for entry in manifest["objects"]:
        data = found[entry["name"]]
        assert entry["rows"] == len(read_csv(data)[1])
    assert not (lab.path(job) / "_staging").exists()


def test_output_is_cut_into_objects_that_join_to_the_same_rows(tmp_path, engine):
    lab = Lab(tmp_path, engine, output_object_bytes=20_000)
    whole = lab.csv_rows(job := lab.run(), "predictions")
    assert len(lab.joined(job, "predictions", "csv")) > 2
    other = Lab(tmp_path / "whole", engine)
    assert other.csv_rows(other.run(), "predictions") == whole
    lab.close()
    other.close()


def test_all_formats_in_and_out_give_the_same_predictions_to_the_last_bit(lab):
    rows = whole_rows()[:300]
    found = {}
    for of, text in TEXTS.items():
        uri = lab.put(f"formats/rows.{of}", text(rows))
        for into in TEXTS:
            job = lab.run(uri, of=of, into=into)
            assert job.state is JobState.SUCCEEDED, job.error
            found[of, into] = scores(lab, job, into)
    assert len(set(map(tuple, found.values()))) == 1
    assert len(found["csv", "csv"]) == sum(row["amount"] != "n/a" for row in rows)


@pytest.mark.parametrize("explain", [False, True], ids=["csv", "jsonl with explanations"])
def test_replicas_and_batch_size_change_no_byte(lab, explain):
    uri = lab.put("in.csv", csv_text(whole_rows()[:400]))
    options = {"into": "jsonl", "generate_explanation": True} if explain else {}
    outputs = set()
    for replicas in (1, 2, 4):
        for batch in (1, 64, 4096):
            wanted = ReplicaSpec(MachineSpec("local"), replicas, replicas)
            job = lab.run(uri, replicas=wanted, batch_size=batch, **options)
            assert job.state is JobState.SUCCEEDED, job.error
            outputs.add(tuple(lab.bytes(job).items()))
    assert len(outputs) == 1


def test_a_key_field_stands_in_place_of_the_input(lab):
    lines = lab.run(key_field="id", into="jsonl")
    objects = [json.loads(line) for d in lab.joined(lines, "predictions", "jsonl")
               for line in d.splitlines()]  # fmt: skip
    assert all(set(line) == {"key", "prediction"} for line in objects)
    table = lab.run(key_field="id")
    header, rows = lab.csv_rows(table, "predictions")
    assert header == ["key", "label_no_score", "label_yes_score"]
    assert [row[0] for row in rows] == [line["key"] for line in objects]
    assert lab.csv_rows(table, "errors")[0] == ["key", "errors_label"]


def test_row_numbers_count_the_whole_input_from_one(lab):
    job = lab.run(extension={"row_number_column": "row"})
    numbered = {}
    for kind in ("predictions", "errors"):
        header, rows = lab.csv_rows(job, kind)
        at = header.index("row")
        numbered |= {int(row[at]): row[0] for row in rows}
    assert [numbered[n] for n in sorted(numbered)] == [row[0] for row in input_rows()]
    assert min(numbered) == 1


@pytest.mark.parametrize("into", ["csv", "jsonl", "parquet"])
def test_an_output_name_gives_one_object_of_that_name(tmp_path, engine, into):
    lab = Lab(tmp_path, engine, output_object_bytes=1000)
    job = lab.run(into=into, extension={"output_name": f"scores.{into}"})
    assert set(lab.bytes(job)) == {f"scores.{into}", f"errors_scores.{into}", DRIFT, SUMMARY}
    lab.close()


def test_excluded_fields_are_copied_but_not_read(lab):
    rows = [{**row, "extra": "x"} for row in whole_rows()[:20]]
    uri = lab.put("in.jsonl", jsonl_text(rows))
    job = lab.run(uri, of="jsonl", into="jsonl", excluded_fields=("extra",))
    lines = lab.joined(job, "predictions", "jsonl")[0].splitlines()
    assert [json.loads(line)["instance"] for line in lines] == [
        row for row in rows if row["amount"] != "n/a"
    ]
    job = lab.run(uri, of="jsonl", excluded_fields=("amount", "when"))
    assert (job.state, job.error.code) == (JobState.FAILED, 3)
    assert "amount" in job.error.message
    assert "when" in job.error.message
    job = lab.run(uri, of="jsonl", included_fields=("kind",))
    assert job.error.code == 3


def test_arrays_are_read_in_training_order(lab):
    rows = [row for row in whole_rows() if row["amount"] != "n/a"][:50]
    names = ["amount", "kind", "note", "when"]
    arrays = lab.put("a.jsonl", jsonl_text([[row[n] for n in names] for row in rows]))
    objects = lab.put("o.jsonl", jsonl_text([{n: row[n] for n in names} for row in rows]))
    outputs = [lab.bytes(lab.run(uri, of="jsonl", into="csv")) for uri in (arrays, objects)]
    assert outputs[0] == outputs[1]


def test_an_object_that_two_uris_name_is_read_once(lab):
    lab.put_input()
    job = lab.run("gs://b/in/*.csv", "gs://b/in/rows-00.csv", "gs://b//in/rows-01.csv")
    assert job.stats.successful + job.stats.failed == len(input_rows())


def test_compressed_objects_give_what_plain_ones_give(lab):
    import gzip

    plain = lab.bytes(lab.run())
    for name, text in input_texts().items():
        lab.put(f"packed/{name}.gz", gzip.compress(text))
    packed = lab.run("gs://b/packed/*.gz")
    assert not (lab.path(packed) / "_staging").exists()
    assert set(lab.bytes(packed)) == set(plain)
    assert lab.bytes(packed)["predictions_1.csv"] == plain["predictions_1.csv"]
