"""The table to train on: files or a dataframe to one Arrow table.

Text files give text columns, cell for cell as they are; Parquet and dataframes keep their types.
A training file is the user's own, so nothing is skipped: what does not fit is an error that names
the file and the line.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rowcast.errors import InvalidRequest, NotFound, UnreadableInput
from rowcast.scoring.parse import flat

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
BLOCK_BYTES = 8 << 20
Source = Any
"""A path, several paths, or anything that speaks the Arrow PyCapsule interface."""


def read_table(source: Source) -> pa.Table:
    """Read a training table.

    Parameters
    ----------
    source
        A path or a list of paths (``.csv``, ``.jsonl``, ``.ndjson`` or ``.parquet``, text also as
        ``.gz`` or ``.zst``), or a pandas, Polars or Arrow table.

    Raises
    ------
    NotFound
        If a file does not exist.
    UnreadableInput
        If a file is not what its name says, or files do not have the same columns.
    """
    if isinstance(source, str | Path):
        source = [source]
    if hasattr(source, "__arrow_c_stream__"):
        table = _from_dataframe(source)
    elif isinstance(source, list | tuple) and source:
        table = _concatenated([(Path(path), read_file(Path(path))) for path in source])
    else:
        raise InvalidRequest(
            "Give a path, a list of paths, or a table that has the Arrow PyCapsule interface "
            f"(pandas, Polars, pyarrow), not {type(source).__name__}."
        )
    _check_names(table, "The data")
    return pa.table({name: flat(table.column(name)) for name in table.column_names})


def _check_names(table: pa.Table, where: object) -> None:
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise UnreadableInput(f"{where}: {', '.join(map(repr, twice))} occurs more than once.")


def _from_dataframe(source: Any) -> pa.Table:
    try:
        table = pa.table(source)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UnreadableInput(f"The dataframe cannot be read as an Arrow table: {error}") from error
    index = [name for name in table.column_names if name.startswith("__index_level_")]
    return table.drop_columns(index).replace_schema_metadata()


def _concatenated(tables: Sequence[tuple[Path, pa.Table]]) -> pa.Table:
    for path, table in tables:
        _check_names(table, path)
    first_path, first = tables[0]
    for path, table in tables[1:]:
        if set(table.column_names) != set(first.column_names):
            raise UnreadableInput(
                f"{path} and {first_path} do not have the same columns: "
                f"{sorted(set(table.column_names) ^ set(first.column_names))} are in one of them."
            )
    try:
        return pa.concat_tables([table.select(first.column_names) for _, table in tables])
    except pa.ArrowInvalid as error:
        raise UnreadableInput(f"The files do not have the same column types: {error}") from error


def read_file(path: Path) -> pa.Table:
    """Read one file by the ending of its name. See ``read_table``."""
    if not path.is_file():
        raise NotFound(f"There is no file {path}.")
    inner = path.with_suffix("") if path.suffix in COMPRESSIONS else path
    match inner.suffix.lower():
        case ".csv":
            return _read_csv(path)
        case ".jsonl" | ".ndjson":
            return _read_jsonl(path)
        case ".parquet":
            try:
                return pq.read_table(path).replace_schema_metadata()
            except (pa.ArrowInvalid, OSError) as error:
                raise UnreadableInput(f"{path} is not a Parquet file: {error}") from error
    raise UnreadableInput(f"{path}: the name must end in .csv, .jsonl, .ndjson or .parquet.")


def _opened(path: Path) -> BinaryIO:
    if path.suffix == ".gz":
        return io.BufferedReader(gzip.GzipFile(path))
    if path.suffix == ".zst":
        return io.BufferedReader(pa.CompressedInputStream(str(path), "zstd"))
    return path.open("rb")


def _read_csv(path: Path) -> pa.Table:
    try:
        with _opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
            header = next((row for row in csv.reader(lines, strict=True) if row), None)
        if header is None:
            raise UnreadableInput(f"{path} is empty; a CSV file starts with a header line.")
        with _opened(path) as file:
            reader = pa_csv.open_csv(
                file,
                read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
                parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(header, pa.string()), strings_can_be_null=False
                ),
            )
            return pa.Table.from_batches(list(reader), reader.schema)
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error, EOFError, OSError) as error:
        raise UnreadableInput(_csv_fault(path) or f"{path} is not a CSV file: {error}") from error


def _csv_fault(path: Path) -> str | None:
    """Find the first record that is wrong, by reading the file again in the slow way."""
    line = 0
    try:
        with _opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, strict=True)
            width = 0
            for row in rows:
                if row and width and len(row) != width:
                    return (
                        f"{path}, line {line + 1}: the header has {width} columns, but this "
                        f"record has {len(row)}."
                    )
                width = width or len(row)
                line = rows.line_num
    except csv.Error as error:
        return f"{path}, line {line + 1}: {error}."
    except UnicodeDecodeError as error:
        return f"{path}, after line {line}: the text is not UTF-8: {error.reason}."
    except (EOFError, OSError) as error:
        return f"{path}, after line {line}: {error}."
    return None


def _read_jsonl(path: Path) -> pa.Table:
    columns: dict[str, list[str | None]] = {}
    count = 0
    for line, record in _json_records(path):
        for name, raw in record.items():
            if name not in columns:
                columns[name] = [None] * count
            columns[name].append(_json_text(bytes(raw), path, line))
        count += 1
        for cells in columns.values():
            if len(cells) < count:
                cells.append(None)
    if not count:
        raise UnreadableInput(f"{path} has no records.")
    return pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})


def _json_records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import msgspec

    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
    try:
        with _opened(path) as file:
            for line, text in enumerate(file, start=1):
                if not text.isspace():
                    try:
                        yield line, decode(text)
                    except (msgspec.DecodeError, UnicodeDecodeError) as error:
                        raise UnreadableInput(
                            f"{path}, line {line}: not a JSON object: {error}"
                        ) from error
    except (EOFError, OSError) as error:
        raise UnreadableInput(f"{path} cannot be read: {error}") from error


def _json_text(raw: bytes, path: Path, line: int) -> str | None:
    """The content of a string, and the JSON text of anything else."""
    import msgspec

    raw = raw.strip()
    try:
        return msgspec.json.decode(raw, type=str | None) if raw[:1] in b'"n' else raw.decode()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableInput(f"{path}, line {line}: {error}") from error
