"""CatBoost's JSON.

CatBoost sends a value to the right where ``float32(x) > border``; borders are moved to say the
same of doubles. All leaves of one depth of an oblivious tree ask the same question, and a leaf
holds a value per output: the outputs' trees share their nodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import MOST_LEAVES, NAN_LEFT, NAN_RIGHT, Forest, make_forest
from rowcast.scoring.formats.float32 import at_most
from rowcast.scoring.formats.json import items, member, numbers, read_json, whole_number
from rowcast.scoring.formats.numbering import number

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAN_RULES = {"AsIs": NAN_LEFT, "AsFalse": NAN_LEFT, "AsTrue": NAN_RIGHT}
_KINDS = ("float_features", "categorical_features", "text_features", "embedding_features")
_DEEPEST = MOST_LEAVES.bit_length() - 1


class _Trees(NamedTuple):
    """Trees of nodes and leaves, whose leaves have a value per output."""

    node_starts: np.ndarray
    leaves: np.ndarray
    features: np.ndarray
    """int64, for each node: the number of the numeric feature."""
    borders: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    """float64 of shape (n_leaves, outputs)."""


def read_catboost(content: bytes) -> Forest:
    """Read a forest that CatBoost 1 saved as JSON.

    Columns are numbered as CatBoost's features are, by ``flat_feature_index``.

    Raises
    ------
    ModelDamaged
        If it is no such model, if its numbers do not make trees, or if its trees have what
        Rowcast's do not: splits by categorical, text or embedding features.
    """
    model = read_json(content)
    n_columns, columns, rules = _features(member(model, "features_info"))
    scale, bias = _scale_and_bias(model)
    grown = "oblivious_trees" if "oblivious_trees" in model else "trees"
    read = _oblivious if grown == "oblivious_trees" else _grown
    trees = read(items(model, grown), len(bias))
    unknown = (trees.features < 0) | (trees.features >= len(columns))
    if unknown.any() or (columns[trees.features] < 0).any():
        raise ModelDamaged("The forest splits by a feature that it does not list.")
    if np.isnan(trees.borders).any():
        raise ModelDamaged("The forest has a border that is no number.")
    ends = np.cumsum(trees.leaves)
    with np.errstate(over="ignore"):
        values = trees.values * scale
    by_tree = np.split(values, ends[:-1]) if len(ends) else []
    return make_forest(
        n_columns=n_columns,
        outputs=len(bias),
        node_starts=np.repeat(trees.node_starts, len(bias)),
        leaves=np.repeat(trees.leaves, len(bias)),
        columns=columns[trees.features],
        thresholds=at_most(trees.borders),
        missing=rules[trees.features],
        left=trees.left,
        right=trees.right,
        values=np.concatenate([np.zeros(0), *(leaves.T.ravel() for leaves in by_tree)]),
        base=bias,
    )


def _features(info: Any) -> tuple[int, np.ndarray, np.ndarray]:
    """Read the number of columns, and each numeric feature's column and rule for NaN.

    The column is -1 of a feature that is not listed.
    """
    flat = [
        whole_number(feature, "flat_feature_index")
        for kind in _KINDS
        for feature in _listed(info, kind)
    ]
    if sorted(flat) != list(range(len(flat))):
        raise ModelDamaged("The forest does not number its features from 0 on.")
    columns = np.full(len(flat), -1, np.int64)
    rules = np.full(len(flat), NAN_LEFT, np.int64)
    for feature in _listed(info, "float_features"):
        place = whole_number(feature, "feature_index", most=len(flat) - 1)
        treatment = member(feature, "nan_value_treatment")
        if not isinstance(treatment, str) or treatment not in _NAN_RULES or columns[place] >= 0:
            raise ModelDamaged(f"The forest does not say what NaN is to feature {place}.")
        columns[place] = whole_number(feature, "flat_feature_index")
        rules[place] = _NAN_RULES[treatment]
    return len(flat), columns, rules


def _listed(info: Any, kind: str) -> list[Any]:
    return items(info, kind) if isinstance(info, dict) and kind in info else []


def _scale_and_bias(model: Any) -> tuple[float, np.ndarray]:
    scale = numbers(float, [[member(model, "scale_and_bias", 0)]], 0)
    bias = numbers(float, model, "scale_and_bias", 1)
    if not np.isfinite(scale).all() or len(bias) == 0:
        raise ModelDamaged("The forest has a scale that is no number, or no bias.")
    return float(scale[0]), bias


def _oblivious(trees: list[Any], outputs: int) -> _Trees:
    """Write each level's question down once for each node of the level."""
    parts = [
        _levels(tree, items(found, "splits"), numbers(float, found, "leaf_values"), outputs)
        for tree, found in enumerate(trees)
    ]
    return _together(parts, outputs)


def _levels(tree: int, splits: list[Any], values: np.ndarray, outputs: int) -> _Trees:
    """Number nodes from the top, level by level.

    The last split is asked first: it is the highest bit of a leaf's number, so that leaves keep
    their order.
    """
    depth = len(splits)
    if depth > _DEEPEST or len(values) != outputs << depth:
        raise ModelDamaged(
            f"Tree {tree} of the forest has {len(values)} values for {depth} splits and {outputs} "
            "outputs."
        )
    features, borders = _splits(tree, splits)
    level = np.repeat(np.arange(depth)[::-1], 1 << np.arange(depth))
    child = 2 * np.arange(len(level)) + 1
    inner = len(level)
    left = np.where(child < inner, child, ~(child - inner))
    right = np.where(child + 1 < inner, child + 1, ~(child + 1 - inner))
    leaves = np.array([1 << depth])
    by_leaf = values.reshape(-1, outputs)
    return _Trees(
        np.zeros(1, np.int64), leaves, features[level], borders[level], left, right, by_leaf
    )


def _splits(tree: int, splits: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Read the features and borders of numeric splits."""
    for split in splits:
        if (kind := member(split, "split_type")) != "FloatFeature":
            raise ModelDamaged(
                f"Tree {tree} was trained with splits of the kind {str(kind)[:20]!r}, which "
                "Rowcast's forests do not have. Train it again with numbers in place of categories."
            )
    features = [whole_number(split, "float_feature_index") for split in splits]
    borders = numbers(float, [[member(split, "border") for split in splits]], 0)
    with np.errstate(over="ignore"):
        return np.array(features, np.int64), borders.astype(np.float32)


def _grown(trees: list[Any], outputs: int) -> _Trees:
    """Read trees whose leaves were split one by one, each a nest of splits."""
    return _together([_unnested(t, found, outputs) for t, found in enumerate(trees)], outputs)


def _unnested(tree: int, root: Any, outputs: int) -> _Trees:
    entries = list(_walk(root))
    children = np.array([child for _, child in entries], np.int64).reshape(-1, 2)
    numbered = number(np.array([len(entries)]), children[:, 0], children[:, 1])
    nodes = [entries[place][0] for place in numbered.nodes.tolist()]
    leaves = [entries[place][0] for place in numbered.places.tolist()]
    features, borders = _splits(tree, [member(node, "split") for node in nodes])
    values = [_leaf(tree, leaf, outputs) for leaf in leaves]
    return _Trees(
        numbered.node_starts,
        numbered.leaves,
        features,
        borders,
        numbered.left,
        numbered.right,
        np.array(values).reshape(-1, outputs),
    )


def _walk(root: Any) -> Iterator[tuple[Any, tuple[int, int]]]:
    """List a nest's splits and leaves, each with its children's places in the list."""
    waiting, listed = [root], 1
    for found in waiting:
        if isinstance(found, dict) and "split" in found:
            waiting += [member(found, "left"), member(found, "right")]
            yield found, (listed, listed + 1)
            listed += 2
        else:
            yield found, (-1, -1)


def _leaf(tree: int, leaf: Any, outputs: int) -> np.ndarray:
    value = member(leaf, "value")
    found = numbers(float, [value if isinstance(value, list) else [value]], 0)
    if len(found) != outputs:
        raise ModelDamaged(
            f"Tree {tree} of the forest has a leaf of {len(found)} values for {outputs} outputs."
        )
    return found


def _together(parts: list[_Trees], outputs: int) -> _Trees:
    """Lay trees end to end."""
    whole = np.zeros(0, np.int64)
    none = _Trees(
        whole, whole, whole, np.zeros(0, np.float32), whole, whole, np.zeros((0, outputs))
    )
    joined = _Trees(*(np.concatenate(arrays) for arrays in zip(none, *parts, strict=True)))
    nodes = joined.leaves - 1
    return joined._replace(node_starts=np.cumsum(nodes) - nodes)
