"""XGBoost's and CatBoost's files become models that answer what the libraries answer."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rowcast.errors import FailedPrecondition, InvalidRequest
from rowcast.importing import catboost as importing_catboost
from tests.importing.makers import (
    FEATURES,
    as_columns,
    batch_of,
    imported,
    matrix,
    numbers,
    predictor_of,
    write_csv,
    write_json,
)

xgboost = pytest.importorskip("xgboost")
catboost = pytest.importorskip("catboost")


def truth(target):
    column = numbers()[target]
    return np.asarray(column) == "yes" if target == "churn" else column.to_numpy()


XGB = {
    "binary:logistic": "churn",
    "multi:softprob": "plan",
    "reg:squarederror": "price",
    "reg:absoluteerror": "price",
    "count:poisson": "visits",
    "reg:tweedie": "visits",
}


def xgb(objective, **settings):
    rows = xgboost.DMatrix(matrix(numbers()), truth(XGB[objective]), feature_names=list(FEATURES))
    if objective.startswith("multi"):
        settings["num_class"] = 3
    return xgboost.train({"objective": objective, "max_depth": 4, **settings}, rows, 8)


def xgb_answers(booster):
    return booster.predict(xgboost.DMatrix(matrix(numbers()), feature_names=list(FEATURES)))


@pytest.mark.parametrize("ending", ["json", "ubj"])
@pytest.mark.parametrize("objective", XGB)
def test_xgboosts_answers(tmp_path, objective, ending):
    target, booster = XGB[objective], xgb(objective)
    booster.save_model(tmp_path / f"m.{ending}")
    found = xgb_answers(booster)
    classes = {"churn": ["0", "1"], "plan": ["0", "1", "2"]}.get(target)
    wanted = np.stack([1 - found, found], axis=1) if target == "churn" else found
    example = write_csv(
        tmp_path / "rows.csv", numbers().select(FEATURES), **as_columns(target, classes, wanted)
    )
    model = imported(tmp_path / f"m.{ending}", target, example=example)
    against = [check["against"] for check in model.report["checks"]]
    assert against == ["the expected answers", "xgboost's own predictions"]
    assert model.spec.schema.feature_names == FEATURES
    assert all(feature.nullable for feature in model.spec.schema.features)


def test_dart_is_read(tmp_path):
    booster = xgb("reg:squarederror", booster="dart", rate_drop=0.3)
    booster.save_model(tmp_path / "m.json")
    model = imported(tmp_path / "m.json", "price")
    assert model.report["checks"][0]["rows"] == 1000
    values = predictor_of(model).score(matrix(numbers())).value
    assert np.abs(values / xgb_answers(booster) - 1).max() < 1e-5


@pytest.mark.parametrize("ending", ["json", "ubj"])
def test_xgboosts_categories_are_matched_by_their_texts(tmp_path, ending):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame(
        {
            "age": rng.normal(size=500),
            "job": pd.Categorical(rng.choice(["x", "été", "z"], 500)),
            "zip": pd.Categorical(rng.choice([10, 20, 30, 40], 500)),
        }
    )
    price = rows["age"] + 2.0 * (rows["job"] == "z") + (rows["zip"] == 30)
    data = xgboost.DMatrix(rows, price, enable_categorical=True)
    booster = xgboost.train({"max_depth": 4}, data, 8)
    booster.save_model(tmp_path / f"m.{ending}")
    table = pa.Table.from_pandas(rows.astype({"job": str, "zip": int}))
    example = write_csv(tmp_path / "rows.csv", table, predicted_price=booster.predict(data))
    model = imported(tmp_path / f"m.{ending}", "price", example=example)
    kinds = [feature.kind for feature in model.spec.schema.features]
    assert kinds == ["numeric", "categorical", "categorical"]
    assert len(model.report["checks"]) == 2


def test_other_objectives_of_xgboost_are_refused(tmp_path):
    xgb("binary:logistic").save_model(tmp_path / "m.json")
    model = json.loads((tmp_path / "m.json").read_text())
    model["learner"]["objective"]["name"] = "binary:logitraw"
    (tmp_path / "m.json").write_text(json.dumps(model))
    with pytest.raises(InvalidRequest, match="objective is 'binary:logitraw'"):
        imported(tmp_path / "m.json", "churn")


CAT = {
    "Logloss": "churn",
    "MultiClass": "plan",
    "RMSE": "price",
    "Quantile": "price",
    "Poisson": "visits",
    "Tweedie:variance_power=1.5": "visits",
}


def cat(loss):
    settings = {"iterations": 8, "depth": 3, "verbose": False, "allow_writing_files": False}
    target = numbers()[CAT[loss]].to_numpy()
    rows = catboost.Pool(matrix(numbers()), target, feature_names=list(FEATURES))
    return catboost.CatBoost({"loss_function": loss, **settings}).fit(rows)


@pytest.mark.parametrize("format_", ["json", "cbm"])
@pytest.mark.parametrize("loss", CAT)
def test_catboosts_answers(tmp_path, loss, format_):
    target, trained = CAT[loss], cat(loss)
    trained.save_model(str(tmp_path / "m"), format=format_)
    classes = {"churn": ["no", "yes"], "plan": ["0", "1", "2"]}.get(target)
    kind = "Probability" if classes else "Exponent" if target == "visits" else "RawFormulaVal"
    wanted = trained.predict(matrix(numbers()), prediction_type=kind)
    example = write_csv(
        tmp_path / "rows.csv", numbers().select(FEATURES), **as_columns(target, classes, wanted)
    )
    model = imported(tmp_path / "m", target, example=example)
    checks = {check["against"]: check["maxDifference"] for check in model.report["checks"]}
    assert set(checks) == {"the expected answers", "catboost's own predictions"}
    assert max(checks.values()) < 1e-12
    assert model.spec.schema.target.classes == tuple(classes or ())


def test_a_binary_file_needs_catboost_and_json_does_not(tmp_path, monkeypatch):
    trained = cat("RMSE")
    trained.save_model(str(tmp_path / "m.cbm"))
    trained.save_model(str(tmp_path / "m.json"), format="json")
    monkeypatch.setattr(importing_catboost, "installed", lambda *_: {})
    with pytest.raises(FailedPrecondition, match="pip install 'rowcast\\[train\\]'"):
        imported(tmp_path / "m.cbm", "price")
    model = imported(tmp_path / "m.json", "price")
    assert model.report["checks"] == []
    values = predictor_of(model).score(matrix(numbers())).value
    assert np.abs(values / trained.predict(matrix(numbers())) - 1).max() < 1e-12


def test_categories_of_catboosts_own_are_refused(tmp_path):
    rows = catboost.Pool([["a"], ["b"], ["c"]] * 30, [1, 2, 3] * 30, cat_features=[0])
    settings = {"iterations": 3, "verbose": False, "allow_writing_files": False}
    trained = catboost.CatBoostRegressor(one_hot_max_size=10, **settings).fit(rows)
    trained.save_model(str(tmp_path / "m.json"), format="json", pool=rows)
    with pytest.raises(InvalidRequest, match="cannot be used"):
        imported(tmp_path / "m.json", "y")


def test_a_model_without_names_takes_those_of_a_schema(tmp_path):
    trained = catboost.CatBoostRegressor(iterations=3, verbose=False, allow_writing_files=False)
    trained.fit(matrix(numbers()), truth("price")).save_model(str(tmp_path / "m.cbm"))
    features = [{"name": "a"}, {"name": "b", "kind": "categorical", "categories": ["x", "y"]}]
    schema = write_json(tmp_path / "s.json", {"features": [*features, {"name": "c"}]})
    predictor = predictor_of(imported(tmp_path / "m.cbm", "price", schema=schema))
    rows = pa.table({"c": [1.0, 2.0], "b": ["y", "z"], "a": [3.0, None]})
    values = predictor.score(predictor.encode(batch_of(rows)).matrix).value
    wanted = trained.predict([[3.0, 1.0, 1.0], [np.nan, np.nan, 2.0]])
    assert np.abs(values / wanted - 1).max() < 1e-12
