"""Drives jobs: see ``Manager`` for how they are claimed, kept and taken over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.core.job import JobState
from rowcast.jobs.drivers import Driven, Manager
from rowcast.jobs.runner import JobRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.access.guard import Guard
    from rowcast.engines import Engine
    from rowcast.jobs.runner import RunnerOptions
    from rowcast.jobs.tables import Tables
    from rowcast.storage.objects import Objects
    from rowcast.stores import JobStore, Lease


class JobManager(Manager):
    """Claims jobs and drives each on a thread of its own."""

    what = "job"

    def __init__(
        self,
        *,
        store: JobStore,
        engine: Engine,
        objects: Objects,
        tables: Tables,
        options: RunnerOptions,
        lease_s: float,
        max_running: int,
        guard: Guard | None = None,
    ) -> None:
        super().__init__(lease_s=lease_s, max_running=max_running)
        self._store = store
        self._engine = engine
        self._objects = objects
        self._tables = tables
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
        return self._store.claim_job(owner, lease_until, id_, except_for=except_for)

    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """See ``Manager.renew``."""
        return self._store.renew(lease, lease_until)

    def owners(self) -> set[str]:
        """See ``Manager.owners``."""
        return self._store.owners()

    def release(self, owner: str) -> None:
        """See ``Manager.release``."""
        self._store.release_owner(owner)

    def run(self, driven: Driven) -> None:
        """See ``Manager.run``."""
        lease = driven.lease
        job = self._store.update_job(lease)
        if job.state is JobState.CANCELLING:
            driven.stop.set()
        JobRunner(
            lease,
            job,
            store=self._store,
            engine=self._engine,
            objects=self._objects,
            tables=self._tables,
            options=self._options,
            cancelled=driven.stop.is_set,
            guard=self._guard,
        ).run()
