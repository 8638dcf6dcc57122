"""``python -m bench.attributions``: errors against brute force, rows a second, an explained job.

Three parts. Errors: each setting of ``pathCount`` beside all coalitions of 10 and 12 columns.
Speed: rows a second of one thread, beside shap, fasttreeshap, and sampled orders of features, of
which each is scored by LightGBM or by our own kernel. A job: a million rows from CSV to JSON
lines, with and without attributions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np

from bench.attribution_peers import EXPLAINERS
from bench.children import ChildFailed, measure, run_child, two_cores
from bench.environments import DEFAULT, interpreter
from rowcast.core.prediction import Predictions
from rowcast.scoring.attributions.answers import Answers
from rowcast.scoring.attributions.exact import Attributor
from rowcast.scoring.attributions.model import Additive, Link
from rowcast.scoring.attributions.reference import reference_shares
from rowcast.scoring.attributions.sampling import sample
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.kernels.links import sigmoid_scores, softmax_scores
from rowcast.scoring.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = 20
TRAINING_ROWS = 50_000
TREES = 500
PATHS = (1, 5, 10, 20, 35)
"""The least ``pathCount`` of each setting."""
BEST = 50
TIMEOUT_S = 1_800.0
TELLING = [0, 1, 2, 5, 6, 9, 10, 11, 12, 13, 3, 7]
"""Columns by what they say of the target, about."""
LINKS: dict[str, tuple[Link, dict[str, Any]]] = {
    "value": ("identity", {"objective": "regression"}),
    "value, learnt as its logarithm": ("exp", {"objective": "regression"}),
    "two classes": ("logistic", {"objective": "binary"}),
    "four classes": ("softmax", {"objective": "multiclass", "num_class": 4}),
}


def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of several kinds with gaps, and a target that they explain in part."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, COLUMNS))
    x[:, 5] = rng.integers(0, 50, rows)
    x[:, 6] = rng.lognormal(3, 1, rows).round(2)
    x[:, 7:9] = rng.integers(0, 12, (rows, 2))
    drive = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + x[:, 5] % 7 / 3 + x[:, 6] / 20
    drive += x[:, 9] - x[:, 10] * (x[:, 11] > 0) + np.cos(x[:, 12] * x[:, 13]) + x[:, 3] / 4
    drive = (drive - np.median(drive)) / drive.std() + 0.4 * rng.normal(size=rows)
    x[rng.random(x.shape) < 0.03] = np.nan
    return x, drive


@dataclass(frozen=True)
class Model:
    """A trained LightGBM, and all that explains it."""

    booster: lightgbm.Booster
    link: Link
    baseline: np.ndarray

    @classmethod
    def train(cls, kind: str, x: np.ndarray, drive: np.ndarray, leaves: int) -> Model:
        link, settings = LINKS[kind]
        if link == "softmax":
            drive = np.digitize(drive, np.quantile(drive, (0.25, 0.5, 0.75)))
        elif link == "logistic":
            drive = drive > 0
        settings = {**settings, "num_leaves": leaves, "learning_rate": 0.05, "verbosity": -1}
        trees = TREES // settings.get("num_class", 1)
        booster = lightgbm.train(settings, lightgbm.Dataset(x, drive), trees)
        return cls(booster, link, np.nanmedian(x, axis=0))

    @property
    def program(self) -> Program:
        return Program(read_lightgbm(self.booster.model_to_string().encode()))

    def answers(self, margins: np.ndarray) -> np.ndarray:
        if self.link in ("identity", "exp"):
            return margins if self.link == "identity" else np.expm1(margins)
        scores = np.empty((len(margins), max(2, margins.shape[1])))
        if self.link == "softmax":
            softmax_scores(margins, scores)
        else:
            sigmoid_scores(np.ascontiguousarray(margins[:, 0]), scores)
        return scores


class Explainer:
    """Our own attributions of a model, with the answers that are explained."""

    def __init__(self, model: Model, rows: np.ndarray) -> None:
        self.model, self.rows, self.program = model, rows, model.program
        self.scores = model.answers(self.program.margins(rows))
        base = model.answers(self.program.margins(model.baseline[None]))[0]
        wanted = np.argsort(-self.scores, axis=1, kind="stable")[:, :1]
        self.answers = Answers(self.scores, base, wanted)
        order = () if model.link in ("identity", "exp") else tuple(range(len(base)))
        owner = np.arange(rows.shape[1], dtype=np.int32)
        made = Additive(self.program, None, model.link, order=order)
        self.attributor = Attributor(made, owner, model.baseline)

    def explain(self, paths: int, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        piece = slice(0, rows)
        return self.attributor.attribute(self.rows[piece], self.answers.rows(piece), paths)

    def sample(self, paths: int, margins: Callable[[np.ndarray], np.ndarray], rows: int) -> Any:
        """Average over so many orders of features, whose mixtures ``margins`` scores."""
        groups = tuple((f"f{i}", slice(i, i + 1)) for i in range(self.rows.shape[1]))
        classes = tuple("ab") if len(self.answers.at_baseline) > 1 else ()
        predictor: Any = SimpleNamespace(
            groups=lambda: groups,
            score=lambda mixed: Predictions(scores=self.model.answers(margins(mixed))),
            spec=SimpleNamespace(schema=SimpleNamespace(target=SimpleNamespace(classes=classes))),
        )
        piece = slice(0, rows)
        return sample(
            predictor, self.rows[piece], self.model.baseline, self.answers.rows(piece), paths
        )

    def truth(self) -> np.ndarray:
        """Brute force: all coalitions."""
        groups = tuple((f"f{i}", slice(i, i + 1)) for i in range(self.rows.shape[1]))

        def answer(mixed: np.ndarray) -> np.ndarray:
            return self.model.answers(self.program.margins(mixed))

        shares = [
            reference_shares(answer, row, self.model.baseline, groups)[chosen]
            for row, chosen in zip(self.rows, self.answers.wanted, strict=True)
        ]
        return np.stack(shares)


def errors(rows: int) -> None:
    x, drive = draw(TRAINING_ROWS, seed=1)
    test, _ = draw(rows, seed=2)
    print(f"errors against all coalitions, {rows} rows, {TREES} trees x 31 leaves")
    print(
        f"{'model':32}{'columns':>8}{'setting':>16}{'mean':>10}{'largest':>10}"
        f"{'of size':>10}{'told/true':>10}"
    )
    for kind in LINKS:
        for columns in (10, 12):
            chosen = TELLING[:columns]
            model = Model.train(kind, x[:, chosen], drive, 31)
            explainer = Explainer(model, np.ascontiguousarray(test[:, chosen]))
            truth = explainer.truth()
            found = {f"pathCount {paths}": explainer.explain(paths) for paths in PATHS}
            if model.link == "logistic":
                margins = explainer.program.margins
                for paths in (10, 25):
                    found[f"{paths} orders"] = explainer.sample(paths, margins, rows)
            for setting, (values, told) in found.items():
                off = np.linalg.norm(values - truth, axis=2) / np.linalg.norm(truth, axis=2)
                ratio = (
                    f"{np.median(told[told > 0] / off[told > 0]):.1f}" if told.any() else "exact"
                )
                apart = np.abs(values - truth)
                print(
                    f"{kind:32}{columns:8}{setting:>16}{apart.mean():10.1e}{apart.max():10.1e}"
                    f"{apart.sum() / np.abs(truth).sum():10.1e}{ratio:>10}",
                    flush=True,
                )


def seconds(work: Callable[[], object], repeats: int) -> float:
    """CPU time, median."""
    times = []
    work()
    for _ in range(repeats):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return statistics.median(times)


def speed(rows: int, repeats: int, envs: Path, cores: list[int]) -> None:
    x, drive = draw(TRAINING_ROWS, seed=1)
    test, _ = draw(rows, seed=2)
    for leaves in (31, 63):
        explainer = Explainer(Model.train("two classes", x, drive, leaves), test)
        best, _ = explainer.explain(BEST)
        print(
            f"\n{TREES} trees x {leaves} leaves, {COLUMNS} features: rows a CPU second of a thread"
        )
        print(f"{'':44}{'rows/s':>10}{'mean error':>12}{'largest':>10}")

        def show(name: str, count: int, taken: float, values: np.ndarray | None) -> None:
            speed = f"{name:44}{count / taken:10,.0f}"
            if values is not None:
                apart = np.abs(values - best[: len(values)])  # noqa: B023 - called at once
                speed += f"{apart.mean():12.1e}{apart.max():10.1e}"
            print(speed, flush=True)

        taken = seconds(lambda e=explainer: e.attributor.margin_shares(e.rows), repeats)
        show("Rowcast, margin (exact)", rows, taken, None)
        for paths in PATHS:
            taken = seconds(lambda e=explainer, p=paths: e.explain(p), repeats)
            show(
                f"Rowcast, probability, pathCount {paths}", rows, taken, explainer.explain(paths)[0]
            )
        booster = explainer.model.booster
        scorers: dict[str, tuple[int, Callable[[np.ndarray], np.ndarray]]] = {
            "our kernel": (min(rows, 500), explainer.program.margins),
            "LightGBM": (
                min(rows, 20),
                lambda mixed, b=booster: b.predict(mixed, raw_score=True, num_threads=1)[:, None],
            ),
        }
        for name, (few, margins) in scorers.items():
            for paths in (10, 25):
                again = 1 if name == "LightGBM" else repeats
                taken = seconds(
                    lambda e=explainer, p=paths, m=margins, n=few: e.sample(p, m, n), again
                )
                values, _ = explainer.sample(paths, margins, few)
                show(f"{paths} sampled orders through {name}", few, taken, values)
        _peers(explainer, repeats, envs, cores, show)


def _peers(
    explainer: Explainer,
    repeats: int,
    envs: Path,
    cores: list[int],
    show: Callable[[str, int, float, np.ndarray | None], None],
) -> None:
    """Time the other explainers, and say how far margins are from theirs."""
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        place = Path(folder)
        explainer.model.booster.save_model(place / "model.txt")
        np.savez(place / "arrays.npz", rows=explainer.rows, baseline=explainer.model.baseline)
        for name, (environment, _) in EXPLAINERS.items():
            few = min(len(explainer.rows), 200 if name == "fasttreeshap" else 1000)
            request = {
                "explainer": name,
                "model": str(place / "model.txt"),
                "arrays": str(place / "arrays.npz"),
                "values": str(place / "values.npy"),
                "rows": few,
                "repeats": repeats,
            }
            try:
                answer = run_child(
                    "bench.attribution_peers",
                    request,
                    python=interpreter(envs, environment),
                    cores=cores[:1],
                    timeout_s=TIMEOUT_S,
                    log=place / f"{name}.log",
                )
            except ChildFailed as error:
                print(f"{name}: failed: {error}", flush=True)
                continue
            show(name, few, answer["seconds"], None)
            if name == "shap_margin":
                ours = explainer.attributor.margin_shares(explainer.rows[:few])[:, 0]
                apart = np.abs(np.load(place / "values.npy") - ours).max()
                print(f"{'  largest difference from our margins':44}{apart:10.0e}")


def job(sizes: list[int], trees: int, leaves: int) -> None:
    """CSV to JSON lines on the command line, with and without attributions."""
    from bench.model import make_model
    from bench.table import write_table

    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        work = Path(folder)
        home = work / "home"
        make_model(work, trees=trees, leaves=leaves)
        print(f"\nCSV to JSON lines, {trees} trees x {leaves} leaves, 18 features, two classes")
        print(f"{'rows':>10}{'':14}{'s':>8}{'rows/s':>10}{'peak MiB':>10}{'x plain':>9}")
        for count in sizes:
            source = work / "rows.csv"
            write_table(source, count, target=False, seed=2)
            plain = 0.0
            for name, more in (
                ("warm", ["--explain"]),
                ("plain", []),
                ("explained", ["--explain"]),
            ):
                out = work / "out"
                shutil.rmtree(out, ignore_errors=True)
                command = [sys.executable, "-m", "rowcast", "predict", "bench", str(source), "-q"]
                command += ["--format", "jsonl", "--output", str(out), "--home", str(home), *more]
                if name == "warm":  # kernels are compiled once
                    write_table(work / "warm.csv", 500, target=False, seed=3)
                    command[5] = str(work / "warm.csv")
                    measure(command)
                    continue
                taken, peak = measure(command)
                plain = plain or taken
                _check_rows(out, count)
                ratio = taken / plain
                print(
                    f"{count:10,}{name:>14}{taken:8.1f}{count / taken:10,.0f}{peak:10,.0f}"
                    f"{ratio:8.1f}x",
                    flush=True,
                )


def _check_rows(out: Path, rows: int) -> None:
    manifest = json.loads(next(out.glob("*/_rowcast_manifest.json")).read_text())
    written = sum(item["rows"] for item in manifest["objects"])
    if written != rows:
        raise AssertionError(f"{written} rows came out of {rows}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=["errors", "speed", "job"])
    parser.add_argument("--rows", type=int, default=2_000, help="for speed")
    parser.add_argument("--brute-rows", type=int, default=50, help="for errors")
    parser.add_argument("--job-rows", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--trees", type=int, default=TREES, help="of the job's model")
    parser.add_argument("--leaves", type=int, default=31, help="of the job's model")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--envs", type=Path, default=DEFAULT, help="default: %(default)s")
    parser.add_argument("--cores", default=two_cores())
    options = parser.parse_args()
    cores = [int(core) for core in options.cores.split(",")]
    if "errors" in options.parts:
        errors(options.brute_rows)
    if "speed" in options.parts:
        speed(options.rows, options.repeats, options.envs, cores)
    if "job" in options.parts:
        job(options.job_rows, options.trees, options.leaves)


if __name__ == "__main__":
    main()
