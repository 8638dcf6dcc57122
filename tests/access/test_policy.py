import json
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.access.guard import OwnerOnly, PolicyGuard, require_data
from rowcast.access.places import check_place, covers, place_of
from rowcast.access.policy import Policy, PolicyFile, read_policy
from rowcast.access.roles import ROLES, holds
from rowcast.core.caller import EVERYBODY, OWNER, Caller
from rowcast.errors import InvalidRequest, NotFound, PermissionDenied

ANN, BOB = Caller("user:ann"), Caller("user:bob", ("group:data",))
VIEWER, USER = "roles/storage.objectViewer", "roles/aiplatform.user"
GET = "storage.objects.get"


def policy(*grants):
    found = Policy()
    for role, member, place in grants:
        found = found.granted(role, member, place)
    return found


@pytest.mark.parametrize(
    ("uri", "place"),
    [
        ("gs://b/in/x.csv", "gs://b/in/x.csv"),
        ("gs://b", "gs://b"),
        ("gs://b/", "gs://b"),
        ("GS://b//in//x.csv", "gs://b/in/x.csv"),
        ("s3://b/in/", "s3://b/in"),
        ("gs://b/in/*.csv", "gs://b/in"),
        ("gs://b/in*/x.csv", "gs://b"),
        ("gs://b/a/**/c?/[d]", "gs://b/a"),
        ("file:///data/in", "file:///data/in"),
        ("file://localhost/data/%41", "file:///data/A"),
        ("/data/in/../out", "file:///data/out"),
        ("/data/in/*.csv", "file:///data/in"),
        ("bq://acme.sales.orders", "bq://acme.sales.orders"),
        ("bq://acme", "bq://acme"),
    ],
)
def test_the_place_of_a_uri(uri, place):
    assert place_of(uri) == place


@pytest.mark.parametrize(
    "uri",
    ["gs://b/../c", "gs://b/./c", "http://b/c", "gs://", "gs://b@c/d", "bq://a.b.c.d", "gs:b"],
)
def test_what_is_no_place_is_refused(uri):
    with pytest.raises(InvalidRequest):
        place_of(uri) if "://" in uri else check_place(uri)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        ("*", "gs://b/x"),
        ("projects/acme", "projects/acme/locations/us-central1/models/5"),
        ("projects/acme", "projects/acme"),
        ("gs://b", "gs://b/in/x.csv"),
        ("gs://b/in", "gs://b/in"),
        ("bq://acme", "bq://acme.sales.orders"),
        ("bq://acme.sales", "bq://acme.sales.orders"),
        ("projects/acme", "bq://acme.sales.orders"),
    ],
)
def test_a_place_covers_what_is_below_it(place, other):
    assert covers(place, other)


@pytest.mark.parametrize(
    ("place", "other"),
    [
        ("projects/acme", "projects/acme2/locations/us-central1"),
        ("projects/acme/locations/us-central1", "projects/acme"),
        ("gs://b/in", "gs://b/inner/x"),
        ("gs://b/in", "gs://b"),
        ("gs://b", "gs://bb/x"),
        ("gs://b", "s3://b/x"),
        ("bq://acme.sales", "bq://acme.sales2.orders"),
        ("bq://acme", "bq://acme2.sales"),
        ("projects/acme", "gs://acme/x"),
        ("projects/acme", "bq://acme2.sales"),
    ],
)
def test_a_place_covers_nothing_else(place, other):
    assert not covers(place, other)


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "*", "%2e%2e"]), max_size=5))
def test_no_spelling_of_a_path_leaves_its_folder(names):
    try:
        place = place_of("gs://bucket/in/" + "/".join(names))
    except InvalidRequest:
        return
    assert covers("gs://bucket/in", place)


def test_roles_hold_what_they_should():
    assert holds("roles/aiplatform.viewer", "aiplatform.models.list")
    assert not holds("roles/aiplatform.viewer", "aiplatform.models.delete")
    assert holds(USER, "aiplatform.batchPredictionJobs.create")
    assert not holds("roles/aiplatform.admin", GET)
    assert not holds("roles/storage.objectCreator", GET)
    assert all(holds("roles/owner", permission) for permission in (GET, "any.thing"))
    assert not holds("roles/nothing", GET)
    assert not holds("roles/aiplatform.viewer", "aiplatform.models.get.all")
    assert "roles/owner" in ROLES


def test_without_a_policy_nobody_but_the_owner_may_do_anything(tmp_path):
    guard = PolicyGuard(PolicyFile(tmp_path / "policy.json"), tokens=None)
    with pytest.raises(PermissionDenied) as denied:
        guard.require(ANN, "aiplatform.models.list", "projects/p/locations/l")
    assert str(denied.value) == (
        "Permission 'aiplatform.models.list' denied on resource "
        "'//aiplatform.googleapis.com/projects/p/locations/l' (or it may not exist)."
    )
    guard.require(OWNER, "aiplatform.models.list", "projects/p/locations/l")
    with pytest.raises(PermissionDenied):
        OwnerOnly().require(ANN, GET, "gs://b")


def test_roles_are_for_members_groups_and_everybody():
    found = policy((VIEWER, "user:ann", "gs://a"), (VIEWER, "group:data", "gs://d"),
                   (VIEWER, EVERYBODY, "gs://all"))  # fmt: skip
    allowed = {
        (caller.member, place): found.permits(caller, GET, place)
        for caller in (ANN, BOB)
        for place in ("gs://a/x", "gs://d/x", "gs://all/x", "gs://none/x")
    }
    assert [key for key, may in allowed.items() if may] == [
        ("user:ann", "gs://a/x"),
        ("user:ann", "gs://all/x"),
        ("user:bob", "gs://d/x"),
        ("user:bob", "gs://all/x"),
    ]


def test_a_job_needs_every_place_that_it_reads_and_writes(tmp_path):
    file = PolicyFile(tmp_path / "policy.json")
    guard = PolicyGuard(file, tokens=None)
    with file.changing() as held:
        held.append(
            policy(
                (VIEWER, "user:ann", "gs://in"),
                ("roles/storage.objectCreator", "user:ann", "gs://out/ann"),
                ("roles/bigquery.dataViewer", "user:ann", "projects/acme"),
            )
        )
    require_data(guard, ANN, reads=["gs://in/*.csv", "bq://acme.s.t"], writes=["gs://out/ann/x"])
    for reads, writes in [
        (["gs://in/x", "gs://out/ann/x"], []),
        (["bq://other.s.t"], []),
        ([], ["gs://out/bob"]),
        ([], ["gs://in/x"]),
        ([], ["bq://acme.s"]),
        (["/etc/passwd"], []),
    ]:
        with pytest.raises(PermissionDenied):
            require_data(guard, ANN, reads=reads, writes=writes)
    require_data(guard, OWNER, reads=["/etc/passwd"])


def test_granting_and_revoking():
    found = policy((VIEWER, "user:ann", "gs://b/"), (VIEWER, "user:bob", "gs://b"))
    (binding,) = found.bindings
    assert (binding.resource, binding.members) == ("gs://b", ("user:ann", "user:bob"))
    assert found.granted(VIEWER, "user:ann", "gs://b") == found
    left = found.revoked(VIEWER, "user:ann", "gs://b")
    assert not left.permits(ANN, GET, "gs://b/x")
    assert left.revoked(VIEWER, "user:bob", "gs://b") == Policy()
    with pytest.raises(NotFound, match="does not have"):
        left.revoked(VIEWER, "user:ann", "gs://b")
    assert Policy.parse(found.render()) == found


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{}",
        b'{"bindings": {}}',
        b'{"bindings": [], "more": 1}',
        b'{"bindings": [{"role": "roles/owner", "resource": "*"}]}',
        b'{"bindings": [{"role": "roles/nix", "resource": "*", "members": []}]}',
        b'{"bindings": [{"role": "roles/owner", "resource": "b", "members": []}]}',
        b'{"bindings": [{"role": "roles/owner", "resource": "*", "members": ["ann"]}]}',
        b'{"bindings": [{"role": "roles/owner", "resource": "*", "members": "user:ann"}]}',
        b'{"bindings": [{"role": "roles/owner", "resource": "gs://b/*", "members": []}]}',
    ],
)
def test_half_a_policy_is_none(tmp_path, content):
    path = tmp_path / "policy.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InvalidRequest):
        read_policy(path)
    with pytest.raises(PermissionDenied, match="nobody has a role"):
        PolicyFile(path).current()


def test_a_changed_file_is_seen_at_once(tmp_path):
    file = PolicyFile(tmp_path / "policy.json")
    assert file.current() == Policy()
    changed = policy((VIEWER, "user:ann", "gs://b"))
    file.path.write_bytes(changed.render())
    file.path.chmod(0o600)
    assert file.current() == changed
    file.path.write_text("{")
    for _ in range(2):
        with pytest.raises(PermissionDenied):
            file.current()
    file.path.unlink()
    assert file.current() == Policy()


def test_a_policy_that_others_could_write_is_refused(tmp_path):
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"bindings": []}))
    path.chmod(0o666)
    with pytest.raises(PermissionDenied, match="written by others"):
        read_policy(path)


def test_changes_at_the_same_moment_are_all_kept(tmp_path):
    path = tmp_path / "policy.json"

    def add(number):
        with PolicyFile(path).changing() as held:
            held.append(held[-1].granted(VIEWER, f"user:u{number}", "gs://b"))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (binding,) = read_policy(path).bindings
    assert sorted(binding.members) == sorted(f"user:u{n}" for n in range(16))
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == [".policy.json.lock", "policy.json"]
