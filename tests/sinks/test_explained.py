"""Attributions in every format say the same, and what the contract says."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowcast.core.batch import Batch, Places
from rowcast.core.prediction import Attributions, Predictions, Scored
from rowcast.core.schema import Target
from rowcast.sinks import SinkOptions, open_sink
from rowcast.sinks.explained import strongest
from rowcast.storage.objects import Objects, Roots

CLASSES = ("no", 'a "b"', "ü,\n")
FEATURES = ("age", 'say "hi"', "x\ny", "job")
ROWS = 7


@pytest.fixture
def options(tmp_path):
    (tmp_path / "gs" / "b").mkdir(parents=True)
    objects = Objects(Roots(tmp_path / "gs", tmp_path / "s3"))
    schema = pa.schema([("id", pa.string())])
    target = Target("t", "classification", CLASSES)
    return SinkOptions(objects, "gs://b/out/", "gs://b/out/_staging/", target, schema)


def scored(explained=None, outputs=2):
    """Seven rows that were scored, with attributions of some of them."""
    draw = np.random.default_rng(4)
    rows = pa.record_batch({"id": [str(n) for n in range(ROWS)]})
    batch = Batch(rows, Places("gs://b/in.csv", np.arange(1, ROWS + 1)))
    scores = draw.dirichlet(np.ones(3), ROWS)
    kept = np.arange(ROWS) if explained is None else np.array(explained, np.int64)
    n = len(kept)
    index = np.argsort(-scores[kept], axis=1)[:, :outputs]
    values = draw.normal(size=(n, outputs, len(FEATURES))) * np.array([1e-20, 1, 1e22, 0])
    baseline = draw.random((n, outputs))
    instance = np.take_along_axis(scores[kept], index, axis=1)
    why = Attributions(FEATURES, values, baseline, instance, draw.random((n, outputs)), index)
    return Scored(
        batch,
        np.arange(ROWS),
        Predictions(scores=scores),
        (),
        why,
        None if explained is None else kept,
    )


def expected(one):
    """What each row's explanation must be, made the slow way."""
    why = one.attributions
    found = [None] * ROWS
    for place, row in enumerate(range(ROWS) if one.explained is None else one.explained):
        found[row] = [
            {
                "baselineOutputValue": why.baseline_output[place, k],
                "instanceOutputValue": why.instance_output[place, k],
                "approximationError": why.approximation_error[place, k],
                "featureAttributions": dict(zip(FEATURES, why.values[place, k], strict=True)),
                "outputIndex": [why.output_index[place, k]],
                "outputDisplayName": CLASSES[why.output_index[place, k]],
                "outputName": "scores",
            }
            for k in range(why.values.shape[1])
        ]
    return found


def most(entry, count):
    """The attributions with the largest sizes, the largest first."""
    ranked = sorted(entry["featureAttributions"].items(), key=lambda item: -abs(item[1]))
    return {**entry, "featureAttributions": dict(ranked[:count])}


def written(format_, options, one):
    sink = open_sink(format_, options)
    (published,) = sink.publish([sink.stage(0, "a", iter([one]))])
    data = options.objects.read_bytes(options.directory + published.name)
    if format_ == "jsonl":
        lines = [json.loads(line) for line in data.decode().splitlines()]
        assert all(("explanation" in line) == (line.get("explanation") is not None)
                   for line in lines)  # fmt: skip
        return [line.get("explanation", {}).get("attributions") for line in lines]
    if format_ == "parquet":
        column = pq.read_table(io.BytesIO(data)).column("explanation").to_pylist()
        return [None if cell is None else cell["attributions"] for cell in column]
    return list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))


@pytest.mark.parametrize("format_", ["jsonl", "parquet"])
@pytest.mark.parametrize("explained", [None, [0, 3, 6], []], ids=["all", "some", "none"])
@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_every_field_is_what_was_attributed(options, format_, explained, outputs):
    one = scored(explained, outputs)
    assert written(format_, options, one) == expected(one)


@pytest.mark.parametrize("explained", [None, [1, 5]])
@pytest.mark.parametrize("count", [1, 3, 9])
def test_only_the_features_that_matter_most_are_kept(options, explained, count):
    one = scored(explained)
    kept = [None if row is None else [most(entry, count) for entry in row] for row in expected(one)]
    limited = replace(options, most_attributions=count)
    found = written("jsonl", limited, one)
    assert found == kept
    names = [list(e["featureAttributions"]) for row in found if row for e in row]
    assert names == [list(e["featureAttributions"]) for row in kept if row for e in row]
    for row in (tables := written("parquet", limited, one)):
        for entry in row or ():
            given = entry["featureAttributions"].items()
            entry["featureAttributions"] = {n: v for n, v in given if v is not None}
    assert tables == kept


@pytest.mark.parametrize("explained", [None, [2, 3], []])
@pytest.mark.parametrize("count", [None, 2])
def test_csv_has_a_column_for_each_feature_that_is_asked_for(options, explained, count):
    one = scored(explained)
    wanted = replace(options, explained=FEATURES, attribution_columns=True, most_attributions=count)
    rows = written("csv", wanted, one)
    assert list(rows[0])[-4:] == [f"{name}_attribution" for name in FEATURES]
    for row, entries in zip(rows, expected(one), strict=True):
        cells = {name: row[f"{name}_attribution"] for name in FEATURES}
        found = {name: float(cell) for name, cell in cells.items() if cell}
        kept = most(entries[0], count or 4)["featureAttributions"] if entries else {}
        assert found == kept


def test_csv_has_bounds_if_they_are_asked_for_and_nothing_where_there_are_none(options):
    priced = replace(options, target=Target("price", "regression"), interval_columns=True)
    value = np.arange(7.0)
    answers = Predictions(value=value, lower=np.where(value > 5, np.nan, value - 1), upper=value)
    rows = written("csv", priced, replace(scored(), predictions=answers, attributions=None))
    bounds = ("predicted_price_lower_bound", "predicted_price_upper_bound")
    assert tuple(rows[0])[-2:] == bounds
    assert [tuple(row[name] for name in bounds) for row in rows[:2]] == [("-1", "0"), ("0", "1")]
    assert rows[6][bounds[0]] == ""
    unknown = Predictions(value=value)
    rows = written("csv", priced, replace(scored(), predictions=unknown, attributions=None))
    assert rows[3][bounds[0]] == rows[3][bounds[1]] == ""


def test_of_equal_attributions_the_earlier_feature_comes_first():
    values = np.array([[0.0, 0.0, 0.0], [-1.0, 1.0, 2.0]])
    assert strongest(values, 2).tolist() == [[0, 1], [2, 0]]
    assert strongest(values, 5).tolist() == [[0, 1, 2], [2, 0, 1]]
    assert strongest(np.empty((0, 3)), 2).shape == (0, 2)


def test_a_table_without_rows_has_the_column_all_the_same(options):
    sink = open_sink("parquet", replace(options, explained=FEATURES))
    (published,) = sink.publish([])
    data = options.objects.read_bytes(options.directory + published.name)
    empty = pq.read_schema(io.BytesIO(data))
    one = scored(outputs=1)
    (published,) = sink.publish([sink.stage(0, "a", iter([one]))])
    data = options.objects.read_bytes(options.directory + published.name)
    assert empty == pq.read_schema(io.BytesIO(data))
