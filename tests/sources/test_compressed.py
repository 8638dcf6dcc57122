"""Compressed CSV and JSONL: as if unpacked, or refused before it fills the disk."""

import gzip

import pyarrow as pa
import pytest

from rowcast.errors import InputChanged, UnreadableInput
from tests.samples import ROWS, WRITERS

TEXT_FORMATS = ["csv", "jsonl"]


def zstd(content):
    return pa.Codec("zstd").compress(content, asbytes=True)


PACKERS = {"gz": gzip.compress, "zst": zstd}


@pytest.fixture(params=PACKERS)
def suffix(request):
    return request.param


@pytest.mark.parametrize("format_", TEXT_FORMATS)
@pytest.mark.parametrize("part_bytes", [1, 500, 10**9])
def test_compressed_objects_give_the_rows_of_the_plain_ones(bucket, format_, suffix, part_bytes):
    pack = PACKERS[suffix]
    bucket.put("1", WRITERS[format_](ROWS[:10]))
    bucket.put(f"2.{suffix}", pack(WRITERS[format_](ROWS[10:30])))
    bucket.put(f"3.{suffix.upper()}", pack(WRITERS[format_](ROWS[30:])))
    batches = bucket.batches(format_, "[123]*", part_bytes=part_bytes)
    assert [row for batch in batches for row in batch.rows.to_pylist()] == ROWS
    assert batches[-1].places.uri == f"gs://bucket/3.{suffix.upper()}"


def test_an_archive_of_several_members_is_read_to_its_end(bucket, suffix):
    pack = PACKERS[suffix]
    content = WRITERS["csv"](ROWS)
    bucket.put(f"a.csv.{suffix}", b"".join(pack(content[i : i + 99]) for i in range(0, 9999, 99)))
    assert bucket.rows("csv", f"a.csv.{suffix}") == [tuple(row.values()) for row in ROWS]


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: packed[:-5],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed + b"junk",
        lambda packed: b"id,job\n1,x\n",
        lambda packed: b"",
        lambda packed: packed[:20] + bytes(b ^ 255 for b in packed[20:40]) + packed[40:],
    ],
    ids=["cut", "half", "junk behind", "not packed", "nothing", "flipped"],
)
def test_a_damaged_archive_fails_alone(bucket, suffix, damage):
    packed = PACKERS[suffix](WRITERS["csv"](ROWS))
    bucket.put("a.csv", WRITERS["csv"](ROWS[:3]))
    bucket.put(f"b.csv.{suffix}", damage(packed))
    _, plan = bucket.plan("csv", "*.csv*")
    assert plan.rows == 3
    assert [(f.uri, f.code) for f in plan.failures] == [(f"gs://bucket/b.csv.{suffix}", 3)]
    assert not list((bucket.folder / "spool" / "job").glob("*"))


def test_a_bomb_is_stopped_early(bucket, suffix):
    size = 200 << 20
    packed = PACKERS[suffix](b"a\n" + b"0" * size)
    bucket.put(f"a.csv.{suffix}", packed)
    with pytest.raises(UnreadableInput, match=r"more than 20 times.*max_expansion"):
        bucket.plan("csv", f"a.csv.{suffix}", expansion=20)
    assert not list((bucket.folder / "spool" / "job").glob("*"))


def test_a_small_archive_may_expand_more(bucket, suffix):
    bucket.put(f"a.csv.{suffix}", PACKERS[suffix](b"a\n" + b"0\n" * 400_000))
    _, plan = bucket.plan("csv", f"a.csv.{suffix}", expansion=2)
    assert plan.rows == 400_000


def test_the_size_limits_hold_for_what_is_unpacked(bucket, suffix):
    for name in "ab":
        bucket.put(f"{name}.csv.{suffix}", PACKERS[suffix](b"a\n" + b"0\n" * 50_000))
    with pytest.raises(UnreadableInput, match="max_object_bytes"):
        bucket.plan("csv", "*.csv.*", object_bytes=100_001)
    with pytest.raises(UnreadableInput, match="max_total_bytes"):
        bucket.plan("csv", "*.csv.*", total_bytes=200_000)
    assert bucket.plan("csv", "*.csv.*", total_bytes=200_004)[1].rows == 100_000


def test_a_changed_spooled_copy_is_noticed(bucket, suffix):
    bucket.put(f"a.csv.{suffix}", PACKERS[suffix](WRITERS["csv"](ROWS)))
    source, plan = bucket.plan("csv", f"a.csv.{suffix}")
    (copy,) = (bucket.folder / "spool" / "job").glob("*")
    copy.write_bytes(WRITERS["csv"](ROWS[:-1]))
    with pytest.raises(InputChanged):
        list(source.read(plan.layout, plan.parts[0], 10))


@pytest.mark.parametrize("format_", TEXT_FORMATS)
def test_what_is_wrong_inside_is_told_of_the_packed_object(bucket, format_, suffix):
    bucket.put(f"a.{suffix}", PACKERS[suffix](WRITERS[format_](ROWS)))
    with pytest.raises(UnreadableInput, match=rf"gs://bucket/a.{suffix} is longer.*max_row_bytes"):
        bucket.plan(format_, f"a.{suffix}", row_bytes=10)


def test_a_header_that_is_wrong_inside_is_told_of_the_packed_object(bucket, suffix):
    for content in (b"\n", b'"a', b'"a"b\n1\n', b"\xff\n"):
        bucket.put(f"a.{suffix}", PACKERS[suffix](content))
        with pytest.raises(UnreadableInput, match=f"gs://bucket/a.{suffix}"):
            bucket.plan("csv", f"a.{suffix}")
