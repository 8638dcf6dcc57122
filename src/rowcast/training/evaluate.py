"""How good a model is on rows it has not seen.

``metrics`` and ``slices`` are those of the evaluation API. The rest is for people: calibration,
curves, residuals, intervals. Together they are the member ``evaluation.json`` of a model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.training.ranking import Ranking, Tally, ranking_of
from rowcast.training.reliability import (
    LEAST_SCORE,
    interval_facts,
    log_loss,
    reliability,
    residuals,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rowcast.training.importance import Importance

THRESHOLDS = (*(i * 5 / 100 for i in range(20)), 0.96, 0.97, 0.98, 0.99)


def classification_evaluation(
    scores: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    raw_scores: np.ndarray | None = None,
) -> dict[str, Any]:
    """Measure class scores, as a whole and class by class.

    Sorts each class' scores once; besides them it needs memory for a few values a row.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes)
        As they are served; rows sum to 1.
    labels : ndarray of int64
        Each row's true class.
    classes
        Their names, in column order.
    raw_scores : ndarray of shape (n_rows, n_classes), optional
        The same rows' scores before they were calibrated.

    Returns
    -------
    dict
        ``metrics``, ``slices``, ``calibration`` and ``curves``, as docs/report.md describes them.
    """
    measured = _Measured(scores, labels)
    curves: dict[str, Any] = {
        "roc": measured.overall.roc_curve(),
        "precisionRecall": measured.overall.precision_recall_curve(),
    }
    if len(classes) == 2:
        positive = measured.classes[1].ranking
        curves["positiveClass"] = {
            "value": classes[1],
            "roc": positive.roc_curve(),
            "precisionRecall": positive.precision_recall_curve(),
        }
    calibration: dict[str, Any] = {"of": "positiveClass" if len(classes) == 2 else "topClass"}
    if raw_scores is not None:
        calibration["before"] = reliability(raw_scores, labels)
    calibration["after"] = reliability(scores, labels)
    return {
        "metrics": measured.metrics(classes),
        "slices": measured.slices(classes),
        "calibration": calibration,
        "curves": curves,
    }


def regression_evaluation(
    values: np.ndarray,
    truth: np.ndarray,
    *,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
    level: float = 0.95,
) -> dict[str, Any]:
    """Measure predicted values, and their bounds if there are any.

    Returns
    -------
    dict
        ``metrics``, ``baseline`` (the errors of always predicting the rows' own mean, or median),
        ``residuals`` and, given bounds, ``interval``, as docs/report.md describes them.
    """
    evaluation: dict[str, Any] = {
        "metrics": regression_metrics(values, truth),
        "slices": [],
        "baseline": {
            "rootMeanSquaredError": float(truth.std()),
            "meanAbsoluteError": float(np.abs(truth - np.median(truth)).mean()),
        },
        "residuals": residuals(values, truth),
    }
    if lower is not None and upper is not None:
        evaluation["interval"] = interval_facts(truth, lower, upper, level)
    return evaluation


def with_context(
    evaluation: Mapping[str, Any],
    *,
    importance: Importance | None = None,
    leaderboard: Sequence[Mapping[str, Any]] = (),
    data: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Add to an evaluation what is not measured on its rows.

    Parameters
    ----------
    evaluation
        Of ``classification_evaluation`` or ``regression_evaluation``.
    importance
        Of ``feature_importance``.
    leaderboard
        The candidates, best first: ``name``, ``family``, ``loss``, ``seconds``, ``weight``.
    data
        ``columns``: what ``describe_columns`` found.
    training
        Whatever else is worth knowing that ``ModelSpec.training`` does not say.
    """
    context: dict[str, Any] = {"leaderboard": [dict(entry) for entry in leaderboard]}
    if importance is not None:
        context["importance"] = importance.shares
        context["importanceMethod"] = {"method": importance.method, "rows": importance.rows}
    if data is not None:
        context["data"] = dict(data)
    if training is not None:
        context["training"] = dict(training)
    return {**evaluation, **context}


def evaluation_member(evaluation: Mapping[str, Any]) -> bytes:
    """Write the content of ``evaluation.json``.

    Raises
    ------
    ValueError
        If a number is not finite: what is undefined has to be left out.
    """
    text = json.dumps(evaluation, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def classification_metrics(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Measure class scores as a whole; see ``classification_evaluation``.

    Returns
    -------
    dict
        ``auRoc`` and ``auPrc`` are micro-averaged over all rows and classes.
    """
    return _Measured(scores, labels).metrics(classes)


def roc_area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the receiver operating characteristic; ties count half. 0.5 if undefined."""
    area = ranking_of(scores, truth).roc_area
    return 0.5 if area is None else area


def precision_recall_area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Average precision: precision summed over the steps of recall. 0 if undefined."""
    return ranking_of(scores, truth).average_precision or 0.0


@dataclass(frozen=True)
class _Class:
    """One class against the rest. Counts have one place per threshold."""

    ranking: Ranking
    returned: np.ndarray
    """Rows whose score reaches the threshold."""
    right: np.ndarray
    """Those of them that are of the class."""
    returned_at_1: np.ndarray
    """The same for rows whose highest score is this class'."""
    right_at_1: np.ndarray
    log_loss: float


class _Measured:
    """Class scores, counted."""

    def __init__(self, scores: np.ndarray, labels: np.ndarray) -> None:
        n, k = scores.shape
        predicted = scores.argmax(axis=1)
        confusion = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)
        self.confusion: np.ndarray = confusion
        self.accuracy = float((predicted == labels).mean())
        self.log_loss = log_loss(scores, labels)
        self.rows = n
        true = scores[np.arange(n), labels]
        top = scores[np.arange(n), predicted]
        right = top[predicted == labels]
        overall = Tally(true)
        by_label, by_top = _grouped(labels, k), _grouped(predicted, k)
        by_right = _grouped(predicted[predicted == labels], k)
        self.classes = []
        for number in range(k):
            column = scores[:, number]
            ordered = np.sort(column)
            own = true[by_label[number]]
            tally = Tally(own)
            tally.add(ordered)
            overall.add(ordered)
            self.classes.append(
                _Class(
                    tally.ranking(),
                    _reaching(ordered),
                    _reaching(np.sort(own)),
                    _reaching(np.sort(top[by_top[number]])),
                    _reaching(np.sort(right[by_right[number]])),
                    _log_loss_against_rest(column, own, by_label[number]),
                )
            )
        self.overall = overall.ranking()

    def metrics(self, classes: Sequence[str]) -> dict[str, Any]:
        """Of all classes together."""
        counts = [
            np.sum([getattr(one, name) for one in self.classes], axis=0)
            for name in ("returned", "right", "returned_at_1", "right_at_1")
        ]
        negatives = self.rows * (len(classes) - 1)
        return {
            **_areas(self.overall),
            "logLoss": self.log_loss,
            "accuracy": self.accuracy,
            "confidenceMetrics": _confidence_metrics(counts, self.rows, negatives),
            "confusionMatrix": {
                "annotationSpecs": [{"displayName": name} for name in classes],
                "rows": self.confusion.tolist(),
            },
        }

    def slices(self, classes: Sequence[str]) -> list[dict[str, Any]]:
        """Of each class against the rest; areas are left out for a class without rows."""
        found = []
        for name, one in zip(classes, self.classes, strict=True):
            counts = [one.returned, one.right, one.returned_at_1, one.right_at_1]
            positives = one.ranking.positives
            metrics = {
                **_areas(one.ranking),
                "logLoss": one.log_loss,
                "confidenceMetrics": _confidence_metrics(counts, positives, self.rows - positives),
            }
            found.append({"dimension": "annotationSpec", "value": name, "metrics": metrics})
        return found


def _grouped(numbers: np.ndarray, k: int) -> list[np.ndarray]:
    """For each of k numbers, where it stands."""
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.cumsum(np.bincount(numbers, minlength=k))[:-1])


def _reaching(ordered: np.ndarray) -> np.ndarray:
    """Count the scores that reach each threshold."""
    return len(ordered) - np.searchsorted(ordered, THRESHOLDS, "left")


def _log_loss_against_rest(column: np.ndarray, own: np.ndarray, rows: np.ndarray) -> float:
    rest = np.log(np.maximum(1.0 - column, LEAST_SCORE))
    rest[rows] = np.log(np.maximum(own, LEAST_SCORE))
    return float(-rest.mean())


def _areas(ranking: Ranking) -> dict[str, float]:
    areas = {"auPrc": ranking.average_precision, "auRoc": ranking.roc_area}
    return {name: area for name, area in areas.items() if area is not None}


def _confidence_metrics(
    counts: Sequence[np.ndarray], positives: int, negatives: int
) -> list[dict[str, Any]]:
    """Counts and rates at each threshold, over all labels and over each row's top class.

    Parameters
    ----------
    counts : four arrays with one place per threshold
        Labels returned, those of them that are true, and both for the top class alone.
    positives, negatives
        Labels that are true and that are not.
    """
    metrics = []
    for place, threshold in enumerate(THRESHOLDS):
        returned, true, returned_at_1, true_at_1 = (int(count[place]) for count in counts)
        entry: dict[str, Any] = {"confidenceThreshold": threshold} if threshold else {}
        entry |= _rates(true, returned - true, positives, negatives, "")
        entry |= _rates(true_at_1, returned_at_1 - true_at_1, positives, negatives, "At1")
        entry |= {
            "truePositiveCount": str(true),
            "falsePositiveCount": str(returned - true),
            "falseNegativeCount": str(positives - true),
            "trueNegativeCount": str(negatives - (returned - true)),
        }
        metrics.append(entry)
    return metrics


def _rates(true: int, false: int, positives: int, negatives: int, suffix: str) -> dict[str, float]:
    recall = true / positives if positives else 0.0
    precision = true / (true + false) if true + false else 1.0
    both = precision + recall
    return {
        f"recall{suffix}": recall,
        f"precision{suffix}": precision,
        f"falsePositiveRate{suffix}": false / negatives if negatives else 0.0,
        f"f1Score{suffix}": 2 * precision * recall / both if both else 0.0,
    }


def regression_metrics(values: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Measure predicted values; what is undefined, or too large for a float, is left out."""
    with np.errstate(over="ignore", invalid="ignore"):
        errors = values - truth
        metrics = {
            "rootMeanSquaredError": float(np.sqrt(np.mean(errors**2))),
            "meanAbsoluteError": float(np.abs(errors).mean()),
        }
        if (truth != 0).all():
            metrics["meanAbsolutePercentageError"] = float(100 * np.abs(errors / truth).mean())
        if np.ptp(values) > 0 and np.ptp(truth) > 0:
            scaled = [of / np.abs(of).max() for of in (values, truth)]  # squares do not overflow
            metrics["rSquared"] = float(np.corrcoef(*scaled)[0, 1] ** 2)
        if (truth >= 0).all() and (values >= 0).all():
            logs = np.log1p(values) - np.log1p(truth)
            metrics["rootMeanSquaredLogError"] = float(np.sqrt(np.mean(logs**2)))
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
