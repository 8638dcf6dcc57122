"""A token: a secret that stands for a member, until it expires or is revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Token:
    """What is kept of a token: everything but the secret."""

    id: str
    member: str
    digest: str
    label: str
    created: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    used: datetime | None = None

    def valid(self, now: datetime) -> bool:
        """Whether the token opens anything."""
        ended = min((end for end in (self.expires, self.revoked) if end), default=None)
        return ended is None or now < ended

    def state(self, now: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked is not None and self.revoked <= now:
            return "revoked"
        return "active" if self.valid(now) else "expired"
