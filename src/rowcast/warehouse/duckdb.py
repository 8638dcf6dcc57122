"""The embedded warehouse: DuckDB, a database file for each project, a schema for each dataset.

DuckDB lets one process at a time open a file, so whoever works with the warehouse first owns it
until it ends: a server, or a command in whose process a job runs. The engine is shut in before it
sees a table: it reaches no file outside its folder, no network and no extension, reads no Python
variables, and its configuration is locked.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from rowcast.core.tables import RESERVED_DATASETS, DatasetName, TableName, check_column_names
from rowcast.errors import (
    AlreadyExists,
    Cancelled,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RowcastError,
)
from rowcast.warehouse import NewTable, TableFacts
from rowcast.warehouse.dialect import Statement, read_statement
from rowcast.warehouse.quoting import literal, path, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import duckdb

SUFFIX = ".duckdb"
OWNER_FILE = "owner"
BATCH_ROWS = 65_536
BATCH_CELLS = 1 << 20
"""Cells of a batch that is read, at most: a wide table has fewer rows in one."""


class DuckDbWarehouse:
    """``Warehouse`` in a folder of this machine. Opened by the first call.

    Parameters
    ----------
    folder : Path
        Of this warehouse alone.
    memory_bytes : int
        What the engine may use before it spills to the folder.
    """

    def __init__(self, folder: Path, *, memory_bytes: int = 2 << 30, threads: int = 0) -> None:
        self._folder = folder
        self._memory_bytes = memory_bytes
        self._threads = threads or os.cpu_count() or 1
        self._lock = threading.RLock()
        self._root: duckdb.DuckDBPyConnection | None = None
        self._owned: int | None = None
        self._attached: set[str] = set()

    # Projects and datasets

    def open(self) -> None:
        """Own the warehouse from now on. Raises FailedPrecondition if another process does."""
        self._connection().close()

    def projects(self) -> list[str]:
        """See ``Warehouse``."""
        if not self._folder.is_dir():
            return []
        return sorted(p.name.removesuffix(SUFFIX) for p in self._folder.glob(f"*{SUFFIX}"))

    def datasets(self, project: str) -> list[DatasetName]:
        """See ``Warehouse``."""
        with self.cursor() as cursor:
            if not self._attach(project):
                return []
            rows = cursor.execute(
                "SELECT schema_name FROM duckdb_schemas() WHERE database_name = ? "
                "AND NOT internal ORDER BY schema_name",
                [project],
            ).fetchall()
        names = [name for (name,) in rows if name.lower() not in RESERVED_DATASETS]
        return [DatasetName(project, name) for name in names]

    def has_dataset(self, name: DatasetName) -> bool:
        """See ``Warehouse``."""
        return any(one.dataset == name.dataset for one in self.datasets(name.project))

    def create_dataset(self, name: DatasetName) -> None:
        """See ``Warehouse``."""
        with self.cursor() as cursor:
            self._attach(name.project, create=True)
            if any(d.dataset.lower() == name.dataset.lower() for d in self.datasets(name.project)):
                raise AlreadyExists(f"Dataset {name} exists already.")
            cursor.execute(f"CREATE SCHEMA {path(name)}")

    def delete_dataset(self, name: DatasetName, *, with_tables: bool = False) -> None:
        """See ``Warehouse``."""
        self._need_dataset(name, NotFound)
        if not with_tables and (left := self.tables(name)):
            raise FailedPrecondition(
                f"Dataset {name} has {len(left)} tables; delete them first, or with it."
            )
        with self.cursor() as cursor:
            cursor.execute(f"DROP SCHEMA {path(name)} CASCADE")

    # Tables

    def tables(self, name: DatasetName) -> list[TableFacts]:
        """See ``Warehouse``."""
        self._need_dataset(name, NotFound)
        with self.cursor() as cursor:
            return self._facts(cursor, name, None)

    def table(self, name: TableName) -> TableFacts:
        """See ``Warehouse``."""
        self._need_dataset(name.within, FailedPrecondition)
        with self.cursor() as cursor:
            found = self._facts(cursor, name.within, name.table)
        if not found:
            raise NotFound(f"Table {name} does not exist.")
        return found[0]

    def delete_table(self, name: TableName) -> None:
        """See ``Warehouse``."""
        facts = self.table(name)
        with self.cursor() as cursor:
            cursor.execute(f"DROP {facts.kind} {path(name)}")

    @contextmanager
    def scan(
        self, name: TableName, ranges: Sequence[tuple[int, int]] = ()
    ) -> Iterator[pa.RecordBatchReader]:
        """See ``Warehouse``."""
        facts = self.table(name)
        rows = max(1, min(BATCH_ROWS, BATCH_CELLS // max(1, len(facts.schema))))
        pieces = [
            f"(SELECT * FROM {path(name)} LIMIT {int(stop) - int(start)} OFFSET {int(start)})"
            for start, stop in ranges
        ]
        query = " UNION ALL ".join(pieces) if pieces else f"SELECT * FROM {path(name)}"
        with self.cursor() as cursor:
            yield self.reader(cursor, query, rows)

    def publish(
        self,
        tables: Sequence[NewTable],
        *,
        create_dataset: bool = False,
        replace: bool = False,
        append: bool = False,
    ) -> list[int]:
        """See ``Warehouse``."""
        if len({one.name.project for one in tables}) != 1:
            raise InvalidRequest("Tables that appear at once are of one project.")
        for one in tables:
            check_column_names(one.schema.names)
        with self.cursor() as cursor:
            self._attach(tables[0].name.project, create=create_dataset)
            cursor.execute("BEGIN TRANSACTION")
            try:
                for name in dict.fromkeys(one.name.within for one in tables):
                    if create_dataset:
                        cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {path(name)}")
                    else:
                        self._need_dataset(name, FailedPrecondition)
                rows = [
                    self._append(cursor, one)
                    if append and self._facts(cursor, one.name.within, one.name.table)
                    else self._make(cursor, one, replace=replace)
                    for one in tables
                ]
                cursor.execute("COMMIT")
            except BaseException:
                with suppress(Exception):  # it may have ended by itself
                    cursor.execute("ROLLBACK")
                raise
        return rows

    @contextmanager
    def query(
        self,
        text: str,
        project: str,
        dataset: str | None = None,
        *,
        write: bool = False,
        parameters: dict[str, Any] | list[Any] | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[pa.RecordBatchReader]:
        """See ``Warehouse``. Queries run in a transaction that cannot write.

        The rows go to a temporary table first: so all of the work can be interrupted, and what
        does not fit into memory is on the disk.
        """
        statement = read_statement(text, project, dataset)
        if not statement.reads and not write:
            raise PermissionDenied("The statement changes tables, which is not allowed here.")
        self._reach(statement)
        with self.cursor() as cursor, _limited(cursor, timeout_s):
            if statement.reads:
                cursor.execute("BEGIN TRANSACTION READ ONLY")
                cursor.execute(f"CREATE TEMPORARY TABLE answer AS {statement.sql}", parameters)
                yield self.reader(cursor, "SELECT * FROM temp.main.answer")
            else:
                answer = cursor.execute(statement.sql, parameters).fetchall()
                changed = answer[0][0] if answer and isinstance(answer[0][0], int) else 0
                yield pa.table({"changed": pa.array([changed], pa.int64())}).to_reader()

    def _reach(self, statement: Statement) -> None:
        """Attach the projects that a statement names, and see that their datasets are there."""
        makes = statement.datasets if not statement.reads else ()
        for name in makes:
            self._attach(name.project, create=True)
        for project in statement.projects:
            self._attach(project)
        for dataset in dict.fromkeys(table.within for table in statement.tables):
            self._need_dataset(dataset, NotFound)

    def close(self) -> None:
        """See ``Warehouse``."""
        with self._lock:
            if self._root is not None:
                self._root.close()
                self._root = None
            if self._owned is not None:
                os.close(self._owned)
                self._owned = None
            self._attached.clear()

    # For queries

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection of one's own to all projects; the engine's errors become ours."""
        connection = self._connection()
        try:
            with translated():
                yield connection
        finally:
            connection.close()

    def reader(
        self, cursor: duckdb.DuckDBPyConnection, query: str, rows: int = BATCH_ROWS
    ) -> pa.RecordBatchReader:
        """Begin to read a query's rows."""
        reader = cast("pa.RecordBatchReader", cursor.sql(query).to_arrow_reader(rows))
        return pa.RecordBatchReader.from_batches(reader.schema, _translated_batches(reader))

    # Inside

    def _connection(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._root is None:
                self._own()
                self._root = self._start()
            return self._root.cursor()

    def _own(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        owned = os.open(self._folder / OWNER_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(owned, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(owned, 20).decode("ascii", "replace").strip()
            os.close(owned)
            raise FailedPrecondition(
                f"The warehouse in {self._folder} belongs to process {pid}, which is at work with "
                "it. If that is a server, ask it: give its address with --server."
            ) from None
        os.ftruncate(owned, 0)
        os.write(owned, str(os.getpid()).encode())
        self._owned = owned

    def _start(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        spill = self._folder / "tmp"
        root = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "allow_community_extensions": "false",
                "python_enable_replacements": "false",
                "memory_limit": f"{self._memory_bytes}B",
                "threads": str(self._threads),
                "temp_directory": str(spill),
                "preserve_insertion_order": "true",
            },
        )
        root.execute("SET TimeZone = 'UTC'")
        root.execute(f"SET allowed_directories = [{literal(str(self._folder))}]")
        root.execute("SET enable_external_access = false")
        root.execute("SET lock_configuration = true")
        return root

    def _attach(self, project: str, *, create: bool = False) -> bool:
        """Bring a project within reach; whether there is one."""
        file = self._folder / f"{project}{SUFFIX}"
        with self._lock:
            if project in self._attached:
                return True
            DatasetName(project, "x")  # checks the name, which becomes a file's
            if not create and not file.is_file():
                return False
            with self.cursor() as cursor:
                cursor.execute(f"ATTACH {literal(str(file))} AS {quoted(project)}")
            self._attached.add(project)
        return True

    def _need_dataset(self, name: DatasetName, kind: type[RowcastError]) -> None:
        if not self.has_dataset(name):
            there = ", ".join(one.dataset for one in self.datasets(name.project)[:20])
            known = f"has {there}" if there else "has no datasets"
            raise kind(f"Dataset {name} does not exist; project {name.project} {known}.")

    def _facts(
        self, cursor: duckdb.DuckDBPyConnection, within: DatasetName, table: str | None
    ) -> list[TableFacts]:
        found = cursor.execute(
            "SELECT table_name, 'TABLE', estimated_size, comment, '' FROM duckdb_tables() "
            "WHERE database_name = $1 AND schema_name = $2 AND ($3 IS NULL OR table_name = $3) "
            "UNION ALL "
            "SELECT view_name, 'VIEW', NULL, comment, sql FROM duckdb_views() "
            "WHERE database_name = $1 AND schema_name = $2 AND ($3 IS NULL OR view_name = $3) "
            "ORDER BY 1",
            [within.project, within.dataset, table],
        ).fetchall()
        facts = []
        for name, kind, rows, comment, sql in found:
            full = TableName(within.project, within.dataset, name)
            relation = cursor.sql(f"SELECT * FROM {path(full)} LIMIT 0")
            if kind == "TABLE":
                ((rows,),) = cursor.execute(f"SELECT count(*) FROM {path(full)}").fetchall()
            types = tuple(map(str, relation.types))
            schema = relation.to_arrow_reader(1).schema
            facts.append(TableFacts(full, kind, schema, rows, types, comment or "", sql))
        return facts

    def _append(self, cursor: duckdb.DuckDBPyConnection, new: NewTable) -> int:
        with _registered(cursor, new) as rows:
            answer = cursor.execute(
                f"INSERT INTO {path(new.name)} BY NAME SELECT * FROM {rows}"
            ).fetchall()
        return int(answer[0][0])

    def _make(self, cursor: duckdb.DuckDBPyConnection, new: NewTable, *, replace: bool) -> int:
        self._check_place(cursor, new, replace=replace)
        columns = ", ".join(
            f"CAST({quoted(name)} AS {new.sql_types[name]}) AS {quoted(name)}"
            if name in new.sql_types
            else quoted(name)
            for name in new.schema.names
        )
        with _registered(cursor, new) as rows:
            answer = cursor.execute(
                f"CREATE OR REPLACE TABLE {path(new.name)} AS SELECT {columns} FROM {rows}"
            ).fetchall()
        if new.description:
            cursor.execute(f"COMMENT ON TABLE {path(new.name)} IS {literal(new.description)}")
        return int(answer[0][0])

    def _check_place(
        self, cursor: duckdb.DuckDBPyConnection, new: NewTable, *, replace: bool
    ) -> None:
        """See that a table may be made where it is to be. Raises AlreadyExists."""
        name = new.name.table
        found = cursor.execute(
            "SELECT table_name, comment FROM duckdb_tables() "
            "WHERE database_name = $1 AND schema_name = $2 AND lower(table_name) = lower($3) "
            "UNION ALL SELECT view_name, NULL FROM duckdb_views() "
            "WHERE database_name = $1 AND schema_name = $2 AND lower(view_name) = lower($3)",
            [new.name.project, new.name.dataset, name],
        ).fetchall()
        for there, description in found:
            if there != name:
                raise AlreadyExists(f"{new.name}: {there!r} exists, which differs in case alone.")
            if not replace and (not new.description or description != new.description):
                raise AlreadyExists(f"Table {new.name} exists already.")


@contextmanager
def _registered(cursor: duckdb.DuckDBPyConnection, new: NewTable) -> Iterator[str]:
    """Have rows within reach of a statement, under a name of this connection's own."""
    name = "rowcast_rows"
    cursor.register(name, pa.RecordBatchReader.from_batches(new.schema, new.batches))
    yield name
    cursor.unregister(name)  # a statement that fails ends the connection, and the name with it


def _translated_batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    with translated():
        yield from reader


@contextmanager
def _limited(cursor: duckdb.DuckDBPyConnection, timeout_s: float | None) -> Iterator[None]:
    """Stop what a connection does once the time is over. Raises ResourceExhausted."""
    if timeout_s is None:
        yield
        return
    over = threading.Event()

    def stop() -> None:
        over.set()
        cursor.interrupt()

    timer = threading.Timer(timeout_s, stop)
    timer.daemon = True
    timer.start()
    try:
        with translated():
            yield
    except Cancelled as error:
        if not over.is_set():
            raise
        raise ResourceExhausted(
            f"The query took longer than the {timeout_s:g} s that it may (setting query_timeout_s)."
        ) from error
    finally:
        timer.cancel()


@contextmanager
def translated() -> Iterator[None]:
    """Say what the engine's errors mean to the user."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        raise _translate(error, duckdb) from error


def _translate(error: Exception, duckdb: Any) -> RowcastError:
    text = str(error).strip().partition("\n\n")[0]
    if isinstance(error, duckdb.OutOfMemoryException):
        return ResourceExhausted(
            f"The warehouse ran out of memory: {text} Ask for less, or raise the setting "
            "warehouse_memory_bytes."
        )
    if isinstance(error, duckdb.InterruptException):
        return Cancelled("The query was stopped.")
    if "No space left" in text or isinstance(error, duckdb.FatalException):
        return ResourceExhausted(f"The warehouse cannot write: {text}")
    if isinstance(error, duckdb.IOException):
        return FailedPrecondition(f"The warehouse cannot be used: {text}")
    if isinstance(error, duckdb.TransactionException):
        return FailedPrecondition(f"Another has changed the same at this moment: {text}")
    return InvalidRequest(text)
