"""The compiled kernels give what their Python text gives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.sources import tokenise
from tests.sources.test_csv import hostile


def as_bytes(content):
    return np.frombuffer(content, np.uint8)


@given(text=hostile, columns=st.integers(0, 4), rows=st.integers(1, 5))
def test_tokenise_and_fill_equal_their_python_text(text, columns, rows):
    data = as_bytes(text.encode())
    outcomes = []
    for find, copy in (
        (tokenise.tokenise, tokenise.fill),
        (tokenise.tokenise.py_func, tokenise.fill.py_func),
    ):
        begins, ends = (np.zeros((rows, columns), np.int32) for _ in range(2))
        records = np.zeros((rows, 6), np.int64)
        found = find(data, 0, 1, columns, begins, ends, records)
        offsets = np.zeros((columns, found[0] + 1), np.int32)
        values, starts = np.zeros(len(data), np.uint8), np.zeros(columns + 1, np.int64)
        order = np.arange(columns)[::-1].copy()
        copy(data, found[0], begins, ends, records, order, offsets, values, starts)
        outcomes.append([tuple(map(int, found)), begins, ends, records, offsets, values, starts])
    for one, other in zip(*outcomes, strict=True):
        assert np.array_equal(one, other)


@given(text=hostile, block=st.integers(1, 9), part_bytes=st.integers(1, 20))
def test_scan_equals_its_python_text_whatever_the_blocks(text, block, part_bytes):
    data = as_bytes(text.encode() + b"\n").copy()

    def run(kernel, step):
        state = tokenise.start_state(offset=0, header=True)
        found = []
        for base in range(0, len(data), step):
            piece = data[base : base + step].copy()
            cuts, longs = np.zeros((step + 2, 4), np.int64), np.zeros((step + 2, 3), np.int64)
            n, m = kernel(piece, len(piece), base, part_bytes, 2, state, cuts, longs)
            found += cuts[:n].tolist() + longs[:m].tolist()
        return sorted(found), np.delete(state, [tokenise.QUOTE_AT, tokenise.QUOTE_LINE]).tolist()

    whole = run(tokenise.scan, len(data))
    assert run(tokenise.scan, block) == whole
    assert run(tokenise.scan.py_func, block) == whole


@given(
    content=st.one_of(
        st.binary(max_size=12),
        st.text(max_size=8).map(lambda text: text.encode(errors="ignore")),
        st.lists(st.sampled_from([0x41, 0x80, 0xBF, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0x9F, 0x90]))
        .map(bytes),
    ),
    block=st.integers(1, 5),
)  # fmt: skip
@pytest.mark.parametrize("kernel", [tokenise.find_invalid_utf8, tokenise.find_invalid_utf8.py_func])
def test_utf8_is_what_python_says_it_is(kernel, content, block):
    state = np.zeros(3, np.int64)
    bad = -1
    for base in range(0, len(content), block):
        piece = np.frombuffer(content[base : base + block], np.uint8).copy()
        bad = kernel(piece, len(piece), state)
        if bad >= 0:
            break
    try:
        content.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert (bad < 0 and not state[tokenise.NEEDED]) == valid


@given(text=hostile)
def test_line_ends_are_counted_as_python_counts_them(text):
    data = as_bytes(text.encode()).copy()
    expected = text.replace("\r\n", "\n").replace("\r", "\n").count("\n")
    assert tokenise.count_line_ends(data, len(data), 0) == expected
    assert tokenise.count_line_ends.py_func(data, len(data), 0) == expected
