"""The comparison with the training data: quiet by chance, loud when the data has moved."""

from functools import lru_cache

import numpy as np
import pyarrow as pa
import pytest

from rowcast.core.batch import Batch, Places
from rowcast.core.drift import LEAST_ROWS, Thresholds
from rowcast.core.prediction import Predictions
from rowcast.core.schema import Target
from rowcast.scoring.drift import compare, jensen_shannon, judge, summary
from rowcast.scoring.profile import Counted, Counter, read_profile
from rowcast.training.columns import fit_encoder
from rowcast.training.infer import Choice
from rowcast.training.profile import training_profile
from rowcast.training.telling import Outcome

KINDS = {
    "normal": "numeric",
    "spiky": "numeric",
    "flag": "numeric",
    "holes": "numeric",
    "few": "categorical",
    "many": "categorical",
    "wide": "categorical",
    "when": "timestamp",
    "text": "text",
}
ZIPF = 1 / np.arange(1, 401) / (1 / np.arange(1, 401)).sum()
NOTHING_ASKED = Thresholds()
TARGET = Target("y", "classification", ("no", "yes"))


def rows(rng, n):
    """Columns of every kind; each call draws from the same distributions."""
    return {
        "normal": rng.normal(size=n),
        "spiky": np.where(rng.random(n) < 0.8, 0, rng.exponential(size=n)),
        "flag": (rng.random(n) < 0.03).astype(float),
        "holes": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
        "few": rng.choice(list("abc"), n, p=[0.7, 0.2, 0.1]),
        "many": np.char.add("k", rng.integers(0, 50, n).astype(str)),
        "wide": np.char.add("z", rng.choice(400, n, p=ZIPF).astype(str)),
        "when": [f"2026-01-{day:02d}" for day in rng.integers(1, 29, n)],
        "text": ["word " * count for count in rng.poisson(10, n)],
    }


def scores(rng, n):
    yes = rng.beta(2, 5, n)
    return np.stack([1 - yes, yes], axis=1)


@lru_cache
def trained(n, seed=0):
    rng = np.random.default_rng([n, seed])
    table = pa.table(rows(rng, n))
    choices = [Choice(name, kind) for name, kind in KINDS.items()]
    outcome = Outcome.of_classes(rng.integers(0, 2, n), TARGET.classes, np.ones(n))
    encoder = fit_encoder(table, choices, outcome, 0).encoder
    return encoder, read_profile(training_profile(table, encoder, TARGET, scores(rng, n)))


def found(encoder, profile, columns, answers, thresholds=NOTHING_ASKED):
    table = pa.record_batch(columns)
    batch = Batch(table, Places("gs://b/x.csv", np.arange(1, len(table) + 1)))
    counter = Counter(profile, [where.start for where in encoder.slices], 1.0)
    _, scored, _, whole = encoder.encode(batch)
    counter.add(batch, whole, scored, Predictions(scores=answers[scored]))
    counted = Counted.of(profile, counter.counts)
    return judge(profile, counted, compare(profile, counted), thresholds)


def drifted(change, rows_in_job=1000, trained_on=5000, thresholds=NOTHING_ASKED):
    """Warnings of one input whose columns ``change(rng, columns)`` has changed."""
    rng = np.random.default_rng(7)
    columns = rows(rng, rows_in_job)
    change(rng, columns)
    answers = scores(rng, rows_in_job)
    return found(*trained(trained_on), columns, answers, thresholds)


@pytest.mark.parametrize("trained_on", [300, 5000])
@pytest.mark.parametrize("in_job", [LEAST_ROWS, 200, 2000])
def test_an_input_like_the_training_data_gives_no_warning(trained_on, in_job):
    for seed in range(25):
        rng = np.random.default_rng([trained_on, in_job, seed])
        columns, answers = rows(rng, in_job), scores(rng, in_job)
        assert found(*trained(trained_on, seed % 3), columns, answers) == []


def shift(rng, columns):
    columns["normal"] = columns["normal"] + 1


def mix(rng, columns):
    columns["few"] = rng.choice(list("abc"), len(columns["few"]), p=[0.4, 0.4, 0.2])


def holes(rng, columns):
    columns["flag"] = np.where(rng.random(len(columns["flag"])) < 0.2, np.nan, columns["flag"])


def newcomers(rng, columns):
    columns["many"] = np.where(rng.random(len(columns["many"])) < 0.1, "new", columns["many"])


def larger(rng, columns):
    columns["spiky"] = columns["spiky"] + 100 * (rng.random(len(columns["spiky"])) < 0.1)


def longer(rng, columns):
    columns["text"] = [text + "and so on, and so on" for text in columns["text"]]


@pytest.mark.parametrize(
    ("change", "feature", "kind"),
    [
        (shift, "normal", "distribution"),
        (mix, "few", "distribution"),
        (holes, "flag", "missing"),
        (newcomers, "many", "unseen"),
        (larger, "spiky", "range"),
        (longer, "text", "distribution"),
    ],
)
@pytest.mark.parametrize("in_job", [200, 5000])
def test_a_real_shift_is_told_and_nothing_else(change, feature, kind, in_job):
    warnings = drifted(change, in_job)
    assert (feature, kind) in {(w.feature, w.kind) for w in warnings}
    assert {w.feature for w in warnings} == {feature}
    assert all(feature in w.message and abs(w.value) > w.threshold for w in warnings)


def test_nulls_in_a_column_that_had_none_are_told_although_their_rows_fail():
    encoder, _ = trained(5000)
    assert not encoder.features[2].nullable
    (warning,) = drifted(holes)
    assert warning.message.startswith("Column 'flag': 18.9%")
    assert warning.message.endswith("of the values are missing; in training 0.0% were.")


def test_predictions_that_move_are_told():
    rng = np.random.default_rng(3)
    columns = rows(rng, 1000)
    answers = np.repeat([[0.1, 0.9]], 1000, axis=0)
    warnings = found(*trained(5000), columns, answers)
    assert [(w.feature, w.kind) for w in warnings] == [
        ("y_yes_score", "prediction"),
        ("y", "prediction"),
    ]


def test_too_few_rows_say_nothing():
    assert drifted(shift, LEAST_ROWS - 1) == []


def test_time_moves_on_without_a_warning_unless_one_is_asked_for():
    def later(rng, columns):
        columns["when"] = ["2026-03-01"] * len(columns["when"])

    assert drifted(later) == []
    (warning,) = drifted(later, thresholds=Thresholds({"when": 0.3}))
    assert (warning.feature, warning.threshold) == ("when", 0.3)


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        (Thresholds({"normal": 0.05}), {"normal"}),
        (Thresholds({"normal": 0.5}), set()),
        (Thresholds({"few": 0.25}), {"few"}),
        (Thresholds({"few": 0.35}), set()),
        (Thresholds(default=0.1), {"normal", "few"}),
        (Thresholds({"normal": 0}, default=0.1), {"few"}),
        (Thresholds(default=0.5), set()),
    ],
)
def test_thresholds_of_a_request_decide_what_is_told(thresholds, expected):
    """A category of three falls by 0.3; a mean moves by one standard deviation."""

    def change(rng, columns):
        shift(rng, columns)
        mix(rng, columns)

    assert {w.feature for w in drifted(change, thresholds=thresholds)} == expected


def test_the_gravest_comes_first_and_a_job_keeps_twenty():
    def everything(rng, columns):
        for change in (shift, mix, holes, newcomers, larger):
            change(rng, columns)

    warnings = drifted(everything)
    weights = [abs(w.value) / w.threshold for w in warnings]
    assert weights == sorted(weights, reverse=True)
    assert len(warnings) >= 5
    _, profile = trained(5000)
    kept = summary(profile, Counted(5, ()), warnings * 9)
    assert (len(kept.warnings), kept.found, kept.features) == (20, 9 * len(warnings), 9)


def test_a_threshold_for_no_feature_is_told_last():
    warnings = drifted(shift, thresholds=Thresholds({"norml": 0.3, "normal": 0.05}))
    assert [w.kind for w in warnings] == ["distribution", "threshold"]
    assert "names 'norml', which is no feature" in warnings[-1].message


def test_the_divergence_is_0_for_equal_and_1_for_disjoint_distributions():
    p = np.array([0.25, 0.75, 0, 0])
    assert jensen_shannon(p, p) == 0
    assert jensen_shannon(p, p[::-1]) == 1
    q = np.array([0.5, 0.5, 0, 0])
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p))
    assert jensen_shannon(p, q) == pytest.approx(0.04879, abs=1e-5)
