import random
import string

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.core.tables import DatasetName, TableName
from rowcast.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    RowcastError,
    Unimplemented,
)
from rowcast.warehouse import NewTable
from rowcast.warehouse.dialect import read_statement
from rowcast.warehouse.duckdb import DuckDbWarehouse
from rowcast.warehouse.quoting import literal, quoted

PREDICTIONS = pa.table(
    {
        "age": [31, 52],
        "predicted_churn": [
            {"classes": ["no", "yes"], "scores": [0.75, 0.25]},
            {"classes": ["no", "yes"], "scores": [0.125, 0.875]},
        ],
        "predicted_price": [
            {"value": 1.5, "lower_bound": 1.0, "upper_bound": 2.0},
            {"value": 2.5, "lower_bound": 2.0, "upper_bound": None},
        ],
        "explanation": [
            {"attributions": [{"featureAttributions": {"age": 0.25 * i}, "outputIndex": [i]}]}
            for i in (1, 2)
        ],
    }
)
ERRORS = pa.table({"age": ["x"], "errors_churn": [{"code": 3, "message": "Column 'age': ..."}]})


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    warehouse = DuckDbWarehouse(tmp_path_factory.mktemp("warehouse"))
    tables = {"predictions_T": PREDICTIONS, "errors_T": ERRORS}
    warehouse.publish(
        [
            NewTable(TableName("local", "scores", name), table.schema, table.to_batches())
            for name, table in tables.items()
        ],
        create_dataset=True,
    )
    yield warehouse
    warehouse.close()


def run(warehouse, text, **options):
    with warehouse.query(text, "local", **options) as reader:
        return reader.read_all().to_pylist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (
            "SELECT predicted_churn.classes, predicted_churn.scores FROM scores.predictions_T",
            [row["predicted_churn"] for row in PREDICTIONS.to_pylist()],
        ),
        (
            "SELECT predicted_price.value, predicted_price.lower_bound, "
            "predicted_price.upper_bound FROM scores.predictions_T",
            [row["predicted_price"] for row in PREDICTIONS.to_pylist()],
        ),
        (
            "SELECT explanation.attributions[OFFSET(0)].featureAttributions.age "
            "FROM scores.predictions_T",
            [{"age": 0.25}, {"age": 0.5}],
        ),
        (
            "SELECT errors_churn.code, errors_churn.message FROM scores.errors_T",
            [ERRORS.to_pylist()[0]["errors_churn"]],
        ),
    ],
)
def test_the_queries_of_the_contract_run_as_they_stand(warehouse, text, rows):
    assert run(warehouse, text) == rows


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SELECT age FROM `local.scores.predictions_T` ORDER BY age DESC", [52, 31]),
        ("SELECT age FROM `local`.`scores`.`predictions_T` WHERE age < 40;", [31]),
        ("SELECT predictions_T.age FROM scores.predictions_T LIMIT 1", [31]),
        (
            "SELECT p.predicted_churn.scores[ORDINAL(2)] AS x FROM scores.predictions_T p",
            [0.25, 0.875],
        ),
        (
            "SELECT predicted_churn.scores[SAFE_OFFSET(9)] AS x FROM scores.predictions_T",
            [None, None],
        ),
        (
            "SELECT s FROM scores.predictions_T, UNNEST(predicted_churn.scores) AS s ORDER BY s",
            [0.125, 0.25, 0.75, 0.875],
        ),
        (
            "SELECT i FROM scores.predictions_T p, UNNEST(p.predicted_churn.classes) c "
            "WITH OFFSET AS i WHERE c = 'yes'",
            [1, 1],
        ),
        (
            "SELECT s FROM scores.predictions_T p, UNNEST(p.predicted_churn.classes) c "
            "WITH OFFSET i JOIN UNNEST(p.predicted_churn.scores) s WITH OFFSET j ON i = j "
            "WHERE c = 'no'",
            [0.75, 0.125],
        ),
        ("SELECT o FROM UNNEST(['a', 'b']) WITH OFFSET AS o ORDER BY o", [0, 1]),
        ("WITH t AS (SELECT 1 AS x) SELECT x FROM t", [1]),
        ("SELECT COUNTIF(age > 40) AS n FROM scores.predictions_T", [1]),
        ("SELECT SAFE_CAST('x' AS INT64) AS x", [None]),
        ("SELECT FORMAT('%d rows', 5) AS x", ["5 rows"]),
        ("SELECT 7 / 2 AS x", [3.5]),
        (
            "SELECT table_name FROM scores.INFORMATION_SCHEMA.TABLES ORDER BY 1",
            ["errors_T", "predictions_T"],
        ),
    ],
)
def test_the_dialect_is_bigquerys(warehouse, text, rows):
    assert [next(iter(row.values())) for row in run(warehouse, text)] == rows


def test_columns_without_a_name_get_bigquerys(warehouse):
    text = "SELECT 1, age, age + 1, predicted_churn.classes[OFFSET(0)], COUNT(*) OVER () AS n"
    row, _ = run(warehouse, f"{text} FROM scores.predictions_T")
    assert list(row) == ["f0_", "age", "f1_", "f2_", "n"]


def test_stars_leave_columns_out(warehouse):
    (row, _) = run(
        warehouse, "SELECT * EXCEPT (explanation, predicted_price) FROM scores.predictions_T"
    )
    assert set(row) == {"age", "predicted_churn"}


def test_parameters_are_values(warehouse):
    text = "SELECT age FROM scores.predictions_T WHERE age = @years"
    assert run(warehouse, text, parameters={"years": 52}) == [{"age": 52}]
    assert run(warehouse, text.replace("@years", "?"), parameters=[31]) == [{"age": 31}]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("SELEC 1", InvalidRequest, "line 1|Line 1"),
        ("SELECT FROM WHERE", InvalidRequest, "cannot be read"),
        ("", InvalidRequest, "one statement"),
        ("SELECT 1; SELECT 2", InvalidRequest, "one statement, not 2"),
        ("SELECT * FROM t", InvalidRequest, "has no dataset"),
        ("SELECT nix FROM scores.errors_T", InvalidRequest, "nix"),
        ("SELECT * FROM scores.nix", InvalidRequest, "nix"),
        ("SELECT * FROM nix.t", NotFound, "local.nix"),
        ("SELECT ARRAY_AGG(age LIMIT 2) FROM scores.errors_T", Unimplemented, "LIMIT"),
        ("SELECT " + "(" * 50_000 + "1" + ")" * 50_000, InvalidRequest, "deeply"),
    ],
)
def test_what_cannot_be_run_says_why(warehouse, text, kind, words):
    with pytest.raises(kind, match=words):
        run(warehouse, text)


OUTSIDE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('x')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM `/etc/passwd.csv`",
    "WITH `x.csv` AS (SELECT * FROM `x.csv`) SELECT * FROM `x.csv`",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM pragma_database_list()",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('t')",
    "SELECT getenv('HOME')",
    "SELECT current_setting('temp_directory')",
    "SELECT getvariable('x')",
    "SELECT SESSION_USER()",
    "SELECT * FROM scores.predictions_T, glob('/*')",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM EXTERNAL_QUERY('c', 'SELECT 1')",
    "SELECT * FROM ML.PREDICT(MODEL d.m, TABLE scores.errors_T)",
    "EXPORT DATA OPTIONS (uri = 'gs://b/*') AS SELECT 1",
    "LOAD DATA INTO scores.t FROM FILES (uris = ['x'])",
    "CREATE EXTERNAL TABLE scores.t OPTIONS (uris = ['x'])",
    "CREATE FUNCTION scores.f() AS (1)",
    "CREATE MACRO f() AS 1",
    "CREATE TABLE scores.t AS SELECT * FROM read_csv('/etc/passwd')",
    "CREATE VIEW scores.t AS SELECT * FROM glob('/*')",
    "INSERT INTO scores.errors_T SELECT * FROM read_csv('/etc/passwd')",
    "COPY scores.errors_T TO '/tmp/x'",
    "ATTACH '/tmp/x.duckdb'",
    "DETACH local",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '1TB'",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "EXECUTE IMMEDIATE 'SELECT 1'",
    "BEGIN TRANSACTION",
    "CHECKPOINT",
    "VACUUM",
    "USE other",
    "DROP DATABASE local",
    "SELECT a_python_variable FROM a_python_variable",
]


@pytest.mark.parametrize("text", OUTSIDE)
@pytest.mark.parametrize("write", [False, True])
def test_nothing_outside_the_tables_is_within_reach(warehouse, text, write):
    a_python_variable = PREDICTIONS
    assert a_python_variable is PREDICTIONS
    before = warehouse.tables(DatasetName("local", "scores"))
    with pytest.raises((InvalidRequest, PermissionDenied, Unimplemented, NotFound)):
        run(warehouse, text, write=write)
    assert warehouse.tables(DatasetName("local", "scores")) == before


CHANGES = [
    ("CREATE SCHEMA made", 0),
    ("CREATE TABLE made.t (n INT64, s STRUCT<a ARRAY<STRING>>)", 0),
    ("INSERT INTO made.t (n) VALUES (1), (2), (3)", 3),
    ("UPDATE made.t SET n = n + 1 WHERE n > 1", 2),
    ("DELETE FROM made.t WHERE n = 4", 1),
    ("CREATE OR REPLACE TABLE made.u AS SELECT n FROM made.t", 2),
    ("CREATE VIEW made.v AS SELECT n * 2 AS twice FROM made.t", 0),
    ("MERGE made.u USING made.t ON u.n = t.n WHEN MATCHED THEN DELETE", 2),
    ("ALTER TABLE made.u ADD COLUMN x FLOAT64", 0),
    ("TRUNCATE TABLE made.t", 2),
    ("DROP VIEW made.v", 0),
    ("DROP TABLE made.t", 0),
    ("DROP TABLE made.u", 0),
    ("DROP SCHEMA made", 0),
]


def test_changes_need_leave_and_count_their_rows(warehouse):
    for text, changed in CHANGES:
        with pytest.raises(PermissionDenied, match="changes tables"):
            run(warehouse, text)
        assert run(warehouse, text, write=True) == [{"changed": changed}], text
    assert [d.dataset for d in warehouse.datasets("local")] == ["scores"]


def test_a_query_may_take_so_long_and_no_longer(warehouse):
    endless = (
        "SELECT COUNT(*) FROM UNNEST(GENERATE_ARRAY(1, 1000000)) a, "
        "UNNEST(GENERATE_ARRAY(1, 1000000)) b WHERE a + b = 1"
    )
    with pytest.raises(ResourceExhausted, match="query_timeout_s"):
        run(warehouse, endless, timeout_s=0.3)
    assert run(warehouse, "SELECT 1 AS x", timeout_s=30) == [{"x": 1}]


def test_a_query_may_take_so_much_memory(tmp_path):
    small = DuckDbWarehouse(tmp_path, memory_bytes=64 << 20)
    with pytest.raises(ResourceExhausted, match="memory"):
        run(small, "SELECT REPEAT('x', 300000000) AS y")
    assert run(small, "SELECT 1 AS x") == [{"x": 1}]
    small.close()


HOSTILE = [
    '"',
    '""',
    "'",
    "`",
    "\\",
    ";",
    "--",
    "/*",
    "*/",
    '"; DROP TABLE "local"."safe"."canary"; --',
    "'; DROP TABLE local.safe.canary; --",
    "` ; DROP TABLE local.safe.canary; --",
    'canary" UNION SELECT * FROM "local"."safe"."canary',
    "../canary",
    "canary\0",
    "canary\n",
    "$1",
    "?",
    "{}",
    "%s",
    "SELECT",
    "\u202ecanary",
    "Ｃanary",
    "ﬁ",
    "é",
    "é",
    "name with blanks",
    "x" * 1024,
    "x" * 1025,
    "",
]


def hostile_names(count, seed=1):
    """Texts full of what SQL takes for something else."""
    draw = random.Random(seed)
    alphabet = string.ascii_letters + string.digits + "_- \"'`;\\./()[]{}*%$@#:,\n\t\0é日\u202e"
    pieces = [*HOSTILE, "canary", "safe", "local", "DROP TABLE", "UNION ALL SELECT"]
    yield from HOSTILE
    for _ in range(count - len(HOSTILE)):
        words = draw.choices(pieces, k=draw.randint(1, 3))
        noise = "".join(draw.choices(alphabet, k=draw.randint(0, 12)))
        yield draw.choice(["", " ", noise]).join([*words, noise])[:1100]


def test_hostile_names_change_nothing_but_their_own_object(tmp_path):
    warehouse = DuckDbWarehouse(tmp_path)
    canary = TableName("local", "safe", "canary")
    value = pa.table({"secret": [42]})
    warehouse.publish([NewTable(canary, value.schema, value.to_batches())], create_dataset=True)
    own = DatasetName("local", "own")
    warehouse.create_dataset(own)
    refused = 0
    columns = {}
    for name in hostile_names(2000):
        for names in ((name, "own", "t"), ("local", name, "t"), ("local", "own", name)):
            try:
                table = TableName(*names)
            except InvalidRequest:
                refused += 1
                continue
            with pytest.raises((NotFound, FailedPrecondition)):
                warehouse.table(table)
        if name and "\0" not in name:
            columns.setdefault(name.lower(), name)
    for start in range(0, len(columns), 200):
        some = list(columns.values())[start : start + 200]
        row = pa.record_batch([pa.array([n]) for n in range(len(some))], names=some)
        named = NewTable(TableName("local", "own", "columns"), row.schema, [row], "".join(some))
        warehouse.publish([named], replace=True)
        assert warehouse.table(named.name).schema.names == some
        assert warehouse.table(named.name).description == named.description
    with warehouse.scan(canary) as reader:
        assert reader.read_all() == value
    assert [d.dataset for d in warehouse.datasets("local")] == ["own", "safe"]
    assert [t.name.table for t in warehouse.tables(own)] == ["columns"]
    assert {path.name for path in tmp_path.iterdir()} <= {
        "local.duckdb",
        "local.duckdb.wal",
        "owner",
        "tmp",
    }
    assert len(columns) > 1500
    assert refused > 3000
    warehouse.close()


def test_tables_of_any_allowed_name_are_their_own(tmp_path):
    warehouse = DuckDbWarehouse(tmp_path)
    names = ["select", "a-b", "with blanks", "日本", "x" * 200, "_", "1", "Table"]
    for number, name in enumerate(names):
        table = pa.table({"n": [number]})
        full = TableName("local", "d", name)
        warehouse.publish([NewTable(full, table.schema, table.to_batches())], create_dataset=True)
    for number, name in enumerate(names):
        text = f"SELECT n FROM `local.d.{name}`"
        assert run(warehouse, text) == [{"n": number}]
    table = pa.table({"n": [0]})
    with pytest.raises(AlreadyExists):
        full = TableName("local", "d", "TABLE")
        warehouse.publish([NewTable(full, table.schema, table.to_batches())])
    warehouse.close()


@given(st.text().filter(lambda text: "\0" not in text))
def test_a_quoted_text_is_one_token_that_reads_back(text):
    import duckdb

    assert duckdb.sql(f"SELECT {literal(text)}").fetchall() == [(text,)]
    if text:
        assert duckdb.sql(f"SELECT 1 AS {quoted(text)}").columns == [text]


@given(st.text())
def test_any_text_is_read_or_refused_on_purpose(text):
    for whole in (text, f"SELECT {text}", f"SELECT * FROM d.{text}"):
        try:
            statement = read_statement(whole, "local")
        except RowcastError:
            continue
        assert statement.sql
