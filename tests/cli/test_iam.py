import json

import pytest

from rowcast.access.tokens import Tokens
from rowcast.core.caller import Caller
from rowcast.settings import Settings
from rowcast.stores.sql import SqlStore
from rowcast.stores.sql_tokens import SqlTokens


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


@pytest.fixture
def tokens(home):
    home.mkdir(exist_ok=True)
    store = SqlStore(f"sqlite:///{home}/rowcast.db")
    yield Tokens(SqlTokens(store))
    store.close()


def test_a_token_is_made_listed_rotated_and_revoked(run, tokens):
    made = run("iam", "token", "user:ann", "--days", 30, "--label", "laptop")
    secret = made.out.strip()
    assert tokens.identify(secret) == Caller("user:ann")
    (listed,) = json.loads(run("iam", "tokens", "--json").out)
    assert (listed["member"], listed["label"], listed["state"]) == ("user:ann", "laptop", "active")
    assert secret not in run("iam", "tokens").out + made.err
    newer = run("iam", "rotate", listed["id"], "--overlap-hours", 0).out.strip()
    assert (tokens.identify(secret), tokens.identify(newer)) == (None, Caller("user:ann"))
    new = next(item for item in json.loads(run("iam", "tokens", "--json").out)
               if item["id"] != listed["id"])  # fmt: skip
    assert run("iam", "end", new["id"]).code == 0
    assert tokens.identify(newer) is None
    assert json.loads(run("iam", "tokens", "--member", "user:bob", "--json").out) == []


def test_roles_are_granted_checked_and_revoked(run, home):
    asked = ("user:ann", "storage.objects.get", "gs://shop/in/a.csv")
    grant = ("roles/storage.objectViewer", "user:ann", "gs://shop/in")
    assert run("iam", "check", *asked).code == 1
    assert run("iam", "grant", *grant).code == 0
    assert run("iam", "check", *asked).out == "allowed\n"
    assert "gs://shop/in" in run("iam", "policy").out
    policy = json.loads(run("iam", "policy", "--json").out)
    assert policy == json.loads((home / "policy.json").read_text())
    assert run("iam", "revoke", *grant).code == 0
    assert run("iam", "check", *asked).code == 1
    assert "does not have" in run("iam", "revoke", *grant).err


def test_what_was_changed_is_in_the_audit_log(run, home):
    secret = run("iam", "token", "serviceAccount:nightly").out.strip()
    run("iam", "grant", "roles/owner", "serviceAccount:nightly", "*")
    lines = (home / "audit.jsonl").read_text()
    events = [json.loads(line) for line in lines.splitlines()]
    assert [(event["method"], event["about"]) for event in events] == [
        ("iam.token", "serviceAccount:nightly"),
        ("iam.grant", "serviceAccount:nightly"),
    ]
    assert secret not in lines


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("token", "ann"), "is no member"),
        (("grant", "roles/nix", "user:ann", "*"), "There is no role"),
        (("grant", "roles/owner", "user:ann", "shop"), "is no place"),
        (("end", "nix"), "There is no token"),
    ],
)
def test_mistakes_are_explained(run, arguments, text):
    done = run("iam", *arguments)
    assert done.code == 1
    assert text.replace("There is no role", "There is no role") in done.err.replace("\n", " ")


def test_roles_are_listed(run):
    assert "roles/aiplatform.user" in run("iam", "roles").out


def test_the_policy_may_be_elsewhere(run, tmp_path, monkeypatch):
    monkeypatch.setenv("ROWCAST_POLICY", str(tmp_path / "git" / "policy.json"))
    assert run("iam", "grant", "roles/owner", "user:ann", "*").code == 0
    assert (tmp_path / "git" / "policy.json").exists()
    assert Settings().policy_file == tmp_path / "git" / "policy.json"
