"""Finds jobs to do, runs several at a time, keeps their leases, takes over from the dead."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from rowcast.core.job import JobState
from rowcast.errors import Aborted, Cancelled
from rowcast.jobs.runner import JobRunner

if TYPE_CHECKING:
    from rowcast.engines import Engine
    from rowcast.jobs.runner import RunnerOptions
    from rowcast.storage.objects import Objects
    from rowcast.stores import JobStore, Lease

logger = structlog.get_logger(__name__)

IDLE_S = 1.0
"""How often to look for jobs that nobody announced: those of other, dead processes."""


@dataclass
class _Driven:
    lease: Lease
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when the job is to be left alone: cancelled, taken over, or the server stops."""


class JobManager:
    """Claims jobs and drives each on a thread of its own.

    A claim is a lease that this process renews; if the process dies, another (or the same
    machine's next server, at once) claims the job with a higher fence and goes on.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        engine: Engine,
        objects: Objects,
        options: RunnerOptions,
        lease_s: float,
        max_running: int,
    ) -> None:
        self._store = store
        self._engine = engine
        self._objects = objects
        self._options = options
        self._lease_s = lease_s
        self._max_running = max_running
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._driven: dict[str, _Driven] = {}
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Take over from dead processes of this machine, then look for jobs until stopped."""
        self.release_dead_owners()
        self._threads = [
            threading.Thread(target=self._claim_jobs, name="jobs", daemon=True),
            threading.Thread(
                target=self._keep_leases, args=(self._stopping,), name="leases", daemon=True
            ),
        ]
        for thread in tuple(self._threads):
            thread.start()

    def wake(self) -> None:
        """Say that there is a job to claim or to cancel."""
        self._woken.set()
        self._renew_all()

    def run_one(self, job_id: str) -> bool:
        """Drive one job on the calling thread, to its end; False if another has it."""
        lease = self._store.claim_job(self.owner, time.time() + self._lease_s, job_id)
        if lease is None:
            return False
        ended = threading.Event()
        keeper = threading.Thread(
            target=self._keep_leases, args=(ended,), name="leases", daemon=True
        )
        keeper.start()
        try:
            self._drive(self._adopt(lease))
        finally:
            ended.set()
            keeper.join()
        return True

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop claiming, leave the running jobs for the next server, and free their leases."""
        with self._lock:
            self._stopping.set()
            for driven in self._driven.values():
                driven.stop.set()
        self._woken.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._store.release_owner(self.owner)

    def release_dead_owners(self) -> None:
        """Free the jobs of processes of this machine that are no more."""
        for owner in self._store.owners():
            host, pid, _ = owner.rsplit(":", 2)
            if host == socket.gethostname() and not _alive(int(pid)):
                logger.info("taking_over", owner=owner)
                self._store.release_owner(owner)

    def _claim_jobs(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                while self._claim_one():
                    pass
            except Exception as error:  # noqa: BLE001 - without this thread no job would ever run
                logger.warning("claiming_failed", reason=str(error))
            self._woken.wait(IDLE_S)

    def _claim_one(self) -> bool:
        """Start driving one more job, if there is one and it may run.

        What this process drives already is left out even if its leases have run out, as they do
        while a machine sleeps: the next renewal restores them.
        """
        with self._lock:
            driven = tuple(self._driven)
        if self._stopping.is_set() or len(driven) >= self._max_running:
            return False
        lease = self._store.claim_job(self.owner, time.time() + self._lease_s, except_for=driven)
        if lease is None:
            return False
        thread = threading.Thread(
            target=self._drive, args=(self._adopt(lease),), name=f"job {lease.job_id}", daemon=True
        )
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()
        return True

    def _adopt(self, lease: Lease) -> _Driven:
        driven = _Driven(lease)
        with self._lock:
            self._driven[lease.job_id] = driven
            if self._stopping.is_set():
                driven.stop.set()
        return driven

    def _drive(self, driven: _Driven) -> None:
        """Run a job to its end. If that cannot be written down, its lease ends and it is
        claimed again later.
        """
        lease = driven.lease
        try:
            job = self._store.update_job(lease)
            if job.state is JobState.CANCELLING:
                driven.stop.set()
            JobRunner(
                lease,
                job,
                store=self._store,
                engine=self._engine,
                objects=self._objects,
                options=self._options,
                cancelled=driven.stop.is_set,
            ).run()
        except Cancelled:
            logger.info("job_left", job=lease.job_id)
        except Aborted as error:
            logger.warning("job_lost", job=lease.job_id, reason=str(error))
        except Exception as error:
            logger.exception("job_state_not_written", job=lease.job_id, reason=str(error))
        finally:
            with self._lock:
                if self._driven.get(lease.job_id) is driven:
                    del self._driven[lease.job_id]
            self._woken.set()

    def _keep_leases(self, ended: threading.Event) -> None:
        while not ended.wait(min(0.5, self._lease_s / 4)):
            self._renew_all()

    def _renew_all(self) -> None:
        """Renew every lease, and learn which jobs are to stop."""
        with self._lock:
            driven = list(self._driven.values())
        for one in driven:
            try:
                cancelled = self._store.renew(one.lease, time.time() + self._lease_s)
            except Exception as error:  # noqa: BLE001 - the other leases are to be renewed as well
                logger.warning("lease_not_renewed", job=one.lease.job_id, reason=str(error))
                continue
            if cancelled is None or cancelled:
                one.stop.set()


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
