"""Attributions where Numba does not compile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from rowcast.scoring.attributions import Explanation, explain
from tests.scoring.attributions.models import LINKS, draw_model

ROOT = Path(__file__).parents[3]
PRINT = """
from tests.scoring.attributions.test_interpreted import some_attributions
print(some_attributions())
"""


def some_attributions() -> str:
    found = []
    for seed, link in enumerate(LINKS):
        predictor, matrix = draw_model(np.random.default_rng(seed), link, features=12, rows=2)
        why = explain(predictor, matrix, predictor.score(matrix), Explanation(1, top_k=-1))
        found += [why.values, why.approximation_error]
    assert sum(array.any() for array in found) > len(LINKS)
    return b"".join(array.tobytes() for array in found).hex()


def test_attributions_have_the_same_bits_without_the_compiler():
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PRINT],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": paths},
        capture_output=True,
        check=True,
        text=True,
    )
    assert run.stdout.strip() == some_attributions()
