"""What categories say of the target."""

from __future__ import annotations

import numpy as np
import pytest

from rowcast.training import columns
from rowcast.training.columns import target_means
from rowcast.training.telling import Outcome

RNG = np.random.default_rng(0)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _the_same_numbers_in_every_order_of_the_tests():
    RNG.bit_generator.state = START


def means_of(codes, values, weights=None, levels=3):
    outcome = Outcome.of_value(values, np.ones(len(values)) if weights is None else weights)
    return target_means(codes, levels, outcome, np.arange(len(codes)) % columns.FOLDS)


def test_a_mean_is_drawn_to_the_overall_mean_where_rows_are_few():
    codes = np.repeat([0, 1], [90, 10])
    values = np.where(codes == 1, 10.0, 0.0)
    means, _ = means_of(codes, values)
    s = columns.SMOOTHING
    assert means[:, 0] == pytest.approx([s / (90 + s), (100 + s) / (10 + s), 1.0])


def test_a_row_of_a_rare_category_does_not_see_its_own_target():
    codes = np.repeat([0, 1], [200, 20])
    values = RNG.normal(size=220)
    _, before = means_of(codes, values)
    values[-1] += 1000
    _, after = means_of(codes, values)
    same_fold = (np.arange(220) % columns.FOLDS == 219 % columns.FOLDS) & (codes == 1)
    assert after[same_fold] == pytest.approx(before[same_fold])
    assert (after[(codes == 1) & ~same_fold] > before[(codes == 1) & ~same_fold]).all()


def test_a_common_category_has_one_mean_for_all_its_rows():
    codes = np.repeat([0, 1], [columns.COMMON, columns.COMMON - 1])
    means, crossed = means_of(codes, RNG.normal(size=len(codes)))
    assert (crossed[codes == 0, 0] == means[0, 0]).all()
    assert len(np.unique(crossed[codes == 1, 0])) == columns.FOLDS


def test_rows_of_little_weight_do_not_make_a_category_common():
    codes = np.zeros(columns.COMMON, np.int64)
    weights = np.ones(len(codes))
    weights[0] = 1000
    _, crossed = means_of(codes, RNG.normal(size=len(codes)), weights)
    assert len(np.unique(crossed)) == columns.FOLDS
