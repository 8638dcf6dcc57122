"""How well scores rank true labels above false ones: areas and curves, exact with ties.

Everything about a ranking changes only at the scores of true labels, so that is where labels are
counted. All others are seen once, in sorted pieces, and not kept: memory goes with the true
labels, which for N rows of K classes are N of the N * K.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MOST_POINTS = 200
"""A curve that is kept has no more points."""


@dataclass(frozen=True)
class Ranking:
    """Labels counted from the highest score down. All arrays have one place per score."""

    true: np.ndarray
    """int64: true labels of exactly this score, at least 1."""
    true_at_least: np.ndarray
    """int64: true labels of this score or a higher one."""
    false_above: np.ndarray
    """int64: false labels of a higher score."""
    false_at_least: np.ndarray
    """int64: false labels of this score or a higher one."""
    false: int
    """False labels in all."""

    @property
    def positives(self) -> int:
        """True labels in all."""
        return int(self.true.sum())

    @property
    def roc_area(self) -> float | None:
        """Area under the receiver operating characteristic; ties count half.

        None without a true or without a false label.
        """
        if not self.positives or not self.false:
            return None
        beaten = self.false - (self.false_at_least + self.false_above) / 2
        return float((self.true * beaten).sum() / self.positives / self.false)

    @property
    def average_precision(self) -> float | None:
        """Area under precision and recall: precision summed over the steps of recall.

        None without a true label.
        """
        if not self.positives:
            return None
        precision = self.true_at_least / (self.true_at_least + self.false_at_least)
        return float((self.true * precision).sum() / self.positives)

    def roc_curve(self, most: int = MOST_POINTS) -> dict[str, list[float]]:
        """False positive rate and recall, ascending from (0, 0) to (1, 1); straight between."""
        if not self.positives or not self.false:
            return {"falsePositiveRate": [], "recall": []}
        before = self.true_at_least - self.true
        false = np.stack([self.false_above, self.false_at_least], axis=1).ravel() / self.false
        true = np.stack([before, self.true_at_least], axis=1).ravel() / self.positives
        x, y = _thinned(np.r_[0.0, false, 1.0], np.r_[0.0, true, 1.0], most)
        return {"falsePositiveRate": x, "recall": y}

    def precision_recall_curve(self, most: int = MOST_POINTS) -> dict[str, list[float]]:
        """Recall, ascending, and the precision at each."""
        if not self.positives:
            return {"recall": [], "precision": []}
        precision = self.true_at_least / (self.true_at_least + self.false_at_least)
        x, y = _thinned(self.true_at_least / self.positives, precision, most)
        return {"recall": x, "precision": y}


class Tally:
    """Counts labels for a ``Ranking``."""

    def __init__(self, true_scores: np.ndarray) -> None:
        """Take the scores of all true labels, in any order."""
        ascending, counts = np.unique(true_scores, return_counts=True)
        self._ascending = ascending
        self._true = counts[::-1].astype(np.int64)
        self._above = np.zeros(len(ascending), np.int64)
        self._at_least = np.zeros(len(ascending), np.int64)
        self._labels = 0

    def add(self, labels: np.ndarray) -> None:
        """Count labels by their scores, which are sorted; in the end true ones have to be in."""
        self._labels += len(labels)
        self._above += len(labels) - np.searchsorted(labels, self._ascending, "right")
        self._at_least += len(labels) - np.searchsorted(labels, self._ascending, "left")

    def ranking(self) -> Ranking:
        """What has been counted."""
        true_at_least = np.cumsum(self._true)
        return Ranking(
            self._true,
            true_at_least,
            self._above[::-1] - (true_at_least - self._true),
            self._at_least[::-1] - true_at_least,
            self._labels - int(self._true.sum()),
        )


def ranking_of(scores: np.ndarray, truth: np.ndarray) -> Ranking:
    """Rank labels by ``scores``; ``truth`` marks the true ones. Both of one shape."""
    tally = Tally(scores[truth])
    tally.add(np.sort(scores, axis=None))
    return tally.ranking()


def _thinned(x: np.ndarray, y: np.ndarray, most: int) -> tuple[list[float], list[float]]:
    """Keep points that lie about equally far apart along the curve, and both ends."""
    steps = np.abs(np.diff(x)) + np.abs(np.diff(y))
    keep = np.r_[True, steps > 0]
    x, y, along = x[keep], y[keep], np.r_[0.0, np.cumsum(steps[steps > 0])]
    if len(x) > most:
        chosen = np.searchsorted(along, np.linspace(0.0, along[-1], most))
        chosen = np.unique(np.r_[0, np.minimum(chosen, len(x) - 1), len(x) - 1])[:most]
        chosen[-1] = len(x) - 1
        x, y = x[chosen], y[chosen]
    return x.round(6).tolist(), y.round(6).tolist()
