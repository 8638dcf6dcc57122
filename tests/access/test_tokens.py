from datetime import UTC, datetime, timedelta

import pytest

from rowcast.access.tokens import PREFIX, Tokens
from rowcast.core.caller import Caller
from rowcast.errors import FailedPrecondition, InvalidRequest, NotFound
from rowcast.stores.sql import SqlStore
from rowcast.stores.sql_tokens import SqlTokens
from tests.databases import database_url

NOW = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tokens(tmp_path, clock):
    store = SqlStore(database_url(tmp_path))
    yield Tokens(SqlTokens(store), clock)
    store.close()


def test_a_token_stands_for_its_member(tokens):
    made, secret = tokens.create("user:ann", days=30, label="laptop")
    assert secret.startswith(PREFIX)
    assert len(secret) >= 43 + len(PREFIX)
    assert tokens.identify(secret) == Caller("user:ann")
    assert (made.label, made.state(NOW)) == ("laptop", "active")


@pytest.mark.parametrize("wrong", ["", "rct_", "rct_x", PREFIX + "A" * 43, "é", "rct_é"])
def test_other_secrets_stand_for_nobody(tokens, wrong):
    tokens.create("user:ann", days=None)
    assert tokens.identify(wrong) is None


def test_no_two_secrets_are_alike_and_none_is_kept(tokens, tmp_path):
    made = [tokens.create("serviceAccount:nightly", days=None) for _ in range(20)]
    secrets = {secret for _, secret in made}
    assert len(secrets) == 20
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(secret.encode() in kept for secret in secrets)
    assert not any(secret in repr(token) for token, secret in made)


def test_a_token_ends_with_its_days(tokens, clock):
    token, secret = tokens.create("user:ann", days=1)
    clock.now += timedelta(days=1, seconds=-1)
    assert tokens.identify(secret)
    clock.now += timedelta(seconds=1)
    assert tokens.identify(secret) is None
    assert tokens.list()[0].state(clock.now) == "expired"
    with pytest.raises(FailedPrecondition):
        tokens.rotate(token.id, overlap_hours=0)


def test_a_revoked_token_opens_nothing(tokens, clock):
    token, secret = tokens.create("user:ann", days=None)
    clock.now += timedelta(hours=5)
    tokens.revoke(token.id)
    assert tokens.identify(secret) is None
    assert tokens.list("user:ann")[0].state(clock.now) == "revoked"
    tokens.revoke(token.id)
    with pytest.raises(NotFound):
        tokens.revoke("nix")


def test_both_tokens_work_while_one_replaces_the_other(tokens, clock):
    old, secret = tokens.create("user:ann", days=30)
    clock.now += timedelta(days=29)
    new, newer = tokens.rotate(old.id, overlap_hours=2)
    assert new.expires == clock.now + timedelta(days=30)
    assert tokens.identify(secret) == tokens.identify(newer) == Caller("user:ann")
    clock.now += timedelta(hours=2)
    assert tokens.identify(secret) is None
    assert tokens.identify(newer)


def test_rotating_twice_lends_no_time(tokens, clock):
    old, secret = tokens.create("user:ann", days=None)
    tokens.rotate(old.id, overlap_hours=2)
    clock.now += timedelta(hours=1)
    tokens.rotate(old.id, overlap_hours=24)
    clock.now += timedelta(hours=1)
    assert tokens.identify(secret) is None


def test_the_last_use_is_noted_by_the_hour(tokens, clock):
    _, secret = tokens.create("user:ann", days=None)
    tokens.identify(secret)
    clock.now += timedelta(minutes=59)
    tokens.identify(secret)
    assert tokens.list()[0].used == NOW
    clock.now += timedelta(minutes=2)
    tokens.identify(secret)
    assert tokens.list()[0].used == clock.now


@pytest.mark.parametrize(
    ("member", "days", "label"),
    [
        ("ann", 1, ""),
        ("group:data", 1, ""),
        ("user:", 1, ""),
        ("user:a b", 1, ""),
        ("owner", 1, ""),
        ("user:ann\n", 1, ""),
        ("user:ann", 0, ""),
        ("user:ann", 5000, ""),
        ("user:ann", 1, "x" * 101),
        ("user:ann", 1, "a\nb"),
    ],
)
def test_what_cannot_be_is_refused(tokens, member, days, label):
    with pytest.raises(InvalidRequest):
        tokens.create(member, days=days, label=label)
    assert not tokens.list()
