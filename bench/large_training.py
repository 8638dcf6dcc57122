"""``python -m bench.large_training``: two million rows of 20 columns, within memory and budget.

A table is written to disk once, with its own probabilities known, so that the loss of the best
possible model is known too. Training runs in a process of its own whose memory is sampled with
that of all it starts; the model is then judged by rows that were drawn apart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from bench.children import ROOT, measure
from bench.datasets import log_loss

TARGET = "converted"
HELD_OUT_ROWS = 200_000
CHUNK = 250_000
LEVELS = {"plan": 4, "country": 60, "campaign": 900, "customer": 50_000}
WORDS = ("late", "refund", "thanks", "broken", "again", "price", "quick", "never", "good", "call")
NULLS = {"income": 0.15, "score": 0.05, "country": 0.02, "note": 0.3, "renewed": 0.4}
EPOCH_S = 1_577_836_800


def write_rows(path: Path, rows: int, seed: int, truth: Path | None = None) -> None:
    """Write a CSV file; the chance of each row's class goes to ``truth`` as Parquet."""
    draw = np.random.default_rng([seed, 0])
    effects = {
        name: np.random.default_rng([7, n]).normal(0, 0.6, count)
        for n, (name, count) in enumerate(LEVELS.items())
    }
    chances = []
    with path.open("wb") as file:
        for first in range(0, rows, CHUNK):
            count = min(CHUNK, rows - first)
            table, chance = _chunk(draw, first, count, effects)
            options = pcsv.WriteOptions(include_header=first == 0, quoting_style="needed")
            pcsv.write_csv(table, file, options)
            chances.append(chance)
    if truth is not None:
        pq.write_table(pa.table({"chance": np.concatenate(chances)}), truth)


def _chunk(
    draw: np.random.Generator, first: int, rows: int, effects: dict[str, np.ndarray]
) -> tuple[pa.Table, np.ndarray]:
    """19 features and the target: numbers, counts, categories, dates, a flag, text, an id."""
    x = draw.normal(size=(6, rows)).round(4)
    codes = {
        name: np.minimum(draw.zipf(1.2, rows) - 1, 10**9) % count for name, count in LEVELS.items()
    }
    visits = draw.poisson(3, rows)
    income = draw.lognormal(10, 0.7, rows).round(2)
    score = draw.integers(300, 850, rows)
    joined = EPOCH_S + draw.integers(0, 3 * 365 * 86_400, rows)
    renewed = joined + draw.integers(0, 365 * 86_400, rows)
    flag = draw.random(rows) < 0.3
    words = draw.integers(0, len(WORDS), (4, rows))
    margin = (
        x[0] + 0.7 * x[1] * x[2] + np.sin(2 * x[3]) + 0.2 * np.log(income / 22_000) * flag
        + 0.15 * (visits - 3) + (score - 575) / 300 + 0.5 * np.cos(joined / 86_400 / 58)
        + 0.8 * (words == 1).any(axis=0) + sum(effects[name][codes[name]] for name in LEVELS) - 0.5
    )  # fmt: skip
    chance = 1 / (1 + np.exp(-margin))
    columns = {
        "id": pa.array(np.arange(first, first + rows)),
        **{f"signal_{i}": pa.array(values) for i, values in enumerate(x)},
        "visits": pa.array(visits),
        "income": pa.array(income),
        "score": pa.array(score),
        **{name: _labels(name).take(pa.array(codes[name])) for name in LEVELS},
        "flag": pa.array(flag),
        "joined": pa.array(joined, pa.timestamp("s")).cast(pa.string()),
        "renewed": pa.array(renewed, pa.timestamp("s")).cast(pa.string()),
        "note": pc.binary_join_element_wise(*(pa.array(WORDS).take(w) for w in words), " "),
        "channel": pa.array(["web, mobile", 'the "shop"', "phone"]).take(
            pa.array(draw.integers(0, 3, rows))
        ),
        TARGET: pa.array(np.where(draw.random(rows) < chance, "yes", "no")),
    }
    for name, share in NULLS.items():
        kept = pa.array(draw.random(rows) >= share)
        columns[name] = pc.if_else(kept, columns[name], pa.scalar(None, columns[name].type))
    return pa.table(columns), chance


def _labels(name: str) -> pa.Array:
    return pa.array([f"{name}-{i}" for i in range(LEVELS[name])])


def train(source: str, home: str, budget_s: float, answer: str) -> None:
    """Train in this process, and leave what was found in ``answer``."""
    import rowcast

    stages: list[str] = []

    def say(stage: str, fraction: float, message: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        if not stages or stages[-1] != stage:
            stages.append(stage)
            seconds = time.perf_counter() - started
            print(f"  {seconds:6.0f} s {fraction:4.0%} {peak:6.2f} GiB  {message}", flush=True)

    started = time.perf_counter()
    model = rowcast.train(
        source, target=TARGET, name="large", home=home, budget_s=budget_s, progress=say
    )
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    Path(answer).write_text(
        json.dumps({"seconds": seconds, "peak_gib": peak, "model": model.describe()})
    )


def judge(home: Path, held: Path, truth: Path) -> tuple[float, float, float]:
    """Log loss of the model, of the true chances, and of the base rate."""
    import rowcast

    label = pcsv.read_csv(held, convert_options=pcsv.ConvertOptions(include_columns=[TARGET]))[
        TARGET
    ]
    yes = np.array(label.to_pylist()) == "yes"
    answers = rowcast.load("large", home=home).predict(held)
    if answers["error"].null_count != len(yes):
        raise AssertionError("some held-out rows were not scored")
    chance = pq.read_table(truth)["chance"].to_numpy()
    scores = (
        np.column_stack([answers.column(0).to_numpy(), answers.column(1).to_numpy()]),
        np.column_stack([1 - chance, chance]),
        np.tile([1 - yes.mean(), yes.mean()], (len(yes), 1)),
    )
    model, best, base = (log_loss(each, yes.astype(int)) for each in scores)
    return model, best, base


def main() -> None:
    """Write the table, train, judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--budget", type=float, default=300.0, help="seconds")
    parser.add_argument("--folder", type=Path, help="keep files here; default: a temporary folder")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        source, home, answer = options.child
        train(source, home, options.budget, answer)
        return
    with tempfile.TemporaryDirectory(prefix="rowcast-large-", dir=options.folder) as name:
        folder = Path(name)
        source, held, truth = (folder / n for n in ("rows.csv", "held.csv", "truth.parquet"))
        write_rows(source, options.rows, seed=1)
        write_rows(held, min(HELD_OUT_ROWS, options.rows), seed=2, truth=truth)
        with source.open() as file:
            columns = file.readline().count(",") + 1
        size = source.stat().st_size / 2**20
        print(f"{options.rows:,} rows, {columns} columns, {size:,.0f} MiB of CSV", flush=True)
        answer, home = folder / "answer.json", folder / "home"
        command = [sys.executable, "-m", "bench.large_training", "--budget", str(options.budget)]
        command += ["--child", str(source), str(home), str(answer)]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
        wall, sampled = measure(command, quiet=False)
        found = json.loads(answer.read_text())
        over = found["seconds"] / options.budget - 1
        print(f"trained in {found['seconds']:.1f} s of a budget of {options.budget:g} s "
              f"({over:+.1%}); {wall:.1f} s with the program's start")  # fmt: skip
        print(f"peak memory {found['peak_gib']:.2f} GiB resident (its own count), "
              f"{sampled / 1024:.2f} GiB sampled over all processes")  # fmt: skip
        model, best, base = judge(home, held, truth)
        print(f"log loss of {min(HELD_OUT_ROWS, options.rows):,} rows drawn apart: {model:.4f}; "
              f"the true chances' {best:.4f}, the base rate's {base:.4f}")  # fmt: skip
        print(f"of what can be explained, {(base - model) / (base - best):.1%} is")
        for warning in found["model"]["warnings"]:
            print(f"warning: {warning}")


if __name__ == "__main__":
    main()
