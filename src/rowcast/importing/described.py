"""What a model file says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np

    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import PredictionType
    from rowcast.predictors.imported import ImportedPredictor

Taken = Literal["number", "text", "any"]


@dataclass(frozen=True)
class Input:
    """One column that a model reads."""

    name: str | None = None
    """None if the file does not say."""
    takes: Taken = "number"
    """``any`` if it is for the schema or the example to say."""
    categories: tuple[str, ...] = ()
    """Texts that the model knows, as far as the file says; of a model that takes numbers, in the
    order of their codes."""
    wordy: bool = False
    """The model looks into the texts, so that they are text rather than categories."""


@dataclass(frozen=True)
class Described:
    """A model file, read but not yet matched with any columns."""

    format: str
    predictor: str
    """Key in ``rowcast.predictors.PREDICTORS``."""
    build: Callable[[ModelSpec, Mapping[str, bytes]], ImportedPredictor]
    """Makes that predictor of its members."""
    inputs: tuple[Input, ...] | None
    """In the model's order; None if it takes as many columns as it is given."""
    members: dict[str, bytes]
    details: dict[str, Any]
    prediction_type: PredictionType | None = None
    """None if the file leaves it open."""
    labels: tuple[str, ...] = ()
    """The classes in the order of the model's scores; empty if the file does not name them."""
    n_classes: int = 0
    """0 for regression, or if the file does not say."""
    objective: str = ""
    tolerance: float = 1e-6
    """How far an answer may be from what is expected: relative to 1 for probabilities, to the
    value for values."""
    versions: dict[str, str] = field(default_factory=dict)
    library: Callable[[np.ndarray], np.ndarray] | None = None
    """Answers encoded rows with the library that wrote the file, in the shape of
    ``ImportedPredictor.outputs``. None if that library is what scores, or is not installed."""
    trial_rows: np.ndarray | None = None
    """Rows to compare with ``library`` where there is no example."""
