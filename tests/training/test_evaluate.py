"""The numbers of an evaluation, against scikit-learn and against what can be worked out by hand."""

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from rowcast.training.describe import describe_columns
from rowcast.training.evaluate import (
    THRESHOLDS,
    classification_evaluation,
    classification_metrics,
    evaluation_member,
    precision_recall_area,
    regression_evaluation,
    regression_metrics,
    roc_area,
    with_context,
)
from rowcast.training.importance import Importance, feature_importance
from rowcast.training.ranking import ranking_of
from tests.tables import TARGETS, batch_of, shop, shop_model, shop_predictor


def drawn(rows, classes, *, seed=0, ties=False):
    """Scores that know something of the labels; with ties they have one decimal."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    scores = rng.dirichlet(np.ones(classes), rows)
    scores[np.arange(rows), labels] += 0.3 * rng.random(rows)
    scores /= scores.sum(axis=1, keepdims=True)
    return (np.round(scores, 1) if ties else scores), labels


def names(classes):
    return [f"class {number}" for number in range(classes)]


# --- areas and curves ---


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 26])
def test_areas_are_those_of_scikit_learn(classes, ties):
    scores, labels = drawn(700, classes, ties=ties)
    truth = np.eye(classes, dtype=bool)[labels]
    found = classification_evaluation(scores, labels, names(classes))
    assert found["metrics"]["auRoc"] == pytest.approx(
        sk.roc_auc_score(truth.ravel(), scores.ravel()), abs=1e-12
    )
    assert found["metrics"]["auPrc"] == pytest.approx(
        sk.average_precision_score(truth.ravel(), scores.ravel()), abs=1e-12
    )
    for number, one in enumerate(found["slices"]):
        assert one["metrics"]["auRoc"] == pytest.approx(
            sk.roc_auc_score(truth[:, number], scores[:, number]), abs=1e-12
        )
        assert one["metrics"]["auPrc"] == pytest.approx(
            sk.average_precision_score(truth[:, number], scores[:, number]), abs=1e-12
        )


def test_areas_by_hand():
    scores = np.array([0.9, 0.8, 0.8, 0.3])
    truth = np.array([True, True, False, False])
    assert roc_area(scores, truth) == pytest.approx(3.5 / 4)  # one pair of four is a tie
    assert precision_recall_area(scores, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_areas_without_one_side():
    scores = np.array([0.2, 0.7])
    assert roc_area(scores, np.array([True, True])) == 0.5
    assert precision_recall_area(scores, np.array([False, False])) == 0.0
    assert ranking_of(scores, np.array([False, False])).roc_area is None
    assert ranking_of(scores, np.array([False, False])).average_precision is None


@pytest.mark.parametrize("ties", [False, True])
def test_curves_pass_through_scikit_learns_points(ties):
    scores, labels = drawn(60, 2, ties=ties)
    ranking = ranking_of(scores[:, 1], labels == 1)
    false, recall, _ = sk.roc_curve(labels, scores[:, 1], drop_intermediate=False)
    curve = ranking.roc_curve()
    at = np.interp(false, curve["falsePositiveRate"], curve["recall"])
    upper = [recall[false == x].max() for x in false]
    lower = [recall[false == x].min() for x in false]
    assert (at >= np.array(lower) - 1e-5).all()
    assert (at <= np.array(upper) + 1e-5).all()
    curve = ranking.precision_recall_curve()
    precision, recall, _ = sk.precision_recall_curve(labels, scores[:, 1])
    points = set(zip(recall.round(6), precision.round(6), strict=True))
    assert set(zip(curve["recall"], curve["precision"], strict=True)) <= points


def test_long_curves_are_thinned_and_keep_their_ends():
    scores, labels = drawn(20_000, 2)
    ranking = ranking_of(scores[:, 1], labels == 1)
    curve = ranking.roc_curve()
    assert 100 < len(curve["recall"]) <= 200
    assert (curve["falsePositiveRate"][0], curve["recall"][0]) == (0.0, 0.0)
    assert (curve["falsePositiveRate"][-1], curve["recall"][-1]) == (1.0, 1.0)
    area = np.trapezoid(curve["recall"], curve["falsePositiveRate"])
    assert area == pytest.approx(ranking.roc_area, abs=2e-3)
    assert len(ranking.precision_recall_curve()["recall"]) <= 200


# --- confidence metrics ---


def test_the_published_confusion_matrix_gives_the_published_rates():
    confusion = np.array([[3817, 140], [266, 244]])
    labels = np.repeat([0, 0, 1, 1], confusion.ravel())
    predicted = np.repeat([0, 1, 0, 1], confusion.ravel())
    scores = np.where(predicted[:, None] == [0, 1], 0.8, 0.2)
    found = classification_metrics(scores, labels, ["no", "yes"])
    first = found["confidenceMetrics"][0]
    assert found["confusionMatrix"]["rows"] == confusion.tolist()
    assert "confidenceThreshold" not in first
    assert round(first["recallAt1"], 6) == 0.909111
    assert round(first["falsePositiveRateAt1"], 6) == 0.090889
    assert first["recall"] == first["falsePositiveRate"] == 1.0
    assert first["truePositiveCount"] == first["falsePositiveCount"] == "4467"
    assert first["falseNegativeCount"] == first["trueNegativeCount"] == "0"


def test_counts_are_those_of_every_label():
    scores, labels = drawn(400, 5, ties=True)
    truth = np.eye(5, dtype=bool)[labels]
    top = np.arange(5) == scores.argmax(axis=1)[:, None]
    found = classification_evaluation(scores, labels, names(5))
    cases = [(found["metrics"], slice(None))]
    cases += [(one["metrics"], [number]) for number, one in enumerate(found["slices"])]
    for metrics, columns in cases:
        own = truth[:, columns]
        entries = metrics["confidenceMetrics"]
        thresholds = [entry.get("confidenceThreshold", 0) for entry in entries]
        assert thresholds == list(THRESHOLDS)
        for threshold, entry in zip(thresholds, entries, strict=True):
            returned = scores[:, columns] >= threshold
            true, false = int((returned & own).sum()), int((returned & ~own).sum())
            assert entry["truePositiveCount"] == str(true)
            assert entry["falsePositiveCount"] == str(false)
            assert entry["falseNegativeCount"] == str(own.sum() - true)
            assert entry["trueNegativeCount"] == str((~own).sum() - false)
            assert entry["recall"] == pytest.approx(true / own.sum())
            assert entry["precision"] == pytest.approx(
                true / (true + false) if returned.any() else 1
            )
            assert entry["falsePositiveRate"] == pytest.approx(false / (~own).sum())
            confident = returned & top[:, columns]
            assert entry["recallAt1"] == pytest.approx((confident & own).sum() / own.sum())
            assert entry["falsePositiveRateAt1"] == pytest.approx(
                (confident & ~own).sum() / (~own).sum()
            )


def test_f1_is_that_of_scikit_learn():
    scores, labels = drawn(500, 3)
    found = classification_evaluation(scores, labels, names(3))
    truth = np.eye(3, dtype=bool)[labels]
    for number, one in enumerate(found["slices"]):
        entry = one["metrics"]["confidenceMetrics"][10]
        assert entry["confidenceThreshold"] == 0.5
        assert entry["f1Score"] == pytest.approx(
            sk.f1_score(truth[:, number], scores[:, number] >= 0.5)
        )


def test_log_loss_and_accuracy_are_those_of_scikit_learn():
    scores, labels = drawn(500, 4)
    found = classification_evaluation(scores, labels, names(4))
    assert found["metrics"]["logLoss"] == pytest.approx(sk.log_loss(labels, scores))
    assert found["metrics"]["accuracy"] == pytest.approx(
        sk.accuracy_score(labels, scores.argmax(axis=1))
    )
    for number, one in enumerate(found["slices"]):
        assert one["metrics"]["logLoss"] == pytest.approx(
            sk.log_loss(labels == number, scores[:, number])
        )


# --- the edges ---


@pytest.mark.parametrize("classes", [2, 5])
def test_a_test_set_of_one_class_gives_finite_numbers(classes):
    scores, _ = drawn(30, classes)
    found = classification_evaluation(scores, np.zeros(30, np.int64), names(classes))
    assert json.loads(evaluation_member(found)) == found
    assert "auRoc" in found["metrics"]
    present, absent = found["slices"][0]["metrics"], found["slices"][-1]["metrics"]
    assert "auRoc" not in present
    assert present["auPrc"] == 1.0
    assert {"auRoc", "auPrc"}.isdisjoint(absent)
    assert absent["confidenceMetrics"][0]["recall"] == 0.0


def test_one_row_and_certain_scores_give_finite_numbers():
    for scores in ([[1.0, 0.0]], [[0.0, 1.0]]):
        found = classification_evaluation(np.array(scores), np.array([0]), ["a", "b"])
        assert math.isfinite(json.loads(evaluation_member(found))["metrics"]["logLoss"])


def test_a_rare_class_keeps_its_slice():
    scores, labels = drawn(300, 3)
    labels[labels == 2] = 0
    labels[17] = 2
    found = classification_evaluation(scores, labels, names(3))
    rare = found["slices"][2]["metrics"]
    assert rare["confidenceMetrics"][0]["truePositiveCount"] == "1"
    assert 0 <= rare["auRoc"] <= 1
    evaluation_member(found)


def test_what_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        evaluation_member({"metrics": {"logLoss": math.nan}})


# --- calibration ---


def test_calibration_error_by_hand():
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.3, 0.7]])
    labels = np.array([0, 0, 1, 0])
    after = classification_evaluation(scores, labels, ["no", "yes"])["calibration"]["after"]
    assert after["bins"] == [
        {"meanScore": pytest.approx(0.1), "observedShare": 0.0, "rows": 2},
        {"meanScore": pytest.approx(0.7), "observedShare": 0.5, "rows": 2},
    ]
    assert after["expectedCalibrationError"] == pytest.approx((2 * 0.1 + 2 * 0.2) / 4)
    assert after["brierScore"] == pytest.approx(
        2 * sk.brier_score_loss(labels, scores[:, 1]), abs=1e-12
    )


def test_calibration_is_measured_before_and_after():
    rng = np.random.default_rng(1)
    chance = rng.random(4000)
    labels = (rng.random(4000) < chance).astype(np.int64)
    served = np.stack([1 - chance, chance], axis=1)
    sharp = chance**3 / (chance**3 + (1 - chance) ** 3)
    raw = np.stack([1 - sharp, sharp], axis=1)
    found = classification_evaluation(served, labels, ["a", "b"], raw_scores=raw)["calibration"]
    assert found["of"] == "positiveClass"
    assert found["after"]["expectedCalibrationError"] < 0.03
    assert found["before"]["expectedCalibrationError"] > 0.1
    assert sum(one["rows"] for one in found["before"]["bins"]) == 4000


def test_with_many_classes_the_top_one_is_looked_at():
    scores, labels = drawn(500, 4)
    found = classification_evaluation(scores, labels, names(4))["calibration"]
    top = scores.max(axis=1)
    assert found["of"] == "topClass"
    assert "before" not in found
    bins = found["after"]["bins"]
    assert sum(b["rows"] * b["meanScore"] for b in bins) == pytest.approx(top.sum())
    right = (scores.argmax(axis=1) == labels).sum()
    assert sum(b["rows"] * b["observedShare"] for b in bins) == pytest.approx(right)


# --- regression ---


def test_regression_metrics_are_those_of_scikit_learn():
    rng = np.random.default_rng(2)
    truth = rng.lognormal(3, 1, 400)
    values = truth * rng.lognormal(0, 0.2, 400)
    found = regression_metrics(values, truth)
    assert found == {
        "rootMeanSquaredError": pytest.approx(sk.root_mean_squared_error(truth, values)),
        "meanAbsoluteError": pytest.approx(sk.mean_absolute_error(truth, values)),
        "meanAbsolutePercentageError": pytest.approx(
            100 * sk.mean_absolute_percentage_error(truth, values)
        ),
        "rSquared": pytest.approx(np.corrcoef(truth, values)[0, 1] ** 2),
        "rootMeanSquaredLogError": pytest.approx(sk.root_mean_squared_log_error(truth, values)),
    }


@pytest.mark.parametrize(
    ("values", "truth", "absent"),
    [
        ([1.0, 2.0], [0.0, 2.0], {"meanAbsolutePercentageError"}),
        ([1.0, 1.0], [1.0, 2.0], {"rSquared"}),
        ([1.0, 2.0], [3.0, 3.0], {"rSquared"}),
        ([-1.0, 2.0], [1.0, 2.0], {"rootMeanSquaredLogError"}),
        ([1.0, 2.0], [-1.0, 2.0], {"rootMeanSquaredLogError"}),
        ([1e300, 2.0], [1.0, -2.0], {"rootMeanSquaredError", "rootMeanSquaredLogError"}),
    ],
)
def test_what_is_undefined_is_left_out(values, truth, absent):
    found = regression_metrics(np.array(values), np.array(truth))
    assert set(found) == {
        "rootMeanSquaredError",
        "meanAbsoluteError",
        "meanAbsolutePercentageError",
        "rSquared",
        "rootMeanSquaredLogError",
    } - (absent)


def test_bounds_are_measured():
    truth = np.array([0.0, 1.0, 2.0, 10.0])
    lower, upper = np.array([-1.0, 0.0, 3.0, 0.0]), np.array([1.0, 2.0, 4.0, 8.0])
    found = regression_evaluation(truth, truth, lower=lower, upper=upper, level=0.9)["interval"]
    assert found["coverage"] == 0.5
    assert (found["below"], found["above"]) == (0.25, 0.25)
    assert found["meanWidth"] == pytest.approx((2 + 2 + 1 + 8) / 4)
    assert found["medianWidth"] == 2.0
    assert found["winklerScore"] == pytest.approx((2 + 2 + 1 + 20 + 8 + 40) / 4)
    assert [part["coverage"] for part in found["deciles"]] == [0.0, 1.0, 1.0, 0.0]
    assert "interval" not in regression_evaluation(truth, truth)


def test_residuals_account_for_every_row():
    rng = np.random.default_rng(3)
    truth = rng.normal(size=5000)
    values = truth + rng.standard_cauchy(5000)
    found = regression_evaluation(values, truth)["residuals"]
    histogram = found["histogram"]
    assert histogram["below"] + sum(histogram["counts"]) + histogram["above"] == 5000
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    cells = found["grid"]["cells"]
    assert found["grid"]["outside"] + sum(count for _, _, count in cells) == 5000
    assert all(0 <= i < 40 and 0 <= j < 40 for i, j, _ in cells)
    assert len(found["sample"]["true"]) == len(found["sample"]["predicted"]) == 1000
    assert found["errorQuantiles"]["0.5"] == pytest.approx(np.median(values - truth))
    assert sum(part["rows"] for part in found["deciles"]) == 5000


@pytest.mark.parametrize("rows", [1, 3])
def test_a_constant_target_gives_finite_numbers(rows):
    same = np.full(rows, 7.0)
    found = regression_evaluation(same, same, lower=same, upper=same)
    assert json.loads(evaluation_member(found)) == found
    assert found["interval"]["coverage"] == 1.0
    assert sum(count for *_, count in found["residuals"]["grid"]["cells"]) == rows


# --- importance ---


@pytest.mark.parametrize("kind", list(TARGETS))
@pytest.mark.parametrize("method", ["sampledShapley", "shuffledValues"])
def test_importance_tells_what_matters_from_what_does_not(kind, method):
    predictor = shop_predictor(kind)
    matrix = predictor.encode(batch_of(shop(400, seed=99))).matrix
    size = sum(map(len, shop_model(kind).members.values()))
    seconds = 1.0 if method == "sampledShapley" else 1e-6
    found = feature_importance(predictor, matrix, model_bytes=size, seconds=seconds)
    assert found.method == method
    assert set(found.shares) == {"age", "income", "job", "joined", "remark"}
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert min(found.shares.values()) >= 0
    assert max(found.shares, key=found.shares.get) in ("age", "remark", "income")
    assert found.shares["age"] > 3 * found.shares["joined"]
    again = feature_importance(predictor, matrix, model_bytes=size, seconds=seconds)
    assert again == found


def test_importance_without_rows_or_signal_is_shared_out_evenly():
    predictor = shop_predictor("binary")
    alike = dict.fromkeys(("age", "income", "job", "joined", "remark"), 0.2)
    width = len(predictor.baseline())
    assert feature_importance(predictor, np.zeros((0, width)), model_bytes=1).shares == alike
    same = np.tile(predictor.baseline(), (5, 1))
    found = feature_importance(predictor, same, model_bytes=1)
    assert found == Importance(pytest.approx(alike), "sampledShapley", 5)


# --- context and data ---


def test_context_is_added():
    found = with_context(
        {"metrics": {"logLoss": 1.0}},
        importance=Importance({"a": 1.0}, "sampledShapley", 9),
        leaderboard=[{"name": "one", "loss": 0.5}],
        data={"columns": []},
    )
    assert found == {
        "metrics": {"logLoss": 1.0},
        "leaderboard": [{"name": "one", "loss": 0.5}],
        "importance": {"a": 1.0},
        "importanceMethod": {"method": "sampledShapley", "rows": 9},
        "data": {"columns": []},
    }


def test_columns_are_described_with_their_nulls_and_values():
    table = pa.table(
        {
            "age": ["1", "2", "", None],
            "kept": ["a", "a", "b", "b"],
            "id": pa.array([1, 2, 3, 4]),
            "pair": pa.array([[1], [2], None, [3]]),
        }
    )
    found = describe_columns(
        table, {"age": "numeric"}, {"id": "it numbers the rows", "pair": "nested"}, "kept"
    )
    assert found == [
        {
            "name": "age",
            "role": "feature",
            "kind": "numeric",
            "rows": 4,
            "nullRate": 0.5,
            "distinct": 2,
        },
        {"name": "kept", "role": "target", "rows": 4, "nullRate": 0.0, "distinct": 2},
        {
            "name": "id",
            "role": "dropped",
            "reason": "it numbers the rows",
            "rows": 4,
            "nullRate": 0.0,
            "distinct": 4,
        },
        {"name": "pair", "role": "dropped", "reason": "nested", "rows": 4, "nullRate": 0.25},
    ]
