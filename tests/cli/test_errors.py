"""Whatever a user gets wrong is one clear message on standard error."""

import json
from types import SimpleNamespace

import pytest

import rowcast.cli.train
from rowcast.cli import show


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["predict", "nix", "{csv}", "-o", "out"], 1, "no model 'nix'. Models: churn"),
        (["predict", "churn@9", "{csv}", "-o", "out"], 1, "churn@9 does not exist"),
        (["predict", "churn", "nix.csv", "-o", "out"], 1, "There is no file nix.csv"),
        (["predict", "churn", ".", "-o", "out"], 1, "is a folder; name its files"),
        (["predict", "churn", "{csv}", "-o", "{csv}"], 1, "is a file, not a folder"),
        (["predict", "churn", "{csv}", "-o", "{csv}/x"], 1, "is a file, not a folder"),
        (["predict", "churn", "{csv}", "x.parquet", "-o", "out"], 1, "inputs of one format"),
        (["predict", "churn", "{csv}", "-o", "out", "--merge", "a/b"], 1, "--merge: must be a"),
        (["predict", "churn", "{csv}", "-o", "out", "-f", "xml"], 2, "'csv', 'jsonl', 'parquet'"),
        (["predict", "churn", "{csv}", "-o", "out", "--batch-size", "0"], 2, "--batch-size"),
        (["predict", "churn", "{csv}", "-o", "out", "--max-explanations", "2"], 1, "--max-expl"),
        (["predict", "churn", "{csv}", "-o", "out", "--interval"], 1, "predict a value"),
        (["train", "nix.csv", "-t", "a", "-n", "b"], 1, "There is no file"),
        (["train", "*.nix", "-t", "a", "-n", "b"], 1, "No object matches"),
        (["train", ".", "-t", "a", "-n", "b"], 1, "is a folder"),
        (["train", "gs://nix/a.csv", "-t", "a", "-n", "b"], 1, "Bucket 'nix'"),
        (["train", "{csv}", "-t", "nix", "-n", "b"], 1, "no column 'nix' to be the target"),
        (["train", "{csv}", "-t", "churn", "-n", ""], 1, "1 to 128 printable characters"),
        (["train", "{csv}", "-t", "churn", "-n", "b", "--type", "x"], 2, "classification"),
        (["train", "{csv}", "-t", "churn", "-n", "b", "--budget", "2x"], 2, "60s, 5m or 1h"),
        (["train", "{csv}", "-t", "churn", "-n", "b", "--budget", "0s"], 2, "60s, 5m or 1h"),
        (["train", "{csv}", "-t", "churn", "-n", "b", "--column", "x"], 2, "COLUMN=numeric"),
        (["models", "show", "nix"], 1, "no model 'nix'"),
        (["models", "list", "--home", "/proc/nix"], 1, "Cannot use /proc/nix"),
        (["models", "list", "--home", "{csv}"], 1, "not a directory"),
        (["models", "list", "--server", "nix"], 1, "write http://HOST:PORT"),
        (["models", "list", "--server", "http://127.0.0.1:9"], 1, "cannot be reached"),
        (["jobs", "show", "123"], 1, "123 does not exist"),
        (["jobs", "cancel", "123"], 1, "123 does not exist"),
        (["jobs", "resume", "123"], 1, "123 does not exist"),
        (["jobs", "retry", "123"], 1, "123 does not exist"),
        (["jobs", "list", "--filter", "x=1"], 1, "not a field that can be filtered by"),
        (["jobs", "list", "--limit", "0"], 2, "--limit"),
        (["nix"], 2, "No such command"),
    ],
)
def test_a_mistake_is_explained(run, home, arguments, code, words):
    outcome = run(*(text.format(csv=home / "customers.csv") for text in arguments))
    assert (outcome.code, outcome.out) == (code, "")
    assert words in outcome.err
    if code == 1:
        assert outcome.err.startswith("Error: ")
        assert outcome.err.count("\n") == 1


def test_a_null_target_suggests_what_to_do(run, tmp_path):
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,\n")
    assert "--drop-null-target" in run("train", "a.csv", "-t", "y", "-n", "b").err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ROWCAST_PORT", "x", "setting port (ROWCAST_PORT): input should be a valid integer"),
        ("ROWCAST_LOG_LEVEL", "x", "setting log_level (ROWCAST_LOG_LEVEL)"),
        ("ROWCAST_LEASE_S", "-1", "setting lease_s (ROWCAST_LEASE_S)"),
        ("ROWCAST_CONFIG", "nix.toml", "no settings file nix.toml"),
    ],
)
def test_a_bad_variable_is_named(run, monkeypatch, name, value, words):
    monkeypatch.setenv(name, value)
    outcome = run("models", "list")
    assert outcome.code == 1
    assert words in outcome.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nix = 1", "nix: is not a setting; it is in"),
        ('port = "x"', "rowcast.toml): input should be a valid integer"),
        ("port = = 1", "rowcast.toml is not a TOML file"),
    ],
)
def test_a_bad_settings_file_is_named(run, tmp_path, text, words):
    (tmp_path / "rowcast.toml").write_text(text)
    outcome = run("models", "list", "--home", tmp_path)
    assert outcome.code == 1
    assert words in outcome.err


def test_a_list_in_a_variable_is_written_with_commas(run, monkeypatch):
    monkeypatch.setenv("ROWCAST_LOCAL_ROOTS", "/a,/b")
    assert run("models", "list").code == 0


def test_a_fault_of_rowcast_leaves_its_details_in_a_file(run, monkeypatch):
    monkeypatch.setattr("rowcast.load", lambda *_, **__: 1 / 0, raising=False)
    outcome = run("models", "show", "churn")
    assert outcome.code == 1
    assert "ZeroDivisionError" in outcome.err
    details = outcome.err.strip().split()[-1].rstrip(".") if outcome.err else ""
    assert details.startswith("/")
    with open(details if details.endswith(".txt") else details + ".txt") as file:
        assert "ZeroDivisionError" in file.read()


def test_a_description_without_metrics_says_so(run, capsys):
    facts = {
        "name": "m", "id": "m", "version": "1", "target": "t", "predictionType": "regression",
        "classes": [], "features": [{"name": "a[b]", "kind": "numeric", "nullable": True}],
        "rows": 3, "metrics": {"rSquared": None}, "dropped": {}, "warnings": ["[odd]"],
        "folder": "/f",
    }  # fmt: skip
    from rowcast.cli.models import print_model

    print_model(facts)
    text = capsys.readouterr().out
    assert "was not measured" in text
    assert "a[b]" in text
    assert "[odd]" in text
    assert "unknown" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")]
)
def test_times_are_written_the_way_people_say_them(seconds, text):
    assert show.duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "expected"), [("60s", 60), ("5m", 300), ("1h", 3600), ("1.5", 1.5), ("500ms", 0.5)]
)
def test_budgets_have_units(text, expected):
    assert rowcast.cli.train.seconds(text) == expected


def test_names_of_others_do_not_move_the_cursor(capsys):
    show.jobs_table([{"name": "a/b", "displayName": "x\x1b[2Jy", "state": "JOB_STATE_FAILED"}])
    assert "\x1b" not in capsys.readouterr().out


def test_ids_and_paths_are_never_cut(capsys):
    job = {"name": f"a/{'7' * 90}", "state": "JOB_STATE_SUCCEEDED", "displayName": "n" * 90,
           "outputInfo": {"gcsOutputDirectory": "/x" * 90}}  # fmt: skip
    show.jobs_table([job])
    show.job_summary(job)
    text = capsys.readouterr().out
    assert "7" * 90 in text
    assert "/x" * 90 in text


def test_the_progress_bar_fits_80_columns():
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
    from rich.table import Column

    column = show.Rows(table_column=Column(no_wrap=True))
    task = SimpleNamespace(
        total=1_216_530, completed=1_151_753, speed=65_402.0, time_remaining=75, elapsed=22
    )
    text = column.render(task).plain
    assert text == "1,151,753 of 1,216,530 rows, 65,402 rows/s, 1 min 15 s left"
    assert len(text) <= 66
    assert BarColumn and Progress and SpinnerColumn and TextColumn


def test_json_has_no_nan():
    from rowcast.api import _finite

    assert json.loads(json.dumps(_finite({"a": [float("nan"), 1.0]}))) == {"a": [None, 1.0]}
