"""JSON Lines: values as they are spelled, and bad lines as rows."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.errors import UnreadableInput
from tests.sources.conftest import Bucket, cells


def one_batch(bucket, content, **options):
    bucket.put("a.jsonl", content if isinstance(content, bytes) else content.encode())
    (batch,) = bucket.batches("jsonl", "a.jsonl", **options)
    return batch


def types(bucket, content, **options):
    bucket.put("a.jsonl", content.encode())
    schema = bucket.plan("jsonl", "a.jsonl", **options)[1].layout.schema
    return {column.name: column.metadata[b"json_type"].decode() for column in schema}


def test_values_become_text_as_they_are_spelled(bucket):
    line = (
        '{"s": "a\\"b\\u00e9\\n", "i": 007e, "n": null}',
        '{"s": "a\\"b\\u00e9\\n", "i": 12345678901234567890123, "f": 1.50, "e": 1e999, '
        '"t": true, "n": null, "l": [1,  "x"], "o": {"k": 1.0}}',
    )[1]
    batch = one_batch(bucket, line + "\n")
    assert batch.rows.to_pylist() == [
        {
            "s": 'a"bé\n',
            "i": "12345678901234567890123",
            "f": "1.50",
            "e": "1e999",
            "t": "true",
            "n": None,
            "l": '[1,  "x"]',
            "o": '{"k": 1.0}',
        }
    ]
    assert batch.instances.to_pylist() == [line]


def test_columns_are_the_keys_of_all_lines_in_order_of_appearance(bucket):
    bucket.put("1.jsonl", b'{"b": 1}\n{"a": 2, "b": 3}\n')
    bucket.put("2.jsonl", b'{"c": 4, "a": 5}')
    _, plan = bucket.plan("jsonl", "?.jsonl")
    assert plan.layout.schema.names == ["b", "a", "c"]
    rows = [("1", None, None), ("3", "2", None), (None, "5", "4")]
    assert bucket.rows("jsonl", "?.jsonl", part_bytes=1) == rows


def test_each_column_is_given_its_json_type(bucket):
    content = (
        '{"s": "x", "n": 1, "b": true, "m": 1, "l": [1], "z": null}\n'
        '{"s": null, "n": -1.5e3, "b": false, "m": "x", "l": null}\n'
    )
    assert types(bucket, content) == {
        "s": "string", "n": "number", "b": "boolean", "m": "mixed", "l": "mixed", "z": "mixed",
    }  # fmt: skip


@pytest.mark.parametrize("late", ['{"a": "1"}', '{"a": true}', '{"a": [1]}'])
def test_a_late_value_of_another_type_makes_a_column_mixed(bucket, late):
    content = '{"a": 1}\n' * 100 + late + '\n{"a": 1}\n' * 50
    assert types(bucket, content) == {"a": "mixed"}
    assert len(bucket.rows("jsonl", "a.jsonl")) == 151


def test_a_late_key_becomes_a_column(bucket):
    content = '{"a": 1}\n' * 100 + '{"a": 1, "b": "x"}\n' + '{"a": 1}\n' * 50
    assert types(bucket, content) == {"a": "number", "b": "string"}


def test_keys_with_quotes_and_control_characters_are_columns(bucket):
    record = {'a"b': "1", "c\\d": 2, "e\nf": None, "": True, "ü": "x"}
    batch = one_batch(bucket, (json.dumps(record) + "\n") * 20)
    assert batch.rows.to_pylist()[19] == {
        'a"b': "1", "c\\d": "2", "e\nf": None, "": "true", "ü": "x",
    }  # fmt: skip


def test_arrays_hold_the_models_columns_in_order(bucket):
    batch = one_batch(bucket, '[1.0, "x"]\r\n\n[null, "é"]\n', feature_names=("n", "s"))
    assert batch.rows.schema.names == ["n", "s"]
    assert cells(batch) == [("1.0", "x"), (None, "é")]
    assert batch.instances.to_pylist() == ['{"n":1.0,"s":"x"}', '{"n":null,"s":"é"}']


@pytest.mark.parametrize(
    ("line", "cause"),
    [
        (b'{"a": 1', "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": 1} {"a": 2}', "not JSON"),
        (b'{"a": "\t"}', "not JSON"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"a,b,c", "not JSON"),
        (b"\0", "not JSON"),
        (b"3", "neither object nor array"),
        (b'"text"', "neither object nor array"),
        (b"[1, 2, 3]", "wrong array length"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_a_bad_line_is_a_reject_that_loses_nothing(bucket, line, cause):
    content = b'\xef\xbb\xbf{"a": 1}\n\r\n' + line + b'\n{"a": 2}\n'
    batch = one_batch(bucket, content, feature_names=("a",))
    assert cells(batch) == [("1",), (None,), ("2",)]
    (reject,) = batch.rejects
    assert (reject.index, reject.code, reject.cause) == (1, 3, cause)
    assert reject.message.endswith("(row 2, line 3, byte 14 of gs://bucket/a.jsonl)")
    kept = json.loads(batch.instances[1].as_py())
    assert kept == line.decode(errors="backslashreplace")


def test_without_any_line_there_are_no_columns_and_no_rows(bucket):
    bucket.put("a.jsonl", b"")
    bucket.put("b.jsonl", b" \n\r\n")
    _, plan = bucket.plan("jsonl", "?.jsonl")
    assert (plan.rows, plan.parts, len(plan.layout.schema)) == (0, (), 0)


def test_lines_that_are_all_bad_are_rows_without_columns(bucket):
    batch = one_batch(bucket, "x\ny\n")
    assert len(batch) == 2
    assert len(batch.rejects) == 2


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"row_bytes": 30}, "line 2, byte 9 .*max_row_bytes"),
        ({"cell_bytes": 30}, "line 2, byte 9 .*max_cell_bytes"),
        ({"columns": 1}, "max_columns"),
        ({"header_bytes": 2}, "max_header_bytes"),
    ],
)
def test_a_limit_that_is_exceeded_is_named(bucket, limits, message):
    bucket.put("a.jsonl", b'{"a": 1}\n{"a": "' + b"x" * 40 + b'", "bc": 1}\n')
    with pytest.raises(UnreadableInput, match=message):
        bucket.plan("jsonl", "a.jsonl", **limits)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)  # fmt: skip


def as_text(value):
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


@given(
    records=st.lists(st.dictionaries(st.sampled_from(["a", "b", 'c"', "é"]), json_values)),
    part_bytes=st.sampled_from([1, 40, 10**6]),
    block=st.sampled_from([5, 1 << 20]),
)
def test_any_records_come_back(tmp_path_factory, records, part_bytes, block):
    bucket = Bucket(tmp_path_factory.mktemp("jsonl"))
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    bucket.put("a.jsonl", "\r\n".join(lines).encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rowcast.sources.jsonl.BLOCK_BYTES", block)
        batches = bucket.batches("jsonl", "a.jsonl", part_bytes=part_bytes, batch_rows=3)
    found = [row for batch in batches for row in batch.rows.to_pylist()]
    names = list(dict.fromkeys(name for record in records for name in record))
    assert found == [{name: as_text(r.get(name)) for name in names} for r in records]
    assert [i for b in batches for i in b.instances.to_pylist()] == lines
