"""What a job's results sum up to, beside the slow way."""

import json

import numpy as np
import pyarrow as pa
import pytest

from rowcast.core.batch import Batch, Places, RowError
from rowcast.core.prediction import Attributions, Predictions, Scored
from rowcast.core.schema import Feature, ModelSchema, Target
from rowcast.jobs.summary import totals
from rowcast.scoring.profile import scrambled
from rowcast.scoring.summary import MOST_SAMPLED, PartSummary, Summing, pack, unpack

FEATURES = (
    Feature("age", "numeric", True),
    Feature("job", "categorical", True),
    Feature("at", "timestamp", True),
    Feature("note", "text", True),
    Feature("list", "repeatedNumeric", True),
)
BINARY = ModelSchema(FEATURES, Target("t", "classification", ("no", "yes")))
MANY = ModelSchema(FEATURES, Target("t", "classification", tuple("abc")))
VALUE = ModelSchema(FEATURES, Target("t", "regression"))
ROWS = 3000
DRAW = np.random.default_rng(2)
AGES = DRAW.integers(0, 99, ROWS)
FAILED = np.arange(ROWS) % 10 == 3
EXPLAINED = DRAW.random(ROWS) < 0.4
ATTRIBUTIONS = DRAW.normal(size=(ROWS, len(FEATURES))) * np.array([1, 3, 0.1, 0, 2])
INDEX = DRAW.integers(0, 2, ROWS)
SCORES = DRAW.dirichlet(np.ones(3), ROWS)
PRICES = np.round(DRAW.lognormal(3, 1, ROWS), 2)


def scored(schema, start, stop, *, some=False, why=True):
    """Rows ``start`` to ``stop`` of a job; every tenth failed."""
    numbers = np.arange(start, stop)
    rows = pa.record_batch(
        {
            "age": [str(age) if age else "" for age in AGES[numbers]],
            "job": [f"job {age % 7}" * 20 for age in AGES[numbers]],
            "at": [f"2020-01-{1 + age % 28:02d}" for age in AGES[numbers]],
            "note": ["x" * age for age in AGES[numbers]],
            "list": ["[1]"] * len(numbers),
        }
    )
    good = numbers[~FAILED[numbers]]
    errors = tuple(
        RowError(int(n) - start, f"cause {n % 3}", f"row {n} is wrong") for n in numbers
        if FAILED[n]
    )  # fmt: skip
    if schema is VALUE:
        answers = Predictions(
            value=PRICES[good], lower=PRICES[good] - 1, upper=PRICES[good] + AGES[good]
        )
    elif schema is BINARY:
        first = SCORES[good, :1]
        answers = Predictions(scores=np.hstack([first, 1 - first]))
    else:
        answers = Predictions(scores=SCORES[good])
    kept = np.flatnonzero(EXPLAINED[good]) if some else np.arange(len(good))
    told = good[kept]
    zeros = np.zeros((len(told), 1))
    attributions = Attributions(
        tuple(f.name for f in reversed(FEATURES)),
        ATTRIBUTIONS[told][:, None, ::-1],
        zeros,
        zeros,
        zeros,
        INDEX[told][:, None],
    )
    return Scored(
        Batch(rows, Places("u", numbers + 1)),
        good - start,
        answers,
        errors,
        attributions if why else None,
        kept if some else None,
    )


def summed(schema, parts, batch, **options):
    """The report of a job whose rows are cut so."""
    asked = Summing.of(schema, parts)
    packed = []
    for numbers in np.array_split(np.arange(ROWS), parts):
        tally = asked.tally()
        for start in range(numbers[0], numbers[-1] + 1, batch):
            stop = min(start + batch, numbers[-1] + 1)
            tally.add(scored(schema, start, stop, **options))
        packed.append(pack(tally.summary))
    causes = {f"cause {k}": int((np.flatnonzero(FAILED) % 3 == k).sum()) for k in range(3)}
    return totals(asked, packed, causes, {"inputRows": ROWS})


@pytest.mark.parametrize("schema", [BINARY, MANY, VALUE], ids=["binary", "many", "value"])
@pytest.mark.parametrize("some", [False, True])
def test_the_report_is_the_same_however_rows_are_cut(schema, some):
    seen = {
        summed(schema, parts, batch, some=some).report
        for parts, batch in ((1, 5000), (3, 1000), (3, 17), (12, 100))
    }
    assert len(seen) == 1


def test_scores_are_counted_by_class():
    found = json.loads(summed(MANY, 4, 200).report)
    scores = SCORES[~FAILED]
    assert (found["scoredRows"], found["explainedRows"]) == (len(scores), len(scores))
    tops = np.bincount(scores.argmax(axis=1), minlength=3)
    assert [one["class"] for one in found["classes"]] == ["a", "b", "c"]
    assert [one["rows"] for one in found["classes"]] == tops.tolist()
    for k, one in enumerate(found["classes"]):
        expected, _ = np.histogram(scores[:, k], np.linspace(0, 1, 41))
        assert one["scores"] == expected.tolist()
        assert one["meanScore"] == pytest.approx(scores[:, k].mean())
    assert sum(found["highestScores"]) == len(scores)


def test_values_and_widths_have_quantiles_and_a_picture():
    totals_ = summed(VALUE, 4, 200)
    found = json.loads(totals_.report)
    prices = PRICES[~FAILED]
    assert found["values"]["mean"] == pytest.approx(prices.mean())
    assert (found["values"]["least"], found["values"]["greatest"]) == (prices.min(), prices.max())
    for share, value in found["values"]["quantiles"].items():
        assert value == pytest.approx(np.quantile(prices, float(share)), rel=0.05)
    assert found["intervalWidths"]["mean"] == pytest.approx((AGES[~FAILED] + 1).mean())
    assert totals_.kept.values.mean_width == pytest.approx((AGES[~FAILED] + 1).mean())
    drawn = found["values"]["histogram"]
    assert sum(drawn["counts"]) + drawn["below"] + drawn["above"] == len(prices)


def test_features_are_ranked_by_their_mean_absolute_attribution():
    totals_ = summed(VALUE, 3, 500, some=True)
    found = json.loads(totals_.report)
    told = ATTRIBUTIONS[EXPLAINED & ~FAILED]
    expected = dict(
        zip((f.name for f in FEATURES), np.abs(told).mean(axis=0).tolist(), strict=True)
    )
    ranked = sorted(expected, key=lambda name: -expected[name])
    assert [one["feature"] for one in found["attributions"]] == ranked
    for one in found["attributions"]:
        assert one["meanAbsolute"] == pytest.approx(expected[one["feature"]])
    assert found["explainedRows"] == totals_.kept.explained == len(told)
    assert [one.feature for one in totals_.kept.strongest] == ranked


def test_of_two_classes_attributions_are_to_the_second_whichever_was_explained():
    found = json.loads(summed(BINARY, 2, 800).report)
    assert (found["attributionsTo"], found["attributionsToClass"]) == ("class", "yes")
    assert json.loads(summed(VALUE, 2, 800).report)["attributionsTo"] == "value"
    assert json.loads(summed(MANY, 2, 800).report)["attributionsTo"] == "highestScore"
    told = (ATTRIBUTIONS * np.where(INDEX == 1, 1, -1)[:, None])[~FAILED]
    means = {one["feature"]: one["mean"] for one in found["attributions"]}
    assert means["job"] == pytest.approx(told[:, 1].mean())


def test_the_sample_is_the_rows_with_the_least_scrambled_numbers():
    found = json.loads(summed(VALUE, 3, 500, some=True).report)
    numbers = np.flatnonzero(EXPLAINED & ~FAILED) + 1
    least = numbers[np.argsort(scrambled(numbers))][:MOST_SAMPLED]
    assert found["sampledRows"] == sorted(least.tolist())
    rows = np.array(found["sampledRows"]) - 1
    assert found["sampledOutputs"] == PRICES[rows].tolist()
    told = {one["feature"]: one for one in found["sampledFeatures"]}
    assert told["age"]["attributions"] == pytest.approx(ATTRIBUTIONS[rows, 0], rel=1e-5)
    assert told["age"]["cells"] == [float(age) if age else None for age in AGES[rows]]
    assert told["note"]["cells"] == [int(age) if age else None for age in AGES[rows]]
    assert told["job"]["cells"][0] == (f"job {AGES[rows[0]] % 7}" * 8)[:40]
    assert told["at"]["cells"][0] == 18262 + AGES[rows[0]] % 28
    assert set(told["list"]["cells"]) == {None}


def test_a_job_of_many_parts_keeps_little_of_each():
    asked = Summing.of(BINARY, 100_000)
    assert asked.by_part == 2
    tally = asked.tally()
    tally.add(scored(BINARY, 0, 1000))
    assert len(tally.summary.sample) == 2
    assert len(pack(tally.summary)) < 4000


def test_failed_rows_have_their_first_examples():
    found = json.loads(summed(BINARY, 5, 100).report)
    assert [(e["cause"], e["count"]) for e in found["errors"]] == [
        ("cause 0", 100), ("cause 1", 100), ("cause 2", 100),
    ]  # fmt: skip
    first = [int(n) for n in np.flatnonzero(FAILED) if n % 3 == 1][:3]
    assert found["errors"][1]["examples"] == [
        {"row": n + 1, "message": f"row {n} is wrong"} for n in first
    ]


def test_nothing_explained_and_nothing_scored_is_no_reason_to_fail():
    found = json.loads(summed(BINARY, 2, 800, why=False).report)
    assert "attributions" not in found
    empty = totals(Summing.of(VALUE, 1), [pack(PartSummary())], {}, {})
    assert json.loads(empty.report)["scoredRows"] == 0
    assert empty.kept.values is None
    assert totals(Summing.of(VALUE, 2), [pack(PartSummary()), ""], {}, {}) is None


def test_what_is_packed_comes_back():
    tally = Summing.of(VALUE, 1).tally()
    tally.add(scored(VALUE, 0, 500))
    assert unpack(pack(tally.summary)) == tally.summary
