"""Thresholds for doubles that decide as float32 does."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.scoring.formats.float32 import at_most, below
from tests.scoring.float32s import HARD, around

LIMITS = [*HARD.tolist(), float("inf"), float("-inf")]


def check(limit):
    limits = np.float32([limit])
    values = around(limits)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    assert np.array_equal(values <= at_most(limits), rounded <= limits)
    assert np.array_equal(values <= below(limits), rounded < limits)


@pytest.mark.parametrize("limit", LIMITS)
def test_hard_limits(limit):
    check(limit)


@given(st.floats(width=32, allow_nan=False))
def test_any_limit(limit):
    check(limit)
