"""Rows of any kind to a file of this machine: what ``export`` and ``sql`` write."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from rowcast.errors import InvalidRequest
from rowcast.sinks.columns import as_text
from rowcast.sinks.join import csv_header, csv_lines

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_table(reader: pa.RecordBatchReader, path: Path) -> int:
    """Write rows in the format that the file's name says; the file appears whole or not at all.

    Returns
    -------
    int
        Rows written.

    Raises
    ------
    InvalidRequest
        If the name says no format, or the folder is not there.
    """
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise InvalidRequest(f"{path}: the name must end in {', '.join(_WRITERS)}.")
    if not path.parent.is_dir():
        raise InvalidRequest(f"{path.parent} is not a folder.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            rows = write(reader, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    return rows


def _write_csv(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    rows = 0
    file.write(csv_header(reader.schema.names))
    for batch in reader:
        file.write(csv_lines([as_text(column).cast(pa.string()) for column in batch.columns]))
        rows += batch.num_rows
    return rows


def _write_jsonl(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    rows = 0
    for batch in reader:
        for row in batch.to_pylist():
            file.write(orjson.dumps(row, default=str, option=orjson.OPT_APPEND_NEWLINE))
        rows += batch.num_rows
    return rows


def _write_parquet(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    with pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
        return _write_batches(reader, writer.write_batch)


def _write_arrow(reader: pa.RecordBatchReader, file: BinaryIO) -> int:
    with pa.ipc.new_file(file, reader.schema) as writer:
        return _write_batches(reader, writer.write_batch)


def _write_batches(reader: pa.RecordBatchReader, write: Callable[[pa.RecordBatch], None]) -> int:
    rows = 0
    for batch in reader:
        write(batch)
        rows += batch.num_rows
    return rows


_WRITERS: dict[str, Callable[[pa.RecordBatchReader, BinaryIO], int]] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
    ".arrow": _write_arrow,
}
