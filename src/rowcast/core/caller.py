"""Who asks for something, and the names of those who may."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rowcast.errors import InvalidRequest

MEMBER = re.compile(r"(user|serviceAccount|group):[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")
EVERYBODY = "allAuthenticatedUsers"
"""In a policy: whoever shows a valid credential."""


@dataclass(frozen=True)
class Caller:
    """Somebody who has shown who they are."""

    member: str
    """``user:ann@example.com``, ``serviceAccount:nightly``, or ``owner``."""
    groups: tuple[str, ...] = ()
    """``group:...`` that the member belongs to, as their issuer says."""

    @property
    def is_owner(self) -> bool:
        """Whether this is whoever the installation belongs to."""
        return self.member == OWNER.member

    @property
    def names(self) -> frozenset[str]:
        """What a policy may call this caller."""
        return frozenset((self.member, *self.groups, EVERYBODY))


OWNER = Caller("owner")
"""The user whose home folder it is: the command line, and who shows the installation's token."""


def check_member(member: str, *, groups: bool = True) -> str:
    """Return a member's name if it is one.

    Raises
    ------
    InvalidRequest
        Saying what members look like.
    """
    match = MEMBER.fullmatch(member)
    if match is None or (match[1] == "group" and not groups):
        forms = "user:NAME or serviceAccount:NAME" + (", group:NAME" if groups else "")
        raise InvalidRequest(
            f"{member[:200]!r} is no member; write {forms}, with letters, digits and . _ @ + -"
        )
    return member
