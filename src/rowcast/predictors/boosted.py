"""Boosted trees that were trained here.

The model folder holds the trees as LightGBM text, one member per forest, and everything else as
JSON and plain arrays. LightGBM grows the trees and is not needed again: ``rowcast.scoring`` adds
up margins, to the same bits, and what a margin means is defined here.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.core.prediction import Predictions
from rowcast.errors import ModelDamaged
from rowcast.predictors import Encoded
from rowcast.scoring.encode import Encoder
from rowcast.scoring.forest import read_lightgbm
from rowcast.scoring.intervals import Bounds
from rowcast.scoring.kernels.links import sigmoid_scores, softmax_scores
from rowcast.scoring.program import Program
from rowcast.storage.model_folder import read_member

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import ModuleType

    import pyarrow as pa

    from rowcast.core.batch import Batch
    from rowcast.core.model import ModelSpec

ARRAYS = "arrays.safetensors"
FOREST = "forest-1.lgb.txt"
SPREAD_FOREST = "forest-2.lgb.txt"
_UNUSED_BY_LIGHTGBM = ("sklearn", "pandas", "dask", "matplotlib")
_OPENMP_WAITS = "OMP_WAIT_POLICY"


class Forest:
    """Trees that turn a matrix into margins, one column per output."""

    def __init__(self, content: bytes, n_columns: int) -> None:
        forest = read_lightgbm(content)
        if forest.n_columns != n_columns:
            raise ModelDamaged(
                f"The trees read {forest.n_columns} matrix columns, but the encoder "
                f"makes {n_columns}."
            )
        self.outputs = forest.outputs
        self._program = Program(forest)

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Sum up the leaves of each row: shape (n_rows, outputs). On the calling thread alone."""
        return self._program.margins(matrix)


class BoostedPredictor:
    """A model of boosted trees, loaded. See ``rowcast.predictors.Predictor``."""

    def __init__(
        self, spec: ModelSpec, encoder: Encoder, forest: Forest, spread: Forest | None = None
    ) -> None:
        self.spec = spec
        self._encoder = encoder
        self._forest = forest
        self._spread = spread
        self._classes = len(spec.schema.target.classes)
        if forest.outputs != (self._classes if self._classes > 2 else 1):
            raise ModelDamaged(
                f"The trees have {forest.outputs} outputs, which do not fit {self._classes} "
                "classes."
            )
        self._bounds = None if self._classes else Bounds.of(spec.details["interval"])

    def encode(self, batch: Batch) -> Encoded:
        """Read the feature columns; a row that does not fit, or was rejected, is an error."""
        return Encoded(*self._encoder.encode(batch))

    def score(self, matrix: np.ndarray) -> Predictions:
        """Predict for encoded rows, on the calling thread alone."""
        margins = self._forest.margins(matrix)
        if self._bounds is not None:
            value = np.ascontiguousarray(margins[:, 0])
            spread = None if self._spread is None else self._spread.margins(matrix)[:, 0]
            lower, upper = self._bounds.around(value, spread)
            return Predictions(value=value, lower=lower, upper=upper)
        scores = np.empty((len(matrix), self._classes))
        if self._classes == 2:
            sigmoid_scores(np.ascontiguousarray(margins[:, 0]), scores)
        else:
            softmax_scores(margins, scores)
        return Predictions(scores=scores)

    def unseen(self, rows: pa.RecordBatch) -> dict[str, int]:
        """For each categorical feature, count the cells whose text training did not know."""
        return self._encoder.unseen(rows)

    def groups(self) -> tuple[tuple[str, slice], ...]:
        """For each feature, the matrix columns that stand for it."""
        return self._encoder.groups

    def baseline(self) -> np.ndarray:
        """The baseline row, encoded: float64 of shape (n_columns,)."""
        return self._encoder.baseline.copy()


def load_boosted(folder: Path, spec: ModelSpec) -> BoostedPredictor:
    """Load a model folder whose ``spec`` was verified.

    Raises
    ------
    ModelDamaged
        If a member is not the one that was saved, or the members do not fit together.
    """
    return boosted_predictor(spec, {n: read_member(folder, spec, n) for n in sorted(spec.members)})


def boosted_predictor(spec: ModelSpec, members: Mapping[str, bytes]) -> BoostedPredictor:
    """Build the predictor from the verified content of its members."""
    from safetensors.numpy import load

    try:
        encoder = Encoder.of(spec, load(members[ARRAYS]))
        names = spec.details["forests"]
        forests = [Forest(members[name], encoder.width) for name in names]
    except KeyError as missing:
        raise ModelDamaged(f"The model {spec.name!r} lacks {missing}.") from missing
    return BoostedPredictor(spec, encoder, *forests)


def import_lightgbm() -> ModuleType:
    """Import LightGBM without what it merely supports, and with threads that wait asleep.

    It looks for scikit-learn and pandas when imported, which takes seconds: in a process of our
    own nobody else could want them, so they are hidden from it; in a user's notebook it is left
    as it is. Its OpenMP threads spin by default while they wait for each other, which makes
    training ten times slower on a machine that has other work.
    """
    if "lightgbm" in sys.modules:
        return import_module("lightgbm")
    main: Any = getattr(sys.modules.get("__main__"), "__spec__", None)
    ours = main is not None and str(main.name).startswith("rowcast.")
    hidden = [name for name in _UNUSED_BY_LIGHTGBM if ours and name not in sys.modules]
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(hidden))
    chosen = os.environ.get(_OPENMP_WAITS)
    os.environ.setdefault(_OPENMP_WAITS, "PASSIVE")
    try:
        return import_module("lightgbm")
    finally:
        for name in hidden:
            del modules[name]
        if chosen is None:
            del os.environ[_OPENMP_WAITS]
