import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from rowcast.errors import InvalidRequest, PermissionDenied
from rowcast.server.certificates import (
    RENEWED_DAYS,
    SERVER_DAYS,
    fingerprint,
    given_files,
    load_or_make,
    machine_names,
)

x509 = pytest.importorskip("cryptography.x509", reason="rowcast[grpc] is not installed")

NAMES = ("localhost", "127.0.0.1", "::1", "rowcast.example")
NOW = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)


def read(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def shake_hands(files, name):
    """Connect a client that trusts the authority with a server that shows the certificate."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    client = ssl.create_default_context(cafile=files.authority)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                pass


@pytest.mark.parametrize("name", NAMES)
def test_clients_that_trust_the_authority_accept_every_name(tmp_path, name):
    shake_hands(load_or_make(tmp_path, NAMES), name)


def test_other_names_are_not_vouched_for(tmp_path):
    files = load_or_make(tmp_path, NAMES)
    with pytest.raises(ssl.SSLCertVerificationError, match="evil"):
        shake_hands(files, "evil.example")


def test_keys_are_for_the_owner_alone(tmp_path):
    load_or_make(tmp_path / "tls", NAMES)
    assert sorted(os.listdir(tmp_path / "tls")) == [
        "ca-key.pem", "ca.pem", "server-key.pem", "server.pem",
    ]  # fmt: skip
    for name in ("ca-key.pem", "server-key.pem"):
        assert stat.S_IMODE((tmp_path / "tls" / name).stat().st_mode) == 0o600
    (tmp_path / "tls" / "ca-key.pem").chmod(0o640)
    with pytest.raises(PermissionDenied, match="read by others"):
        load_or_make(tmp_path / "tls", NAMES)


def test_nothing_is_made_anew_without_need(tmp_path):
    load_or_make(tmp_path, NAMES, clock=lambda: NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    later = NOW + timedelta(days=SERVER_DAYS - RENEWED_DAYS - 1)
    load_or_make(tmp_path, NAMES[:2], clock=lambda: later)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_authority_stays_when_the_certificate_nears_its_end(tmp_path):
    files = load_or_make(tmp_path, NAMES, clock=lambda: NOW)
    trusted, first = files.authority.read_bytes(), read(files.certificate)
    later = NOW + timedelta(days=SERVER_DAYS - RENEWED_DAYS + 1)
    load_or_make(tmp_path, NAMES, clock=lambda: later)
    second = read(files.certificate)
    assert files.authority.read_bytes() == trusted
    assert second.serial_number != first.serial_number
    assert second.not_valid_after_utc - later == timedelta(days=SERVER_DAYS)
    second.verify_directly_issued_by(read(files.authority))


def test_a_new_name_makes_a_new_certificate(tmp_path):
    files = load_or_make(tmp_path, NAMES)
    load_or_make(tmp_path, (*NAMES, "10.0.0.7"))
    names = read(files.certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert ip_address("10.0.0.7") in names.value.get_values_for_type(x509.IPAddress)
    assert "rowcast.example" in names.value.get_values_for_type(x509.DNSName)


def test_the_authority_cannot_vouch_for_another(tmp_path):
    found = read(load_or_make(tmp_path, NAMES).authority)
    limits = found.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (limits.value.ca, limits.value.path_length, limits.critical) == (True, 0, True)
    assert len(fingerprint(tmp_path / "ca.pem").split(":")) == 32


def test_files_that_are_damaged_are_named(tmp_path):
    files = load_or_make(tmp_path, NAMES)
    files.certificate.write_text("nothing")
    with pytest.raises(InvalidRequest, match=r"server\.pem is no certificate"):
        load_or_make(tmp_path, NAMES)
    files.certificate.unlink()
    (tmp_path / "ca-key.pem").write_text("nothing")
    with pytest.raises(InvalidRequest, match="authority's key"):
        load_or_make(tmp_path, NAMES)


def test_given_files_are_looked_at(tmp_path):
    made = load_or_make(tmp_path, NAMES)
    assert given_files(made.certificate, made.key).authority is None
    with pytest.raises(InvalidRequest, match="needs tls_key"):
        given_files(made.certificate, None)
    with pytest.raises(InvalidRequest, match="BEGIN CERTIFICATE"):
        given_files(made.key, made.key)
    with pytest.raises(InvalidRequest, match="cannot be read"):
        given_files(tmp_path / "none", made.key)


def test_the_names_of_a_machine():
    assert machine_names("0.0.0.0", ["proxy.example:8443"])[:3] == NAMES[:3]
    assert "proxy.example" in machine_names("0.0.0.0", ["proxy.example:8443"])
    assert "0.0.0.0" not in machine_names("0.0.0.0", [])
    assert "10.1.2.3" in machine_names("10.1.2.3", [])
