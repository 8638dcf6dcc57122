import os
import time

import pytest

from rowcast.engines import Replicas, open_engine
from rowcast.errors import InvalidRequest, ReplicaLost, ResourceExhausted
from tests.engines.tasks import Act


@pytest.fixture
def engine():
    engine = open_engine("local", max_replicas=3, warm_replicas=1, environment=PATH)
    yield engine
    engine.close()


PATH = {"PYTHONPATH": os.getcwd()}
TWO = Replicas(1, 2)


def results(engine, tasks, replicas=TWO, **options):
    return {o.task: o for o in engine.run(Act(), tasks, replicas=replicas, **options)}


def test_every_task_has_one_outcome(engine):
    outcomes = list(engine.run(Act(), [("value", n) for n in range(50)], replicas=TWO))
    assert sorted(o.result for o in outcomes) == [2 * n for n in range(50)]


def test_a_killed_replica_costs_only_its_task(engine, tmp_path):
    tasks = [("value", 1), ("die once", str(tmp_path / "died")), ("value", 2)]
    outcomes = results(engine, tasks)
    assert outcomes[tasks[1]].result == "survived"
    assert outcomes[tasks[1]].attempts == 2
    assert outcomes[("value", 1)].attempts == outcomes[("value", 2)].attempts == 1


def test_a_task_that_kills_every_replica_is_given_up_and_the_others_go_on(engine):
    outcomes = results(engine, [("die", 0), *(("value", n) for n in range(5))])
    assert isinstance(outcomes[("die", 0)].error, ReplicaLost)
    assert "signal 9" in str(outcomes[("die", 0)].error)
    assert all(outcomes[("value", n)].result == 2 * n for n in range(5))


def test_errors_come_back_as_they_were_raised(engine):
    outcomes = results(engine, [("invalid", "column 'a' is not there"), ("nonsense", 0)])
    assert isinstance(outcomes[("invalid", "column 'a' is not there")].error, InvalidRequest)
    assert isinstance(outcomes[("nonsense", 0)].error, LookupError)


def test_a_run_uses_at_most_its_maximum_of_replicas(engine):
    pids = {o.result for o in engine.run(Act(), [("pid", 0.05)] * 12, replicas=Replicas(1, 2))}
    assert 1 <= len(pids) <= 2


def test_the_pool_starts_with_the_replicas_that_were_asked_for(engine):
    run = engine.run(Act(), [("sleep", 0.5)], replicas=Replicas(3, 3))
    assert next(run).result == 0.5
    assert len(engine.pids()) == 3


def test_stopping_ends_what_is_in_flight_within_a_second(engine):
    results(engine, [("value", 1)])
    started = time.monotonic()
    stop_at = started + 0.3
    outcomes = list(
        engine.run(
            Act(), [("sleep", 60)] * 4, replicas=TWO, stop=lambda: time.monotonic() > stop_at
        )
    )
    assert outcomes == []
    assert time.monotonic() - started < 15
    assert results(engine, [("value", 4)])[("value", 4)].result == 8


def test_a_hung_replica_is_replaced():
    engine = open_engine("local", max_replicas=1, task_timeout_s=0.5, attempts=1, environment=PATH)
    try:
        outcomes = results(engine, [("sleep", 60), ("value", 3)])
    finally:
        engine.close()
    assert isinstance(outcomes[("sleep", 60)].error, ReplicaLost)
    assert outcomes[("value", 3)].result == 6


def test_a_replica_cannot_take_more_memory_than_allowed():
    engine = open_engine("local", max_replicas=1, memory_bytes=1 << 30, environment=PATH)
    try:
        outcome = results(engine, [("memory", 4 << 30)])[("memory", 4 << 30)]
    finally:
        engine.close()
    assert isinstance(outcome.error, ResourceExhausted)


def test_idle_replicas_end_down_to_the_warm_ones():
    engine = open_engine("local", max_replicas=3, warm_replicas=1, idle_s=0.2, environment=PATH)
    try:
        results(engine, [("sleep", 0.3)] * 3, Replicas(3, 3))
        deadline = time.monotonic() + 5
        while len(engine.pids()) > 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(engine.pids()) == 1
    finally:
        engine.close()


def test_replicas_end_with_their_engine(engine):
    results(engine, [("value", 1)])
    pids = engine.pids()
    engine.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_replicas_can_be_had_ready_before_there_is_work(engine):
    engine.warm(3)
    deadline = time.monotonic() + 20
    while len(engine.pids()) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(engine.pids()) == 3
