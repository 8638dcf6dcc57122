"""What every child process does first and last: limits, an end with its parent, errors that
travel.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import resource
import signal
import sys
from typing import Any

from rowcast.errors import Internal, ResourceExhausted

PR_SET_PDEATHSIG = 1


def confine(options: dict[str, Any]) -> None:
    """Limit what a hostile input can cost, and end with the parent.

    ``options`` holds the parent's process id as ``supervisor``, and, if there is to be a limit,
    the address space as ``memory_bytes``. Linux ends the child when the thread that started it
    does; elsewhere the child has to watch its connection.
    """
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


def portable(error: Exception, out_of_memory: str) -> Exception:
    """Turn an error into one that survives the way back; ``out_of_memory`` says what helps."""
    if isinstance(error, MemoryError):
        return ResourceExhausted(f"{out_of_memory} ({error})")
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made on the line itself
    except Exception:  # noqa: BLE001 - any failure means the same: it does not travel
        return Internal(f"{type(error).__name__}: {error}")
    return error
