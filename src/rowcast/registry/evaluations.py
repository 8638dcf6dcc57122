"""How good a model is, as its folder's ``evaluation.json`` has it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from rowcast.core.names import parse_rfc3339
from rowcast.errors import ModelDamaged, NotFound
from rowcast.storage.model_folder import read_member

if TYPE_CHECKING:
    from datetime import datetime

    from rowcast.core.model import ModelSpec
    from rowcast.stores import Model

MEMBER = "evaluation.json"
FURTHER = ("calibration", "curves", "residuals", "interval", "baseline")
"""What the file has beyond the API's metrics, in the shape in which it has it."""


@dataclass(frozen=True)
class Slice:
    """Metrics of a part of the test rows."""

    id: str
    dimension: str
    value: str
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Evaluation:
    """Metrics on rows that the model had not seen."""

    id: str
    prediction_type: str
    metrics: dict[str, Any]
    """In the names of the API."""
    slices: tuple[Slice, ...]
    importance: dict[str, float]
    """Share of each feature; empty if it was not measured."""
    created: datetime
    further: dict[str, Any]
    """Calibration, curves, residuals, intervals, baseline: those that were measured."""

    def slice(self, slice_id: str) -> Slice:
        """Raises NotFound."""
        for one in self.slices:
            if one.id == slice_id:
                return one
        raise NotFound(f"Evaluation {self.id} has no slice {slice_id[:100]!r}.")


class _SliceMember(msgspec.Struct):
    dimension: str
    value: str
    metrics: dict[str, Any]


class _Member(msgspec.Struct):
    """What is read of the file; it may hold more."""

    metrics: dict[str, Any]
    slices: tuple[_SliceMember, ...] = ()
    importance: dict[str, float] = {}
    createTime: str = ""  # noqa: N815 - a name of the file
    calibration: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    residuals: dict[str, Any] = {}
    interval: dict[str, Any] = {}
    baseline: dict[str, Any] = {}


# Made here, once: msgspec crashes when two threads are the first to decode the same type.
_MEMBER = msgspec.json.Decoder(_Member)


def read_evaluation(model: Model, spec: ModelSpec) -> Evaluation | None:
    """Read a version's evaluation; None if its folder has none.

    Its id, and those of its slices, follow from the model's name and version alone.

    Raises
    ------
    ModelDamaged
        If the file is not the one that was saved, or no evaluation.
    """
    if MEMBER not in spec.members:
        return None
    folder = Path(model.folder)
    try:
        member = _MEMBER.decode(read_member(folder, spec, MEMBER))
        created = parse_rfc3339(member.createTime) if member.createTime else model.created
    except (msgspec.DecodeError, ValueError) as error:
        raise ModelDamaged(f"{folder / MEMBER} is no evaluation: {error}") from error
    id_ = _id(model.name, model.version_id)
    return Evaluation(
        id_,
        spec.schema.target.prediction_type,
        member.metrics,
        tuple(
            Slice(_id(id_, one.dimension, one.value), one.dimension, one.value, one.metrics)
            for one in member.slices
        ),
        member.importance,
        created,
        {name: found for name in FURTHER if (found := getattr(member, name))},
    )


def _id(*words: str) -> str:
    """A positive decimal of 19 digits that is the same whenever it is asked for."""
    digest = hashlib.sha256("\0".join(words).encode()).hexdigest()
    return str(10**18 + int(digest[:15], 16))
