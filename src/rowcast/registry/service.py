"""Get, list, patch, alias, delete: what the API and the command line do with models."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from rowcast.core.labels import display_name_fault, label_faults
from rowcast.errors import InvalidRequest, RowcastError, Violation
from rowcast.registry.evaluations import Evaluation, read_evaluation
from rowcast.scoring.attributions import explanation_spec
from rowcast.storage.model_folder import read_spec, remove_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.core.model import ModelSpec
    from rowcast.core.names import Parent
    from rowcast.core.schema import Feature
    from rowcast.stores import Model, ModelStore

logger = structlog.get_logger(__name__)

ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")
MAX_DESCRIPTION = 10_000


@dataclass(frozen=True)
class Facts:
    """What a version's own files say that its resource shows."""

    target: str
    prediction_type: str
    classes: tuple[str, ...]
    features: tuple[Feature, ...]
    explanation_spec: dict[str, Any]
    split: dict[str, int]
    """Rows by ``training``, ``validation`` and ``test``."""
    dropped: dict[str, str]
    """Column to the reason why it is not used."""
    warnings: tuple[str, ...]


class ModelService:
    """Registered models. Safe from any thread.

    Parameters
    ----------
    store : ModelStore
    folder : Path
        Where models are kept. Only what is in it is ever removed: the database of a home folder
        that was copied still names the files of the original.
    """

    def __init__(self, store: ModelStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def get(self, parent: Parent, model_id: str, version: str | None = None) -> Model:
        """``version`` is an id or an alias; None means the default version. Raises NotFound."""
        return self._store.get_model(parent, model_id, version)

    def list(self, parent: Parent) -> Sequence[Model]:
        """The default version of each model, newest first."""
        return self._store.list_models(parent)

    def versions(self, parent: Parent, model_id: str) -> Sequence[Model]:
        """All versions of a model, newest first. Raises NotFound."""
        self._store.get_model(parent, model_id)
        return self._store.model_versions(parent, model_id)

    def update(self, model: Model, changes: dict[str, Any]) -> Model:
        """Change ``display_name``, ``description``, ``labels`` or ``version_description``.

        Raises
        ------
        InvalidRequest
            With every violation.
        NotFound
            If the model is gone.
        """
        violations = [Violation(*fault) for fault in _faults(changes)]
        if violations:
            raise InvalidRequest.listing(violations)
        return self._store.update_model(model, updated=datetime.now(UTC), **changes)

    def merge_aliases(self, model: Model, aliases: Sequence[str]) -> Model:
        """Give a version aliases; one that begins with ``-`` is taken away.

        Raises
        ------
        InvalidRequest
            If any is not an alias.
        FailedPrecondition
            If no version would be the default.
        """
        add = [alias for alias in aliases if not alias.startswith("-")]
        remove = [alias[1:] for alias in aliases if alias.startswith("-")]
        violations = [*alias_violations([*add, *remove])]
        if not aliases:
            violations = [Violation("version_aliases", "needs at least one alias")]
        if both := sorted({*add} & {*remove}):
            violations.append(
                Violation("version_aliases", f"{', '.join(both)} cannot be both added and removed")
            )
        if violations:
            raise InvalidRequest.listing(violations)
        return self._store.merge_aliases(model, add, remove, datetime.now(UTC))

    def delete(self, parent: Parent, model_id: str) -> None:
        """Forget a model and remove its files, all versions of them.

        Raises NotFound; FailedPrecondition if an unfinished job or pipeline uses it.
        """
        for version in self._store.delete_model(parent, model_id):
            self._remove(version)

    def delete_version(self, model: Model) -> None:
        """Forget one version and remove its files.

        Raises NotFound; FailedPrecondition if it is the default version, or in use.
        """
        self._store.delete_version(model)
        self._remove(model)

    def _remove(self, model: Model) -> None:
        folder = Path(model.folder)
        if not folder.is_relative_to(self._folder):
            logger.warning("model_folder_elsewhere", folder=model.folder)
            return
        try:
            remove_model(folder)
        except OSError as error:  # the model is gone all the same
            logger.warning("model_folder_left", folder=model.folder, reason=str(error))

    def facts(self, model: Model) -> Facts | None:
        """Read what a version's files say; None, and a line in the log, if they are damaged."""
        try:
            return _facts(model.folder, model.digest)
        except RowcastError as error:
            logger.warning("model_unreadable", model=model.name, reason=str(error))
            return None

    def evaluation(self, model: Model) -> Evaluation | None:
        """How good a version was found to be; None if that was not measured.

        Raises ModelDamaged.
        """
        spec = read_spec(Path(model.folder), model.digest)
        return read_evaluation(model, spec)


def alias_violations(aliases: Sequence[str], field: str = "version_aliases") -> list[Violation]:
    """List what is wrong with aliases of versions."""
    return [
        Violation(
            f"{field}[{i}]",
            "an alias has 2 to 128 characters: letters, digits or '-', the first a lowercase "
            "letter, the last a lowercase letter or digit",
        )
        for i, alias in enumerate(aliases)
        if not ALIAS.fullmatch(alias)
    ]


def _faults(changes: dict[str, Any]) -> list[tuple[str, str]]:
    found = list(label_faults(changes.get("labels", {})))
    if "display_name" in changes and (fault := display_name_fault(changes["display_name"])):
        found.append(("display_name", fault))
    found += [
        (name, f"must have at most {MAX_DESCRIPTION:,} characters")
        for name in ("description", "version_description")
        if len(changes.get(name, "")) > MAX_DESCRIPTION
    ]
    return found


@lru_cache(maxsize=512)
def _facts(folder: str, digest: str) -> Facts:
    return facts_of(read_spec(Path(folder), digest))


def facts_of(spec: ModelSpec) -> Facts:
    """Pick from a model's description what its resource shows."""
    target, training = spec.schema.target, spec.training
    split = training.get("split") or {}
    return Facts(
        target=target.name,
        prediction_type=target.prediction_type,
        classes=target.classes,
        features=spec.schema.features,
        explanation_spec=explanation_spec(spec.schema),
        split={name: int(split.get(name) or 0) for name in ("training", "validation", "test")},
        dropped=dict(training.get("dropped") or {}),
        warnings=tuple(map(str, training.get("warnings") or ())),
    )
