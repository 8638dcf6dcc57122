"""Other evaluators of one LightGBM model: ``python -m bench.forest_peers REQUEST ANSWER``.

Runs in an environment of its own. Each evaluator gets the rows in the form that it is fastest
with, and is timed on one thread by CPU time, on two by the clock.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    Predict = Callable[[np.ndarray], np.ndarray]
    """Rows, prepared by ``FORMS``, to margins."""

FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "onnxruntime": lambda rows: np.ascontiguousarray(rows, np.float32),
}


def treelite(model: str, threads: int) -> Predict:
    import treelite

    forest = treelite.frontend.load_lightgbm_model(model)
    return lambda rows: treelite.gtil.predict(forest, rows, nthread=threads, pred_margin=True)


def tl2cgen(model: str, threads: int) -> Predict:
    import tl2cgen
    import treelite

    forest = treelite.frontend.load_lightgbm_model(model)
    library = Path(tempfile.mkdtemp(prefix="rowcast-bench-"), "forest.so")
    tl2cgen.export_lib(forest, toolchain="gcc", libpath=library, params={"parallel_comp": 16})
    predictor = tl2cgen.Predictor(library, nthread=threads)
    return lambda rows: predictor.predict(tl2cgen.DMatrix(rows), pred_margin=True)


def onnxruntime(model: str, threads: int) -> Predict:
    import lightgbm
    import onnxmltools
    import onnxruntime
    from onnxmltools.convert.common.data_types import FloatTensorType

    booster = lightgbm.Booster(model_file=model)
    shape = [("rows", FloatTensorType([None, booster.num_feature()]))]
    graph = onnxmltools.convert_lightgbm(booster, initial_types=shape, zipmap=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def predict(rows: np.ndarray) -> np.ndarray:
        score = session.run(["probabilities"], {"rows": rows})[0][:, 1].astype(np.float64)
        return np.log(score) - np.log1p(-score)

    return predict


def daal4py(model: str, threads: int) -> Predict:
    import daal4py
    import lightgbm

    daal4py.daalinit(threads)
    forest = daal4py.mb.convert_model(lightgbm.Booster(model_file=model))

    def predict(rows: np.ndarray) -> np.ndarray:
        score = forest.predict_proba(rows)[:, 1]
        with np.errstate(divide="ignore"):
            return np.log(score) - np.log1p(-score)

    return predict


def lignum(model: str, threads: int) -> Predict:
    import lignum

    forest = lignum.load(model)
    return lambda rows: forest.predict(rows, raw_score=True, n_jobs=threads)


def lignum_compiled(model: str, threads: int) -> Predict:
    import lignum

    forest = lignum.load(model)
    forest.compile(library=str(Path(tempfile.mkdtemp(prefix="rowcast-bench-"), "forest.so")))
    return lambda rows: forest.predict(rows, raw_score=True, n_jobs=threads)


EVALUATORS = {
    "treelite": treelite,
    "tl2cgen": tl2cgen,
    "onnxruntime": onnxruntime,
    "daal4py": daal4py,
    "pylignum": lignum,
    "pylignum compiled": lignum_compiled,
}


def measure(request: dict[str, Any]) -> dict[str, Any]:
    """Rows a second and the largest difference of a margin, of one evaluator."""
    name, threads = request["evaluator"], request["threads"]
    rows, expected = np.load(request["rows"]), np.load(request["margins"])
    predict = EVALUATORS[name](request["model"], threads)
    prepared = FORMS.get(name, np.asarray)(rows)
    found = np.asarray(predict(prepared), np.float64).reshape(-1)
    clock = time.process_time if threads == 1 else time.perf_counter
    times = []
    for _ in range(request["repeats"]):
        started = clock()
        predict(prepared)
        times.append(clock() - started)
    apart = np.abs(found - expected)
    return {
        "rows_a_second": len(rows) / statistics.median(times),
        "difference": float(apart[np.isfinite(apart)].max(initial=0.0)),
    }


def main() -> None:
    request, answer = map(Path, sys.argv[1:3])
    answer.write_text(json.dumps(measure(json.loads(request.read_text()))))


if __name__ == "__main__":
    main()
