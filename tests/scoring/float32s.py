"""Numbers that float32 and float64 tell apart in different ways."""

from __future__ import annotations

import numpy as np

_BIG = float(np.finfo(np.float32).max)
_TINY = float(np.finfo(np.float32).smallest_subnormal)
_NORMAL = float(np.finfo(np.float32).tiny)
_SIZES = (0.0, _TINY, 2 * _TINY, 1e-40, _NORMAL, 1e-35, 0.1, 1.0, 1.5, 16_777_216.0, 1e30, _BIG)
HARD = np.array([*_SIZES, *(-size for size in _SIZES)])
"""Float32 numbers at the edges of what there is; zero of both signs is among them."""


def around(numbers: np.ndarray) -> np.ndarray:
    """The float32 ``numbers``, their neighbours, the ties between these, and the doubles beside."""
    with np.errstate(over="ignore"):
        up = np.nextafter(numbers, np.float32(np.inf))
        down = np.nextafter(numbers, np.float32(-np.inf))
    same = numbers.astype(np.float64)
    beside = [np.where(np.isinf(other), same, other) for other in (up, down)]
    ties = [(same + other) / 2 for other in beside] + [np.sign(same) * (2.0**128 - 2.0**103)]
    places = np.concatenate([same, up, down, *ties, HARD, [np.inf, -np.inf, 1e300, -1e300, 5e-324]])
    with np.errstate(over="ignore"):
        above, below = np.nextafter(places, np.inf), np.nextafter(places, -np.inf)
    return np.concatenate([places, above, below])
