"""Google's own client of BigQuery against the door, unchanged but for the address."""

import io
from datetime import UTC, date, datetime

import httpx
import pytest

bigquery = pytest.importorskip("google.cloud.bigquery")
from google.api_core.exceptions import BadRequest, Conflict, NotFound, Unauthorized  # noqa: E402
from google.auth.exceptions import RefreshError  # noqa: E402
from google.oauth2.credentials import Credentials  # noqa: E402


@pytest.fixture(scope="module")
def client(server):
    url, token, _ = server
    client = bigquery.Client(
        project="acme",
        credentials=Credentials(token),
        client_options={"api_endpoint": url},
        location="US",
    )
    client.create_dataset("shop")
    yield client
    client.close()


def test_datasets_are_made_listed_and_deleted(client):
    client.create_dataset("short")
    with pytest.raises(Conflict):
        client.create_dataset("short")
    assert {d.dataset_id for d in client.list_datasets()} >= {"shop", "short"}
    assert client.get_dataset("short").dataset_id == "short"
    client.delete_dataset("short", delete_contents=True)
    with pytest.raises(NotFound):
        client.get_dataset("short")


def test_tables_are_made_filled_read_and_deleted(client):
    fields = [
        bigquery.SchemaField("n", "INTEGER"),
        bigquery.SchemaField("tags", "STRING", mode="REPEATED"),
        bigquery.SchemaField("more", "RECORD", fields=[bigquery.SchemaField("x", "FLOAT")]),
        bigquery.SchemaField("at", "TIMESTAMP"),
        bigquery.SchemaField("day", "DATE"),
    ]
    made = client.create_table(bigquery.Table("acme.shop.all", schema=fields))
    assert [(f.name, f.field_type, f.mode) for f in made.schema] == [
        (f.name, f.field_type, f.mode) for f in fields
    ]
    rows = [
        {
            "n": i,
            "tags": ["a", "b"][:i],
            "more": {"x": i / 2},
            "at": "2026-01-31T08:15:30.123456Z",
            "day": "2026-01-31",
        }
        for i in range(3)
    ]
    bad = client.insert_rows_json(made, [{**rows[0], "nix": 1}])
    assert bad[0]["index"] == 0
    moment = datetime(2026, 1, 31, 8, 15, 30, 123456, tzinfo=UTC)
    load = client.load_table_from_json(rows, made, job_config=_json_config(fields))
    load.result()
    assert load.output_rows == 3
    listed = list(client.list_rows(client.get_table("acme.shop.all")))
    assert [row["n"] for row in listed] == [0, 1, 2]
    assert dict(listed[2]) == {
        "n": 2,
        "tags": ["a", "b"],
        "more": {"x": 1.0},
        "at": moment,
        "day": date(2026, 1, 31),
    }
    assert client.get_table("acme.shop.all").num_rows == 3
    assert "all" in {t.table_id for t in client.list_tables("shop")}
    client.delete_table("acme.shop.all")
    with pytest.raises(NotFound):
        client.get_table("acme.shop.all")


def _json_config(fields):
    return bigquery.LoadJobConfig(
        schema=fields, source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_TRUNCATE"
    )


def test_files_are_loaded_whole_and_in_chunks(client):
    text = "id,name\n" + "".join(f"{i},name {i}\n" for i in range(40_000))
    config = bigquery.LoadJobConfig(
        source_format="CSV", skip_leading_rows=1, write_disposition="WRITE_TRUNCATE"
    )
    for size in (None, len(text)):  # one is sent in chunks, the other whole
        job = client.load_table_from_file(
            io.BytesIO(text.encode()), "acme.shop.people", size=size, job_config=config
        )
        job.result()
        assert job.output_rows == 40_000
    table = client.get_table("acme.shop.people")
    assert [(f.name, f.field_type) for f in table.schema] == [("id", "INTEGER"), ("name", "STRING")]
    ids = [row["id"] for row in client.list_rows(table, page_size=9000)]
    assert ids == list(range(40_000))
    assert [r["id"] for r in client.list_rows(table, start_index=39_998)] == [39_998, 39_999]
    first = client.list_rows(table, selected_fields=[table.schema[1]], max_results=1)
    assert [dict(r) for r in first] == [{"name": "name 0"}]


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning", "ignore::FutureWarning")
def test_dataframes_are_loaded_and_come_back(client):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, None], "c": ["x", "y"]})
    client.load_table_from_dataframe(frame, "acme.shop.frame").result()
    rows = client.query("SELECT * FROM shop.frame ORDER BY a").result()
    back = rows.to_arrow(create_bqstorage_client=False)
    assert back.to_pydict() == {"a": [1, 2], "b": [0.5, None], "c": ["x", "y"]}


def test_objects_are_loaded_by_their_uris(client, server):
    _, _, home = server
    (home / "buckets" / "data" / "x.csv").write_text("a\n1\n2\n")
    config = bigquery.LoadJobConfig(source_format="CSV", skip_leading_rows=1)
    job = client.load_table_from_uri("gs://data/*.csv", "acme.shop.from_uri", job_config=config)
    assert job.result().output_rows == 2


def test_queries_answer_with_rows_and_types(client):
    text = "SELECT n, [n, n + 1] AS ns, STRUCT(n AS a, 'x' AS b) AS s FROM UNNEST([1, 2, 3]) AS n"
    for rows in (client.query(text).result(), client.query_and_wait(text)):
        assert [dict(row) for row in rows] == [
            {"n": n, "ns": [n, n + 1], "s": {"a": n, "b": "x"}} for n in (1, 2, 3)
        ]
    many = client.query("SELECT n FROM UNNEST(GENERATE_ARRAY(1, 25000)) AS n").result(
        page_size=7000
    )
    assert many.total_rows == 25_000
    assert [row["n"] for row in many] == list(range(1, 25_001))


def test_parameters_are_typed(client):
    config = bigquery.QueryJobConfig(
        query_parameters=[
            bigquery.ScalarQueryParameter("n", "INT64", 2),
            bigquery.ArrayQueryParameter("names", "STRING", ["a", "b"]),
        ]
    )
    text = "SELECT @n * 2 AS twice, ARRAY_LENGTH(@names) AS count"
    (row,) = client.query(text, job_config=config).result()
    assert (row["twice"], row["count"]) == (4, 2)


def test_changes_tell_how_many_rows_they_changed(client):
    client.query("CREATE OR REPLACE TABLE shop.dml AS SELECT 1 AS n UNION ALL SELECT 2").result()
    job = client.query("UPDATE shop.dml SET n = n + 1 WHERE n > 1")
    job.result()
    assert job.num_dml_affected_rows == 1


def test_mistakes_are_the_clients_own_exceptions(client, server):
    with pytest.raises(BadRequest, match="cannot be read"):
        client.query("SELEC 1").result()
    with pytest.raises(BadRequest, match="nix"):
        client.query("SELECT nix FROM shop.people").result()
    with pytest.raises(NotFound):
        client.get_table("acme.shop.nix")
    config = bigquery.LoadJobConfig(source_format="CSV")
    bad = client.load_table_from_file(io.BytesIO(b"a,b\n1\n"), "acme.shop.b", job_config=config)
    with pytest.raises(BadRequest, match="row 1, line 2"):
        bad.result()
    url, _, _ = server
    other = bigquery.Client(
        project="acme", credentials=Credentials("wrong"), client_options={"api_endpoint": url}
    )
    with pytest.raises((Unauthorized, RefreshError)):
        list(other.list_datasets())
    answer = httpx.get(f"{url}/bigquery/v2/projects/acme/datasets")
    assert answer.status_code == 401
