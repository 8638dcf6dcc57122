"""What pages say, as their HTML has it before any script has run."""

import asyncio
import json
import shlex
from html import unescape

import pyarrow as pa
import pytest

from rowcast.console import tables
from rowcast.console.api import Api, ApiError, Transport, Visitor
from rowcast.console.job import Pace, request_of
from rowcast.console.jobs import filter_of
from rowcast.console.new_job import format_of
from rowcast.console.places import Home
from rowcast.console.results import Histogram, histogram_of, histograms_of, read_rows
from rowcast.console.same_request import as_curl, job_in_python, job_in_shell
from rowcast.server.filters import JOB_FIELDS, parse_filter

from .conftest import TOKEN

PARENT = "projects/local/locations/us-central1"
JOBS = f"/v1/{PARENT}/batchPredictionJobs"
ATTACKS = [
    "<script>window.hit=1</script>",
    "<img src=x onerror=window.hit=1>",
    "\"'><svg/onload=window.hit=1>",
    "</textarea></script><script>window.hit=1</script>",
    "${window.hit=1}`+(window.hit=1)+`",
    "{{constructor.constructor('window.hit=1')()}}",
    "javascript:window.hit=1",
    "\u202eexe.\u2066<b>",
    "&lt;script&gt;window.hit=1&lt;/script&gt;",
    "]]><!--<script>window.hit=1</script>",
]


def request(name="October", **more):
    return {
        "displayName": name,
        "model": "churn",
        "inputConfig": {
            "instancesFormat": "csv",
            "gcsSource": {"uris": ["gs://shop/customers.csv"]},
        },
        "outputConfig": {
            "predictionsFormat": "jsonl",
            "gcsDestination": {"outputUriPrefix": "gs://shop/out put"},
        },
        **more,
    }


def said(page):
    """The texts and properties of a page's elements."""
    start = page.index("parseElements(String.raw`") + len("parseElements(String.raw`")
    return json.loads(unescape(page[start : page.index("`)", start)]))


def texts(page):
    return json.dumps(said(page), ensure_ascii=False)


def test_the_list_shows_the_newest_jobs_and_keeps_its_filter(client, api):
    names = [f"list {number}" for number in range(27)]
    for name in names:
        api("POST", JOBS, json=request(name))
    client.cookies.set("rowcast_8080", "let-me-in-0123456789")
    shown = texts(client.get("/locations/us-central1/batch-predictions?name=list").text)
    assert '"list 26"' in shown
    assert '"list 2"' in shown
    assert '"list 1"' not in shown
    assert "1 to 25" in shown


def test_a_job_shows_its_state_and_what_to_do(client, api):
    job = api("POST", JOBS, json=request(labels={"env": "test"}))
    client.cookies.set("rowcast_8080", "let-me-in-0123456789")
    shown = texts(client.get(f"/locations/us-central1/batch-predictions/{job['name'][-19:]}").text)
    for words in ("October", "Pending", "churn@1", "gs://shop/customers.csv", "Cancel", "Clone"):
        assert words in shown
    assert "env: test" in shown


def test_a_job_that_is_not_there_is_named(client):
    answer = client.get("/locations/us-central1/batch-predictions/12345")
    assert "There is nothing here" in texts(answer.text)
    assert "batchPredictionJobs/12345" in texts(answer.text)


@pytest.mark.parametrize("attack", ATTACKS)
def test_names_are_text_and_nothing_else(client, api, attack):
    job = api("POST", JOBS, json=request(attack))
    client.cookies.set("rowcast_8080", "let-me-in-0123456789")
    harmless = client.get("/locations/us-central1/batch-predictions/new").text
    for page in (
        "/",
        "/locations/us-central1/batch-predictions",
        f"/locations/us-central1/batch-predictions/{job['name'].rsplit('/', 1)[-1]}",
        f"/locations/us-central1/batch-predictions/new?clone={job['name'].rsplit('/', 1)[-1]}",
    ):
        shown = client.get(page).text
        assert shown.count("<script") == harmless.count("<script")
        assert shown.count("</script") == harmless.count("</script")
        start = shown.index("String.raw`") + len("String.raw`")
        raw = shown[start : shown.index("`)", start)]
        assert "<" not in raw
        assert "${" not in raw
        assert json.dumps(attack, ensure_ascii=False)[1:-1] in texts(shown)


def test_the_form_is_filled_from_another_job(client, api):
    job = api("POST", JOBS, json=request("Pattern"))
    client.cookies.set("rowcast_8080", "let-me-in-0123456789")
    id_ = job["name"].rsplit("/", 1)[-1]
    clone = texts(client.get(f"/locations/us-central1/batch-predictions/new?clone={id_}").text)
    assert "Pattern (clone)" in clone
    assert "gs://shop/out put" in clone
    retry = texts(client.get(f"/locations/us-central1/batch-predictions/new?retry={id_}").text)
    assert "Pattern (retry)" in retry
    assert job["name"] in retry


def test_the_report_of_a_model_is_downloaded(client):
    answer = client.get(f"/console/api/v1/{PARENT}/models/churn@1:report")
    assert answer.text.startswith("<!doctype html>")
    assert answer.headers["content-disposition"].startswith("attachment")


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("models", ["churn", "classification"]),
        ("models/churn", ["ROC AUC", "Threshold", "Calibration", "Class by class", "Usual value"]),
        ("models/churn@1?tab=batch", ["Jobs that scored with it"]),
        ("training", ["Nothing was trained yet"]),
        ("training/new?source=gs://shop/customers.csv", ["gs://shop/customers.csv"]),
        ("data", ["shop"]),
        ("data?bucket=shop", ["customers.csv", "Drop files here"]),
        ("data?uri=gs://shop/customers.csv", ["Train on it", "Score it"]),
        ("data?bucket=nix", ["nix"]),
        ("data?uri=bq://local.shop.customers", ["bq://local.shop.customers", "Ask it in SQL"]),
        ("sql?query=SELECT 1 AS one", ["SELECT 1 AS one", "Run"]),
    ],
)
def test_a_page_says_what_it_is_for(client, page, words):
    shown = texts(client.get(f"/locations/us-central1/{page}").text)
    for word in words:
        assert word in shown


def test_another_project_is_part_of_the_address(client):
    shown = texts(client.get("/locations/us-central1/batch-predictions?project=other").text)
    assert "No batch inference yet" in shown
    assert "/locations/us-central1/models?project=other" in shown


async def answer_of(served, text):
    transport = Transport(served.app)
    home = Home("local", "us-central1", "local")
    try:
        return await tables.query(Api(transport, Visitor(TOKEN, "127.0.0.1"), home), text)
    finally:
        await transport.close()


def test_a_query_answers_its_rows(served):
    answer = asyncio.run(answer_of(served, "SELECT 1 AS one, 'a' AS b, [1, 2] AS c, NULL AS d"))
    assert answer.whole
    assert answer.table.column_names == ["one", "b", "c", "d"]
    assert answer.rows(0, 10) == [[1, "a", "[1, 2]", None]]


def test_only_the_beginning_of_an_endless_answer_is_taken(served, monkeypatch):
    monkeypatch.setattr(tables, "MOST_BYTES", 100_000)
    text = "SELECT n, CAST(n AS STRING) AS t FROM UNNEST(GENERATE_ARRAY(1, 3000000)) AS n"
    answer = asyncio.run(answer_of(served, text))
    assert not answer.whole
    assert 0 < answer.table.num_rows < 3_000_000
    assert answer.rows(0, 1) == [[1, "1"]]


def test_a_query_that_writes_is_refused(served):
    with pytest.raises(ApiError) as caught:
        asyncio.run(answer_of(served, "DROP TABLE shop.customers"))
    assert caught.value.code == 403


def test_no_cell_of_a_download_is_a_formula():
    table = pa.table({"=a": ["=1+1", "-2", "@x", "fine", None], "n": [-1, 2, 3, 4, 5]})
    lines = tables.Answer(table, whole=True).as_csv().decode().splitlines()
    assert lines == ["'=a,n", "'=1+1,-1", "'-2,2", "'@x,3", "fine,4", ",5"]


# What pages are made of


@pytest.mark.parametrize("name", ["plain", 'with "quotes"', "back\\slash", "it's", "a*b"])
def test_a_filter_is_one_that_the_api_reads(name):
    assert parse_filter(filter_of("RUNNING", name, "env=prod"), JOB_FIELDS) is not None
    assert filter_of("", "", "") == ""


def test_the_same_request_is_the_same_in_a_shell():
    body = request(generateExplanation=True, manualBatchTuningParameters={"batchSize": 64})
    words = shlex.split(as_curl(body, PARENT, "batchPredictionJobs", "http://127.0.0.1:8080"))
    assert json.loads(words[-1]) == body
    words = shlex.split(job_in_shell(body, "http://127.0.0.1:8080"))
    assert words[:4] == ["rowcast", "predict", "churn", "gs://shop/customers.csv"]
    assert words[words.index("--output") + 1] == "gs://shop/out put"
    assert "--explain" in words
    compile(job_in_python(body, "http://127.0.0.1:8080"), "example", "exec")


def test_a_clone_asks_for_what_the_job_was_asked_for(api):
    job = api("POST", JOBS, json=request(rowcast={"outputName": "one.jsonl"}))
    body = request_of(job)
    assert body == {
        **request(rowcast={"outputName": "one.jsonl"}),
        "model": f"{PARENT}/models/churn@1",
    }


@pytest.mark.parametrize(
    ("uri", "format_"),
    [("gs://a/b.csv", "csv"), ("gs://a/b.CSV.gz", "csv"), ("b.ndjson.zst", "jsonl"),
     ("x/*.parquet", "parquet"), ("gs://a/b", ""), ("gs://a.csv/b", "")],
)  # fmt: skip
def test_a_format_is_told_from_the_name(uri, format_):
    assert format_of(uri) == format_


def test_the_pace_is_that_of_the_last_seconds():
    pace = Pace()
    assert pace.now is None
    for second in range(40):
        pace.note(second, second, 1000 * max(0, second - 20), second * 2 / 3600)
    rows, replicas = pace.now
    assert rows == pytest.approx(1000)
    assert replicas == pytest.approx(2)


COLUMNS = {
    "csv": (["age", "churn_no_score", "churn_yes_score"], ["5", "0.25", "0.75"]),
    "jsonl": (
        ["instance", "prediction"],
        ['{"age": 5}', '{"classes": ["no", "yes"], "scores": [0.25, 0.75]}'],
    ),
    "parquet": (
        ["age", "predicted_churn"],
        ["5", '{"classes": ["no", "yes"], "scores": [0.25, 0.75]}'],
    ),
}


@pytest.mark.parametrize("format_", COLUMNS)
def test_predictions_are_read_from_every_format(format_):
    names, cells = COLUMNS[format_]
    preview = {"columns": [{"name": name} for name in names], "rows": [cells]}
    (row,) = read_rows(preview, "churn", ["no", "yes"])
    assert row.best == ("yes", 0.75)
    assert row.cells == {"age": "5"}
    assert sum(histogram_of(preview, [row], "churn", ["no", "yes"]).counts) == 1


def test_values_bounds_and_errors_are_read():
    preview = {
        "columns": [{"name": "instance"}, {"name": "prediction"}, {"name": "explanation"}],
        "rows": [[
            '{"a": null}',
            '{"value": 2.5, "lower_bound": 1, "upper_bound": 4}',
            json.dumps({"attributions": [
                {"baselineOutputValue": 2, "featureAttributions": {"a": 0.5}}
            ]}),
        ]],
    }  # fmt: skip
    (row,) = read_rows(preview, "price", [])
    assert (row.value, row.bounds, row.attributions, row.baseline) == (2.5, (1, 4), {"a": 0.5}, 2)
    preview = {
        "columns": [{"name": "age"}, {"name": "errors_churn"}],
        "rows": [["x", '{"code": 3, "message": "no number"}']],
    }
    assert read_rows(preview, "churn", ["no", "yes"])[0].error == "no number"


def test_histograms_of_all_rows_come_from_the_summary():
    summary = {
        "scoreBins": 2,
        "highestScores": [1, 2],
        "classes": [{"class": "yes", "scores": [1, 2]}, {"class": "no", "scores": [2, 1]}],
    }
    first, second = histograms_of(summary, "churn")
    assert (first.label, first.edges, first.counts) == ("Score of yes", [0, 0.5, 1], [1, 2])
    assert second.label == "Score of no"
    summary["classes"].append({"class": "perhaps", "scores": [0, 0]})
    assert histograms_of(summary, "churn")[0].label == "Highest score"
    values = {"values": {"histogram": {"edges": [1, 2], "counts": [3]}}}
    assert [one.label for one in histograms_of(values, "price")] == ["Value of price"]


def test_the_share_above_a_threshold_is_that_of_the_bins():
    found = Histogram("Score", [0, 0.5, 1], [30, 70])
    assert found.above(0) == 1
    assert found.above(0.5) == pytest.approx(0.7)
    assert found.above(0.75) == pytest.approx(0.35)
