"""Create, get, list, patch, delete: what the API does with datasets."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rowcast.core.dataset import Dataset, DatasetSpec
from rowcast.core.labels import display_name_fault, label_faults
from rowcast.core.names import Parent, new_id
from rowcast.core.tables import TableName
from rowcast.errors import InvalidRequest, RowcastError, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rowcast.storage.objects import Objects
    from rowcast.stores import DatasetStore

TABULAR = "tabular_1.0.0.yaml"


class DatasetService:
    """Checks and keeps datasets. Their data is not touched: it is read when training starts."""

    def __init__(self, store: DatasetStore, objects: Objects) -> None:
        self._store = store
        self._objects = objects

    def create(self, parent: Parent, spec: DatasetSpec) -> Dataset:
        """Keep a dataset.

        Raises
        ------
        InvalidRequest
            With every violation.
        """
        violations = self.violations(spec)
        if violations:
            raise InvalidRequest.listing(violations)
        now = datetime.now(UTC)
        return self._store.create(Dataset(new_id(), parent, spec, now, now))

    def violations(self, spec: DatasetSpec) -> Sequence[Violation]:
        """Everything that ``create`` would refuse."""
        return [Violation(*fault) for fault in self._faults(spec)]

    def get(self, parent: Parent, dataset_id: str) -> Dataset:
        """Raises NotFound."""
        return self._store.get(parent, dataset_id)

    def list(self, parent: Parent) -> Sequence[Dataset]:
        """Newest first."""
        return self._store.list(parent)

    def update(self, dataset: Dataset, changes: dict[str, Any]) -> Dataset:
        """Change ``display_name``, ``description`` or ``labels``.

        Raises
        ------
        InvalidRequest
            With every violation.
        NotFound, Aborted
            If the dataset is gone, or is not what it was.
        """
        spec = replace(dataset.spec, **changes)
        violations = self.violations(spec)
        if violations:
            raise InvalidRequest.listing(violations)
        changed = replace(dataset, spec=spec, updated=max(datetime.now(UTC), dataset.updated))
        self._store.replace(changed, dataset)
        return changed

    def delete(self, parent: Parent, dataset_id: str) -> None:
        """Forget a dataset; its data stays.

        Raises NotFound; FailedPrecondition if an unfinished pipeline uses it.
        """
        self._store.delete(parent, dataset_id)

    def _faults(self, spec: DatasetSpec) -> Iterator[tuple[str, str]]:
        if fault := display_name_fault(spec.display_name):
            yield "display_name", fault
        yield from label_faults(spec.labels)
        if not spec.metadata_schema_uri:
            yield "metadata_schema_uri", "is required"
        elif spec.metadata_schema_uri.rpartition("/")[2] != TABULAR:
            yield "metadata_schema_uri", f"must end in /{TABULAR}: datasets here are tables"
        if not spec.uris and spec.table is None:
            yield (
                "metadata.input_config",
                "needs gcs_source.uri, with at least one URI, or bigquery_source",
            )
        if spec.table is not None:
            try:
                TableName.parse(spec.table)
            except InvalidRequest as error:
                yield "metadata.input_config.bigquery_source.uri", str(error)
        for i, uri in enumerate(spec.uris):
            field = f"metadata.input_config.gcs_source.uri[{i}]"
            try:
                self._objects.resolve(uri)
            except RowcastError as error:
                yield field, str(error)
            else:
                if "://" not in uri and not uri.startswith(("/", "~")):
                    yield field, "must be a URI or an absolute path"
