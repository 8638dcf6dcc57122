import csv
import io

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.sinks.join import (
    copy,
    csv_header,
    csv_lines,
    csv_records,
    measure,
    weave,
    write,
)
from rowcast.sources.records import BEHIND, ROOM, chunks
from tests.sources.test_csv import hostile

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


def read_rows(text, width, most):
    """Records of CSV as the rows of a source, chunk by chunk."""
    content = np.frombuffer(text.encode(), np.uint8)
    data = np.zeros(ROOM * len(content) + BEHIND, np.uint8)
    data[: len(content)] = content
    schema = pa.schema([(f"c{k}", pa.string()) for k in range(width)])
    for chunk in chunks(data, len(content), 1, width, most):
        yield chunk.rows(schema, np.arange(width))


@given(text=hostile, width=st.integers(1, 4), most=st.integers(1, 9), odd=st.booleans())
@pytest.mark.parametrize("python", [False, True])
def test_records_are_copied_as_their_columns_are_written(python, text, width, most, odd):
    with pytest.MonkeyPatch.context() as patch:
        if python:
            patch.setattr("rowcast.sinks.join.weave", weave.py_func)
            patch.setattr("rowcast.sinks.join.copy", copy.py_func)
        for whole in read_rows(text, width, most):
            first = 1 if odd and whole.num_rows > 1 else 0
            rows = whole.slice(first, whole.num_rows - first)
            chosen = np.arange(0, rows.num_rows, 2 if odd else 1)
            added = [pa.array([f"{i / 3}" for i in chosen]), pa.array([f"{i}" for i in chosen])]
            columns = rows.columns().take(pa.array(chosen)).columns
            # A record of another width ends in an errors row, which is written from columns.
            fits = np.flatnonzero(widths(whole)[first:][chosen] == width)
            written = csv_records(
                rows.records, chosen[fits], rows.take, [a.take(pa.array(fits)) for a in added]
            )
            assert written == csv_lines([c.take(pa.array(fits)) for c in [*columns, *added]])


def widths(rows):
    """How many fields each record has: one more than the commas outside of quotes."""
    data, starts, stops = rows.records.spans
    found = []
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        lines = io.StringIO(data[start:stop].tobytes().decode(), newline="")
        found.append(sum(len(record) for record in csv.reader(lines)))
    return np.array(found)
