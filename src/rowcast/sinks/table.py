"""``predictions_T`` and ``errors_T`` in the warehouse: the rows of Parquet objects, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from rowcast.errors import Internal
from rowcast.sinks import Published, Staged
from rowcast.sinks.parquet import ParquetSink
from rowcast.warehouse import NewTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rowcast.core.tables import TableName
    from rowcast.sinks import SinkOptions
    from rowcast.warehouse import Warehouse

SQL_TYPE = b"sql_type"
KINDS = ("predictions", "errors")


class TableSink(ParquetSink):
    """Stages Arrow files, and makes two tables of them in one moment.

    Parameters
    ----------
    warehouse : Warehouse, optional
        Where to publish. Replicas, which only stage, have none.
    """

    def __init__(self, options: SinkOptions, warehouse: Warehouse | None = None) -> None:
        super().__init__(options)
        self._warehouse = warehouse

    def publish(self, staged: Sequence[Staged]) -> list[Published]:
        """See ``Sink.publish``. Both tables appear together, even if one is empty."""
        names = self.options.tables
        if self._warehouse is None or names is None:
            raise Internal("Tables are published by the process that owns the warehouse.")
        tables = [
            self._table(kind, name, staged)
            for kind, name in zip(KINDS, (names.predictions, names.errors), strict=True)
        ]
        counts = self._warehouse.publish(tables, create_dataset=names.create_dataset)
        return [
            Published(table.name.table, kind, rows, 0, "")
            for kind, table, rows in zip(KINDS, tables, counts, strict=True)
        ]

    def _table(self, kind: str, name: TableName, staged: Sequence[Staged]) -> NewTable:
        found = [part.predictions if kind == "predictions" else part.errors for part in staged]
        uris = [uri for uri in found if uri is not None]
        schema = self._schema_at(uris[0]) if uris else self._schema_of_none(kind)
        types = {
            field.name: field.metadata[SQL_TYPE].decode()
            for field in self.options.schema
            if field.name in schema.names and SQL_TYPE in (field.metadata or {})
        }
        owner = self.options.tables.owner if self.options.tables else ""
        return NewTable(name, schema, self._batches(uris), owner, types)

    def _schema_at(self, uri: str) -> pa.Schema:
        with self.options.objects.open(self.options.objects.stat(uri)) as reader:
            return pa.ipc.open_file(reader.file).schema

    def _batches(self, uris: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for uri in uris:
            with self.options.objects.open(self.options.objects.stat(uri)) as reader:
                opened = pa.ipc.open_file(reader.file)
                for number in range(opened.num_record_batches):
                    yield opened.get_batch(number)

    def _schema_of_none(self, kind: str) -> pa.Schema:
        """Columns of a table without rows."""
        whole = self._empty_schema()
        if kind == "predictions":
            return whole
        carried = [field for field in whole if field.name not in self.added_columns()]
        status = pa.struct([("code", pa.int64()), ("message", pa.string())])
        return pa.schema([*carried, (self.options.target.error_column, status)])
