"""From a file to a job, through the Python API and the command line."""

import csv
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rowcast
from rowcast.bootstrap import open_import_engine
from rowcast.engines import Outcome
from rowcast.errors import InvalidRequest, NotFound, ReplicaLost
from rowcast.importing import ImportRequest, import_model
from rowcast.settings import load_settings
from tests.importing.makers import (
    FEATURES,
    as_columns,
    booster,
    linear_answers,
    linear_classifier,
    matrix,
    numbers,
    regressor_of_columns,
    save,
    write_csv,
    write_json,
)
from tests.importing.test_security import damaged


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ROWCAST_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_model_of_values_without_an_interval_has_null_bounds(home, tmp_path):
    booster("regression").save_model(tmp_path / "price.txt")
    model = rowcast.import_model(tmp_path / "price.txt", name="price", target="price")
    assert (model.id, model.version) == ("price", "1")
    answers = model.predict(numbers(20).select(FEATURES))
    assert answers["lower_bound"].null_count == 20
    assert answers["predicted_price"].null_count == 0
    write_csv(tmp_path / "rows.csv", numbers(20).select(FEATURES))
    wanted = booster("regression").predict(matrix(numbers(20)))
    for format_ in ("jsonl", "parquet"):
        job = rowcast.BatchPredictionJob.create(
            "price", tmp_path / "rows.csv", tmp_path / "out", predictions_format=format_
        ).wait()
        assert job.state == "JOB_STATE_SUCCEEDED", job.error
        folder = job.output_directory
        if format_ == "jsonl":
            with open(f"{folder}/predictions_1.jsonl") as file:
                found = [json.loads(line)["prediction"] for line in file]
        else:
            table = pq.read_table(f"{folder}/predictions_1.parquet")
            found = table["predicted_price"].to_pylist()
        assert [row["value"] for row in found] == wanted.tolist()
        assert {(row["lower_bound"], row["upper_bound"]) for row in found} == {(None, None)}
    again = rowcast.import_model(tmp_path / "price.txt", name="price", target="price")
    assert again.version == "2"


def test_rows_without_an_answer_fail_and_the_others_do_not(home, tmp_path):
    """The classifier answers NaN where a score is NaN; nulls are refused before, infinity after."""
    save(tmp_path / "m.onnx", linear_classifier(("yes", "no")))
    table = numbers().select(FEATURES)
    table = table.set_column(2, "score", pa.array(np.nan_to_num(table["score"].to_numpy())))
    answers = as_columns("churn", ("yes", "no"), linear_answers(numbers()))
    example = write_csv(tmp_path / "rows.csv", table, **answers)
    model = rowcast.import_model(tmp_path / "m.onnx", name="m", target="churn", example=example)
    rows = table.slice(0, 3).set_column(0, "age", [[50.0, 1e39, None]])  # 1e39 is inf as a float
    found = model.predict(rows)
    assert found["churn_yes_score"].is_valid().to_pylist() == [True, False, False]
    errors = found["error"].to_pylist()
    assert errors[0] is None
    assert errors[1].startswith("The model has no finite answer")
    assert "a value is required" in errors[2]
    pq.write_table(rows, tmp_path / "new.parquet")
    job = rowcast.BatchPredictionJob.create("m", tmp_path / "new.parquet", tmp_path / "out").wait()
    assert job.state == "JOB_STATE_SUCCEEDED", job.error
    stats = job.resource["completionStats"]
    assert (stats["successfulCount"], stats["failedCount"]) == ("1", "2")


def test_an_imported_model_is_explained(home, tmp_path):
    save(tmp_path / "m.onnx", regressor_of_columns())
    table = pa.table({"age": [20.0, 30.0, 40.0], "job": ["cook", "cook", "nurse"]})
    write_csv(tmp_path / "rows.csv", table)
    rowcast.import_model(
        tmp_path / "m.onnx", name="m", target="price", example=tmp_path / "rows.csv"
    )
    job = rowcast.BatchPredictionJob.create(
        "m", tmp_path / "rows.csv", tmp_path / "out", generate_explanation=True
    ).wait()
    assert job.state == "JOB_STATE_SUCCEEDED", job.error
    with open(f"{job.output_directory}/predictions_1.jsonl") as file:
        found = [json.loads(line)["explanation"]["attributions"][0] for line in file]
    moved = [one["featureAttributions"] for one in found]
    assert moved == [
        {"age": -20.0, "job": 0.0},
        {"age": 0.0, "job": 0.0},
        {"age": 20.0, "job": 10.0},
    ]
    assert found[2]["baselineOutputValue"] == 80.0


def run(*arguments):
    command = [sys.executable, "-m", "rowcast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_line_says_what_was_checked(home, tmp_path):
    booster("binary").save_model(tmp_path / "churn.txt")
    example = write_csv(tmp_path / "rows.csv", numbers().select(FEATURES))
    arguments = ["import", tmp_path / "churn.txt", "--name", "churn", "--target", "churn"]
    done = run(*arguments, "--example", example)
    assert done.returncode == 0, done.stderr
    assert "checked: 400 rows against lightgbm's own predictions" in done.stdout
    shown = json.loads(run(*arguments, "--json").stdout)
    assert shown["version"] == "2"
    assert shown["training"]["imported"]["checks"][0]["rows"] == 1000
    scored = run("predict", "churn", example, "--output", tmp_path / "out", "--quiet")
    assert scored.returncode == 0, scored.stderr
    (folder,) = (tmp_path / "out").iterdir()
    with open(folder / "predictions_1.csv") as file:
        scores = [float(row["churn_1_score"]) for row in csv.DictReader(file)]
    assert np.abs(scores - booster("binary").predict(matrix(numbers()))).max() < 1e-15


def test_nothing_was_compared_is_said(home, tmp_path):
    save(tmp_path / "m.onnx", regressor_of_columns())
    done = run("import", tmp_path / "m.onnx", "-n", "m", "-t", "price")
    assert done.returncode == 0, done.stderr
    assert "Nothing was there to compare" in done.stdout


def test_a_file_that_does_not_exist_is_named(home, tmp_path):
    with pytest.raises(NotFound, match="nowhere"):
        rowcast.import_model(tmp_path / "nowhere.txt", name="m", target="y")
    done = run("import", tmp_path / "nowhere.txt", "-n", "m", "-t", "y")
    assert done.returncode == 1
    assert "nowhere.txt" in done.stderr


def test_a_file_that_ends_its_process_is_refused():
    class Engine:
        def run(self, work, tasks, **_):
            yield Outcome(tasks[0], error=ReplicaLost("signal 11"))

    with pytest.raises(InvalidRequest, match="ended the process that tried to read it"):
        import_model(Engine(), ImportRequest("/m.txt", "m", "y"))


IMPORTS = """
import sys, rowcast
rowcast.import_model(sys.argv[1], name="m", target="plan", home=sys.argv[2])
print(sorted({"sklearn", "skops", "onnxruntime", "lightgbm", "pandas"} & set(sys.modules)))
"""


def test_the_callers_process_never_reads_the_file(tmp_path):
    skops = pytest.importorskip("skops.io")
    linear = pytest.importorskip("sklearn.linear_model")
    ages = numbers()["age"].to_numpy()[:, None] / 50
    model = linear.LogisticRegression().fit(ages, numbers()["plan"].to_numpy())
    skops.dump(model, tmp_path / "m.skops")
    command = [sys.executable, "-c", IMPORTS, str(tmp_path / "m.skops"), str(tmp_path / "home")]
    schema = run("import", tmp_path / "m.skops", "-n", "m", "-t", "plan", "--home", tmp_path / "h")
    assert "does not name its columns" in schema.stderr
    import pandas as pd

    frame = pd.DataFrame({"age": ages[:, 0]})
    skops.dump(
        linear.LogisticRegression().fit(frame, numbers()["plan"].to_numpy()), tmp_path / "m.skops"
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_damage_to_what_libraries_parse_is_refused_or_harmless(home, tmp_path):
    """In a replica, as it is done: CatBoost's and XGBoost's own readers crash on some of it."""
    catboost = pytest.importorskip("catboost")
    xgboost = pytest.importorskip("xgboost")
    x, price = matrix(numbers()), numbers()["price"].to_numpy()
    settings = {"iterations": 3, "depth": 3, "verbose": False, "allow_writing_files": False}
    catboost.CatBoostRegressor(**settings).fit(x, price).save_model(str(tmp_path / "m.cbm"))
    xgboost.train({"max_depth": 3}, xgboost.DMatrix(x, price), 3).save_model(tmp_path / "m.ubj")
    save(tmp_path / "m.onnx", linear_classifier(("a", "b")))
    schema = write_json(tmp_path / "s.json", {"features": [{"name": name} for name in FEATURES]})
    rng = np.random.default_rng(8)
    engine = open_import_engine(load_settings())
    try:
        for kind in ("cbm", "ubj", "onnx"):
            content = (tmp_path / f"m.{kind}").read_bytes()
            refused = 0
            for _ in range(60):
                path = save(tmp_path / "damaged", damaged(content, rng))
                try:
                    import_model(engine, ImportRequest(str(path), "m", "y", schema=schema))
                except InvalidRequest:
                    refused += 1
            assert refused > 20
    finally:
        engine.close()
