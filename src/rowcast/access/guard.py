"""Who is it, and may they? Asked for every request, and again when a job or a training runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rowcast.access.places import place_of
from rowcast.access.roles import READ_OBJECTS, READ_TABLES, WRITE_OBJECTS, WRITE_TABLES
from rowcast.errors import PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rowcast.access.oidc import Issuer
    from rowcast.access.policy import PolicyFile
    from rowcast.access.tokens import Tokens
    from rowcast.core.caller import Caller


class Guard(Protocol):
    """Decides. Safe from any thread; what it is asked may read files and the database."""

    def identify(self, credential: str) -> Caller | None:
        """Say who shows a credential; None if nobody does."""
        ...

    def require(self, caller: Caller, permission: str, resource: str) -> None:
        """Raise PermissionDenied unless a caller has a permission on a resource or place."""
        ...


class PolicyGuard:
    """Tokens and perhaps an issuer say who it is, the policy file what they may do."""

    def __init__(self, policy: PolicyFile, tokens: Tokens, issuer: Issuer | None = None) -> None:
        self._policy = policy
        self._tokens = tokens
        self._issuer = issuer

    def identify(self, credential: str) -> Caller | None:
        """See ``Guard``."""
        found = self._tokens.identify(credential)
        if found is None and self._issuer is not None:
            found = self._issuer.identify(credential)
        return found

    def require(self, caller: Caller, permission: str, resource: str) -> None:
        """See ``Guard``."""
        if not caller.is_owner and not self._policy.current().permits(caller, permission, resource):
            raise PermissionDenied.on(permission, resource)


class OwnerOnly:
    """There is nobody but the owner."""

    def identify(self, credential: str) -> Caller | None:  # noqa: ARG002
        """See ``Guard``."""
        return None

    def require(self, caller: Caller, permission: str, resource: str) -> None:
        """See ``Guard``."""
        if not caller.is_owner:
            raise PermissionDenied.on(permission, resource)


def require_data(
    guard: Guard, caller: Caller, *, reads: Iterable[str] = (), writes: Iterable[str] = ()
) -> None:
    """Raise PermissionDenied unless a caller may read and write what these URIs name.

    Raises
    ------
    InvalidRequest
        If one of them is no URI.
    """
    if caller.is_owner:
        return
    for uris, of_objects, of_tables in (
        (reads, READ_OBJECTS, READ_TABLES),
        (writes, WRITE_OBJECTS, WRITE_TABLES),
    ):
        for uri in uris:
            place = place_of(uri)
            guard.require(caller, of_tables if place.startswith("bq://") else of_objects, place)
