"""From a table to a model."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load

from rowcast.errors import InvalidRequest, NotFound, RowcastError, UnreadableInput
from rowcast.predictors.boosted import FOREST, boosted_predictor
from rowcast.scoring.forest import forest_of
from rowcast.storage.model_folder import read_spec, write_model
from rowcast.training import train
from rowcast.training.data import read_table
from rowcast.training.evaluate import classification_metrics, regression_metrics, roc_area
from tests.tables import TARGETS, batch_of, shop, shop_model, training_columns

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
QUICK = {"name": "m", "trials": 1}


def tiny(rows=120, **columns):
    rng = np.random.default_rng(0)
    x, noise = rng.normal(size=(2, rows))
    made = {"x": [repr(float(v)) for v in x], "y": np.where(x > noise, "yes", "no").tolist()}
    return pa.table({**made, **columns})


# --- what comes out ---


@pytest.mark.parametrize("kind", list(TARGETS))
def test_a_model_learns_what_there_is_to_learn(kind):
    metrics = shop_model(kind).spec.training["metrics"]
    if kind == "regression":
        assert metrics["rootMeanSquaredError"] < 18  # what cannot be known has a deviation of 12
        assert 0.93 <= shop_model(kind).spec.training["interval"]["heldOutCoverage"] <= 0.98
    else:
        assert metrics["auRoc"] > 0.85


def test_columns_are_judged_by_their_content():
    facts = shop_model("binary").spec.training
    assert facts["kinds"] == {
        "age": "numeric",
        "income": "numeric",
        "job": "categorical",
        "joined": "timestamp",
        "remark": "text",
    }
    assert facts["dropped"] == {"empty": "every value is null"}
    assert (facts["rows"], facts["split"]) == (
        1500,
        {"training": 1200, "validation": 150, "test": 150},
    )


def test_baselines_are_medians_and_modes():
    table = shop()
    features = {f.name: f for f in shop_model("binary").spec.schema.features}
    ages = [float(v) for v in table["age"].to_pylist() if v]
    assert features["age"].baseline == np.median(ages)
    assert features["job"].baseline == "clerk"
    assert isinstance(features["joined"].baseline, float)
    assert np.datetime64(int(features["joined"].baseline), "us") > np.datetime64("2015-01-01")
    assert [features[n].nullable for n in ("age", "income", "job", "joined")] == [
        True,
        False,
        True,
        False,
    ]


def test_a_tied_mode_is_the_smallest_text():
    made = train(tiny(c=["b", "a"] * 60), target="y", **QUICK)
    assert made.spec.schema.features[1].baseline == "a"


def test_the_same_data_and_seed_give_the_same_files(tmp_path):
    table = tiny()
    models = [train(table, target="y", name="m", trials=11) for _ in range(2)]
    digests = {write_model(tmp_path / str(i), m.spec, m.members) for i, m in enumerate(models)}
    assert len(digests) == 1
    other = train(table, target="y", name="m", trials=1, seed=1)
    assert other.members != models[0].members


def test_a_model_survives_its_folder(tmp_path):
    model = shop_model("multiclass")
    digest = write_model(tmp_path / "m", model.spec, model.members)
    read = read_spec(tmp_path / "m", digest)
    assert (read.schema, read.encoder, read.training) == (
        model.spec.schema,
        model.spec.encoder,
        json.loads(json.dumps(model.spec.training)),
    )


def test_trees_are_small_enough_for_the_scorer():
    forest = forest_of(load(shop_model("regression").members[FOREST]))
    assert forest.n_trees > 10
    assert forest.most_leaves <= 256


def test_progress_is_told_in_order():
    told = []
    train(tiny(), target="y", progress=lambda *what: told.append(what), **QUICK)
    fractions = [fraction for _, fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (told[0][0], told[-1][:2]) == ("read", ("done", 1.0))


def test_progress_may_call_the_training_off():
    def stop(stage, *_):
        if stage == "search":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny(), target="y", progress=stop, **QUICK)


def test_a_short_budget_ends_the_search_early():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30_000, 30))
    columns = {f"x{i}": x[:, i] for i in range(30)} | {
        "y": (x[:, :20] ** 2).sum(axis=1) + rng.normal(size=30_000)
    }
    model = train(pa.table(columns), target="y", name="m", budget_s=5)
    assert model.report["cut_short"] or len(model.spec.training["candidates"]) < 7


def test_few_rows_are_warned_of():
    assert "only 120 rows" in train(tiny(), target="y", **QUICK).spec.training["warnings"][0]


# --- what goes in ---


def same_model(one, two):
    return one.spec.schema.target == two.spec.schema.target and one.members == two.members


def test_every_source_of_the_same_cells_gives_the_same_model(tmp_path):
    table = tiny(c=["red", 'blue, or "green"', "line\nbreak"] * 40)
    frame = table.to_pandas()
    frame.to_csv(tmp_path / "t.csv", index=False)
    with gzip.open(tmp_path / "t.csv.gz", "wt", newline="") as file:
        frame.to_csv(file, index=False)
    with pa.CompressedOutputStream(str(tmp_path / "t.csv.zst"), "zstd") as file:
        file.write((tmp_path / "t.csv").read_bytes())
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    pq.write_table(table, tmp_path / "t.parquet")
    halves = []
    for i, part in enumerate((frame[:60], frame[60:])):
        halves.append(tmp_path / f"half{i}.csv")
        part.to_csv(halves[-1], index=False)
    expected = train(table, target="y", **QUICK)
    names = ["t.csv", "t.csv.gz", "t.csv.zst", "t.jsonl", "t.parquet"]
    for source in [
        *(tmp_path / name for name in names),
        halves,
        str(tmp_path / "t.csv"),
        frame,
        pl.from_arrow(table),
    ]:
        assert same_model(train(source, target="y", **QUICK), expected)


def test_typed_columns_and_text_columns_give_the_same_model():
    text = training_columns("binary", shop(300))
    frame = text.to_pandas()
    typed = frame.assign(
        age=pd.to_numeric(frame["age"]),
        income=pd.to_numeric(frame["income"]),
        joined=pd.to_datetime(frame["joined"]),
        empty=None,
    )
    assert same_model(train(typed, target="churn", **QUICK), train(text, target="churn", **QUICK))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"x,y\n1,2\n1,2,3\n", "line 3: the header has 2 columns, but this record has 3"),
        ("a.csv", b'x,y\n"a\nb",2\n1\n', "line 4: the header has 2 columns, but this record has 1"),
        ("a.csv", b"x,y\n1,\xff\n", "UTF-8"),
        ("a.csv", b"", "is empty"),
        ("a.csv.gz", b"x,y\n1,2\n", "not a gzip|Not a gzip"),
        ("a.csv", b"x,x\n1,2\n", "'x' occurs more than once"),
        ("a.jsonl", b'{"x": 1}\n{"x": \n', "line 2: not a JSON object"),
        ("a.jsonl", b"[1]\n", "line 1: not a JSON object"),
        ("a.jsonl", b"\n", "no records"),
        ("a.parquet", b"PAR1", "not a Parquet file"),
        ("a.xls", b"", "must end in"),
    ],
)
def test_an_unreadable_file_is_named_with_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableInput, match=message):
        read_table(tmp_path / name)


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(NotFound):
        read_table(tmp_path / "nothing.csv")
    with pytest.raises(InvalidRequest, match="PyCapsule"):
        read_table(5)
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(UnreadableInput, match="same columns"):
        read_table([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_json_numbers_keep_their_text(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        '{"x": 1.50, "y": "\\u00e9", "z": true}\n{"w": [1, 2], "x": null}\n'
    )
    assert read_table(tmp_path / "a.jsonl").to_pylist() == [
        {"x": "1.50", "y": "é", "z": "true", "w": None},
        {"x": None, "y": None, "z": None, "w": "[1, 2]"},
    ]


# --- targets, weights, transformations ---


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([str(i) for i in range(120)], "regression"),
        (["1", "2", "3"] * 40, "classification"),
        (["1", "2.5", "3"] * 40, "regression"),
        (["a", "1", "2"] * 40, "classification"),
        ([True, False] * 60, "classification"),
        ([0.0, 1.0] * 60, "classification"),
    ],
)
def test_the_problem_follows_from_the_target(values, expected):
    made = train(tiny(t=values), target="t", **QUICK)
    assert made.spec.training["predictionType"] == expected
    assert made.spec.training["predictionTypeReason"]


def test_a_null_target_is_refused_with_its_row_or_left_out():
    table = tiny(t=["a", "b", ""] * 40)
    with pytest.raises(InvalidRequest, match=r"'t': the target of row 3 is null, as are 39 others"):
        train(table, target="t", **QUICK)
    made = train(table, target="t", drop_null_target=True, **QUICK)
    assert made.spec.training["rowsLeftOut"] == {"no target": 40}
    assert made.spec.schema.target.classes == ("a", "b")


def test_a_target_that_is_no_number_is_refused_with_its_row():
    with pytest.raises(InvalidRequest, match=r"cannot read 'n/a' of row 2 as a number"):
        train(tiny(t=["1", "n/a"] * 60), target="t", prediction_type="regression", **QUICK)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "nix"}, "no column 'nix' to be the target"),
        ({"target": "y", "weight": "nix"}, "no column 'nix' to be the weight"),
        ({"target": "y", "weight": "x"}, "the weight of row"),
        ({"target": "y", "weight": "y"}, "cannot be the target"),
        ({"target": "y", "prediction_type": "forecast"}, "'forecast'"),
        ({"target": "y", "budget_s": 0}, "budget_s"),
        ({"target": "one"}, "1 classes"),
        ({"target": "y", "transformations": {"x": "number"}}, "must be one of auto, numeric"),
        ({"target": "y", "transformations": {"nix": "auto"}}, "no such column"),
        ({"target": "y", "transformations": {"y": "auto"}}, "no feature"),
        (
            {"target": "y", "transformations": {"x": {"kind": "timestamp", "time_format": "%"}}},
            "time format",
        ),
        ({"target": "y", "transformations": {"x": {"kind": "numeric", "colour": 1}}}, "colour"),
        ({"target": "y", "transformations": {"one": "timestamp"}}, "0 rows are left"),
    ],
)
def test_a_bad_request_says_what_is_wrong(options, message):
    with pytest.raises(InvalidRequest, match=message):
        train(tiny(one=["a"] * 120), **{**QUICK, **options})


def test_many_classes_are_refused():
    with pytest.raises(InvalidRequest, match="600 classes"):
        train(tiny(600, t=[f"c{i}" for i in range(600)]), target="t", **QUICK)


def test_only_columns_with_a_transformation_are_used():
    made = train(tiny(z=["1", "2"] * 60), target="y", transformations={"x": "categorical"}, **QUICK)
    assert [(f.name, f.kind) for f in made.spec.schema.features] == [("x", "categorical")]
    assert made.spec.training["dropped"] == {"z": "no transformation was given for it"}


def test_rows_that_scoring_would_refuse_are_left_out_of_training():
    values = [str(i * 7 % 50) for i in range(118)] + ["n/a", "?"]
    strict = train(tiny(n=values), target="y", **QUICK)
    assert strict.spec.training["rowsLeftOut"] == {"a value that cannot be read": 2}
    assert "first 'n/a' in row 119" in strict.spec.training["warnings"][0]
    lenient = {"x": "auto", "n": {"kind": "numeric", "invalid_values_allowed": True}}
    made = train(tiny(n=values), target="y", transformations=lenient, **QUICK)
    assert made.spec.training["rows"] == 120
    assert made.spec.schema.features[1].nullable


def test_useless_columns_are_dropped_with_a_reason():
    made = train(
        tiny(
            number=list(range(120)),
            key=[f"id-{i * 7919 % 1000}" for i in range(120)],
            same=["k"] * 120,
            void=["nan", ""] * 60,
            nested=[[1]] * 120,
        ),
        target="y",
        **QUICK,
    )
    assert made.spec.schema.feature_names == ("x",)
    assert set(made.spec.training["dropped"]) == {"number", "key", "same", "void", "nested"}


def test_an_all_null_column_asked_for_is_dropped_too():
    made = train(
        tiny(void=[None] * 120),
        target="y",
        transformations={"x": "auto", "void": "numeric"},
        **QUICK,
    )
    assert "void" in made.spec.training["dropped"]


def test_rows_without_weight_do_not_count():
    table = tiny(w=["0"] * 60 + ["2.5"] * 60)
    made = train(table, target="y", weight="w", **QUICK)
    assert (made.spec.training["rows"], made.spec.training["rowsLeftOut"]) == (60, {"weight 0": 60})
    assert made.spec.schema.feature_names == ("x",)


def test_rare_categories_are_unknown_to_the_model():
    table = tiny(c=["a"] * 60 + ["b"] * 56 + ["c"] * 4)
    model = train(table, target="y", **QUICK)
    predictor = boosted_predictor(model.spec, model.members)
    rows = tiny(4, c=["c", "never seen", "b", None])
    matrix = predictor.encode(batch_of(rows)).matrix
    where = dict(predictor.groups())["c"]
    assert matrix[0, where].tobytes() == matrix[1, where].tobytes()
    assert matrix[2, where].tobytes() != matrix[1, where].tobytes()


def test_a_time_format_is_kept_for_scoring():
    days = [f"{i % 28 + 1}.{i % 12 + 1}.20{i % 20 + 10}" for i in range(120)]
    wanted = {"d": {"kind": "timestamp", "time_format": "%d.%m.%Y"}}
    model = train(tiny(d=days), target="y", transformations=wanted, **QUICK)
    predictor = boosted_predictor(model.spec, model.members)
    encoded = predictor.encode(batch_of(pa.table({"d": ["31.12.2020", "2020-12-31"]})))
    assert encoded.matrix[0, 1:4].tolist() == [2020, 12, 31]
    assert len(encoded.errors) == 1


# --- metrics ---


def test_the_contracts_example_of_micro_averaging():
    confusion = np.array([[3817, 140], [266, 244]])
    labels = np.repeat([0, 0, 1, 1], confusion.ravel())
    predicted = np.repeat([0, 1, 0, 1], confusion.ravel())
    scores = np.where(predicted[:, None] == [0, 1], 0.8, 0.2)
    metrics = classification_metrics(scores, labels, ["no", "yes"])
    assert metrics["confusionMatrix"]["rows"] == confusion.tolist()
    first = metrics["confidenceMetrics"][0]
    assert "confidenceThreshold" not in first
    assert round(first["recallAt1"], 6) == 0.909111
    assert round(first["falsePositiveRateAt1"], 6) == 0.090889
    for entry in metrics["confidenceMetrics"]:
        counts = [
            int(entry[f"{name}Count"])
            for name in ("truePositive", "falseNegative", "falsePositive", "trueNegative")
        ]
        assert (counts[0] + counts[1], counts[2] + counts[3]) == (4467, 4467)


def test_areas_agree_with_counting_pairs():
    rng = np.random.default_rng(0)
    scores, truth = rng.integers(0, 8, 60) / 8, rng.random(60) < 0.4
    pairs = [(a > b) + (a == b) / 2 for a in scores[truth] for b in scores[~truth]]
    assert roc_area(scores, truth) == pytest.approx(np.mean(pairs))


def test_undefined_regression_metrics_are_left_out():
    assert set(regression_metrics(np.array([1.0, 1.0]), np.array([0.0, 2.0]))) == {
        "rootMeanSquaredError",
        "meanAbsoluteError",
        "rootMeanSquaredLogError",
    }


# --- real data ---


def holdout(name, target):
    path = DATA / f"{name}.csv.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    table = read_table(path)
    test = np.random.default_rng(0).random(table.num_rows) < 0.2
    model = train(table.filter(pa.array(~test)), target=target, name=name, trials=1)
    predictor = boosted_predictor(model.spec, model.members)
    rows = table.filter(pa.array(test))
    return (
        predictor,
        predictor.score(predictor.encode(batch_of(rows)).matrix),
        rows[target].to_pylist(),
    )


@pytest.mark.timeout(600)
def test_adult_is_learnt_as_well_as_by_others():
    predictor, answer, truth = holdout("adult", "income")
    labels = np.array([predictor.spec.schema.target.classes.index(label) for label in truth])
    assert roc_area(answer.scores[:, 1], labels == 1) > 0.928


@pytest.mark.timeout(600)
def test_california_is_learnt_as_well_as_by_others():
    _, answer, truth = holdout("california", "median_house_value")
    truth = np.array([float(value) for value in truth])
    assert np.sqrt(np.mean((answer.value - truth) ** 2)) < 50_000
    assert 0.93 < ((answer.lower <= truth) & (truth <= answer.upper)).mean() < 0.98


def test_importing_the_trainer_is_light():
    heavy = "{'lightgbm', 'pandas', 'numba', 'pyarrow'}"
    code = f"import sys, rowcast.training; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_errors_are_rowcasts_own():
    with pytest.raises(RowcastError):
        train(pa.table({"x": ["1"], "y": ["2"]}), target="y", **QUICK)
