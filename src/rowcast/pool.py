"""The replicas of an installation. Apart from ``bootstrap``, which takes long to import: a command
that runs a job starts them first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rowcast.engines import open_engine

if TYPE_CHECKING:
    from rowcast.engines import Engine
    from rowcast.settings import Settings

WARM_UP = "rowcast.jobs.warm_up:warm_up"


def open_replicas(settings: Settings, warm_replicas: int | None = None) -> Engine:
    """Make the pool that runs jobs; ``warm_replicas`` overrides the settings' number."""
    return open_engine(
        "local",
        max_replicas=settings.max_replicas,
        warm_replicas=settings.warm_replicas if warm_replicas is None else warm_replicas,
        idle_s=settings.replica_idle_s,
        task_timeout_s=settings.part_timeout_s,
        attempts=settings.part_attempts,
        memory_bytes=settings.replica_memory_bytes,
        environment=replica_environment(settings),
        warm_up=WARM_UP,
    )


def default_replicas(settings: Settings) -> int:
    """Most replicas of a job that does not say."""
    return min(settings.max_replicas, os.cpu_count() or 1)


def replica_environment(settings: Settings) -> dict[str, str]:
    """What is added to the environment of a replica."""
    return {"NUMBA_CACHE_DIR": str(settings.kernel_cache)} if settings.kernel_cache else {}
