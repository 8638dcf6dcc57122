import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from rowcast.cli import main
from tests.homes import trained_home


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture
def home():
    return trained_home()


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ROWCAST_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture
def run(monkeypatch, capsys, home, tmp_path):
    """Run a command in this process, in an empty folder, on the trained home."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROWCAST_HOME", str(home))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rowcast", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capsys.readouterr()
        assert "Traceback" not in err + out
        return Outcome(code, out, err)

    return call


@pytest.fixture
def start(home, tmp_path):
    """Start a command as a process of its own."""
    started = []

    def call(*arguments, **environment):
        process = subprocess.Popen(
            [sys.executable, "-m", "rowcast", *map(str, arguments)],
            env={**os.environ, "ROWCAST_HOME": str(home), **environment},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
