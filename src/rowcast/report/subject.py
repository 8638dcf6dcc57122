"""What a report is about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rowcast.core.model import EVALUATION_JSON
from rowcast.scoring.profile import PROFILE, read_profile
from rowcast.storage.model_folder import read_facts, read_member, read_spec

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from rowcast.core.model import ModelSpec
    from rowcast.core.profile import Profile


@dataclass(frozen=True)
class Subject:
    """A model, and what is known of it."""

    spec: ModelSpec
    folder: Path
    digest: str
    """SHA-256 of ``model.json``."""
    id: str
    version: str
    created: datetime
    evaluation: dict[str, Any] = field(default_factory=dict)
    """Content of ``evaluation.json``; of a model without one, what its training recorded."""
    measured: bool = True
    """The model has an ``evaluation.json``."""
    profile: Profile | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Empty for regression."""
        return self.spec.schema.target.classes

    @property
    def training(self) -> dict[str, Any]:
        """What training recorded, in the model and in its evaluation."""
        return {**self.spec.training, **(self.evaluation.get("training") or {})}

    @property
    def metrics(self) -> dict[str, Any]:
        """Those of the evaluation API."""
        return self.evaluation.get("metrics") or {}

    @property
    def confusion(self) -> list[list[int]]:
        """Rows of each true class by predicted class; empty if unknown."""
        matrix = self.metrics.get("confusionMatrix") or {}
        rows = matrix.get("rows") or []
        return rows if len(rows) == len(self.classes) else []

    @property
    def test_rows(self) -> int:
        """Rows that the metrics are of; 0 if unknown."""
        if self.confusion:
            return sum(map(sum, self.confusion))
        parts = (self.evaluation.get("residuals") or {}).get("deciles") or []
        counted = sum(part["rows"] for part in parts)
        return int(counted or (self.spec.training.get("split") or {}).get("test") or 0)


def read_subject(
    folder: Path, digest: str, *, id_: str, version: str, created: datetime
) -> Subject:
    """Read what a model folder knows; the model itself is not loaded.

    Raises
    ------
    ModelDamaged
        If any byte that is read is not the one that was saved.
    """
    spec = read_spec(folder, digest)
    evaluation = read_facts(folder, spec, EVALUATION_JSON)
    return Subject(
        spec,
        folder,
        digest,
        id_,
        version,
        created,
        evaluation or {"metrics": spec.training.get("metrics") or {}},
        evaluation is not None,
        read_profile(read_member(folder, spec, PROFILE)) if PROFILE in spec.members else None,
    )
