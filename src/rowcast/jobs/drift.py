"""A job's input beside the training data of its model: what is asked, counted and reported."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcast.core.drift import Drift, DriftWarning, Thresholds
from rowcast.errors import Violation
from rowcast.jobs.written import written
from rowcast.scoring.drift import ColumnDrift, compare, judge, summary
from rowcast.scoring.profile import PROFILE, Counted, Counter, read_profile, rows_to_count, unpack
from rowcast.storage.model_folder import read_member

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np

    from rowcast.core.job import JobSpec
    from rowcast.core.model import ModelSpec
    from rowcast.core.profile import ColumnProfile, Profile
    from rowcast.predictors import Predictor

CONFIG = "model_monitoring_config"
SKEW = "training_prediction_skew_detection_config"


@dataclass(frozen=True)
class Counting:
    """What replicas count of a job's rows. Pickles."""

    profile: Profile
    share: float
    """Of the rows."""

    def counter(self, predictor: Predictor) -> Counter:
        """Make the counter of one part."""
        columns = [where.start for _, where in predictor.groups()]
        return Counter(self.profile, columns, self.share)


@dataclass(frozen=True)
class Findings:
    """How an input differs from the training data."""

    kept: Drift
    """For the job."""
    report: bytes
    """For the output folder."""


def counting(folder: str, model: ModelSpec, spec: JobSpec, rows: int) -> Counting | None:
    """Say what to count of a job of so many rows.

    None if the model has no profile, if the request wants none of it, or for a retry: rows that
    failed are no sample of anything.
    """
    unwanted = spec.extension.skip_drift or spec.extension.retry_of is not None
    if unwanted or PROFILE not in model.members:
        return None
    profile = read_profile(read_member(Path(folder), model, PROFILE))
    return Counting(profile, rows_to_count(rows, len(profile.features)))


def findings(
    profile: Profile, counts: np.ndarray, config: dict[str, Any] | None, facts: dict[str, Any]
) -> Findings:
    """Compare the sum of all counts with the profile.

    Parameters
    ----------
    config
        The request's ``modelMonitoringConfig``, whose thresholds decide.
    facts
        What the report begins with.
    """
    counted = Counted.of(profile, counts)
    compared = compare(profile, counted)
    warnings = judge(profile, counted, compared, read_thresholds(config))
    facts = {**facts, "trainingRows": profile.rows, "countedRows": counted.rows}
    return Findings(summary(profile, counted, warnings), _report(facts, warnings, compared))


def total(packed: Iterable[str]) -> np.ndarray | None:
    """Add the counts of all parts up; None if one of them has none, or there is no part."""
    whole: np.ndarray | None = None
    for text in packed:
        if not text:
            return None
        counts = unpack(text)
        whole = counts if whole is None else whole + counts
    return whole


def as_json(drift: Drift) -> dict[str, Any]:
    """Show what a job keeps, as in ``rowcast.drift``."""
    return {
        "featuresChecked": drift.features,
        "countedRows": str(drift.rows),
        "warningCount": drift.found,
        "warnings": [_warning(warning) for warning in drift.warnings],
    }


def _warning(warning: DriftWarning) -> dict[str, Any]:
    return {
        "feature": warning.feature,
        "kind": warning.kind,
        **({"statistic": warning.statistic} if warning.statistic else {}),
        "value": round(warning.value, 6),
        "threshold": warning.threshold,
        "message": warning.message,
    }


def _report(
    facts: dict[str, Any], warnings: Sequence[DriftWarning], compared: Sequence[ColumnDrift]
) -> bytes:
    return written(
        {
            **facts,
            "warnings": [_warning(warning) for warning in warnings],
            "features": [_column(one) for one in compared if not one.column.output_column],
            "predictions": [_column(one) for one in compared if one.column.output_column],
        }
    )


def _column(one: ColumnDrift) -> dict[str, Any]:
    column = one.column
    return {
        "name": column.name,
        "kind": column.kind,
        "statistics": {name: round(value, 6) for name, value in one.statistics.items()},
        "beyondChance": sorted(one.beyond_chance),
        **_bins(column),
        "training": _side(column.counts, column.null, column.unreadable),
        "input": _side(one.counts.bins.tolist(), one.counts.null, one.counts.unreadable),
    }


def _bins(column: ColumnProfile) -> dict[str, Any]:
    """Name the bins that ``counts`` are of."""
    if not column.categorical:
        return {"edges": list(column.edges)}
    return {"categories": list(column.labels), "otherCategories": column.has_other}


def _side(counts: Iterable[int], null: int, unreadable: int) -> dict[str, Any]:
    return {"counts": list(counts), "null": null, "unreadable": unreadable}


# modelMonitoringConfig


def read_thresholds(config: dict[str, Any] | None) -> Thresholds:
    """Read the thresholds that a request names, in camelCase or snake_case."""
    return _Reader().read(config).thresholds


def monitoring_violations(config: dict[str, Any] | None) -> list[Violation]:
    """Say what of ``modelMonitoringConfig`` cannot be read. What is unknown is left alone."""
    return _Reader().read(config).violations


@dataclass
class _Reader:
    """Walks ``objectiveConfigs[].trainingPredictionSkewDetectionConfig``.

    The same below ``objectiveConfigs[].objectiveConfig``, where the monitoring of endpoints has
    it, is read as well.
    """

    violations: list[Violation] = field(default_factory=list)
    _features: dict[str, float] = field(default_factory=dict)
    _default: float | None = None

    @property
    def thresholds(self) -> Thresholds:
        return Thresholds(self._features, self._default)

    def read(self, config: dict[str, Any] | None) -> _Reader:
        place = f"{CONFIG}.objective_configs"
        objectives = _member(config or {}, "objective_configs")
        if not isinstance(objectives, list | None):
            self._add(place, "must be an array")
            objectives = None
        for i, objective in enumerate(objectives or ()):
            for where, outer in self._object(f"{place}[{i}]", {"one": objective}, "one"):
                self._objective(where, outer)
                nested = f"{where}.objective_config"
                for at, inner in self._object(nested, outer, "objective_config"):
                    self._objective(at, inner)
        return self

    def _objective(self, where: str, objective: dict[str, Any]) -> None:
        for place, skew in self._object(f"{where}.{SKEW}", objective, SKEW):
            default = f"{place}.default_skew_threshold"
            for at, threshold in self._object(default, skew, "default_skew_threshold"):
                self._default = self._value(at, threshold)
            named = f"{place}.skew_thresholds"
            for at, features in self._object(named, skew, "skew_thresholds"):
                for name in features:
                    for own, threshold in self._object(f"{at}[{name}]", features, name):
                        self._features[name] = self._value(own, threshold)

    def _object(
        self, place: str, holder: dict[str, Any], name: str
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The object that is a member, if there is one."""
        found = holder[name] if name in holder else _member(holder, name)
        if isinstance(found, dict):
            yield place, found
        elif found is not None:
            self._add(place, "must be an object")

    def _value(self, place: str, threshold: dict[str, Any]) -> float:
        """A ``ThresholdConfig``; like every number of the API, 0 if absent."""
        given = threshold.get("value")
        value = 0.0
        if isinstance(given, bool) or not isinstance(given, int | float | str | None):
            value = math.nan
        elif given is not None:
            try:
                value = float(given)
            except (ValueError, OverflowError):
                value = math.nan
        if not 0 <= value < math.inf:
            self._add(f"{place}.value", "must be a number, at least 0")
            return 0.0
        return value

    def _add(self, field_: str, description: str) -> None:
        self.violations.append(Violation(field_, description))


def _member(holder: dict[str, Any], name: str) -> Any:
    """A member by its snake_case name or the camelCase of it."""
    head, *rest = name.split("_")
    camel = head + "".join(word.capitalize() for word in rest)
    return holder.get(name, holder.get(camel))
