"""What every source keeps to."""

import pickle

import numpy as np
import pytest

from rowcast.errors import InputChanged, UnreadableInput
from rowcast.sources import OBJECT_SOURCES
from tests.samples import ROWS, WRITERS

PART_BYTES = [1, 50, 500, 10**9]


@pytest.fixture(params=OBJECT_SOURCES)
def format_(request):
    return request.param


@pytest.mark.parametrize("part_bytes", PART_BYTES)
def test_parts_yield_every_row_once_in_order(bucket, format_, part_bytes):
    bucket.put("a", WRITERS[format_](ROWS[:20]))
    bucket.put("b", WRITERS[format_](ROWS[20:]))
    batches = bucket.batches(format_, "[ab]", part_bytes=part_bytes, batch_rows=7)
    assert [row for batch in batches for row in batch.rows.to_pylist()] == ROWS
    assert all(0 < len(batch) <= 7 for batch in batches)
    assert np.concatenate([b.places.row for b in batches]).tolist() == list(range(1, 49))
    assert {b.places.uri for b in batches} == {"gs://bucket/a", "gs://bucket/b"}
    assert not any(b.rejects for b in batches)


@pytest.mark.parametrize("part_bytes", PART_BYTES)
def test_parts_are_in_row_order_and_hold_a_record_at_least(bucket, format_, part_bytes):
    bucket.put("a", WRITERS[format_](ROWS))
    _, plan = bucket.plan(format_, "a", part_bytes=part_bytes)
    assert [part.number for part in plan.parts] == list(range(len(plan.parts)))
    assert all(part.rows > 0 and part.start < part.stop for part in plan.parts)
    first_rows = np.cumsum([1, *(part.rows for part in plan.parts)])
    assert [part.first_row for part in plan.parts] == first_rows[:-1].tolist()
    assert plan.rows == len(ROWS)
    assert plan.layout.schema.names == list(ROWS[0])


@pytest.mark.parametrize("batch_rows", [1, 3, 8192])
def test_a_part_read_again_elsewhere_yields_the_same(bucket, format_, batch_rows):
    bucket.put("a", WRITERS[format_](ROWS))
    source, plan = bucket.plan(format_, "a", part_bytes=200)
    elsewhere = pickle.loads(pickle.dumps(source))
    layout = pickle.loads(pickle.dumps(plan.layout))
    for part in plan.parts:
        again = elsewhere.read(layout, part, batch_rows)
        for one, other in zip(source.read(plan.layout, part, batch_rows), again, strict=True):
            assert one.rows.equals(other.rows)
            assert one.rows.schema == plan.layout.schema
            assert one.places.describe(0) == other.places.describe(0)


def test_a_survey_of_the_same_objects_makes_the_same_plan(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS))
    source, plan = bucket.plan(format_, "a", part_bytes=200)
    assert source.survey(bucket.listed("a"), 200) == plan


def test_an_object_replaced_before_the_survey_is_noticed(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS))
    listed = bucket.listed("a")
    bucket.put("a", WRITERS[format_](ROWS[:-1]))
    with pytest.raises(InputChanged, match="gs://bucket/a changed"):
        bucket.source(format_).survey(listed, 200)


def test_an_object_replaced_after_the_survey_is_noticed(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS))
    source, plan = bucket.plan(format_, "a", part_bytes=200)
    bucket.put("a", WRITERS[format_](ROWS[:-1]))
    with pytest.raises(InputChanged, match="gs://bucket/a changed"):
        list(source.read(plan.layout, plan.parts[0], 10))


def test_dropped_columns_are_as_if_they_were_not_there(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS))
    batches = bucket.batches(format_, "a", part_bytes=200, dropped_columns=("job", "amount"))
    kept = [{"id": row["id"], "note": row["note"]} for row in ROWS]
    assert [row for batch in batches for row in batch.rows.to_pylist()] == kept


def test_with_every_column_dropped_the_rows_are_still_counted(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS))
    batches = bucket.batches(format_, "a", part_bytes=200, dropped_columns=tuple(ROWS[0]))
    assert sum(len(batch) for batch in batches) == len(ROWS)


def test_an_object_over_the_size_limit_fails_alone(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS[:2]))
    bucket.put("b", WRITERS[format_](ROWS * 200))
    limit = 20_000
    _, plan = bucket.plan(format_, "[ab]", object_bytes=limit)
    assert plan.rows == 2
    assert [(f.uri, f.code) for f in plan.failures] == [("gs://bucket/b", 3)]
    assert "20,000" in plan.failures[0].message


def test_an_input_over_the_total_limit_is_refused_whole(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS))
    bucket.put("b", WRITERS[format_](ROWS))
    total = sum(one.size for one in bucket.listed("[ab]"))
    with pytest.raises(UnreadableInput, match="max_total_bytes"):
        bucket.plan(format_, "[ab]", total_bytes=total - 1)
    assert bucket.plan(format_, "[ab]", total_bytes=total)[1].rows == 2 * len(ROWS)


def test_too_many_columns_are_refused(bucket, format_):
    bucket.put("a", WRITERS[format_](ROWS))
    with pytest.raises(UnreadableInput, match="max_columns"):
        bucket.plan(format_, "a", columns=3)


@pytest.mark.parametrize("batch_rows", [1, 7, 8192])
def test_one_object_overwritten_in_place_while_it_is_read_is_noticed(bucket, format_, batch_rows):
    bucket.put("a", WRITERS[format_](ROWS))
    source, plan = bucket.plan(format_, "a")
    batches = source.read(plan.layout, plan.parts[0], batch_rows)
    next(batches)
    (bucket.folder / "a").write_bytes(b"x" * 50)
    if format_ == "parquet":  # the text formats have all of a part in memory by now
        with pytest.raises(InputChanged, match="gs://bucket/a changed"):
            list(batches)
    else:
        assert sum(len(batch) for batch in batches) == len(ROWS) - min(batch_rows, len(ROWS))
