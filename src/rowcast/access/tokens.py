"""Tokens: random secrets that stand for a member until they expire or are revoked.

A secret is shown once, when it is made. What is kept is its SHA-256, which says nothing about a
secret of 256 random bits.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rowcast.core.caller import Caller, check_member
from rowcast.core.token import Token
from rowcast.errors import FailedPrecondition, InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rowcast.stores import TokenStore

PREFIX = "rct_"
"""Begins every secret, so that scanners of code find those that were left in it."""
SECRET_BYTES = 32
MAX_DAYS = 3650
MAX_LABEL = 100
NOTED_EVERY = timedelta(hours=1)
"""How exactly it is kept when a token was last used."""


class Tokens:
    """Makes, checks, rotates and revokes tokens."""

    def __init__(
        self, store: TokenStore, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._store = store
        self._clock = clock

    def create(self, member: str, *, days: int | None, label: str = "") -> tuple[Token, str]:
        """Make a token; also return its secret, which is kept nowhere.

        Raises
        ------
        InvalidRequest
            If the member, the days or the label cannot be.
        """
        check_member(member, groups=False)
        if days is not None and not 1 <= days <= MAX_DAYS:
            raise InvalidRequest(f"A token lasts from 1 to {MAX_DAYS} days, not {days}.")
        if len(label) > MAX_LABEL or not label.isprintable():
            raise InvalidRequest(f"A label has at most {MAX_LABEL} printable characters.")
        secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        now = self._clock()
        token = Token(
            id=secrets.token_hex(6),
            member=member,
            digest=_digest(secret),
            label=label,
            created=now,
            expires=now + timedelta(days=days) if days is not None else None,
        )
        self._store.add(token)
        return token, secret

    def identify(self, secret: str) -> Caller | None:
        """Say who shows a secret; None if nobody, or no longer."""
        if not secret.startswith(PREFIX):
            return None
        token = self._store.by_digest(_digest(secret))
        now = self._clock()
        if token is None or not token.valid(now):
            return None
        if token.used is None or now - token.used > NOTED_EVERY:
            self._store.note_use(token.id, now)
        return Caller(token.member)

    def list(self, member: str | None = None) -> Sequence[Token]:
        """All tokens, or those of a member, newest first."""
        return [t for t in self._store.list() if member is None or t.member == member]

    def revoke(self, token_id: str) -> Token:
        """End a token at once. Raises NotFound."""
        now = self._clock()
        token = self._store.get(token_id)
        if token.revoked is None or token.revoked > now:
            self._store.end(token_id, now)
            token = replace(token, revoked=now)
        return token

    def rotate(self, token_id: str, *, overlap_hours: float) -> tuple[Token, str]:
        """Make a token in the place of another, which ends after some hours.

        Raises
        ------
        NotFound, FailedPrecondition
            If there is no such token, or it has ended already.
        """
        now = self._clock()
        old = self._store.get(token_id)
        if not old.valid(now):
            raise FailedPrecondition(f"Token {token_id} has ended; make a new one.")
        made = self.create(old.member, days=_days(old), label=old.label)
        ends = now + timedelta(hours=overlap_hours)
        self._store.end(token_id, min(ends, old.revoked) if old.revoked else ends)
        return made


def _days(token: Token) -> int | None:
    """How many days a token was made for."""
    if token.expires is None:
        return None
    return max(1, round((token.expires - token.created) / timedelta(days=1)))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
