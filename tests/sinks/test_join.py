import csv
import io

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from rowcast.sinks.join import csv_header, csv_lines, measure, write

CELLS = st.text(alphabet='a,"\r\n é\t0', max_size=6)
ROWS = st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=20)


def columns(rows):
    return [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]


@given(ROWS)
def test_a_strict_reader_gets_every_cell_back(rows):
    text = csv_lines(columns(rows)).decode()
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert read == [list(row) for row in rows]


@given(ROWS)
def test_a_field_is_quoted_only_where_the_format_needs_it(rows):
    expected = "".join(
        ",".join(
            '"' + cell.replace('"', '""') + '"' if set(cell) & set(',"\r\n') else cell
            for cell in row
        )
        + "\n"
        for row in rows
    )
    assert csv_lines(columns(rows)).decode() == expected


@given(ROWS, st.integers(0, 5))
def test_a_slice_is_written_like_a_copy(rows, start):
    start = min(start, len(rows) - 1)
    sliced = [column.slice(start) for column in columns(rows)]
    assert csv_lines(sliced) == csv_lines(columns(rows[start:]))


def test_null_is_the_empty_field():
    assert csv_lines([pa.array(["a", None]), pa.array([None, "b"])]) == b"a,\n,b\n"


def test_names_are_quoted_like_cells():
    assert csv_header(["a", 'b"c', "d,e"]) == b'a,"b""c","d,e"\n'


def test_the_kernels_do_what_their_python_says(monkeypatch):
    table = columns([("a,b", 'c"d', "é"), ("", "\n", "x")])
    compiled = csv_lines(table)
    monkeypatch.setattr("rowcast.sinks.join.measure", measure.py_func)
    monkeypatch.setattr("rowcast.sinks.join.write", write.py_func)
    assert csv_lines(table) == compiled
