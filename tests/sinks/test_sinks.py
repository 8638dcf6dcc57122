import csv
import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowcast.core.batch import Batch, Places, RowError
from rowcast.core.prediction import Attributions, Predictions, Scored
from rowcast.core.schema import Target
from rowcast.sinks import OBJECT_SINKS, SinkOptions, open_sink
from rowcast.storage.objects import Objects, Roots

COLUMNS = {"id": ["007", "8", "9"], "note": ["a,b", 'say "hi"', ""]}
CHURN = Target("churn", "classification", ("no", "yes"))
PRICE = Target("price", "regression")


@pytest.fixture
def options(tmp_path):
    (tmp_path / "gs" / "bucket").mkdir(parents=True)
    objects = Objects(Roots(tmp_path / "gs", tmp_path / "s3"))
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    return SinkOptions(objects, "gs://bucket/out/", "gs://bucket/out/_staging/", CHURN, schema)


def scored(first_row=1, target=CHURN, **changes):
    """Three rows of which the second failed."""
    rows = pa.record_batch({name: pa.array(cells) for name, cells in COLUMNS.items()})
    batch = Batch(rows, Places("gs://bucket/in.csv", np.arange(first_row, first_row + 3)))
    if target.classes:
        answers = Predictions(scores=np.array([[0.25, 0.75], [0.9, 0.1]]))
    else:
        value = np.array([1.62, 1e-7])
        answers = Predictions(value=value, lower=value - 1, upper=value + 1)
    error = RowError(1, "id: not a number", "Column 'id': cannot read \"x\" as a number.")
    return replace(Scored(batch, np.array([0, 2]), answers, (error,)), **changes)


def write(format_, options, parts, attempt="a"):
    sink = open_sink(format_, options)
    staged = [sink.stage(n, f"{attempt}{n}", iter(part)) for n, part in enumerate(parts)]
    return sink.publish(staged)


def text(options, name):
    return options.objects.read_bytes(options.directory + name).decode()


def rows_of(options, published, kind):
    """All rows of one kind, as (cells of the input, rest), whatever the format."""
    found = []
    for item in published:
        if item.kind != kind:
            continue
        data = options.objects.read_bytes(options.directory + item.name)
        if item.name.endswith("csv"):
            for row in csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True):
                found.append({name: row.pop(name) for name in COLUMNS})
        elif item.name.endswith("jsonl"):
            found += [json.loads(line)["instance"] for line in data.decode().splitlines()]
        else:
            for row in pq.read_table(io.BytesIO(data)).to_pylist():
                found.append({name: row[name] or "" for name in COLUMNS})
    return found


@pytest.mark.parametrize("format_", OBJECT_SINKS)
def test_every_row_is_written_once_in_order_whatever_its_outcome(options, format_):
    published = write(format_, options, [[scored(), scored(4)], [scored(7)]])
    good = [{name: cells[i] for name, cells in COLUMNS.items()} for i in (0, 2)]
    bad = [{name: cells[1] for name, cells in COLUMNS.items()}]
    assert rows_of(options, published, "predictions") == good * 3
    assert rows_of(options, published, "errors") == bad * 3
    assert [(p.kind, p.rows) for p in published] == [("predictions", 6), ("errors", 3)]


@pytest.mark.parametrize("format_", OBJECT_SINKS)
def test_nothing_has_a_final_name_before_publishing(options, format_):
    sink = open_sink(format_, options)
    sink.stage(0, "a", iter([scored()]))
    folder = options.objects.resolve(options.directory).path
    assert [p.name for p in folder.iterdir()] == ["_staging"]


@pytest.mark.parametrize("format_", OBJECT_SINKS)
def test_publishing_twice_and_other_batches_give_the_same_bytes(options, format_):
    first = write(format_, options, [[scored(), scored(4)]])
    assert write(format_, options, [[scored(), scored(4)]], "b") == first
    one = scored()
    joined = pa.Table.from_batches([one.batch.rows] * 2).combine_chunks().to_batches()[0]
    batch = Batch(joined, Places("gs://bucket/in.csv", np.arange(1, 7)))
    answers = Predictions(scores=np.concatenate([one.predictions.scores] * 2))
    errors = (one.errors[0], replace(one.errors[0], index=4))
    whole = Scored(batch, np.array([0, 2, 3, 5]), answers, errors)
    assert write(format_, options, [[whole]], "c") == first


@pytest.mark.parametrize("format_", OBJECT_SINKS)
def test_a_new_object_starts_at_the_size_limit(options, format_):
    small = replace(options, object_bytes=1)
    published = write(format_, small, [[scored()], [scored(4)], [scored(7)]])
    assert [p.name for p in published] == [
        f"{kind}_{n}.{format_}" for kind in ("predictions", "errors") for n in (1, 2, 3)
    ]


@pytest.mark.parametrize("format_", OBJECT_SINKS)
def test_an_exact_name_gives_one_object(options, format_):
    named = replace(options, output_name=f"scores.{format_}", object_bytes=1)
    published = write(format_, named, [[scored()], [scored(4)]])
    assert [p.name for p in published] == [f"scores.{format_}", f"errors_scores.{format_}"]


@pytest.mark.parametrize("format_", OBJECT_SINKS)
def test_no_rows_give_an_empty_predictions_object_and_no_errors(options, format_):
    published = write(format_, options, [])
    assert [(p.name, p.rows) for p in published] == [(f"predictions_1.{format_}", 0)]
    if format_ == "parquet":
        data = options.objects.read_bytes(options.directory + published[0].name)
        assert pq.read_schema(io.BytesIO(data)).names == ["id", "note", "predicted_churn"]


def test_csv_is_laid_out_as_the_contract_says(options):
    write("csv", options, [[scored()]])
    assert text(options, "predictions_1.csv") == (
        'id,note,churn_no_score,churn_yes_score\n007,"a,b",0.25,0.75\n9,,0.9,0.1\n'
    )
    assert text(options, "errors_1.csv") == (
        'id,note,errors_churn\n8,"say ""hi""",'
        '"{""code"":3,""message"":""Column \'id\': cannot read \\""x\\"" as a number.""}"\n'
    )


def test_csv_of_a_regression_has_the_value_and_no_interval(options):
    write("csv", replace(options, target=PRICE), [[scored(target=PRICE)]])
    assert text(options, "predictions_1.csv").splitlines()[0] == "id,note,predicted_price"
    assert text(options, "predictions_1.csv").splitlines()[2] == "9,,1e-7"


def test_jsonl_is_laid_out_as_the_contract_says(options):
    write("jsonl", options, [[scored()]])
    assert text(options, "predictions_1.jsonl").splitlines()[0] == (
        '{"instance": {"id": "007", "note": "a,b"}, '
        '"prediction": {"classes": ["no","yes"], "scores": [0.25, 0.75]}}'
    )
    assert json.loads(text(options, "errors_1.jsonl")) == {
        "instance": {"id": "8", "note": 'say "hi"'},
        "error": {"code": 3, "message": "Column 'id': cannot read \"x\" as a number."},
    }
    write("jsonl", replace(options, target=PRICE), [[scored(target=PRICE)]])
    assert json.loads(text(options, "predictions_1.jsonl").splitlines()[0])["prediction"] == {
        "value": 1.62,
        "lower_bound": 1.62 - 1,
        "upper_bound": 2.62,
    }


def test_jsonl_repeats_an_instance_to_the_letter(options):
    raw = ['{"id":7e0}', '{"id": "x"}', '{ "id" : null }']
    one = scored()
    batch = replace(one.batch, instances=pa.array(raw))
    write("jsonl", options, [[replace(one, batch=batch)]])
    lines = text(options, "predictions_1.jsonl").splitlines()
    assert lines[0].startswith('{"instance": {"id":7e0}, "prediction"')
    assert lines[1].startswith('{"instance": { "id" : null }, "prediction"')


def test_a_key_stands_in_place_of_the_input(options):
    keyed = replace(options, key_field="id", row_number_column="row")
    write("csv", keyed, [[scored()]])
    assert text(options, "predictions_1.csv").splitlines()[:2] == [
        "key,row,churn_no_score,churn_yes_score",
        "007,1,0.25,0.75",
    ]
    write("jsonl", keyed, [[scored(11)]])
    assert text(options, "errors_1.jsonl").startswith('{"key": "8", "row": 12, "error"')
    write("parquet", keyed, [[scored()]])
    data = options.objects.read_bytes("gs://bucket/out/predictions_1.parquet")
    assert pq.read_table(io.BytesIO(data)).column("key").to_pylist() == ["007", "9"]


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
def test_explanations_stand_beside_the_prediction(options, format_):
    shape = np.zeros((2, 1))
    values = np.array([[[0.1, -0.2]], [[0.0, 0.5]]])
    why = Attributions(("id", "note"), values, shape, shape + 1, shape, np.array([[1], [0]]))
    write(format_, options, [[replace(scored(), attributions=why)]])
    data = options.objects.read_bytes(f"gs://bucket/out/predictions_1.{format_}")
    if format_ == "jsonl":
        found = json.loads(data.splitlines()[0])["explanation"]
    else:
        found = pq.read_table(io.BytesIO(data)).column("explanation").to_pylist()[0]
    assert found["attributions"] == [
        {
            "baselineOutputValue": 0.0,
            "instanceOutputValue": 1.0,
            "approximationError": 0.0,
            "featureAttributions": {"id": 0.1, "note": -0.2},
            "outputIndex": [1],
            "outputDisplayName": "yes",
            "outputName": "scores",
        }
    ]


def test_typed_columns_keep_their_types_in_parquet_and_their_shortest_text_in_csv(options):
    columns = {"n": pa.array([1, 2, None]), "x": pa.array([0.1, 1e22, None]), "l": [[1], [], None]}
    rows = pa.record_batch(columns)
    typed = replace(options, schema=rows.schema)
    one = replace(scored(), batch=Batch(rows, Places("u", np.arange(3))))
    write("parquet", typed, [[one]])
    data = options.objects.read_bytes("gs://bucket/out/predictions_1.parquet")
    table = pq.read_table(io.BytesIO(data))
    assert table.schema.field("n").type == pa.int64()
    assert table.column("l").to_pylist() == [[1], None]
    write("csv", typed, [[one]])
    assert text(options, "predictions_1.csv").splitlines()[1:] == [
        "1,0.1,[1],0.25,0.75",
        ",,,0.9,0.1",
    ]


def test_text_that_was_json_has_its_type_back_in_parquet(options):
    kinds = {"n": b"number", "b": b"boolean", "s": b"string"}
    fields = [pa.field(n, pa.string(), metadata={b"json_type": k}) for n, k in kinds.items()]
    schema = pa.schema(fields)
    rows = pa.record_batch([["1.50", "x", None], ["true", None, "false"], ["", "x", "y"]], schema)
    one = replace(scored(), batch=Batch(rows, Places("u", np.arange(3))))
    parts = [[replace(one, errors=(), scored_rows=np.array([0, 2]))]]
    write("parquet", replace(options, schema=schema), parts)
    data = options.objects.read_bytes("gs://bucket/out/predictions_1.parquet")
    assert pq.read_table(io.BytesIO(data)).drop_columns(["predicted_churn"]).to_pylist() == [
        {"n": 1.5, "b": True, "s": ""},
        {"n": None, "b": False, "s": "y"},
    ]
