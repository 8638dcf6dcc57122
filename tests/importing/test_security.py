"""Files that would run code, fill the disk or crash a parser are refused before they can."""

import ast
import gzip
import io
import json
import os
import pickle
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.tree import DecisionTreeRegressor

import rowcast
from rowcast.errors import InvalidRequest, ModelDamaged
from rowcast.importing.formats import describe
from rowcast.predictors.sklearn import load_model
from rowcast.predictors.skops import TYPES, check_archive
from tests.importing.makers import (
    booster,
    imported,
    linear_classifier,
    matrix,
    numbers,
    regressor_of_columns,
    save,
)


class Canary:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def torch_like(content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", content)
    return file.getvalue()


PACKINGS = {
    "plain": bytes,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "torch": torch_like,
    "named as schema": lambda content: torch_like(content) + b"schema.json",
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    "name", ["m.lgb.txt", "m.onnx", "m.skops", "m.json", "m.ubj", "m.cbm", "m.pkl"]
)
def test_a_pickle_under_any_name_is_never_opened(tmp_path, name, protocol, packing):
    canary = tmp_path / "canary"
    content = PACKINGS[packing](pickle.dumps(Canary(str(canary)), protocol))
    path = save(tmp_path / name, content)
    for format_ in ("auto", "skops", "onnx", "lightgbm"):
        with pytest.raises(InvalidRequest):
            imported(path, "y", format=format_)
    assert not canary.exists()
    pickle.loads(pickle.dumps(Canary(str(canary)), protocol))  # the canary does sing
    assert canary.exists()


def skops_bytes(model):
    return skops.io.dumps(model)


def small():
    x = np.nan_to_num(matrix(numbers()))[:, :1] / 50
    return LogisticRegression().fit(x, numbers()["plan"].to_numpy())


def reschemed(content, change):
    """Change the JSON of a skops file."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            inner = old.read(entry)
            if entry.filename == "schema.json":
                schema = json.loads(inner)
                change(schema)
                inner = json.dumps(schema).encode()
            new.writestr(entry.filename, inner)
    return file.getvalue()


SNEAKED = {
    "os.system": "FunctionNode",
    "builtins.eval": "TypeNode",
    "subprocess.Popen": "ObjectNode",
    "functools.partial": "PartialNode",
    "operator.methodcaller": "OperatorFuncNode",
    "builtins.list": "MethodNode",
    "numpy.load": "FunctionNode",
    "sklearn.datasets.fetch_openml": "TypeNode",
}


@pytest.mark.parametrize("named", SNEAKED)
def test_a_type_that_is_not_on_the_list_is_named(tmp_path, named):
    module, _, name = named.rpartition(".")
    node = {"__class__": name, "__module__": module, "__loader__": SNEAKED[named]}

    def change(schema):
        schema["content"]["content"]["sneaked"] = {**node, "content": {}, "__id__": 1}

    path = save(tmp_path / "m.skops", reschemed(skops_bytes(small()), change))
    with pytest.raises(InvalidRequest, match=named.replace(".", r"\.")):
        imported(path, "plan")


def test_estimators_whose_code_trusts_its_arrays_are_refused():
    neighbours = KNeighborsClassifier(2).fit([[0.0], [1.0], [2.0]], [0, 1, 0])
    with pytest.raises(InvalidRequest, match=r"sklearn\.neighbors"):
        load_model(skops_bytes(neighbours))


def test_a_function_of_the_users_own_is_refused(tmp_path):
    model = make_pipeline(FunctionTransformer(np.save), LogisticRegression())
    with pytest.raises(InvalidRequest, match=r"numpy\.save"):
        load_model(skops_bytes(model))


def test_what_is_allowed_exists_and_is_a_class_of_that_module():
    """A name that scikit-learn has dropped or moved would be refused when it need not be."""
    from importlib import import_module

    found = [
        (module, name)
        for module, names in TYPES.items()
        if module.startswith("sklearn")
        for name in names.split()
    ]
    assert len(found) > 100
    missing = [pair for pair in found if not hasattr(import_module(pair[0]), pair[1])]
    assert missing == []


def archive(*entries, **options):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as new:
        for name, content in entries:
            new.writestr(name, content)
    return file.getvalue()


SCHEMA = ("schema.json", b"{}")


def link():
    entry = zipfile.ZipInfo("1.npy")
    entry.external_attr = 0o120777 << 16
    return entry


@pytest.mark.parametrize(
    "content",
    [
        archive(SCHEMA, ("../1.npy", b"")),
        archive(SCHEMA, ("/etc/1.npy", b"")),
        archive(SCHEMA, ("a/1.npy", b"")),
        archive(SCHEMA, ("1.pkl", b"")),
        archive(SCHEMA, (link(), b"/etc/passwd")),
        archive(SCHEMA, ("1.npy", b"x"), compression=zipfile.ZIP_LZMA),
        archive(("1.npy", b"x")),
        archive(("schema.json", b"[" * 100_000)),
        archive(("schema.json", b"not json")),
        archive(SCHEMA)[:-10],
    ],
)
def test_an_archive_that_skops_would_not_write_is_refused(content):
    with pytest.raises(ModelDamaged):
        check_archive(content)


def test_an_archive_that_unpacks_to_too_much_is_refused():
    content = bytearray(archive(SCHEMA, ("1.npy", b"x" * 1000)))
    sizes = content.rindex(b"PK\x01\x02", 0, len(content))
    content[sizes + 24 : sizes + 28] = (0xFFFFFFF0).to_bytes(4, "little")
    with pytest.raises(ModelDamaged, match="unpacks to"):
        check_archive(bytes(content))


def damaged(content, rng):
    wrong = bytearray(content)
    if rng.random() < 0.5:
        for _ in range(rng.integers(1, 4)):
            wrong[rng.integers(len(wrong))] ^= 1 << rng.integers(8)
        return bytes(wrong)
    return bytes(wrong[: rng.integers(len(wrong))])


@pytest.mark.parametrize("kind", ["skops", "tree", "lightgbm"])
def test_damage_is_an_error_or_changes_nothing_that_crashes(tmp_path, kind):
    contents = {
        "skops": lambda: skops_bytes(small()),
        "tree": lambda: skops_bytes(
            DecisionTreeRegressor(max_depth=4).fit(matrix(numbers()), numbers()["price"].to_numpy())
        ),
        "lightgbm": lambda: booster("binary").model_to_string(num_iteration=2).encode(),
    }
    content = contents[kind]()
    rng = np.random.default_rng(5)
    refused = 0
    for number in range(60):
        path = save(tmp_path / f"{number}", damaged(content, rng))
        try:
            imported(path, "y", schema=None)
        except InvalidRequest:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("library", ["xgboost", "catboost"])
def test_damage_to_other_trees_is_an_error(tmp_path, library):
    """Without the library's own look at them, which has a process of its own for its crashes."""
    module = pytest.importorskip(library)
    x, price = matrix(numbers()), numbers()["price"].to_numpy()
    if library == "xgboost":
        trained = module.train({"max_depth": 3}, module.DMatrix(x, price), 3)
        trained.save_model(tmp_path / "m.ubj")
        content = (tmp_path / "m.ubj").read_bytes()
    else:
        settings = {"iterations": 3, "depth": 3, "verbose": False, "allow_writing_files": False}
        trained = module.CatBoostRegressor(**settings).fit(x, price)
        trained.save_model(str(tmp_path / "m.json"), format="json")
        content = (tmp_path / "m.json").read_bytes()
    assert describe(content, "auto", "m").format == library
    rng = np.random.default_rng(6)
    refused = 0
    for _ in range(200):
        try:
            describe(damaged(content, rng), "auto", "m")
        except (InvalidRequest, ModelDamaged):
            refused += 1
    assert refused > 90


def nodes_of(content, dtype_size=None):
    """Names of the arrays in a skops file that hold tree nodes."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        return [
            entry.filename
            for entry in old.infolist()
            if entry.filename.endswith(".npy") and b"left" in old.read(entry)[:400]
        ]


def with_nodes(content, change):
    names = nodes_of(content)
    assert names
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(file, "w") as new:
        for entry in old.infolist():
            inner = old.read(entry)
            if entry.filename == names[0]:
                nodes = np.load(io.BytesIO(inner))
                change(nodes)
                buffer = io.BytesIO()
                np.save(buffer, nodes)
                inner = buffer.getvalue()
            new.writestr(entry.filename, inner)
    return file.getvalue()


def far_child(nodes):
    nodes[nodes.dtype.names[0] if "left" not in nodes.dtype.names else "left"][0] = 1_000_000


def own_parent(nodes):
    nodes[nodes.dtype.names[0] if "left" not in nodes.dtype.names else "left"][0] = 0


def far_column(nodes):
    nodes["feature" if "feature" in nodes.dtype.names else "feature_idx"][0] = 77


@pytest.mark.parametrize("change", [far_child, own_parent, far_column])
@pytest.mark.parametrize("model", [DecisionTreeRegressor, HistGradientBoostingRegressor])
def test_trees_that_lead_out_of_their_arrays_are_refused(model, change):
    content = skops_bytes(model().fit(matrix(numbers()), numbers()["price"].to_numpy()))
    load_model(content)
    with pytest.raises(ModelDamaged):
        load_model(with_nodes(content, change))


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "m.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 30) + 1)
    with pytest.raises(InvalidRequest, match="at most"):
        imported(path, "y")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 100, b"<html></html>", b"{}"])
def test_anything_else_is_no_model(tmp_path, content):
    with pytest.raises(InvalidRequest):
        imported(save(tmp_path / "m", content), "y")


def test_a_format_that_the_file_does_not_have_is_refused(tmp_path):
    path = save(tmp_path / "m", regressor_of_columns())
    with pytest.raises(InvalidRequest, match="not a model of format 'skops' but of 'onnx'"):
        imported(path, "y", format="skops")
    with pytest.raises(InvalidRequest, match="'pmml' is no format"):
        imported(path, "y", format="pmml")


def test_damaged_onnx_is_refused(tmp_path):
    content = linear_classifier(("a", "b"))
    for cut in range(4, len(content), max(1, len(content) // 20)):
        with pytest.raises(InvalidRequest):
            imported(save(tmp_path / "m", content[:cut]), "y")


RUNS_CODE = {"pickle", "cPickle", "joblib", "cloudpickle", "dill", "marshal", "shelve"}
READS_MODELS = ("predictors", "importing", "exporting", "scoring", "storage", "registry", "scorer")


def test_nothing_that_reads_models_knows_pickle():
    root = Path(rowcast.__file__).parent
    files = [f for part in READS_MODELS for f in (root / part).rglob("*.py")]
    files += [root / "scorer.py"]
    assert len(files) > 40
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not RUNS_CODE & {name.split(".")[0] for name in names}, file
