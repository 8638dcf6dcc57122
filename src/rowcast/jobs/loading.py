"""Files into warehouse tables, and queries of them: what ``load``, ``export`` and ``sql`` call.

A file is read in a replica, by the same rules as a job's input, and becomes a table in one moment.
Nothing is skipped: a record that does not fit ends the load with its place. Text becomes numbers,
dates and so on only where every value of the column would be written back as it stands, so that
a model reads the table as it reads the file: ``007`` stays text.
"""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from rowcast.core.tables import TableName, check_column_names
from rowcast.engines import Replicas
from rowcast.errors import InvalidRequest, UnreadableInput
from rowcast.jobs.plan import list_input
from rowcast.sources import OBJECT_SOURCES, SourceOptions, open_source
from rowcast.warehouse import NewTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextlib import AbstractContextManager

    from rowcast.core.plan import InputObject
    from rowcast.engines import Engine
    from rowcast.jobs.runner import RunnerOptions
    from rowcast.jobs.tables import Tables
    from rowcast.storage.objects import Objects

READ_ROWS = 65_536
MODES = ("create", "replace", "append")
_JSON_TYPES = {b"number": pa.float64(), b"boolean": pa.bool_()}
_CANDIDATES: dict[str, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "second": pa.timestamp("s"),
    "moment": pa.timestamp("us"),
}
"""What text may stand for, in the order in which it is tried."""


@dataclass(frozen=True)
class Loaded:
    """What a replica has made of files."""

    uris: tuple[str, ...]
    """Arrow files, in order."""
    schema: pa.Schema
    """As they are stored."""
    wanted: pa.Schema
    """As the table is to have them."""


@dataclass(frozen=True)
class LoadWork:
    """Reads files to Arrow; called in a replica."""

    format: str
    options: SourceOptions
    part_bytes: int
    text: bool
    """Leave all text as it is."""

    def __call__(self, objects: tuple[InputObject, ...]) -> Loaded:
        """Read all records.

        Raises
        ------
        UnreadableInput
            Naming the first object or record that cannot be read.
        """
        source = open_source(self.format, self.options)
        plan = source.survey(objects, self.part_bytes)
        for failure in plan.failures:
            raise UnreadableInput(failure.message)
        schema = plan.layout.schema
        fitting = Fitting(schema, text=self.text)
        uris = []
        for part in plan.parts:
            uri = f"{self.options.spool_uri}{part.number:09d}.arrow"
            with (
                self.options.objects.create(uri) as file,
                pa.ipc.new_file(file, schema) as writer,
            ):
                for batch in source.read(plan.layout, part, READ_ROWS):
                    for reject in batch.rejects:
                        place = batch.places.describe(reject.index)
                        raise UnreadableInput(f"{reject.message} ({place})")
                    writer.write_batch(batch.rows)
                    fitting.look(batch.rows)
            uris.append(uri)
        return Loaded(tuple(uris), schema, fitting.schema())


class Fitting:
    """Finds the types that columns of text can have without a change of what they say."""

    def __init__(self, schema: pa.Schema, *, text: bool) -> None:
        self._schema = schema
        self._left: dict[int, list[str]] = {
            i: list(_CANDIDATES)
            for i, field in enumerate(schema)
            if pa.types.is_string(field.type) and not _json_type(field) and not text
        } | {i: ["integer"] for i, field in enumerate(schema) if _json_type(field) == b"number"}
        self._seen: set[int] = set()

    def look(self, rows: pa.RecordBatch) -> None:
        """Rule out what the values of a batch are not."""
        for i, left in self._left.items():
            column = rows.column(i)
            values = column.filter(pc.and_(column.is_valid(), pc.not_equal(column, "")))
            if len(values) and left:
                self._seen.add(i)
                self._left[i] = [kind for kind in left if _stands_for(values, _CANDIDATES[kind])]

    def schema(self) -> pa.Schema:
        """The types that are left; a column without values stays text."""
        fields = []
        for i, field in enumerate(self._schema):
            kind = _JSON_TYPES.get(_json_type(field), field.type)
            if i in self._seen and self._left[i]:
                kind = _CANDIDATES[self._left[i][0]]
            if pa.types.is_timestamp(kind) and kind.unit == "s":
                kind = pa.timestamp("us")
            fields.append(pa.field(field.name, kind))
        return pa.schema(fields)


def _json_type(field: pa.Field) -> bytes:
    return bytes((field.metadata or {}).get(b"json_type", b""))


def _stands_for(values: pa.Array, kind: pa.DataType) -> bool:
    try:
        written = pc.cast(pc.cast(values, kind), pa.string())
    except pa.ArrowInvalid:
        return False
    return bool(pc.all(pc.equal(written, values)).as_py())


class TableService:
    """Loads files into tables, and runs queries, where the warehouse is."""

    def __init__(
        self,
        engine: Engine,
        objects: Objects,
        tables: Tables,
        options: RunnerOptions,
        *,
        project: str,
        timeout_s: float,
    ) -> None:
        self._engine = engine
        self._objects = objects
        self._tables = tables
        self._options = options
        self._project = project
        self._timeout_s = timeout_s

    @property
    def tables(self) -> Tables:
        """The warehouse and its waiting folder."""
        return self._tables

    def query(
        self, text: str, *, project: str | None = None, dataset: str | None = None, **options: Any
    ) -> AbstractContextManager[pa.RecordBatchReader]:
        """Run one statement in BigQuery's dialect; see ``Warehouse.query``."""
        return self._tables.warehouse.query(
            text, project or self._project, dataset, timeout_s=self._timeout_s, **options
        )

    def scan(self, uri: str) -> AbstractContextManager[pa.RecordBatchReader]:
        """Read all of a table."""
        return self._tables.warehouse.scan(TableName.parse(uri))

    def load(
        self,
        uris: Sequence[str],
        table: str,
        *,
        format_: str,
        mode: str = "create",
        text: bool = False,
        types: pa.Schema | None = None,
        arrived: bool = False,
    ) -> int:
        """Make a table of files, or add them to one; its dataset is made if need be.

        Parameters
        ----------
        uris
            Files, patterns or URIs.
        table
            ``bq://project.dataset.table``.
        format_
            csv, jsonl or parquet.
        mode
            create, replace or append.
        text
            Leave text as it is.
        types
            Columns that are to have these types, whatever they look like.
        arrived
            The files are in the waiting folder, which no request can name.

        Returns
        -------
        int
            Rows read.

        Raises
        ------
        InvalidRequest
            If format or mode are unknown, or a record cannot be read.
        NotFound, AlreadyExists
            If there is no such file; if the table is there and is not to be replaced.
        """
        name = TableName.parse(table)
        if format_ not in OBJECT_SOURCES:
            known = ", ".join(OBJECT_SOURCES)
            raise InvalidRequest(f"{format_[:50]!r} is no format of files; they are {known}.")
        if mode not in MODES:
            raise InvalidRequest(f"{mode[:50]!r} is none of {', '.join(MODES)}.")
        listed = tuple(list_input(self._tables.objects if arrived else self._objects, uris))
        own = f"load-{uuid.uuid4().hex}"
        options = SourceOptions(self._tables.objects, self._tables.place(own), self._options.limits)
        work = LoadWork(format_, options, self._options.part_bytes, text)
        try:
            with closing(self._engine.run(work, [listed], replicas=Replicas(1, 1))) as outcomes:
                outcome = next(outcomes)
            if outcome.error is not None:
                raise outcome.error
            loaded: Loaded = outcome.result
            check_column_names(loaded.wanted.names)
            wanted = _typed_as(loaded.wanted, types)
            if mode == "append":
                wanted = self._wanted(name, wanted)
            new = NewTable(name, wanted, self._batches(loaded, wanted))
            (rows,) = self._tables.warehouse.publish(
                [new], create_dataset=True, replace=mode == "replace", append=mode == "append"
            )
        finally:
            self._tables.clear(own)
        return rows

    def _wanted(self, name: TableName, schema: pa.Schema) -> pa.Schema:
        """Columns that are added to a table have its types."""
        warehouse = self._tables.warehouse
        there = warehouse.tables(name.within) if warehouse.has_dataset(name.within) else []
        found = next((facts for facts in there if facts.name == name), None)
        if found is None:
            return schema
        known = {field.name.lower(): field for field in found.schema}
        missing = [n for n in schema.names if n.lower() not in known]
        if missing:
            raise InvalidRequest(
                f"{name} has no column {', '.join(map(repr, missing[:20]))}, which the file has."
            )
        return pa.schema([known[n.lower()].with_name(n) for n in schema.names])

    def _batches(self, loaded: Loaded, wanted: pa.Schema) -> Iterator[pa.RecordBatch]:
        objects = self._tables.objects
        for uri in loaded.uris:
            with objects.open(objects.stat(uri)) as reader:
                opened = pa.ipc.open_file(reader.file)
                for number in range(opened.num_record_batches):
                    batch = opened.get_batch(number)
                    columns = [
                        _cast(column, field)
                        for column, field in zip(batch.columns, wanted, strict=True)
                    ]
                    yield pa.RecordBatch.from_arrays(columns, schema=wanted)


def _typed_as(schema: pa.Schema, types: pa.Schema | None) -> pa.Schema:
    """Give columns the types that were asked for. Raises InvalidRequest for unknown ones."""
    asked = {field.name.lower(): field.type for field in types or ()}
    unknown = sorted(set(asked) - {name.lower() for name in schema.names})
    if unknown:
        raise InvalidRequest(f"The file has no column {', '.join(map(repr, unknown[:20]))}.")
    return pa.schema([f.with_type(asked.get(f.name.lower(), f.type)) for f in schema])


def _cast(column: pa.Array, field: pa.Field) -> pa.Array:
    """Give a column its type; the empty field of a text file is null."""
    if pa.types.is_string(column.type):
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
    if column.type == field.type:
        return column
    try:
        if pa.types.is_nested(field.type) and pa.types.is_string(column.type):
            values = [None if text is None else json.loads(text) for text in column.to_pylist()]
            return pa.array(values, field.type)
        return pc.cast(column, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise InvalidRequest(
            f"Column {field.name!r} of the table is of type {field.type}: {error}"
        ) from error
