"""Comparing in float32 what is kept in float64."""

from __future__ import annotations

import numpy as np

_BEYOND = 2.0**128
"""The float32 that would follow the largest one, were there one more: rounding meets it."""


def at_most(limits: np.ndarray) -> np.ndarray:
    """Find the thresholds that compare doubles as their float32 would be compared.

    Parameters
    ----------
    limits : ndarray of float32
        Not NaN.

    Returns
    -------
    ndarray of float64
        ``x <= threshold`` if and only if ``float32(x) <= limit``, for every double x: half way to
        the next float32, or just below, as a tie is rounded to the even one of the two.
    """
    with np.errstate(over="ignore"):
        above = np.nextafter(limits, np.float32(np.inf))
    low = np.where(np.isneginf(limits), -_BEYOND, limits.astype(np.float64))
    high = np.where(np.isposinf(above), _BEYOND, above.astype(np.float64))
    middle = low / 2 + high / 2
    even = limits.view(np.uint32) & 1 == 0
    thresholds = np.where(even, middle, np.nextafter(middle, -np.inf))
    return np.where(np.isposinf(limits), np.inf, thresholds)


def below(limits: np.ndarray) -> np.ndarray:
    """As ``at_most``, for ``float32(x) < limit``. No threshold is below -inf: NaN."""
    with np.errstate(over="ignore"):
        previous = np.nextafter(limits, np.float32(-np.inf))
    return np.where(np.isneginf(limits), np.nan, at_most(previous))
