"""The columns a model was trained on, and matching an input to them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rowcast.errors import InvalidRequest, MissingColumns

if TYPE_CHECKING:
    from collections.abc import Sequence

FeatureKind = Literal[
    "numeric",
    "categorical",
    "timestamp",
    "text",
    "repeatedNumeric",
    "repeatedCategorical",
    "repeatedText",
]
"""Spelled as in the API, here and everywhere."""
ALWAYS_NULLABLE = ("categorical", "text", "repeatedCategorical", "repeatedText")
"""Kinds that take any cell."""
PredictionType = Literal["classification", "regression"]


@dataclass(frozen=True)
class Feature:
    """One column that a model reads."""

    name: str
    kind: FeatureKind
    nullable: bool
    """The training column held a null, or ``invalid_values_allowed``. Categorical and text
    features, repeated or not, are always nullable."""
    invalid_values_allowed: bool = False
    """A value that cannot be read counts as null instead of failing its row."""
    time_format: str | None = None
    """``unix-seconds`` and its kin or a strptime format; None tries the accepted forms."""
    baseline: float | str | None = None
    """Median of numbers, and of timestamps in microseconds since 1970; most frequent text, which
    of lists is a JSON array.
    Nulls are not counted; the smallest value wins a tie. None if all values were null."""


@dataclass(frozen=True)
class Target:
    """The column that a model predicts."""

    name: str
    prediction_type: PredictionType
    classes: tuple[str, ...] = ()
    """Every value seen in training, ascending by text; empty for regression."""

    def score_columns(self) -> tuple[str, ...]:
        """Name the columns that CSV output adds."""
        if self.prediction_type == "regression":
            return (f"predicted_{self.name}",)
        return tuple(f"{self.name}_{label}_score" for label in self.classes)

    def interval_columns(self) -> tuple[str, str]:
        """Name the columns that CSV output adds for the bounds of a value, if asked to."""
        return f"predicted_{self.name}_lower_bound", f"predicted_{self.name}_upper_bound"

    @property
    def error_column(self) -> str:
        """Name of the column that holds a failed row's error in CSV and tables."""
        return f"errors_{self.name}"


@dataclass(frozen=True)
class ModelSchema:
    """What a model reads and what it predicts."""

    features: tuple[Feature, ...]
    target: Target

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns every input must have, in training order."""
        return tuple(feature.name for feature in self.features)


def attribution_column(feature: str) -> str:
    """Name the column that CSV output adds for a feature's attributions, if asked to."""
    return f"{feature}_attribution"


def check_columns(schema: ModelSchema, found: Sequence[str], uri: str) -> None:
    """See that an input with the columns ``found`` can be scored.

    Raises
    ------
    MissingColumns
        Naming every feature column that is absent.
    InvalidRequest
        If a name occurs twice.
    """
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise InvalidRequest(
            f"{uri} names the column {', '.join(map(repr, twice))} more than once; "
            "each column needs a name of its own."
        )
    if not set(schema.feature_names) <= set(found):
        raise MissingColumns.between(schema.feature_names, found, uri)


def check_added_columns(added: Sequence[str], found: Sequence[str]) -> None:
    """See that no two columns of the output have one name.

    Raises
    ------
    InvalidRequest
        Naming the columns that clash.
    """
    twice = sorted(name for name, count in Counter(added).items() if count > 1)
    if twice:
        raise InvalidRequest(
            f"The output would add the column {', '.join(map(repr, twice))} more than once; give "
            "the row number another name."
        )
    clash = sorted(set(added) & set(found))
    if clash:
        raise InvalidRequest(
            f"The input already has the column {', '.join(map(repr, clash))}, which the output "
            "adds; rename it in the input."
        )
