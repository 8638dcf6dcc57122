"""A replica: a process that does one task at a time for its supervisor.

Started as ``python -m rowcast.engines.replica DESCRIPTOR OPTIONS``; the descriptor is one end of
a socket pair, the options are JSON. It is a program of its own rather than a
``multiprocessing`` child, so that a user's script or notebook is never imported again.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from importlib import import_module
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from rowcast.engines.absent import NOT_FOR_SCORING, absent
from rowcast.engines.confine import confine, portable

if TYPE_CHECKING:
    from collections.abc import Callable

_OUT_OF_MEMORY = (
    "A part needs more memory than a replica may have; raise replica_memory_bytes or lower "
    "part_bytes."
)


def main(descriptor: int, options: dict[str, Any]) -> None:
    """Serve tasks until the supervisor hangs up."""
    confine(options)
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
            result, error = None, portable(raised, _OUT_OF_MEMORY)
        connection.send(("done", run, (result, error, time.monotonic() - started)))


def _warm_up(target: str | None) -> None:
    if target:
        module, _, name = target.partition(":")
        with absent(*NOT_FOR_SCORING):
            getattr(import_module(module), name)()


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
