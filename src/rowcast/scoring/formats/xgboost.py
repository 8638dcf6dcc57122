"""XGBoost's JSON and UBJSON.

XGBoost goes left where ``float32(x) < threshold``; thresholds are moved to say the same of
doubles. It adds up in float32 and we in double, so margins agree to float32's precision and
leaves exactly.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import MOST_COLUMNS, NAN_LEFT, NAN_RIGHT, Forest, make_forest
from rowcast.scoring.formats.float32 import below
from rowcast.scoring.formats.json import items, member, numbers, read_json, whole_number
from rowcast.scoring.formats.numbering import number
from rowcast.scoring.formats.ubjson import read_ubjson

if TYPE_CHECKING:
    from collections.abc import Callable

_VERSION = 3


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
        forests do not: a linear booster, categorical splits, leaves of several outputs.
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
    _check_kinds(trees)
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


def _check_kinds(trees: list[Any]) -> None:
    for tree, found in enumerate(trees):
        if whole_number(found, "tree_param", "size_leaf_vector", least=0) > 1:
            raise _unsupported(f"Tree {tree}", "leaves of several outputs")
        if numbers(int, found, "split_type").any():
            raise _unsupported(f"Tree {tree}", "categorical splits")


def _read_trees(trees: list[Any], weights: np.ndarray, n_columns: int, base: np.ndarray) -> Forest:
    left, sizes = _joined("left_children", int, trees)
    entries = {
        "right_children": int,
        "default_left": int,
        "split_indices": int,
        "split_conditions": float,
    }
    joined = {}
    for key, kind in entries.items():
        joined[key], lengths = _joined(key, kind, trees)
        if not np.array_equal(lengths, sizes):
            raise ModelDamaged(f"A tree of the forest has too few, or too many, {key}.")
    if (sizes == 0).any():
        raise ModelDamaged(f"Tree {np.argmax(sizes == 0)} of the forest is empty.")
    numbered = number(sizes, left, joined["right_children"])
    with np.errstate(over="ignore"):
        conditions = joined["split_conditions"].astype(np.float32)
    limits = conditions[numbered.nodes]
    if np.isnan(limits).any():
        raise ModelDamaged("The forest has a split at a threshold that is no number.")
    nan_left = joined["default_left"][numbered.nodes] != 0
    thresholds, never = below(limits), np.isneginf(limits)
    return make_forest(
        n_columns=n_columns,
        outputs=len(base),
        node_starts=numbered.node_starts,
        leaves=numbered.leaves,
        columns=joined["split_indices"][numbered.nodes],
        thresholds=np.where(never, np.inf, thresholds),
        missing=np.where(nan_left ^ never, NAN_LEFT, NAN_RIGHT),
        left=np.where(never, numbered.right, numbered.left),
        right=np.where(never, numbered.left, numbered.right),
        values=conditions[numbered.places] * np.repeat(weights, numbered.leaves),
        base=base,
    )


def _joined(key: str, kind: type[int | float], trees: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Read one entry of all trees, end to end, and how long each is."""
    parts = [numbers(kind, tree, key) for tree in trees]
    empty = np.zeros(0, np.int64 if kind is int else np.float64)
    return np.concatenate([empty, *parts]), np.array([len(part) for part in parts], np.int64)
