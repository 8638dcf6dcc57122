"""How a client's program says what it did. It imports nothing but Python."""

import contextlib
import json
import sys
import traceback

SERVER = json.loads(sys.argv[1])
HOW = sys.argv[2] if len(sys.argv) > 2 else ""


@contextlib.contextmanager
def step(name):
    """Say how one step ended; the program goes on."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - said, and counted
        traceback.print_exc()
        say(name, "failed", f"{type(error).__name__}: {error}"[:500])
    else:
        say(name, "passed")


def say(name, outcome, detail=""):
    """Print a step's outcome."""
    print(json.dumps({"step": name, "outcome": outcome, "detail": detail}), flush=True)


def refused(kind, call, *arguments, **options):
    """See that a call raises an error; return it."""
    try:
        call(*arguments, **options)
    except kind as error:
        return error
    raise AssertionError("it was not refused")
