"""What this machine offers, and whether Rowcast runs on it as it should."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import dataclass
from enum import StrEnum
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.forest import NAN_LEFT, make_forest, reference_margins
from rowcast.scoring.kernels import cache_folder, why_interpreted
from rowcast.scoring.program import Program
from rowcast.settings import machine_bytes
from rowcast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rowcast.scoring.forest import Forest
    from rowcast.settings import Settings

VECTORS = ("avx512vbmi", "avx512bw", "avx512f", "avx2", "avx", "sse4.2", "sve2", "sve", "neon")
"""Features that make kernels wide, best first."""
EXTRAS = {
    "train": ("catboost", "optuna", "xgboost"),
    "onnx": ("onnx", "onnxruntime"),
    "sklearn": ("pandas", "sklearn", "skops"),
    "console": ("nicegui",),
    "grpc": ("cryptography", "google.cloud.aiplatform", "grpc"),
    "oidc": ("joserfc",),
    "postgres": ("psycopg",),
}
"""Modules of each extra."""
LEAST_FREE = 1 << 30
"""Bytes of disk below which a job of some size will not get far."""
TREES, LEVELS, COLUMNS = 100, 5, 20
ROWS, COMPARED = 50_000, 1_000


class Verdict(StrEnum):
    """How a finding is to be taken."""

    GOOD = "good"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    verdict: Verdict
    text: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything that scoring and the jobs depend on."""
    yield Finding(
        "rowcast",
        Verdict.GOOD,
        f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}",
    )
    yield _processor()
    yield _threads(settings)
    yield from _kernels()
    yield _speed()
    yield _home(settings.home)
    yield from _extras()


def _processor() -> Finding:
    try:
        from llvmlite import binding
    except (ImportError, OSError) as error:
        return Finding("processor", Verdict.NOTE, f"{platform.machine()}; unknown: {error}")
    features = binding.get_host_cpu_features()
    wide = [name for name in VECTORS if features.get(name)]
    said = ", ".join(wide) if wide else "no vector instructions"
    return Finding(
        "processor",
        Verdict.GOOD if wide else Verdict.NOTE,
        f"{platform.machine()}, {binding.get_host_cpu_name()}: {said}",
    )


def _threads(settings: Settings) -> Finding:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    replicas, memory = min(settings.max_replicas, os.cpu_count() or 1), machine_bytes() / 2**30
    return Finding(
        "cores",
        Verdict.GOOD,
        f"{usable} of {os.cpu_count()} usable, {memory:.1f} GiB of memory; jobs get "
        f"{replicas} replicas of one thread each",
    )


def _kernels() -> Iterator[Finding]:
    why = why_interpreted()
    if why is None:
        yield Finding("scoring path", Verdict.GOOD, "kernels compiled by Numba for this processor")
    else:
        yield Finding(
            "scoring path",
            Verdict.BAD,
            f"the plain reference: the same answers, far slower. {why}",
        )
        return
    folder = cache_folder()
    files = [file for file in folder.rglob("*") if file.is_file()] if folder.exists() else []
    size = sum(file.stat().st_size for file in files) / 2**20
    if os.access(_nearest(folder), os.W_OK):
        yield Finding("kernel cache", Verdict.GOOD, f"{folder}: {len(files)} files, {size:.1f} MiB")
    else:
        yield Finding(
            "kernel cache",
            Verdict.BAD,
            f"{folder} cannot be written: every replica compiles anew, for seconds. Name another "
            "folder by the setting kernel_cache.",
        )


def _speed() -> Finding:
    """Score a forest with what jobs run, and compare it with the reference."""
    forest = _full_forest()
    rows = np.random.default_rng(1).normal(size=(ROWS, COLUMNS))
    program = Program(forest)
    few = rows[:COMPARED]
    if program.margins(few).tobytes() != reference_margins(forest, few).tobytes():
        return Finding(
            "self-test",
            Verdict.BAD,
            "the kernels do not agree with the reference on this machine: do not use them. "
            "NUMBA_DISABLE_JIT=1 makes jobs run the reference. Please report this.",
        )
    if why_interpreted() is not None:
        rows = few
    started = time.perf_counter()
    program.margins(rows)
    rate = len(rows) / (time.perf_counter() - started)
    return Finding(
        "self-test",
        Verdict.GOOD,
        f"bits equal the reference's; {rate:,.0f} rows a second on one thread "
        f"({TREES} trees of {2**LEVELS} leaves, {COLUMNS} columns)",
    )


def _full_forest() -> Forest:
    """Trees of all levels, drawn at random."""
    rng = np.random.default_rng(0)
    nodes, leaves = 2**LEVELS - 1, 2**LEVELS
    children = 2 * np.arange(nodes) + np.array([[1], [2]])
    left, right = np.where(children < nodes, children, ~(children - nodes))
    return make_forest(
        n_columns=COLUMNS,
        outputs=1,
        node_starts=np.arange(TREES) * nodes,
        leaves=np.full(TREES, leaves),
        columns=rng.integers(0, COLUMNS, TREES * nodes),
        thresholds=rng.normal(size=TREES * nodes),
        missing=np.full(TREES * nodes, NAN_LEFT),
        left=np.tile(left, TREES),
        right=np.tile(right, TREES),
        values=rng.normal(size=TREES * leaves),
        base=np.zeros(1),
    )


def _home(home: Path) -> Finding:
    nearest = _nearest(home)
    if not os.access(nearest, os.W_OK):
        return Finding("home", Verdict.BAD, f"{home} cannot be written")
    free = shutil.disk_usage(nearest).free
    made = "" if home.exists() else ", made when it is needed"
    return Finding(
        "home",
        Verdict.GOOD if free >= LEAST_FREE else Verdict.BAD,
        f"{home}{made}: {free / 2**30:.1f} GiB of disk are free",
    )


def _nearest(folder: Path) -> Path:
    """The folder, or that of its parents in which it would be made."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if not _is_there(name)]
        if missing:
            text = f"{', '.join(missing)} not installed: pip install 'rowcast[{extra}]'"
            yield Finding(f"extra {extra}", Verdict.NOTE, text)
        else:
            yield Finding(f"extra {extra}", Verdict.GOOD, "installed")


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
