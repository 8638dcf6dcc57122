"""``python -m bench.scoring``: margins a second, beside the libraries and other evaluators."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost
import lightgbm
import numpy as np
import xgboost

from bench.children import ChildFailed, run_child, two_cores
from bench.environments import DEFAULT, interpreter
from bench.forest_peers import EVALUATORS
from rowcast.scoring.forest import NEAR_ZERO
from rowcast.scoring.formats.catboost import read_catboost
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.formats.xgboost import read_xgboost
from rowcast.scoring.kernels.quantise import quantise
from rowcast.scoring.program import Program, block_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.scoring.forest import Forest

NUMBERS = 10
LEVELS = (5, 8, 25, 50, 200, 1_000, 5_000)
"""Of each category."""
CATEGORIES = list(range(NUMBERS, NUMBERS + len(LEVELS)))
COLUMNS = NUMBERS + len(LEVELS) + 4
"""With the seconds, hour, day of the week and month of a timestamp."""
TRAINING_ROWS = 200_000
BATCHES = (1, 10, 100, 1_000)
TIMEOUT_S = 1_800.0
QUIET = {"verbosity": -1}


@dataclass(frozen=True)
class Peer:
    """A trained model: the library's predict, and the forest that was read from it."""

    forest: Forest
    predict: Callable[..., np.ndarray]
    """Margins of prepared rows, on one thread or on ``threads``."""
    prepare: Callable[[np.ndarray], Any] = np.asarray
    """Puts rows into the form that the library is fastest with; not counted."""
    text: str = ""
    """The model in LightGBM's own format, if it has one."""


def train_lightgbm(
    table: Table, trees: int, leaves: int, categories: list[int] | None = None
) -> Peer:
    settings = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05}
    data = lightgbm.Dataset(
        table.matrix, table.classes > 1, categorical_feature=categories or [], params=QUIET
    )
    booster = lightgbm.train({**settings, **QUIET}, data, trees)
    text = booster.model_to_string()
    return Peer(
        read_lightgbm(text.encode()),
        lambda rows, threads=1: booster.predict(rows, raw_score=True, num_threads=threads),
        text=text,
    )


def train_xgboost(table: Table, trees: int, depth: int) -> Peer:
    settings = {"objective": "binary:logistic", "max_depth": depth, "eta": 0.05}
    booster = xgboost.train(settings, xgboost.DMatrix(table.matrix, table.classes > 1), trees)

    def predict(rows: np.ndarray, threads: int = 1) -> np.ndarray:
        booster.set_param({"nthread": threads})
        return np.asarray(booster.inplace_predict(rows, predict_type="margin"))

    return Peer(
        read_xgboost(bytes(booster.save_raw("ubj"))),
        predict,
        lambda rows: np.ascontiguousarray(rows, np.float32),
    )


def train_catboost(table: Table, trees: int, depth: int, outputs: int = 1) -> Peer:
    settings = {"iterations": trees, "depth": depth, "learning_rate": 0.05, "verbose": False}
    settings |= {"loss_function": "Logloss" if outputs == 1 else "MultiClass"}
    target = table.classes > 1 if outputs == 1 else table.classes
    model = catboost.CatBoost({**settings, "allow_writing_files": False}).fit(table.matrix, target)
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(f"{folder}/model.json", format="json")
        content = Path(folder, "model.json").read_bytes()
    return Peer(
        read_catboost(content),
        lambda rows, threads=1: model.predict(
            rows, prediction_type="RawFormulaVal", thread_count=threads
        ),
        lambda rows: np.asfortranarray(rows, np.float32),
    )


@dataclass(frozen=True)
class Kind:
    """A model to compare: how it is trained, and whether categories stay codes."""

    train: Callable[[Table], Peer]
    codes: bool = False


MODELS = {
    "LightGBM 500 x 63 leaves": Kind(lambda table: train_lightgbm(table, 500, 63)),
    "LightGBM 500 x 31 leaves": Kind(lambda table: train_lightgbm(table, 500, 31)),
    "  categorical splits, 500 x 31": Kind(
        lambda table: train_lightgbm(table, 500, 31, CATEGORIES), codes=True
    ),
    "XGBoost 500 x depth 6": Kind(lambda table: train_xgboost(table, 500, 6)),
    "CatBoost 500 x depth 6": Kind(lambda table: train_catboost(table, 500, 6)),
    "CatBoost 500 x depth 8": Kind(lambda table: train_catboost(table, 500, 8)),
    "  4 classes, 100 x depth 6": Kind(lambda table: train_catboost(table, 100, 6, 4)),
}
COMPARED = ("LightGBM 500 x 63 leaves", "LightGBM 500 x 31 leaves")
"""Models that other evaluators are given too."""


@dataclass(frozen=True)
class Table:
    """Rows as a model sees them."""

    matrix: np.ndarray
    classes: np.ndarray
    """0 to 3, each about as frequent."""


def draw(rows: int, seed: int, *, codes: bool) -> Table:
    """Numbers of several kinds with gaps, categories of skewed frequencies, and times.

    A category is a column of codes, or of one effect a level, as means of the target are.
    """
    fixed, rng = np.random.default_rng(0), np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    x[:, 5] = rng.integers(18, 90, rows)
    x[:, 6] = rng.lognormal(3, 1, rows).round(2)
    x[:, 7] = rng.poisson(6, rows)
    x[:, 8:NUMBERS] = x[:, 8:NUMBERS].round(3)
    drive = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + x[:, 6] / 20 + (x[:, 5] > 45) * x[:, 8]
    for column, levels in zip(CATEGORIES, LEVELS, strict=True):
        effects = fixed.normal(size=levels)
        drawn = rng.choice(levels, rows, p=fixed.dirichlet(np.full(levels, 0.7)))
        drive += effects[drawn] * (0.7 if column % 2 else 0.5)
        x[:, column] = drawn if codes else effects[drawn]
    time_ = rng.integers(0, 3 * 365 * 86_400, rows)
    x[:, -4] = time_
    x[:, -3:] = np.column_stack([time_ // 3_600 % 24, time_ // 86_400 % 7, time_ // 2_629_800 % 12])
    drive += np.cos(x[:, -3] / 24 * 2 * np.pi) + rng.logistic(size=rows)
    x[:, :NUMBERS][rng.random((rows, NUMBERS)) < 0.03] = np.nan
    return Table(x, np.searchsorted(np.quantile(drive, [0.25, 0.5, 0.75]), drive))


def seconds(work: Callable[[], object], threads: int = 1) -> float:
    """CPU time of this process, or, with several threads, time."""
    clock = time.process_time if threads == 1 else time.perf_counter
    started = clock()
    work()
    return clock() - started


def on_threads(program: Program, matrix: np.ndarray, threads: int) -> None:
    """Score slices of a matrix side by side, as replicas do."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(program.margins, np.array_split(matrix, threads)))


def quantising(program: Program, matrix: np.ndarray) -> Callable[[], None]:
    """The part of ``Program.margins`` that comes before the walk."""
    tables = program.tables
    width, blocks = block_shape(len(matrix), len(tables.lowest))
    codes = np.empty((blocks, len(tables.lowest), width), np.uint8)

    def work() -> None:
        for start in range(0, len(matrix), width * blocks):
            piece = matrix[start : start + width * blocks]
            quantise(piece, NEAR_ZERO, *tables, codes[: -(-len(piece) // width)])

    return work


def compare(options: argparse.Namespace) -> None:
    peer_rows = min(options.rows, options.peer_rows)
    few: list[str] = []
    print(f"rows a second, median of {options.repeats} interleaved runs: one thread by CPU time,")
    print(f"two by the clock ({options.rows:,} rows x {COLUMNS} columns; the libraries on")
    print(f"{peer_rows:,} of them)")
    heads = "".join(f"{'library':>11}{'Rowcast':>12}{'ratio':>8}" for _ in (1, 2))
    print(f"{'':31}{heads}{'quantise':>10}   difference")
    for name, kind in MODELS.items():
        if options.only not in name:
            continue
        peer = kind.train(draw(TRAINING_ROWS, 1, codes=kind.codes))
        matrix = draw(options.rows, 2, codes=kind.codes).matrix
        program, prepared = Program(peer.forest), peer.prepare(matrix[:peer_rows])
        expected = peer.predict(prepared).reshape(peer_rows, -1)
        found = program.margins(matrix[:peer_rows])
        apart = np.abs(found - expected).max()
        difference = "none" if found.tobytes() == expected.tobytes() else f"{apart:.0e}"
        works = [
            partial(seconds, partial(peer.predict, prepared)),
            partial(seconds, partial(program.margins, matrix)),
            partial(seconds, partial(peer.predict, prepared, threads=2), 2),
            partial(seconds, partial(on_threads, program, matrix, 2), 2),
            partial(seconds, quantising(program, matrix)),
        ]
        runs = [[work() for work in works] for _ in range(options.repeats)]
        times = [statistics.median(column) for column in zip(*runs, strict=True)]
        line = f"{name:31}"
        for theirs, ours in (times[:2], times[2:4]):
            rates = peer_rows / theirs, options.rows / ours
            line += f"{rates[0]:11,.0f}{rates[1]:12,.0f}{rates[1] / rates[0]:7.1f}x"
        print(f"{line}{times[4] / times[1]:10.0%}   {difference}", flush=True)
        few.append(f"{name:31}" + "".join(_latency(n, peer, program, matrix) for n in BATCHES))
        if options.evaluators and name in COMPARED:
            rates = [options.rows / times[1], options.rows / times[3]]
            _evaluators(peer, matrix[:peer_rows], expected, rates, options)
    print("\nCPU microseconds a call: library / Rowcast, each call with other rows")
    print(f"{'rows':31}" + "".join(f"{n:>18,}" for n in BATCHES))
    print("\n".join(few))


def _evaluators(
    peer: Peer,
    rows: np.ndarray,
    expected: np.ndarray,
    rates: list[float],
    options: argparse.Namespace,
) -> None:
    """Print what others make of the same model and rows, and how many times faster we are."""
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as name:
        folder = Path(name)
        (folder / "model.txt").write_text(peer.text)
        np.save(folder / "rows.npy", rows)
        np.save(folder / "margins.npy", expected.reshape(-1))
        for evaluator in EVALUATORS:
            line = f"  {evaluator:29}"
            try:
                for threads, ours in enumerate(rates, 1):
                    request = {
                        "evaluator": evaluator,
                        "threads": threads,
                        "repeats": options.repeats,
                        "model": str(folder / "model.txt"),
                        "rows": str(folder / "rows.npy"),
                        "margins": str(folder / "margins.npy"),
                    }
                    found = run_child(
                        "bench.forest_peers",
                        request,
                        python=interpreter(options.envs, "forests"),
                        cores=[int(core) for core in two_cores().split(",")],
                        timeout_s=TIMEOUT_S,
                        log=options.logs / f"{evaluator}.log",
                    )
                    rate = found["rows_a_second"]
                    line += f"{rate:11,.0f}{ours:12,.0f}{ours / rate:7.1f}x"
                apart = found["difference"]
                line += f"{'':10}   " + ("none" if apart == 0 else f"{apart:.0e}")
            except ChildFailed as error:
                line += f"failed: {error}"
            print(line, flush=True)


def _latency(n: int, peer: Peer, program: Program, matrix: np.ndarray) -> str:
    pieces = [matrix[at : at + n] for at in range(0, 30 * n, n)]
    prepared = [peer.prepare(piece) for piece in pieces]
    theirs = statistics.median(seconds(lambda p=p: peer.predict(p)) for p in prepared)
    ours = statistics.median(seconds(lambda p=p: program.margins(p)) for p in pieces)
    return f"{theirs * 1e6:9,.0f} /{ours * 1e6:7,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default="", help="part of a model's name")
    parser.add_argument(
        "--evaluators",
        action="store_true",
        help="also run treelite, tl2cgen, ONNX Runtime, daal4py, pylignum (minutes of compiling)",
    )
    parser.add_argument("--envs", type=Path, default=DEFAULT, help="default: %(default)s")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir(), "rowcast-bench"))
    compare(parser.parse_args())


if __name__ == "__main__":
    main()
