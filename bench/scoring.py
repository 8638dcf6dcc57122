"""``python -m bench.scoring``: margins a second on one thread, beside each library's predict."""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost
import lightgbm
import numpy as np
import xgboost

from rowcast.scoring.forest import NEAR_ZERO
from rowcast.scoring.formats.catboost import read_catboost
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.formats.xgboost import read_xgboost
from rowcast.scoring.kernels.quantise import quantise
from rowcast.scoring.program import Program, block_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.scoring.forest import Forest

COLUMNS = 20
CATEGORIES = [5, 7, 8]
"""Columns of small whole numbers."""
TRAINING_ROWS = 50_000
BATCHES = (1, 10, 100, 1_000)


@dataclass(frozen=True)
class Peer:
    """A trained model: the library's predict, and the forest that was read from it."""

    forest: Forest
    predict: Callable[[Any], np.ndarray]
    """Margins on one thread."""
    prepare: Callable[[np.ndarray], Any] = np.asarray
    """Puts rows into the form that the library is fastest with; not counted."""


def train_lightgbm(
    x: np.ndarray, classes: np.ndarray, trees: int, leaves: int, categories: list[int]
) -> Peer:
    settings = {"objective": "binary", "num_leaves": leaves, "learning_rate": 0.05}
    data = lightgbm.Dataset(x, classes, categorical_feature=categories, params={"verbosity": -1})
    booster = lightgbm.train({**settings, "verbosity": -1}, data, trees)
    return Peer(
        read_lightgbm(booster.model_to_string().encode()),
        lambda rows: booster.predict(rows, raw_score=True, num_threads=1),
    )


def train_xgboost(x: np.ndarray, classes: np.ndarray, trees: int, depth: int) -> Peer:
    settings = {"objective": "binary:logistic", "max_depth": depth, "eta": 0.05}
    booster = xgboost.train(settings, xgboost.DMatrix(x, classes), trees)
    booster.set_param({"nthread": 1})
    return Peer(
        read_xgboost(bytes(booster.save_raw("ubj"))),
        lambda rows: booster.inplace_predict(rows, predict_type="margin"),
        lambda rows: np.ascontiguousarray(rows, np.float32),
    )


def train_catboost(
    x: np.ndarray, classes: np.ndarray, trees: int, depth: int, outputs: int = 1
) -> Peer:
    settings = {"iterations": trees, "depth": depth, "learning_rate": 0.05, "verbose": False}
    settings |= {"loss_function": "Logloss" if outputs == 1 else "MultiClass"}
    target = classes if outputs == 1 else np.nan_to_num(x[:, 5]).astype(int) % outputs
    model = catboost.CatBoost({**settings, "allow_writing_files": False}).fit(x, target)
    with tempfile.TemporaryDirectory() as folder:
        model.save_model(f"{folder}/model.json", format="json")
        content = Path(folder, "model.json").read_bytes()
    return Peer(
        read_catboost(content),
        lambda rows: model.predict(rows, prediction_type="RawFormulaVal", thread_count=1),
        lambda rows: np.asfortranarray(rows, np.float32),
    )


PEERS: dict[str, Callable[[np.ndarray, np.ndarray], Peer]] = {
    "LightGBM 500 x 63 leaves": lambda x, y: train_lightgbm(x, y, 500, 63, []),
    "LightGBM 500 x 31 leaves": lambda x, y: train_lightgbm(x, y, 500, 31, []),
    "LightGBM 956 x 10 leaves": lambda x, y: train_lightgbm(x, y, 956, 10, []),
    "  with categories 500 x 31": lambda x, y: train_lightgbm(x, y, 500, 31, CATEGORIES),
    "XGBoost 500 x depth 6": lambda x, y: train_xgboost(x, y, 500, 6),
    "CatBoost 500 x depth 6": lambda x, y: train_catboost(x, y, 500, 6),
    "CatBoost 500 x depth 8": lambda x, y: train_catboost(x, y, 500, 8),
    "  10 classes 100 x depth 6": lambda x, y: train_catboost(x, y, 100, 6, 10),
}


def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of several kinds with gaps, and classes that they half explain."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    x[:, 5] = rng.integers(0, 50, rows)
    x[:, 6] = rng.lognormal(3, 1, rows).round(2)
    x[:, 7:9] = rng.integers(0, 12, (rows, 2))
    drive = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + x[:, 5] % 7 / 3 + x[:, 6] / 20
    drive += x[:, 9] - x[:, 10] * (x[:, 11] > 0) + np.cos(x[:, 12] * x[:, 13])
    classes = drive + rng.normal(size=rows) > np.median(drive)
    x[rng.random(x.shape) < 0.03] = np.nan
    return x, classes


def seconds(work: Callable[[], object]) -> float:
    """CPU time of this process: what else the machine does shall not count."""
    started = time.process_time()
    work()
    return time.process_time() - started


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


def compare(rows: int, peer_rows: int, repeats: int, only: str) -> None:
    x, classes = draw(TRAINING_ROWS, seed=1)
    matrix, _ = draw(rows, seed=2)
    head = matrix[:peer_rows]
    few: list[str] = []
    print(f"rows per CPU second of one thread, median of {repeats} interleaved runs")
    print(f"({rows:,} rows x {COLUMNS} columns; the libraries on {peer_rows:,} of them)")
    print(f"{'':27}{'library':>11}{'Rowcast':>12}{'ratio':>8}{'quantise':>9}   difference")
    for name, train in PEERS.items():
        if only not in name:
            continue
        peer = train(x, classes)
        program, prepared = Program(peer.forest), peer.prepare(head)
        expected = peer.predict(prepared).reshape(len(head), -1)
        found = program.margins(head)
        apart = np.abs(found - expected).max()
        difference = "none" if found.tobytes() == expected.tobytes() else f"{apart:.0e}"
        ranking = quantising(program, matrix)
        times = [
            (
                seconds(lambda p=peer, r=prepared: p.predict(r)),
                seconds(lambda p=program: p.margins(matrix)),
                seconds(ranking),
            )
            for _ in range(repeats)
        ]
        theirs, ours, ranked = (statistics.median(column) for column in zip(*times, strict=True))
        theirs, ours = len(head) / theirs, rows / ours
        print(
            f"{name:27}{theirs:11,.0f}{ours:12,.0f}{ours / theirs:7.1f}x"
            f"{ranked * ours / rows:9.0%}   {difference}"
        )
        few.append(f"{name:27}" + "".join(_latency(n, peer, program, matrix) for n in BATCHES))
    print("\nCPU microseconds a call: library / Rowcast, each call with other rows")
    print(f"{'rows':27}" + "".join(f"{n:>18,}" for n in BATCHES))
    print("\n".join(few))


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
    arguments = parser.parse_args()
    compare(
        arguments.rows,
        min(arguments.rows, arguments.peer_rows),
        arguments.repeats,
        arguments.only,
    )


if __name__ == "__main__":
    main()
