"""Statements of an issuer, made here with keys of our own."""

import base64
import json

import pytest

from rowcast.access.oidc import KEYS_LAST_S, MAX_TOKEN, REFETCH_S, Issuer
from rowcast.core.caller import Caller
from rowcast.errors import InvalidRequest

jwk = pytest.importorskip("joserfc.jwk", reason="rowcast[oidc] is not installed")
from joserfc import jwt  # noqa: E402

ISSUER, AUDIENCE, NOW = "https://login.example", "rowcast", 1_770_000_000
CLAIMS = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "exp": NOW + 300,
    "iat": NOW,
    "sub": "7",
    "email": "ann@example.com",
    "groups": ["data", "ops", "no group"],
}


@pytest.fixture(scope="module")
def keys():
    return {
        name: jwk.ECKey.generate_key("P-256", {"kid": name}, private=True)
        for name in ("first", "second")
    }


@pytest.fixture
def published(tmp_path, keys):
    path = tmp_path / "jwks.json"

    def publish(*names):
        path.write_text(json.dumps({"keys": [keys[n].as_dict(private=False) for n in names]}))
        return path

    publish("first")
    return publish


class Clock:
    now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def issuer(tmp_path, published, clock):
    return Issuer(ISSUER, AUDIENCE, keys=str(tmp_path / "jwks.json"), clock=clock)


def sign(key, claims, **header):
    return jwt.encode({"alg": "ES256", "kid": key.kid, **header}, claims, key)


def test_a_statement_names_the_user_and_their_groups(issuer, keys):
    found = issuer.identify(sign(keys["first"], CLAIMS))
    assert found == Caller("user:ann@example.com", ("group:data", "group:ops"))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"aud": ["another"]},
        {"exp": NOW - 60},
        {"nbf": NOW + 600},
        {"email": ""},
        {"email": "ann\nb@example.com"},
        {"email_verified": False},
        {"iss": None},
        {"aud": None},
        {"exp": None},
        {"email": None},
    ],
)
def test_other_statements_are_not_believed(issuer, keys, changes):
    claims = {k: v for k, v in {**CLAIMS, **changes}.items() if v is not None}
    assert issuer.identify(sign(keys["first"], claims)) is None


def test_signatures_of_others_are_not_believed(issuer, keys):
    assert issuer.identify(sign(keys["second"], CLAIMS)) is None
    forged = jwk.ECKey.generate_key("P-256", {"kid": "first"}, private=True)
    assert issuer.identify(sign(forged, CLAIMS)) is None


def test_unsigned_and_symmetric_statements_are_not_believed(issuer, keys):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    assert issuer.identify(f"{part({'alg': 'none'})}.{part(CLAIMS)}.") is None
    public = json.dumps(keys["first"].as_dict(private=False)).encode()
    secret = jwk.OctKey.import_key(public.ljust(64))
    symmetric = jwt.encode({"alg": "HS256", "kid": "first"}, CLAIMS, secret)
    assert issuer.identify(symmetric) is None


@pytest.mark.parametrize("text", ["", "..", "a.b.c", "é.é.é", "x" * 50, "a." * MAX_TOKEN])
def test_what_is_no_statement_is_nobody(issuer, text):
    assert issuer.identify(text) is None


def test_new_keys_are_found_and_not_fetched_for_every_stranger(issuer, keys, published, clock):
    assert issuer.identify(sign(keys["first"], CLAIMS))
    published("second")
    late = {**CLAIMS, "exp": NOW + 10_000}
    assert issuer.identify(sign(keys["second"], late)) is None
    clock.now += REFETCH_S + 1
    assert issuer.identify(sign(keys["second"], late))
    published("first")
    assert issuer.identify(sign(keys["second"], late))
    clock.now += KEYS_LAST_S + 1
    assert issuer.identify(sign(keys["second"], late)) is None


def test_keys_that_cannot_be_read_let_nobody_in(tmp_path, keys):
    issuer = Issuer(ISSUER, AUDIENCE, keys=str(tmp_path / "none"), clock=Clock())
    assert issuer.identify(sign(keys["first"], CLAIMS)) is None


def test_an_issuer_needs_an_audience_and_https(tmp_path):
    with pytest.raises(InvalidRequest, match="oidc_audience"):
        Issuer(ISSUER, None)
    with pytest.raises(InvalidRequest, match="https"):
        Issuer("http://login.example", AUDIENCE)
    with pytest.raises(InvalidRequest, match="https"):
        Issuer(ISSUER, AUDIENCE, keys="http://login.example/keys")
