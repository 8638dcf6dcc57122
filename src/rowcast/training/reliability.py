"""Whether scores mean what they say, and whether bounds hold what they should."""

from __future__ import annotations

from typing import Any

import numpy as np

LEAST_SCORE = 1e-15
SCORE_BINS = 15
WIDTH_BINS = 10
ERROR_BINS = 40
GRID = 40
"""Cells a side of the table of predicted against true values."""
MOST_POINTS = 1000
"""Rows that are kept as points."""
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def reliability(scores: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Compare scores with how often they come true.

    With two classes the second one's score is looked at, with more the highest score of each row.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_classes)
        Rows sum to 1.
    labels : ndarray of int64
        Each row's true class.

    Returns
    -------
    dict
        ``expectedCalibrationError`` over 15 bins of equal width, ``bins`` without the empty ones,
        ``classwiseCalibrationError`` (mean over the classes, each against the rest),
        ``brierScore`` (sum over the classes, mean over the rows) and ``logLoss``.

    References
    ----------
    Guo, Pleiss, Sun & Weinberger (2017), ICML. Kull et al. (2019), NeurIPS, for the classwise
    form.
    """
    n, k = scores.shape
    if k == 2:
        chosen, right = scores[:, 1], labels == 1
    else:
        top = scores.argmax(axis=1)
        chosen, right = scores[np.arange(n), top], top == labels
    error, bins = binned(chosen, right)
    classwise, squares = 0.0, 0.0
    for number in range(k):
        column, own = scores[:, number], labels == number
        classwise += binned(column, own)[0] / k
        squares += float(((column - own) ** 2).sum())
    return {
        "expectedCalibrationError": error,
        "classwiseCalibrationError": classwise,
        "brierScore": squares / n,
        "logLoss": log_loss(scores, labels),
        "bins": bins,
    }


def log_loss(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the negative logarithm of the true class' score."""
    true = scores[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, LEAST_SCORE)).mean())


def binned(scores: np.ndarray, right: np.ndarray) -> tuple[float, list[dict[str, Any]]]:
    """Expected calibration error of scores in [0, 1], and its bins."""
    places = np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    rows = np.bincount(places, minlength=SCORE_BINS)
    sums = np.bincount(places, weights=scores, minlength=SCORE_BINS)
    hits = np.bincount(places, weights=right, minlength=SCORE_BINS)
    bins = [
        {
            "meanScore": float(sums[b] / rows[b]),
            "observedShare": float(hits[b] / rows[b]),
            "rows": int(rows[b]),
        }
        for b in np.flatnonzero(rows)
    ]
    return float(np.abs(sums - hits).sum() / len(scores)), bins


def residuals(values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Describe the errors ``values - truth``.

    Returns
    -------
    dict
        ``histogram`` of the middle 99 % with the rows on either side, ``errorQuantiles`` and
        ``absoluteErrorQuantiles`` by share, ``meanError``, ``deciles`` of the predicted value,
        ``sample`` (at most 1,000 rows, evenly spaced) and ``grid`` of predicted against true.
    """
    errors = values - truth
    sizes = np.abs(errors)
    low, high = np.quantile(errors, [0.005, 0.995])
    edges = _edges(low, high, ERROR_BINS)
    inside = (errors >= edges[0]) & (errors <= edges[-1])
    counts, _ = np.histogram(errors[inside], edges)
    return {
        "meanError": float(errors.mean()),
        "errorQuantiles": _quantiles(errors),
        "absoluteErrorQuantiles": _quantiles(sizes),
        "histogram": {
            "edges": edges.tolist(),
            "counts": counts.tolist(),
            "below": int((errors < edges[0]).sum()),
            "above": int((errors > edges[-1]).sum()),
        },
        "deciles": [
            {
                "meanPredicted": float(values[rows].mean()),
                "meanTrue": float(truth[rows].mean()),
                "meanAbsoluteError": float(sizes[rows].mean()),
                "rows": len(rows),
            }
            for rows in _equal_parts(values)
        ],
        "sample": _sample(values, truth),
        "grid": _grid(values, truth),
    }


def _sample(values: np.ndarray, truth: np.ndarray) -> dict[str, list[float]]:
    rows = np.unique(np.linspace(0, len(values) - 1, MOST_POINTS).astype(np.int64))
    return {"true": truth[rows].tolist(), "predicted": values[rows].tolist()}


def _grid(values: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    """Count rows by true and predicted value, as far as both are not among the outermost."""
    low, high = np.quantile(np.concatenate([values, truth]), [0.002, 0.998])
    edges = _edges(low, high, GRID)
    places = [np.searchsorted(edges, of, "right") - 1 for of in (truth, values)]
    for place, of in zip(places, (truth, values), strict=True):
        place[of == edges[-1]] = GRID - 1
    inside = np.all([(place >= 0) & (place < GRID) for place in places], axis=0)
    cells = np.bincount(places[0][inside] * GRID + places[1][inside], minlength=GRID * GRID)
    filled = np.flatnonzero(cells)
    return {
        "edges": edges.tolist(),
        "cells": [[int(c // GRID), int(c % GRID), int(cells[c])] for c in filled],
        "outside": int(len(values) - inside.sum()),
    }


def interval_facts(
    truth: np.ndarray, lower: np.ndarray, upper: np.ndarray, level: float
) -> dict[str, Any]:
    """Measure bounds that should hold a share ``level`` of the true values.

    Returns
    -------
    dict
        ``coverage``, mean and median width, ``winklerScore`` (mean; width plus, for a value
        outside, its distance times 2 / (1 - level)), and ``deciles`` of width, each with its
        coverage: bounds that know where they are uncertain cover as much in every one.

    References
    ----------
    Winkler (1972), JASA 67(337).
    """
    width = upper - lower
    covered = (truth >= lower) & (truth <= upper)
    outside = np.maximum(lower - truth, 0.0) + np.maximum(truth - upper, 0.0)
    return {
        "level": level,
        "rows": len(truth),
        "coverage": float(covered.mean()),
        "below": float((truth < lower).mean()),
        "above": float((truth > upper).mean()),
        "meanWidth": float(width.mean()),
        "medianWidth": float(np.median(width)),
        "winklerScore": float((width + outside * 2 / (1 - level)).mean()),
        "deciles": [
            {
                "meanWidth": float(width[rows].mean()),
                "coverage": float(covered[rows].mean()),
                "rows": len(rows),
            }
            for rows in _equal_parts(width)
        ],
    }


def _equal_parts(values: np.ndarray) -> list[np.ndarray]:
    """Cut the rows into tenths by ascending value."""
    order = np.argsort(values, kind="stable")
    return [rows for rows in np.array_split(order, WIDTH_BINS) if len(rows)]


def _quantiles(values: np.ndarray) -> dict[str, float]:
    found = np.quantile(values, QUANTILES)
    return {f"{share:g}": float(value) for share, value in zip(QUANTILES, found, strict=True)}


def _edges(low: float, high: float, bins: int) -> np.ndarray:
    """Edges of equal bins; where there is but one value, around it."""
    room = max(1e-6 * max(abs(low), abs(high)), 1e-9) if high - low <= 0 else 0.0
    return np.linspace(low - room, high + room, bins + 1)
