"""Jobs and trainings need their makers' permissions when they are made, and again when they run."""

from dataclasses import replace

import pytest

from rowcast.access.guard import PolicyGuard
from rowcast.access.policy import Policy, PolicyFile
from rowcast.core.caller import Caller
from rowcast.core.job import JobState
from rowcast.core.pipeline import PipelineState
from rowcast.errors import PermissionDenied
from rowcast.jobs.service import JobService
from rowcast.pipelines.manager import TrainingManager
from rowcast.pipelines.service import PipelineService
from tests.jobs.fixtures import engine, lab
from tests.jobs.lab import PARENT
from tests.pipelines.conftest import Lab

__all__ = ["engine", "lab"]

ANN = Caller("user:ann", ("group:data",))
READ, WRITE = "roles/storage.objectViewer", "roles/storage.objectCreator"


@pytest.fixture
def policy(tmp_path):
    return PolicyFile(tmp_path / "policy.json")


@pytest.fixture
def guard(policy):
    return PolicyGuard(policy, tokens=None)


def allow(policy, *grants):
    with policy.changing() as held:
        found = Policy()
        for role, place in grants:
            found = found.granted(role, "group:data", place)
        held.append(found)


@pytest.fixture
def service(lab, guard):
    return JobService(
        store=lab.store,
        models=lab.store,
        engine=lab.engine,
        objects=lab.objects,
        tables=lab.tables,
        options=lab.options,
        guard=guard,
    )


def test_a_job_is_made_by_those_who_may_read_and_write_its_data(lab, service, policy):
    spec = lab.spec(lab.put_input())
    for grants in [(), ((READ, "gs://b/in"),), ((WRITE, "gs://b"),)]:
        allow(policy, *grants)
        for ask in (service.create, service.preflight):
            with pytest.raises(PermissionDenied, match="denied on resource 'gs://b/"):
                ask(PARENT, spec, by=ANN)
    allow(policy, (READ, "gs://b/in"), (WRITE, "gs://b"))
    job = service.create(PARENT, spec, by=ANN)
    assert lab.get(job).created_by == ANN


def test_a_table_needs_the_role_on_its_project(lab, service, policy):
    allow(policy, ("roles/bigquery.dataViewer", "projects/local"), (WRITE, "gs://b"))
    spec = lab.spec(lab.put_input())
    spec = replace(
        spec, input=replace(spec.input, format="bigquery", uris=(), table="bq://other.sales.orders")
    )
    with pytest.raises(PermissionDenied, match=r"'bq://other\.sales\.orders'"):
        service.create(PARENT, spec, by=ANN)
    mine = replace(spec, input=replace(spec.input, table="bq://local.sales.orders"))
    assert service.create(PARENT, mine, by=ANN).created_by == ANN


def test_a_job_fails_if_its_maker_has_lost_the_role_by_then(lab, service, guard, policy):
    allow(policy, (READ, "gs://b/in"), (WRITE, "gs://b"))
    spec = lab.spec(lab.put_input())
    lost, kept = service.create(PARENT, spec, by=ANN), service.create(PARENT, spec)
    allow(policy, (READ, "gs://b/in"))
    ended = lab.drive(lost, guard=guard)
    assert (ended.state, ended.error.code) == (JobState.FAILED, 7)
    assert "'storage.objects.create' denied on resource 'gs://b/" in ended.error.message
    assert ended.output_directory is None
    assert lab.drive(kept, guard=guard).state is JobState.SUCCEEDED


def test_a_training_needs_the_role_on_its_data_when_it_runs(tmp_path, guard, policy):
    folder = tmp_path / "bench"
    folder.mkdir()
    bench = Lab(folder)
    try:
        spec = bench.create("slow").spec
        service = PipelineService(
            store=bench.pipelines, datasets=bench.datasets, models=bench.store, guard=guard
        )
        with pytest.raises(PermissionDenied, match=r"'gs://data/customers\.csv'"):
            service.create(PARENT, spec, by=ANN)
        allow(policy, (READ, "gs://data"))
        pipeline = service.create(PARENT, spec, by=ANN)
        allow(policy)
        manager = bench.manager()
        manager._guard = guard
        assert isinstance(manager, TrainingManager)
        assert manager.run_one(pipeline.id)
        ended = bench.get(pipeline)
        assert (ended.state, ended.error.code) == (PipelineState.FAILED, 7)
    finally:
        bench.close()
