"""A look at data before it is used."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowcast.core.tables import TableName
from rowcast.pipelines import preview as module
from rowcast.warehouse import NewTable

PREVIEW = "/v1/projects/p/locations/us-central1/datasets:preview"


@pytest.fixture
def bucket(wired):
    folder = wired.folder / "buckets" / "shop"
    folder.mkdir(parents=True)
    return folder


def look(client, uri="gs://shop/a.csv", **more):
    return client.post(PREVIEW, json={"inputConfig": {"gcsSource": {"uri": [uri]}}, **more})


def table(rows=200):
    lines = [f"{i},{i % 3},{'ab'[i % 2]},{'' if i % 4 == 0 else '2026-01-30'}" for i in range(rows)]
    return "id,size,kind,day\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet"])
def test_columns_are_described_whatever_the_format(client, bucket, name):
    if name == "a.parquet":
        columns = {"kind": ["a", "b"] * 60, "size": [1.5, None] * 60, "list": [[1], []] * 60}
        pq.write_table(pa.table(columns), bucket / name)
    elif name == "a.jsonl":
        lines = '{"kind": "a", "size": 1.5, "list": [1]}\n{"kind": "b", "size": null, "list": []}\n'
        (bucket / name).write_text(lines * 60)
    else:
        text = b'kind,size,list\na,1.5,[1]\n"b",,[]\n'
        text = text.split(b"\n", 1)[0] + b"\n" + text.split(b"\n", 1)[1] * 60
        (bucket / name).write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    said = look(client, f"gs://shop/{name}", rowCount=2).json()
    assert (said["rowCount"], said["complete"]) == (120, True)
    kind, size, items = said["columns"]
    assert kind["kind"] == "categorical"
    assert kind["values"] == [{"value": "a", "count": 60}, {"value": "b", "count": 60}]
    assert size["nullRate"] == 0.5
    assert sum(size["counts"]) == 60
    assert items["kind"] == "repeatedNumeric"
    assert said["rows"][0][0] == "a"
    assert len(said["rows"]) == 2


def test_a_table_is_looked_at(client, wired):
    name = TableName("p", "shop", "customers")
    columns = pa.table({"age": [20, 30, None], "tags": [["a"], [], None]})
    wired.warehouse.publish(
        [NewTable(name, columns.schema, columns.to_batches())], create_dataset=True
    )
    body = {"inputConfig": {"bigquerySource": {"uri": "bq://p.shop.customers"}}}
    said = client.post(PREVIEW, json=body).json()
    assert (said["rowCount"], said["complete"]) == (3, True)
    assert [column["name"] for column in said["columns"]] == ["age", "tags"]
    assert said["rows"] == [["20", '["a"]'], ["30", "[]"], [None, None]]


def test_a_target_is_judged_as_training_would(client, bucket):
    (bucket / "a.csv").write_text(table())
    said = look(client, targetColumn="kind").json()
    assert said["target"]["predictionType"] == "classification"
    assert said["target"]["classes"] == ["a", "b"]
    assert any("only 200 rows" in warning for warning in said["warnings"])
    by_name = {column["name"]: column for column in said["columns"]}
    assert "numbers the rows" in by_name["id"]["reason"]
    assert by_name["day"]["unit"] == "daysSince1970"
    said = look(client, targetColumn="day").json()
    assert "target of row 1 is null" in said["problems"][0]
    said = look(client, targetColumn="size", predictionType="regression").json()
    assert said["target"]["classes"] == []


def test_only_the_beginning_is_read_and_no_record_is_cut(client, bucket, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 1000)
    (bucket / "a.csv").write_text('note,b\n"x\ny",1\n' + '"line\nbreak",2\n' * 500)
    said = look(client, rowCount=200).json()
    assert not said["complete"]
    assert 10 < said["rowCount"] < 200
    assert {row[1] for row in said["rows"]} == {"1", "2"}
    assert {row[0] for row in said["rows"]} == {"x\ny", "line\nbreak"}


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_rows_alone_take_less_reading(client, bucket, monkeypatch, name):
    if name == "a.csv":
        (bucket / name).write_text(table(5000))
    else:
        pq.write_table(pa.table({"id": range(5000)}), bucket / name)
    said = look(client, f"gs://shop/{name}", rowCount=3, rowsOnly=True, targetColumn="id").json()
    assert (said["rowCount"], said["complete"]) == (3, False)
    assert set(said["columns"][0]) == {"name", "storedType"}
    assert [row[0] for row in said["rows"]] == ["0", "1", "2"]
    assert "target" not in said


def test_several_objects_are_counted(client, bucket):
    for name in ("a1.csv", "a2.csv"):
        (bucket / name).write_text(table())
    said = look(client, "gs://shop/a*.csv").json()
    assert said["objectCount"] == 2
    assert not said["complete"]


def test_long_cells_are_cut(client, bucket):
    (bucket / "a.csv").write_text("a,b\n" + "x" * 50_000 + ",1\n")
    assert len(look(client).json()["rows"][0][0]) == module.CELL_CHARACTERS + 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"a,b\n1,2,3\n", "line 2: the header has 2 columns"),
        ("a.csv", b"", "is empty"),
        ("a.csv.gz", b"no gzip", "cannot be unpacked"),
        ("a.parquet", b"no parquet", "is not a Parquet file"),
        ("a.jsonl", b"{", "not a JSON object"),
        ("a.xls", b"x", "the name must end in"),
    ],
)
def test_what_cannot_be_read_is_refused_by_its_own_name(client, bucket, name, content, words):
    (bucket / name).write_bytes(content)
    answer = look(client, f"gs://shop/{name}")
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert words in message
    assert f"gs://shop/{name}" in message or "must end" in message
    assert "rowcast-preview" not in message


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, 400),
        ({"inputConfig": {"gcsSource": {"uri": ["gs://shop/nix.csv"]}}}, 404),
        ({"inputConfig": {"gcsSource": {"uri": ["gs://nix/a.csv"]}}}, 400),
        ({"inputConfig": {"gcsSource": {"uri": ["/etc/passwd"]}}}, 403),
        ({"inputConfig": {"gcsSource": {"uri": ["gs://shop/a.csv"]}}, "rowCount": 1000}, 400),
        ({"inputConfig": {"gcsSource": {"uri": ["gs://shop/a.csv"]}}, "targetColumn": "nix"}, 400),
        ({"inputConfig": {"gcsSource": {"uri": ["gs://shop/a.csv"]}}, "unknown": 1}, 400),
        ({"inputConfig": {"bigquerySource": {"uri": "bq://a.b"}}}, 400),
        ({"inputConfig": {"bigquerySource": {"uri": "bq://a.b.c"}}}, 400),
        ({"inputConfig": {"gcsSource": {"uri": ["bq://a.b.c"]}}}, 400),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(client, bucket, body, code):
    (bucket / "a.csv").write_text(table())
    assert client.post(PREVIEW, json=body).status_code == code
