"""Adding a version to the registry: first its folder, then the entry that makes it visible."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rowcast.core.names import Parent, new_id
from rowcast.errors import AlreadyExists
from rowcast.storage.model_folder import write_model
from rowcast.stores import Model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rowcast.core.model import ModelSpec
    from rowcast.stores import ModelStore

MODEL_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
"""Ids that users may choose."""


@dataclass(frozen=True)
class Entry:
    """What the registry is to say of a new version."""

    parent: Parent
    model_id: str
    display_name: str
    description: str = ""
    version_description: str = ""
    aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    pipeline: str | None = None

    def model(self, version: str, folder: Path, digest: str) -> Model:
        """The record of this entry, once its files are in place."""
        return Model(
            self.parent,
            self.model_id,
            version,
            self.display_name,
            str(folder),
            digest,
            datetime.now(UTC),
            self.aliases,
            dict(self.labels),
            self.description,
            self.version_description,
            self.pipeline,
        )


class Registry:
    """Adds model versions. Any number of processes may do so at once: the store gives each
    version id out once, and a folder that is there by accident is left alone.

    Parameters
    ----------
    store : ModelStore
    folder : Path
        Holds a folder per model, with a folder per version.
    """

    def __init__(self, store: ModelStore, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def add(
        self,
        entry: Entry,
        spec: ModelSpec,
        members: Mapping[str, bytes],
        *,
        default: bool = True,
    ) -> Model:
        """Write a version's folder and register it; it becomes the default version unless told
        otherwise.
        """
        while True:
            version, folder = self.next_place(entry.parent, entry.model_id)
            try:
                digest = write_model(folder, spec, members)
            except AlreadyExists:  # what a process left that was killed before it registered it
                continue
            return self._store.add_model(entry.model(version, folder, digest), default=default)

    def next_place(self, parent: Parent, model_id: str) -> tuple[str, Path]:
        """Take a model's next version id; with it comes the folder, which does not exist."""
        while True:
            version = self._store.next_version(parent, model_id)
            folder = self._folder / model_id / version
            if not folder.exists():
                return version, folder

    def id_for(self, parent: Parent, name: str) -> str:
        """Find the id of the model with a display name; for a new one, its name if that can be
        an id.
        """
        for model in self._store.list_models(parent):
            if model.display_name == name:
                return model.id
        return name if MODEL_ID.fullmatch(name) else new_id()
