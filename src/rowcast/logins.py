"""Tokens of servers, kept for whoever uses them from here: a file each, below the home folder."""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    from pathlib import Path

    from rowcast.settings import Settings


def check_server(url: str) -> str:
    """Return a server's URL without what does not belong to it.

    Raises
    ------
    InvalidRequest
        If it is not one.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidRequest(f"{url!r} is not a server's URL: {error}.") from error
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/"):
        raise InvalidRequest(f"{url!r} is not a server's URL; write http://HOST:PORT.")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def local_server(settings: Settings) -> str:
    """The URL of the server that these settings would start."""
    scheme = "https" if settings.tls or settings.tls_certificate else "http"
    host = settings.host if settings.host not in ("", "0.0.0.0", "::") else "localhost"  # noqa: S104
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def token_file(settings: Settings, server: str) -> Path:
    """Where the token of a server is: the file of its login, else that of this installation."""
    own = _login_file(settings, server)
    return own if own.exists() else settings.home / "token"


def token_for(settings: Settings, server: str) -> str | None:
    """Find the token to show to a server: the setting, a login's, or this installation's."""
    if settings.token is not None:
        return settings.token.get_secret_value()
    try:
        return token_file(settings, server).read_text().strip() or None
    except FileNotFoundError:
        return None


def keep_token(settings: Settings, server: str, token: str) -> Path:
    """Keep a token for later calls of a server; only the user may read it."""
    path = _login_file(settings, server)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
        file.write(token + "\n")
    temporary.replace(path)
    return path


def external_account(url: str, token_file: Path) -> dict[str, Any]:
    """What Google's libraries take as default credentials: where to exchange which file's token."""
    return {
        "type": "external_account",
        "audience": url,
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_url": f"{url}/token",
        "credential_source": {"file": str(token_file), "format": {"type": "text"}},
    }


def _login_file(settings: Settings, server: str) -> Path:
    name = re.sub(r"[^a-z0-9.-]", "_", urlsplit(check_server(server)).netloc.lower())
    return settings.home / "logins" / f"{name}.token"
