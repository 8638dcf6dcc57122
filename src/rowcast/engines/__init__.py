"""Where parts are worked on: the seam, and the pools of replicas behind it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

ENGINES = {  # name -> "module:class", imported on first use
    "local": "rowcast.engines.local:LocalEngine",
}


@dataclass(frozen=True)
class Replicas:
    """How many replicas a piece of work starts with and may have at most."""

    starting: int = 1
    maximum: int = 10


@dataclass(frozen=True)
class Outcome:
    """How one task ended."""

    task: Any
    result: Any = None
    error: Exception | None = None
    attempts: int = 1
    """Replicas that were given the task; more than one if some were lost."""
    seconds: float = 0.0
    """Time in the replica that ended it."""
    replica: int = 0
    """Its process id; 0 if none ended it."""


class Engine(Protocol):
    """A pool of replicas, shared by all jobs of a server.

    ``work`` and the tasks are pickled. ``work`` goes to each replica once for each run, and is
    called there with one task at a time. A replica that dies costs the task it held, which goes
    to another; a task that ends ``attempts`` replicas has ``ReplicaLost`` as its error.
    """

    def run(
        self,
        work: Callable[[Any], Any],
        tasks: Sequence[Any],
        *,
        replicas: Replicas,
        stop: Callable[[], bool] = lambda: False,
    ) -> Generator[Outcome]:
        """Yield each task's outcome as it comes, in any order, each once.

        When ``stop`` turns true, or the generator is closed, no further task is started, those
        in flight are ended within a second, and the generator ends early.
        """
        ...

    def warm(self, count: int) -> None:
        """Have this many replicas ready from now on, though there is no work yet."""
        ...

    def close(self) -> None:
        """End all replicas."""
        ...


def open_engine(name: str, **options: Any) -> Engine:
    """Make an engine by name."""
    module, _, class_ = ENGINES[name].partition(":")
    return cast("Callable[..., Engine]", getattr(import_module(module), class_))(**options)
