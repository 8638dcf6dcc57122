"""CSV against Python's own reader, and what becomes of input that is not in order."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rowcast.errors import UnreadableInput
from tests.samples import ROWS, csv_bytes
from tests.sources.conftest import Bucket, cells

csv.field_size_limit(1 << 30)


def python_records(text):
    """Records as Python's reader has them, with the lines that hold nothing left out."""
    return [record for record in csv.reader(io.StringIO(text, newline="")) if record]


def is_closed(text):
    """Whether the last quoted field ends, by Python's strict reader on one more line."""
    sentinel = "\n\x01"
    return python_records(text + sentinel)[-1:] == [["\x01"]]


hostile = st.lists(
    st.sampled_from(['"', '""', ",", "\r", "\n", "\r\n", "a", "bc", " ", "é", "日", "\0", "𝄞"]),
    max_size=40,
).map("".join)


def as_reference(text, width):
    """What rows a source makes of the records after the header; None where it may differ."""
    expected = []
    for record in python_records(text):
        if len(record) > width:
            expected.append((*record[: width - 1], None))
        else:
            expected.append((*record, *[""] * (width - len(record))))
    return expected


@given(text=hostile, width=st.integers(1, 4), part_bytes=st.sampled_from([1, 5, 17, 10**6]))
@example(text='a"b,c\n"d""e"f"g,h\n', width=2, part_bytes=1)
@example(text="\r\r\n\n\ra\r", width=1, part_bytes=1)
@example(text='""\n"",\n,\n', width=2, part_bytes=1)
def test_records_and_cells_are_those_of_pythons_reader(tmp_path_factory, text, width, part_bytes):
    bucket = Bucket(tmp_path_factory.mktemp("csv"))
    header = ",".join(f"c{i}" for i in range(width)) + "\n"
    bucket.put("a.csv", (header + text).encode())
    if not is_closed(text):
        with pytest.raises(UnreadableInput, match="never closed"):
            bucket.plan("csv", "a.csv", part_bytes=part_bytes)
        return
    batches = bucket.batches("csv", "a.csv", part_bytes=part_bytes, batch_rows=3)
    found = [row for batch in batches for row in cells(batch)]
    expected = as_reference(text, width)
    assert len(found) == len(expected)
    for row, wanted in zip(found, expected, strict=True):
        assert len(row) == width
        assert all(w is None or w == r for r, w in zip(row, wanted, strict=True))
    records = python_records(text)
    wrong = {n for n, record in enumerate(records, 1) if len(record) != width}
    rejected = {int(b.places.row[r.index]) for b in batches for r in b.rejects}
    assert wrong <= rejected


@given(text=hostile, part_bytes=st.sampled_from([1, 7, 10**6]))
def test_every_record_stands_where_its_place_says(tmp_path_factory, text, part_bytes):
    bucket = Bucket(tmp_path_factory.mktemp("csv"))
    whole = ("c\n" + text).encode()
    bucket.put("a.csv", whole)
    if not is_closed(text):
        return
    offsets, lines = [], []
    for batch in bucket.batches("csv", "a.csv", part_bytes=part_bytes):
        offsets += batch.places.offset.tolist()
        lines += batch.places.line.tolist()
    for offset, line in zip(offsets, lines, strict=True):
        before = whole[:offset].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert line == 1 + before.count(b"\n")
        assert before.endswith(b"\n")
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,b\n1,\n,2\n", [("1", ""), ("", "2")]),
        ('a,b\r\n"x, y",2\r\n', [("x, y", "2")]),
        ('a,b\n1,"ha ""ha"" ha"\n', [("1", 'ha "ha" ha')]),
        ('a,b\n1,"{""type"": ""Point""}"\n', [("1", '{"type": "Point"}')]),
        ('a,b\n"1\n2",3\n"4\r\n5",6\n', [("1\n2", "3"), ("4\r\n5", "6")]),
        ("a,b\n1,ʤ\n", [("1", "ʤ")]),
        ("a,b\r1,2\r3,4", [("1", "2"), ("3", "4")]),
        ("\n\na,b\n\n1,2\n\n\n", [("1", "2")]),
        ("a,b\n", []),
        ("a,b", []),
        (',\n1,2\n', [("1", "2")]),
        ("a,b\n \x0b, \t\n", [(" \x0b", " \t")]),
        ("a,b\n1\0,2\n", [("1\0", "2")]),
        ('a\n""\n', [("",)]),
    ],
)  # fmt: skip
def test_text_becomes_rows(bucket, text, rows):
    for name, content in (("plain.csv", text), ("bom.csv", "\ufeff" + text)):
        bucket.put(name, content.encode())
        assert bucket.rows("csv", name) == rows
        assert bucket.rows("csv", name, part_bytes=1) == rows


def test_cells_are_not_typed(bucket):
    bucket.put("a.csv", b"a,b,c,d\n007,NA,1e5, x \n")
    assert bucket.rows("csv", "a.csv") == [("007", "NA", "1e5", " x ")]


def reject_of(bucket, text, **options):
    bucket.put("a.csv", text.encode())
    (batch,) = bucket.batches("csv", "a.csv", **options)
    (reject,) = batch.rejects
    return cells(batch)[reject.index], reject


def test_a_row_with_too_few_fields_is_a_reject_with_empty_cells(bucket):
    row, reject = reject_of(bucket, 'a,b,c\n1,"2\n3",4\n\n5,6\n')
    assert row == ("5", "6", "")
    assert (reject.code, reject.cause) == (3, "wrong number of fields")
    assert reject.message == (
        "The header has 3 columns, so expected 3 fields, but found 2 "
        "(row 2, line 5, byte 17 of gs://bucket/a.csv)"
    )


def test_the_excess_of_a_row_with_too_many_fields_is_kept_as_it_stands(bucket):
    row, reject = reject_of(bucket, 'a,b\n1,"2",3,"4, ""5"""\r\n')
    assert row == ("1", '2,3,"4, ""5"""')
    assert "expected 2 fields, but found 4 (row 1, line 2, byte 4" in reject.message


def test_text_after_a_closing_quote_is_a_reject_that_names_column_and_place(bucket):
    row, reject = reject_of(bucket, 'age,job\n"5"7,x\n')
    assert row == ("57", "x")
    assert reject.cause == "'age': text after the closing quote"
    assert reject.message == (
        "Column 'age': text after the closing quote, '7,x'; expected a comma or the end of the "
        "line, and a quote inside quotes doubled (row 1, line 2, byte 8 of gs://bucket/a.csv)"
    )


def test_a_reject_does_not_disturb_its_neighbours(bucket):
    bucket.put("a.csv", b'a,b\n1,2\n3\n4,5\n"6"x,7\n8,9,10\n11,12\n')
    batches = bucket.batches("csv", "a.csv", batch_rows=2)
    assert [[r.index for r in b.rejects] for b in batches] == [[1], [1], [0]]
    assert [row for b in batches for row in cells(b)][2] == ("4", "5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n\r\n\n", "is empty"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "opens a field at line 3, byte 10 is never closed"),
        (b'a,"b\n1,2\n', "line 1, in which the quote at byte 2 is never closed"),
        (b'a,"b"c\n1,2\n', "header with text after a closing quote (line 1, byte 5)"),
        (b'a,b\n1,"\n\n"\n3,\xff\n', "is not UTF-8: line 5"),
        (b"a,b\n1,2\n3,\xe2\x82", "is not UTF-8: line 3"),
        (b"a,b\n1,\xed\xa0\x80\n", "is not UTF-8: line 2"),
        (b"a,\xc0\x80\n1,2\n", "is not UTF-8: its header (line 1)"),
    ],
)
def test_an_unreadable_object_is_refused_with_a_reason_and_fails_alone(bucket, content, message):
    bucket.put("b.csv", content)
    with pytest.raises(UnreadableInput) as caught:
        bucket.plan("csv", "b.csv")
    assert message in str(caught.value)
    assert "gs://bucket/b.csv" in str(caught.value)

    bucket.put("a.csv", b"a,b\n0,0\n")
    bucket.put("c.csv", b"9,9\n")
    source, plan = bucket.plan("csv", "[abc].csv")
    batches = [b for part in plan.parts for b in source.read(plan.layout, part, 10)]
    first_ones = [b for b in batches if b.places.uri != "gs://bucket/b.csv"]
    assert [row for b in first_ones for row in cells(b)] == [("0", "0"), ("9", "9")]
    if "header" not in message or "never closed" in message or "UTF-8" in message:
        assert [f.uri for f in plan.failures] == ["gs://bucket/b.csv"]
        assert plan.failures[0].code == 3


@pytest.mark.parametrize(
    ("content", "limits", "message"),
    [
        (
            "a,b\n1,2\n" + "3," + "x" * 99 + "\n",
            {"row_bytes": 100},
            "line 3, byte 8.*max_row_bytes",
        ),
        ("a,b\n1,2\n" + "3," + "x" * 99 + "\n", {"cell_bytes": 98}, "99 bytes.*max_cell_bytes"),
        ('a,b\n1,"' + "x\n" * 60, {"row_bytes": 100}, "line 2, byte 4.*quote.*line 2, byte 6"),
        ("a" * 200 + "\n1\n", {"header_bytes": 100}, "max_header_bytes"),
        ("a,b,c\n", {"columns": 2}, "3 columns.*max_columns"),
    ],
)
def test_a_limit_that_is_exceeded_is_named_with_the_place(bucket, content, limits, message):
    bucket.put("a.csv", content.encode())
    with pytest.raises(UnreadableInput, match=message):
        bucket.plan("csv", "a.csv", **limits)


def test_what_is_just_within_the_limits_is_read(bucket):
    bucket.put("a.csv", b"a,b\n12345,67890\n")
    limits = {"row_bytes": 11, "cell_bytes": 5, "header_bytes": 3, "columns": 2}
    assert bucket.rows("csv", "a.csv", **limits) == [("12345", "67890")]


def test_a_later_object_may_repeat_the_header_or_not_or_have_it_in_another_order(bucket):
    bucket.put("1.csv", csv_bytes(ROWS[:10]))
    bucket.put("2.csv", csv_bytes(ROWS[10:20]))
    bucket.put("3.csv", csv_bytes(ROWS[20:30], header=False))
    bucket.put("4.csv", csv_bytes(ROWS[30:], names=["amount", "id", "note", "job"]))
    expected = [tuple(row.values()) for row in ROWS]
    assert bucket.rows("csv", "?.csv") == expected
    _, plan = bucket.plan("csv", "?.csv")
    assert plan.layout.column_orders == {3: (1, 3, 2, 0)}
    kept = [(row["id"], row["note"], row["amount"]) for row in ROWS]
    assert bucket.rows("csv", "?.csv", part_bytes=40, dropped_columns=("job",)) == kept


def test_row_numbers_run_over_the_readable_objects_and_lines_begin_anew(bucket):
    bucket.put("1.csv", b"a\nx\n")
    bucket.put("2.csv", b"a\n\xff\n")
    bucket.put("3.csv", b"\xef\xbb\xbfa\ny\nz\n")
    batches = bucket.batches("csv", "?.csv")
    assert [b.places.describe(len(b) - 1) for b in batches] == [
        "row 1, line 2, byte 2 of gs://bucket/1.csv",
        "row 3, line 3, byte 7 of gs://bucket/3.csv",
    ]


def test_equal_names_in_a_header_are_both_kept(bucket):
    bucket.put("a.csv", b"a,b,a\n1,2,3\n")
    _, plan = bucket.plan("csv", "a.csv")
    assert plan.layout.schema.names == ["a", "b", "a"]
    assert bucket.rows("csv", "a.csv") == [("1", "2", "3")]


def test_a_part_that_is_followed_by_a_sea_of_empty_lines_stays_small(bucket):
    bucket.put("a.csv", b"a\n1\n" + b"\n" * 100_000 + b"2\n")
    _, plan = bucket.plan("csv", "a.csv", part_bytes=100)
    assert [part.stop - part.start for part in plan.parts] == [1, 1]
    assert bucket.rows("csv", "a.csv", part_bytes=100) == [("1",), ("2",)]


def test_records_longer_than_a_block_are_read(bucket, monkeypatch):
    monkeypatch.setattr("rowcast.sources.csv.BLOCK_BYTES", 7)
    monkeypatch.setattr("rowcast.sources.csv.FIRST_LOOK_BYTES", 2)
    text = csv_bytes(ROWS)
    bucket.put("a.csv", text)
    assert bucket.rows("csv", "a.csv", part_bytes=30) == [tuple(r.values()) for r in ROWS]


def test_short_rows_of_a_wide_table_are_made_into_columns_bit_by_bit(bucket, monkeypatch):
    monkeypatch.setattr("rowcast.sources.csv.CELLS_AT_ONCE", 120)
    bucket.put("a.csv", (",".join(f"c{i}" for i in range(40)) + "\n" + "1\n" * 50).encode())
    batches = bucket.batches("csv", "a.csv")
    assert sum(len(b) for b in batches) == 50
    assert max(len(b) for b in batches) == 2
    assert [int(b.places.line[0]) for b in batches[:3]] == [2, 4, 6]
