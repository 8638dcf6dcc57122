"""Replicas as processes of this machine, under a supervisor of our own.

A standard pool breaks all of its pending work when one process dies. Here each replica has a
socket pair of its own, and a thread waits on all of them: end of file means that this replica
is gone, and the one task it held goes to another.
"""

from __future__ import annotations

import itertools
import json
import os
import pickle
import queue
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcast import metrics
from rowcast.engines import Outcome, Replicas
from rowcast.errors import Cancelled, Internal, ReplicaLost

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

STOP_GRACE_S = 0.5
"""How long a task in flight may go on once its run is to stop."""
START_TIMEOUT_S = 120.0
TICK_S = 0.2


@dataclass
class _Task:
    value: Any
    attempts: int = 0


@dataclass
class _Run:
    """One call of ``run``: its pending tasks, and where the outcomes go."""

    number: int
    work: bytes
    replicas: Replicas
    pending: deque[_Task]
    outcomes: queue.SimpleQueue[Outcome | None] = field(default_factory=queue.SimpleQueue)
    in_flight: int = 0
    stop_at: float | None = None
    """Set once the run is to stop: its replicas are killed at this time."""


@dataclass(eq=False)
class _Replica:
    process: subprocess.Popen[bytes]
    connection: Connection
    known: set[int] = field(default_factory=set)
    ready: bool = False
    run: _Run | None = None
    task: _Task | None = None
    since: float = field(default_factory=time.monotonic)
    """When it last changed between starting, idle and busy."""

    @property
    def idle(self) -> bool:
        return self.ready and self.task is None


class LocalEngine:
    """A pool of replica processes that grows with the work and shrinks when idle.

    Parameters
    ----------
    max_replicas : int
        Most processes at a time, over all runs.
    warm_replicas : int
        Processes kept ready while there is no work, so that a small job starts at once.
    idle_s, task_timeout_s : float
        When a surplus replica ends; when a busy one counts as hung and is killed.
    attempts : int
        Replicas a task may end before it is given up.
    memory_bytes : int
        Address space of a replica.
    environment : dict
        Added to a replica's environment.
    warm_up : str
        ``module:function`` that a replica calls before it is ready.
    """

    def __init__(
        self,
        *,
        max_replicas: int,
        warm_replicas: int = 1,
        idle_s: float = 60.0,
        task_timeout_s: float = 600.0,
        attempts: int = 3,
        memory_bytes: int = 0,
        environment: dict[str, str] | None = None,
        warm_up: str | None = None,
    ) -> None:
        self._max = max_replicas
        self._warm = warm_replicas
        self._idle_s = idle_s
        self._timeout_s = task_timeout_s
        self._attempts = attempts
        self._environment = {**os.environ, **_ONE_THREAD, **(environment or {})}
        self._options = {
            "supervisor": os.getpid(),
            "memory_bytes": memory_bytes,
            "warm_up": warm_up,
        }
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._runs: list[_Run] = []
        self._replicas: list[_Replica] = []
        self._failed_starts = 0
        self._closed = False
        self._wake_receive, self._wake_send = socket.socketpair()
        self._thread = threading.Thread(target=self._supervise, name="replicas", daemon=True)
        self._thread.start()

    def run(
        self,
        work: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        replicas: Replicas,
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Outcome]:
        """See ``Engine.run``."""
        pending = deque(_Task(task) for task in tasks)
        run = _Run(next(self._numbers), pickle.dumps(work), replicas, pending)
        left = len(pending)
        with self._lock:
            if self._closed:
                raise Cancelled("The engine is closed.")
            self._runs.append(run)
        self._wake()
        try:
            while left and not stop():
                with suppress(queue.Empty):
                    outcome = run.outcomes.get(timeout=TICK_S)
                    if outcome is None:
                        raise Cancelled("The engine was closed.")
                    left -= 1
                    yield outcome
        finally:
            self._end_run(run)

    def warm(self, count: int) -> None:
        """See ``Engine.warm``."""
        with self._lock:
            self._warm = count
        self._wake()

    def pids(self) -> list[int]:
        """Process ids of the living replicas."""
        with self._lock:
            return [replica.process.pid for replica in self._replicas]

    def close(self) -> None:
        """See ``Engine.close``."""
        with self._lock:
            self._closed = True
        self._wake()
        self._thread.join()

    def _end_run(self, run: _Run) -> None:
        """Drop what is pending; what is in flight gets a moment, then its replica is killed."""
        with self._lock:
            run.pending.clear()
            run.stop_at = time.monotonic() + STOP_GRACE_S
        self._wake()
        while True:
            with self._lock:
                if not run.in_flight or self._closed:
                    self._runs.remove(run)
                    return
            time.sleep(0.01)

    def _wake(self) -> None:
        with suppress(OSError):
            self._wake_send.send(b"x")

    def _supervise(self) -> None:
        """Wait for messages and deaths, hand out tasks, keep the pool's size."""
        while True:
            with self._lock:
                if self._closed:
                    break
                by_connection = {replica.connection: replica for replica in self._replicas}
            ready = wait([self._wake_receive, *by_connection], timeout=TICK_S)
            with self._lock:
                for source in ready:
                    if source is self._wake_receive:
                        self._wake_receive.recv(4096)
                    else:
                        self._receive(by_connection[source])  # type: ignore[index]
                self._end_overdue()
                self._hand_out()
                self._resize()
                self._count()
        with self._lock:
            for replica in list(self._replicas):
                self._end(replica)
            for run in self._runs:
                run.outcomes.put(None)
        self._wake_send.close()
        self._wake_receive.close()

    def _receive(self, replica: _Replica) -> None:
        try:
            message = replica.connection.recv()
        except Exception:  # noqa: BLE001 - it is gone, or what it says cannot be read
            self._lose(replica)
            return
        replica.since = time.monotonic()
        if message[0] == "ready":
            replica.ready = True
            self._failed_starts = 0
            return
        result, error, seconds = message[2]
        run, task = replica.run, replica.task
        replica.run = replica.task = None
        if run is not None and task is not None:
            run.in_flight -= 1
            pid = replica.process.pid
            run.outcomes.put(Outcome(task.value, result, error, task.attempts, seconds, pid))

    def _lose(self, replica: _Replica) -> None:
        """Bury a dead replica and give its task to another."""
        run, task = replica.run, replica.task
        self._end(replica)
        if not replica.ready:
            self._failed_starts += 1
            if self._failed_starts >= self._attempts:
                self._give_up(f"Replicas end before they are ready ({replica.process.returncode}).")
        if run is None or task is None:
            return
        metrics.REPLICAS_LOST.inc()
        run.in_flight -= 1
        if task.attempts >= self._attempts:
            code = replica.process.returncode
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            error = ReplicaLost(
                f"A part of the input ended {task.attempts} replicas, the last with {how}."
            )
            run.outcomes.put(Outcome(task.value, error=error, attempts=task.attempts))
        elif run.stop_at is None:
            run.pending.appendleft(task)

    def _give_up(self, why: str) -> None:
        """Fail all pending work: no replica can be started."""
        self._failed_starts = 0
        for run in self._runs:
            while run.pending:
                task = run.pending.popleft()
                run.outcomes.put(Outcome(task.value, error=Internal(why), attempts=task.attempts))

    def _end(self, replica: _Replica) -> None:
        replica.process.kill()
        replica.process.wait()
        replica.connection.close()
        self._replicas.remove(replica)

    def _end_overdue(self) -> None:
        """Kill replicas that hang, or whose run is to stop."""
        now = time.monotonic()
        for replica in list(self._replicas):
            if replica.task is None:
                if not replica.ready and now - replica.since > START_TIMEOUT_S:
                    self._lose(replica)
                continue
            stop_at = replica.run.stop_at if replica.run else None
            if now - replica.since > self._timeout_s or (stop_at is not None and now > stop_at):
                self._lose(replica)

    def _hand_out(self) -> None:
        """Give each idle replica a task, one run after the other."""
        idle = [replica for replica in self._replicas if replica.idle]
        while idle:
            run = self._next_run()
            if run is None:
                return
            # A replica that knows the run has its model loaded already.
            idle.sort(key=lambda replica: run.number in replica.known)
            replica, task = idle.pop(), run.pending.popleft()
            task.attempts += 1
            try:
                if run.number not in replica.known:
                    self._introduce(replica, run)
                replica.connection.send(("task", run.number, task.value))
            except OSError:  # it died while idle; its end of file is on the way
                task.attempts -= 1
                run.pending.appendleft(task)
                continue
            replica.run, replica.task = run, task
            replica.since = time.monotonic()
            run.in_flight += 1

    def _introduce(self, replica: _Replica, run: _Run) -> None:
        """Send a run's work to a replica, which forgets those of runs that have ended."""
        for ended in replica.known - {one.number for one in self._runs}:
            replica.connection.send(("forget", ended, None))
            replica.known.remove(ended)
        replica.connection.send(("work", run.number, run.work))
        replica.known.add(run.number)

    def _next_run(self) -> _Run | None:
        """The run that has work and the fewest replicas: jobs share the pool evenly."""
        waiting = [r for r in self._runs if r.pending and r.in_flight < r.replicas.maximum]
        return min(waiting, key=lambda run: run.in_flight, default=None)

    def _resize(self) -> None:
        """Start replicas while work waits for them; end those that have been idle for long."""
        wanted = self._warm
        if self._runs:
            busy = sum(
                max(
                    run.replicas.starting,
                    min(run.replicas.maximum, len(run.pending) + run.in_flight),
                )
                for run in self._runs
                if run.stop_at is None
            )
            wanted = max(wanted, busy)
        wanted = min(wanted, self._max)
        for _ in range(wanted - len(self._replicas)):
            self._replicas.append(self._start())
        surplus = len(self._replicas) - wanted
        now = time.monotonic()
        for replica in list(self._replicas):
            if surplus > 0 and replica.idle and now - replica.since > self._idle_s:
                self._end(replica)
                surplus -= 1

    def _count(self) -> None:
        """Say what replicas do, and how much waits for them."""
        ready = [replica for replica in self._replicas if replica.ready]
        idle = sum(replica.idle for replica in ready)
        metrics.REPLICAS.labels("starting").set(len(self._replicas) - len(ready))
        metrics.REPLICAS.labels("idle").set(idle)
        metrics.REPLICAS.labels("busy").set(len(ready) - idle)
        metrics.PARTS_WAITING.set(sum(len(run.pending) for run in self._runs))

    def _start(self) -> _Replica:
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own module, our own interpreter
                [
                    sys.executable,
                    "-m",
                    "rowcast.engines.replica",
                    str(theirs.fileno()),
                    json.dumps(self._options),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=self._environment,
                cwd=Path("/"),
            )
        return _Replica(process, Connection(ours.detach()))


_ONE_THREAD = {
    # Each replica is one thread's worth of work; libraries must not start their own.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "ARROW_IO_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
}
