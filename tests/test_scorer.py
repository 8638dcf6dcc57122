"""An exported folder scores on its own, to the bits of a job."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest

import rowcast
from rowcast import scorer
from rowcast.errors import AlreadyExists, InvalidRequest, MissingColumns, ModelDamaged
from tests.homes import customers, trained_home


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "churn-model"
    return rowcast.load("churn", home=trained_home()).export(folder)


def run(*arguments, cwd="/"):
    command = [sys.executable, "-m", "rowcast.scorer", *map(str, arguments)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ROWCAST_")}
    environment["HOME"] = "/nonexistent"
    environment["NUMBA_CACHE_DIR"] = os.environ["NUMBA_CACHE_DIR"]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=cwd)


def test_a_folder_scores_without_a_home(exported, tmp_path):
    table = customers(50).set_column(0, "age", [[30, None] * 25])
    pc.write_csv(table, tmp_path / "in.csv")
    done = run(exported, tmp_path / "in.csv")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "25 rows could not be scored; the column 'error' says why.\n"
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    wanted = rowcast.load("churn", home=trained_home()).predict(tmp_path / "in.csv")
    assert len(rows) == 50
    assert list(rows[0]) == [*table.column_names, *wanted.column_names]
    for row, found in zip(rows, wanted.to_pylist(), strict=True):
        for name in ("churn_no_score", "churn_yes_score"):
            assert (float(row[name]) if row[name] else None) == found[name]
        assert (row["error"] or None) == found["error"]
    given = csv.DictReader(io.StringIO((tmp_path / "in.csv").read_text()))
    assert [row["income"] for row in rows] == [row["income"] for row in given]


def test_a_job_and_the_folder_agree_to_the_last_bit(exported, tmp_path):
    pq.write_table(customers(200), tmp_path / "in.parquet")
    job = rowcast.BatchPredictionJob.create(
        "churn", tmp_path / "in.parquet", tmp_path / "out", home=trained_home()
    ).wait()
    with open(f"{job.output_directory}/predictions_1.csv") as file:
        wanted = [row["churn_yes_score"] for row in csv.DictReader(file)]
    done = run(exported, tmp_path / "in.parquet")
    assert [row["churn_yes_score"] for row in csv.DictReader(io.StringIO(done.stdout))] == wanted


def test_the_folder_says_how_it_is_used(exported):
    text = (exported / "README.md").read_text()
    assert "# churn (version 1)" in text
    assert "python -m rowcast.scorer . input.csv" in text
    assert "| `age` | numeric | no |" in text
    with pytest.raises(AlreadyExists):
        rowcast.load("churn", home=trained_home()).export(exported)


def test_an_export_comes_back_under_its_digest(exported, tmp_path):
    digest = (exported / "model" / "model.json.sha256").read_text().split()[0]
    model = rowcast.import_model(exported, name="again", home=tmp_path / "home", digest=digest)
    folder = tmp_path / "home" / "models" / "again" / "1"
    assert (folder / "model.json.sha256").read_text().split()[0] == digest
    wanted = rowcast.load("churn", home=trained_home()).predict(customers())
    assert model.predict(customers()).equals(wanted)
    with pytest.raises(InvalidRequest, match="has the digest"):
        rowcast.import_model(exported, name="x", home=tmp_path / "home", digest="0" * 64)


def copied(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def test_damage_is_found_before_anything_is_read(exported, tmp_path):
    folder = copied(exported, tmp_path)
    for path in sorted((folder / "model").iterdir()):
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(ModelDamaged):
            scorer.load(folder)
        done = run(folder, tmp_path / "in.csv")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("Error: ")
        path.write_bytes(content)
    with pytest.raises(ModelDamaged):
        scorer.load(folder, digest="0" * 64)


def test_an_input_that_does_not_fit_is_named(exported, tmp_path):
    model = scorer.load(exported)
    with pytest.raises(MissingColumns, match="'job'"):
        model.predict(customers().drop_columns(["job"]))
    with pytest.raises(InvalidRequest, match="BatchPredictionJob"):
        model.predict("gs://bucket/x.csv")
    pc.write_csv(customers(3).append_column("error", [["a", "b", "c"]]), tmp_path / "in.csv")
    done = run(exported, "in.csv", cwd=tmp_path)
    assert done.returncode == 1
    assert "already has the column 'error'" in done.stderr
    (tmp_path / "none.csv").write_text("age,job,income\n")
    done = run(exported, "none.csv", cwd=tmp_path)
    assert done.stdout == "age,job,income,churn_no_score,churn_yes_score,error\n"


def test_only_what_scoring_needs_is_imported(exported):
    code = (
        "import json, sys; from rowcast import scorer; m = scorer.load(sys.argv[1]);"
        "print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(exported)], capture_output=True, text=True, check=True
    )
    unwanted = {"fastapi", "sqlalchemy", "uvicorn", "httpx", "typer", "lightgbm", "pandas"}
    assert unwanted & set(json.loads(done.stdout)) == set()


def test_answers_of_nothing_have_their_columns(exported):
    answers = scorer.load(exported).predict(customers(5).slice(0, 0))
    assert answers.schema.names == ["churn_no_score", "churn_yes_score", "error"]
    assert pa.types.is_floating(answers.schema.field(0).type)
    assert answers.num_rows == 0
