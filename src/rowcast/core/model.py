"""The description of a trained model: everything but its trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rowcast.core.schema import ModelSchema

MODEL_JSON = "model.json"
EVALUATION_JSON = "evaluation.json"
"""Member: how good the model is on rows it had not seen; absent from models made elsewhere."""
FORMAT_VERSION = 1


@dataclass(frozen=True)
class ModelSpec:
    """What ``model.json`` says.

    The same values drive training and scoring; a reader of the file can tell what the model
    expects, how it was made and whether its files are whole.
    """

    name: str
    """Display name."""
    predictor: str
    """Key in ``rowcast.predictors.PREDICTORS``."""
    schema: ModelSchema
    encoder: tuple[dict[str, Any], ...]
    """Per feature, how its matrix columns are made; see ``rowcast.scoring.encode``."""
    details: dict[str, Any] = field(default_factory=dict)
    """What this kind of predictor needs besides arrays, e.g. the member files and weights."""
    training: dict[str, Any] = field(default_factory=dict)
    """Facts: rows, split, seconds, rounds, metrics, dropped columns and why."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of rowcast and of the libraries that made the files."""
    members: dict[str, str] = field(default_factory=dict)
    """SHA-256 in hex of every other file of the folder, by name."""
    format_version: int = FORMAT_VERSION
