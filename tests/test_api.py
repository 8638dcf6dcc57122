"""The Python API."""

import gzip
import math
import os
import pydoc
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

import rowcast
from rowcast.errors import (
    FailedPrecondition,
    InvalidRequest,
    MissingColumns,
    NotFound,
    UnreadableInput,
)
from tests.homes import customers, trained_home


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROWCAST_")]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def home():
    return trained_home()


@pytest.fixture(scope="module")
def model(home):
    return rowcast.load("churn", home=home)


@pytest.fixture(scope="module")
def answers(model):
    return model.predict(customers())


def as_category(table):
    frame = table.to_pandas()
    return frame.assign(job=frame["job"].astype("category"))


FRAMES = {
    "arrow": lambda table: table,
    "record batch": lambda table: table.to_batches()[0],
    "chunks": lambda table: pa.concat_tables([table.slice(0, 7), table.slice(7)]),
    "pandas": lambda table: table.to_pandas(),
    "nullable pandas": lambda table: table.to_pandas().convert_dtypes(),
    "pandas categories": as_category,
    "pandas with an index": lambda table: table.to_pandas().set_index(
        table.column("age").to_numpy()
    ),
    "polars": pl.from_arrow,
    "text": lambda table: table.cast(pa.schema([(n, pa.string()) for n in table.column_names])),
    "small numbers": lambda table: table.set_column(0, "age", table.column("age").cast(pa.int8())),
    "other order": lambda table: table.select(["income", "job", "age"]),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_every_kind_of_frame_gets_the_same_bits(model, answers, kind):
    assert model.predict(FRAMES[kind](customers())).equals(answers)


def write(kind, path):
    table = customers()
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "jsonl":
        table.to_pandas().to_json(path, orient="records", lines=True)
    else:
        pc.write_csv(table, path)
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_files_frames_and_jobs_agree_to_the_last_bit(home, model, answers, tmp_path, kind):
    path = write(kind, tmp_path / f"in.{kind}")
    assert model.predict(path).equals(answers)
    with rowcast.BatchPredictionJob.create(
        model, path, tmp_path / "out", home=home, predictions_format="parquet"
    ) as job:
        assert job.wait(60).state == "JOB_STATE_SUCCEEDED"
    found = pq.read_table(f"{job.output_directory}/predictions_1.parquet").column("predicted_churn")
    scores = np.array([row["scores"] for row in found.to_pylist()])
    assert np.array_equal(scores[:, 0], answers.column("churn_no_score").to_numpy())
    assert np.array_equal(scores[:, 1], answers.column("churn_yes_score").to_numpy())


def test_compressed_files_and_links_are_read(model, answers, home, tmp_path):
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress((home / "customers.csv").read_bytes()))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "link.csv.gz").symlink_to(tmp_path / "in.csv.gz")
    assert model.predict(str(tmp_path / "deep" / "link.csv.gz")).equals(answers)


def test_a_row_that_cannot_be_scored_says_why(model):
    rows = pd.DataFrame({"age": [35, None, 61], "job": ["x", None, "cook"], "income": [1, 2, 3.5]})
    found = model.predict(rows).to_pylist()
    assert [row["error"] is None for row in found] == [True, False, True]
    assert found[1]["churn_yes_score"] is None
    assert "row 2 of the dataframe" in found[1]["error"]
    assert math.isclose(found[0]["churn_yes_score"] + found[0]["churn_no_score"], 1)


@pytest.mark.parametrize("empty", [customers(0), customers().to_pandas().iloc[:0]])
def test_no_rows_give_no_answers_of_the_same_type(model, answers, empty):
    found = model.predict(empty)
    assert found.num_rows == 0
    assert found.schema == answers.schema


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (customers().drop_columns(["job", "age"]), MissingColumns, "lacks 'age', 'job'"),
        (pd.DataFrame(), MissingColumns, "lacks"),
        (pa.table([[1], [1]], ["age", "age"]), InvalidRequest, "more than once"),
        (pd.DataFrame({"age": [1, "x"]}), UnreadableInput, "cannot be read as an Arrow table"),
        (customers().to_pandas()["age"], UnreadableInput, "cannot be read as an Arrow table"),
        ({"age": [1]}, InvalidRequest, "Cannot read rows from dict"),
        ("nix.csv", NotFound, "does not exist"),
        (".", NotFound, "folder"),
        ("gs://a/b.csv", InvalidRequest, "BatchPredictionJob"),
    ],
)
def test_what_cannot_be_predicted_on_is_named(model, data, error, words):
    with pytest.raises(error, match=words):
        model.predict(data)


@pytest.mark.parametrize(
    "value", [True, pd.Timestamp("2020-01-01"), pd.Timedelta("1D"), [1], b"x", {"a": 1}]
)
def test_any_type_of_column_ends_in_scores_or_errors(model, value):
    rows = pd.DataFrame({"age": [value] * 2, "job": [value] * 2, "income": [1.0, 2.0]})
    found = model.predict(rows)
    assert found.num_rows == 2


def test_models_are_found_by_version_and_refused_by_wrong_name(home, tmp_path):
    assert rowcast.load("churn@1", home=home).version == "1"
    for name in ("nix", "churn@9", "", "@1"):
        with pytest.raises(NotFound):
            rowcast.load(name, home=home)


def test_training_again_adds_a_version_under_any_name(tmp_path):
    for _ in range(2):
        rowcast.train(customers(), target="churn", name="naïve/name", home=tmp_path, budget_s=1)
    model = rowcast.load("naïve/name", home=tmp_path)
    assert (model.version, rowcast.load("naïve/name@1", home=tmp_path).version) == ("2", "1")
    assert rowcast.load(model.id, home=tmp_path).describe()["target"] == "churn"


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 129])
def test_a_model_needs_a_name(tmp_path, name):
    with pytest.raises(InvalidRequest, match="printable"):
        rowcast.train(customers(), target="churn", name=name, home=tmp_path)


def test_a_job_can_be_cancelled_and_waited_for(home, tmp_path):
    (tmp_path / "big.csv").write_text("age,job,income\n" + "41,nurse,20000.5\n" * 2_000_000)
    job = rowcast.BatchPredictionJob.create("churn", tmp_path / "big.csv", tmp_path, home=home)
    with pytest.raises(TimeoutError, match="still in"):
        job.wait(0.1)
    job.cancel()
    assert job.wait(30).state == "JOB_STATE_CANCELLED"
    assert job.refresh().error == "CANCELED"
    with pytest.raises(FailedPrecondition):
        job.cancel()


def test_a_job_that_fails_says_why(home, tmp_path):
    job = rowcast.BatchPredictionJob.create("churn", "nix.csv", tmp_path, home=home).wait()
    assert job.state == "JOB_STATE_FAILED"
    assert "does not exist" in job.error


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"model": "nix"}, NotFound),
        ({"source": []}, InvalidRequest),
        ({"source": ["a.csv", "b.parquet"]}, InvalidRequest),
        ({"predictions_format": "csv", "max_explanations": 2}, InvalidRequest),
        ({"predictions_format": "xml"}, InvalidRequest),
        ({"server": "nix"}, InvalidRequest),
        ({"server": "http://127.0.0.1:9"}, rowcast.RowcastError),
    ],
)
def test_a_job_that_cannot_be_is_refused(home, tmp_path, options, error):
    given = {"model": "churn", "source": "a.csv", "destination": tmp_path, "home": home, **options}
    with pytest.raises(error):
        rowcast.BatchPredictionJob.create(**given)


def test_all_public_names_are_there_and_no_other():
    assert set(rowcast.__all__) == set(dir(rowcast))
    assert all(getattr(rowcast, name) is not None for name in rowcast.__all__)
    with pytest.raises(AttributeError, match="nix"):
        _ = rowcast.nix


def test_help_shows_how_to_use_it():
    text = pydoc.render_doc(rowcast, renderer=pydoc.plaintext)
    for words in ("rowcast.train(", "BatchPredictionJob", "class Model", "load(name"):
        assert words in text


def test_import_is_quick_and_lazy():
    code = (
        "import time, sys; t = time.perf_counter(); import rowcast; "
        "print(time.perf_counter() - t < 0.1, [n for n in ('numpy', 'pyarrow', 'rowcast.api') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"


def test_a_model_of_classes_has_no_interval_of_any_level():
    model = rowcast.load("churn", home=trained_home())
    with pytest.raises(InvalidRequest, match="predicts a value"):
        model.predict(customers(5), interval_level=0.8)
