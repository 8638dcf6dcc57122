"""What the best ensemble is the best at: an objective as a loss of held-out margins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels.links import sigmoid_scores, softmax_scores
from rowcast.training.evaluate import precision_recall_area, roc_area
from rowcast.training.reliability import log_loss

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.training.request import Objective
    from rowcast.training.task import Task

TIE_BREAK = 1e-3
"""Share of the log loss in objectives that look at the order of rows only, so that of two equal
orders the one with the better scores wins."""

NAMES: dict[Objective, str] = {
    "maximize-au-roc": "1 - area under ROC",
    "maximize-au-prc": "1 - area under PR",
    "minimize-log-loss": "log loss",
    "maximize-precision-at-recall": "1 - precision at recall",
    "maximize-recall-at-precision": "1 - recall at precision",
    "minimize-rmse": "RMSE",
    "minimize-mae": "MAE",
    "minimize-rmsle": "RMSLE",
}


def class_scores(margins: np.ndarray, n_classes: int) -> np.ndarray:
    """Turn margins to scores, as the predictor does."""
    scores = np.empty((len(margins), n_classes))
    if n_classes == 2:
        sigmoid_scores(np.ascontiguousarray(margins.reshape(len(margins))), scores)
    else:
        softmax_scores(np.ascontiguousarray(margins), scores)
    return scores


@dataclass(frozen=True)
class Goal:
    """Judges margins of shape (n_rows, outputs); the smaller the loss the better."""

    task: Task
    objective: Objective
    value: float | None = None
    """The recall or precision that is asked for."""
    width: float = 1.0
    """Target's unit per unit of the margins of a quantity."""

    def loss(self, margins: np.ndarray, truth: np.ndarray) -> float:
        """Measure against class numbers, or the target's margins in their own unit of width."""
        if not self.task.classes:
            errors = (margins[:, 0] - truth) * self.width
            if self.task.loss == "absolute":
                return float(np.abs(errors).mean())
            return float(np.sqrt(np.mean(errors**2)))
        scores = class_scores(margins, self.task.classes)
        proper = log_loss(scores, truth)
        if self.objective == "minimize-log-loss":
            return proper
        return self._of_order(scores[:, 1], truth == 1) + TIE_BREAK * proper

    def _of_order(self, scores: np.ndarray, truth: np.ndarray) -> float:
        measures: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
            "maximize-au-roc": roc_area,
            "maximize-au-prc": precision_recall_area,
            "maximize-precision-at-recall": self._precision_at_recall,
            "maximize-recall-at-precision": self._recall_at_precision,
        }
        return 1.0 - measures[self.objective](scores, truth)

    def _precision_at_recall(self, scores: np.ndarray, truth: np.ndarray) -> float:
        """Best precision of the thresholds that reach the recall; 0 if none does."""
        recall, precision = _recall_and_precision(scores, truth)
        return float(precision[recall >= (self.value or 0.0)].max(initial=0.0))

    def _recall_at_precision(self, scores: np.ndarray, truth: np.ndarray) -> float:
        """Best recall of the thresholds that reach the precision; 0 if none does."""
        recall, precision = _recall_and_precision(scores, truth)
        return float(recall[precision >= (self.value or 0.0)].max(initial=0.0))


def _recall_and_precision(scores: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At each distinct score, from the highest down."""
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    true = np.cumsum(truth[order])[last]
    return true / max(1, int(truth.sum())), true / (last + 1)
