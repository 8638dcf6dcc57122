"""What is tried first: settings that have done well on many tables, in a fixed order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rowcast.training.families import FAMILIES, installed, open_family

if TYPE_CHECKING:
    from rowcast.training.families import Settings
    from rowcast.training.task import Task

MOST_ROUNDS = 4_000
MOST_RATE = 0.3
SMALL = 10_000
"""Rows below which small and strongly regularised members come first."""
MANY_OUTPUTS = 30
TYPICAL_SHARE = 0.7
"""Of the rounds that time allows, how many a fit is planned to need."""


@dataclass(frozen=True)
class Candidate:
    """A member to be tried."""

    label: str
    family: str
    settings: Settings

    def paced(self, rows: int, columns: int, task: Task, seconds: float) -> Settings:
        """Raise the learning rate so that a fit has come to its end in so many seconds.

        Depends on the table's shape and on ``seconds`` alone, never on the clock, so the same
        request trains the same members.
        """
        family = open_family(self.family)
        if not family.iterative:
            return self.settings
        affordable = max(1.0, TYPICAL_SHARE * seconds / self._round_seconds(rows, columns, task))
        base = float(self.settings["learning_rate"])
        rate = min(MOST_RATE, max(base, family.travel / affordable))
        return {**self.settings, "learning_rate": round(rate, 4)}

    def expected_seconds(self, rows: int, columns: int, task: Task) -> float:
        """Guess how long a fit takes at its own learning rate."""
        family = open_family(self.family)
        rounds = family.travel / self.settings["learning_rate"] if family.iterative else 1.0
        return rounds * self._round_seconds(rows, columns, task)

    def _round_seconds(self, rows: int, columns: int, task: Task) -> float:
        family = open_family(self.family)
        weight = 1.0
        if self.family in _USUAL_SIZE:
            name, usual = _USUAL_SIZE[self.family]
            weight = 0.5 + 0.5 * float(self.settings[name]) / usual
        by_cell = family.cell_seconds * weight * rows * columns
        return task.outputs * (family.round_seconds + by_cell)


_USUAL_SIZE = {
    "lightgbm": ("num_leaves", 31),
    "xgboost": ("max_depth", 6),
    "catboost": ("depth", 6),
}
"""The setting that a round's cost grows with, and what it usually is."""

_LIGHTGBM = {
    "num_leaves": 31,
    "learning_rate": 0.04,
    "feature_fraction": 0.7,
    "min_data_in_leaf": 20,
    "lambda_l2": 2.0,
    "bagging_fraction": 0.9,
    "bagging_freq": 1,
}
_SMALL_LIGHTGBM = {
    **_LIGHTGBM,
    "num_leaves": 15,
    "feature_fraction": 0.8,
    "min_data_in_leaf": 5,
    "lambda_l2": 0.1,
}
_CATBOOST = {"depth": 6, "learning_rate": 0.06, "l2_leaf_reg": 3.0}
_XGBOOST = {
    "max_depth": 6,
    "learning_rate": 0.04,
    "min_child_weight": 3.0,
    "subsample": 0.85,
    "colsample_bytree": 0.7,
    "reg_lambda": 2.0,
}
_FIRST: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("LightGBM", "lightgbm", _LIGHTGBM),
    ("CatBoost", "catboost", _CATBOOST),
    ("XGBoost", "xgboost", _XGBOOST),
    ("LightGBM large", "lightgbm", {**_LIGHTGBM, "num_leaves": 63, "feature_fraction": 0.5}),
    ("LightGBM extra trees", "lightgbm", {**_LIGHTGBM, "extra_trees": True, "num_leaves": 63}),
    ("linear", "linear", {"l2": 1.0}),
    ("CatBoost deep", "catboost", {**_CATBOOST, "depth": 8, "l2_leaf_reg": 5.0}),
)
_SMALL: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("LightGBM", "lightgbm", _SMALL_LIGHTGBM),
    ("linear", "linear", {"l2": 1.0}),
    ("CatBoost", "catboost", {**_CATBOOST, "depth": 5, "l2_leaf_reg": 2.0}),
    (
        "XGBoost",
        "xgboost",
        {**_XGBOOST, "max_depth": 5, "min_child_weight": 1.0, "colsample_bytree": 0.9},
    ),
    (
        "LightGBM extra trees",
        "lightgbm",
        {**_SMALL_LIGHTGBM, "extra_trees": True, "num_leaves": 31, "lambda_l2": 0.5},
    ),
    (
        "LightGBM large",
        "lightgbm",
        {**_SMALL_LIGHTGBM, "num_leaves": 31, "min_data_in_leaf": 3, "bagging_fraction": 0.7},
    ),
    (
        "LightGBM small",
        "lightgbm",
        {**_SMALL_LIGHTGBM, "num_leaves": 6, "feature_fraction": 0.4, "lambda_l2": 5.0},
    ),
    ("CatBoost deep", "catboost", {**_CATBOOST, "depth": 7, "l2_leaf_reg": 6.0}),
    ("linear, strong penalty", "linear", {"l2": 30.0}),
)


def first_candidates(rows: int, task: Task) -> list[Candidate]:
    """List what to try before tuning, best bets first; families that are missing are left out."""
    listed = _SMALL if rows < SMALL else _FIRST
    made = [Candidate(*one) for one in listed if installed(one[1])]
    if task.outputs > MANY_OUTPUTS:  # one tree a class and round: CatBoost's have a leaf for all
        made.sort(key=lambda candidate: candidate.family != "catboost")
    return made


def missing_families() -> list[str]:
    """Families whose library is not installed."""
    return [name for name in FAMILIES if not installed(name)]
