"""Boosted trees that another program trained, scored by the kernels that score ours.

The file is kept as it was given (CatBoost's as JSON) and read by our own readers, never by the
library that wrote it. ``ModelSpec.details`` names the ``reader``, the ``member`` and the ``link``
from margins to answers: ``identity``, ``exp``, ``square`` (signed), ``sigmoid`` with a ``scale``,
or ``softmax``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import numpy as np

from rowcast.errors import ModelDamaged
from rowcast.predictors.imported import ImportedPredictor, read_members
from rowcast.scoring.attributions.model import Additive
from rowcast.scoring.kernels.links import exponentials, sigmoid_scores, softmax_scores
from rowcast.scoring.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rowcast.core.model import ModelSpec
    from rowcast.scoring.attributions.model import Link
    from rowcast.scoring.forest import Forest

READERS = {  # ModelSpec.details["reader"] -> "module:function", imported on first use
    "catboost": "rowcast.scoring.formats.catboost:read_catboost",
    "lightgbm": "rowcast.scoring.formats.lightgbm:read_lightgbm",
    "xgboost": "rowcast.scoring.formats.xgboost:read_xgboost",
}
_LINKS: dict[str, Link] = {
    "identity": "identity",
    "exp": "exp",
    "square": "square",
    "sigmoid": "logistic",
    "softmax": "softmax",
}
LINKS = ("identity", "exp", "square", "sigmoid", "softmax")


def read_forest(reader: str, content: bytes) -> Forest:
    """Read a forest with the reader of that name. Raises ModelDamaged."""
    module, _, name = READERS[reader].partition(":")
    read = cast("Callable[[bytes], Forest]", getattr(import_module(module), name))
    return read(content)


class TreesPredictor(ImportedPredictor):
    """See ``rowcast.predictors.Predictor``."""

    def __init__(self, spec: ModelSpec, members: Mapping[str, bytes]) -> None:
        super().__init__(spec, members)
        try:
            forest = read_forest(spec.details["reader"], members[spec.details["member"]])
            self._link = spec.details["link"]
        except KeyError as missing:
            raise ModelDamaged(f"The model {spec.name!r} lacks {missing}.") from missing
        self._scale = float(spec.details.get("scale", 1.0))
        outputs = self._classes if self._classes > 2 or self._link == "softmax" else 1
        if forest.outputs != outputs or forest.n_columns != len(spec.schema.features):
            raise ModelDamaged("model.json and the trees do not fit together.")
        if self._link not in LINKS or (self._link in LINKS[3:]) != bool(self._classes):
            raise ModelDamaged(f"model.json has the link {self._link!r}, which does not fit.")
        self._program = Program(forest)
        self._additive = Additive(
            self._program, None, _LINKS[self._link], self._scale, tuple(self._order.tolist())
        )

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        """See ``ImportedPredictor``."""
        margins = self._program.margins(matrix)
        if self._link == "softmax":
            scores = np.empty_like(margins)
            softmax_scores(margins, scores)
            return scores
        if self._link == "sigmoid":
            scores = np.empty((len(margins), 2))
            sigmoid_scores(np.ascontiguousarray(margins[:, 0] * self._scale), scores)
            return scores
        if self._link == "exp":
            exponentials(margins)
        elif self._link == "square":
            margins = np.sign(margins) * margins * margins
        return margins

    def additive(self) -> Additive:
        """What the model is made of."""
        return self._additive


def load_trees(folder: Path, spec: ModelSpec) -> TreesPredictor:
    """Load a model folder whose ``spec`` was verified. Raises ModelDamaged."""
    return TreesPredictor(spec, read_members(folder, spec))
