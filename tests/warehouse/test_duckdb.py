import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

import rowcast
from rowcast.core.tables import DatasetName, TableName
from rowcast.errors import AlreadyExists, FailedPrecondition, InvalidRequest, NotFound
from rowcast.warehouse import NewTable
from rowcast.warehouse.duckdb import DuckDbWarehouse

T = TableName("acme-1", "shop", "sales")
ROWS = pa.table(
    {
        "n": pa.array(range(5), pa.int64()),
        "name": ["a", None, "c", "é", ""],
        "answer": [{"classes": ["no", "yes"], "scores": [0.1 * i, 1 - 0.1 * i]} for i in range(5)],
    }
)


@pytest.fixture
def warehouse(tmp_path):
    warehouse = DuckDbWarehouse(tmp_path / "it's a folder")
    yield warehouse
    warehouse.close()


def new(table=ROWS, name=T, **more):
    return NewTable(name, table.schema, table.to_batches(), **more)


def rows(warehouse, name=T, ranges=()):
    with warehouse.scan(name, ranges) as reader:
        return reader.read_all()


def test_rows_come_back_in_order_with_their_types(warehouse):
    assert warehouse.publish([new()], create_dataset=True) == [5]
    assert rows(warehouse) == ROWS
    facts = warehouse.table(T)
    assert (facts.kind, facts.rows, facts.schema) == ("TABLE", 5, ROWS.schema)
    assert rows(warehouse, ranges=[(0, 2), (4, 5)])["n"].to_pylist() == [0, 1, 4]


def test_order_is_kept_where_the_engine_works_in_parallel(warehouse):
    many = pa.table({"n": pa.array(range(400_000))})
    batches = many.to_batches(10_000)
    warehouse.publish([NewTable(T, many.schema, batches)], create_dataset=True)
    assert rows(warehouse)["n"].to_pylist() == list(range(400_000))


def test_tables_appear_at_once_or_not_at_all(warehouse):
    warehouse.create_dataset(T.within)

    def broken():
        yield ROWS.to_batches()[0]
        raise OSError("the disk is gone")

    other = TableName("acme-1", "shop", "errors")
    with pytest.raises(InvalidRequest, match="the disk is gone"):
        warehouse.publish([new(), NewTable(other, ROWS.schema, broken())])
    assert warehouse.tables(T.within) == []
    warehouse.publish([new(), new(name=other)])
    assert [facts.name for facts in warehouse.tables(T.within)] == [other, T]


def test_a_dataset_that_is_made_for_tables_goes_with_them(warehouse):
    with pytest.raises(InvalidRequest):
        warehouse.publish(
            [NewTable(T, ROWS.schema, iter([pa.record_batch({"x": [1]})]))], create_dataset=True
        )
    assert not warehouse.has_dataset(T.within)


PUBLISH = """
import os, pathlib, signal, sys
import pyarrow as pa
from rowcast.core.tables import TableName
from rowcast.warehouse import NewTable
from rowcast.warehouse.duckdb import DuckDbWarehouse
warehouse = DuckDbWarehouse(pathlib.Path(sys.argv[1]))
table = pa.table({"n": pa.array(range(300_000)), "s": ["x" * 50] * 300_000})
def dying():
    for i, batch in enumerate(table.to_batches(10_000)):
        if i == 25:
            os.kill(os.getpid(), signal.SIGKILL)
        yield batch
good = NewTable(TableName("acme", "d", "a"), table.schema, table.to_batches())
warehouse.publish([good], create_dataset=True)
names = [TableName("acme", "new", name) for name in ("predictions", "errors")]
warehouse.publish(
    [NewTable(names[0], table.schema, table.to_batches()),
     NewTable(names[1], table.schema, dying())], create_dataset=True)
"""


def test_a_process_killed_while_it_publishes_leaves_nothing_of_it(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", PUBLISH, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(Path(rowcast.__file__).parents[1])},
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    warehouse = DuckDbWarehouse(tmp_path)
    assert warehouse.datasets("acme") == [DatasetName("acme", "d")]
    assert warehouse.table(TableName("acme", "d", "a")).rows == 300_000
    warehouse.close()


def test_readers_never_see_a_part_of_what_is_published(warehouse):
    warehouse.create_dataset(T.within)
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            seen.add(tuple(facts.name.table for facts in warehouse.tables(T.within)))

    reader = threading.Thread(target=watch)
    reader.start()
    names = [TableName("acme-1", "shop", name) for name in ("errors", "predictions")]
    many = pa.table({"n": pa.array(range(200_000))})
    warehouse.publish([NewTable(n, many.schema, many.to_batches(1000)) for n in names])
    stop.set()
    reader.join()
    assert seen <= {(), ("errors", "predictions")}


def test_only_an_earlier_try_at_the_same_is_replaced_unasked(warehouse):
    warehouse.publish([new(description="job 1")], create_dataset=True)
    warehouse.publish([new(ROWS.slice(0, 3), description="job 1")])
    assert warehouse.table(T).rows == 3
    for other in (new(description="job 2"), new()):
        with pytest.raises(AlreadyExists, match=r"acme-1\.shop\.sales"):
            warehouse.publish([other])
    assert warehouse.publish([new()], replace=True) == [5]
    assert warehouse.publish([new()], append=True) == [5]
    assert warehouse.table(T).rows == 10


def test_what_is_not_there_is_said_to_be_missing(warehouse):
    with pytest.raises(FailedPrecondition, match="no datasets"):
        warehouse.table(T)
    with pytest.raises(FailedPrecondition, match=r"acme-1\.shop"):
        warehouse.publish([new()])
    warehouse.create_dataset(T.within)
    with pytest.raises(NotFound, match="sales"):
        warehouse.table(T)
    with pytest.raises(NotFound, match="has shop"):
        warehouse.delete_dataset(DatasetName("acme-1", "other"))
    with pytest.raises(AlreadyExists):
        warehouse.create_dataset(DatasetName("acme-1", "SHOP"))
    assert warehouse.projects() == ["acme-1"]
    assert warehouse.datasets("nobody") == []


def test_datasets_with_tables_go_only_if_told(warehouse):
    warehouse.publish([new()], create_dataset=True)
    with pytest.raises(FailedPrecondition, match="1 table"):
        warehouse.delete_dataset(T.within)
    warehouse.delete_table(T)
    warehouse.delete_dataset(T.within)
    warehouse.publish([new()], create_dataset=True)
    warehouse.delete_dataset(T.within, with_tables=True)
    assert warehouse.datasets("acme-1") == []


def test_another_process_is_told_who_owns_the_warehouse(warehouse):
    warehouse.open()
    other = DuckDbWarehouse(warehouse._folder)
    with pytest.raises(FailedPrecondition, match=f"process {os.getpid()}"):
        other.open()
    warehouse.close()
    other.open()
    other.close()


def test_types_that_arrow_has_no_word_for_come_back(warehouse):
    text = pa.table({"id": ["7f2a7d6c-0f4e-4a8e-9d0a-1f2e3d4c5b6a"], "doc": ['{"a": 1}']})
    types = {"id": "UUID", "doc": "JSON"}
    warehouse.publish([new(text, sql_types=types)], create_dataset=True)
    assert warehouse.table(T).sql_types == ("UUID", "JSON")


@pytest.mark.parametrize("names", [["a", "A"], ["", "b"]])
def test_columns_that_a_table_cannot_have_are_refused(warehouse, names):
    table = pa.table([[1], [2]], names=names)
    with pytest.raises(InvalidRequest, match="column"):
        warehouse.publish([new(table)], create_dataset=True)


STATEMENTS = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_text('/etc/hostname')",
    "SELECT * FROM glob('/etc/*')",
    "ATTACH '/tmp/elsewhere.duckdb'",
    "COPY (SELECT 1) TO '/tmp/rowcast-out.csv'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "SET threads = 1",
    "SELECT * FROM a_python_variable",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_the_engine_is_shut_in(warehouse, statement):
    a_python_variable = ROWS
    assert a_python_variable is ROWS
    with pytest.raises((InvalidRequest, FailedPrecondition)), warehouse.cursor() as cursor:
        cursor.execute(statement)
