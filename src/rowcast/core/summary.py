"""What a job keeps of its results in short."""

from __future__ import annotations

from dataclasses import dataclass

STRONGEST_KEPT = 20


@dataclass(frozen=True)
class Strength:
    """How much a feature moved the answers of a job."""

    feature: str
    mean_absolute: float
    """Mean size of its attributions."""


@dataclass(frozen=True)
class ClassShare:
    """How often a class came out."""

    label: str
    rows: int
    """With the highest score for it."""
    mean_score: float


@dataclass(frozen=True)
class Values:
    """Predicted values."""

    mean: float
    least: float
    median: float
    greatest: float
    mean_width: float | None = None
    """Of the interval."""


@dataclass(frozen=True)
class Summary:
    """A job's results in a few numbers; ``_rowcast_summary.json`` has the rest."""

    explained: int
    """Rows with an explanation."""
    strongest: tuple[Strength, ...] = ()
    """At most 20 features, the strongest first."""
    classes: tuple[ClassShare, ...] = ()
    """The most frequent 20."""
    values: Values | None = None
    replicas: int = 0
    """Replicas that worked on the job; 0 if they are not known."""
