"""Libraries are kept from finding others, and find them again afterwards."""

import importlib
import subprocess
import sys

import pytest

from rowcast.engines.absent import absent


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "seldom").mkdir()
    (tmp_path / "seldom" / "__init__.py").write_text("")
    (tmp_path / "seldom" / "inner.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield "seldom"
    for name in [name for name in sys.modules if name.partition(".")[0] == "seldom"]:
        del sys.modules[name]


def test_what_is_absent_is_there_again_afterwards(package):
    with absent(package), pytest.raises(ModuleNotFoundError, match="No module named 'seldom'"):
        importlib.import_module("seldom.inner")
    assert importlib.import_module("seldom.inner").__name__ == "seldom.inner"


def test_what_is_imported_already_stays(package):
    importlib.import_module(package)
    with absent(package):
        importlib.import_module("seldom.inner")


def test_a_replica_starts_without_what_scoring_does_not_need():
    program = """
import sys
from rowcast.engines import replica
replica._warm_up("rowcast.jobs.warm_up:warm_up")
own = {name.partition(".")[0] for name in sys.modules}
print(*sorted(own & {"pandas", "scipy", "cffi", "yaml", "lightgbm", "catboost", "xgboost", "duckdb",
                     "sqlglot", "sqlalchemy", "pydantic", "sklearn", "onnxruntime", "obstore"}))
import pandas
assert pandas.DataFrame({"a": [1]}).a.sum() == 1
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (ended.stdout.strip(), ended.returncode) == ("", 0), ended.stderr
