"""One home folder with one small model, trained once a session."""

import tempfile
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

import rowcast

_kept = []


def customers(rows=300, seed=3):
    """A typed table: ages without nulls, a job, an income, and churn to be predicted."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 90, rows)
    job = rng.choice(["nurse", "cook", "clerk"], rows)
    income = np.round(rng.lognormal(10, 0.5, rows), 2)
    churn = np.where((age > 50) ^ (rng.random(rows) < 0.1), "yes", "no")
    return pa.table({"age": age, "job": job, "income": income, "churn": churn})


@lru_cache
def trained_home():
    """A folder with the model ``churn``, and ``customers.csv`` to score."""
    folder = tempfile.TemporaryDirectory(prefix="rowcast-test-")
    _kept.append(folder)
    home = Path(folder.name)
    pc.write_csv(customers(), home / "customers.csv")
    rowcast.train(home / "customers.csv", target="churn", name="churn", home=home, trials=1)
    return home
