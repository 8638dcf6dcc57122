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


def found_by(find, copy, data, columns, rows):
    """Every record's facts and fields, as ``tokenise`` and ``fill`` have them."""
    begins, ends = (np.zeros((rows, columns), np.int32) for _ in range(2))
    records = np.zeros((rows, 6), np.int64)
    position, line = 0, 1
    while position < len(data):
        count, position, line, _ = find(data, position, line, columns, begins, ends, records)
        offsets = np.zeros((columns, count + 1), np.int32)
        values, starts = np.zeros(len(data), np.uint8), np.zeros(columns + 1, np.int64)
        copy(data, count, begins, ends, records, np.arange(columns), offsets, values, starts)
        for row in range(count):
            yield (
                records[row].tolist(),
                [
                    values[start:][offsets[k, row] : offsets[k, row + 1]].tobytes()
                    for k, start in enumerate(starts[:-1].tolist())
                ],
            )


def found_in_windows(find, data, columns, rows, window):
    """The same, as ``split`` has them, with what a writer is told of each record."""
    size = len(data)
    room = np.zeros(3 * size + 64, np.uint8)
    room[:size] = data
    position, line, spare = 0, 1, size
    while position < size:
        stop = min(position + window, size)
        places, needless = (np.zeros(stop - position, np.int32) for _ in range(2))
        begins, ends = (np.zeros((columns, rows), np.int32) for _ in range(2))
        facts = np.zeros((rows, tokenise.FACTS), np.int64)
        with np.errstate(over="ignore"):
            count, position, line, spare = find(
                room,
                position,
                stop,
                stop == size,
                line,
                spare,
                rows,
                places,
                begins,
                ends,
                facts,
                needless,
            )
        before = 0
        for row in range(count):
            fields = [room[begins[k, row] : ends[k, row]].tobytes() for k in range(columns)]
            end = int(facts[row, tokenise.NEEDLESS])
            left_out = needless[before:end].tolist()
            before = end
            yield facts[row, :6].tolist(), fields, bool(facts[row, tokenise.PLAIN]), left_out
        if not count:
            window *= 2
    assert spare <= 3 * size


def as_csv(fields):
    """Write a record with no quotes but those that are needed."""
    quoted = [
        b'"' + field.replace(b'"', b'""') + b'"' if set(b'",\r\n') & set(field) else field
        for field in fields
    ]
    return b",".join(quoted)


@given(text=hostile, columns=st.integers(0, 4), rows=st.integers(1, 5), window=st.integers(1, 30))
@pytest.mark.parametrize("find", [tokenise.split, tokenise.split.py_func])
def test_fields_are_split_as_they_are_tokenised_whatever_the_windows(
    find, text, columns, rows, window
):
    data = as_bytes(text.encode())
    wanted = list(found_by(tokenise.tokenise, tokenise.fill, data, columns, rows))
    found = list(found_in_windows(find, data, columns, rows, window))
    assert [one[:2] for one in found] == wanted


@given(text=hostile, window=st.integers(1, 30))
def test_a_well_formed_record_without_its_needless_quotes_is_written_anew(text, window):
    data = as_bytes(text.encode())
    for facts, _, well_formed, needless in found_in_windows(tokenise.split, data, 1, 3, window):
        start, stop, _, width = facts[:4]
        [(_, fields)] = found_by(tokenise.tokenise, tokenise.fill, data[start:stop], width, 2)
        kept = bytes(data[i] for i in range(start, stop) if i not in needless)
        assert (kept == as_csv(fields)) or not well_formed
        unquoted = b'"' not in data[start:stop].tobytes()
        assert well_formed or not unquoted


@given(text=st.text(st.sampled_from('a",\r\n;')), start=st.integers(0, 5))
def test_marks_are_where_their_bytes_are(text, start):
    data = as_bytes(text.encode() * 3)
    wanted = [i for i in range(start, len(data)) if data[i] in b'"\r\n;']
    for kernel in (tokenise.mark, tokenise.mark.py_func):
        places = np.zeros(len(data), np.int32)
        with np.errstate(over="ignore"):
            count = kernel(data, start, len(data), ord(";"), places)
        assert places[:count].tolist() == wanted


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
