"""Code written for Vertex AI's Python library, against a rowcast server: one line before it.

import rowcast.vertex

rowcast.vertex.connect("http://127.0.0.1:8080")

from google.cloud import aiplatform          # from here on, nothing is changed
aiplatform.init(project="acme", location="us-central1")
...
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rowcast.errors import FailedPrecondition, InvalidRequest
from rowcast.logins import check_server, local_server, token_for
from rowcast.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["connect"]


def connect(
    server: str | None = None,
    *,
    token: str | None = None,
    grpc: str | None = None,
    home: str | Path | None = None,
    project: str | None = None,
    location: str | None = None,
) -> None:
    """Point ``google-cloud-aiplatform`` at a server, for the rest of this process.

    ``aiplatform.init`` is called with the server's endpoint and credentials; calls of it that
    follow may set the project and location, and keep these. The variables
    ``STORAGE_EMULATOR_HOST`` and ``BIGQUERY_EMULATOR_HOST`` are set, by which Google's libraries
    for objects and tables find the server, and those that name the authority of its certificate
    if it has made one in ``home``. Call it before clients of these libraries are made.

    Parameters
    ----------
    server : str, optional
        ``http://HOST:PORT`` or ``https://HOST:PORT``. Default: the server that the settings in
        ``home`` would start on this machine.
    token : str, optional
        Default: the setting, the one of ``rowcast auth login``, or the one kept in ``home``.
    grpc : str, optional
        ``HOST:PORT`` of the server's gRPC door, which must speak TLS: the library knows no other.
        Default: REST.
    home : path, optional
        Default: the setting.
    project, location : str, optional
        Default: the settings.

    Raises
    ------
    FailedPrecondition
        If google-cloud-aiplatform is not installed.
    InvalidRequest
        If an address cannot be one, or there is no token.
    """
    settings = load_settings(home=home)
    url = check_server(server or local_server(settings))
    shown = token or token_for(settings, url)
    if not shown:
        raise InvalidRequest(
            f"There is no token for {url}; give one, or keep one with rowcast auth login."
        )
    if grpc is not None and "/" in grpc:
        raise InvalidRequest(f"{grpc!r} is not the address of a gRPC door; write HOST:PORT.")
    os.environ.update(_variables(url, settings.tls_folder / "ca.pem"))
    aiplatform, credentials = _library()
    transport = {"api_endpoint": grpc} if grpc else {"api_endpoint": url, "api_transport": "rest"}
    aiplatform.init(
        project=project or settings.project,
        location=location or settings.location,
        credentials=credentials(shown),
        **transport,
    )


def _variables(url: str, authority: Path) -> dict[str, str]:
    """The variables by which Google's libraries find a server and trust it."""
    found = {"STORAGE_EMULATOR_HOST": url, "BIGQUERY_EMULATOR_HOST": url}
    if authority.exists():
        found["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(authority)
        if url.startswith("https:"):
            found["REQUESTS_CA_BUNDLE"] = str(authority)
    return found


def _library() -> tuple[Any, Any]:
    try:
        from google.cloud import aiplatform
        from google.oauth2.credentials import Credentials
    except ImportError as error:
        raise FailedPrecondition(
            f"google-cloud-aiplatform is not installed; pip install it, or rowcast[grpc] ({error})."
        ) from error
    return aiplatform, Credentials
