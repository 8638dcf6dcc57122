"""The errors that rowcast raises on purpose.

::

    RowcastError                INTERNAL
    ├── InvalidRequest          INVALID_ARGUMENT     the caller can mend the request or the data
    │   ├── UnreadableInput                          a file that is not what its format says
    │   └── MissingColumns                           the input lacks columns of the model
    ├── NotFound                NOT_FOUND
    ├── AlreadyExists           ALREADY_EXISTS
    ├── FailedPrecondition      FAILED_PRECONDITION  right request, wrong moment or missing place
    │   └── InputChanged                             an object was replaced while a job read it
    ├── PermissionDenied        PERMISSION_DENIED
    ├── Unauthenticated         UNAUTHENTICATED
    ├── ResourceExhausted       RESOURCE_EXHAUSTED   disk, memory or a limit is used up
    ├── Unimplemented           UNIMPLEMENTED
    ├── Unavailable             UNAVAILABLE          a service that is needed does not answer
    ├── Cancelled               CANCELLED
    ├── Aborted                 ABORTED              another has taken over; start afresh
    └── Internal                INTERNAL
        ├── ModelDamaged                             a model file is not the one that was saved
        └── ReplicaLost                              a part ended its replica too often
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

RPC_CODES = {
    "CANCELLED": 1,
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "ALREADY_EXISTS": 6,
    "PERMISSION_DENIED": 7,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "ABORTED": 10,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}
"""google.rpc.Code by name."""


@dataclass(frozen=True)
class Violation:
    """One thing wrong with a request: which field, and what it should have been."""

    field: str
    """Path of the field in snake_case, as in ``input_config.gcs_source.uris[0]``."""
    description: str


class RowcastError(Exception):
    """Base of every error rowcast raises on purpose.

    Subclasses keep the one-argument constructor: errors cross process boundaries on their way
    back from a replica, and are rebuilt there from ``args``. Details are attributes, set by a
    named constructor.
    """

    status: ClassVar[str] = "INTERNAL"
    """The error's google.rpc.Code by name."""

    def __init__(self, message: str) -> None:
        super().__init__(message)

    @property
    def code(self) -> int:
        """The error's google.rpc.Code by number."""
        return RPC_CODES[self.status]


class InvalidRequest(RowcastError):
    """The caller can fix this by changing the request or the input data."""

    status = "INVALID_ARGUMENT"
    violations: tuple[Violation, ...] = ()

    @classmethod
    def listing(cls, violations: Sequence[Violation]) -> Self:
        """Report every violation of a request at once."""
        error = cls("; ".join(f"{v.field}: {v.description}" for v in violations))
        error.violations = tuple(violations)
        return error


class UnreadableInput(InvalidRequest):
    """An input object is not what its format says, or exceeds a limit."""


class MissingColumns(InvalidRequest):
    """The input lacks columns that the model was trained on."""

    missing: tuple[str, ...] = ()

    @classmethod
    def between(cls, trained: Collection[str], found: Collection[str], uri: str) -> Self:
        """Compare the model's columns with those found at ``uri``."""
        present = frozenset(found)
        missing = tuple(name for name in trained if name not in present)
        error = cls(
            f"{uri} lacks {', '.join(map(repr, missing))}, which the model was trained on; "
            f"its columns are {', '.join(map(repr, list(found)[:20]))}."
        )
        error.missing = missing
        return error


class NotFound(RowcastError):
    """A resource, or every object that a URI could name, does not exist."""

    status = "NOT_FOUND"


class AlreadyExists(RowcastError):
    """The name is taken."""

    status = "ALREADY_EXISTS"


class FailedPrecondition(RowcastError):
    """The request is well formed, but the system's state does not allow it."""

    status = "FAILED_PRECONDITION"


class InputChanged(FailedPrecondition):
    """An input object was replaced between planning and reading."""

    @classmethod
    def at(cls, uri: str, planned: str, found: str) -> Self:
        """Name both versions of the object at ``uri``."""
        return cls(
            f"{uri} changed while the job was reading it: version {planned} was planned, "
            f"{found} was found. Start a new job once the object is at rest."
        )


class PermissionDenied(RowcastError):
    """The caller, or the server itself, may not do this."""

    status = "PERMISSION_DENIED"
    permission: str = ""
    """What was lacking, if it was a permission."""
    resource: str = ""

    @classmethod
    def on(cls, permission: str, resource: str) -> Self:
        """Name the permission that a caller lacks, and on what."""
        shown = f"//aiplatform.googleapis.com/{resource}" if "://" not in resource else resource
        what = f"Permission '{permission}' denied on resource '{shown}'"
        error = cls(f"{what} (or it may not exist).")
        error.permission, error.resource = permission, resource
        return error


class Unauthenticated(RowcastError):
    """The request carries no valid credentials."""

    status = "UNAUTHENTICATED"


class ResourceExhausted(RowcastError):
    """Disk, memory or a configured limit is used up."""

    status = "RESOURCE_EXHAUSTED"


class TooManyRequests(ResourceExhausted):
    """A caller sends more requests than the server allows."""

    wait_s: float = 0.0
    """Seconds after which there is room for one more."""

    @classmethod
    def for_s(cls, wait_s: float) -> Self:
        """Say how long to wait."""
        error = cls(f"Too many requests; try again in {wait_s:.1f} s.")
        error.wait_s = wait_s
        return error


class Unimplemented(RowcastError):
    """The API has this, rowcast does not offer it."""

    status = "UNIMPLEMENTED"


class Unavailable(RowcastError):
    """A service that the work needs does not answer; it may do so later."""

    status = "UNAVAILABLE"


class Cancelled(RowcastError):
    """The work was called off."""

    status = "CANCELLED"


class Aborted(RowcastError):
    """Somebody else has taken over what this caller was doing."""

    status = "ABORTED"


class Internal(RowcastError):
    """Something broke that neither the request nor the data explains."""


class ModelDamaged(Internal):
    """A member of a model folder is missing, foreign or not the bytes that were saved."""


class ReplicaLost(Internal):
    """A part of a job ended its replica more often than is put down to chance."""
