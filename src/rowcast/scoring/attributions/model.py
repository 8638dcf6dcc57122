"""What is needed of a model to explain it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from rowcast.core.batch import Batch
    from rowcast.core.model import ModelSpec
    from rowcast.core.prediction import Predictions
    from rowcast.scoring.linear import Linear
    from rowcast.scoring.program import Program

Link = Literal["identity", "exp", "square", "logistic", "softmax"]


@dataclass(frozen=True, eq=False)
class Additive:
    """A model whose margins are sums over trees and columns, and how it answers them."""

    trees: Program | None
    linear: Linear | None
    link: Link
    """``exp`` stands for expm1 too: a constant moves no attribution. ``logistic`` gives the second
    class's score; the first has the rest."""
    scale: float = 1.0
    """What margins are multiplied by before they are answered. Not for ``softmax``."""
    order: tuple[int, ...] = ()
    """For each class, its place among the model's own."""
    kept: OrderedDict[bytes, Any] = field(default_factory=OrderedDict, repr=False)
    """What ``explain`` has made ready for this model, by baseline."""

    @property
    def outputs(self) -> int:
        """How many margins a row has."""
        if self.trees is not None:
            return self.trees.forest.outputs
        return 0 if self.linear is None else self.linear.outputs


class Matrix(Protocol):
    """What is needed of encoded rows; see ``rowcast.predictors.Encoded``."""

    @property
    def matrix(self) -> np.ndarray:
        """The rows that fit the model."""
        ...


class Explained(Protocol):
    """What is needed of a predictor; see ``rowcast.predictors.Predictor``."""

    spec: ModelSpec

    def encode(self, batch: Batch) -> Matrix:
        """Turn rows into a matrix."""
        ...

    def score(self, matrix: np.ndarray) -> Predictions:
        """Predict for encoded rows."""
        ...

    def groups(self) -> tuple[tuple[str, slice], ...]:
        """For each feature, its matrix columns."""
        ...

    def baseline(self) -> np.ndarray:
        """The baseline row, encoded."""
        ...

    def additive(self) -> Additive | None:
        """What the model is made of, or None if only its answers are known."""
        ...


def answers_of(predictions: Predictions) -> np.ndarray:
    """The scores, or the values as a single column: float64 of shape (n, n_outputs)."""
    if predictions.scores is not None:
        return predictions.scores
    return np.asarray(predictions.value).reshape(-1, 1)


def owners(groups: tuple[tuple[str, slice], ...], n_columns: int) -> np.ndarray:
    """The number of the feature that each matrix column stands for: int32."""
    owner = np.empty(n_columns, np.int32)
    for number, (_, where) in enumerate(groups):
        owner[where] = number
    return owner
