"""``predictions_N.parquet`` and ``errors_N.parquet``: the layout of warehouse tables, as files."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rowcast.core.prediction import Predictions
from rowcast.sinks import Published, Staged
from rowcast.sinks.columns import carried, carried_names, error_rows
from rowcast.sinks.explained import explanation_column, explanation_type
from rowcast.sinks.staging import COPY_BYTES, object_name, objects_of, staged_uri

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rowcast.core.prediction import Scored
    from rowcast.sinks import SinkOptions


class ParquetSink:
    """Writes Parquet. A staged part is an Arrow file; publishing makes each a row group."""

    suffix = "parquet"

    def __init__(self, options: SinkOptions) -> None:
        self.options = options
        self._target = f"predicted_{options.target.name}"

    def added_columns(self) -> tuple[str, ...]:
        """See ``Sink.added_columns``."""
        number = self.options.row_number_column
        own = (self._target, self.options.target.error_column, "explanation")
        return own if number is None else (number, *own)

    def stage(self, part: int, attempt: str, scored: Iterable[Scored]) -> Staged:
        """See ``Sink.stage``."""
        tables: dict[str, list[pa.RecordBatch]] = {"predictions": [], "errors": []}
        for batch in scored:
            if len(batch.scored_rows):
                tables["predictions"].append(self._predictions(batch))
            if batch.errors:
                tables["errors"].append(self._errors(batch))
        kept: dict[str, tuple[str | None, int, int]] = {}
        for kind, batches in tables.items():
            if not batches:
                kept[kind] = (None, 0, 0)
                continue
            uri = staged_uri(self.options, part, attempt, kind)
            table = pa.Table.from_batches(batches).combine_chunks()
            with (
                self.options.objects.create(uri) as file,
                pa.ipc.new_file(file, table.schema) as writer,
            ):
                writer.write_table(table)
            kept[kind] = (uri, table.num_rows, _measure(table))
        (p_uri, p_rows, p_bytes), (e_uri, e_rows, e_bytes) = kept["predictions"], kept["errors"]
        return Staged(p_uri, e_uri, p_rows, e_rows, p_bytes, e_bytes)

    def publish(self, staged: Sequence[Staged]) -> list[Published]:
        """See ``Sink.publish``."""
        return [
            self._write(kind, number, uris, rows)
            for kind in ("predictions", "errors")
            for number, uris, rows in objects_of(self.options, kind, staged)
        ]

    def _write(self, kind: str, number: int, uris: list[str], rows: int) -> Published:
        objects = self.options.objects
        name = object_name(self.options, kind, number, self.suffix)
        with objects.create(self.options.directory + name) as out:
            writer = None
            for uri in uris:
                with objects.open(objects.stat(uri)) as reader:
                    table = pa.ipc.open_file(reader.file).read_all()
                writer = writer or pq.ParquetWriter(out, table.schema, compression="zstd")
                writer.write_table(table, row_group_size=max(1, table.num_rows))
            if writer is None:
                writer = pq.ParquetWriter(out, self._empty_schema(), compression="zstd")
            writer.close()
        digest, size = hashlib.sha256(), 0
        with objects.open(objects.stat(self.options.directory + name)) as reader:
            while chunk := reader.file.read(COPY_BYTES):
                digest.update(chunk)
                size += len(chunk)
        return Published(name, kind, rows, size, digest.hexdigest())

    def _empty_schema(self) -> pa.Schema:
        """Columns of a result without rows."""
        none, classes = np.empty(0), len(self.options.target.classes)
        answers = (
            Predictions(scores=np.empty((0, classes)))
            if classes
            else Predictions(value=none, lower=none, upper=none)
        )
        fields = {field.name: _typed_field(field) for field in self.options.schema}
        key = self.options.key_field
        names = carried_names(self.options)
        columns = [(name, fields.get(key if key and name == "key" else name)) for name in names]
        return pa.schema(
            [
                *((name, kind or pa.int64()) for name, kind in columns),
                (self._target, self._answers(answers).type),
                *self._explanation_field(),
            ]
        )

    def _explanation_field(self) -> list[tuple[str, pa.DataType]]:
        features, classes = self.options.explained, self.options.target.classes
        return [("explanation", explanation_type(features, classes))] if features else []

    def _carried(self, scored: Scored, rows: np.ndarray) -> list[tuple[str, pa.Array]]:
        schema, key = self.options.schema, self.options.key_field
        columns = []
        for name, column in carried(scored, rows, self.options):
            source = key if key is not None and name == "key" else name
            known = source in schema.names
            columns.append((name, _typed(column, schema.field(source)) if known else column))
        return columns

    def _predictions(self, scored: Scored) -> pa.RecordBatch:
        columns = self._carried(scored, scored.scored_rows)
        columns.append((self._target, self._answers(scored.predictions)))
        why = explanation_column(scored, self.options)
        if why is not None:
            columns.append(("explanation", why))
        return pa.RecordBatch.from_arrays([c for _, c in columns], [n for n, _ in columns])

    def _errors(self, scored: Scored) -> pa.RecordBatch:
        columns = self._carried(scored, error_rows(scored))
        status = pa.StructArray.from_arrays(
            [
                pa.array([e.code for e in scored.errors], pa.int64()),
                pa.array([e.message for e in scored.errors], pa.string()),
            ],
            ["code", "message"],
        )
        columns.append((self.options.target.error_column, status))
        return pa.RecordBatch.from_arrays([c for _, c in columns], [n for n, _ in columns])

    def _answers(self, answers: Predictions) -> pa.Array:
        if answers.scores is None:
            parts = {
                "value": answers.value,
                "lower_bound": answers.lower,
                "upper_bound": answers.upper,
            }
            kept = {
                name: pa.array(v, from_pandas=True)  # a bound that does not exist is null
                for name, v in parts.items()
                if v is not None
            }
            return pa.StructArray.from_arrays(list(kept.values()), list(kept))
        n, k = answers.scores.shape
        offsets = pa.array(range(0, n * k + 1, k), pa.int32())
        labels = pa.array(list(self.options.target.classes) * n, pa.string())
        scores = pa.array(answers.scores.reshape(-1))
        return pa.StructArray.from_arrays(
            [
                pa.ListArray.from_arrays(offsets, labels),
                pa.ListArray.from_arrays(offsets, scores),
            ],
            ["classes", "scores"],
        )


def _typed_field(field: pa.Field) -> pa.DataType:
    kind = (field.metadata or {}).get(b"json_type", b"")
    return {b"number": pa.float64(), b"boolean": pa.bool_()}.get(kind, field.type)


def _measure(table: pa.Table) -> int:
    """Estimate a table's size from its values alone, however they came to be in memory."""
    texts: int = sum(
        pc.sum(pc.binary_length(column)).as_py() or 0
        for column in table.columns
        if pa.types.is_string(column.type)
    )
    cells: int = table.num_rows * table.num_columns
    return texts + 8 * cells


def _typed(column: pa.Array, field: pa.Field) -> pa.Array:
    """Give text from JSONL its type back; the empty field of a CSV is null."""
    if not pa.types.is_string(column.type):
        return column
    kind = (field.metadata or {}).get(b"json_type")
    if kind is None:
        empty = pc.equal(column, "")
        return pc.if_else(empty, pa.scalar(None, pa.string()), column)
    target = _typed_field(field)
    return column if target == column.type else pc.cast(column, target)
