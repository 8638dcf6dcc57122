"""A look at data before anything is done with it: rows, and what each column is like.

The beginning of the data is read, by a replica, whose memory is limited: a file is not to be
trusted. Columns are judged by the code that judges them in training, so what is said here of a
column or a target is what training would say of these rows.
"""

from __future__ import annotations

import gzip
import math
import tempfile
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rowcast.core.tables import SCHEME, TableName
from rowcast.engines import Replicas
from rowcast.errors import InvalidRequest, ReplicaLost, RowcastError, UnreadableInput
from rowcast.scoring.parse import OK, as_text, flat, parse_numbers, parse_timestamps
from rowcast.training.data import COMPRESSIONS, read_file
from rowcast.training.examples import prepare
from rowcast.training.infer import Choices, choose_features, null_cells, target_type
from rowcast.training.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.core.plan import InputObject
    from rowcast.core.schema import PredictionType
    from rowcast.engines import Engine
    from rowcast.storage.objects import Objects
    from rowcast.warehouse import Warehouse

MOST_BYTES = 8 << 20
MOST_ROWS = 20_000
ROWS_BYTES = 1 << 20
"""Read at most where only rows are wanted."""
MOST_COLUMNS = 1000
MOST_SHOWN = 200
BINS = 16
VALUES = 8
CELL_CHARACTERS = 20_000
VALUE_CHARACTERS = 100
MOST_CLASSES = 100


@dataclass(frozen=True)
class Limits:
    """How much is read at most."""

    bytes: int = field(default_factory=lambda: MOST_BYTES)
    rows: int = field(default_factory=lambda: MOST_ROWS)


@dataclass(frozen=True)
class PreviewSpec:
    """What is to be looked at."""

    uris: tuple[str, ...]
    """Objects, or one table."""
    target: str = ""
    """The column that is to be predicted, if that is known."""
    prediction_type: str = ""
    rows: int = 20
    """Rows to show."""
    rows_only: bool = False
    """Leave the columns undescribed; then no more is read than the rows take."""

    @property
    def limits(self) -> Limits:
        """How much is read."""
        return Limits(ROWS_BYTES, self.rows) if self.rows_only else Limits()


class PreviewService:
    """Looks at data. Safe from any thread."""

    def __init__(self, engine: Engine, objects: Objects, warehouse: Warehouse) -> None:
        self._engine = engine
        self._objects = objects
        self._warehouse = warehouse

    def preview(self, spec: PreviewSpec) -> dict[str, Any]:
        """Describe the beginning of the data, in JSON values with camelCase names.

        Raises
        ------
        InvalidRequest
            If there is nothing to look at, or too many rows are asked for.
        NotFound, PermissionDenied, FailedPrecondition
            If an object is not there, or may not be read.
        UnreadableInput
            If it is not what its name says.
        """
        if not spec.uris:
            raise InvalidRequest("input_config: a source is required: what to look at.")
        if not 0 <= spec.rows <= MOST_SHOWN:
            raise InvalidRequest(f"row_count: must be from 0 to {MOST_SHOWN}.")
        task: Sequence[InputObject] | Head
        if spec.uris[0].startswith(SCHEME):
            task = read_table_head(self._warehouse, TableName.parse(spec.uris[0]), spec.limits)
        else:
            found = {item.uri: item for uri in spec.uris for item in self._objects.list(uri)}
            task = tuple(found.values())
        work = PreviewWork(self._objects, spec)
        with closing(self._engine.run(work, [task], replicas=Replicas(1, 1))) as outcomes:
            outcome = next(outcomes)
        if isinstance(outcome.error, ReplicaLost):
            raise UnreadableInput(
                f"{spec.uris[0]} ended the process that tried to read it: it is damaged, or its "
                "beginning does not fit into memory."
            ) from outcome.error
        if outcome.error is not None:
            raise outcome.error
        result: dict[str, Any] = outcome.result
        return result


@dataclass(frozen=True)
class Head:
    """The beginning of data."""

    table: pa.Table
    complete: bool
    """Whether that is all."""
    objects: int = 1
    bytes: int = 0


def read_table_head(warehouse: Warehouse, name: TableName, limits: Limits) -> Head:
    """Read the beginning of a table. Raises NotFound, FailedPrecondition."""
    batches: list[pa.RecordBatch] = []
    rows = 0
    with warehouse.scan(name) as reader:
        schema = reader.schema
        for batch in reader:
            batches.append(batch.slice(0, limits.rows - rows))
            rows += len(batches[-1])
            if len(batches[-1]) < len(batch) or sum(b.nbytes for b in batches) > 4 * limits.bytes:
                return Head(pa.Table.from_batches(batches, schema), complete=False)
    return Head(pa.Table.from_batches(batches, schema), complete=True)


@dataclass(frozen=True)
class PreviewWork:
    """Reads and describes the beginning of data; called in a replica."""

    objects: Objects
    spec: PreviewSpec

    def __call__(self, data: Sequence[InputObject] | Head) -> dict[str, Any]:
        """Describe a table, or the first of the objects; the others are counted."""
        if not isinstance(data, Head):
            table, complete = read_head(self.objects, data[0], self.spec.limits)
            size = sum(item.size for item in data)
            data = Head(table, complete and len(data) == 1, len(data), size)
        table, complete = data.table, data.complete
        if table.num_columns > MOST_COLUMNS:
            table = table.select(table.column_names[:MOST_COLUMNS])
        said: dict[str, Any] = {
            "objectCount": data.objects,
            "bytes": str(data.bytes),
            "rowCount": table.num_rows,
            "complete": complete,
            "columns": self._columns(table),
            "rows": _rows(table.slice(0, self.spec.rows)),
        }
        if self.spec.target and not self.spec.rows_only:
            said |= _of_target(table, self.spec, complete=complete)
        return said

    def _columns(self, table: pa.Table) -> list[dict[str, Any]]:
        if self.spec.rows_only:
            return [{"name": one.name, "storedType": str(one.type)} for one in table.schema]
        judged = _judged(table, self.spec.target)
        return [_column(table, name, judged) for name in table.column_names]


def read_head(
    objects: Objects, item: InputObject, limits: Limits | None = None
) -> tuple[pa.Table, bool]:
    """Read the beginning of an object as training would: whole records, and whether it is all.

    Raises
    ------
    UnreadableInput
        If it is not what its name says.
    """
    limits = limits or Limits()
    path = PurePosixPath(item.uri)
    packed = COMPRESSIONS.get(path.suffix)
    suffix = path.with_suffix("").suffix if packed else path.suffix
    with closing(objects.open(item)) as reader:
        if suffix.lower() == ".parquet":
            return _parquet_head(reader.file, item.uri, limits)
        file: Any = reader.file
        if packed == "gzip":
            file = gzip.GzipFile(fileobj=file)
        elif packed:
            file = pa.CompressedInputStream(pa.PythonFile(file), packed)
        try:
            head = file.read(limits.bytes + 1)
        except (OSError, EOFError, pa.ArrowException) as error:
            raise UnreadableInput(f"{item.uri} cannot be unpacked: {error}") from error
    complete = len(head) <= limits.bytes
    if not complete:
        head = _whole_records(head[: limits.bytes], quotes=suffix.lower() == ".csv")
    with tempfile.TemporaryDirectory(prefix="rowcast-preview-") as folder:
        copy = Path(folder, f"head{suffix}")
        copy.write_bytes(head)
        try:
            table = read_file(copy)
        except RowcastError as error:
            raise UnreadableInput(str(error).replace(str(copy), item.uri)) from error
    if table.num_rows > limits.rows:
        return table.slice(0, limits.rows), False
    return table, complete


def _whole_records(head: bytes, *, quotes: bool) -> bytes:
    """Cut bytes behind their last whole record; in CSV, quotes may hold line breaks."""
    at = head.rfind(b"\n")
    while quotes and at >= 0 and head.count(b'"', 0, at) % 2:
        at = head.rfind(b"\n", 0, at)
    return head[: at + 1] if at >= 0 else head


def _parquet_head(file: Any, uri: str, limits: Limits) -> tuple[pa.Table, bool]:
    try:
        opened = pq.ParquetFile(file)
        batches, rows = [], 0
        for batch in opened.iter_batches(batch_size=2048, use_threads=False):
            batches.append(batch.slice(0, limits.rows - rows))
            rows += len(batches[-1])
            if rows >= limits.rows or sum(one.nbytes for one in batches) > 4 * limits.bytes:
                break
        table = pa.Table.from_batches(batches, opened.schema_arrow)
        return table.replace_schema_metadata(), rows == opened.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UnreadableInput(f"{uri} is not a Parquet file: {error}") from error


def _judged(table: pa.Table, target: str) -> Choices:
    if not table.num_rows:
        return Choices((), {})
    try:
        return choose_features(table, None, {target})
    except InvalidRequest:
        return Choices((), dict.fromkeys(table.column_names, "no column is of use as a feature"))


def _column(table: pa.Table, name: str, judged: Choices) -> dict[str, Any]:
    """Describe a column: its kind, or why it is of no use, its nulls and its distribution."""
    column = flat(table.column(name))
    null = null_cells(column)
    kind = next((choice.kind for choice in judged.features if choice.name == name), None)
    said: dict[str, Any] = {
        "name": name,
        "storedType": str(column.type),
        "nullRate": float(null.mean()) if len(column) else 0.0,
    }
    if kind is not None:
        said["kind"] = kind
    if name in judged.dropped:
        said["reason"] = judged.dropped[name]
    if name in judged.notes:
        said["note"] = judged.notes[name]
    values = column.filter(pa.array(~null))
    if len(values) and not pa.types.is_nested(values.type):
        said["distinct"] = len(as_text(values).unique())
        said |= _distribution(values, kind)
    return said


def _distribution(values: pa.Array, kind: str | None) -> dict[str, Any]:
    """Count numbers and moments in bins of equal width, and anything else by value."""
    numbers, status = parse_numbers(values)
    if kind == "timestamp":
        moments, status = parse_timestamps(values)
        numbers = moments.astype(np.float64) / 86_400e6
    readable = numbers[status == OK]
    if kind in ("numeric", "timestamp") or (kind is None and len(readable) == len(values)):
        if not len(readable):
            return {}
        counts, edges = np.histogram(readable, BINS)
        said = {"edges": edges.tolist(), "counts": counts.tolist(), "unit": "number"}
        if kind == "timestamp":
            return said | {"unit": "daysSince1970"}
        mean = float(readable.mean())
        return said | ({"mean": mean} if math.isfinite(mean) else {})
    counted = pc.value_counts(as_text(values)).to_pylist()
    counted.sort(key=lambda one: (-one["counts"], one["values"]))
    return {
        "values": [
            {"value": _cut(one["values"], VALUE_CHARACTERS), "count": one["counts"]}
            for one in counted[:VALUES]
        ]
    }


def _rows(table: pa.Table) -> list[list[str | None]]:
    """Write cells as text, long ones cut; nulls stay null."""
    columns = [as_text(flat(column)).to_pylist() for column in table.columns]
    return [
        [None if cell is None else _cut(cell) for cell in row] for row in zip(*columns, strict=True)
    ]


def _cut(text: str, most: int = CELL_CHARACTERS) -> str:
    return text if len(text) <= most else text[:most] + "…"


def _of_target(table: pa.Table, spec: PreviewSpec, *, complete: bool) -> dict[str, Any]:
    """Say what is to be predicted, and what training would warn of or refuse."""
    if spec.target not in table.column_names:
        raise InvalidRequest(f"target_column: the data has no column {spec.target!r}.")
    column = flat(table.column(spec.target))
    kind, reason = target_type(column)
    said: dict[str, Any] = {"target": {"predictionType": kind, "reason": reason}}
    kinds = ("classification", "regression")
    if spec.prediction_type not in ("", *kinds):
        raise InvalidRequest(f"prediction_type: must be one of {', '.join(kinds)}.")
    wanted = cast("PredictionType | None", spec.prediction_type or None)
    try:
        examples = prepare(table, Request(spec.target, "preview", prediction_type=wanted))
    except InvalidRequest as error:
        return said | {"problems": [str(error)]}
    said["target"]["classes"] = list(examples.target.classes[:MOST_CLASSES])
    few = "There are only "
    return said | {
        "warnings": [one for one in examples.warnings if complete or not one.startswith(few)]
    }
