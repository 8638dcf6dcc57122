"""The command forms that scripts rely on."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.reader(file))


def folder_of(text):
    return Path(
        next(line for line in text.splitlines() if line.startswith("output")).split(None, 1)[1]
    )


def newest(run):
    return json.loads(run("jobs", "list", "--limit", "1", "--json").out)[0]


def wait_until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """A file that takes some seconds to score."""
    path = tmp_path_factory.mktemp("big") / "big.csv"
    path.write_text("age,job,income\n" + "41,nurse,20000.5\n30,cook,123.25\n" * 400_000)
    return path


def test_help_is_quick_and_names_every_command():
    started = time.monotonic()
    text = subprocess.run(
        [sys.executable, "-m", "rowcast", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert time.monotonic() - started < 2  # 0.3 s on a machine that is idle
    assert all(name in text for name in ("train", "predict", "serve", "jobs", "models", "demo"))


def test_help_does_not_load_what_only_work_needs():
    heavy = "numpy", "pyarrow", "numba", "lightgbm", "sqlalchemy", "fastapi", "httpx"
    code = (
        "import sys; from rowcast.cli import main\n"
        "sys.argv = ['rowcast', 'predict', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([n for n in {heavy!r} if n in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_train_says_how_to_go_on(run, home, tmp_path):
    copy = tmp_path / "a b.csv.gz"
    copy.write_bytes(gzip.compress((home / "customers.csv").read_bytes()))
    done = run("train", "*.csv.gz", "--target", "churn", "--name", "my model", "--home",
               tmp_path / "h", "--budget", "1s", "-q")  # fmt: skip
    assert done.code == 0
    assert "rowcast predict 'my model' FILE" in done.out
    shown = run("models", "show", "my model", "--home", tmp_path / "h", "--json")
    assert json.loads(shown.out)["classes"] == ["no", "yes"]
    assert "my model" in run("models", "list", "--home", tmp_path / "h").out


def test_predict_writes_what_it_says(run, home, tmp_path):
    odd = tmp_path / "ö [1] x"
    odd.mkdir()
    (odd / "in put.csv").write_text("age,job,income\n50,cook,1\nn/a,cook,1\n20,nurse,2.5\n")
    other = tmp_path / "elsewhere.csv"
    other.write_text("age,job,income\n" + "33,clerk,7\n" * 300)
    (odd / "other.csv").symlink_to(other)
    done = run("predict", "churn", "ö [1] x/in put.csv", "ö [1] x/other.csv", "--output",
               "my out", "-q", "--row-number", "n")  # fmt: skip
    assert done.code == 0
    assert "predictions_1.csv (302 rows)" in done.out
    assert "errors_1.csv (1 row)" in done.out
    assert "age: not a number" in done.out
    folder = folder_of(done.out)
    assert folder.parent == tmp_path / "my out"
    table = rows_of(folder / "predictions_1.csv")
    assert table[0][-2:] == ["churn_no_score", "churn_yes_score"]
    assert len(table) == 303


def test_retry_scores_the_rows_that_were_mended(run, tmp_path):
    (tmp_path / "in.csv").write_text("age,job,income\n50,cook,1\nn/a,cook,1\n")
    first = run("predict", "churn", "in.csv", "-o", "out", "-q")
    errors = folder_of(first.out) / "errors_1.csv"
    errors.write_text(errors.read_text().replace("n/a", "33", 1))
    again = run("jobs", "retry", newest(run)["name"].rsplit("/", 1)[-1], "-q")
    assert again.code == 0
    assert rows_of(folder_of(again.out) / "predictions_1.csv")[1][0] == "33"


def test_explanations_and_exact_names_work_together(run, home):
    done = run("predict", "churn", home / "customers.csv", "-o", "out", "--format", "parquet",
               "--explain", "--merge", "scores.parquet", "--json")  # fmt: skip
    assert done.code == 0
    directory = Path(json.loads(done.out)["outputInfo"]["gcsOutputDirectory"])
    assert (directory / "scores.parquet").stat().st_size > 10_000


def test_check_creates_no_job(run, home):
    before = len(json.loads(run("jobs", "list", "--json").out))
    done = run("predict", "churn", home / "customers.csv", "-o", "out", "--check")
    assert done.code == 0
    assert "about 300 rows" in done.out
    assert len(json.loads(run("jobs", "list", "--json").out)) == before


def test_a_key_stands_in_for_the_input(run, home):
    done = run("predict", "churn", home / "customers.csv", "-o", "out", "--key", "churn", "-q")
    assert rows_of(folder_of(done.out) / "predictions_1.csv")[0][0] == "key"


def test_a_failed_job_is_an_error(run, tmp_path):
    (tmp_path / "in.csv").write_text("age,job\n50,cook\n")
    done = run("predict", "churn", "in.csv", "-o", "out", "-q")
    assert done.code == 1
    assert "lacks 'income'" in done.err
    assert "Traceback" not in done.err


def test_ctrl_c_cancels_the_job(run, start, big):
    process = start("predict", "churn", big, "-o", "out", "-q", ROWCAST_PART_BYTES="500000")
    wait_until(lambda: newest(run)["displayName"] == "churn big.csv" and "startTime" in newest(run))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "CANCELLED" in out
    assert "Traceback" not in err
    assert newest(run)["state"] == "JOB_STATE_CANCELLED"


def test_a_killed_predict_is_resumed(run, start, big):
    earlier = newest(run)["name"]
    process = start("predict", "churn", big, "-o", "out", "-q", ROWCAST_PART_BYTES="500000")
    wait_until(lambda: newest(run)["name"] != earlier and "startTime" in newest(run))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    job = newest(run)["name"].rsplit("/", 1)[-1]
    assert job in run("jobs", "list").out
    done = run("jobs", "resume", job, "-q")
    assert done.code == 0
    assert "800,000" in done.out
    assert "has ended" in run("jobs", "resume", job).err


def test_a_killed_predict_can_be_cancelled(run, start, big):
    earlier = newest(run)["name"]
    process = start("predict", "churn", big, "-o", "out", "-q", ROWCAST_PART_BYTES="500000")
    wait_until(lambda: newest(run)["name"] != earlier and "startTime" in newest(run))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    job = newest(run)["name"].rsplit("/", 1)[-1]
    assert "CANCELLED" in run("jobs", "cancel", job).out


def test_report_writes_one_page(run, tmp_path):
    outcome = run("report", "churn")
    assert outcome.code == 0
    assert outcome.out.strip() == "churn-1-report.html"
    assert (tmp_path / "churn-1-report.html").read_text().startswith("<!doctype html>")
    assert run("report", "churn@1", "-o", "other.html").code == 0
    assert (tmp_path / "other.html").read_bytes() == (tmp_path / "churn-1-report.html").read_bytes()


def test_report_names_what_is_wrong(run, tmp_path):
    assert "no model 'nothing'" in run("report", "nothing").err
    assert "is a folder" in run("report", "churn", "-o", tmp_path).err
    assert "no/file.html" in run("report", "churn", "-o", "no/file.html").err


def test_an_input_unlike_the_training_data_is_told_at_the_end_in_at_most_five_lines(run, tmp_path):
    file = tmp_path / "moved.csv"
    row = "age,job,income\n" + "200,pilot,\n" * 150
    file.write_text(row)
    end = run("predict", "churn", file, "-o", tmp_path / "out")
    assert end.code == 0
    lines = [line for line in end.out.splitlines() if line.startswith("drift: ")]
    assert 2 <= len(lines) <= 6
    assert any("'age'" in line for line in lines)
    assert "see _rowcast_drift.json" in lines[-1] or len(lines) <= 5
    job = newest(run)
    assert job["rowcast"]["drift"]["warningCount"] >= len(lines) - 1
    shown = run("jobs", "show", job["name"].rsplit("/", 1)[-1])
    assert [line for line in shown.out.splitlines() if line.startswith("drift: ")] == lines
    checked = run("predict", "churn", file, "-o", tmp_path / "out", "--check")
    assert "drift: " in checked.out


def test_drift_can_be_turned_off(run, tmp_path, monkeypatch):
    file = tmp_path / "moved.csv"
    file.write_text("age,job,income\n" + "200,pilot,1\n" * 150)
    monkeypatch.setenv("ROWCAST_DRIFT", "false")
    assert "drift: " not in run("predict", "churn", file, "-o", tmp_path / "out").out
    assert "drift" not in newest(run).get("rowcast", {})


def test_csv_has_attributions_of_the_rows_of_interest(run, home):
    done = run("predict", "churn", home / "customers.csv", "-o", "out", "-f", "csv", "--explain",
               "--explain-above", "0.8", "--explain-below", "0.1", "--max-explanations", "1",
               "-q")  # fmt: skip
    assert done.code == 0
    header, *rows = rows_of(folder_of(done.out) / "predictions_1.csv")
    assert header[-3:] == ["age_attribution", "job_attribution", "income_attribution"]
    for row in rows:
        told = sum(cell != "" for cell in row[-3:])
        assert told == (float(row[-4]) >= 0.8 or float(row[-4]) <= 0.1)


def test_report_of_a_job_is_one_page(run, home, tmp_path):
    run("predict", "churn", home / "customers.csv", "-o", "out", "--explain", "--job-name", "mine")
    job = newest(run)["name"]
    id_ = job.rsplit("/", 1)[-1]
    assert "What mattered most: age 0." in run("jobs", "show", id_).out
    outcome = run("report", id_)
    assert outcome.out.strip() == f"job-{id_}-report.html"
    page = (tmp_path / f"job-{id_}-report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "300 sampled rows" in page
    assert run("report", job, "-o", "other.html").code == 0
    assert (tmp_path / "other.html").read_text() == page
    wrong = run("report", "17")
    assert wrong.code == 1
    assert "no job '17' either" in wrong.err
