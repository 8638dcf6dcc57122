"""What the benchmarks compute from their runs. The runs themselves are not made here."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pytest
from bench.automl.runs import Run, fill_in, read_runs
from bench.automl.tables import grid_of, loss_table, ranks, summary_table
from bench.children import ChildFailed, run_child, two_cores
from bench.datasets import load_set, log_loss, root_mean_squared_error
from bench.interval_methods import winkler, worst_decile


def run(system, name, loss, **facts):
    costs = {"train_s": 10.0, "pred_s_100k": 1.0, "size_mb": 2.0}
    return Run(system, name, 60.0, {"logloss": loss, **costs, **facts})


RUNS = [
    run("rowcast", "a", 0.2, pred_s_100k=0.1),
    run("peer", "a", 0.22),
    run("rowcast", "b", 0.5, pred_s_100k=0.1),
    run("peer", "b", 0.4),
]


@pytest.fixture
def data(tmp_path):
    rows = [
        "x,when,label",
        *(f"{i},2026-01-{1 + i % 28:02d},{'NA' if i % 3 else ''}" for i in range(300)),
    ]
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    entry = {"file": "t.csv.gz", "target": "label", "type": "binary"}
    (tmp_path / "manifest.json").write_text(json.dumps({"t": entry}))
    return tmp_path


def test_rows_without_a_target_are_dropped_before_the_split(data):
    table = load_set(data, "t")
    kept = [i for i in range(300) if i % 3]
    tested = np.random.default_rng(0).random(200) < 0.2
    assert table.test["x"].tolist() == [i for i, t in zip(kept, tested, strict=True) if t]
    assert table.train["x"].tolist() == [i for i, t in zip(kept, tested, strict=True) if not t]


def test_only_empty_cells_are_null_and_dates_are_dates(data):
    table = load_set(data, "t")
    assert table.classes == ["NA"]
    assert table.train["when"].dtype.kind == "M"
    assert set(table.truth) == {0}


def test_test_rows_are_repeated_in_order(data):
    table = load_set(data, "t")
    rows = table.rows(1000)
    assert rows["x"].tolist() == [table.test["x"][i % len(table.test)] for i in range(1000)]
    assert list(rows.columns) == ["x", "when"]


def test_losses_are_the_textbooks():
    scores = np.array([[0.5, 0.5], [0.2, 0.8], [0.0, 1.0]])
    assert log_loss(scores, np.array([0, 1, 1])) == pytest.approx(-math.log(0.5 * 0.8) / 3)
    assert log_loss(2 * scores[:2], np.array([0, 1])) == pytest.approx(-math.log(0.4) / 2)
    assert root_mean_squared_error(np.array([1.0, 5.0]), np.array([1.0, 2.0])) == math.sqrt(4.5)


def test_equal_losses_share_a_rank_and_failures_come_last():
    row = {"a": run("a", "s", 0.3), "b": run("b", "s", 0.1), "c": run("c", "s", 0.3)}
    row["d"] = Run("d", "s", 60.0, {"failed": "no memory"})
    assert ranks(row) == {"a": 2.5, "b": 1, "c": 2.5, "d": 4}


def test_the_summary_is_over_all_sets():
    rowcast, peer = summary_table(grid_of(RUNS), ["rowcast", "peer"])[2:]
    assert rowcast.split(" | ")[:6] == ["| rowcast", "2", "1.50", "1.1180", "1.250", "1"]
    assert peer.split(" | ")[:6] == ["| peer", "2", "1.50", "1.0488", "1.100", "1"]
    assert peer.split(" | ")[9] == "10.00"


def test_a_failed_system_stays_in_the_tables():
    grid = grid_of([*RUNS[:3], Run("peer", "b", 60.0, {"failed": "x"})])
    assert "| failed |" in loss_table(grid, ["rowcast", "peer"])[3]
    peer = summary_table(grid, ["rowcast", "peer"])[3].split(" | ")
    assert (peer[1], peer[6]) == ("1", "1")


def test_recorded_losses_stand_in_only_where_nothing_was_measured(tmp_path):
    path = tmp_path / "recorded.jsonl"
    path.write_text(
        '{"system": "ag_mq", "name": "a", "budget": 40.0, "logloss": 0.1, "train_s": 1, '
        '"pred_s_100k": 9, "size_mb": 1}\n'
        '{"system": "ag_mq", "name": "other", "budget": 40.0, "logloss": 0.1}\n'
    )
    recorded = read_runs(path, recorded=True)
    failed = Run("autogluon_mq", "a", 60.0, {"failed": "x"})
    filled = fill_in([*RUNS, failed], recorded, ["rowcast", "peer", "autogluon_mq"])
    assert {(r.system, r.name, r.recorded) for r in filled if r.system == "autogluon_mq"} == {
        ("autogluon_mq", "a", True)
    }
    measured = run("autogluon_mq", "a", 0.3)
    assert measured in fill_in([*RUNS, measured], recorded, ["autogluon_mq"])
    line = summary_table(grid_of(filled), ["autogluon_mq"])[2]
    assert line.split(" | ")[7:] == ["", "", "", "", " |"]


def test_a_results_file_gives_back_its_last_runs(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text("".join(r.line() for r in [*RUNS, run("peer", "a", 0.1)]))
    assert {r.key: r.loss for r in read_runs(path)}["peer", "a", 60.0] == 0.1
    assert len(read_runs(path)) == 4


def test_intervals_are_scored_by_width_and_by_what_they_miss():
    lower, upper = np.zeros(4), np.ones(4)
    truth = np.array([0.5, 1.0, 1.5, -0.25])
    assert winkler(truth, lower, upper) == pytest.approx(1 + 40 * 0.75 / 4)
    covered = np.arange(100) >= 3
    assert worst_decile(covered, np.arange(100.0)) == 0.7
    assert worst_decile(covered[::-1], np.arange(100.0)) == 0.7


def test_a_childs_failure_is_told_with_its_last_words(tmp_path):
    with pytest.raises(ChildFailed, match=r"exit code 1: .*no_such_module"):
        run_child(
            "no_such_module",
            {},
            cores=[int(two_cores().split(",")[0])],
            timeout_s=60,
            log=tmp_path / "log",
        )
