"""How a job's input differs from the training data of its model: thresholds and findings."""

from __future__ import annotations

from dataclasses import dataclass, field

DISTANCE = 0.05
"""Jensen-Shannon divergence (base 2) between two distributions that is worth a warning: about
that of two normal distributions half a standard deviation apart, or a PSI of 0.25."""
PREDICTION_DISTANCE = 0.2
"""The same for predictions: the ensemble that is served has learnt from more rows than those that
predicted the held-out ones, and a model is surer of rows that it was trained on than of others."""
MISSING_CHANGE = 0.05
"""Change of the share of missing, of unreadable or of unseen values."""
OUTSIDE = 0.05
"""Share of numbers below the least or above the greatest one of the training data."""
LEAST_ROWS = 100
"""Rows of an input below which nothing is said of it."""
WARNINGS_KEPT = 20


@dataclass(frozen=True)
class Thresholds:
    """What is worth a warning.

    Where a request names thresholds, they are for the distances that Vertex AI compares: the
    Jensen-Shannon divergence of numbers, the largest change of one category's share.
    """

    features: dict[str, float] = field(default_factory=dict)
    """Per feature; 0 turns its warnings off."""
    default: float | None = None
    """For features that have none of their own; 0 turns their warnings off."""

    @property
    def given(self) -> bool:
        """Whether a request named any."""
        return bool(self.features) or self.default is not None

    def of(self, feature: str) -> float:
        """The threshold that a request gave a feature; 0 if it did not name it."""
        return self.features.get(feature, self.default or 0.0)


@dataclass(frozen=True)
class DriftWarning:
    """One feature, or output, that is not as it was in training."""

    feature: str
    """For predictions, the output column."""
    kind: str
    """distribution, missing, unreadable, unseen, range, prediction, or threshold."""
    statistic: str
    value: float
    threshold: float
    message: str


@dataclass(frozen=True)
class Drift:
    """What a job keeps of the comparison."""

    rows: int
    """Rows of the input that were counted."""
    features: int
    """Features that were checked."""
    found: int
    """Warnings in all."""
    warnings: tuple[DriftWarning, ...] = ()
    """At most 20, the gravest first."""
