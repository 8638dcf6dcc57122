"""The policy: which member has which role, on what. One file, which people may keep in git."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from rowcast.access.places import check_place, covers
from rowcast.access.roles import check_role, holds
from rowcast.core.caller import EVERYBODY, check_member
from rowcast.errors import InvalidRequest, NotFound, PermissionDenied, RowcastError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rowcast.core.caller import Caller

logger = structlog.get_logger(__name__)

MAX_BYTES = 16 << 20


@dataclass(frozen=True, order=True)
class Binding:
    """A role of some members on one place."""

    role: str
    resource: str
    members: tuple[str, ...]

    @classmethod
    def read(cls, raw: Any) -> Binding:
        """Read one of the policy file's bindings. Raises InvalidRequest."""
        if not isinstance(raw, dict) or set(raw) != {"role", "resource", "members"}:
            raise InvalidRequest(
                f"A binding has role, resource and members; this is {json.dumps(raw)[:200]}."
            )
        members = raw["members"]
        if not isinstance(members, list) or not all(isinstance(name, str) for name in members):
            raise InvalidRequest("A binding's members are a list of names.")
        return cls(
            check_role(str(raw["role"])),
            check_place(str(raw["resource"])),
            tuple(name if name == EVERYBODY else check_member(name) for name in members),
        )


@dataclass(frozen=True)
class Policy:
    """All bindings. Without any, nobody but the owner may do anything."""

    bindings: tuple[Binding, ...] = ()

    @classmethod
    def parse(cls, content: bytes) -> Policy:
        """Read a policy file's content.

        Raises
        ------
        InvalidRequest
            If any of it is not what it should be: half a policy is none.
        """
        try:
            raw = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"The policy is not JSON: {error}.") from error
        if not isinstance(raw, dict) or set(raw) != {"bindings"}:
            raise InvalidRequest('The policy is not of the form {"bindings": [...]}.')
        if not isinstance(raw["bindings"], list):
            raise InvalidRequest("The policy's bindings are not a list.")
        return cls(tuple(Binding.read(item) for item in raw["bindings"]))

    def render(self) -> bytes:
        """Write the policy as ``parse`` reads it."""
        bindings = [
            {"role": b.role, "resource": b.resource, "members": list(b.members)}
            for b in sorted(self.bindings)
        ]
        return json.dumps({"bindings": bindings}, indent=2).encode() + b"\n"

    def permits(self, caller: Caller, permission: str, place: str) -> bool:
        """Whether a caller has a permission on a place."""
        names = caller.names
        return any(
            holds(binding.role, permission)
            and covers(binding.resource, place)
            and not names.isdisjoint(binding.members)
            for binding in self.bindings
        )

    def granted(self, role: str, member: str, resource: str) -> Policy:
        """Add a role for a member. Raises InvalidRequest."""
        new = Binding.read({"role": role, "resource": resource, "members": [member]})
        same, others = self._split(new)
        members = dict.fromkeys((*same, *new.members))
        return Policy((*others, Binding(new.role, new.resource, tuple(members))))

    def revoked(self, role: str, member: str, resource: str) -> Policy:
        """Take a role from a member. Raises InvalidRequest; NotFound if they do not have it."""
        new = Binding.read({"role": role, "resource": resource, "members": [member]})
        same, others = self._split(new)
        if member not in same:
            raise NotFound(f"{member} does not have {role} on {new.resource}.")
        left = tuple(name for name in same if name != member)
        return Policy((*others, *([Binding(new.role, new.resource, left)] if left else [])))

    def _split(self, like: Binding) -> tuple[list[str], list[Binding]]:
        """Members who have a role on a place, and all bindings of others."""
        same: list[str] = []
        others: list[Binding] = []
        for binding in self.bindings:
            if (binding.role, binding.resource) == (like.role, like.resource):
                same += binding.members
            else:
                others.append(binding)
        return same, others


class PolicyFile:
    """A policy in a file, read again whenever the file changes. Safe from any thread."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._policy = Policy()

    def current(self) -> Policy:
        """The policy as it is now; an empty one without a file.

        Raises
        ------
        PermissionDenied
            If there is a file and it is no policy: then nobody has any role.
        """
        with self._lock:
            try:
                status = self.path.stat()
            except FileNotFoundError:
                self._seen, self._policy = None, Policy()
                return self._policy
            seen = (status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode)
            if seen != self._seen:
                self._policy = self._load()
                self._seen = seen
            return self._policy

    def _load(self) -> Policy:
        try:
            return read_policy(self.path)
        except (RowcastError, OSError) as error:
            logger.error("policy_unreadable", path=str(self.path), reason=str(error))  # noqa: TRY400
            raise PermissionDenied(
                "The policy cannot be read, so that nobody has a role; the server's log says why."
            ) from error

    @contextmanager
    def changing(self) -> Iterator[list[Policy]]:
        """Hold the file alone: a list with the policy, whose last item is kept at the end."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.with_name(f".{self.path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = read_policy(self.path) if self.path.exists() else Policy()
            held = [before]
            yield held
            if held[-1] != before:
                _replace(self.path, held[-1].render())


def read_policy(path: Path) -> Policy:
    """Read a policy file.

    Raises
    ------
    InvalidRequest
        If it is no policy.
    PermissionDenied
        If others could write it.
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & 0o022:
            raise PermissionDenied(f"{path} can be written by others; set its mode to 600.")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InvalidRequest(f"{path} is longer than {MAX_BYTES:,} bytes.")
    return Policy.parse(content)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
