"""scikit-learn pipelines, kept by skops.

A skops file is a zip of JSON and arrays that says which classes to make and what to put into
them. It is looked through before skops sees it (``rowcast.predictors.skops``); what it makes is
looked through again, for trees whose nodes would lead out of their arrays. A file is only ever
loaded in a replica.

``ModelSpec.details`` says what goes in: ``frame``, whether as a data frame with the features'
names or as one array of numbers; and ``labels``, the model's own, in its order.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import FailedPrecondition, ModelDamaged
from rowcast.predictors.imported import LibraryPredictor, read_members
from rowcast.predictors.skops import check_archive

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rowcast.core.model import ModelSpec

MODEL = "model.skops"
MOST_OBJECTS = 5_000_000


class SklearnPredictor(LibraryPredictor):
    """See ``rowcast.predictors.Predictor``."""

    def __init__(self, spec: ModelSpec, members: Mapping[str, bytes]) -> None:
        super().__init__(spec, members)
        try:
            self._frame = bool(spec.details["frame"])
            self._model = load_model(members[MODEL])
        except KeyError as missing:
            raise ModelDamaged(f"The model {spec.name!r} lacks {missing}.") from missing

    def answer(self, block: np.ndarray) -> np.ndarray:
        """See ``LibraryPredictor``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rows = self._rows(block)
            try:
                answers = (
                    self._model.predict_proba(rows) if self._classes else self._model.predict(rows)
                )
            except (TypeError, KeyError, AttributeError, IndexError) as error:
                raise ValueError(str(error)) from error
        return np.asarray(answers, np.float64).reshape(len(block), -1)

    def _rows(self, block: np.ndarray) -> Any:
        if not self._frame:
            return block
        import pandas as pd

        columns = {}
        for position, feature in enumerate(self.spec.schema.features):
            cells = self.cells(position, block[:, position], np.nan)
            if self.spec.encoder[position]["as"] == "moment":
                columns[feature.name] = _moments(cells)
            else:
                columns[feature.name] = pd.Series(cells, dtype=cells.dtype)
        return pd.DataFrame(columns)


def _moments(us: np.ndarray) -> Any:
    import pandas as pd

    moments = np.full(len(us), np.datetime64("NaT"), "datetime64[us]")
    known = ~np.isnan(us)
    moments[known] = us[known].astype(np.int64).astype("datetime64[us]")
    return pd.Series(moments.astype("datetime64[ns]"))


def load_model(content: bytes) -> Any:
    """Load a skops file.

    Raises
    ------
    InvalidRequest
        If it holds a type that is not on the list of those that are only data.
    ModelDamaged
        If it is damaged.
    """
    types = check_archive(content)
    try:
        import skops.io
    except ImportError as error:
        raise FailedPrecondition(
            "scikit-learn models need scikit-learn and skops: pip install 'rowcast[sklearn]'."
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = skops.io.loads(content, trusted=sorted(types))
            check_objects(model)
    except ModelDamaged:
        raise
    except Exception as error:  # a damaged file makes skops and scikit-learn raise anything
        raise ModelDamaged(
            f"The skops file cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    return model


def check_objects(model: Any) -> None:
    """See that trees lead nowhere but to their own nodes, and have estimators use one thread.

    Several threads add up a forest's trees in the order in which they finish.
    """
    from scipy.sparse import issparse
    from sklearn.tree._tree import Tree

    for found in objects_of(model):
        kind = type(found).__name__
        if isinstance(found, Tree):
            nodes = found.__getstate__()["nodes"]
            leaf = nodes["left_child"] == -1
            inner = (nodes["left_child"], nodes["right_child"])
            _check_nodes(inner, leaf, nodes["feature"], found.n_features)
        elif kind == "TreePredictor":
            nodes = found.nodes
            children = (nodes["left"].astype(np.int64), nodes["right"].astype(np.int64))
            _check_nodes(children, nodes["is_leaf"] != 0, nodes["feature_idx"], None)
            _check_bitsets(found)
        elif kind in _BINNED:
            _check_binned(found)
        elif issparse(found):
            _check_sparse(found)
        elif type(found).__module__ in _FORESTS:
            _check_width(found)
        if "n_jobs" in getattr(found, "__dict__", {}):
            found.n_jobs = 1


_BINNED = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
_FORESTS = ("sklearn.ensemble._forest", "sklearn.ensemble._gb", "sklearn.tree._classes")


def _check_nodes(
    children: tuple[np.ndarray, np.ndarray],
    leaf: np.ndarray,
    features: np.ndarray,
    n_features: int | None,
) -> None:
    numbers = np.arange(len(leaf))
    right = all(
        ((child > numbers) & (child < len(leaf)))[~leaf].all() for child in map(_signed, children)
    )
    used = _signed(features)[~leaf]
    most = np.inf if n_features is None else n_features
    if not len(leaf) or not right or not ((used >= 0) & (used < most)).all():
        raise ModelDamaged("The skops file holds a tree whose nodes lead out of it.")


def _signed(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(np.int64)


def _check_bitsets(tree: Any) -> None:
    nodes = tree.nodes
    by_set = (nodes["is_categorical"] != 0) & (nodes["is_leaf"] == 0)
    sets = min(len(tree.binned_left_cat_bitsets), len(tree.raw_left_cat_bitsets))
    if (nodes["bitset_idx"].astype(np.int64)[by_set] >= sets).any():
        raise ModelDamaged("The skops file holds a tree whose categories are missing.")


def _check_binned(model: Any) -> None:
    """Its trees do not say how many columns they read; the model does."""
    for round_ in getattr(model, "_predictors", ()):
        for tree in round_:
            used = tree.nodes["feature_idx"][tree.nodes["is_leaf"] == 0]
            if len(used) and used.max() >= model._n_features:
                raise ModelDamaged("The skops file holds a tree that reads columns it has not.")


def _check_width(model: Any) -> None:
    """Its trees do not look at the rows that they are given; the model does."""
    width = getattr(model, "n_features_in_", None)
    own = [model] if hasattr(model, "tree_") else getattr(model, "estimators_", ())
    if any(tree.tree_.n_features != width for tree in np.ravel(np.array(own, object))):
        raise ModelDamaged("The skops file holds a tree that reads columns it has not.")


def _check_sparse(matrix: Any) -> None:
    if hasattr(matrix, "check_format"):
        matrix.check_format(full_check=True)


def objects_of(model: Any) -> Iterator[Any]:
    """Walk everything that a model holds, each object once."""
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, str | bytes | int | float | type(None)):
            continue
        seen.add(id(found))
        if len(seen) > MOST_OBJECTS:
            raise ModelDamaged(f"The skops file holds more than {MOST_OBJECTS:,} objects.")
        yield found
        if isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, list | tuple | set):
            waiting += found
        elif isinstance(found, np.ndarray):
            if found.dtype == object:
                waiting += found.ravel().tolist()
        else:
            waiting += getattr(found, "__dict__", {}).values()


def load_sklearn(folder: Path, spec: ModelSpec) -> SklearnPredictor:
    """Load a model folder whose ``spec`` was verified. Raises ModelDamaged."""
    return SklearnPredictor(spec, read_members(folder, spec))
