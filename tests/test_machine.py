import os
import subprocess
import sys

import numpy as np
import pytest
from structlog.testing import capture_logs

from rowcast import bootstrap, machine
from rowcast.machine import Verdict, examine
from rowcast.scoring import program
from rowcast.settings import load_settings


def examined(home):
    return {finding.subject: finding for finding in examine(load_settings(home=home))}


def test_a_sound_machine_has_nothing_wrong(tmp_path):
    found = examined(tmp_path)
    assert {"processor", "cores", "scoring path", "kernel cache", "self-test", "home"} <= set(found)
    assert not [one for one in found.values() if one.verdict is Verdict.BAD]


def test_kernels_that_disagree_with_the_reference_are_bad(tmp_path, monkeypatch):
    right = program.Program.margins
    monkeypatch.setattr(program.Program, "margins", lambda self, rows: right(self, rows) + 1e-12)
    found = examined(tmp_path)["self-test"]
    assert found.verdict is Verdict.BAD
    assert "NUMBA_DISABLE_JIT" in found.text


def test_a_missing_library_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "EXTRAS", {"moon": ("no_such_module", "no.such.module")})
    found = examined(tmp_path)["extra moon"]
    assert found.verdict is Verdict.NOTE
    assert "rowcast[moon]" in found.text


def test_a_full_disk_is_bad(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "LEAST_FREE", 1 << 62)
    assert examined(tmp_path)["home"].verdict is Verdict.BAD


SCORE = """
import sys
import numpy as np
from rowcast.machine import _full_forest
from rowcast.scoring.kernels import why_interpreted
from rowcast.scoring.program import Program

rows = np.random.default_rng(3).normal(size=(200, 20))
rows[::7, ::3] = np.nan
sys.stdout.write(f"{why_interpreted()}|{Program(_full_forest()).margins(rows).tobytes().hex()}")
"""
BLOCKED = "import sys; sys.modules['numba'] = None\n"


@pytest.fixture(scope="module")
def compiled_answer():
    return scored("")[1]


def scored(before, **variables):
    run = subprocess.run(
        [sys.executable, "-c", before + SCORE],
        env={**os.environ, **variables},
        capture_output=True,
        check=True,
        text=True,
    )
    return run.stdout.split("|")


def test_without_the_compiler_answers_have_the_same_bits(compiled_answer):
    why, answer = scored("", NUMBA_DISABLE_JIT="1")
    assert why == "NUMBA_DISABLE_JIT is set"
    assert answer == compiled_answer


def test_without_numba_answers_have_the_same_bits(compiled_answer):
    why, answer = scored(BLOCKED)
    assert why.startswith("Numba cannot be imported")
    assert answer == compiled_answer


def test_the_compiled_answer_is_a_number(compiled_answer):
    assert np.isfinite(np.frombuffer(bytes.fromhex(compiled_answer))).all()


def test_whoever_runs_jobs_without_the_compiler_says_so_once(tmp_path, monkeypatch):
    monkeypatch.setattr(bootstrap, "why_interpreted", lambda: "of the weather")
    with capture_logs() as lines:
        bootstrap.build(load_settings(home=tmp_path), warm_replicas=0).close()
    told = [line for line in lines if line["event"] == "scoring_is_slow"]
    assert [line["reason"] for line in told] == ["of the weather"]
