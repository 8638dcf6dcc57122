"""How good a model is on rows it has not seen, in the numbers of the evaluation API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

THRESHOLDS = (*(i * 5 / 100 for i in range(20)), 0.96, 0.97, 0.98, 0.99)
LEAST_SCORE = 1e-15


def classification_metrics(
    scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]
) -> dict[str, Any]:
    """Measure class scores.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes)
        Rows sum to 1.
    labels : ndarray of int64
        Each row's true class.
    classes
        Their names, in column order.

    Returns
    -------
    dict
        ``auRoc`` and ``auPrc`` are micro-averaged over all rows and classes.
    """
    n, k = scores.shape
    truth = np.zeros((n, k), np.bool_)
    truth[np.arange(n), labels] = True
    predicted = scores.argmax(axis=1)
    confusion = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)
    return {
        "auRoc": roc_area(scores.ravel(), truth.ravel()),
        "auPrc": precision_recall_area(scores.ravel(), truth.ravel()),
        "logLoss": log_loss(scores, labels),
        "accuracy": float((predicted == labels).mean()),
        "confidenceMetrics": confidence_metrics(scores, truth),
        "confusionMatrix": {
            "annotationSpecs": [{"displayName": name} for name in classes],
            "rows": confusion.tolist(),
        },
    }


def log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the negative logarithm of the true class' score."""
    true = scores[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, LEAST_SCORE)).mean())


def _steps(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count true and false positives at each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    ordered, hits = scores[order], truth[order]
    last = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    true = np.cumsum(hits)[last]
    return true, last + 1 - true


def roc_area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Area under the receiver operating characteristic; ties count half. 0.5 if undefined."""
    true, false = _steps(scores, truth)
    if not true[-1] or not false[-1]:
        return 0.5
    return float(np.trapezoid(np.append(0, true) / true[-1], np.append(0, false) / false[-1]))


def precision_recall_area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Average precision: precision summed over the steps of recall."""
    true, false = _steps(scores, truth)
    if not true[-1]:
        return 0.0
    return float((np.diff(true, prepend=0) / true[-1] * (true / (true + false))).sum())


def confidence_metrics(scores: np.ndarray, truth: np.ndarray) -> list[dict[str, Any]]:
    """Counts and rates at each threshold, over all labels and over each row's top class."""
    n, k = scores.shape
    top = scores.argmax(axis=1)
    best = scores[np.arange(n), top]
    right = truth[np.arange(n), top]
    metrics = []
    for threshold in THRESHOLDS:
        returned = scores >= threshold
        true = int((returned & truth).sum())
        false = int(returned.sum()) - true
        confident = best >= threshold
        true_at_1 = int((confident & right).sum())
        false_at_1 = int(confident.sum()) - true_at_1
        entry: dict[str, Any] = {"confidenceThreshold": threshold} if threshold else {}
        entry |= _rates(true, false, n, n * (k - 1), "")
        entry |= _rates(true_at_1, false_at_1, n, n * (k - 1), "At1")
        entry |= {
            "truePositiveCount": str(true),
            "falsePositiveCount": str(false),
            "falseNegativeCount": str(n - true),
            "trueNegativeCount": str(n * (k - 1) - false),
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
    """Measure predicted values; what is undefined is left out."""
    errors = values - truth
    metrics = {
        "rootMeanSquaredError": float(np.sqrt(np.mean(errors**2))),
        "meanAbsoluteError": float(np.abs(errors).mean()),
    }
    if (truth != 0).all():
        metrics["meanAbsolutePercentageError"] = float(100 * np.abs(errors / truth).mean())
    if np.ptp(values) > 0 and np.ptp(truth) > 0:
        metrics["rSquared"] = float(np.corrcoef(values, truth)[0, 1] ** 2)
    if (truth >= 0).all() and (values >= 0).all():
        logs = np.log1p(values) - np.log1p(truth)
        metrics["rootMeanSquaredLogError"] = float(np.sqrt(np.mean(logs**2)))
    return metrics
