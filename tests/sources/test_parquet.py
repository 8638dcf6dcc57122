"""Parquet: types as they are, parts of row groups, damaged files refused."""

import datetime
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowcast.errors import InputChanged, UnreadableInput
from rowcast.sources.parquet import _sections


def parquet(table, **options):
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def test_types_are_native_and_nested_columns_stay_as_they_are(bucket):
    rows = [
        {"i": 1, "f": 0.5, "s": "x", "b": True, "d": datetime.date(2020, 1, 2), "o": {"k": [1]}},
        {"i": None, "f": None, "s": None, "b": None, "d": None, "o": None},
    ]
    bucket.put("a.parquet", parquet(pa.Table.from_pylist(rows)))
    (batch,) = bucket.batches("parquet", "a.parquet")
    assert batch.rows.to_pylist() == rows
    assert batch.rows.schema.field("i").type == pa.int64()
    assert batch.places.describe(1) == "row 2 of gs://bucket/a.parquet"


def test_dictionaries_are_read_as_their_values(bucket):
    table = pa.table({"s": pa.array(["x", "y", "x"]).dictionary_encode()})
    bucket.put("a.parquet", parquet(table))
    (batch,) = bucket.batches("parquet", "a.parquet")
    assert batch.rows.schema.field("s").type == pa.string()
    assert batch.rows.column(0).to_pylist() == ["x", "y", "x"]


def test_later_objects_may_have_another_column_order_and_narrower_types(bucket):
    bucket.put("1.parquet", parquet(pa.table({"a": pa.array([1], pa.int64()), "b": ["x"]})))
    bucket.put("2.parquet", parquet(pa.table({"b": ["y"], "a": pa.array([2], pa.int16())})))
    assert bucket.rows("parquet", "?.parquet") == [(1, "x"), (2, "y")]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"a": [1]}), "they differ in 'b'"),
        (pa.table({"a": [1], "b": [1]}), "column 'b' is of type int64"),
        (pa.table({"a": [0.5], "b": ["x"]}), "column 'a' is of type double"),
    ],
)
def test_an_object_that_does_not_fit_the_first_fails_alone(bucket, table, message):
    bucket.put("1.parquet", parquet(pa.table({"a": [1], "b": ["x"]})))
    bucket.put("2.parquet", parquet(table))
    _, plan = bucket.plan("parquet", "?.parquet")
    assert plan.rows == 1
    assert message in plan.failures[0].message


@pytest.mark.parametrize("part_bytes", [1, 2000, 20_000, 10**9])
@pytest.mark.parametrize("row_group_size", [10, 333, 5000])
def test_row_groups_are_joined_and_cut_without_losing_a_row(bucket, part_bytes, row_group_size):
    table = pa.table({"a": list(range(5000))})
    bucket.put("a.parquet", parquet(table, row_group_size=row_group_size))
    batches = bucket.batches("parquet", "a.parquet", part_bytes=part_bytes, batch_rows=97)
    assert [v for b in batches for v in b.rows.column(0).to_pylist()] == list(range(5000))


def test_parts_are_about_as_large_as_asked():
    groups = [(10, 100)] * 6 + [(100, 1000), (0, 0), (3, 10)]
    assert [(s.start, s.stop) for s in _sections(groups, 300)] == [
        (0, 30), (30, 60), (60, 93), (93, 126), (126, 160), (160, 163),
    ]  # fmt: skip


def test_a_file_without_rows_is_fine(bucket):
    bucket.put("a.parquet", parquet(pa.table({"a": pa.array([], pa.int64())})))
    _, plan = bucket.plan("parquet", "a.parquet")
    assert (plan.rows, plan.layout.schema.names) == (0, ["a"])


def test_damaged_files_are_refused_or_read_but_never_end_the_process(bucket):
    table = pa.table({"a": list(range(2000)), "s": [f"text {i % 50}" for i in range(2000)]})
    whole = parquet(table, row_group_size=500, write_page_checksum=True)
    wrong = 0
    for step in range(0, len(whole), max(1, len(whole) // 150)):
        for content in (
            whole[:step],
            whole[:step] + bytes([whole[step] ^ 0x55]) + whole[step + 1 :],
        ):
            bucket.put("a.parquet", content)
            try:
                rows = bucket.rows("parquet", "a.parquet", part_bytes=4000)
            except (UnreadableInput, InputChanged):
                wrong += 1
            else:
                assert len(rows) == 2000
    assert wrong > 150


def test_text_that_calls_itself_parquet_is_refused(bucket):
    bucket.put("a.parquet", b"a,b\n1,2\n")
    with pytest.raises(UnreadableInput, match="not a whole Parquet file"):
        bucket.plan("parquet", "a.parquet")
