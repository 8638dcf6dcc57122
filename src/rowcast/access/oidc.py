"""Signed statements (JWT) of a company's own login, checked against its published keys."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import structlog

from rowcast.core.caller import Caller, check_member
from rowcast.errors import FailedPrecondition, InvalidRequest, RowcastError

if TYPE_CHECKING:
    from collections.abc import Callable

logger = structlog.get_logger(__name__)

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
"""Signatures with a public key; never a shared secret, never none."""
LEEWAY_S = 30
"""Clocks may differ by so much."""
KEYS_LAST_S = 600.0
"""Keys are fetched again after this long."""
REFETCH_S = 30.0
"""An unknown key makes them be fetched again, but not more often than this."""
MAX_BYTES = 1 << 20
MAX_TOKEN = 16 << 10
MAX_GROUPS = 200


class Issuer:
    """One issuer, whose statements for this audience are believed.

    Parameters
    ----------
    issuer : str
        As in ``iss``, an https URL.
    audience : str
        One of those in ``aud``.
    keys : str, optional
        URL or path of the JWKS; default: as the issuer's discovery document says.
    member_claim, groups_claim : str
        Which claims name the user and their groups.

    Raises
    ------
    FailedPrecondition
        If the library is not installed.
    InvalidRequest
        If there is no audience, or an address is neither https nor this machine's.
    """

    def __init__(
        self,
        issuer: str,
        audience: str | None,
        *,
        keys: str | None = None,
        member_claim: str = "email",
        groups_claim: str = "groups",
        clock: Callable[[], float] = time.time,
    ) -> None:
        try:
            import joserfc.jwt  # noqa: F401
        except ImportError as error:
            raise FailedPrecondition(
                f"Tokens of an issuer need joserfc; install rowcast[oidc] ({error})."
            ) from error
        if not audience:
            raise InvalidRequest(
                "The setting oidc_issuer needs oidc_audience: without it, statements that were "
                "made for other services would be believed."
            )
        for url in (issuer, keys or ""):
            if "://" in url and not _is_safe(url):
                raise InvalidRequest(f"{url!r} is not an https URL.")
        self._issuer = issuer
        self._audience = audience
        self._keys_at = keys
        self._member_claim = member_claim
        self._groups_claim = groups_claim
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: Any = None
        self._fetched = float("-inf")

    def identify(self, credential: str) -> Caller | None:
        """Say whom a statement is about; None if it is not one to be believed."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        if credential.count(".") != 2 or len(credential) > MAX_TOKEN:
            return None
        try:
            statement = self._decode(credential)
            claims = jwt.JWTClaimsRegistry(
                now=lambda: int(self._clock()),
                leeway=LEEWAY_S,
                iss={"essential": True, "value": self._issuer},
                aud={"essential": True, "value": self._audience},
                exp={"essential": True},
            )
            claims.validate(statement.claims)
            return self._caller(statement.claims)
        except (JoseError, ValueError, RowcastError) as error:
            logger.info("statement_refused", reason=f"{type(error).__name__}: {error}"[:200])
            return None

    def _decode(self, credential: str) -> Any:
        from joserfc import jwt
        from joserfc.errors import BadSignatureError, InvalidKeyIdError

        try:
            return jwt.decode(credential, self._key_set(KEYS_LAST_S), algorithms=ALGORITHMS)
        except (BadSignatureError, InvalidKeyIdError, ValueError):  # perhaps the keys were rotated
            return jwt.decode(credential, self._key_set(REFETCH_S), algorithms=ALGORITHMS)

    def _caller(self, claims: dict[str, Any]) -> Caller:
        name = claims.get(self._member_claim)
        if not isinstance(name, str):
            raise InvalidRequest(f"there is no text in the claim {self._member_claim}")
        if self._member_claim == "email" and claims.get("email_verified") is False:
            raise InvalidRequest("the e-mail address is not verified")
        groups = claims.get(self._groups_claim, [])
        found = []
        for group in groups[:MAX_GROUPS] if isinstance(groups, list) else []:
            with suppress(InvalidRequest):  # a name that no policy could hold
                found.append(check_member(f"group:{group}"))
        return Caller(check_member(f"user:{name}", groups=False), tuple(found))

    def _key_set(self, age_s: float) -> Any:
        """The issuer's keys, fetched at most ``age_s`` ago."""
        from joserfc.jwk import KeySet

        with self._lock:
            if self._keys is None or self._clock() - self._fetched > age_s:
                self._fetched = self._clock()
                try:
                    self._keys = KeySet.import_key_set(self._fetch())
                except (OSError, httpx.HTTPError, ValueError, KeyError) as error:
                    logger.error("keys_unreadable", issuer=self._issuer, reason=str(error)[:200])  # noqa: TRY400
            if self._keys is None:
                raise FailedPrecondition("the issuer's keys cannot be read")
            return self._keys

    def _fetch(self) -> Any:
        place = self._keys_at
        if place is None:
            place = _get(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")["jwks_uri"]
        if "://" not in place:
            return json.loads(Path(place).read_bytes())
        return _get(place)


def _get(url: str) -> Any:
    if not _is_safe(url):
        raise ValueError(f"{url!r} is not an https URL")
    with httpx.Client(timeout=10, follow_redirects=False) as client:
        answer = client.get(url).raise_for_status()
    if len(answer.content) > MAX_BYTES:
        raise ValueError(f"{url} answers with more than {MAX_BYTES:,} bytes")
    return answer.json()


def _is_safe(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "https" or (
        parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    )
