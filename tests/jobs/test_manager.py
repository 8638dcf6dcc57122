import json
import subprocess
import sys
import threading
import time

import pytest

from rowcast import metrics
from rowcast.core.job import JobState, MachineSpec, ReplicaSpec
from rowcast.engines import Replicas
from rowcast.errors import FailedPrecondition, NotFound
from tests.engines.tasks import Act
from tests.jobs.lab import PARENT, Hooked, Lab, csv_text, input_rows, input_texts, whole_rows
from tests.jobs.traps import Slow

ONE = ReplicaSpec(MachineSpec("local"), 1, 1)


def until(true, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_nobody_claims_a_job_while_its_lease_lives(lab):
    job = lab.create()
    lease = lab.store.claim_job("first", time.time() + 0.3, job.id)
    assert lease is not None
    assert not lab.manager().run_one(job.id)
    time.sleep(0.35)
    assert lab.manager().run_one(job.id)
    assert lab.get(job).state is JobState.SUCCEEDED


def test_a_lost_lease_stops_the_runner(lab):
    job = lab.create(replicas=ONE)
    slow = Slow(lab.objects.roots, "part-", 0.2)
    manager, thread = lab.in_background(job, objects=slow)
    until(lambda: lab.store.finished_parts(job.id))
    lab.store.release_owner(manager.owner)
    assert lab.store.claim_job("other", time.time() + 60, job.id)
    done = len(lab.store.finished_parts(job.id))
    thread.join(3)
    assert not thread.is_alive()
    assert lab.get(job).state is JobState.RUNNING
    assert len(lab.store.finished_parts(job.id)) == done


def test_a_job_cancelled_before_it_is_claimed_has_no_output(lab):
    job = lab.create()
    assert lab.service.cancel(PARENT, job.id).state is JobState.CANCELLED
    job = lab.get(job)
    assert (job.error.code, job.error.message) == (1, "CANCELED")
    assert job.output_directory is None
    assert job.started is None
    assert job.ended is not None


def cancel_when(lab, job, true, **parts):
    """Cancel a running job once ``true``; the job at its end, and the seconds it took."""
    manager, thread = lab.in_background(job, **parts)
    service = lab.make_service(wake=manager.wake)
    until(true)
    started = time.monotonic()
    service.cancel(PARENT, job.id)
    thread.join(10)
    return lab.get(job), time.monotonic() - started


def test_a_cancel_in_the_moment_of_the_first_write_is_honoured_at_once(lab):
    job = lab.create()

    def hook(name, number, after):
        if (name, number, after) == ("update_job", 2, False):  # the one that enters RUNNING
            lab.service.cancel(PARENT, job.id)

    started = time.monotonic()
    assert lab.manager(store=Hooked(lab.store, hook)).run_one(job.id)
    assert time.monotonic() - started < 15
    assert lab.get(job).state is JobState.CANCELLED


def test_a_job_cancelled_while_its_input_is_read_leaves_nothing(lab):
    job = lab.create()
    slow = Slow(lab.objects.roots, "rows-01", 5)
    job, seconds = cancel_when(
        lab, job, lambda: lab.get(job).state is JobState.RUNNING, objects=slow
    )
    assert job.state is JobState.CANCELLED
    assert seconds < 15  # the figure is measured in stress; the machine may be busy here
    assert job.stats is None
    assert not lab.path(job).exists() or not any(lab.path(job).iterdir())


def test_a_job_cancelled_while_it_unpacks_its_input_leaves_no_copy(lab):
    import gzip

    uri = lab.put("x.csv.gz", gzip.compress(input_texts()["rows-00.csv"]))
    job = lab.create(uri)
    slow = Slow(lab.objects.roots, "spool/0.text", 5)
    job, _ = cancel_when(lab, job, lambda: lab.get(job).state is JobState.RUNNING, objects=slow)
    assert job.state is JobState.CANCELLED
    assert not (lab.path(job) / "_staging").exists()


def test_a_job_cancelled_while_it_scores_leaves_a_marked_prefix(lab):
    whole = lab.run()
    _, rows = lab.csv_rows(whole, "predictions")
    job = lab.create(replicas=ReplicaSpec(MachineSpec("local"), 2, 2))
    slow = Slow(lab.objects.roots, "part-", 0.15)
    job, seconds = cancel_when(
        lab, job, lambda: len(lab.store.finished_parts(job.id)) >= 2, objects=slow
    )
    assert job.state is JobState.CANCELLED
    assert job.error.code == 1
    assert seconds < 15  # the figure is measured in stress; the machine may be busy here
    manifest = lab.manifest(job)
    assert manifest["complete"] is False
    assert 0 < manifest["parts"] < lab.manifest(whole)["parts"]
    good, bad = lab.csv_rows(job, "predictions")[1], lab.csv_rows(job, "errors")[1]
    assert good == rows[: len(good)]
    assert (job.stats.successful, job.stats.failed) == (len(good), len(bad))
    assert job.stats.incomplete == len(input_rows()) - len(good) - len(bad)
    assert sum(job.causes.values()) == len(bad)
    assert not (lab.path(job) / "_staging").exists()


def test_a_job_cancelled_after_its_last_part_is_complete_or_marked(lab):
    for moment in (("sweep_temporaries", 1, False), ("delete_folder", 1, False)):
        job = lab.create()

        def hook(*call, job=job, moment=moment):
            if call == moment:
                lab.service.cancel(PARENT, job.id)

        lab.drive(job, objects=Hooked(lab.objects, hook))
        job = lab.get(job)
        assert job.state is JobState.SUCCEEDED
        assert lab.manifest(job)["complete"]
        assert job.stats.incomplete == 0


def test_a_finished_job_can_be_deleted_but_not_cancelled_and_a_running_one_the_reverse(lab):
    job = lab.create()
    with pytest.raises(FailedPrecondition):
        lab.service.delete(PARENT, job.id)
    job = lab.drive(job)
    with pytest.raises(FailedPrecondition):
        lab.service.cancel(PARENT, job.id)
    output = lab.bytes(job)
    folder = lab.path(job)
    lab.service.delete(PARENT, job.id)
    with pytest.raises(NotFound):
        lab.service.get(PARENT, job.id)
    assert (folder / "predictions_1.csv").read_bytes() == output["predictions_1.csv"]


def test_a_second_cancel_changes_nothing(lab):
    job = lab.create()
    lab.store.claim_job("slow", time.time() + 60, job.id)
    first = lab.service.cancel(PARENT, job.id)
    assert first.state is JobState.CANCELLING
    assert lab.service.cancel(PARENT, job.id) == first


def test_a_manager_that_stops_leaves_its_job_to_the_next(lab):
    expected = lab.bytes(lab.run())
    job = lab.create()
    first = lab.manager(objects=Slow(lab.objects.roots, "part-", 0.15))
    first.start()
    until(lambda: lab.store.finished_parts(job.id))
    started = time.monotonic()
    first.stop()
    assert time.monotonic() - started < 15
    done = len(lab.store.finished_parts(job.id))
    assert lab.get(job).state is JobState.RUNNING
    assert done > 0
    second = lab.manager()
    second.start()
    lab.wait(job)
    assert lab.bytes(job) == expected


def test_stopped_managers_leave_no_thread_behind(lab):
    before = set(threading.enumerate())
    manager = lab.manager()
    manager.start()
    lab.wait(lab.create())
    lab.run()
    manager.stop()
    until(lambda: set(threading.enumerate()) <= before, 5)


def test_only_owners_that_are_dead_processes_of_this_machine_are_released(lab):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    manager = lab.manager()
    host, pid, tail = manager.owner.rsplit(":", 2)
    owners = {
        "dead": f"{host}:{gone.pid}:{tail}",
        "alive": f"{host}:{pid}:other",
        "elsewhere": f"another-host:{gone.pid}:{tail}",
    }
    for owner in owners.values():
        lab.store.claim_job(owner, time.time() + 60, lab.create().id)
    manager.release_dead_owners()
    assert lab.store.owners() == {owners["alive"], owners["elsewhere"]}


def test_a_manager_does_not_claim_its_own_job_again_when_the_machine_has_slept(lab):
    """While a machine sleeps all leases run out; its own runners go on all the same."""
    job = lab.create()
    slow = Slow(lab.objects.roots, "part-", 0.1)
    manager = lab.manager(objects=slow)
    manager.start()
    until(lambda: lab.store.finished_parts(job.id))
    lab.store.clock = lambda: time.time() + 86_400
    manager.wake()
    job = lab.wait(job)
    lab.store.clock = time.time
    assert job.state is JobState.SUCCEEDED
    with lab.store.reading() as connection:
        assert connection.exec_driver_sql("select fence from jobs").scalar() == 1


def test_two_jobs_driven_one_by_one_keep_their_leases(lab):
    """The end of one leaves the other's lease alone."""
    slow = Slow(lab.objects.roots, "part-", 0.15)
    manager = lab.manager(objects=slow, lease_s=0.6)
    small, big = lab.create(lab.put("s.csv", csv_text(whole_rows()[:5]))), lab.create()
    threads = [threading.Thread(target=manager.run_one, args=(job.id,)) for job in (small, big)]
    for thread in threads:
        thread.start()
    lab.wait(small)
    while not lab.get(big).state.finished:
        assert not lab.manager().run_one(big.id)
        time.sleep(0.05)
    for thread in threads:
        thread.join(5)
    assert lab.get(big).state is JobState.SUCCEEDED


def test_no_more_jobs_run_than_may(lab):
    manager = lab.manager(max_running=2, objects=Slow(lab.objects.roots, "part-", 0.05))
    jobs = [lab.create(lab.put("s.csv", csv_text(whole_rows()[:50]))) for _ in range(6)]
    manager.start()
    most = 0
    while not all(lab.get(job).state.finished for job in jobs):
        listed = lab.store.list_jobs(PARENT)  # as they stand at one moment
        running = [j for j in listed if j.started and not j.state.finished]
        most = max(most, len(running))
    assert most == 2
    starts = [lab.get(job).started for job in jobs]  # two that start at once may swap places
    assert all(earlier < later for earlier, later in zip(starts, starts[2:], strict=False))


def test_a_small_job_is_not_stuck_behind_the_parts_of_a_big_one(tmp_path, engine):
    lab = Lab(tmp_path, engine, part_bytes=2000)
    manager = lab.manager(objects=Slow(lab.objects.roots, "part-", 0.1))
    manager.start()
    big = lab.create()
    until(lambda: lab.store.finished_parts(big.id))
    small = lab.create(lab.put("s.csv", csv_text(whole_rows()[:20])))
    started = time.monotonic()
    lab.wait(small)
    assert time.monotonic() - started < 15
    assert not lab.get(big).state.finished
    manager.stop()
    lab.close()


def test_a_long_run_outlives_any_number_of_short_ones(engine):
    """A replica forgets the work of runs that have ended, not of one that goes on."""
    long = engine.run(Act(), [("value", n) for n in range(20)], replicas=Replicas(1, 1))
    outcomes = [next(long)]
    for _ in range(60):
        list(engine.run(Act(), [("value", 0)] * 4, replicas=Replicas(4, 4)))
    outcomes += long
    assert sorted(o.result for o in outcomes) == [2 * n for n in range(20)]


def test_times_never_run_backwards_when_the_clock_does(lab, monkeypatch):
    import datetime as clocks

    import rowcast.jobs.runner as runner

    job = lab.create()

    class Yesterday(clocks.datetime):
        @classmethod
        def now(cls, tz=None):
            return clocks.datetime.now(tz) - clocks.timedelta(days=1)

    monkeypatch.setattr(runner, "datetime", Yesterday)
    job = lab.drive(job)
    assert job.created <= job.started <= job.ended <= job.updated


def test_progress_counts_what_is_done(lab):
    job = lab.create(replicas=ONE)
    manager = lab.manager(objects=Slow(lab.objects.roots, "part-", 0.1))
    manager.start()
    until(lambda: (s := lab.get(job).stats) is not None and s.successful > 0)
    stats = lab.get(job).stats
    assert stats.successful + stats.failed + stats.incomplete == len(input_rows())
    assert lab.wait(job).replica_hours > 0
    assert json.dumps(lab.manifest(job))


def test_metrics_count_the_rows_of_jobs(lab):
    def count(metric, **labels):
        return metric.labels(**labels)._value.get()

    def counts():
        outcomes = [count(metrics.ROWS, outcome=name) for name in ("scored", "failed")]
        return [*outcomes, count(metrics.JOBS_ENDED, state="succeeded")]

    before = counts()
    job = lab.drive(lab.create())
    found = [after - earlier for after, earlier in zip(counts(), before, strict=True)]
    assert found == [job.stats.successful, job.stats.failed, 1]
