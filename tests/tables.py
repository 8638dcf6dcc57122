"""Small tables that look like real ones, and a model trained on each."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pyarrow as pa

from rowcast.core.batch import Batch, Places
from rowcast.predictors.boosted import BoostedPredictor, boosted_predictor
from rowcast.training import TrainedModel, train

WORDS = [
    "good",
    "bad",
    "late",
    "quick",
    "broken",
    "fine",
    "helpful",
    "rude",
    "slow",
    "cheap",
    "dear",
    "new",
    "old",
]
TRIALS = 2
"""LightGBM and a linear member: an ensemble that is trained in no time."""
TARGETS = {"binary": "churn", "multiclass": "plan", "regression": "price"}


def shop(rows: int = 1500, seed: int = 7) -> pa.Table:
    """Numbers, categories, moments and remarks as text cells, with nulls among them."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows)
    income = np.round(rng.lognormal(10, 0.5, rows), 2)
    job = rng.choice(
        ["clerk", "nurse", "smith", "Smith", "cook"], rows, p=[0.4, 0.3, 0.2, 0.05, 0.05]
    )
    joined = np.datetime64("2015-01-01") + rng.integers(0, 3000, rows)
    remark = [" ".join(rng.choice(WORDS, rng.integers(3, 9))) + f" no {i}" for i in range(rows)]
    bad = np.array(["broken" in text for text in remark])
    drive = (age - 50) / 20 + 1.5 * bad + (job == "nurse") + rng.normal(0, 0.6, rows)
    price = np.round(100 + 20 * drive + income / 1000, 2)
    plan = np.where(drive > 1.2, "gold", np.where(drive > 0, "silver", "basic"))
    columns = {
        "age": [
            str(value) if keep else ""
            for value, keep in zip(age, rng.random(rows) > 0.1, strict=True)
        ],
        "income": [repr(float(value)) for value in income],
        "job": list(job),
        "joined": [str(value) for value in joined],
        "remark": remark,
        "empty": [""] * rows,
        "churn": list(np.where(drive > 0.5, "yes", "no")),
        "plan": list(plan),
        "price": [repr(float(value)) for value in price],
    }
    return pa.table({name: pa.array([str(v) for v in values]) for name, values in columns.items()})


def training_columns(kind: str, table: pa.Table) -> pa.Table:
    """Drop the targets of the other kinds."""
    return table.drop_columns([name for other, name in TARGETS.items() if other != kind])


@lru_cache
def shop_model(kind: str) -> TrainedModel:
    """Train on the shop's rows."""
    return train(
        training_columns(kind, shop()),
        target=TARGETS[kind],
        name=f"shop {kind}",
        trials=TRIALS,
    )


@lru_cache
def shop_predictor(kind: str) -> BoostedPredictor:
    """Load what was trained, without a folder."""
    model = shop_model(kind)
    return boosted_predictor(model.spec, model.members)


def batch_of(table: pa.Table, **places: object) -> Batch:
    """Make one batch of a whole table."""
    rows = table.combine_chunks().to_batches()[0]
    return Batch(rows, Places("gs://b/x.csv", np.arange(1, len(rows) + 1), **places))
