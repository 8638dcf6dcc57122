import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowcast.core.job import InputSpec, JobSpec, JobState, OutputSpec
from rowcast.core.tables import DatasetName, TableName
from rowcast.errors import InvalidRequest
from rowcast.jobs.service import JobService
from rowcast.warehouse import NewTable
from tests.jobs.lab import PARENT, csv_text, jsonl_text, parquet_text, whole_rows

TARGET = "label"
SCORES = DatasetName("local", "scores")
ROWS_IN = TableName("local", "shop", "rows in")


def put_table(lab, table, name=ROWS_IN):
    lab.warehouse.publish(
        [NewTable(name, table.schema, table.to_batches())], create_dataset=True, replace=True
    )
    return name.uri


@pytest.fixture
def shop(lab):
    """A lab with an input table of text, and a dataset for results."""
    lab.warehouse.create_dataset(SCORES)
    put_table(lab, pa.Table.from_pylist(whole_rows()))
    return lab


def read(lab, name):
    with lab.warehouse.scan(name) as reader:
        return reader.read_all()


def written(lab, job):
    """The predictions and the errors of a job, as tables."""
    job = lab.get(job)
    dataset = job.output_dataset.removeprefix("bq://").partition(".")[2]
    errors = job.output_table.replace("predictions_", "errors_")
    return tuple(
        read(lab, TableName("local", dataset, name)) for name in (job.output_table, errors)
    )


def scores_of(lab, job, format_):
    """Each id's scores, to the last bit, from whatever the job wrote; and the ids that failed."""
    target = TARGET
    if format_ == "bigquery":
        good, bad = written(lab, job)
        rows = zip(good["id"].to_pylist(), good[f"predicted_{target}"].to_pylist(), strict=True)
        return {str(i): answer["scores"] for i, answer in rows}, [*map(str, bad["id"].to_pylist())]
    if format_ == "csv":
        header, good = lab.csv_rows(job, "predictions")
        at = [i for i, name in enumerate(header) if name.endswith("_score")]
        failed = lab.csv_rows(job, "errors")[1]
        return {row[0]: [float(row[i]) for i in at] for row in good}, [row[0] for row in failed]
    if format_ == "jsonl":
        good, failed = (
            [
                json.loads(line)
                for text in lab.joined(job, kind, "jsonl")
                for line in text.splitlines()
            ]
            for kind in ("predictions", "errors")
        )
        return (
            {row["instance"]["id"]: row["prediction"]["scores"] for row in good},
            [row["instance"]["id"] for row in failed],
        )
    tables = {
        kind: [pq.read_table(pa.BufferReader(t)) for t in lab.joined(job, kind, "parquet")]
        for kind in ("predictions", "errors")
    }
    good = [row for t in tables["predictions"] for row in t.to_pylist()]
    failed = [row["id"] for t in tables["errors"] for row in t.to_pylist()]
    return {row["id"]: row[f"predicted_{target}"]["scores"] for row in good}, failed


def test_every_format_into_every_format_gives_equal_predictions_to_the_last_bit(shop):
    rows = whole_rows()
    inputs = {
        "csv": shop.put("m/x.csv", csv_text(rows)),
        "jsonl": shop.put("m/x.jsonl", jsonl_text(rows)),
        "parquet": shop.put("m/x.parquet", parquet_text(rows)),
        "bigquery": ROWS_IN.uri,
    }
    found = {}
    for of, uri in inputs.items():
        for into in inputs:
            job = shop.run(uri, of=of, into=into)
            assert job.state is JobState.SUCCEEDED, job.error
            found[of, into] = scores_of(shop, job, into)
    assert len(found["csv", "csv"][0]) + len(found["csv", "csv"][1]) == len(rows)
    for pair, answers in found.items():
        assert answers == found["csv", "csv"], pair


def test_typed_columns_of_a_table_pass_through_and_score_as_their_text_does(shop):
    rows = whole_rows()
    text = shop.run(shop.put("m/x.csv", csv_text(rows)), of="csv", into="bigquery")
    numbers = [float(r["amount"]) if _is_number(r["amount"]) else None for r in rows]
    typed = pa.table(
        {
            "id": [int(r["id"]) for r in rows],
            "amount": numbers,
            "kind": [r["kind"] for r in rows],
            "note": [r["note"] for r in rows],
            "when": [r["when"] for r in rows],
            "tags": [[1, 2], None, []] * (len(rows) // 3) + [[3]] * (len(rows) % 3),
            "more": pa.array([{"a": 1.5, "b": "x"}] * len(rows)),
            "price": pa.array(range(len(rows)), pa.decimal128(20, 0)).cast(pa.decimal128(30, 5)),
        }
    )
    job = shop.run(put_table(shop, typed), of="bigquery", into="bigquery")
    good, bad = written(shop, job)
    assert good.num_rows + bad.num_rows == len(rows)
    for name in ("id", "amount", "tags", "more", "price"):
        assert good.schema.field(name).type == typed.schema.field(name).type
    expected = {str(i): answer for i, answer in scores_of(shop, text, "bigquery")[0].items()}
    answers, _ = scores_of(shop, job, "bigquery")
    same = [i for i, number in zip(typed["id"].to_pylist(), numbers, strict=True) if number]
    assert {str(i): answers[str(i)] for i in same if str(i) in answers} == {
        str(i): expected[str(i)] for i in same if str(i) in expected
    }
    assert len(same) > len(rows) / 2


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_rows_keep_their_order_across_parts(shop):
    job = shop.run(
        ROWS_IN.uri, of="bigquery", into="bigquery", extension={"row_number_column": "n"}
    )
    good, bad = written(shop, job)
    assert good["n"].to_pylist() == sorted(good["n"].to_pylist())
    assert sorted(good["n"].to_pylist() + bad["n"].to_pylist()) == [
        *range(1, len(whole_rows()) + 1)
    ]
    assert len(shop.store.load_plan(job.id).parts) > 2


def test_a_project_alone_gets_a_dataset_named_by_model_and_time(shop):
    spec = shop.spec(ROWS_IN.uri, of="bigquery", into="bigquery")
    spec = JobSpec("n", "stress", spec.input, OutputSpec("bigquery", tables="bq://local"))
    job = shop.drive(shop.service.create(PARENT, spec))
    moment = f"{job.created:%Y_%m_%dT%H_%M_%S}_{job.created.microsecond // 1000:03d}Z"
    assert job.output_dataset == f"bq://local.prediction_stress_{moment}"
    assert job.output_table == f"predictions_{moment}"
    good, bad = written(shop, job)
    assert good.num_rows == job.stats.successful
    assert bad.num_rows == job.stats.failed
    assert bad.schema.field("errors_label").type == pa.struct(
        [("code", pa.int64()), ("message", pa.string())]
    )


@pytest.mark.parametrize(
    ("uri", "into", "code", "words"),
    [
        ("bq://local.shop.nothing", "bq://local.scores", 5, "nothing"),
        ("bq://local.nowhere.t", "bq://local.scores", 9, "local.nowhere"),
        (ROWS_IN.uri, "bq://local.nowhere", 9, "local.nowhere"),
        (ROWS_IN.uri, "bq://nobody", 9, "nobody"),
    ],
)
def test_missing_tables_and_datasets_fail_the_job_with_their_codes(shop, uri, into, code, words):
    spec = JobSpec(
        "n", "stress", InputSpec("bigquery", table=uri), OutputSpec("bigquery", tables=into)
    )
    job = shop.drive(shop.service.create(PARENT, spec))
    assert job.state is JobState.FAILED
    assert job.error.code == code
    assert words in job.error.message
    assert shop.warehouse.tables(SCORES) == []


@pytest.mark.parametrize(
    ("given", "into", "field"),
    [
        (InputSpec("bigquery"), None, "input_config.bigquery_source.input_uri"),
        (InputSpec("bigquery", table="bq://p.d"), None, "input_config.bigquery_source.input_uri"),
        (
            InputSpec("bigquery", table='bq://p.d.a"b'),
            None,
            "input_config.bigquery_source.input_uri",
        ),
        (
            InputSpec("bigquery", table="bq://../x.d.t"),
            None,
            "input_config.bigquery_source.input_uri",
        ),
        (None, OutputSpec("bigquery"), "output_config.bigquery_destination.output_uri"),
        (
            None,
            OutputSpec("bigquery", tables="bq://p.d;x"),
            "output_config.bigquery_destination.output_uri",
        ),
        (
            None,
            OutputSpec("bigquery", tables="bq://p.information_schema"),
            "output_config.bigquery_destination.output_uri",
        ),
    ],
)
def test_requests_that_name_no_table_are_refused(lab, given, into, field):
    spec = JobSpec(
        "n",
        "stress",
        given or InputSpec("bigquery", table=ROWS_IN.uri),
        into or OutputSpec("bigquery", tables="bq://p.d"),
    )
    with pytest.raises(InvalidRequest) as refused:
        lab.service.create(PARENT, spec)
    assert field in {violation.field for violation in refused.value.violations}


def test_columns_that_differ_in_case_alone_fail_a_job_into_tables(shop):
    rows = [{**row, "ID": "1"} for row in whole_rows()[:5]]
    job = shop.run(shop.put("c.csv", csv_text(rows)), of="csv", into="bigquery")
    assert (job.state, job.error.code) == (JobState.FAILED, 3)
    assert "'id', 'ID'" in job.error.message


def test_feature_columns_of_a_table_match_without_regard_to_case(shop):
    table = pa.Table.from_pylist(whole_rows()[:50])
    name = put_table(shop, table.rename_columns([c.upper() for c in table.column_names]))
    job = shop.run(name, of="bigquery", into="bigquery")
    assert job.state is JobState.SUCCEEDED, job.error
    assert job.stats.successful + job.stats.failed == 50


def test_an_empty_table_gives_two_empty_tables(shop):
    table = pa.Table.from_pylist(whole_rows()).slice(0, 0)
    job = shop.run(put_table(shop, table), of="bigquery", into="bigquery")
    assert job.state is JobState.SUCCEEDED, job.error
    good, bad = written(shop, job)
    assert (good.num_rows, bad.num_rows) == (0, 0)
    assert good.schema.names[-1] == "predicted_label"


def test_failed_rows_of_tables_can_be_retried(shop):
    before = shop.run(shop.put_input(), of="csv", into="bigquery")
    assert before.stats.failed
    again = JobSpec("", "", InputSpec(""), OutputSpec(""), extension=_retry(before))
    job = shop.drive(shop.service.create(PARENT, again))
    assert job.state is JobState.SUCCEEDED, job.error
    assert job.stats.failed == before.stats.failed
    assert job.output_dataset == before.output_dataset


def _retry(job):
    from rowcast.core.job import Extension

    return Extension(retry_of=job.name)


def test_nothing_of_a_job_is_left_beside_the_tables(shop):
    shop.run(ROWS_IN.uri, of="bigquery", into="bigquery")
    shop.run(ROWS_IN.uri, of="bigquery", into="csv")
    shop.service.preflight(PARENT, shop.spec(ROWS_IN.uri, of="bigquery", into="bigquery"))
    assert [p for p in (shop.folder / "warehouse" / "waiting").rglob("*") if p.is_file()] == []


def test_a_check_of_a_table_counts_all_of_it(shop):
    report = shop.service.preflight(PARENT, shop.spec(ROWS_IN.uri, of="bigquery", into="bigquery"))
    assert report["estimatedRows"] == len(whole_rows())
    assert report["inputObjects"] == 1
    assert shop.warehouse.tables(SCORES) == []


def test_a_view_is_scored_like_a_table(shop):
    with shop.warehouse.cursor() as cursor:
        cursor.execute(
            'CREATE VIEW "local"."shop"."seen" AS SELECT * FROM "local"."shop"."rows in"'
        )
    job = shop.run("bq://local.shop.seen", of="bigquery", into="csv")
    assert job.state is JobState.SUCCEEDED, job.error
    assert job.stats.successful + job.stats.failed == len(whole_rows())


def test_tables_of_one_millisecond_get_names_of_their_own(shop):
    first = shop.run(ROWS_IN.uri, of="bigquery", into="bigquery")
    other = JobService.get(shop.service, PARENT, first.id)
    dataset, name = shop.tables.name_output(other)
    assert dataset == SCORES
    assert name == f"{first.output_table}_{first.created.microsecond:06d}"
