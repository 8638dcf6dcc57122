"""Other explainers of one LightGBM model: ``python -m bench.attribution_peers REQUEST ANSWER``.

Runs in an environment of its own. Each explains some rows against one baseline row on one thread,
and is timed by CPU time.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Explain = Callable[[np.ndarray], np.ndarray]
    """Rows to attributions of the second class."""


def shap_margin(model: str, baseline: np.ndarray) -> Explain:
    return _shap(model, baseline, "raw")


def shap_probability(model: str, baseline: np.ndarray) -> Explain:
    return _shap(model, baseline, "probability")


def _shap(model: str, baseline: np.ndarray, output: str) -> Explain:
    import lightgbm
    import shap

    explainer = shap.TreeExplainer(
        lightgbm.Booster(model_file=model),
        baseline[None],
        feature_perturbation="interventional",
        model_output=output,
    )
    return lambda rows: np.asarray(explainer.shap_values(rows, check_additivity=False))


def fasttreeshap(model: str, baseline: np.ndarray) -> Explain:  # noqa: ARG001
    """Has no baseline row: it attributes to the paths that training rows took."""
    import fasttreeshap as library
    import lightgbm

    explainer = library.TreeExplainer(
        lightgbm.Booster(model_file=model), algorithm="v2", n_jobs=1, shortcut=False
    )

    def explain(rows: np.ndarray) -> np.ndarray:
        found = explainer.shap_values(rows, check_additivity=False)
        return np.asarray(found[1] if isinstance(found, list) else found)

    return explain


EXPLAINERS = {  # name -> the environment it needs, and how it is made
    "shap_margin": ("shap", shap_margin),
    "shap_probability": ("shap", shap_probability),
    "fasttreeshap": ("fasttreeshap", fasttreeshap),
}


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    arrays = np.load(request["arrays"])
    rows = arrays["rows"][: request["rows"]]
    explain = EXPLAINERS[request["explainer"]][1](request["model"], arrays["baseline"])
    found = explain(rows[:2])
    times = []
    for _ in range(request["repeats"]):
        started = time.process_time()
        found = explain(rows)
        times.append(time.process_time() - started)
    np.save(request["values"], np.asarray(found, float).reshape(len(rows), -1))
    Path(sys.argv[2]).write_text(json.dumps({"seconds": statistics.median(times)}))


if __name__ == "__main__":
    main()
