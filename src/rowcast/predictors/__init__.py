"""What turns rows into predictions: the seam, and the kinds of model behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast, runtime_checkable

import numpy as np

from rowcast.core.batch import RowError
from rowcast.errors import InvalidRequest
from rowcast.storage.model_folder import read_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from rowcast.core.batch import Batch, Places
    from rowcast.core.model import ModelSpec
    from rowcast.core.prediction import Predictions
    from rowcast.scoring.attributions.model import Additive
    from rowcast.scoring.encode import Whole

PREDICTORS = {  # ModelSpec.predictor -> "module:function", imported on first use
    "boosted": "rowcast.predictors.boosted:load_boosted",
    "onnx": "rowcast.predictors.onnx:load_onnx",
    "sklearn": "rowcast.predictors.sklearn:load_sklearn",
    "trees": "rowcast.predictors.trees:load_trees",
}


@dataclass(frozen=True)
class Encoded:
    """The rows of a batch that fit the model, as numbers, and the rows that do not."""

    matrix: np.ndarray
    """float64 of shape (n_rows, n_columns), C order; NaN means missing."""
    rows: np.ndarray
    """int64 of shape (n_rows,), ascending: each matrix row's index in the batch."""
    errors: tuple[RowError, ...]
    """Ascending by index, one for every other row of the batch."""
    whole: Whole | None = None
    """All rows of the batch, for a predictor that can tell; the profile is compared with them."""


class Predictor(Protocol):
    """A loaded model. It depends on nothing but its own files; the same row gets the same
    bits whatever rows are scored beside it.
    """

    spec: ModelSpec

    def encode(self, batch: Batch) -> Encoded:
        """Read the feature columns; a row that does not fit, or was rejected, is an error."""
        ...

    def score(self, matrix: np.ndarray) -> Predictions:
        """Predict for encoded rows, on the calling thread alone. A model from elsewhere may have
        no answer to a row, which is NaN then; see ``answered``.
        """
        ...

    def unseen(self, rows: pa.RecordBatch) -> dict[str, int]:
        """For each categorical feature, count the cells whose text training did not know."""
        ...

    def groups(self) -> tuple[tuple[str, slice], ...]:
        """For each feature, the matrix columns that stand for it."""
        ...

    def baseline(self) -> np.ndarray:
        """The baseline row, encoded: float64 of shape (n_columns,)."""
        ...

    def additive(self) -> Additive | None:
        """What the model is made of, or None if only its answers are known."""
        ...


@runtime_checkable
class Levelled(Protocol):
    """A predictor that keeps intervals of all levels."""

    def at_level(self, level: float) -> Predictor:
        """Serve intervals that hold another share of true values. Raises InvalidRequest."""
        ...


def at_level(predictor: Predictor, level: float) -> Predictor:
    """Serve intervals that hold another share of true values.

    Raises
    ------
    InvalidRequest
        If the model has no intervals, or none of that level.
    """
    if not isinstance(predictor, Levelled):
        raise InvalidRequest("Only models that were trained here keep intervals of all levels.")
    return predictor.at_level(level)


@lru_cache(maxsize=4)
def load_predictor(folder: str, digest: str, interval_level: float | None = None) -> Predictor:
    """Load the model whose ``model.json`` has the SHA-256 ``digest``.

    Raises
    ------
    ModelDamaged
        If any file is not the one that was saved. Nothing is parsed before it is hashed.
    InvalidRequest
        If it has no intervals of the level that is asked for.
    """
    if interval_level is not None:
        return at_level(load_predictor(folder, digest), interval_level)
    spec = read_spec(Path(folder), digest)
    module, _, name = PREDICTORS[spec.predictor].partition(":")
    load = cast("Callable[[Path, ModelSpec], Predictor]", getattr(import_module(module), name))
    return load(Path(folder), spec)


def answered(encoded: Encoded, answers: Predictions, places: Places) -> tuple[Encoded, Predictions]:
    """Turn rows without a finite answer into errors."""
    outputs = answers.value if answers.scores is None else answers.scores
    if outputs is None or np.isfinite(outputs).all():
        return encoded, answers
    good = np.isfinite(outputs.reshape(len(outputs), -1)).all(axis=1)
    errors = [
        RowError(
            row,
            "the model has no answer",
            f"The model has no finite answer for this row. ({places.describe(row)})",
        )
        for row in encoded.rows[~good].tolist()
    ]
    together = tuple(sorted([*encoded.errors, *errors], key=lambda error: error.index))
    kept = Encoded(encoded.matrix[good], encoded.rows[good], together, encoded.whole)
    return kept, answers.take(good)
