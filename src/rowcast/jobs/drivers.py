"""Finds work to do, runs several pieces at a time, keeps their leases, takes over from the dead."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from rowcast.errors import Aborted, Cancelled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.stores import Lease

logger = structlog.get_logger(__name__)

IDLE_S = 1.0
"""How often to look for work that nobody announced: that of other, dead processes."""


@dataclass
class Driven:
    """A piece of work that this process drives."""

    lease: Lease
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when it is to be left alone: cancelled, taken over, or the server stops."""


class Manager(ABC):
    """Claims pieces of work and drives each on a thread of its own.

    A claim is a lease that this process renews; if the process dies, another (or the same
    machine's next server, at once) claims the work with a higher fence and goes on.
    """

    what: str
    """Names a piece of work in the log."""

    def __init__(self, *, lease_s: float, max_running: int) -> None:
        self._lease_s = lease_s
        self._max_running = max_running
        self.owner = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._driven: dict[str, Driven] = {}
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @abstractmethod
    def claim(
        self,
        owner: str,
        lease_until: float,
        id_: str | None = None,
        *,
        except_for: Sequence[str] = (),
    ) -> Lease | None:
        """Take the oldest piece of work that is free, or the one named."""

    @abstractmethod
    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """Keep a lease. None if it is lost; else whether the work is to be cancelled."""

    @abstractmethod
    def owners(self) -> set[str]:
        """Every process that holds a lease."""

    @abstractmethod
    def release(self, owner: str) -> None:
        """Free all leases of a process."""

    @abstractmethod
    def run(self, driven: Driven) -> None:
        """Do a piece of work to its end. Raises Cancelled if it is left, Aborted if it is lost."""

    def start(self) -> None:
        """Take over from dead processes of this machine, then look for work until stopped."""
        self.release_dead_owners()
        self._threads = [
            threading.Thread(target=self._claim_all, name=f"{self.what}s", daemon=True),
            threading.Thread(
                target=self._keep_leases, args=(self._stopping,), name="leases", daemon=True
            ),
        ]
        for thread in tuple(self._threads):
            thread.start()

    def wake(self) -> None:
        """Say that there is work to claim or to cancel."""
        self._woken.set()
        self._renew_all()

    def run_one(self, id_: str) -> bool:
        """Drive one piece of work on the calling thread, to its end; False if another has it."""
        lease = self.claim(self.owner, time.time() + self._lease_s, id_)
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
        """Stop claiming, leave what runs for the next server, and free its leases."""
        with self._lock:
            self._stopping.set()
            for driven in self._driven.values():
                driven.stop.set()
        self._woken.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.release(self.owner)

    def release_dead_owners(self) -> None:
        """Free the work of processes of this machine that are no more."""
        for owner in self.owners():
            host, pid, _ = owner.rsplit(":", 2)
            if host == socket.gethostname() and not _alive(int(pid)):
                logger.info("taking_over", owner=owner)
                self.release(owner)

    def _claim_all(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                while self._claim_one():
                    pass
            except Exception as error:  # noqa: BLE001 - without this thread nothing would ever run
                logger.warning("claiming_failed", what=self.what, reason=str(error))
            self._woken.wait(IDLE_S)

    def _claim_one(self) -> bool:
        """Start driving one more piece of work, if there is one and it may run.

        What this process drives already is left out even if its leases have run out, as they do
        while a machine sleeps: the next renewal restores them.
        """
        with self._lock:
            driven = tuple(self._driven)
        if self._stopping.is_set() or len(driven) >= self._max_running:
            return False
        lease = self.claim(self.owner, time.time() + self._lease_s, except_for=driven)
        if lease is None:
            return False
        thread = threading.Thread(
            target=self._drive,
            args=(self._adopt(lease),),
            name=f"{self.what} {lease.job_id}",
            daemon=True,
        )
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()
        return True

    def _adopt(self, lease: Lease) -> Driven:
        driven = Driven(lease)
        with self._lock:
            self._driven[lease.job_id] = driven
            if self._stopping.is_set():
                driven.stop.set()
        return driven

    def _drive(self, driven: Driven) -> None:
        """Do a piece of work. If its end cannot be written down, its lease ends and it is
        claimed again later.
        """
        facts = {self.what: driven.lease.job_id}
        try:
            self.run(driven)
        except Cancelled:
            logger.info(f"{self.what}_left", **facts)
        except Aborted as error:
            logger.warning(f"{self.what}_lost", reason=str(error), **facts)
        except Exception as error:
            logger.exception(f"{self.what}_state_not_written", reason=str(error), **facts)
        finally:
            with self._lock:
                if self._driven.get(driven.lease.job_id) is driven:
                    del self._driven[driven.lease.job_id]
            self._woken.set()

    def _keep_leases(self, ended: threading.Event) -> None:
        while not ended.wait(min(0.5, self._lease_s / 4)):
            self._renew_all()

    def _renew_all(self) -> None:
        """Renew every lease, and learn what is to stop."""
        with self._lock:
            driven = list(self._driven.values())
        for one in driven:
            try:
                cancelled = self.renew(one.lease, time.time() + self._lease_s)
            except Exception as error:  # noqa: BLE001 - the other leases are to be renewed as well
                logger.warning("lease_not_renewed", id=one.lease.job_id, reason=str(error))
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
