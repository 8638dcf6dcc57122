"""Tokens in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from rowcast.core.token import Token
from rowcast.errors import NotFound
from rowcast.stores.database import from_us, to_us
from rowcast.stores.tables import TOKENS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rowcast.stores.database import Database


class SqlTokens:
    """``TokenStore`` in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: Token) -> None:
        """See ``TokenStore``."""
        with self._database.writing() as connection:
            connection.execute(
                sa.insert(TOKENS).values(
                    id=token.id,
                    member=token.member,
                    digest=token.digest,
                    label=token.label,
                    created_us=to_us(token.created),
                    expires_us=_us(token.expires),
                    revoked_us=_us(token.revoked),
                    used_us=_us(token.used),
                )
            )

    def get(self, token_id: str) -> Token:
        """See ``TokenStore``."""
        found = self._one(TOKENS.c.id == token_id)
        if found is None:
            raise NotFound(f"There is no token {token_id!r}.")
        return found

    def by_digest(self, digest: str) -> Token | None:
        """See ``TokenStore``."""
        return self._one(TOKENS.c.digest == digest)

    def list(self) -> Sequence[Token]:
        """See ``TokenStore``."""
        query = sa.select(TOKENS).order_by(TOKENS.c.created_us.desc(), TOKENS.c.id)
        with self._database.reading() as connection:
            return [_token(row) for row in connection.execute(query)]

    def end(self, token_id: str, moment: datetime) -> None:
        """See ``TokenStore``."""
        self._set(token_id, revoked_us=to_us(moment))

    def note_use(self, token_id: str, moment: datetime) -> None:
        """See ``TokenStore``."""
        self._set(token_id, used_us=to_us(moment))

    def _one(self, where: sa.ColumnElement[bool]) -> Token | None:
        with self._database.reading() as connection:
            row = connection.execute(sa.select(TOKENS).where(where)).first()
        return None if row is None else _token(row)

    def _set(self, token_id: str, **values: Any) -> None:
        with self._database.writing() as connection:
            connection.execute(sa.update(TOKENS).where(TOKENS.c.id == token_id).values(**values))


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else to_us(moment)


def _token(row: Any) -> Token:
    def moment(us: int | None) -> datetime | None:
        return None if us is None else from_us(us)

    return Token(
        id=row.id,
        member=row.member,
        digest=row.digest,
        label=row.label,
        created=from_us(row.created_us),
        expires=moment(row.expires_us),
        revoked=moment(row.revoked_us),
        used=moment(row.used_us),
    )
