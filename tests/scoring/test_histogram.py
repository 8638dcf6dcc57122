"""Histograms do not depend on how values are divided, and lose none."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.scoring.histogram import MOST_BINS, Histogram, share_bins

DRAW = np.random.default_rng(0)
SETS = {
    "normal": DRAW.normal(size=20_000),
    "skewed": DRAW.lognormal(10, 2, 20_000),
    "far from 0": 1e6 + DRAW.normal(size=20_000),
    "one value": np.full(100, 3.3),
    "few values": DRAW.integers(0, 9, 1000) / 7,
    "all sizes": np.concatenate([DRAW.normal(size=1000), [1e300, -1e250, 0, 5e-324, 1.7e308]]),
}


def in_pieces(values, pieces):
    found = Histogram()
    for piece in np.array_split(values, pieces):
        found = found + Histogram.of(piece)
    return found


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("pieces", [2, 7, 60])
def test_the_parts_add_up_to_the_whole_however_they_are_cut(name, pieces):
    values = SETS[name]
    whole = Histogram.of(values)
    assert in_pieces(values, pieces) == whole
    assert in_pieces(DRAW.permutation(values), pieces) == whole
    assert whole.total == len(values)
    assert len(whole.bins) <= MOST_BINS


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)), st.integers(1, 5))
def test_any_values_can_be_counted_and_drawn(values, pieces):
    values = np.array(values, np.float64)
    whole = Histogram.of(values)
    assert in_pieces(values, pieces) == whole
    if not len(values):
        return
    edges, counts, below, above = whole.drawn(40)
    assert len(edges) == len(counts) + 1 <= 42
    assert all(low < high for low, high in pairwise(edges))
    assert sum(counts) + below + above == len(values)


@pytest.mark.parametrize("name", SETS)
def test_a_picture_counts_what_lies_between_its_edges(name):
    values = SETS[name]
    edges, counts, below, above = Histogram.of(values).drawn(40)
    places = np.searchsorted(edges, values, side="right") - 1
    expected = [int((places == i).sum()) for i in range(len(counts))]
    assert counts == expected
    assert (below, above) == (int((values < edges[0]).sum()), int((values >= edges[-1]).sum()))
    assert below + above <= 0.01 * len(values)


@pytest.mark.parametrize("name", ["normal", "skewed", "far from 0"])
def test_quantiles_are_right_to_the_width_of_a_bin(name):
    values = SETS[name]
    found = Histogram.of(values)
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert found.quantile(share) == pytest.approx(
            np.quantile(values, share), abs=1.01 * 2.0**found.exponent
        )


def test_what_is_no_number_is_left_out():
    assert Histogram.of(np.array([np.nan, np.inf, -np.inf])) == Histogram()
    assert Histogram.of(np.array([np.nan, 2.0])).total == 1


def test_shares_have_their_bins_with_both_ends():
    assert share_bins(np.array([0.0, 0.24, 0.25, 0.999, 1.0]), 4).tolist() == [2, 1, 0, 2]
