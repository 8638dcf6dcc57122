"""Cells to numbers, moments and text."""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rowcast.scoring.parse import BAD, NULL, OK, as_text, parse_numbers, parse_timestamps

NUMBER = re.compile(r"[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*")


def number(text):
    values, status = parse_numbers(pa.array([text], pa.string()))
    return values[0], status[0]


def moment(text, time_format=None):
    values, status = parse_timestamps(pa.array([text], pa.string()), time_format)
    return np.datetime64(int(values[0]), "us").item() if status[0] == OK else int(status[0])


def same_bits(a, b):
    return np.array_equal(np.asarray(a).view(np.int64), np.asarray(b).view(np.int64))


written_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"\A[+-]?[0-9]{0,30}\.?[0-9]{0,30}([eE][+-]?[0-9]{1,4})?\Z"),
)


@settings(max_examples=600)
@given(st.lists(written_numbers, min_size=1, max_size=8))
@example(["9007199254740993", "0.1", "1e22", "1e23", "5e-324", "2.4703282292062328e-324"])
@example(["1.7976931348623158e308", "1.7976931348623159e308", "179769313486231580793e289"])
@example(["0.000000000000000000000000000000000000000000001e45", "-0", "-0.0e-5"])
def test_a_number_is_what_python_reads_to_the_last_bit(texts):
    values, status = parse_numbers(pa.array(texts))
    for text, value, state in zip(texts, values, status, strict=True):
        if not NUMBER.fullmatch(text):
            assert state == (NULL if text == "" else BAD)
        elif math.isinf(float(text)):
            assert state == NULL
        else:
            assert state == OK
            assert same_bits([value], [float(text)])


@settings(max_examples=300)
@given(st.text(alphabet="0123456789.+-eE,_ xnaif\tNA\u0661", max_size=12))
def test_text_is_a_number_exactly_if_the_rules_say_so(text):
    value, status = number(text)
    if (
        text.lower().lstrip("+-") in ("nan", "inf")
        and text.lower()[1:] in ("an", "nf", "nan", "inf")
    ) or text == "":
        assert status == NULL
    else:
        assert (status == OK) == bool(NUMBER.fullmatch(text))
    assert np.isnan(value) == (status != OK)


@pytest.mark.parametrize(
    "text", ["", None, "nan", "NaN", "-nan", "+NAN", "inf", "-Inf", "+INF", "1e999"]
)
def test_these_are_null_to_numbers(text):
    assert number(text)[1] == NULL


@pytest.mark.parametrize(
    "text",
    [" ", "1,000", "101,5", "0x10", "1_0", "infinity", "n/a", "1 2", "--1", "e5", "1e", ".", "١"],
)
def test_these_are_not_numbers(text):
    assert number(text)[1] == BAD


@pytest.mark.parametrize(
    ("column", "values"),
    [
        (pa.array([1, None, -3], pa.int8()), [1, None, -3]),
        (pa.array([2**63 - 1, 2**53 + 1]), [float(2**63 - 1), float(2**53 + 1)]),
        (pa.array([2**64 - 1], pa.uint64()), [float(2**64 - 1)]),
        (pa.array([0.5, float("nan"), float("-inf"), None]), [0.5, None, None, None]),
        (pa.array([0.5], pa.float32()), [0.5]),
        (pa.array([Decimal("0.1"), None], pa.decimal128(38, 20)), [0.1, None]),
        (pa.array([True, False, None]), [1.0, 0.0, None]),
        (pa.array(["1", "2", "1"]).dictionary_encode(), [1.0, 2.0, 1.0]),
        (pa.chunked_array([["1"], ["", "3"]]), [1.0, None, 3.0]),
        (pa.array(["1", "x2", "3"]).slice(2), [3.0]),
        (pa.nulls(2), [None, None]),
        (pa.array([], pa.string()), []),
    ],
)
def test_native_types_are_the_numbers_they_are(column, values):
    found, status = parse_numbers(column)
    assert [v if s == OK else None for v, s in zip(found.tolist(), status, strict=True)] == values
    assert BAD not in status


NOON = datetime(2018, 11, 30, 23, 59, 58)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2017-01-30", datetime(2017, 1, 30)),
        ("2017/01/30", datetime(2017, 1, 30)),
        ("2018/11/30 23:59:58", NOON),
        ("2018/11/30 23:59:58.5", NOON.replace(microsecond=500000)),
        ("2018-11-30 23:59:58", NOON),
        ("2018-11-30 23:59:58.1234567", NOON.replace(microsecond=123456)),
        ("30-11-2018", datetime(2018, 11, 30)),
        ("30/11/2018", datetime(2018, 11, 30)),
        ("30-November-2018", datetime(2018, 11, 30)),
        ("01-may-2018", datetime(2018, 5, 1)),
        ("2018-11-30T23:59:58Z", NOON),
        ("2018-11-30t23:59:58.25z", NOON.replace(microsecond=250000)),
        ("2018-11-30T23:59:58+02:00", NOON.replace(hour=21)),
        ("2018-11-30 23:59:58-00:30", datetime(2018, 12, 1, 0, 29, 58)),
        ("2018-11-30T23:59:58", NOON),
        ("1543622398", NOON),
        ("1543622398000", NOON),
        ("1543622398000000", NOON),
        ("1543622398000000999", NOON),
        ("631152000", datetime(1990, 1, 1)),
        ("1893455999", datetime(2029, 12, 31, 23, 59, 59)),
        ("2000-02-29", datetime(2000, 2, 29)),
        ("0001-01-01", datetime(1, 1, 1)),
        ("9999-12-31", datetime(9999, 12, 31)),
    ],
)
def test_every_listed_form_of_a_moment_is_read(text, expected):
    assert moment(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("631151999", "1893456000", "5", "20170130", "-1543622398", "1900-02-29"),
        *("2017-13-01", "2017-00-10", "2017-04-31", "31/04/2018", "30/November/2018"),
        *("30-Nov-2018", "2017-1-3", "2017-01/30", " ", "2017-01-30T24:00:00"),
        *("2017-01-30 23:60:00", "2017-01-30 23:59:60", "2017-01-30 23:59"),
        *("2017-01-30Z", "2017/01/30 23:59:58Z", "2017-01-30 23:59:58.", "0000-01-01"),
        *("2017-01-30 ", "0001-01-01T00:00:00+01:00", "99999999999999999999"),
        *("30-13-2018", "3٠-11-2018", "yesterday"),
    ],
)
def test_anything_else_is_no_moment(text):
    assert moment(text) == BAD


@settings(max_examples=200)
@given(st.datetimes())
def test_a_moment_reads_back_what_isoformat_writes(value):
    assert moment(value.isoformat(sep=" ")) == value
    assert moment(value.replace(tzinfo=UTC).isoformat()) == value


@pytest.mark.parametrize(
    ("text", "time_format", "expected"),
    [
        ("-1", "unix-seconds", datetime(1969, 12, 31, 23, 59, 59)),
        ("1", "unix-milliseconds", datetime(1970, 1, 1, 0, 0, 0, 1000)),
        ("1", "unix-microseconds", datetime(1970, 1, 1, 0, 0, 0, 1)),
        ("-1", "unix-nanoseconds", datetime(1969, 12, 31, 23, 59, 59, 999999)),
        ("2018-11-30", "unix-seconds", BAD),
        ("99999999999999", "unix-seconds", BAD),
        ("30.11.2018 23h", "%d.%m.%Y %Hh", datetime(2018, 11, 30, 23)),
        ("30.11.2018 23 +0100", "%d.%m.%Y %H %z", datetime(2018, 11, 30, 22)),
        ("2018-11-30", "%d.%m.%Y", BAD),
        ("", "%d.%m.%Y", NULL),
        ("x" * 10_000, "%d.%m.%Y", BAD),
    ],
)
def test_a_given_format_is_the_only_one(text, time_format, expected):
    assert moment(text, time_format) == expected


@pytest.mark.parametrize(
    "column",
    [
        pa.array([datetime(2018, 11, 30)], pa.timestamp("s")),
        pa.array([datetime(2018, 11, 30)], pa.timestamp("ms")),
        pa.array([datetime(2018, 11, 30, tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo")),
        pa.array([datetime(2018, 11, 30)], pa.timestamp("ns")),
        pa.array([date(2018, 11, 30)], pa.date32()),
        pa.array([date(2018, 11, 30)], pa.date64()),
        pa.array([1543536000], pa.int64()),
        pa.array([1543536000.0]),
    ],
)
def test_native_moments_are_what_they_are(column):
    values, status = parse_timestamps(column)
    assert (values[0], status[0]) == (1543536000_000000, OK)


def test_values_of_other_types_are_no_moments():
    assert parse_timestamps(pa.array([True, None]))[1].tolist() == [BAD, NULL]
    assert parse_timestamps(pa.array([1.5e9 + 0.5, float("nan")]))[1].tolist() == [BAD, NULL]
    assert parse_numbers(pa.array([date(2018, 1, 1), None]))[1].tolist() == [BAD, NULL]


EVIL = ["1" * 10**6, "0." + "0" * 10**6 + "1", "1e" + "9" * 10**6, " " * 10**6, "-" * 10**6]
EVIL += [
    "2018-11-30 00:00:00." + "1" * 10**6,
    "9" * 10**6,
    "é" * 500_000,
    "\0" * 10**6,
    "nan" * 333_333,
]


@pytest.mark.parametrize("read", [parse_numbers, parse_timestamps])
def test_a_megabyte_cell_takes_linear_time(read):
    read(pa.array(["1", "2018-11-30"]))
    for text in EVIL:
        column = pa.array([text])
        started = time.process_time()
        read(column)
        assert time.process_time() - started < 5, text[:30]  # quadratic time would take minutes


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        (pa.array([5, None]), ["5", None]),
        (pa.array([5.0, 0.1, float("nan"), None]), ["5", "0.1", None, None]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([date(2018, 11, 30)]), ["2018-11-30"]),
        (pa.array([datetime(2018, 11, 30, 1)], pa.timestamp("s")), ["2018-11-30 01:00:00"]),
        (pa.array([datetime(2018, 11, 30)], pa.timestamp("us", "UTC")), ["2018-11-30T00:00:00Z"]),
        (pa.array([b"ab"]), ["ab"]),
        (pa.array([b"\xff"]), ["\ufffd"]),
        (pa.array([[1, 2]]), ["[1, 2]"]),
        (pa.array(["Ab "]).dictionary_encode(), ["Ab "]),
    ],
)
def test_typed_categories_have_the_text_a_file_would_hold(column, texts):
    assert as_text(column).to_pylist() == texts
