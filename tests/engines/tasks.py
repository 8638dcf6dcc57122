"""Work for replicas in tests: importable there by name."""

import os
import signal
import time
from pathlib import Path

from rowcast.errors import InvalidRequest


class Act:
    """Does what a task says: ("value", x), ("die once", path), ("die", _), ("sleep", s), ..."""

    def __call__(self, task):
        kind, argument = task
        if kind == "value":
            return argument * 2
        if kind == "pid":
            time.sleep(argument)
            return os.getpid()
        if kind == "sleep":
            time.sleep(argument)
            return argument
        if kind == "die once":
            if not Path(argument).exists():
                Path(argument).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return "survived"
        if kind == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if kind == "memory":
            return len(bytearray(argument))
        if kind == "invalid":
            raise InvalidRequest(argument)
        raise LookupError(kind)
