import json

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

from rowcast.api import open_backend
from rowcast.errors import AlreadyExists, InvalidRequest, NotFound, UnreadableInput
from tests.waiting import until_ready

CSV = (
    "id,zip,amount,price,when,day,ok,note,empty\n"
    '1,007,1.5,1.50,2026-01-31 08:15:30,2026-01-31,true,"a,b",\n'
    "2,123,,2.25,2026-02-01 00:00:00,2026-02-01,false,,\n"
)
TYPES = {
    "id": pa.int64(),
    "zip": pa.string(),  # 007 is not 7
    "amount": pa.float64(),
    "price": pa.string(),  # 1.50 is not 1.5
    "when": pa.timestamp("us"),
    "day": pa.date32(),
    "ok": pa.bool_(),
    "note": pa.string(),
    "empty": pa.string(),
}


@pytest.fixture
def home(tmp_path):
    (tmp_path / "rows.csv").write_text(CSV)
    return tmp_path


def rows(home, table="bq://local.shop.rows"):
    with open_backend(home=home) as backend, backend.scan(table) as reader:
        return reader.read_all()


def load(home, *files, table="bq://local.shop.rows", format_="csv", mode="create", text=False):
    names = [str(home / name) for name in files]
    with open_backend(home=home, paths=names) as backend:
        return backend.load(names, table, format_=format_, mode=mode, text=text)


def test_columns_get_the_type_that_writes_every_value_back_as_it_stands(home):
    assert load(home, "rows.csv") == 2
    table = rows(home)
    assert {field.name: field.type for field in table.schema} == TYPES
    assert table["zip"].to_pylist() == ["007", "123"]
    assert table["amount"].to_pylist() == [1.5, None]
    load(home, "rows.csv", mode="replace", text=True)
    assert set(rows(home).schema.types) == {pa.string()}


def test_what_is_exported_and_loaded_again_is_the_same(home, run):
    load(home, "rows.csv")
    table = rows(home)
    for ending, format_ in (("csv", "csv"), ("parquet", "parquet")):
        file = home / f"out.{ending}"
        out = run("export", "bq://local.shop.rows", "-o", str(file)).out
        assert "2 rows" in out
        load(home, file.name, format_=format_, mode="replace")
        assert rows(home) == table
    run("export", "bq://local.shop.rows", "-o", str(home / "out.jsonl"))
    first = json.loads((home / "out.jsonl").read_text().splitlines()[0])
    assert first["zip"] == "007"


def test_loads_replace_and_append_only_if_told(home):
    load(home, "rows.csv")
    with pytest.raises(AlreadyExists, match=r"local\.shop\.rows"):
        load(home, "rows.csv")
    assert load(home, "rows.csv", mode="append") == 2
    assert rows(home).num_rows == 4
    (home / "more.csv").write_text("note,other\nx,1\n")
    with pytest.raises(InvalidRequest, match="'other'"):
        load(home, "more.csv", mode="append")
    (home / "more.csv").write_text("note,id\nx,none\n")
    with pytest.raises(InvalidRequest, match="'id'"):
        load(home, "more.csv", mode="append")
    assert rows(home).num_rows == 4


def test_a_record_that_does_not_fit_ends_the_load_with_its_place(home):
    (home / "bad.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(UnreadableInput, match=r"row 2, line 3"):
        load(home, "bad.csv")
    with pytest.raises(NotFound):
        load(home, "nothing.csv")


def test_sql_shows_rows_and_writes_them_to_files(home, run):
    load(home, "rows.csv")
    shown = run("sql", "SELECT id, zip, note FROM shop.rows ORDER BY id").out
    assert shown.split()[:3] == ["id", "zip", "note"]
    assert "007" in shown
    lines = run("sql", "SELECT id FROM rows", "--dataset", "shop", "--json").out
    assert [json.loads(line) for line in lines.splitlines()] == [{"id": 1}, {"id": 2}]
    for ending, read in (("csv", pc.read_csv), ("parquet", pq.read_table)):
        file = home / f"x.{ending}"
        run("sql", "SELECT id FROM shop.rows", "-o", str(file))
        assert read(file)["id"].to_pylist() == [1, 2]
    made = run("sql", "CREATE VIEW shop.v AS SELECT id FROM shop.rows", "--write").out
    assert "changed" in made
    assert rows(home, "bq://local.shop.v")["id"].to_pylist() == [1, 2]


def test_mistakes_are_one_message(home, run):
    for arguments, words in (
        (["sql", "SELEC 1"], "cannot be read"),
        (["sql", "DROP TABLE shop.rows"], "changes tables"),
        (["sql", "SELECT 1", "-o", "x.xlsx"], "must end in"),
        (["load", "bq://local.shop.rows"], "Name the files"),
        (["load", "rows.csv", "shop.rows"], "begin with bq://"),
        (["load", "rows.csv", "bq://local.shop.rows", "--append", "--replace"], "exclude"),
        (["export", "bq://local.shop.nix", "-o", "x.csv"], "local.shop"),
    ):
        ended = run(*arguments)
        assert (ended.code, ended.out) == (1, "")
        assert words in ended.err


def test_a_server_answers_the_same_commands(home, run, start):
    url = until_ready(start("serve", "--port", "0"))
    (home / "rows.csv").write_text(CSV)
    table = "bq://local.far.rows"
    assert "2 rows loaded" in run("load", home / "rows.csv", table, "--server", url).out
    lines = run("sql", "SELECT id FROM far.rows", "--json", "--server", url).out
    assert [json.loads(line) for line in lines.splitlines()] == [{"id": 1}, {"id": 2}]
    run("export", table, "-o", "far.parquet", "--server", url)
    assert pq.read_table("far.parquet")["zip"].to_pylist() == ["007", "123"]
    refused = run("sql", "SELECT * FROM far.nix", "--server", url)
    assert refused.code == 1
    assert "nix" in refused.err
    local = run("sql", "SELECT 1 AS x")
    assert local.code == 1
    assert "--server" in local.err
