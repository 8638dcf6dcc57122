"""Sample rows, and how to write them in each format a source reads."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = [
    {"id": str(number), "job": job, "note": note, "amount": f"{number * 1.5:.2f}"}
    for number, (job, note) in enumerate(
        zip(
            ["blue-collar", "management, senior", 'the "boss"', "Zürich", "日本", "x"] * 8,
            ["a", "two\nlines", "007", "1e5", "NA", " "] * 8,
            strict=True,
        )
    )
]


def csv_bytes(rows, *, header=True, names=None):
    names = names or list(rows[0])
    file = io.StringIO()
    writer = csv.DictWriter(file, names, lineterminator="\r\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def jsonl_bytes(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def parquet_bytes(rows, *, row_group_size=7):
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=row_group_size)
    return file.getvalue()


WRITERS = {"csv": csv_bytes, "jsonl": jsonl_bytes, "parquet": parquet_bytes}
"""instancesFormat -> rows to the bytes of an object."""
