"""Promises R1, R2, R4, R5 and R9 at a small size; ``python -m stress`` has the full one."""

import os
import shutil
import time

import pytest
from stress import damage, runs
from stress.harness import Server, make_home

from tests.jobs.lab import trained_home

SETTINGS = {"part_bytes": "10000", "lease_s": "3", "warm_replicas": "1", "max_replicas": "2"}


@pytest.fixture
def home(tmp_path):
    shutil.copytree(trained_home(), tmp_path / "home")
    return tmp_path / "home"


def test_kills_at_random_instants_change_no_byte_and_show_nothing_partial(home):
    report = runs.random_kills(home, 2, settings=SETTINGS, seed=1, say=lambda _: None)
    assert report.problems == []
    assert report.figures["polls of the destination"] > 0


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_kills_while_objects_get_their_names_change_no_byte(home):
    report = runs.crash_points(
        home,
        settings=SETTINGS,
        victims=("server",),
        calls=("rename,renameat,renameat2",),
        limit=1,
        say=lambda _: None,
    )
    assert report.problems == []
    assert report.figures["crash points"] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_a_clean_failure(home):
    report = runs.full_disk(home, settings=SETTINGS)
    if "skipped" in report.figures:
        pytest.skip(report.figures["skipped"])
    assert report.problems == []
    assert report.figures["seconds to FAILED"] < 5


def test_a_server_answers_nothing_wrong_from_a_damaged_model_and_goes_on(tmp_path):
    make_home(tmp_path, rows=300, objects=1)
    report = damage.damaged_on_a_server(tmp_path, 6, settings=SETTINGS)
    assert report.problems == []
    assert report.figures["refused"] > 0


def test_a_second_server_on_one_home_refuses_and_the_first_goes_on(home):
    with Server(home, SETTINGS) as first:
        second = Server(home, SETTINGS).start(wait=False)
        started = time.monotonic()
        assert second.process.wait(timeout=20) != 0
        assert time.monotonic() - started < 60
        assert first.call("GET", "/healthz").is_success
