"""Hostile files: every record ends as a row, or the file is refused with a reason."""

import csv
import io
import json
import random
from pathlib import Path

import pytest

from rowcast.errors import UnreadableInput
from tests.sources.conftest import Bucket, cells
from tests.sources.test_csv import is_closed, python_records

SHARED = Path(__file__).parents[2].parent / "shared" / "data" / "csv-torture"


def made_files():
    """Files of our own, each the same on every run."""
    chance = random.Random(7)
    alphabet = [b'"', b'""', b",", b"\r", b"\n", b"\r\n", b"abc", b"\0", b"\xc3\xa9", b"\xff", b" "]
    for number in range(300):
        heads = [b"a,b,c\n", b"a\r", b'"a","b"\r\n', b"\xef\xbb\xbfa,b\n", b""]
        head = heads[number % len(heads)]
        letters = alphabet if number % 3 == 0 else [x for x in alphabet if x != b"\xff"]
        yield head + b"".join(chance.choices(letters, k=chance.randrange(200)))
    yield b'a\n"' + b"x" * 100_000
    yield b'a\n"' + b'""' * 50_000 + b'"'
    yield b"," * 10_000 + b"\n1\n"
    yield b"a,b\n" + b'"1"2"3,' * 1000 + b"\n"
    yield b"a,b\n" + b"\n\r" * 10_000 + b"1,2"
    yield b"PK\x03\x04" + bytes(range(256)) * 10
    yield "a,b\n1,2\n".encode("utf-16")


def account(folder, content):
    """Read a file as input, and say how it ended: refused, or every record accounted for."""
    bucket = Bucket(folder)
    bucket.put("a.csv", content)
    outcomes = []
    for part_bytes in (1, 100, 1 << 20):
        try:
            batches = bucket.batches("csv", "a.csv", part_bytes=part_bytes, batch_rows=64)
        except UnreadableInput as error:
            assert "gs://bucket/a.csv" in str(error)
            outcomes.append(type(error))
            continue
        rows = [row for b in batches for row in cells(b)]
        rejects = {int(b.places.row[r.index]) for b in batches for r in b.rejects}
        outcomes.append((rows, rejects))
    assert all(outcome == outcomes[0] for outcome in outcomes)
    return outcomes[0]


def check(folder, content):
    outcome = account(folder, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        assert outcome is UnreadableInput
        return
    records = python_records(text)
    if outcome is UnreadableInput:  # empty, an open quote, or a header that is none
        assert not records or not is_closed(text) or is_malformed(text)
        return
    rows, rejects = outcome
    header, *records = records
    assert len(rows) == len(records)
    for number, (row, record) in enumerate(zip(rows, records, strict=True), 1):
        if len(record) == len(header):
            assert list(row) == record
        else:
            assert number in rejects


def is_malformed(text):
    """Whether the first record has text after a closing quote."""
    lines = (line for line in io.StringIO(text, newline="") if line.strip("\r\n"))
    try:
        next(csv.reader(lines, strict=True))
    except csv.Error:
        return True
    return False


def test_every_record_of_made_files_is_accounted_for(tmp_path):
    for number, content in enumerate(made_files()):
        check(tmp_path / str(number), content)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the csv-torture folder is not here")
def test_every_record_of_collected_files_is_accounted_for(tmp_path):
    files = sorted(path for path in SHARED.rglob("*") if path.is_file())
    assert len(files) > 600
    for number, path in enumerate(files):
        check(tmp_path / str(number), path.read_bytes())


@pytest.mark.skipif(not SHARED.is_dir(), reason="the csv-torture folder is not here")
def test_well_formed_files_give_the_rows_that_are_written_beside_them(tmp_path):
    folder = SHARED / "csv-spectrum"
    files = {path.stem: path for path in sorted((folder / "csvs").glob("*.csv"))}
    del files["location_coordinates"]  # its JSON tells of another telephone number
    assert len(files) == 11
    for path in files.values():
        content = path.read_bytes()
        wanted = json.loads((folder / "json" / f"{path.stem}.json").read_text())
        wanted = wanted if isinstance(wanted, list) else [wanted]
        rows, rejects = account(tmp_path / path.stem, content)
        found = [list(row) for row in rows]
        plain = [[cell.replace("\r\n", "\n") for cell in row] for row in found]
        expected = [[v.replace("\r\n", "\n") for v in record.values()] for record in wanted]
        assert (plain, rejects) == (expected, set()), path.name
