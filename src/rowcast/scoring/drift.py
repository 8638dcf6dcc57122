"""Comparing what was counted of an input with the profile of the training data.

Two samples of one origin differ by chance, the more the fewer rows they have and the more bins
there are. So a difference is worth a warning if it is both large, after what chance explains is
taken off, and beyond what chance brings about once in a hundred thousand times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rowcast.core.batch import shown
from rowcast.core.drift import (
    DISTANCE,
    LEAST_ROWS,
    MISSING_CHANGE,
    OUTSIDE,
    PREDICTION_DISTANCE,
    WARNINGS_KEPT,
    Drift,
    DriftWarning,
    Thresholds,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rowcast.core.profile import ColumnProfile, Profile
    from rowcast.scoring.profile import Counted, Counts

CHANCE_SDS = 4.4
"""Standard deviations that chance exceeds once in a hundred thousand times."""
PSI_SMOOTHING = 0.5
"""Added to each bin's count, so that an empty bin has a logarithm."""
RANGE_TOLERANCE = 15
"""Training rows whose worth of values may lie outside the range of the training data."""
CLUMP = 5
"""Rows of a category that is barely known: they become unseen together."""


def jensen_shannon(p: np.ndarray, q: np.ndarray) -> float:
    """Divergence of two distributions over the same bins, base 2: 0 if equal, 1 if disjoint."""
    middle = (p + q) / 2

    def relative(one: np.ndarray) -> float:
        there = one > 0
        return float((one[there] * np.log2(one[there] / middle[there])).sum())

    return min(1.0, max(0.0, (relative(p) + relative(q)) / 2))


def divergence_by_chance(bins: int, n: int, m: int) -> tuple[float, float]:
    """What the divergence of samples of one origin is on average, and at most.

    Eight times the divergence in nats, over ``1/n + 1/m``, has nearly the chi-squared
    distribution with one degree of freedom less than bins; its quantile is that of Wilson and
    Hilferty (1931).

    Parameters
    ----------
    bins : int
        Bins that are not empty in both samples.
    n, m : int
        Sizes of the samples.
    """
    freedom = max(bins - 1, 1)
    unit = (1 / n + 1 / m) / (8 * np.log(2))
    narrow = 2 / (9 * freedom)
    quantile = freedom * (1 - narrow + CHANCE_SDS * np.sqrt(narrow)) ** 3
    return float((bins - 1) * unit), float(quantile * unit)


def stability_index(training: np.ndarray, found: np.ndarray) -> float:
    """Population stability index of two rows of counts: the symmetric divergence in nats."""
    p, q = (
        (counts + PSI_SMOOTHING) / (counts.sum() + PSI_SMOOTHING * len(counts))
        for counts in (training, found)
    )
    return float(((q - p) * np.log(q / p)).sum())


def share_by_chance(a: float, n: float, b: int, m: int) -> float:
    """How far the shares ``a / n`` and ``b / m`` may be apart by chance, to a row of each."""
    pooled = (a + b + 0.5) / (n + m + 1)
    spread = np.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return float(CHANCE_SDS * spread + 1 / n + 1 / m)


def outside_by_chance(n: int, m: int) -> float:
    """What share of ``m`` values may lie outside the range of ``n`` by chance.

    The share of all possible values beyond the greatest of n exceeds ``c / n`` once in exp(c)
    times.
    """
    beyond = min(1.0, RANGE_TOLERANCE / n)
    return float(beyond + CHANCE_SDS * np.sqrt(beyond * (1 - beyond) / m) + 1 / m)


@dataclass(frozen=True)
class ColumnDrift:
    """One column's comparison, in the numbers of the report."""

    column: ColumnProfile
    counts: Counts
    statistics: dict[str, float]
    """Changes are the input's share less that of the training data."""
    beyond_chance: frozenset[str]
    """The statistics that chance does not explain."""


def compare(profile: Profile, counted: Counted) -> list[ColumnDrift]:
    """Compare each column of a profile with what was counted of an input."""
    return [
        ColumnDrift(column, counts, *_statistics(column, counts, profile.rows, counted.rows))
        for column, counts in zip(profile.columns, counted.columns, strict=True)
    ]


class _Statistics:
    """Collects statistics, and which of them are more than chance."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}
        self.beyond: set[str] = set()

    def add(self, name: str, value: float, *, beyond_chance: bool) -> None:
        self.values[name] = float(value)
        if beyond_chance:
            self.beyond.add(name)

    def add_change(self, name: str, share: float, of: float, now: int, out_of: int) -> None:
        """Add the change from a share of ``of`` rows to ``now`` of ``out_of``."""
        change = now / out_of - share
        limit = share_by_chance(share * of, of, now, out_of)
        self.add(name, change, beyond_chance=abs(change) > limit)


def _statistics(
    column: ColumnProfile, counts: Counts, rows: int, counted: int
) -> tuple[dict[str, float], frozenset[str]]:
    made = _Statistics()
    output = column.output_column
    if rows and counted and not output:
        made.add_change("missingChange", column.null / rows, rows, counts.null, counted)
        if column.unreadable or counts.unreadable:
            share = column.unreadable / rows
            made.add_change("unreadableChange", share, rows, counts.unreadable, counted)
    if column.values and counts.bins.any():
        _compare_bins(made, column, counts)
    return made.values, frozenset(made.beyond)


def _compare_bins(made: _Statistics, column: ColumnProfile, counts: Counts) -> None:
    before, now = np.array(column.counts, np.int64), counts.bins
    values, found = int(before.sum()), int(now.sum())
    p, q = expected_shares(column), now / found
    mean, most = divergence_by_chance(int(((before + now) > 0).sum()), values, found)
    raw = jensen_shannon(p, q)
    made.add("jensenShannon", max(0.0, raw - mean), beyond_chance=raw > most)
    made.add("psi", stability_index(before, now), beyond_chance=raw > most)
    if column.categorical:
        rows = np.full(len(p), float(values))
        if column.kind == "categorical":
            rows[-1] /= CLUMP
        most_moved = int(np.abs(q - p).argmax())
        made.add_change("lInfinity", p[most_moved], rows[most_moved], int(now[most_moved]), found)
    if column.kind == "categorical":
        made.add_change("unseenChange", p[-1], rows[-1], int(now[-1]), found)
    if column.kind == "numeric":
        outside = int(now[0] + now[-1]) / found
        made.add("outsideShare", outside, beyond_chance=outside > outside_by_chance(values, found))


def expected_shares(column: ColumnProfile) -> np.ndarray:
    """What share of further data of the same origin each bin should have.

    Categories that training saw too seldom to know them are unseen as well.
    """
    shares = np.array(column.counts, np.int64) / column.values
    if column.kind == "categorical" and shares[-1] < 1:
        shares[:-1] *= (1 - column.expected_unseen) / (1 - shares[-1])
        shares[-1] = column.expected_unseen
    return shares


def judge(
    profile: Profile, counted: Counted, compared: Sequence[ColumnDrift], thresholds: Thresholds
) -> list[DriftWarning]:
    """Say what is worth a warning, the gravest first."""
    warnings: list[DriftWarning] = []
    if counted.rows >= LEAST_ROWS:
        for one in compared:
            warnings += _warnings(one, profile.rows, counted.rows, thresholds)
    warnings.sort(key=lambda w: (-abs(w.value) / w.threshold, w.feature, w.kind))
    names = {feature.name for feature in profile.features}
    unknown = sorted(name for name in thresholds.features if name not in names)
    return warnings + [
        DriftWarning(
            name,
            "threshold",
            "",
            0.0,
            thresholds.features[name],
            f"modelMonitoringConfig names {shown(name)}, which is no feature of the model.",
        )
        for name in unknown
    ]


def summary(profile: Profile, counted: Counted, warnings: Sequence[DriftWarning]) -> Drift:
    """Take what a job keeps."""
    kept = tuple(warnings[:WARNINGS_KEPT])
    return Drift(counted.rows, len(profile.features), len(warnings), kept)


def _warnings(
    one: ColumnDrift, rows: int, counted: int, thresholds: Thresholds
) -> Iterator[DriftWarning]:
    column, counts = one.column, one.counts

    def warning(kind: str, statistic: str, threshold: float, text: str) -> Iterator[DriftWarning]:
        value = one.statistics.get(statistic, 0.0)
        if statistic in one.beyond_chance and abs(value) > threshold:
            yield DriftWarning(column.name, kind, statistic, value, threshold, text)

    name = f"Column {shown(column.name)}"
    if column.output_column:
        text = f"The predictions are not as they were on rows held out in training: {_moved(one)}."
        yield from warning("prediction", "jensenShannon", PREDICTION_DISTANCE, text)
        return
    threshold = thresholds.of(column.name) if thresholds.given else DISTANCE
    if not threshold:
        return
    if thresholds.given or column.kind != "timestamp":  # time moves on by itself
        statistic = "jensenShannon"
        if thresholds.given and column.kind == "categorical":
            statistic = "lInfinity"
        yield from warning("distribution", statistic, threshold, f"{name}: {_moved(one)}.")
    yield from warning(
        "missing",
        "missingChange",
        MISSING_CHANGE,
        f"{name}: {_share(counts.null, counted)} of the values are missing; in training "
        f"{_share(column.null, rows)} were.",
    )
    yield from warning(
        "unreadable",
        "unreadableChange",
        MISSING_CHANGE,
        f"{name}: {_share(counts.unreadable, counted)} of the values cannot be read; in training "
        f"{_share(column.unreadable, rows)} could not.",
    )
    if one.statistics.get("unseenChange", 0.0) > 0:
        yield from warning(
            "unseen",
            "unseenChange",
            MISSING_CHANGE,
            f"{name}: {_share(counts.bins[-1], counts.bins.sum())} of the values are categories "
            f"that the model does not know; {column.expected_unseen:.1%} were to be expected.",
        )
    yield from warning(
        "range",
        "outsideShare",
        OUTSIDE,
        f"{name}: {_share(counts.bins[0] + counts.bins[-1], counts.bins.sum())} of the values "
        "lie outside the range of the training data"
        + (f", {column.edges[0]:g} to {column.edges[-1]:g}." if column.edges else "."),
    )


def _share(count: int, of: int) -> str:
    return f"{count / of if of else 0.0:.1%}"


def _moved(one: ColumnDrift) -> str:
    """Say in plain words how a distribution has moved."""
    column, now = one.column, one.counts.bins
    if not column.values or not now.any():
        return "there are no values to compare"
    if column.categorical:
        p, q = expected_shares(column), now / now.sum()
        at = int(np.abs(q - p).argmax())
        return f"{_label(column, at)} make up {q[at]:.1%} of the values, in training {p[at]:.1%}"
    before, after = (median_of_bins(column, counts) for counts in (np.array(column.counts), now))
    what = "length" if column.kind.startswith(("text", "repeated")) else "value"
    where = f" of {column.name}" if column.output_column else ""
    return f"the middle {what}{where} is about {after:.4g}, in training {before:.4g}"


def _label(column: ColumnProfile, at: int) -> str:
    if at < len(column.labels):
        return f"{shown(column.labels[at])}"
    unknown = at == len(column.counts) - 1
    return "unknown categories" if unknown else "the rarer known categories"


def median_of_bins(column: ColumnProfile, counts: np.ndarray) -> float:
    """Guess the median of values from their counts, as if they were even within a bin."""
    edges = np.array(column.edges)
    reach = np.cumsum(counts)
    half = reach[-1] / 2
    at = int(np.searchsorted(reach, half))
    low = edges[max(at - 1, 0)]
    high = edges[min(at, len(edges) - 1)]
    inside = (half - (reach[at - 1] if at else 0)) / counts[at]
    return float(low + inside * (high - low))
