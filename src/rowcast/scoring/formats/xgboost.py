"""XGBoost's JSON and UBJSON.

XGBoost goes left where ``float32(x) < threshold``, and right where that number without its fraction
is one of the node's categories; thresholds and sets say the same of doubles. It adds up in float32
and we in double, so margins agree to float32's precision and leaves exactly.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import (
    MOST_COLUMNS,
    NAN_LEFT,
    NAN_RIGHT,
    SET_NAN_LEFT,
    Forest,
    make_forest,
)
from rowcast.scoring.formats.float32 import below
from rowcast.scoring.formats.json import items, member, numbers, read_json, whole_number
from rowcast.scoring.formats.numbering import number
from rowcast.scoring.formats.ubjson import read_ubjson

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION = 3
_MOST_CATEGORIES = 1 << 24
"""Numbers from here on are no categories to XGBoost, and go left."""

_ENTRIES: dict[str, type[int | float]] = {
    "left_children": int,
    "right_children": int,
    "default_left": int,
    "split_type": int,
    "split_indices": int,
    "split_conditions": float,
}
"""What a tree says of each of its nodes and leaves."""


def _logit(share: np.ndarray) -> np.ndarray:
    return -np.log(1.0 / share - 1.0)


_BASES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    **dict.fromkeys(("reg:logistic", "binary:logistic"), _logit),
    **dict.fromkeys(
        ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox", "survival:aft"), np.log
    ),
    **dict.fromkeys(
        (
            "reg:squarederror",
            "reg:squaredlogerror",
            "reg:absoluteerror",
            "reg:pseudohubererror",
            "reg:quantileerror",
            "binary:logitraw",
            "binary:hinge",
            "multi:softmax",
            "multi:softprob",
            "rank:ndcg",
            "rank:map",
            "rank:pairwise",
        ),
        np.asarray,
    ),
}
"""For each objective, what turns its base score into a margin."""


def read_xgboost(content: bytes) -> Forest:
    """Read a forest that XGBoost 3 saved, in JSON or UBJSON.

    All trees are read, also those after the best iteration of early stopping.

    Raises
    ------
    ModelDamaged
        If it is no such model, if its numbers do not make trees, or if it has what Rowcast's
        forests do not: a linear booster, leaves of several outputs.
    """
    second = content[1:].lstrip()[:1]
    model = read_json(content) if second == b'"' else read_ubjson(content)
    version = items(model, "version")
    if not version or version[0] != _VERSION:
        raise ModelDamaged(
            f"The forest was saved by XGBoost {str(version)[:40]}; this release reads version 3. "
            "Load it there and save it again."
        )
    learner = member(model, "learner")
    booster, weights = _booster(learner)
    n_columns = whole_number(
        learner, "learner_model_param", "num_feature", least=1, most=MOST_COLUMNS - 1
    )
    base = _base(learner)
    trees = items(booster, "trees")
    _check_leaves(trees)
    owners = numbers(int, booster, "tree_info")
    order = _in_rounds(owners, len(trees), len(base))
    drops = np.ones(len(trees)) if weights is None else weights
    if len(drops) != len(trees):
        raise ModelDamaged(f"The forest has {len(drops)} weights for {len(trees)} trees.")
    return _read_trees([trees[tree] for tree in order], drops[order], n_columns, base)


def _booster(learner: Any) -> tuple[Any, np.ndarray | None]:
    """Find the model of trees, and what DART multiplies each by."""
    name = member(learner, "gradient_booster", "name")
    if name == "gbtree":
        return member(learner, "gradient_booster", "model"), None
    if name == "dart":
        weights = numbers(float, learner, "gradient_booster", "weight_drop")
        return member(learner, "gradient_booster", "gbtree", "model"), weights
    raise _unsupported("The forest", f"the booster {str(name)[:20]!r}")


def _unsupported(what: str, feature: str) -> ModelDamaged:
    return ModelDamaged(
        f"{what} was trained with {feature}, which Rowcast's forests do not have. Train it again "
        "without."
    )


def _base(learner: Any) -> np.ndarray:
    """Read what sums start with, one number per output."""
    objective = member(learner, "objective", "name")
    if not isinstance(objective, str) or objective not in _BASES:
        raise _unsupported("The forest", f"the objective {str(objective)[:40]!r}")
    parameters = member(learner, "learner_model_param")
    classes = whole_number(parameters, "num_class", most=1 << 20)
    targets = whole_number(parameters, "num_target", least=1, most=1 << 20)
    written = member(parameters, "base_score")
    try:
        scores = json.loads(written) if isinstance(written, str) else written
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"The forest has base_score={written[:40]!r}.") from error
    scores = scores if isinstance(scores, list) else [scores]
    with np.errstate(all="ignore"):
        single = numbers(float, {"base_score": scores}, "base_score").astype(np.float32)
        base = _BASES[objective](single.astype(np.float64))
    outputs = max(classes, targets, 1)
    if len(base) not in (1, outputs):
        raise ModelDamaged(f"The forest has {len(base)} base scores for {outputs} outputs.")
    return np.asarray(np.broadcast_to(base, outputs))


def _in_rounds(owners: np.ndarray, n_trees: int, outputs: int) -> np.ndarray:
    """Order the trees so that outputs take turns, and each output's trees stay in order."""
    if len(owners) != n_trees or ((owners < 0) | (owners >= outputs)).any():
        raise ModelDamaged(f"The forest does not say which of {outputs} outputs a tree adds to.")
    if (np.bincount(owners, minlength=outputs) != n_trees // outputs).any():
        raise ModelDamaged(f"The forest's {n_trees} trees are not the same number per output.")
    return np.argsort(owners, kind="stable").reshape(outputs, -1).T.ravel()


def _check_leaves(trees: list[Any]) -> None:
    for tree, found in enumerate(trees):
        if whole_number(found, "tree_param", "size_leaf_vector", least=0) > 1:
            raise _unsupported(f"Tree {tree}", "leaves of several outputs")


def _read_trees(trees: list[Any], weights: np.ndarray, n_columns: int, base: np.ndarray) -> Forest:
    entries, sizes = _read_entries(trees)
    numbered = number(sizes, entries["left_children"], entries["right_children"])
    with np.errstate(over="ignore"):
        conditions = entries["split_conditions"].astype(np.float32)
    sets, set_starts, set_edges = _read_sets(trees, sizes)
    limits, own_set = conditions[numbered.nodes], sets[numbered.nodes]
    in_set = own_set >= 0
    if (in_set != (entries["split_type"][numbered.nodes] != 0)).any():
        raise ModelDamaged("The forest has a categorical split without categories.")
    if (np.isnan(limits) & ~in_set).any():
        raise ModelDamaged("The forest has a split at a threshold that is no number.")
    never = ~in_set & np.isneginf(limits)
    swapped = in_set | never
    nan_left = entries["default_left"][numbered.nodes] != 0
    nan_rule = np.where(nan_left ^ swapped, NAN_LEFT, NAN_RIGHT)
    thresholds = np.where(never, np.inf, below(limits))
    return make_forest(
        n_columns=n_columns,
        outputs=len(base),
        node_starts=numbered.node_starts,
        leaves=numbered.leaves,
        columns=entries["split_indices"][numbered.nodes],
        thresholds=np.where(in_set, own_set, thresholds),
        missing=np.where(in_set, SET_NAN_LEFT + nan_rule, nan_rule),
        left=np.where(swapped, numbered.right, numbered.left),
        right=np.where(swapped, numbered.left, numbered.right),
        values=conditions[numbered.places] * np.repeat(weights, numbered.leaves),
        base=base,
        set_starts=set_starts,
        set_edges=set_edges,
    )


def _read_entries(trees: list[Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Read the entries of all trees, end to end, and how many each tree has."""
    read: dict[str, np.ndarray] = {}
    sizes = np.array([len(numbers(int, tree, "left_children")) for tree in trees], np.int64)
    if (sizes == 0).any():
        raise ModelDamaged(f"Tree {np.argmax(sizes == 0)} of the forest is empty.")
    for key, kind in _ENTRIES.items():
        parts = [numbers(kind, tree, key) for tree in trees]
        if [len(part) for part in parts] != sizes.tolist():
            raise ModelDamaged(f"A tree of the forest has too few, or too many, {key}.")
        read[key] = np.concatenate([np.zeros(0, np.int64 if kind is int else np.float64), *parts])
    return read, sizes


def _read_sets(trees: list[Any], sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the categories that go right: each entry's set, or -1, and all sets as edges."""
    sets = np.full(sizes.sum(), -1, np.int64)
    edges = [np.zeros(0)]
    for first, size, tree in zip(np.cumsum(sizes) - sizes, sizes, trees, strict=True):
        nodes, starts, counts, found = (
            numbers(int, tree, f"categories{part}")
            for part in ("_nodes", "_segments", "_sizes", "")
        )
        if not len(nodes) == len(starts) == len(counts) or ((nodes < 0) | (nodes >= size)).any():
            raise ModelDamaged("The forest has categories of nodes that do not exist.")
        if ((starts < 0) | (counts < 0) | (starts > len(found) - counts)).any():
            raise ModelDamaged("The forest has a set of categories that it does not list.")
        if ((found < 0) | (found >= _MOST_CATEGORIES)).any():
            raise ModelDamaged(f"The forest has a category that is not under {_MOST_CATEGORIES}.")
        sets[first + nodes] = np.arange(len(nodes)) + len(edges) - 1
        edges += [_edges(found[a : a + n]) for a, n in zip(starts, counts, strict=True)]
    return sets, np.cumsum([len(part) for part in edges]), np.concatenate(edges)


def _edges(categories: np.ndarray) -> np.ndarray:
    """Find the edges of the intervals of numbers that stand for these categories."""
    kept = np.unique(categories)
    limits, times = np.unique(np.concatenate([kept, kept + 1]), return_counts=True)
    return below(limits[times == 1].astype(np.float32))
