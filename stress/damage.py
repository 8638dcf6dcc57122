"""R8: model folders with flipped bits, cut members and foreign files; nothing wrong comes out."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

import rowcast
from rowcast.errors import ModelDamaged
from rowcast.predictors import load_predictor
from rowcast.storage.model_folder import folder_digest, read_member, read_spec
from stress.harness import PARENT, Server, digests, output_folder, request
from stress.runs import SMALL_PARTS, Report

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rowcast.core.model import ModelSpec

MORE_MODELS = {"stress-value": "amount", "stress-kind": "kind"}
"""Models of the other types of prediction: name to target."""


NEWLINES = pcsv.ParseOptions(newlines_in_values=True)


@dataclass(frozen=True)
class Damage:
    """Other content for one file of a model folder."""

    file: str
    content: bytes
    what: str


def with_more_models(home: Path) -> Path:
    """Add a model for values and one for several classes; the same home."""
    for name, target in MORE_MODELS.items():
        rowcast.train(str(home / "training.csv"), target=target, name=name, home=home, budget_s=10)
    return home


def with_imported_models(home: Path) -> Path:
    """Add models that other libraries wrote, of each format that is read; the same home."""
    table = pcsv.read_csv(home / "training.csv", parse_options=NEWLINES)
    amounts = table["amount"].to_numpy().reshape(-1, 1)
    kinds = np.array(table["kind"].to_pylist(), dtype=object).reshape(-1, 1)
    yes = np.array(table["label"].to_pylist()) == "yes"
    example = home / "example.csv"
    files = {
        "boosted.lgb.txt": (["amount"], _lightgbm_file(amounts, yes)),
        "xgboost.ubj": (["amount"], _xgboost_file(amounts, yes)),
        "catboost.cbm": (["amount"], _catboost_file(amounts, yes, home / "catboost.tmp")),
        "linear.onnx": (["amount"], _onnx_file()),
        "pipeline.skops": (["amount", "kind"], _skops_file(amounts, kinds, yes)),
    }
    for name, (features, content) in files.items():
        pcsv.write_csv(table.slice(0, 300).select(features), example)
        (home / name).write_bytes(content)
        rowcast.import_model(
            home / name, name=name.partition(".")[0], target="label", example=example, home=home
        )
    return home


def _lightgbm_file(amounts: np.ndarray, yes: np.ndarray) -> bytes:
    from rowcast.training.families.lightgbm import import_lightgbm

    lightgbm = import_lightgbm()
    data = lightgbm.Dataset(amounts, yes, feature_name=["amount"])
    settings = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    text: str = lightgbm.train(settings, data, 20).model_to_string()
    return text.encode()


def _xgboost_file(amounts: np.ndarray, yes: np.ndarray) -> bytes:
    import xgboost

    data = xgboost.DMatrix(amounts, yes, feature_names=["amount"])
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, data, 20)
    return bytes(booster.save_raw("ubj"))


def _catboost_file(amounts: np.ndarray, yes: np.ndarray, path: Path) -> bytes:
    import catboost

    pool = catboost.Pool(amounts, yes.astype(int), feature_names=["amount"])
    settings = {"iterations": 20, "logging_level": "Silent", "allow_writing_files": False}
    catboost.CatBoostClassifier(**settings, thread_count=1).fit(pool).save_model(str(path))
    return path.read_bytes()


def _onnx_file() -> bytes:
    """A value of one column, as the graph of a regression is."""
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Mul", ["amount", "slope"], ["scaled"]),
        helper.make_node("Sigmoid", ["scaled"], ["score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("amount", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])],
        [helper.make_tensor("slope", TensorProto.FLOAT, [1], [0.003])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def _skops_file(amounts: np.ndarray, kinds: np.ndarray, yes: np.ndarray) -> bytes:
    import pandas as pd
    import skops.io
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encode = ColumnTransformer(
        [("n", StandardScaler(), ["amount"]), ("c", OneHotEncoder(), ["kind"])]
    )
    pipeline = make_pipeline(encode, LogisticRegression())
    frame = pd.DataFrame({"amount": amounts[:, 0], "kind": kinds[:, 0]})
    content: bytes = skops.io.dumps(pipeline.fit(frame, yes.astype(int)))
    return content


def bits_and_cuts(files: dict[str, bytes], count: int, draw: random.Random) -> Iterator[Damage]:
    """Flip ``count`` single bits and cut ``count`` times, taking the files in turn."""
    names = sorted(files)
    for number in range(count):
        name = names[number % len(names)]
        content = bytearray(files[name])
        place = draw.randrange(8 * len(content))
        content[place // 8] ^= 1 << place % 8
        yield Damage(name, bytes(content), f"bit {place} flipped")
    for number in range(count):
        name = names[number % len(names)]
        length = draw.randrange(len(files[name]))
        yield Damage(name, files[name][:length], f"cut to {length} bytes")


def swaps_and_pickles(files: dict[str, bytes]) -> Iterator[Damage]:
    """Put every other file, and a pickle, in the place of each file."""
    for name in sorted(files):
        for other, content in files.items():
            if content != files[name]:
                yield Damage(name, content, f"replaced by {other}")
        yield Damage(name, pickle.dumps({"a": 1}), "replaced by a pickle")


def damaged_models(home: Path, count: int, *, seed: int = 0) -> Report:
    """Damage every file of every model that is stored in a home, in this process.

    A damaged model may be refused. If it is not, because the file plays no part in predicting,
    the predictions must be the same to the bit, and whoever reads that file must be refused.
    """
    report = Report("R8 damaged models")
    tried = refused = members = 0
    folders = sorted(path.parent for path in (home / "models").glob("*/*/model.json"))
    for folder in folders:
        model = f"{folder.parent.name}@{folder.name}"
        _check_place(home, model, folder)
        spec = read_spec(folder, folder_digest(folder))
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
        members += len(files)
        expected = _answers(home, model)
        draw = random.Random(f"{seed} {folder.parent.name}")
        for damage in (*bits_and_cuts(files, count, draw), *swaps_and_pickles(files)):
            tried += 1
            (folder / damage.file).write_bytes(damage.content)
            try:
                if _answers(home, model) != expected:
                    report.problems.append(f"{model} {damage.file} {damage.what}: other answers")
                elif not _unread(folder, spec, damage.file):
                    report.problems.append(f"{model} {damage.file} {damage.what}: was read")
            except ModelDamaged:
                refused += 1
            finally:
                (folder / damage.file).write_bytes(files[damage.file])
        if _answers(home, model) != expected:
            report.problems.append(f"{model}: other answers once it is whole again")
    report.figures = {
        "models": len(folders),
        "files": members,
        "bit flips": count * len(folders),
        "truncations": count * len(folders),
        "swapped files and pickles": tried - 2 * count * len(folders),
        "refused": refused,
        "same answers, the file refused to its readers": tried - refused - len(report.problems),
        "wrong answers or accepted": len(report.problems),
    }
    return report


def _check_place(home: Path, model: str, folder: Path) -> None:
    """See that the home's store has the model there: a copied home still names its original's."""
    registered = rowcast.load(model, home=home).describe()["folder"]
    if registered != str(folder):
        raise RuntimeError(f"{model} is {registered}, not {folder}; do not copy a home for this")


def _answers(home: Path, model: str) -> bytes:
    """Predict the training rows, from files that are read anew."""
    load_predictor.cache_clear()
    table = rowcast.load(model, home=home).predict(home / "training.csv")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    return bytes(sink.getvalue())


def _unread(folder: Path, spec: ModelSpec, name: str) -> bool:
    """Whether a damaged file is one that predicting does not read, and its readers refuse it."""
    if name not in spec.members:
        return False
    try:
        read_member(folder, spec, name)
    except ModelDamaged:
        return True
    return False


def damaged_on_a_server(
    home: Path, count: int, *, settings: dict[str, str] = SMALL_PARTS, seed: int = 0
) -> Report:
    """Damage the model that a running server is asked to score with, before and after it is warm.

    A job on a damaged model fails and names the damage, or has the right bytes because a replica
    had loaded the model while it was whole. The server goes on.
    """
    report = Report("R8 damaged models on a server")
    folder = max((home / "models" / "stress").iterdir())
    _check_place(home, "stress", folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    draw = random.Random(seed)
    damages = [*bits_and_cuts(files, count, draw)]
    draw.shuffle(damages)
    refused = right = 0
    with Server(home, settings) as server:
        process = server.process
        cold, warm = damages[: len(damages) // 2], damages[len(damages) // 2 :]
        for damage in cold:
            refused += _job_on(server, home, folder, damage, files, None, report)
        reference = server.wait(server.create(request("whole"))["name"])
        if reference["state"] != "JOB_STATE_SUCCEEDED":
            raise RuntimeError(reference)
        expected = digests(output_folder(home, reference))
        for damage in warm:
            failed = _job_on(server, home, folder, damage, files, expected, report)
            refused, right = refused + failed, right + (not failed)
        if server.process is not process or process is None or process.poll() is not None:
            report.problems.append("the server ended")
    report.figures = {
        "bit flips": count,
        "truncations": count,
        "refused": refused,
        "right to the byte": right,
        "problems": len(report.problems),
    }
    return report


def _job_on(
    server: Server,
    home: Path,
    folder: Path,
    damage: Damage,
    files: dict[str, bytes],
    expected: dict[str, str] | None,
    report: Report,
) -> bool:
    """Run a job while a file is damaged; whether it was refused."""
    name = f"{damage.file} {damage.what}"
    (folder / damage.file).write_bytes(damage.content)
    try:
        answer = server.call("POST", f"{PARENT}/batchPredictionJobs", json=request(name[:128]))
        if answer.is_success:
            job = server.wait(answer.json()["name"])
            error = job.get("error", {})
        else:
            job, error = {"state": "refused"}, answer.json()["error"]
    finally:
        (folder / damage.file).write_bytes(files[damage.file])
    if job["state"] == "JOB_STATE_SUCCEEDED":
        if expected is None or digests(output_folder(home, job)) != expected:
            report.problems.append(f"{name}: answered from a damaged model")
        return False
    if damage.file not in error.get("message", ""):
        report.problems.append(f"{name}: not named in {job} {error}")
    if not server.call("GET", "/healthz").is_success:
        report.problems.append(f"{name}: the server no longer answers")
    return True
