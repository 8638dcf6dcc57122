"""What a model's training data looked like: counts per feature, nothing of a single row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rowcast.core.schema import FeatureKind

ColumnKind = FeatureKind | Literal["score", "value", "class"]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ColumnProfile:
    """How the values of one feature, or of one output of the model, are distributed.

    Categories and classes have a bin for each of the most frequent ones, one for all others that
    the model knows if there are any, and one for those it does not know. Everything else (a text
    by its length in characters, a list by how many values it has, a timestamp in days since 1970)
    has a bin between each two of ``edges``, whose upper edge belongs to it, with one for values
    below the first before them and one for values above the last behind them.
    """

    name: str
    """The feature, or the column that CSV output has for the output."""
    kind: ColumnKind
    counts: tuple[int, ...]
    """Values per bin."""
    edges: tuple[float, ...] = ()
    """Ascending, from the least value to the greatest; empty for categories, or without values."""
    labels: tuple[str, ...] = ()
    """The most frequent categories, most frequent first, or the classes in their order; cut."""
    known: int = 0
    """Categories or classes that the model knows."""
    output: int = 0
    """Of a score, the number of its class."""
    null: int = 0
    unreadable: int = 0
    """Values that count as null because they cannot be read; ``invalid_values_allowed``."""
    expected_unseen: float = 0.0
    """Share of values that the model would not know in further data of the same origin."""
    mean: float | None = None
    deviation: float | None = None

    @property
    def categorical(self) -> bool:
        """Whether bins are categories."""
        return self.kind in ("categorical", "class")

    @property
    def output_column(self) -> bool:
        """Whether it is an output of the model, and not a feature."""
        return self.kind in ("score", "value", "class")

    @property
    def has_other(self) -> bool:
        """Whether there is a bin for categories that are known but not among the labels."""
        return self.known > len(self.labels)

    @property
    def values(self) -> int:
        """Values that are not null."""
        return sum(self.counts)


@dataclass(frozen=True)
class Profile:
    """The content of ``profile.json``."""

    rows: int
    """Training rows that were counted; of a large table, a part."""
    features: tuple[ColumnProfile, ...]
    """In the model's order."""
    predictions: tuple[ColumnProfile, ...] = ()
    """Of rows that were held out: the scores of some classes and the top class, or the value."""
    format_version: int = FORMAT_VERSION

    @property
    def columns(self) -> tuple[ColumnProfile, ...]:
        """Features, then predictions."""
        return self.features + self.predictions
