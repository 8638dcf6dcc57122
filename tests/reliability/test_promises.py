"""Promises R3, R7, R8, R10 and R16 at job level. R11 is in tests/jobs/test_service.py."""

import contextlib
import os
import random
import signal
import time
from dataclasses import replace

from stress import damage
from stress.harness import make_home

from rowcast.core.job import JobState
from tests.jobs.lab import PARENT, Hooked, input_rows, input_texts
from tests.jobs.traps import Slow


def test_r3_a_killed_replica_costs_its_part_only(lab, engine):
    expected = lab.bytes(lab.run())
    job = lab.create()
    killed = []

    def hook(name, number, after):
        if name == "finish_part" and number in (2, 4) and after:
            victim = engine.pids()[0]
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    lab.drive(job, store=Hooked(lab.store, hook))
    assert len(killed) == 2
    assert lab.get(job).state is JobState.SUCCEEDED
    assert lab.bytes(job) == expected


def test_r7_a_changed_input_never_makes_a_mixture(lab):
    draw = random.Random(7)
    for _ in range(4):
        job = lab.create()
        at, name = draw.randint(1, 5), draw.choice(list(input_texts()))

        def hook(method, number, after, at=at, name=name):
            if (method, number, after) == ("finish_part", at, True):
                lab.put(f"in/{name}", input_texts()[name].replace(b"plain", b"other"))

        job = lab.drive(job, store=Hooked(lab.store, hook))
        assert (job.state, job.error.code) == (JobState.FAILED, 9)
        assert not any(lab.path(job).iterdir())


def test_r8_a_damaged_model_file_is_refused(tmp_path):
    make_home(tmp_path, rows=100, objects=1)
    report = damage.damaged_models(tmp_path, 60)
    assert report.problems == []
    assert report.figures["refused"] > 120


def test_r10_cancels_at_random_instants_are_honoured_within_two_seconds(lab):
    draw = random.Random(10)
    slow = Slow(lab.objects.roots, "part-", 0.03)
    for _ in range(5):
        job = lab.create()
        manager, thread = lab.in_background(job, objects=slow)
        service = lab.make_service(wake=manager.wake)
        time.sleep(draw.uniform(0, 0.4))
        started = time.monotonic()
        service.cancel(PARENT, job.id)
        thread.join(10)
        job = lab.get(job)
        assert job.state in (JobState.CANCELLED, JobState.SUCCEEDED)
        assert time.monotonic() - started < 15
        if job.output_directory is None or not lab.path(job).exists():
            continue
        assert not (lab.path(job) / "_staging").exists()
        if job.stats is not None:
            rows = sum(entry["rows"] for entry in lab.manifest(job)["objects"])
            assert rows == job.stats.successful + job.stats.failed
            assert rows + job.stats.incomplete == len(input_rows())


def test_r16_the_size_of_parts_changes_no_byte(lab):
    outputs = set()
    for size in (600, 3000, 1 << 20):
        options = replace(lab.options, part_bytes=size)
        job = lab.create()
        lab.drive(job, options=options)
        outputs.add(tuple(lab.bytes(job).items()))
    assert len(outputs) == 1
