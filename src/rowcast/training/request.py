"""What a user asks of training."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from rowcast.errors import InvalidRequest, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.core.schema import PredictionType
    from rowcast.training.infer import Transformation

Objective = Literal[
    "maximize-au-roc",
    "minimize-log-loss",
    "maximize-au-prc",
    "maximize-precision-at-recall",
    "maximize-recall-at-precision",
    "minimize-rmse",
    "minimize-mae",
    "minimize-rmsle",
]
"""What the best model is the best at; see the training page of the API."""

BINARY_OBJECTIVES: tuple[Objective, ...] = (
    "maximize-au-roc",
    "minimize-log-loss",
    "maximize-au-prc",
    "maximize-precision-at-recall",
    "maximize-recall-at-precision",
)
MULTICLASS_OBJECTIVES: tuple[Objective, ...] = ("minimize-log-loss",)
REGRESSION_OBJECTIVES: tuple[Objective, ...] = ("minimize-rmse", "minimize-mae", "minimize-rmsle")
"""In each, the default comes first."""

SplitKind = Literal["fraction", "predefined", "timestamp", "stratified"]


@dataclass(frozen=True)
class SplitRule:
    """How rows become training, validation and test rows.

    Fractions of at most 1 in sum. Those not given take what is left, in the proportion 80/10/10;
    if all are given, what they leave is shared out in their own proportion.
    """

    kind: SplitKind = "fraction"
    column: str | None = None
    """Of every kind but ``fraction``: the column that decides."""
    training: float | None = None
    validation: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class Request:
    """The arguments of ``rowcast.training.train``, which describes them."""

    target: str
    name: str
    budget_s: float = 60
    trials: int | None = None
    prediction_type: PredictionType | None = None
    objective: Objective | None = None
    objective_value: float | None = None
    transformations: Mapping[str, str | Mapping[str, object] | Transformation] | None = None
    weight: str | None = None
    split: SplitRule = field(default_factory=SplitRule)
    seed: int = 0
    drop_null_target: bool = False
    early_stopping: bool = True
    max_scoring_cost: float | None = None
    interval_level: float = 0.95

    def check(self) -> None:
        """See that the settings make sense by themselves, whatever the data.

        Raises
        ------
        InvalidRequest
            Listing every violation.
        """
        found = [*self._budget_violations(), *self._objective_violations()]
        found += self._split_violations()
        if not 0.5 <= self.interval_level <= 0.995:
            found.append(Violation("interval_level", "must be from 0.5 to 0.995"))
        if self.max_scoring_cost is not None and not self.max_scoring_cost > 0:
            found.append(Violation("max_scoring_cost", "must be above 0"))
        if found:
            raise InvalidRequest.listing(found)

    def _budget_violations(self) -> list[Violation]:
        found = []
        if not self.budget_s > 0:
            found.append(Violation("budget_s", f"is {self.budget_s}; it must be above 0"))
        if self.trials is not None and self.trials < 1:
            found.append(Violation("trials", f"is {self.trials}; it must be at least 1"))
        return found

    def _objective_violations(self) -> list[Violation]:
        names = get_args(Objective)
        if self.objective is not None and self.objective not in names:
            return [Violation("objective", f"must be one of {', '.join(names)}")]
        needs_value = self.objective in BINARY_OBJECTIVES[3:]
        if needs_value and (self.objective_value is None or not 0 <= self.objective_value <= 1):
            return [Violation("objective_value", f"{self.objective} needs one from 0 to 1")]
        if not needs_value and self.objective_value is not None:
            return [Violation("objective_value", "goes with precision-at-recall and its kin only")]
        return []

    def _split_violations(self) -> list[Violation]:
        rule, found = self.split, []
        if (rule.kind == "fraction") != (rule.column is None):
            found.append(Violation("split.column", "goes with every kind but fraction"))
        shares = [s for s in (rule.training, rule.validation, rule.test) if s is not None]
        if any(not 0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:
            found.append(Violation("split", "fractions are from 0 to 1, and at most 1 in sum"))
        if rule.kind == "predefined" and shares:
            found.append(Violation("split", "a predefined split takes no fractions"))
        return found
