"""Train, save, load in a process that knows nothing but the folder: the same bits."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pyarrow.csv as pcsv
import pytest

import rowcast
from rowcast.storage.model_folder import write_model
from tests.tables import TARGETS, shop, shop_model, training_columns

PREDICT_ELSEWHERE = """
import sys
import pyarrow as pa
import rowcast
home, name, source, answers = sys.argv[1:]
table = rowcast.load(name, home=home).predict(source)
with pa.OSFile(answers, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
    writer.write_table(table)
trainers = {"lightgbm", "catboost", "xgboost", "optuna", "sklearn"}
print(sorted(trainers & sys.modules.keys()))
"""


@pytest.mark.parametrize("kind", list(TARGETS))
def test_a_fresh_process_predicts_the_same_bits_without_any_trainer(tmp_path, kind):
    rows = shop(400, seed=9).drop_columns(list(TARGETS.values()))
    source, answers = tmp_path / "rows.csv", tmp_path / "answers.arrow"
    pcsv.write_csv(rows, source)
    model = rowcast.train(
        training_columns(kind, shop()), target=TARGETS[kind], name=kind, home=tmp_path, budget_s=10
    )
    expected = model.predict(source)
    command = [sys.executable, "-c", PREDICT_ELSEWHERE, str(tmp_path), kind, source, answers]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert loaded.split("\n")[-2] == "[]"
    with pa.OSFile(str(answers)) as file:
        found = pa.ipc.open_file(file).read_all()
    assert found.schema == expected.schema
    assert found["error"].null_count == len(found) == 400
    for name in expected.column_names:
        assert bits(found[name]) == bits(expected[name])


@pytest.mark.parametrize("kind", list(TARGETS))
def test_saving_a_model_twice_writes_the_same_bytes(tmp_path, kind):
    model = shop_model(kind)
    for name in ("one", "two"):
        write_model(tmp_path / name, model.spec, model.members)
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one == two
    assert set(model.members) < set(one)


def bits(column: pa.ChunkedArray) -> bytes:
    if pa.types.is_floating(column.type):
        return column.to_numpy().tobytes()
    return str(column.to_pylist()).encode()
