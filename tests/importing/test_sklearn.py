"""scikit-learn pipelines that skops kept, of the kinds that people train on tables."""

import warnings

import numpy as np
import pyarrow as pa
import pytest
import skops.io
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    StackingClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    OrdinalEncoder,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import LinearSVC

from rowcast.errors import InvalidRequest
from tests.importing.makers import (
    FEATURES,
    as_columns,
    batch_of,
    frame,
    imported,
    matrix,
    numbers,
    predictor_of,
    write_csv,
    write_json,
)

COLUMNS = [*FEATURES, "job", "remark"]


def prepared(dense=False):
    return make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age", "score"]),
        (make_pipeline(SimpleImputer(), FunctionTransformer(np.log1p)), ["income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["job"]),
        (TfidfVectorizer(), "remark"),
        sparse_threshold=0 if dense else 0.3,
    )


def ordinal():
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_column_transformer((encoder, ["job"]), ("passthrough", list(FEATURES)))


CLASSIFIERS = {
    "logistic": lambda: make_pipeline(prepared(), LogisticRegression()),
    "forest": lambda: make_pipeline(prepared(), RandomForestClassifier(20, n_jobs=2)),
    "boosting": lambda: make_pipeline(ordinal(), HistGradientBoostingClassifier(max_iter=10)),
    "mlp": lambda: make_pipeline(prepared(), MLPClassifier((5,), max_iter=30)),
    "bayes": lambda: make_pipeline(prepared(dense=True), GaussianNB()),
    "calibrated": lambda: make_pipeline(prepared(), CalibratedClassifierCV(LinearSVC())),
    "isotonic": lambda: make_pipeline(
        prepared(), CalibratedClassifierCV(RandomForestClassifier(5), method="isotonic")
    ),
    "stack": lambda: StackingClassifier(
        [
            ("linear", make_pipeline(prepared(), LogisticRegression())),
            ("trees", make_pipeline(ordinal(), HistGradientBoostingClassifier(max_iter=5))),
        ]
    ),
}
REGRESSORS = {
    "ridge": lambda: make_pipeline(prepared(), Ridge()),
    "boosting": lambda: make_pipeline(ordinal(), HistGradientBoostingRegressor(max_iter=10)),
    "trees": lambda: make_pipeline(prepared(), GradientBoostingRegressor(n_estimators=10)),
    "targets": lambda: make_pipeline(
        make_column_transformer((TargetEncoder(), ["job"]), remainder="drop"), Ridge()
    ),
}


def fitted(model, target):
    rows = frame()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(rows[COLUMNS], rows[target])


def kept(tmp_path, model):
    skops.io.dump(model, tmp_path / "m.skops")
    return tmp_path / "m.skops"


def strange_rows():
    """Rows with a job that training did not know."""
    rows = frame(300, seed=9)[COLUMNS]
    rows.loc[3, "job"] = "astronaut"
    return rows


def csv_of(path, rows, **more):
    return write_csv(path, pa.Table.from_pandas(rows, preserve_index=False), **more)


TRIED = [*((kind, "churn") for kind in CLASSIFIERS), ("logistic", "plan"), ("boosting", "plan")]


@pytest.mark.parametrize(("kind", "target"), TRIED)
def test_a_classifier_answers_as_it_did(tmp_path, kind, target):
    model = fitted(CLASSIFIERS[kind](), target)
    rows = strange_rows()
    wanted = as_columns(target, list(map(str, model.classes_)), model.predict_proba(rows))
    example = csv_of(tmp_path / "rows.csv", rows, **wanted)
    found = imported(kept(tmp_path, model), target, example=example)
    assert found.report["checks"][0]["rows"] == 300
    assert found.report["checks"][0]["maxDifference"] < 1e-9
    kinds = {f.name: f.kind for f in found.spec.schema.features}
    assert kinds["job"] == "categorical"
    assert kinds["age"] == "numeric"


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_regressor_answers_as_it_did(tmp_path, kind):
    model = fitted(REGRESSORS[kind](), "price")
    rows = strange_rows()
    example = csv_of(tmp_path / "rows.csv", rows, predicted_price=model.predict(rows))
    found = imported(kept(tmp_path, model), "price", example=example)
    assert found.report["checks"][0]["maxDifference"] < 1e-9


def test_an_array_of_numbers_needs_no_names(tmp_path):
    x = np.nan_to_num(matrix(numbers()))
    model = PoissonRegressor().fit(x, numbers()["visits"].to_numpy())
    schema = {"features": [{"name": name} for name in ("a", "b", "c")]}
    path = write_json(tmp_path / "s.json", schema)
    predictor = predictor_of(imported(kept(tmp_path, model), "visits", schema=path))
    assert np.allclose(predictor.score(x).value, model.predict(x), rtol=1e-12)
    assert predictor.spec.schema.feature_names == ("a", "b", "c")
    assert not any(feature.nullable for feature in predictor.spec.schema.features)


def test_moments_reach_the_pipeline(tmp_path):
    rows = frame()[["age"]]
    rows["since"] = np.datetime64("2020-01-01", "ns") + np.arange(400) * np.timedelta64(1, "D")
    model = make_pipeline(
        make_column_transformer((StandardScaler(), ["since"]), (StandardScaler(), ["age"])),
        Ridge(),
    ).fit(rows, frame()["price"])
    columns = pa.Table.from_pandas(rows, preserve_index=False)
    import pyarrow.parquet as pq

    answers = pa.array(model.predict(rows))
    pq.write_table(columns.append_column("predicted_price", answers), tmp_path / "rows.parquet")
    example = str(tmp_path / "rows.parquet")
    found = imported(kept(tmp_path, model), "price", example=example)
    assert [f.kind for f in found.spec.schema.features] == ["numeric", "timestamp"]
    assert found.report["checks"][0]["maxDifference"] < 1e-9


@pytest.mark.parametrize("kind", ["logistic", "forest", "boosting", "mlp"])
def test_a_row_gets_the_same_bits_in_every_batch(tmp_path, kind):
    found = imported(kept(tmp_path, fitted(CLASSIFIERS[kind](), "churn")), "churn")
    predictor = predictor_of(found)
    x = predictor.encode(batch_of(pa.Table.from_pandas(strange_rows()))).matrix
    whole = predictor.score(x).scores
    for size, stop in ((1, 20), (3, 60), (64, 300)):
        pieces = [predictor.score(x[at : at + size]).scores for at in range(0, stop, size)]
        assert np.concatenate(pieces)[:stop].tobytes() == whole[:stop].tobytes()
    assert predictor.score(x[::-1]).scores[::-1].tobytes() == whole.tobytes()


def test_rows_that_the_model_refuses_have_no_answer(tmp_path):
    encoder = make_column_transformer((OneHotEncoder(handle_unknown="error"), ["job"]))
    rows = frame()[["job"]]
    model = make_pipeline(encoder, Ridge()).fit(rows, frame()["price"])
    predictor = predictor_of(imported(kept(tmp_path, model), "price"))
    jobs = pa.table({"job": ["cook", "astronaut", "nurse"] * 100})
    values = predictor.score(predictor.encode(batch_of(jobs)).matrix).value
    assert np.isnan(values).tolist() == [False, True, False] * 100


def test_a_classifier_without_probabilities_is_refused(tmp_path):
    model = fitted(make_pipeline(prepared(), LinearSVC()), "churn")
    with pytest.raises(InvalidRequest, match="gives no probabilities"):
        imported(kept(tmp_path, model), "churn")


def test_what_is_no_estimator_is_refused(tmp_path):
    with pytest.raises(InvalidRequest, match="neither a classifier nor a regressor"):
        imported(kept(tmp_path, StandardScaler().fit([[1.0], [2.0]])), "y")
    with pytest.raises(InvalidRequest, match="not fitted"):
        imported(kept(tmp_path, Ridge()), "y")
