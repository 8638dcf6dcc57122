import numpy as np

from rowcast.training.interval import LEAST_COMPARED, HeldOut, calibrate_interval


def residuals(rows, size, seed=0):
    rng = np.random.default_rng(seed)
    return HeldOut(rng.normal(size=(rows, 2)), rng.normal(scale=size, size=rows))


def test_residuals_of_the_search_are_brought_to_the_size_of_the_later_fit():
    joined = residuals(5_000, 2.0).joined(residuals(5_000, 1.0, seed=1))
    early, late = np.abs(joined.residuals[:5_000]).mean(), np.abs(joined.residuals[5_000:]).mean()
    assert np.isclose(early, late)
    bounds = calibrate_interval(joined, seed=0).quantiles.at(0.95)
    scale = calibrate_interval(joined, seed=0).facts["meanWidth"] / (bounds.high - bounds.low)
    # 95 % of a normal residual of size 1 lie within 1.96.
    assert np.isclose((bounds.high - bounds.low) * scale, 2 * 1.96, rtol=0.05)


def test_few_residuals_are_left_as_they_are():
    few = residuals(LEAST_COMPARED - 1, 2.0)
    joined = few.joined(residuals(5_000, 1.0, seed=1))
    assert joined.residuals[: len(few.residuals)].tobytes() == few.residuals.tobytes()


def test_residuals_without_an_error_stay_without_one():
    none = HeldOut(np.zeros((2_000, 1)), np.zeros(2_000))
    assert not none.joined(none).residuals.any()
