"""A pipeline's inputs in the terms of training."""

from dataclasses import replace

import pytest

from rowcast.core.pipeline import (
    ColumnRule,
    PipelineSpec,
    SplitSpec,
    TrainingExtension,
    TrainingTask,
)
from rowcast.errors import NotFound, PermissionDenied
from rowcast.pipelines.task import cost_milli_node_hours, training_files, training_request
from rowcast.training.request import Request, SplitRule

from .conftest import PARENT

PLAIN = TrainingTask("classification", "y", budget_milli_node_hours=2000)


def request(task=PLAIN, split=None, node_hour_s=3600.0):
    spec = PipelineSpec("p", "1", "x/automl_tabular_1.0.0.yaml", task, split)
    return training_request(spec, "m", node_hour_s)


def test_what_is_not_given_is_left_to_training():
    asked = Request(target="y", name="m", budget_s=7200.0, prediction_type="classification")
    assert request() == asked


def test_a_budget_is_node_hours_or_seconds():
    assert request(node_hour_s=10.0).budget_s == 20.0
    own = replace(PLAIN, budget_milli_node_hours=0, extension=TrainingExtension(budget_s=5.0))
    assert request(own).budget_s == 5.0
    trials = replace(PLAIN, budget_milli_node_hours=0, extension=TrainingExtension(trials=3))
    assert request(trials).trials == 3


def test_costs_are_never_above_the_budget():
    assert cost_milli_node_hours(PLAIN, 1800.0, 3600.0) == 500
    assert cost_milli_node_hours(PLAIN, 7300.0, 3600.0) == 2000
    assert cost_milli_node_hours(PLAIN, 0.001, 3600.0) == 1
    trials = replace(PLAIN, extension=TrainingExtension(trials=3))
    assert cost_milli_node_hours(trials, 7300.0, 3600.0) == 2028


@pytest.mark.parametrize(
    ("objective", "recall", "precision"),
    [("maximize-precision-at-recall", 0.0, None), ("maximize-recall-at-precision", None, 0.9)],
)
def test_an_objective_takes_its_value(objective, recall, precision):
    task = replace(PLAIN, objective=objective, recall_value=recall, precision_value=precision)
    asked = request(task)
    assert (asked.objective, asked.objective_value) == (objective, recall if precision is None
                                                       else precision)  # fmt: skip


@pytest.mark.parametrize(
    ("split", "rule"),
    [
        (None, SplitRule()),
        (SplitSpec("fraction", "", 0.7, 0.1, 0.2), SplitRule("fraction", None, 0.7, 0.1, 0.2)),
        (SplitSpec("predefined", "set"), SplitRule("predefined", "set")),
        (SplitSpec("timestamp", "t", 0.5), SplitRule("timestamp", "t", 0.5)),
        (SplitSpec("stratified", "y", test=0.3), SplitRule("stratified", "y", test=0.3)),
    ],
)
def test_a_split_is_passed_on(split, rule):
    assert request(split=split).split == rule


def test_columns_weights_and_stopping_are_passed_on():
    rules = (
        ColumnRule("auto", "a"),
        ColumnRule("repeatedNumeric", "b", invalid_values_allowed=True),
        ColumnRule("timestamp", "c", time_format="unix-seconds"),
    )
    asked = request(replace(PLAIN, transformations=rules, weight="w", disable_early_stopping=True))
    assert asked.transformations == {
        "a": {"kind": "auto", "invalid_values_allowed": False, "time_format": None},
        "b": {"kind": "repeatedNumeric", "invalid_values_allowed": True, "time_format": None},
        "c": {"kind": "timestamp", "invalid_values_allowed": False, "time_format": "unix-seconds"},
    }
    assert asked.weight == "w"
    assert asked.early_stopping is False


def test_each_file_of_a_dataset_is_read_once_and_only_what_is_in_the_bucket(lab, tmp_path):
    bucket = lab.folder / "buckets" / "data"
    (bucket / "more.csv").write_text("a\n1\n")
    found = training_files(
        lab.datasets.get(PARENT, lab.dataset("gs://data/more.csv", "gs://data/*.csv")),
        lab.objects,
        lab.folder,
    )
    assert found == (str(bucket / "more.csv"), str(bucket / "customers.csv"))
    outside = tmp_path.parent / "outside.csv"
    outside.write_text("a\n1\n")
    (bucket / "link.csv").symlink_to(outside)
    for uri in ("gs://data/link.csv", "gs://data/*.csv"):
        with pytest.raises((PermissionDenied, NotFound)):
            training_files(lab.datasets.get(PARENT, lab.dataset(uri)), lab.objects, lab.folder)


def test_every_kind_of_input_trains(lab):
    """Of each kind of split and of columns, once through a training process."""
    bucket = lab.folder / "buckets" / "data"
    lines = ["y,a,when,set,w,tags"] + [
        f"{n % 2},{n % 7 + 3 * (n % 2)},{1_700_000_000 + 3600 * n},"
        f'{("TRAIN", "TRAIN", "VALIDATE", "TEST")[n % 4]},1,"[""x"", ""z{n % 3}""]"'
        for n in range(240)
    ]
    (bucket / "all.csv").write_text("\n".join(lines) + "\n")
    task = TrainingTask(
        "classification",
        "y",
        (
            ColumnRule("numeric", "a", invalid_values_allowed=True),
            ColumnRule("timestamp", "when", time_format="unix-seconds"),
            ColumnRule("repeatedCategorical", "tags"),
        ),
        objective="maximize-au-prc",
        weight="w",
        extension=TrainingExtension(trials=1),
    )
    splits = [SplitSpec("predefined", "set"), SplitSpec("timestamp", "when", 0.7, 0.1, 0.2)]
    for split in [*splits, SplitSpec("stratified", "y")]:
        pipeline = lab.create("all", uri="gs://data/all.csv", task=task, split=split)
        ended = lab.run(pipeline)
        assert ended.error is None
        assert ended.made is not None
