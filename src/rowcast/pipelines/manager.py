"""Drives training pipelines: see ``Manager`` for how they are claimed, kept and taken over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rowcast.jobs.drivers import Driven, Manager
from rowcast.pipelines.runner import PipelineRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.access.guard import Guard
    from rowcast.pipelines.runner import TrainingOptions
    from rowcast.registry.versions import Registry
    from rowcast.storage.objects import Objects
    from rowcast.stores import DatasetStore, Lease, ModelStore, PipelineStore
    from rowcast.warehouse import Warehouse


class TrainingManager(Manager):
    """Claims pipelines and drives each on a thread of its own, which has a training process."""

    what = "training"

    def __init__(
        self,
        *,
        store: PipelineStore,
        datasets: DatasetStore,
        models: ModelStore,
        registry: Registry,
        objects: Objects,
        warehouse: Warehouse,
        options: TrainingOptions,
        lease_s: float,
        max_running: int,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(lease_s=lease_s, max_running=max_running)
        self._store = store
        self._datasets = datasets
        self._models = models
        self._registry = registry
        self._objects = objects
        self._warehouse = warehouse
        self._options = options
        self._guard = guard

    def claim(
        self,
        owner: str,
        lease_until: float,
        id_: str | None = None,
        *,
        except_for: Sequence[str] = (),
    ) -> Lease | None:
        """See ``Manager.claim``."""
        return self._store.claim(owner, lease_until, id_, except_for=except_for)

    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """See ``Manager.renew``."""
        return self._store.renew(lease, lease_until)

    def owners(self) -> set[str]:
        """See ``Manager.owners``."""
        return self._store.owners()

    def release(self, owner: str) -> None:
        """See ``Manager.release``."""
        self._store.release_owner(owner, datetime.now(UTC))

    def run(self, driven: Driven) -> None:
        """See ``Manager.run``."""
        PipelineRunner(
            driven.lease,
            store=self._store,
            datasets=self._datasets,
            models=self._models,
            registry=self._registry,
            objects=self._objects,
            warehouse=self._warehouse,
            options=self._options,
            stopped=driven.stop.is_set,
            guard=self._guard,
        ).run()
