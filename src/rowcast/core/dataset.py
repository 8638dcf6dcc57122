"""A dataset: a name for the place where training data is. It is read when training starts.

Field by field this is Vertex AI's ``Dataset`` (v1) of the tabular kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from rowcast.core.names import Parent


@dataclass(frozen=True)
class DatasetSpec:
    """All input fields of a dataset."""

    display_name: str
    metadata_schema_uri: str
    uris: tuple[str, ...] = ()
    """``metadata.inputConfig.gcsSource.uri``."""
    table: str | None = None
    """``metadata.inputConfig.bigquerySource.uri``."""
    description: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    kms_key_name: str = ""


@dataclass(frozen=True)
class Dataset:
    """A dataset as the store knows it."""

    id: str
    parent: Parent
    spec: DatasetSpec
    created: datetime
    updated: datetime

    @property
    def name(self) -> str:
        """The resource name."""
        return self.parent.child("datasets", self.id)


def data_of(dataset: Dataset) -> tuple[str, ...]:
    """The URIs of a dataset's data, of whichever kind."""
    table = dataset.spec.table
    return (*dataset.spec.uris, *([table] if table else []))
