"""One interval method on one set: ``python -m bench.interval_methods REQUEST ANSWER``.

Rowcast trains as users do. MAPIE's methods get a LightGBM whose size is chosen, and whose rounds
are counted, on a holdout of the training rows; all of them share its settings.
"""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bench.datasets import TableSet, load_set, root_mean_squared_error, text_columns

if TYPE_CHECKING:
    from collections.abc import Callable

    Predict = Callable[[Any], tuple[np.ndarray, np.ndarray, np.ndarray]]
    """Rows to values, lower and upper bounds."""

LEVEL = 0.95
DECILES = 10
HOLDOUT = 0.2
SIZES = (
    {"num_leaves": 15, "min_child_samples": 20},
    {"num_leaves": 63, "min_child_samples": 20},
    {"num_leaves": 127, "min_child_samples": 50},
)
MOST_ROUNDS = 600
PATIENCE = 50
MOST_CELLS = 1_000_000_000
"""Cross methods compare each test row with each training row; beyond this, rows are drawn."""
CHUNK_CELLS = 25_000_000
RESAMPLINGS = 10
LEARNING = {"learning_rate": 0.08, "verbosity": -1}
SPREAD = {"n_estimators": 150, "num_leaves": 15, "learning_rate": 0.05, "verbosity": -1}


@dataclass(frozen=True)
class Encoded:
    """A set for scikit-learn's interface: numbers, with text as codes by frequency."""

    train: np.ndarray
    target: np.ndarray
    test: np.ndarray
    categories: list[int]

    @classmethod
    def of(cls, table: TableSet) -> Encoded:
        """Encode by the training rows alone; an unseen text is missing."""
        texts = set(text_columns(table.train))
        train: list[np.ndarray] = []
        test: list[np.ndarray] = []
        categories = []
        for name in table.features:
            column = table.train[name]
            if name in texts:
                categories.append(len(train))
                codes = {text: code for code, text in enumerate(column.value_counts().index)}
                parts = [lambda c, codes=codes: c.map(codes)]
            elif pd.api.types.is_datetime64_any_dtype(column.dtype):
                parts = [lambda c: (c - pd.Timestamp(0)) / pd.Timedelta(days=1)]
                for part in ("year", "month", "day", "dayofweek", "dayofyear", "hour"):
                    parts.append(lambda c, part=part: getattr(c.dt, part))
            else:
                parts = [lambda c: c]
            for part in parts:
                train.append(part(column).to_numpy(float))
                test.append(part(table.test[name]).to_numpy(float))
        target = table.train[table.target].to_numpy()
        return cls(np.column_stack(train), target, np.column_stack(test), categories)


def rowcast(table: TableSet, request: dict[str, Any]) -> tuple[Any, Predict]:
    """Train within the budget; the bounds are those of the public API."""
    import rowcast

    model = rowcast.train(
        table.train,
        target=table.target,
        name="bench",
        home=Path.cwd() / "home",
        budget_s=request["budget"],
        prediction_type="regression",
        seed=request["seed"],
    )

    def predict(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        answers = model.predict(rows)
        if answers["error"].null_count != len(answers):
            raise AssertionError(answers["error"].drop_null()[0])
        value, lower, upper = (answers.column(i).to_numpy() for i in range(3))
        return value, lower, upper

    return table.test[table.features], predict


def mapie(table: TableSet, request: dict[str, Any]) -> tuple[Any, Predict]:
    """Fit and conformalise one of MAPIE's regressors."""
    import lightgbm
    from mapie.conformity_scores import ResidualNormalisedScore
    from mapie.regression import (
        ConformalizedQuantileRegressor,
        CrossConformalRegressor,
        JackknifeAfterBootstrapRegressor,
        SplitConformalRegressor,
    )

    rows, cores, seed = Encoded.of(table), len(os.sched_getaffinity(0)), request["seed"]
    common = {**LEARNING, "n_jobs": cores, "random_state": seed}
    settings = {**common, **request["settings"]}
    base = lightgbm.LGBMRegressor(**settings)
    level, fitting = {"confidence_level": LEVEL}, {"categorical_feature": rows.categories}
    method = request["method"]
    if method == "cv+":
        found = CrossConformalRegressor(base, method="plus", cv=5, random_state=seed, **level)
        found.fit_conformalize(rows.train, rows.target, fit_params=fitting)
    elif method == "jackknife+ab":
        found = JackknifeAfterBootstrapRegressor(
            base, method="plus", resampling=RESAMPLINGS, random_state=seed, **level
        )
        found.fit_conformalize(rows.train, rows.target, fit_params=fitting)
    else:
        if method == "cqr":
            quantile = lightgbm.LGBMRegressor(objective="quantile", alpha=0.5, **settings)
            found = ConformalizedQuantileRegressor(quantile, **level)
        elif method == "split":
            found = SplitConformalRegressor(base, prefit=False, **level)
        else:
            spread = lightgbm.LGBMRegressor(**SPREAD, n_jobs=cores, random_state=seed)
            score = ResidualNormalisedScore(spread, split_size=0.5, random_state=seed)
            found = SplitConformalRegressor(base, conformity_score=score, prefit=False, **level)
        held = np.random.default_rng([seed, 1]).random(len(rows.target)) < HOLDOUT
        found.fit(rows.train[~held], rows.target[~held], fit_params=fitting)
        found.conformalize(rows.train[held], rows.target[held])

    chunk = max(1, CHUNK_CELLS // len(rows.target)) if method in CROSSED else 1 << 30

    def predict(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        pieces = []
        for at in range(0, len(matrix), chunk):
            value, bounds = found.predict_interval(matrix[at : at + chunk])
            pieces.append((np.asarray(value), bounds[:, 0, 0], bounds[:, 1, 0]))
        value, lower, upper = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return value, lower, upper

    return rows.test, predict


def tune(table: TableSet, seed: int) -> dict[str, Any]:
    """Choose the size with the least error on a holdout, and its rounds."""
    import lightgbm

    rows = Encoded.of(table)
    common = {**LEARNING, "n_jobs": len(os.sched_getaffinity(0)), "random_state": seed}
    held = np.random.default_rng(seed).random(len(rows.target)) < HOLDOUT
    tried = []
    for size in SIZES:
        model = lightgbm.LGBMRegressor(**common, **size, n_estimators=MOST_ROUNDS)
        model.fit(
            rows.train[~held],
            rows.target[~held],
            eval_set=[(rows.train[held], rows.target[held])],
            categorical_feature=rows.categories,
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        (loss,) = model.best_score_["valid_0"].values()
        tried.append((loss, {**size, "n_estimators": model.best_iteration_}))
    return min(tried, key=lambda found: found[0])[1]


TUNE = "tune"
"""Not a method: the settings that MAPIE's methods share."""
METHODS = {
    "rowcast": rowcast,
    "split": mapie,
    "normalised": mapie,
    "cqr": mapie,
    "cv+": mapie,
    "jackknife+ab": mapie,
}
CROSSED = ("cv+", "jackknife+ab")
"""Methods that compare with every training row."""
TIMED_ROWS = 20_000


def _seconds_a_row(predict: Predict, rows: Any, trained: int, method: str) -> float:
    """Time the test rows, repeated until they are enough for fixed costs not to matter."""
    count = min(TIMED_ROWS, MOST_CELLS // trained) if method in CROSSED else TIMED_ROWS
    places = np.resize(np.arange(len(rows)), count)
    repeated = rows.iloc[places] if isinstance(rows, pd.DataFrame) else rows[places]
    started = time.perf_counter()
    predict(repeated)
    return (time.perf_counter() - started) / count


def worst_decile(covered: np.ndarray, value: np.ndarray) -> float:
    """Cut the rows into ten by predicted value; the least coverage of any."""
    parts = np.array_split(np.argsort(value, kind="stable"), DECILES)
    return float(min(covered[part].mean() for part in parts))


def winkler(truth: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """Mean interval score: width, and 2 / alpha times the distance of what it misses.

    References
    ----------
    Gneiting & Raftery (2007), JASA 102(477), section 6.2.
    """
    missed = np.maximum(lower - truth, 0) + np.maximum(truth - upper, 0)
    return float((upper - lower + 2 / (1 - LEVEL) * missed).mean())


def main() -> None:
    """Train, predict the test rows, and judge the bounds."""
    request = json.loads(Path(sys.argv[1]).read_text())
    table = load_set(Path(request["data"]), request["name"])
    if request["method"] == TUNE:
        Path(sys.argv[2]).write_text(json.dumps(tune(table, request["seed"])))
        return
    started = time.perf_counter()
    rows, predict = METHODS[request["method"]](table, request)
    trained_s = time.perf_counter() - started
    truth = table.truth
    count = len(truth)
    if request["method"] in CROSSED:
        count = min(count, MOST_CELLS // len(table.train))
    if count < len(truth):
        drawn = np.sort(np.random.default_rng(request["seed"]).permutation(len(truth))[:count])
        rows, truth = rows[drawn], truth[drawn]
    value, lower, upper = predict(rows)
    predicted_s = _seconds_a_row(predict, rows, len(table.train), request["method"])
    if not ((lower <= value) & (value <= upper)).all() and request["method"] == "rowcast":
        raise AssertionError("a value is outside its bounds")
    covered = (lower <= truth) & (truth <= upper)
    answer = {
        "rows": count,
        "train_s": round(trained_s, 2),
        "rmse": root_mean_squared_error(value, truth),
        "coverage": float(covered.mean()),
        "worst_decile": worst_decile(covered, value),
        "width": float((upper - lower).mean()),
        "winkler": winkler(truth, lower, upper),
        "pred_s_100k": round(100_000 * predicted_s, 3),
    }
    Path(sys.argv[2]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
