"""TLS for an installation: its own authority, and a certificate for this machine.

Clients trust the authority (``ca.pem``), once; the server's certificate is made anew whenever it
nears its end or lacks a name, and no client notices. Neither key leaves the folder, and the
authority cannot vouch for another one.
"""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from rowcast.errors import FailedPrecondition, InvalidRequest, PermissionDenied

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

AUTHORITY, AUTHORITY_KEY = "ca.pem", "ca-key.pem"
AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
"""As long as browsers and phones accept."""
RENEWED_DAYS = 30
"""A certificate that ends sooner than in so many days is made anew."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class ServerFiles:
    """PEM files of a server."""

    certificate: Path
    """The certificate, and those that lead to the authority if there are any."""
    key: Path
    authority: Path | None
    """What clients must trust; None if the certificate was given, which they then trust already."""


def given_files(certificate: Path, key: Path | None) -> ServerFiles:
    """Check files that the settings name.

    Raises
    ------
    InvalidRequest
        If the key is missing, or either is no PEM file of that kind.
    """
    if key is None:
        raise InvalidRequest("The setting tls_certificate needs tls_key, its private key.")
    for path, mark in ((certificate, b"BEGIN CERTIFICATE"), (key, b"PRIVATE KEY")):
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InvalidRequest(f"{path} cannot be read: {error.strerror}.") from error
        if mark not in content:
            raise InvalidRequest(f"{path} is no PEM file that holds {mark.decode()!r}.")
    return ServerFiles(certificate, key, None)


def machine_names(host: str, further: Collection[str]) -> tuple[str, ...]:
    """The names and addresses that clients of a server on this machine may use."""
    names = [*LOCAL_NAMES, socket.gethostname(), *(name.partition(":")[0] for name in further)]
    if host not in ("", "0.0.0.0", "::"):  # noqa: S104 - told apart, not listened on
        names.append(host)
    return tuple(dict.fromkeys(name for name in names if name))


def load_or_make(
    folder: Path,
    names: Collection[str],
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> ServerFiles:
    """Find the files of an installation; make what is missing, ends soon or lacks a name.

    Raises
    ------
    FailedPrecondition
        If something must be made, and the library for it is not installed.
    PermissionDenied
        If others may read a key.
    InvalidRequest
        If a file that is there cannot be read as what it should be.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority, authority_key = folder / AUTHORITY, folder / AUTHORITY_KEY
    files = ServerFiles(folder / "server.pem", folder / "server-key.pem", authority)
    for path in (files.key, authority_key):
        if path.exists() and path.stat().st_mode & 0o077:
            raise PermissionDenied(f"{path} can be read by others; set its mode to 600.")
    x509 = _cryptography()
    now = clock()
    if not (authority.exists() and authority_key.exists()):
        _make_authority(authority, authority_key, now)
        files.certificate.unlink(missing_ok=True)
    if not _serves(files, names, now, x509):
        _make_server(files, folder, names, now)
    return files


def fingerprint(certificate: Path) -> str:
    """SHA-256 of a certificate as people compare it."""
    from cryptography.hazmat.primitives import hashes

    found = _cryptography().load_pem_x509_certificate(certificate.read_bytes())
    digest: bytes = found.fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


def _cryptography() -> Any:
    try:
        from cryptography import x509
    except ImportError as error:
        raise FailedPrecondition(
            f"TLS certificates are made with cryptography; install rowcast[grpc] ({error}), or "
            "give the settings tls_certificate and tls_key."
        ) from error
    return x509


def _serves(files: ServerFiles, names: Collection[str], now: datetime, x509: Any) -> bool:
    """Whether the server's certificate is there, for all names, and for a while."""
    if not (files.certificate.exists() and files.key.exists()):
        return False
    try:
        found = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        held = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as error:
        raise InvalidRequest(
            f"{files.certificate} is no certificate of a server ({error}); remove it to have one "
            "made."
        ) from error
    there = {str(name.value) for name in held}
    lasts = found.not_valid_after_utc - now > timedelta(days=RENEWED_DAYS)
    return lasts and there.issuperset(_plain(name) for name in names)


def _make_authority(certificate: Path, key: Path, now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COMMON_NAME, "rowcast local authority"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, socket.gethostname()[:64]),
        ]
    )
    builder = _builder(name, name, private.public_key(), now, AUTHORITY_DAYS)
    usage = _usage(x509, signs_certificates=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(private.public_key())
    made = (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .sign(private, hashes.SHA256())
    )
    _write(key, _key_text(private), 0o600)
    _write(certificate, _certificate_text(made), 0o644)


def _make_server(files: ServerFiles, folder: Path, names: Collection[str], now: datetime) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        signer: Any = serialization.load_pem_private_key(
            (folder / AUTHORITY_KEY).read_bytes(), None
        )
        authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
    except ValueError as error:
        raise InvalidRequest(
            f"{folder} does not hold the authority's key and certificate ({error}); "
            "remove both to have new ones made, which clients must then trust anew."
        ) from error
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "rowcast")])
    own_key = signer.public_key()
    made = (
        _builder(subject, authority.subject, private.public_key(), now, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(x509, signs_certificates=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .add_extension(
            x509.SubjectAlternativeName([_general_name(x509, name) for name in names]),
            critical=False,
        )
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(own_key), critical=False)
        .sign(signer, hashes.SHA256())
    )
    _write(files.key, _key_text(private), 0o600)
    _write(files.certificate, _certificate_text(made), 0o644)


def _builder(subject: Any, issuer: Any, public_key: Any, now: datetime, days: int) -> Any:
    from cryptography import x509

    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # clocks of clients may be a little late
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(x509: Any, *, signs_certificates: bool) -> Any:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(x509: Any, name: str) -> Any:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _plain(name: str) -> str:
    """A name as certificates hold it: addresses have many spellings."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def _key_text(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    text: bytes = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return text


def _certificate_text(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization

    text: bytes = certificate.public_bytes(serialization.Encoding.PEM)
    return text


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place whole."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
