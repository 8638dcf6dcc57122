"""Every method with every role: generated from the table that the server checks by."""

import itertools
import json
import re
import warnings
from dataclasses import replace

import pytest

from rowcast.access.guard import PolicyGuard
from rowcast.access.policy import Policy, PolicyFile
from rowcast.access.roles import ROLES
from rowcast.access.tokens import Tokens
from rowcast.core.names import Parent
from rowcast.server import bigquery_door, storage_door, warehouse
from rowcast.server.access import Access
from rowcast.server.app import ServerOptions, create_app
from rowcast.server.audit import AuditLog
from rowcast.server.permissions import PERMISSIONS, resource_of
from rowcast.stores.sql_tokens import SqlTokens

from .conftest import BASE, OPTIONS, TOKEN, Wired
from .fakes import make_model, make_spec

with warnings.catch_warnings():  # the test client prefers a successor of httpx
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

PARENT = "/v1/projects/acme/locations/us-central1"
READING = re.compile(r".*\.(get|list|wait|listVersions|report)")
DATA = {n for n in PERMISSIONS if n.startswith(("storage.", "bigquery.", "warehouse."))}
TWICE = {"storage.objects.copy", "storage.objects.compose"}
"""They read one object and write another, and need a permission for each."""
VIEWED = {
    "bigquery.projects.list",
    "bigquery.datasets.list",
    "bigquery.datasets.get",
    "bigquery.tables.list",
    "bigquery.tables.get",
    "bigquery.tables.getData",
}
OBJECTS = {f"storage.objects.{verb}" for verb in ("get", "list", "create", "delete")}
MAY = {
    "roles/aiplatform.viewer": {name for name in PERMISSIONS if READING.fullmatch(name)} - DATA,
    "roles/aiplatform.user": set(PERMISSIONS) - DATA,
    "roles/aiplatform.admin": set(PERMISSIONS) - DATA,
    "roles/storage.objectViewer": {
        "storage.objects.get",
        "storage.objects.list",
        "storage.buckets.list",
        "storage.buckets.get",
    },
    "roles/storage.objectCreator": {"storage.objects.create"},
    "roles/storage.objectAdmin": OBJECTS | {"storage.buckets.list", "storage.buckets.get"},
    "roles/storage.admin": {name for name in DATA if name.startswith("storage.")},
    "roles/bigquery.dataViewer": VIEWED,
    "roles/bigquery.dataEditor": VIEWED
    | {f"bigquery.tables.{verb}" for verb in ("create", "delete", "updateData")}
    | {"bigquery.datasets.create"},
    "roles/bigquery.jobUser": {n for n in DATA if n.startswith(("bigquery.jobs.", "warehouse."))},
    "roles/owner": set(PERMISSIONS),
}
"""Written down beside the table: what each role is for."""


class Office:
    """A server with a policy, and clients who show tokens of their own."""

    def __init__(self, folder, **options):
        self.made = Wired(folder)
        self.made.store.add_model(make_model())
        self.policy = PolicyFile(folder / "policy.json")
        self.tokens = Tokens(SqlTokens(self.made.store))
        guard = PolicyGuard(self.policy, self.tokens)
        self.audit = folder / "audit.jsonl"
        self.app = create_app(
            **self.made.services(),
            access=Access(TOKEN, guard),
            guard=guard,
            audit=AuditLog(self.audit),
            settings=ServerOptions(**{**vars(OPTIONS), **options}),
        )

    def client(self, member):
        _, secret = self.tokens.create(member, days=1)
        return self.showing(secret)

    def showing(self, secret):
        return TestClient(self.app, base_url=BASE, headers={"Authorization": f"Bearer {secret}"})

    def allow(self, *grants):
        policy = Policy()
        for grant in grants:
            policy = policy.granted(*grant)
        self.policy.path.write_bytes(policy.render())
        self.policy.path.chmod(0o600)

    def events(self):
        return [json.loads(line) for line in self.audit.read_text().splitlines()]


def door_of(name):
    return name.partition(".")[0]


def place_of(name, path):
    """What a method for data is about."""
    if door_of(name) == "storage":
        place = "gs://7/7" if path.endswith("7/o/7") else "gs://7"
        return place if "/b/7" in path else "//aiplatform.googleapis.com/*"
    if door_of(name) == "warehouse":
        return "bq://acme"
    below = re.match(r"(?:/upload)?/bigquery/v2/projects/acme(/datasets/7(/tables/7)?)?", path)
    if below is None:
        return "//aiplatform.googleapis.com/*"
    return f"bq://acme{'.7' if below[1] else ''}{'.7' if below[2] else ''}"


@pytest.fixture(scope="module")
def office(tmp_path_factory):
    made = Office(tmp_path_factory.mktemp("office"))
    yield made
    made.made.store.close()


@pytest.fixture(scope="module")
def ann(office):
    return office.client("user:ann")


def methods(app):
    """Operation id, HTTP method and an example path of every method."""
    documented = [
        (operation["operationId"], verb.upper(), path)
        for path, operations in app.openapi()["paths"].items()
        for verb, operation in operations.items()
        if path != "/healthz"
    ]
    data = [
        (route.operation_id, *route.methods, route.path)
        for door in (storage_door, bigquery_door, warehouse)
        for route in door.router.routes
    ]
    for name, verb, path in documented + data:
        if door_of(name) == "warehouse":
            path = f"/v1{path}"
        example = path.replace("{project}", "acme").replace("{location}", "us-central1")
        yield name, verb, re.sub(r"\{[\w:]+\}", "7", example)


def test_no_router_has_a_method_without_a_line_in_the_table(office):
    routers = [
        route.original_router for route in office.app.routes if hasattr(route, "original_router")
    ]
    names = {route.operation_id for router in routers for route in router.routes}
    assert names == set(PERMISSIONS)


def test_every_method_has_a_line_in_the_table(office):
    assert {name for name, _, _ in methods(office.app)} == set(PERMISSIONS)


@pytest.mark.parametrize("role", [None, *ROLES])
def test_each_role_opens_exactly_its_methods(office, ann, role):
    office.allow(*([(role, "user:ann", "*")] if role else []))
    refused = set()
    for name, verb, path in methods(office.app):
        if name in TWICE:
            continue
        answer = ann.request(verb, path, content=b"{}")
        assert answer.status_code != 401
        if answer.status_code == 403:
            refused.add(name)
            error = answer.json()["error"]
            resource = f"//aiplatform.googleapis.com/{resource_of(path)}"
            if name in DATA:
                resource = place_of(name, path)
            assert error["message"] == (
                f"Permission '{PERMISSIONS[name]}' denied on resource '{resource}' "
                "(or it may not exist)."
            )
            (info,) = error["details"]
            assert (info["reason"], info["metadata"]["permission"]) == (
                "IAM_PERMISSION_DENIED",
                PERMISSIONS[name],
            )
    assert refused == set(PERMISSIONS) - MAY.get(role, set()) - TWICE


@pytest.mark.parametrize(
    ("role", "lacking"),
    [
        ("roles/storage.objectViewer", "storage.objects.create"),
        ("roles/storage.objectCreator", "storage.objects.get"),
    ],
)
def test_copies_need_leave_to_read_and_to_write(office, ann, role, lacking):
    office.allow((role, "user:ann", "*"))
    for path, body in (
        ("/storage/v1/b/7/o/a/copyTo/b/7/o/b", {}),
        ("/storage/v1/b/7/o/a/rewriteTo/b/7/o/b", {}),
        ("/storage/v1/b/7/o/b/compose", {"sourceObjects": [{"name": "a"}]}),
    ):
        answer = ann.post(path, json=body)
        assert answer.status_code == 403
        assert lacking in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "place", ["bq://acme", "bq://acme.own", "bq://acme.own.t", "projects/acme"]
)
def test_statements_reach_the_tables_that_the_caller_may_read_and_no_others(office, ann, place):
    with office.made.tables.query("CREATE SCHEMA IF NOT EXISTS own", write=True):
        pass
    for name in ("own.t", "other.t"):
        with (
            office.made.tables.query(f"CREATE SCHEMA IF NOT EXISTS {name[:-2]}", write=True),
            office.made.tables.query(
                f"CREATE OR REPLACE TABLE {name} AS SELECT 1 AS n", write=True
            ),
        ):
            pass
    office.allow(
        ("roles/bigquery.jobUser", "user:ann", "projects/acme"),
        ("roles/bigquery.dataViewer", "user:ann", place),
    )
    for ask in (
        lambda text: ann.post(f"{PARENT}/warehouse:query", json={"query": text, "write": True}),
        lambda text: ann.post(
            "/bigquery/v2/projects/acme/queries", json={"query": text, "useLegacySql": False}
        ),
    ):
        assert ask("SELECT n FROM own.t").status_code == 200
        if ".own" in place:
            for text in (
                "SELECT n FROM other.t",
                "SELECT * FROM own.t, other.t",
                "SELECT (SELECT MAX(n) FROM other.t) AS x FROM own.t",
                "WITH t AS (SELECT * FROM other.t) SELECT * FROM t",
                "SELECT * FROM other.INFORMATION_SCHEMA.TABLES",
            ):
                assert ask(text).status_code == 403, text
        for text in (
            "DELETE FROM own.t WHERE TRUE",
            "DROP TABLE own.t",
            "DROP SCHEMA own",
            "CREATE TABLE own.u AS SELECT 1 AS n",
            "CREATE VIEW own.v AS SELECT * FROM other.t",
            "INSERT INTO own.t SELECT * FROM other.t",
        ):
            assert ask(text).status_code == 403, text


def test_aliases_of_a_path_are_checked_alike(office, ann):
    office.allow()
    for path in (
        "/v1beta1" + PARENT.removeprefix("/v1") + "/models",
        f"/ui{PARENT[3:]}/operations/7",
    ):
        assert ann.get(path).status_code == 403


@pytest.mark.parametrize(
    ("place", "allowed"),
    [
        ("projects/acme", True),
        ("projects/acme/locations/us-central1", True),
        ("projects/acme/locations/europe-west4", False),
        ("projects/acm", False),
        ("projects/other", False),
        ("projects/acme/locations/us-central1/models/5520", True),
        ("projects/acme/locations/us-central1/models/5521", False),
    ],
)
def test_a_role_counts_where_it_was_given(office, ann, place, allowed):
    office.allow(("roles/aiplatform.viewer", "user:ann", place))
    for path in ("models/5520", "models/5520@1", "models/5520@1/evaluations"):
        assert (ann.get(f"{PARENT}/{path}").status_code != 403) is allowed


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        (f"{PARENT}/models", "projects/acme/locations/us-central1"),
        (f"{PARENT}/models:upload", "projects/acme/locations/us-central1"),
        (f"{PARENT}/models/5@2:deleteVersion", "projects/acme/locations/us-central1/models/5"),
        (f"{PARENT}/models/5@2/evaluations/9/slices/1", f"{PARENT[4:]}/models/5"),
        (f"{PARENT}/batchPredictionJobs/7:cancel", f"{PARENT[4:]}/batchPredictionJobs/7"),
        ("/v1beta1/projects/a:b/locations/l/datasets", "projects/a:b/locations/l"),
    ],
)
def test_the_resource_of_a_path(path, resource):
    assert resource_of(path) == resource


JOB = {
    "displayName": "nightly",
    "model": "5520",
    "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://shop/in/*.csv"]}},
    "outputConfig": {
        "predictionsFormat": "csv",
        "gcsDestination": {"outputUriPrefix": "gs://shop/out/ann"},
    },
}


def test_an_upload_needs_the_role_on_its_artifact(office, ann):
    office.allow(("roles/aiplatform.user", "user:ann", "projects/acme"))
    body = {"model": {"displayName": "m", "artifactUri": "gs://models/m"}}
    answer = ann.post(f"{PARENT}/models:upload", json=body)
    assert answer.status_code == 403
    assert "'storage.objects.get' denied on resource 'gs://models/m'" in answer.text


@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("GET", "/storage/v1/b/shop/o/in%2Fa.csv?alt=media", "gs://shop/in"),
        ("GET", "/storage/v1/b/shop/o/in%2Fa.csv?alt=media", "gs://shop/in/a.csv"),
        ("GET", "/storage/v1/b/shop/o?prefix=in/&delimiter=/", "gs://shop/in"),
        ("GET", "/storage/v1/b/shop/o?prefix=in/a", "gs://shop/in"),
        ("GET", "/storage/v1/b/shop/o", "gs://shop"),
        ("POST", "/upload/storage/v1/b/shop/o?name=in/new.csv", "gs://shop/in"),
        ("DELETE", "/storage/v1/b/shop/o/in%2Fnew.csv", "gs://shop/in"),
    ],
)
def test_objects_open_where_the_role_is_and_nowhere_else(office, ann, method, path, needs):
    folder = office.made.folder / "buckets" / "shop" / "in"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a.csv", "new.csv"):
        (folder / name).write_text("x\n1\n")
    for place, opens in [(needs, True), (f"{needs}x", False), ("gs://shop2", False)]:
        office.allow(("roles/storage.objectAdmin", "user:ann", place))
        (folder / "new.csv").write_text("x\n1\n")
        answer = ann.request(method, path, content=b"x\n" if method == "POST" else None)
        assert (answer.status_code < 300) is opens, (place, answer.text)


def test_an_object_is_replaced_by_those_alone_who_may_delete_it(office, ann):
    (office.made.folder / "buckets" / "shop").mkdir(parents=True, exist_ok=True)
    office.allow(("roles/storage.objectCreator", "user:ann", "gs://shop/mine"))
    path = "/upload/storage/v1/b/shop/o?name=mine/once.csv"
    assert ann.post(path, content=b"1").status_code == 200
    again = ann.post(path, content=b"2")
    assert (again.status_code, "storage.objects.delete" in again.text) == (403, True)
    kept = office.made.folder / "buckets" / "shop" / "mine" / "once.csv"
    assert kept.read_bytes() == b"1"


def test_a_preview_needs_the_role_on_its_data(office, ann):
    office.allow(("roles/aiplatform.user", "user:ann", "projects/acme"))
    answer = ann.post(
        f"{PARENT}/datasets:preview",
        json={"inputConfig": {"gcsSource": {"uri": ["gs://shop/in/a.csv"]}}},
    )
    assert "'storage.objects.get' denied on resource 'gs://shop/in/a.csv'" in answer.text


def test_a_job_belongs_to_who_made_it(office, ann):
    office.allow(("roles/aiplatform.user", "user:ann", "projects/acme"))
    name = ann.post(f"{PARENT}/batchPredictionJobs", json=JOB).json()["name"]
    (job,) = (job for job in office.made.jobs.jobs.values() if job.name == name)
    assert job.created_by.member == "user:ann"
    assert "user:ann" not in ann.get(f"/v1/{name}").text


def test_no_resource_is_found_through_another_project_or_location(office):
    owner = office.showing(TOKEN)
    dataset = {
        "displayName": "d",
        "metadataSchemaUri": "gs://x/schema/dataset/metadata/tabular_1.0.0.yaml",
        "metadata": {"inputConfig": {"gcsSource": {"uri": ["gs://shop/in/a.csv"]}}},
    }
    operation = owner.post(f"{PARENT}/datasets", json=dataset).json()
    names = [
        "models/5520",
        "models/5520@1",
        operation["name"].partition("us-central1/")[2],
        operation["response"]["name"].partition("us-central1/")[2],
        owner.post(f"{PARENT}/batchPredictionJobs", json=JOB)
        .json()["name"]
        .partition("us-central1/")[2],
    ]
    others = (
        "/v1/projects/other/locations/us-central1",
        "/v1/projects/acme/locations/europe-west4",
    )
    for name, other in itertools.product(names, others):
        assert owner.get(f"{PARENT}/{name}").status_code == 200, name
        for method, suffix in [("GET", ""), ("DELETE", ""), ("PATCH", ""), ("POST", ":cancel")]:
            answer = owner.request(method, f"{other}/{name}{suffix}", json={})
            assert answer.status_code in (400, 404, 405), (method, name, answer.text)
        assert owner.get(f"{PARENT}/{name}").status_code == 200, name
    for other, collection in itertools.product(
        others, ("models", "datasets", "batchPredictionJobs", "trainingPipelines", "operations")
    ):
        assert owner.get(f"{other}/{collection}").json() == {}


def test_tokens_that_have_ended_answer_401(office):
    office.allow(("roles/owner", "user:bob", "*"))
    made, secret = office.tokens.create("user:bob", days=1)
    bob = office.showing(secret)
    assert bob.get(f"{PARENT}/models").status_code == 200
    by_key = TestClient(office.app, base_url=BASE, headers={"x-goog-api-key": secret})
    assert by_key.get(f"{PARENT}/models").status_code == 200
    office.tokens.revoke(made.id)
    assert bob.get(f"{PARENT}/models").status_code == 401
    assert by_key.get(f"{PARENT}/models").status_code == 401


def test_a_policy_that_cannot_be_read_opens_nothing_but_to_the_owner(office, ann):
    office.policy.path.write_text("{")
    answer = ann.get(f"{PARENT}/models")
    assert (answer.status_code, str(office.policy.path) in answer.text) == (403, False)
    assert office.showing(TOKEN).get(f"{PARENT}/models").status_code == 200


def test_changes_and_refusals_are_written_down(office, ann):
    office.allow(("roles/aiplatform.user", "user:ann", "projects/acme"))
    office.audit.unlink(missing_ok=True)
    name = ann.post(f"{PARENT}/batchPredictionJobs", json=JOB).json()["name"]
    ann.get(f"/v1/{name}")
    ann.post(f"/v1/{name}:cancel")
    office.allow()
    ann.get(f"/v1/{name}?secret=1")
    TestClient(office.app, base_url=BASE).delete(f"/v1/{name}")
    seen = [
        (event["member"], event["method"], event["status"], event["made"])
        for event in office.events()
    ]
    assert seen == [
        ("user:ann", "batchPredictionJobs.create", 200, name),
        ("user:ann", "batchPredictionJobs.cancel", 200, None),
        ("user:ann", "batchPredictionJobs.get", 403, None),
        (None, "DELETE", 401, None),
    ]
    text = office.audit.read_text()
    assert "rct_" not in text
    assert "secret" not in text
    assert office.audit.stat().st_mode & 0o777 == 0o600


EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


def test_a_token_is_exchanged_for_one_that_opens_the_same(office):
    office.allow(("roles/aiplatform.viewer", "user:cy", "projects/acme"))
    _, secret = office.tokens.create("user:cy", days=1)
    anybody = TestClient(office.app, base_url=BASE)
    answer = anybody.post("/token", data={"grant_type": EXCHANGE, "subject_token": secret})
    given = answer.json()
    assert (answer.status_code, given["token_type"]) == (200, "Bearer")
    assert office.showing(given["access_token"]).get(f"{PARENT}/models").status_code == 200


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({}, "unsupported_grant_type"),
        ({"grant_type": "password", "subject_token": TOKEN}, "unsupported_grant_type"),
        ({"grant_type": EXCHANGE}, "invalid_grant"),
        ({"grant_type": EXCHANGE, "subject_token": "rct_wrong"}, "invalid_grant"),
    ],
)
def test_other_exchanges_are_refused(office, data, error):
    answer = TestClient(office.app, base_url=BASE).post("/token", data=data)
    assert (answer.status_code, answer.json()["error"]) == (400, error)


def test_answers_carry_the_headers_that_browsers_heed(office):
    for answer in (
        TestClient(office.app, base_url=BASE).get("/healthz"),
        TestClient(office.app, base_url=BASE).get(f"{PARENT}/models"),
        office.showing(TOKEN).get(f"{PARENT}/models"),
        office.showing(TOKEN).get("/nowhere"),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'"


def test_too_many_requests_are_held_back(tmp_path):
    office = Office(tmp_path, requests_per_second=0.5)  # five at once
    try:
        office.allow(("roles/owner", "user:ann", "*"))
        ann, owner = office.client("user:ann"), office.showing(TOKEN)
        answers = [ann.get(f"{PARENT}/models") for _ in range(8)]
        assert [answer.status_code for answer in answers[:5]] == [200] * 5
        assert answers[-1].status_code == 429
        assert int(answers[-1].headers["retry-after"]) >= 1
        assert answers[-1].json()["error"]["status"] == "RESOURCE_EXHAUSTED"
        assert owner.get(f"{PARENT}/models").status_code == 200
        wrong = office.showing("wrong")
        codes = [wrong.get(f"{PARENT}/models").status_code for _ in range(3)]
        assert codes == [401, 429, 429]
    finally:
        office.made.store.close()


def test_methods_and_roles_are_all_tried(office):
    assert len(list(itertools.product(methods(office.app), ROLES))) > 300


def test_the_report_of_a_job_is_for_those_who_may_read_its_results(office, ann):
    job = office.made.jobs.create(Parent("acme", "us-central1"), make_spec())
    office.made.jobs.put(replace(job, output_directory="gs://shop/out/prediction-x"))
    path = f"{PARENT}/batchPredictionJobs/{job.id}:report"
    viewer = ("roles/aiplatform.viewer", "user:ann", "projects/acme")
    office.allow(viewer)
    answer = ann.get(path)
    assert answer.status_code == 403
    assert "gs://shop/out/prediction-x" in answer.json()["error"]["message"]
    office.allow(viewer, ("roles/storage.objectViewer", "user:ann", "gs://shop/out"))
    assert ann.get(path).status_code == 200
