"""Ensembles of trees and linear members that were trained here.

The model folder holds plain arrays: the trees of all members as one forest, their leaves weighted
and calibrated already, a linear member if there is one, and the tables of the encoder. The
libraries that grew them are not needed again: margins are added up by ``rowcast.scoring``, and
what a margin means is defined here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rowcast.core.prediction import Predictions
from rowcast.errors import ModelDamaged
from rowcast.predictors import Encoded
from rowcast.scoring.attributions.model import Additive
from rowcast.scoring.encode import Encoder
from rowcast.scoring.forest import forest_of
from rowcast.scoring.intervals import LEVEL, Bounds, Quantiles
from rowcast.scoring.kernels.links import sigmoid_scores, softmax_scores
from rowcast.scoring.linear import Linear
from rowcast.scoring.program import Program
from rowcast.storage.model_folder import read_member

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

    from rowcast.core.batch import Batch
    from rowcast.core.model import ModelSpec
    from rowcast.scoring.attributions.model import Link
    from rowcast.scoring.forest import Forest

ARRAYS = "arrays.safetensors"
FOREST = "forest.safetensors"
SPREAD_FOREST = "spread.safetensors"


@dataclass(frozen=True)
class Members:
    """What adds up to margins: at least one of the two."""

    trees: Program | None
    linear: Linear | None

    @classmethod
    def of(cls, forest: Forest | None, linear: Linear | None) -> Members:
        """Make a forest ready to score."""
        return cls(None if forest is None else Program(forest), linear)

    @property
    def outputs(self) -> int:
        """Columns of the margins."""
        if self.trees is not None:
            return self.trees.forest.outputs
        return 0 if self.linear is None else self.linear.outputs

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Add up the members of each row: shape (n_rows, outputs). On the calling thread alone.

        A row's bits do not depend on the rows beside it.
        """
        if self.trees is not None:
            margins = self.trees.margins(matrix)
        else:
            margins = np.zeros((len(matrix), self.outputs))
        if self.linear is not None:
            self.linear.add_to(margins, matrix)
        return margins


@dataclass(frozen=True)
class Interval:
    """How wide the bounds of a value are."""

    quantiles: Quantiles
    bounds: Bounds
    """Of the level that is served."""
    spread: Program | None
    """Trees for a row's typical error; without them it is the same for all rows."""

    def around(self, margin: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bound margins from below and above."""
        spread = None if self.spread is None else self.spread.margins(matrix)[:, 0]
        return self.bounds.around(margin, spread)


class BoostedPredictor:
    """An ensemble, loaded. See ``rowcast.predictors.Predictor``."""

    def __init__(
        self, spec: ModelSpec, encoder: Encoder, members: Members, interval: Interval | None
    ) -> None:
        self.spec = spec
        self._encoder = encoder
        self._members = members
        self._classes = len(spec.schema.target.classes)
        self._interval = interval
        self._link = str(spec.details.get("link"))
        if self._link not in _links(self._classes) or (interval is None) != bool(self._classes):
            raise ModelDamaged(f"The link {self._link!r} does not fit {self._classes} classes.")
        if members.outputs != (self._classes if self._classes > 2 else 1):
            raise ModelDamaged(
                f"The members have {members.outputs} outputs, which do not fit {self._classes} "
                "classes."
            )
        self._additive = Additive(
            members.trees, members.linear, _LINKS[self._link], order=tuple(range(self._classes))
        )

    def encode(self, batch: Batch) -> Encoded:
        """Read the feature columns; a row that does not fit, or was rejected, is an error."""
        return Encoded(*self._encoder.encode(batch))

    def score(self, matrix: np.ndarray) -> Predictions:
        """Predict for encoded rows, on the calling thread alone."""
        margins = self._members.margins(matrix)
        if self._interval is not None:
            margin = np.ascontiguousarray(margins[:, 0])
            lower, upper = self._interval.around(margin, matrix)
            if self._link == "expm1":
                margin, lower, upper = (np.expm1(each) for each in (margin, lower, upper))
            return Predictions(value=margin, lower=lower, upper=upper)
        scores = np.empty((len(matrix), self._classes))
        if self._classes == 2:
            sigmoid_scores(np.ascontiguousarray(margins[:, 0]), scores)
        else:
            softmax_scores(margins, scores)
        return Predictions(scores=scores)

    def at_level(self, level: float) -> BoostedPredictor:
        """Serve intervals of another level.

        Raises
        ------
        InvalidRequest
            If the model predicts classes, or keeps no quantiles for that level.
        """
        if self._interval is None:
            from rowcast.errors import InvalidRequest

            raise InvalidRequest("Only a model that predicts a value has an interval.")
        interval = replace(self._interval, bounds=self._interval.quantiles.at(level))
        return BoostedPredictor(self.spec, self._encoder, self._members, interval)

    def unseen(self, rows: pa.RecordBatch) -> dict[str, int]:
        """For each categorical feature, count the cells whose text training did not know."""
        return self._encoder.unseen(rows)

    def groups(self) -> tuple[tuple[str, slice], ...]:
        """For each feature, the matrix columns that stand for it."""
        return self._encoder.groups

    def baseline(self) -> np.ndarray:
        """The baseline row, encoded: float64 of shape (n_columns,)."""
        return self._encoder.baseline.copy()

    def additive(self) -> Additive:
        """What the model is made of."""
        return self._additive


_LINKS: dict[str, Link] = {
    "identity": "identity",
    "expm1": "exp",
    "logistic": "logistic",
    "softmax": "softmax",
}


def _links(classes: int) -> tuple[str, ...]:
    """From margins to what a model of so many classes answers."""
    if not classes:
        return ("identity", "expm1")
    return ("logistic",) if classes == 2 else ("softmax",)


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
    arrays = _arrays(members, ARRAYS)
    if arrays is None:
        raise ModelDamaged(f"The model {spec.name!r} lacks {ARRAYS!r}.")
    encoder = Encoder.of(spec, arrays)
    classes = len(spec.schema.target.classes)
    outputs = classes if classes > 2 else 1
    forest = _forest(members, FOREST, encoder.width)
    linear = Linear.of(arrays, encoder.width, outputs) if spec.details.get("linear") else None
    if forest is None and linear is None:
        raise ModelDamaged(f"The model {spec.name!r} has no members.")
    interval = None
    if not classes:
        quantiles = Quantiles.of(arrays)
        spread = _forest(members, SPREAD_FOREST, encoder.width)
        interval = Interval(
            quantiles,
            quantiles.at(float(spec.details.get("intervalLevel", LEVEL))),
            None if spread is None else Program(spread),
        )
    return BoostedPredictor(spec, encoder, Members.of(forest, linear), interval)


def _arrays(members: Mapping[str, bytes], name: str) -> dict[str, np.ndarray] | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if name not in members:
        return None
    try:
        return dict(load(members[name]))
    except (SafetensorError, KeyError) as error:
        raise ModelDamaged(f"{name} does not hold arrays: {error}.") from error


def _forest(members: Mapping[str, bytes], name: str, n_columns: int) -> Forest | None:
    arrays = _arrays(members, name)
    if arrays is None:
        return None
    forest = forest_of(arrays)
    if forest.n_columns != n_columns:
        raise ModelDamaged(
            f"The trees read {forest.n_columns} matrix columns, but the encoder makes {n_columns}."
        )
    return forest
