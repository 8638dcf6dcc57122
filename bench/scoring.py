"""``python -m bench.scoring``: margins a second on one thread, beside LightGBM's own predict."""

from __future__ import annotations

import argparse
import statistics
import time
from typing import TYPE_CHECKING

import lightgbm
import numpy as np

from rowcast.scoring.forest import NEAR_ZERO
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.kernels.quantise import quantise
from rowcast.scoring.program import Program, block_shape

if TYPE_CHECKING:
    from collections.abc import Callable

FORESTS = {"500 x 63": (500, 63), "500 x 31": (500, 31), "956 x 10": (956, 10)}
"""Trees x leaves."""
COLUMNS = 20
TRAINING_ROWS = 50_000
BATCHES = (1, 10, 100, 1_000)


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
    """CPU time of this thread: what else the machine does shall not count."""
    started = time.thread_time()
    work()
    return time.thread_time() - started


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


def compare(rows: int, peer_rows: int, repeats: int) -> None:
    x, classes = draw(TRAINING_ROWS, seed=1)
    data = lightgbm.Dataset(x, classes, params={"verbosity": -1})
    matrix, _ = draw(rows, seed=2)
    head = matrix[:peer_rows]
    few: list[str] = []
    print(f"rows per CPU second of one thread, median of {repeats} interleaved runs")
    print(f"({rows:,} rows x {COLUMNS} columns; LightGBM on {peer_rows:,} of them)")
    print(
        f"{'trees x leaves':16}{'LightGBM':>12}{'Rowcast':>12}{'ratio':>8}{'quantise':>9}   equal"
    )
    for name, (trees, leaves) in FORESTS.items():
        settings = {"objective": "binary", "num_leaves": leaves, "verbosity": -1}
        booster = lightgbm.train({**settings, "learning_rate": 0.05}, data, trees)
        program = Program(read_lightgbm(booster.model_to_string().encode()))

        def peer(rows: np.ndarray = head, booster: lightgbm.Booster = booster) -> np.ndarray:
            return booster.predict(rows, raw_score=True, num_threads=1)

        equal = program.margins(head)[:, 0].tobytes() == peer().tobytes()
        ranking = quantising(program, matrix)
        times = [
            (seconds(peer), seconds(lambda p=program: p.margins(matrix)), seconds(ranking))
            for _ in range(repeats)
        ]
        theirs, ours, ranked = (statistics.median(column) for column in zip(*times, strict=True))
        theirs, ours = len(head) / theirs, rows / ours
        print(
            f"{name:16}{theirs:12,.0f}{ours:12,.0f}{ours / theirs:7.1f}x"
            f"{ranked * ours / rows:9.0%}   {equal}"
        )
        few.append(f"{name:16}" + "".join(_latency(n, peer, program, matrix) for n in BATCHES))
    print("\nCPU microseconds a call: LightGBM / Rowcast, each call with other rows")
    print(f"{'rows':16}" + "".join(f"{n:>18,}" for n in BATCHES))
    print("\n".join(few))


def _latency(
    n: int, peer: Callable[[np.ndarray], np.ndarray], program: Program, matrix: np.ndarray
) -> str:
    pieces = [matrix[at : at + n] for at in range(0, 30 * n, n)]
    theirs = statistics.median(seconds(lambda p=p: peer(p)) for p in pieces)
    ours = statistics.median(seconds(lambda p=p: program.margins(p)) for p in pieces)
    return f"{theirs * 1e6:9,.0f} /{ours * 1e6:7,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peer-rows", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    compare(arguments.rows, min(arguments.rows, arguments.peer_rows), arguments.repeats)


if __name__ == "__main__":
    main()
