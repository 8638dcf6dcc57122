"""A forest as flat arrays, and how LightGBM writes one down.

All columns are numbers, NaN meaning missing. A row starts at node 0 of a tree and goes left where
its value is at most the threshold; NaN, and in some trees zero, may have a side of its own. Its
margin is the sum of the leaves it ends in, added up in the order of the trees. LightGBM's rules
are kept to the last bit, so ``reference_margins`` equals its ``predict(raw_score=True)``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from rowcast.errors import ModelDamaged

if TYPE_CHECKING:
    from collections.abc import Sequence

NEAR_ZERO = float(np.float32(1e-35))
"""LightGBM takes a value that is no further from zero than this for zero."""
MOST_LEAVES = 65_536
"""Of one tree; leaf numbers are 16 bits wide."""
MOST_COLUMNS = 1 << 31

AS_ZERO, NAN_LEFT, NAN_RIGHT, ZERO_LEFT, ZERO_RIGHT = range(5)
"""What a node does with a missing value: take NaN for zero and compare it; send NaN left, or
right; send NaN and zero left, or right."""

_MISSING = {0: AS_ZERO, 4: ZERO_RIGHT, 6: ZERO_LEFT, 8: NAN_RIGHT, 10: NAN_LEFT, 2: AS_ZERO}
_CATEGORICAL = 1
_END = "\nend of trees"
_NUMBERS = re.compile(r"[-+.0-9einf ]*")


@dataclass(frozen=True)
class Forest:
    """Trees end to end: tree t has the nodes ``node_starts[t]:node_starts[t + 1]`` and the leaves
    ``leaf_starts[t]:leaf_starts[t + 1]``, and adds to the output ``t % outputs``.
    """

    n_columns: int
    outputs: int
    node_starts: np.ndarray
    """int64 of shape (n_trees + 1,)."""
    leaf_starts: np.ndarray
    """int64 of shape (n_trees + 1,). A tree has one leaf more than it has nodes."""
    columns: np.ndarray
    """int32, for each node: the matrix column it looks at."""
    thresholds: np.ndarray
    """float64, for each node. Infinity parts missing values from all others."""
    missing: np.ndarray
    """uint8, for each node: AS_ZERO, NAN_LEFT, NAN_RIGHT, ZERO_LEFT or ZERO_RIGHT."""
    left: np.ndarray
    """int32, for each node: a later node of the tree, or ``~leaf``."""
    right: np.ndarray
    """int32, as ``left``."""
    values: np.ndarray
    """float64, for each leaf, finite."""

    @property
    def n_trees(self) -> int:
        """How many, over all outputs."""
        return len(self.node_starts) - 1

    @cached_property
    def most_leaves(self) -> int:
        """Of the largest tree."""
        return int(np.diff(self.leaf_starts).max())


def reference_margins(forest: Forest, matrix: np.ndarray) -> np.ndarray:
    """Sum up each row's leaves, one tree after the other: shape (n_rows, outputs)."""
    values = np.where(np.abs(matrix) <= NEAR_ZERO, 0.0, matrix)
    margins = np.zeros((len(matrix), forest.outputs))
    for tree in range(forest.n_trees):
        leaves = forest.leaf_starts[tree] + _leaves(forest, tree, values)
        margins[:, tree % forest.outputs] += forest.values[leaves]
    return margins


def _leaves(forest: Forest, tree: int, values: np.ndarray) -> np.ndarray:
    """Walk all rows down one tree, a level at a time."""
    first, stop = forest.node_starts[tree : tree + 2]
    at = np.full(len(values), 0 if stop > first else ~0)
    while len(rows := np.flatnonzero(at >= 0)):
        nodes = first + at[rows]
        x, missing = values[rows, forest.columns[nodes]], forest.missing[nodes]
        x = np.where(np.isnan(x) & (missing == AS_ZERO), 0.0, x)
        apart = np.isnan(x) | ((missing >= ZERO_LEFT) & (x == 0.0))
        goes_left = np.where(
            apart,
            (missing == NAN_LEFT) | (missing == ZERO_LEFT),
            x <= forest.thresholds[nodes],
        )
        at[rows] = np.where(goes_left, forest.left[nodes], forest.right[nodes])
    return ~at


def read_lightgbm(content: bytes) -> Forest:
    """Read a forest that LightGBM 4 saved as text.

    Raises
    ------
    ModelDamaged
        If it is no such text, if its numbers do not make trees, or if its trees have what
        Rowcast's do not: categorical splits, linear leaves, averaged outputs.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ModelDamaged(f"The forest is not UTF-8 text: {error}.") from error
    body, end, _ = text.partition(_END)
    if not end:
        raise ModelDamaged("The forest ends before its trees do.")
    header, *sections = body.split("\nTree=")
    outputs, n_columns = _read_header(header, len(sections))
    return _read_trees([_section(i, text) for i, text in enumerate(sections)], outputs, n_columns)


def _read_header(header: str, n_trees: int) -> tuple[int, int]:
    """Read the number of outputs and of columns."""
    kind, *lines = header.split("\n")
    if kind != "tree":
        raise ModelDamaged("The forest does not start as LightGBM's text does.")
    if "average_output" in lines:
        raise _unsupported("The forest", "averaged outputs")
    entries = _entries("The header", lines)
    if (version := entries.get("version")) != "v4":
        raise ModelDamaged(f"The forest has format version {version!r}; this release reads 'v4'.")
    outputs = _count("num_tree_per_iteration", entries, 1, n_trees)
    n_columns = _count("max_feature_idx", entries, 0, MOST_COLUMNS - 2) + 1
    sizes = len(entries.get("tree_sizes", "").split())
    if sizes != n_trees or n_trees % outputs:
        raise ModelDamaged(
            f"The forest holds {n_trees} trees; its header announces {sizes} for {outputs} outputs."
        )
    return outputs, n_columns


def _section(tree: int, text: str) -> dict[str, str]:
    """Read the entries of one tree."""
    number, *lines = text.split("\n")
    if number != str(tree):
        raise ModelDamaged(f"Tree {tree} of the forest is called {number[:20]!r}.")
    entries = _entries(f"Tree {tree}", lines)
    if entries.get("num_cat", "0") != "0":
        raise _unsupported(f"Tree {tree}", "categorical splits")
    if entries.get("is_linear", "0") != "0":
        raise _unsupported(f"Tree {tree}", "linear leaves")
    return entries


def _unsupported(what: str, feature: str) -> ModelDamaged:
    return ModelDamaged(
        f"{what} was trained with {feature}, which Rowcast's forests do not have. Train it again "
        "without."
    )


def _entries(what: str, lines: Sequence[str]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for line in filter(None, lines):
        key, equals, value = line.partition("=")
        if not equals or key in entries:
            raise ModelDamaged(f"{what} of the forest has a line too many: {line[:40]!r}.")
        entries[key] = value
    return entries


def _count(key: str, entries: dict[str, str], least: int, most: int) -> int:
    found = entries.get(key, "")
    number = int(found) if re.fullmatch(r"[0-9]{1,10}", found) else -1
    if not least <= number <= most:
        raise ModelDamaged(
            f"The forest has {key}={found[:20]!r}; a number from {least} to {most} was expected."
        )
    return number


def _read_trees(trees: list[dict[str, str]], outputs: int, n_columns: int) -> Forest:
    leaves = np.array(
        [_count("num_leaves", entries, 1, MOST_LEAVES) for entries in trees], dtype=np.int64
    )
    leaf_starts = np.concatenate([[0], np.cumsum(leaves)])
    node_starts = np.concatenate([[0], np.cumsum(leaves - 1)])
    columns = _numbers("split_feature", trees, leaves - 1, int)
    thresholds = _numbers("threshold", trees, leaves - 1, float)
    decisions = _numbers("decision_type", trees, leaves - 1, int)
    left = _numbers("left_child", trees, leaves - 1, int)
    right = _numbers("right_child", trees, leaves - 1, int)
    values = _numbers("leaf_value", trees, leaves, float)
    owners = np.repeat(np.arange(len(trees)), leaves - 1)
    _refuse(np.repeat(np.arange(len(trees)), leaves), ~np.isfinite(values), "an infinite leaf")
    _refuse(owners, (columns < 0) | (columns >= n_columns), f"a column that is not of {n_columns}")
    _check_children(left, right, owners, node_starts, leaf_starts)
    return Forest(
        n_columns,
        outputs,
        node_starts,
        leaf_starts,
        columns.astype(np.int32),
        thresholds,
        _missing(decisions, owners),
        left.astype(np.int32),
        right.astype(np.int32),
        values,
    )


def _numbers(
    key: str, trees: list[dict[str, str]], counts: np.ndarray, kind: type[int | float]
) -> np.ndarray:
    """Read one entry of all trees, end to end."""
    tokens = []
    for tree, (entries, count) in enumerate(zip(trees, counts.tolist(), strict=True)):
        if not _NUMBERS.fullmatch(line := entries.get(key, "")):
            raise ModelDamaged(f"Tree {tree} of the forest has {key} that are not numbers.")
        found = line.split()
        if len(found) != count:
            raise ModelDamaged(
                f"Tree {tree} of the forest has {len(found)} numbers as {key}; its leaves call "
                f"for {count}."
            )
        tokens.append(found)
    try:
        numbers = np.array(
            [kind(token) for token in chain.from_iterable(tokens)],
            dtype=np.int64 if kind is int else np.float64,
        )
    except (ValueError, OverflowError) as error:
        raise ModelDamaged(f"The forest has {key} that are not numbers: {error}.") from error
    return numbers


def _refuse(owners: np.ndarray, wrong: np.ndarray, what: str) -> None:
    """Raise for the first tree that has something wrong."""
    if wrong.any():
        raise ModelDamaged(f"Tree {owners[np.argmax(wrong)]} of the forest has {what}.")


def _check_children(
    left: np.ndarray,
    right: np.ndarray,
    owners: np.ndarray,
    node_starts: np.ndarray,
    leaf_starts: np.ndarray,
) -> None:
    """See that every tree is one: each node but the first, and each leaf, is a child once.

    LightGBM numbers a node after its parent, which rules cycles out.
    """
    nodes, leaves = np.diff(node_starts)[owners], np.diff(leaf_starts)[owners]
    own = np.arange(len(owners)) - node_starts[owners]
    seen = np.zeros(node_starts[-1] + leaf_starts[-1], dtype=np.int64)
    for child in (left, right):
        _refuse(owners, (child >= nodes) | (child < -leaves), "a child that does not exist")
        _refuse(owners, (child >= 0) & (child <= own), "a child that comes before its parent")
        places = np.where(
            child >= 0,
            node_starts[owners] + child,
            node_starts[-1] + leaf_starts[owners] + ~child,
        )
        seen += np.bincount(places, minlength=len(seen))
    _refuse(owners, (seen[: len(owners)] != 1) & (own > 0), "a node without one parent")
    leaf_owners = np.repeat(np.arange(len(leaf_starts) - 1), np.diff(leaf_starts))
    single = (np.diff(leaf_starts) == 1)[leaf_owners]
    _refuse(leaf_owners, (seen[len(owners) :] != 1) & ~single, "a leaf without one parent")


def _missing(decisions: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Translate LightGBM's flags of nodes."""
    flags = decisions & 0xFF
    categorical = (flags & _CATEGORICAL).astype(bool) & (flags == decisions)
    if categorical.any():
        raise _unsupported(f"Tree {owners[np.argmax(categorical)]}", "categorical splits")
    table = np.full(256, 255, dtype=np.uint8)
    table[list(_MISSING)] = list(_MISSING.values())
    missing: np.ndarray = table[flags]
    _refuse(owners, (missing == 255) | (flags != decisions), "an unknown decision_type")
    return missing
