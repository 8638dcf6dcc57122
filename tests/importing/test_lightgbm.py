"""LightGBM's files become models that answer what LightGBM answers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rowcast.errors import InvalidRequest
from rowcast.training.families.lightgbm import import_lightgbm
from tests.importing.makers import (
    FEATURES,
    as_columns,
    batch_of,
    booster,
    imported,
    matrix,
    numbers,
    predictor_of,
    write_csv,
    write_json,
)

OBJECTIVES = {
    "binary": "churn",
    "multiclass": "plan",
    "regression": "price",
    "regression_l1": "price",
    "huber": "price",
    "quantile": "price",
    "rmse_of_root": "price",
    "poisson": "visits",
    "tweedie": "visits",
    "gamma": "visits",
}


def saved(tmp_path, objective, **settings):
    path = tmp_path / "model.txt"
    booster(objective, **settings).save_model(path)
    return path


def answers(objective, **settings):
    found = booster(objective, **settings).predict(matrix(numbers()))
    return np.stack([1 - found, found], axis=1) if objective == "binary" else found


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_answers_are_lightgbms(tmp_path, objective):
    model = imported(saved(tmp_path, objective), OBJECTIVES[objective])
    predictor = predictor_of(model)
    scored = predictor.score(predictor.encode(batch_of(numbers())).matrix)
    found = scored.value if scored.scores is None else scored.scores
    wanted = answers(objective)
    assert np.abs(found - wanted).max() <= 1e-12 * max(1, np.abs(wanted).max())
    assert model.report["checks"][0]["against"] == "lightgbm's own predictions"
    assert model.report["checks"][0]["rows"] == 1000


def test_a_steeper_sigmoid_is_kept(tmp_path):
    model = imported(saved(tmp_path, "binary", sigmoid=2.5), "churn")
    predictor = predictor_of(model)
    scores = predictor.score(matrix(numbers())).scores
    assert np.abs(scores - answers("binary", sigmoid=2.5)).max() < 1e-12


@pytest.mark.parametrize("objective", ["multiclassova", "lambdarank", "cross_entropy"])
def test_other_objectives_are_refused_by_name(tmp_path, objective):
    path = saved(tmp_path, "binary")
    text = path.read_text()
    assert "objective=binary sigmoid:1\n" in text
    path.write_text(text.replace("objective=binary sigmoid:1\n", f"objective={objective}\n"))
    with pytest.raises(InvalidRequest, match=f"objective is '{objective}'"):
        imported(path, "churn")


def test_native_categories_are_matched_by_their_texts(tmp_path):
    lightgbm = import_lightgbm()
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": rng.normal(size=500),
            "job": pd.Categorical(rng.choice(["x", "y", "z"], 500)),
            "zip": pd.Categorical(rng.choice([10, 20, 30, 40], 500)),
        }
    )
    price = rows["age"] + 2.0 * (rows["job"] == "y") + (rows["zip"] == 30)
    settings = {"verbose": -1, "min_data_per_group": 1, "cat_smooth": 1, "num_threads": 1}
    for more in ({}, {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}):
        booster = lightgbm.train({**settings, **more}, lightgbm.Dataset(rows, price), 8)
        booster.save_model(tmp_path / "m.txt")
        table = pa.Table.from_pandas(rows.astype({"job": str, "zip": int}))
        answers = {"predicted_price": booster.predict(rows)}
        example = write_csv(tmp_path / "rows.csv", table, **answers)
        model = imported(tmp_path / "m.txt", "price", example=example)
        kinds = [feature.kind for feature in model.spec.schema.features]
        assert kinds == ["numeric", "categorical", "categorical"]
        assert max(check["maxDifference"] for check in model.report["checks"]) < 1e-12
        assert len(model.report["checks"]) == 2
        assert imported(tmp_path / "m.txt", "price").report["checks"][0]["rows"] == 1000
        schema = write_json(
            tmp_path / "s.json",
            {"features": [{"name": "age"}, {"name": "job", "categories": ["z"]}, {"name": "zip"}]},
        )
        with pytest.raises(InvalidRequest, match="the file's categories are 'x', 'y', 'z'"):
            imported(tmp_path / "m.txt", "price", schema=schema)


def test_classes_and_categories_are_named_by_a_schema(tmp_path):
    schema = write_json(
        tmp_path / "schema.json",
        {
            "target": "churn",
            "classes": ["stays", "goes"],
            "features": [
                {"name": "age"},
                {"name": "income", "kind": "categorical", "categories": {"low": 9e3, "high": 5e4}},
                {"name": "score", "nullable": False},
            ],
        },
    )
    model = imported(saved(tmp_path, "binary"), None, schema=schema)
    assert model.spec.schema.target.classes == ("goes", "stays")
    predictor = predictor_of(model)
    table = numbers(4).set_column(1, "income", [["low", "high", "else", ""]])
    encoded = predictor.encode(batch_of(table))
    assert encoded.rows.tolist() == [1, 2, 3]  # the first row's score is null
    assert encoded.errors[0].cause == "score: null not allowed"
    x = matrix(numbers(4))
    x[:, 1] = [9e3, 5e4, np.nan, np.nan]
    wanted = booster("binary").predict(x)[1:]
    assert np.abs(predictor.score(encoded.matrix).scores[:, 0] - wanted).max() < 1e-12
    assert predictor.unseen(batch_of(table).rows) == {"income": 1}


def test_every_mismatch_with_the_names_of_the_file_is_listed(tmp_path):
    schema = write_json(
        tmp_path / "schema.json",
        {"features": [{"name": "income"}, {"name": "age"}, {"name": "score", "kind": "text"}]},
    )
    with pytest.raises(InvalidRequest) as refused:
        imported(saved(tmp_path, "binary"), "churn", schema=schema)
    text = str(refused.value)
    assert "column 1 of the model is 'age'" in text
    assert "column 2 of the model is 'income'" in text


def test_the_expected_answers_are_compared_row_by_row(tmp_path):
    wanted = answers("binary")
    good = as_columns("churn", ("no", "yes"), wanted)
    schema = write_json(tmp_path / "schema.json", {"classes": ["no", "yes"]})
    path = saved(tmp_path, "binary")
    features = numbers().select(FEATURES)
    example = write_csv(tmp_path / "good.csv", features, **good)
    model = imported(path, "churn", schema=schema, example=example)
    assert [check["against"] for check in model.report["checks"]] == [
        "the expected answers",
        "lightgbm's own predictions",
    ]
    wanted[7, 0] += 1e-5
    wrong = write_csv(
        tmp_path / "wrong.csv", features, **as_columns("churn", ("no", "yes"), wanted)
    )
    with pytest.raises(InvalidRequest, match=r"row 8 of the example.*1 of 400 rows differ"):
        imported(path, "churn", schema=schema, example=wrong)
    rows = write_csv(tmp_path / "rows.csv", features)
    with pytest.raises(InvalidRequest, match="row 8 of the example"):
        imported(path, "churn", schema=schema, example=rows, expected=wrong)
    assert imported(path, "churn", schema=schema, example=rows, expected=example).report["checks"]


def test_the_example_gives_medians_and_an_interval(tmp_path):
    example = write_csv(tmp_path / "rows.csv", numbers().select([*FEATURES, "price"]))
    model = imported(saved(tmp_path, "regression"), "price", example=example)
    baselines = {f.name: f.baseline for f in model.spec.schema.features}
    assert baselines["age"] == np.median(numbers()["age"].to_numpy())
    answer = predictor_of(model).score(matrix(numbers()))
    truth = numbers()["price"].to_numpy()
    inside = (answer.lower <= truth) & (truth <= answer.upper)
    assert inside.mean() >= 0.95
    assert (answer.lower <= answer.value).all()
    assert model.spec.training["interval"]["rows"] == 400


def test_without_a_truth_there_are_no_bounds(tmp_path):
    model = imported(saved(tmp_path, "regression"), "price")
    answer = predictor_of(model).score(matrix(numbers(5)))
    assert np.isfinite(answer.value).all()
    assert np.isnan(answer.lower).all()
    assert np.isnan(answer.upper).all()
    assert any("no prediction interval" in text for text in model.spec.training["warnings"])


def test_a_category_in_a_column_of_numbers_is_named(tmp_path):
    table = numbers().select(FEATURES).set_column(1, "income", [["low", "high"] * 200])
    example = write_csv(tmp_path / "rows.csv", table)
    with pytest.raises(InvalidRequest, match="'low' in row 1; if it is a category"):
        imported(saved(tmp_path, "binary"), "churn", example=example)


def test_a_row_that_should_have_an_answer_and_has_none_says_why(tmp_path):
    wanted = as_columns("churn", ("0", "1"), answers("binary"))
    ages = [str(age) for age in numbers()["age"].to_pylist()]
    table = numbers().select(FEATURES).set_column(0, "age", [[*ages[:7], "old", *ages[8:]]])
    example = write_csv(tmp_path / "rows.csv", table, **wanted)
    schema = write_json(
        tmp_path / "s.json", {"features": [{"name": n, "kind": "numeric"} for n in FEATURES]}
    )
    with pytest.raises(InvalidRequest, match=r"row 8 of the example \(.*cannot read 'old'"):
        imported(saved(tmp_path, "binary"), "churn", example=example, schema=schema)
