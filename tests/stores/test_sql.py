from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from rowcast.core.job import InputSpec, Job, JobSpec, JobState, ModelVersion, OutputSpec, Stats
from rowcast.core.names import Parent, new_id
from rowcast.core.plan import InputObject, Layout, ObjectFailure, Part, Plan
from rowcast.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from rowcast.stores import AllOf, AnyOf, Condition, Model, Not
from rowcast.stores.sql import SqlOperations, SqlStore
from tests.databases import KINDS, database_url

PARENT = Parent("acme", "us-central1")
MODEL = ModelVersion("churn", "1", "Churn model", "/models/churn/1", "ab" * 32)
NOON = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
SCHEMA = pa.schema([pa.field("a", pa.string(), metadata={"json_type": "number"})])


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=KINDS)
def store(tmp_path, clock, request):
    store = SqlStore(database_url(tmp_path, request.param), clock)
    yield store
    store.close()


def job(name="nightly", minutes=0, **changes):
    spec = JobSpec(name, "churn", InputSpec("csv", ("gs://b/x",)), OutputSpec("csv", "gs://b/o"))
    labels = changes.pop("labels", {})
    moment = NOON + timedelta(minutes=minutes)
    made = Job(
        new_id(), PARENT, replace(spec, labels=labels), MODEL, JobState.PENDING, moment, moment
    )
    return replace(made, **changes)


def test_a_job_comes_back_as_it_was_kept(store):
    kept = job(stats=Stats(3, 1, 0), labels={"env": "test"}, causes={"age: not a number": 1})
    store.create_job(kept)
    assert store.get_job(PARENT, kept.id) == kept


def test_a_job_is_not_found_below_another_parent(store):
    kept = store.create_job(job())
    with pytest.raises(NotFound):
        store.get_job(Parent("other", "us-central1"), kept.id)


def test_an_id_is_taken_once(store):
    kept = store.create_job(job())
    with pytest.raises(AlreadyExists):
        store.create_job(kept)


def test_a_repeated_request_id_answers_the_first_job(store):
    first = store.create_job(job("first"), "key-1")
    again = store.create_job(job("second"), "key-1")
    assert again == first
    assert len(store.list_jobs(PARENT)) == 1


def test_jobs_are_listed_newest_first_and_page_without_gaps(store):
    kept = [store.create_job(job(minutes=n % 3)) for n in range(7)]
    seen, after = [], None
    while page := store.list_jobs(PARENT, limit=2, after=after):
        seen += page
        after = (page[-1].created, page[-1].id)
    assert seen == sorted(kept, key=lambda j: (-j.created.timestamp(), j.id))


@pytest.mark.parametrize(
    ("where", "names"),
    [
        (Condition("display_name", "=", "night_1"), ["night_1"]),
        (Condition("display_name", ":", "night*"), ["night_1", "nightX1"]),
        (Condition("display_name", ":", "night_1"), ["night_1"]),
        (Condition("display_name", ":", "NIGHT*"), []),
        (Condition("labels.env", ":", "*"), ["night_1", "day"]),
        (Condition("labels.env", "=", "test"), ["day"]),
        (Not(Condition("labels.env", "=", "test")), ["night_1", "nightX1"]),
        (Condition("create_time", ">", NOON), ["nightX1", "day"]),
        (Condition("state", "!=", "JOB_STATE_PENDING"), []),
        (
            AllOf(
                (
                    Condition("model_display_name", "=", "Churn model"),
                    AnyOf(
                        (
                            Condition("display_name", "=", "day"),
                            Condition("create_time", "<=", NOON),
                        )
                    ),
                )
            ),
            ["night_1", "day"],
        ),
    ],
)
def test_filters_choose_jobs(store, where, names):
    store.create_job(job("night_1", 0, labels={"env": "prod"}))
    store.create_job(job("nightX1", 1))
    store.create_job(job("day", 2, labels={"env": "test"}))
    found = [j.spec.display_name for j in store.list_jobs(PARENT, where=where)]
    assert sorted(found) == sorted(names)


def test_a_job_is_claimed_by_one_owner_until_its_lease_ends(store, clock):
    kept = store.create_job(job())
    lease = store.claim_job("first", clock.now + 10)
    assert lease.job_id == kept.id
    assert store.claim_job("second", clock.now + 10) is None
    assert store.renew(lease, clock.now + 20) is False
    clock.now += 15
    assert store.claim_job("second", clock.now + 10) is None
    clock.now += 10
    assert store.claim_job("second", clock.now + 10).fence == lease.fence + 1


def test_a_driver_that_lost_its_lease_can_change_nothing(store, clock):
    kept = store.create_job(job())
    old = store.claim_job("first", clock.now + 1)
    clock.now += 5
    store.claim_job("second", clock.now + 10)
    assert store.renew(old, clock.now + 10) is None
    plan = Plan(Layout((), SCHEMA), ())
    for write in (
        lambda: store.update_job(old, state=JobState.RUNNING),
        lambda: store.save_plan(old, plan),
        lambda: store.finish_part(old, 0, {}),
    ):
        with pytest.raises(Aborted):
            write()
    assert store.get_job(PARENT, kept.id) == kept


def test_leases_of_a_dead_process_can_be_freed(store, clock):
    store.create_job(job())
    store.claim_job("first", clock.now + 100)
    assert store.owners() == {"first"}
    store.release_owner("first")
    assert store.claim_job("second", clock.now + 10) is not None


def test_a_reserved_job_goes_only_to_who_names_it(store, clock):
    kept = store.create_job(job(), reserved=True)
    assert store.claim_job("server", clock.now + 10) is None
    assert store.claim_job("command line", clock.now + 10, kept.id).job_id == kept.id


def test_only_legal_moves_are_written(store, clock):
    store.create_job(job())
    lease = store.claim_job("me", clock.now + 10)
    store.update_job(lease, state=JobState.RUNNING)
    store.update_job(lease, state=JobState.SUCCEEDED)
    with pytest.raises(Aborted, match="cannot enter"):
        store.update_job(lease, state=JobState.RUNNING)
    assert store.claim_job("me", clock.now + 10) is None


def test_cancel_is_seen_by_the_next_renewal_and_refused_after_the_end(store, clock):
    kept = store.create_job(job())
    lease = store.claim_job("me", clock.now + 10)
    store.request_cancel(PARENT, kept.id, NOON)
    assert store.request_cancel(PARENT, kept.id, NOON).state is JobState.CANCELLING
    assert store.renew(lease, clock.now + 10) is True
    with pytest.raises(FailedPrecondition, match="only a finished job"):
        store.delete_job(PARENT, kept.id)
    store.update_job(lease, state=JobState.CANCELLED)
    with pytest.raises(FailedPrecondition):
        store.request_cancel(PARENT, kept.id, NOON)
    store.delete_job(PARENT, kept.id)
    with pytest.raises(NotFound):
        store.get_job(PARENT, kept.id)


def test_a_job_that_nobody_drives_is_cancelled_at_once(store, clock):
    waiting = store.create_job(job())
    assert store.request_cancel(PARENT, waiting.id, NOON).state is JobState.CANCELLED
    assert store.get_job(PARENT, waiting.id).error.code == 1
    assert store.claim_job("me", clock.now + 10) is None


def test_a_plan_comes_back_as_it_was_kept_with_the_results_of_its_parts(store, clock):
    kept = store.create_job(job())
    lease = store.claim_job("me", clock.now + 10)
    layout = Layout((InputObject("gs://b/x", 9, "v1"),), SCHEMA, {0: (0,)}, {"spool": "x"})
    parts = tuple(Part(n, 0, 5 * n, 5 * n + 5, n + 1, n + 2, 1) for n in range(3))
    plan = Plan(layout, parts, (ObjectFailure("gs://b/y", 3, "not UTF-8"),))
    assert store.load_plan(kept.id) is None
    store.save_plan(lease, plan)
    loaded = store.load_plan(kept.id)
    assert loaded == plan
    assert loaded.layout.schema.field("a").metadata == {b"json_type": b"number"}
    store.finish_part(lease, 1, {"rows": 4})
    assert store.finished_parts(kept.id) == {1: {"rows": 4}}


def test_the_newest_version_of_a_model_is_its_default(store):
    first = Model(PARENT, "churn", "1", "Churn", "/m/1", "aa", NOON, ("prod",))
    second = Model(PARENT, "churn", "2", "Churn", "/m/2", "bb", NOON + timedelta(hours=1))
    store.add_model(first)
    store.add_model(second)
    assert store.get_model(PARENT, "churn").version_id == "2"
    assert store.get_model(PARENT, "churn", "prod").version_id == "1"
    assert store.get_model(PARENT, "churn", "default").version_id == "2"
    assert [m.version_id for m in store.list_models(PARENT)] == ["2"]
    with pytest.raises(NotFound, match="churn@3"):
        store.get_model(PARENT, "churn", "3")


def test_operations_are_kept_until_deleted(store):
    operations = SqlOperations(store)
    operations.add(PARENT, "7", {"name": "o/7", "done": True})
    assert operations.get(PARENT, "7")["done"] is True
    assert operations.list(PARENT) == [{"name": "o/7", "done": True}]
    operations.delete(PARENT, "7")
    with pytest.raises(NotFound):
        operations.delete(PARENT, "7")


def test_reports_are_kept_with_the_job_and_go_with_it(store):
    kept = store.create_job(job())
    lease = store.claim_job("one", 2000.0)
    store.keep_reports(lease, {"a.json": b"{}", "b.json": b"x" * 100_000})
    store.keep_reports(lease, {"a.json": b"{1}", "c.json": b""})
    assert store.reports(kept.id) == {"a.json": b"{1}", "c.json": b""}
    store.update_job(lease, state=JobState.RUNNING)
    store.update_job(lease, state=JobState.SUCCEEDED)
    with pytest.raises(Aborted):
        store.keep_reports(replace(lease, fence=lease.fence - 1), {"a.json": b"other"})
    assert store.reports(kept.id)["a.json"] == b"{1}"
    store.delete_job(PARENT, kept.id)
    assert store.reports(kept.id) == {}
