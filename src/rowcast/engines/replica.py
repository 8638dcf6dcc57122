"""A replica: a process that does one task at a time for its supervisor.

Started as ``python -m rowcast.engines.replica DESCRIPTOR OPTIONS``; the descriptor is one end of
a socket pair, the options are JSON. It is a program of its own rather than a
``multiprocessing`` child, so that a user's script or notebook is never imported again.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import resource
import signal
import sys
import time
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from rowcast.errors import Internal, ResourceExhausted

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def main(descriptor: int, options: dict[str, Any]) -> None:
    """Serve tasks until the supervisor hangs up."""
    _confine(options)
    connection = Connection(descriptor)
    _warm_up(options.get("warm_up"))
    connection.send(("ready", os.getpid()))
    works: dict[int, Callable[[Any], Any]] = {}
    while True:
        try:
            kind, run, payload = connection.recv()
        except (EOFError, OSError):
            return  # the supervisor is gone, and with it whoever wanted the results
        if kind == "work":
            works[run] = pickle.loads(payload)  # noqa: S301 - sent by our own supervisor
            continue
        if kind == "forget":
            works.pop(run, None)
            continue
        started = time.monotonic()
        try:
            result, error = works[run](payload), None
        except Exception as raised:  # noqa: BLE001 - whatever went wrong belongs to the task
            result, error = None, _portable(raised)
        connection.send(("done", run, (result, error, time.monotonic() - started)))


def _confine(options: dict[str, Any]) -> None:
    """Limit what parsing a hostile file can cost, and end with the supervisor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != options["supervisor"]:  # it ended before the line above
            os._exit(0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limit = options.get("memory_bytes")
    if limit:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        soft = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _warm_up(target: str | None) -> None:
    if target:
        module, _, name = target.partition(":")
        getattr(import_module(module), name)()


def _portable(error: Exception) -> Exception:
    """Turn an error into one that survives the way back."""
    if isinstance(error, MemoryError):
        return ResourceExhausted(
            "A part needs more memory than a replica may have; raise replica_memory_bytes or "
            f"lower part_bytes. ({error})"
        )
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made on the line itself
    except Exception:  # noqa: BLE001 - any failure means the same: it does not travel
        return Internal(f"{type(error).__name__}: {error}")
    return error


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
