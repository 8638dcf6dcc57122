"""The profile that training leaves in the model folder."""

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from rowcast.core.schema import Target
from rowcast.scoring.profile import read_profile
from rowcast.training.columns import fit_encoder
from rowcast.training.infer import Choice
from rowcast.training.profile import quantile_edges, training_profile
from rowcast.training.telling import Outcome
from tests.tables import TARGETS, shop, shop_model, training_columns

YES_NO = Target("y", "classification", ("no", "yes"))


def profile_of(target=YES_NO, predictions=None, kinds=None, **columns):
    table = pa.table(columns)
    n = len(table)
    choices = [Choice(name, (kinds or {}).get(name, "numeric")) for name in columns]
    fitted = fit_encoder(table, choices, Outcome.of_value(np.zeros(n), np.ones(n)), 0)
    content = training_profile(table, fitted.encoder, target, predictions)
    return read_profile(content), content


@pytest.mark.parametrize("kind", TARGETS)
def test_a_trained_model_carries_the_profile_of_its_rows_and_predictions(kind):
    model = shop_model(kind)
    profile = read_profile(model.members["profile.json"])
    rows = training_columns(kind, shop()).num_rows
    assert profile.rows == rows
    assert [f.name for f in profile.features] == list(model.spec.schema.feature_names)
    for feature in profile.features:
        assert feature.values + feature.null + feature.unreadable == rows
    assert {p.name for p in profile.predictions} <= {
        *model.spec.schema.target.score_columns(),
        TARGETS[kind],
    }
    assert profile.predictions


def test_bins_of_numbers_hold_about_equally_many_values_from_least_to_greatest():
    values = np.random.default_rng(0).normal(size=10_000)
    (column,), _ = profile_of(a=values)[0].features, None
    assert (column.edges[0], column.edges[-1]) == (values.min(), values.max())
    assert len(column.counts) == 22
    assert column.counts[0] == column.counts[-1] == 0
    assert all(480 <= count <= 520 for count in column.counts[1:-1])
    assert column.mean == pytest.approx(values.mean(), rel=1e-5)
    assert column.deviation == pytest.approx(values.std(), rel=1e-5)


def test_frequent_values_have_bins_of_their_own():
    (flag, constant, nothing) = profile_of(
        flag=[0.0] * 90 + [1.0] * 10, constant=[3.0] * 100, nothing=pa.nulls(100, pa.float64())
    )[0].features
    assert (flag.edges, flag.counts) == ((0.0, 0.0, 1.0), (0, 90, 0, 10, 0)) or (
        flag.edges,
        flag.counts,
    ) == ((0.0, 0.0, 1.0), (0, 90, 10, 0))
    assert (constant.edges, constant.counts) == ((3.0, 3.0), (0, 100, 0))
    assert (nothing.edges, nothing.counts, nothing.null) == ((), (0,), 100)


@pytest.mark.parametrize("scale", [1e-300, 1e-9, 1.0, 1e9, 1e300])
@pytest.mark.parametrize("offset", [0.0, 1.7e9])
def test_edges_are_ascending_and_within_the_values_at_any_scale(scale, offset):
    values = np.random.default_rng(1).normal(size=1000) * scale + offset
    edges = quantile_edges(values, 20)
    assert list(edges) == sorted(edges)
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    if offset == 0:
        assert len(edges) == 21


def test_edges_of_the_largest_numbers_do_not_overflow():
    values = np.linspace(-1, 1, 1000) * 1.7e308
    assert np.isfinite(quantile_edges(values, 10)).all()
    (column,) = profile_of(a=values)[0].features
    assert column.values == 1000


def test_categories_are_labelled_most_frequent_first_and_rare_ones_are_expected_to_be_unseen():
    texts = ["b"] * 60 + ["a" * 90] * 30 + ["five"] * 5 + ["x", "y", "z", "z", "w"]
    (column,) = profile_of(kinds={"c": "categorical"}, c=texts)[0].features
    assert column.labels == ("b", "a" * 40, "five")
    assert (column.counts, column.known) == ((60, 30, 5, 5), 3)
    assert column.expected_unseen == 0.1
    many = [f"k{i}" for i in range(150) for _ in range(6)]
    (column,) = profile_of(kinds={"c": "categorical"}, c=many)[0].features
    assert (len(column.labels), column.known, column.counts[-2:]) == (100, 150, (300, 0))


def test_unreadable_values_are_told_from_nulls():
    table = pa.table({"a": ["1", "2", "x", "", *["3"] * 16]})
    choices = [Choice("a", "numeric", invalid_values_allowed=True)]
    fitted = fit_encoder(table, choices, Outcome.of_value(np.zeros(20), np.ones(20)), 0)
    (column,) = read_profile(training_profile(table, fitted.encoder, YES_NO)).features
    assert (column.values, column.null, column.unreadable) == (18, 1, 1)


def test_scores_of_the_likeliest_classes_are_profiled_and_the_mix_of_all():
    rng = np.random.default_rng(0)
    classes = tuple(f"class {i:02d}" for i in range(30))
    scores = rng.dirichlet(np.arange(1, 31), 500)
    profile, _ = profile_of(Target("y", "classification", classes), scores, a=np.arange(500.0))
    *some, mix = profile.predictions
    assert [s.output for s in some] == list(range(10, 30))
    assert [s.name for s in some] == [f"y_{classes[k]}_score" for k in range(10, 30)]
    assert mix.labels == classes
    assert sum(mix.counts) == 500


def test_values_are_profiled_for_regression():
    values = np.arange(100.0)
    profile, _ = profile_of(Target("y", "regression"), values, a=values)
    (column,) = profile.predictions
    assert (column.name, column.kind, column.values) == ("predicted_y", "value", 100)


def test_a_thousand_columns_take_about_200_kb():
    rng = np.random.default_rng(0)
    columns = {f"column_{i}": rng.normal(size=2000) * 10.0 ** (i % 7) for i in range(1000)}
    profile, content = profile_of(**columns)
    assert len(profile.features[0].counts) == 12
    assert len(content) < 300_000


def test_of_a_large_table_rows_at_equal_distances_are_counted(monkeypatch):
    monkeypatch.setattr("rowcast.training.profile.MOST_ROWS", 100)
    (column,) = profile_of(a=np.arange(1000.0))[0].features
    assert (column.values, column.edges[0], column.edges[-1]) == (100, 0.0, 999.0)


def test_equal_data_gives_equal_bytes():
    assert profile_of(a=[1.0, 2.0])[1] == profile_of(a=[1.0, 2.0])[1]
    assert msgspec.json.decode(profile_of(a=[1.0, 2.0])[1])["format_version"] == 1


def test_lists_are_profiled_by_their_length():
    lists = ["[1, 2]", "[3]", "", *["[4, 5, 6]"] * 27]
    (column,) = profile_of(kinds={"a": "repeatedNumeric"}, a=lists)[0].features
    assert (column.kind, column.edges[0], column.edges[-1]) == ("repeatedNumeric", 1.0, 3.0)
    assert (column.values, column.null) == (29, 1)
