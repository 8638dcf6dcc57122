"""A forest as flat arrays: one format for every library that grows trees.

All columns are numbers, NaN meaning missing. A row starts at node 0 of a tree and goes left where
its value is at most the threshold; NaN, and in some trees zero, has a side of its own. A margin is
the output's base plus the leaves that the row ends in, added up in the order of the trees.

``rowcast.scoring.formats`` reads what the libraries write. They compare in their own ways (in
float32, with zero taken for missing, on the other side of equal), and the readers choose
thresholds with which the one rule here decides as the library does, for every double.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from rowcast.errors import ModelDamaged

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NEAR_ZERO = float(np.float32(1e-35))
"""Where zero is apart, a value that is no further from zero than this is zero."""
MOST_LEAVES = 65_536
"""Of one tree; leaf numbers are 16 bits wide."""
MOST_COLUMNS = 1 << 31

NAN_LEFT, NAN_RIGHT, ZERO_LEFT, ZERO_RIGHT = range(4)
"""What a node does with a missing value: send NaN left, or right; send NaN and zero left, or
right."""

_MOST_OUTPUTS = 1 << 20


@dataclass(frozen=True)
class Forest:
    """Trees whose arrays lie end to end; tree t adds to the output ``t % outputs``.

    Tree t has the leaves ``leaf_starts[t]:leaf_starts[t + 1]`` and one node fewer, from
    ``node_starts[t]`` on. Trees that ask the same questions may share their nodes.
    """

    n_columns: int
    outputs: int
    node_starts: np.ndarray
    """int64 of shape (n_trees,)."""
    leaf_starts: np.ndarray
    """int64 of shape (n_trees + 1,)."""
    columns: np.ndarray
    """int32, for each node: the matrix column it looks at."""
    thresholds: np.ndarray
    """float64, for each node. Infinity parts missing values from all others."""
    missing: np.ndarray
    """uint8, for each node: NAN_LEFT, NAN_RIGHT, ZERO_LEFT or ZERO_RIGHT."""
    left: np.ndarray
    """int32, for each node: a later node of the tree, or ``~leaf``."""
    right: np.ndarray
    """int32, as ``left``."""
    values: np.ndarray
    """float64, for each leaf, finite."""
    base: np.ndarray
    """float64 of shape (outputs,), finite: what every row's sums start with."""

    @property
    def n_trees(self) -> int:
        """How many, over all outputs."""
        return len(self.node_starts)

    @cached_property
    def most_leaves(self) -> int:
        """Of the largest tree."""
        return int(np.diff(self.leaf_starts).max(initial=1))


def make_forest(
    *,
    n_columns: int,
    outputs: int,
    node_starts: np.ndarray,
    leaves: np.ndarray,
    columns: np.ndarray,
    thresholds: np.ndarray,
    missing: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    values: np.ndarray,
    base: np.ndarray,
) -> Forest:
    """Put a forest together from arrays that nobody has looked at yet.

    Parameters are the fields of ``Forest``, as integers and floats of any width; ``leaves`` says
    how many each tree has.

    Raises
    ------
    ModelDamaged
        Unless all numbers are in range, all margins finite, and every tree is one: each node but
        the first, and each leaf, is the child of one earlier node.
    """
    counts = {len(by_node) for by_node in (columns, thresholds, missing, left, right)}
    if len(counts) != 1 or len(node_starts) != len(leaves):
        raise ModelDamaged("The forest's arrays differ in length.")
    if not (0 < n_columns < MOST_COLUMNS and 0 < outputs < _MOST_OUTPUTS):
        raise ModelDamaged(f"The forest has {n_columns} columns and {outputs} outputs.")
    if len(leaves) % outputs or len(base) != outputs:
        raise ModelDamaged(
            f"The forest has {len(leaves)} trees and {len(base)} bases for {outputs} outputs."
        )
    _refuse(
        np.arange(len(leaves)),
        (leaves < 1) | (leaves > MOST_LEAVES),
        f"no leaf, or over {MOST_LEAVES}",
    )
    leaf_starts = np.concatenate([[0], np.cumsum(leaves)]).astype(np.int64)
    if len(values) != leaf_starts[-1]:
        raise ModelDamaged(f"The forest has {len(values)} values for {leaf_starts[-1]} leaves.")
    if not np.isfinite(base).all():
        raise ModelDamaged("The forest has an infinite base.")
    leaf_owners = np.repeat(np.arange(len(leaves)), leaves)
    _refuse(leaf_owners, ~np.isfinite(values), "an infinite leaf")
    owners = _owners(node_starts, leaves, len(columns))
    _refuse(owners, (columns < 0) | (columns >= n_columns), f"a column that is not of {n_columns}")
    _refuse(owners, np.isnan(thresholds), "a threshold that is no number")
    _refuse(owners, (missing < 0) | (missing > ZERO_RIGHT), "an unknown rule for missing values")
    _check_children(left, right, owners, node_starts, leaves)
    return Forest(
        n_columns,
        outputs,
        node_starts.astype(np.int64),
        leaf_starts,
        columns.astype(np.int32),
        thresholds.astype(np.float64),
        missing.astype(np.uint8),
        left.astype(np.int32),
        right.astype(np.int32),
        values.astype(np.float64),
        base.astype(np.float64),
    )


def _owners(node_starts: np.ndarray, leaves: np.ndarray, n_nodes: int) -> np.ndarray:
    """For each node, the first tree that has it; the trees' nodes must lie end to end."""
    inner = np.flatnonzero(leaves > 1)
    starts, first, where = np.unique(node_starts[inner], return_index=True, return_inverse=True)
    sizes = leaves[inner][first] - 1
    _refuse(inner, leaves[inner] - 1 != sizes[where], "a part of another tree's nodes")
    ends = np.cumsum(sizes)
    if not np.array_equal(starts, ends - sizes) or sizes.sum() != n_nodes:
        raise ModelDamaged("The nodes of the forest's trees do not lie end to end.")
    return np.repeat(inner[first], sizes)


def _check_children(
    left: np.ndarray,
    right: np.ndarray,
    owners: np.ndarray,
    node_starts: np.ndarray,
    leaves: np.ndarray,
) -> None:
    """See that every tree is one. A node comes after its parent, which rules cycles out."""
    number = np.cumsum(np.diff(owners, prepend=owners[:1]) != 0)
    n_leaves, first = leaves[owners], node_starts[owners]
    own = np.arange(len(owners)) - first
    nodes_seen = np.zeros(len(owners), np.int64)
    leaves_seen = np.zeros(len(owners) + number.max(initial=-1) + 1, np.int64)
    for child in (left, right):
        _refuse(
            owners, (child >= n_leaves - 1) | (child < -n_leaves), "a child that does not exist"
        )
        _refuse(owners, (child >= 0) & (child <= own), "a child that comes before its parent")
        inner = child >= 0
        nodes_seen += np.bincount((first + child)[inner], minlength=len(nodes_seen))
        places = (first + number + ~child)[~inner]
        leaves_seen += np.bincount(places, minlength=len(leaves_seen))
    _refuse(owners, (nodes_seen != 1) & (own > 0), "a node without one parent")
    trees = owners[own == 0]
    _refuse(np.repeat(trees, leaves[trees]), leaves_seen != 1, "a leaf without one parent")


def _refuse(owners: np.ndarray, wrong: np.ndarray, what: str) -> None:
    """Raise for the first tree that has something wrong."""
    if wrong.any():
        raise ModelDamaged(f"Tree {owners[np.argmax(wrong)]} of the forest has {what}.")


# --- the reference ------------------------------------------------------------------------------


def reference_margins(forest: Forest, matrix: np.ndarray) -> np.ndarray:
    """Sum up each row's leaves, one tree after the other: shape (n_rows, outputs)."""
    margins = np.tile(forest.base, (len(matrix), 1))
    for tree in range(forest.n_trees):
        leaves = forest.leaf_starts[tree] + reference_leaves(forest, tree, matrix)
        margins[:, tree % forest.outputs] += forest.values[leaves]
    return margins


def reference_leaves(forest: Forest, tree: int, matrix: np.ndarray) -> np.ndarray:
    """Walk all rows down one tree, a level at a time: the leaf's number in the tree, by row."""
    first = forest.node_starts[tree]
    single = forest.leaf_starts[tree + 1] - forest.leaf_starts[tree] == 1
    at = np.full(len(matrix), ~0 if single else 0)
    while len(rows := np.flatnonzero(at >= 0)):
        nodes = first + at[rows]
        x, missing = matrix[rows, forest.columns[nodes]], forest.missing[nodes]
        apart = np.isnan(x) | ((missing >= ZERO_LEFT) & (np.abs(x) <= NEAR_ZERO))
        goes_left = np.where(
            apart,
            (missing == NAN_LEFT) | (missing == ZERO_LEFT),
            x <= forest.thresholds[nodes],
        )
        at[rows] = np.where(goes_left, forest.left[nodes], forest.right[nodes])
    return ~at


def read_lightgbm(content: bytes) -> Forest:
    """Read LightGBM's text. See ``rowcast.scoring.formats.lightgbm``."""
    from rowcast.scoring.formats import lightgbm

    return lightgbm.read_lightgbm(content)


# --- forests of forests, and their arrays -------------------------------------------------------


def merge_forests(forests: Sequence[Forest], weights: Sequence[float]) -> Forest:
    """Make one forest whose margins are the weighted sum of those of several.

    Parameters
    ----------
    forests
        At least one; all of the same columns and outputs.
    weights
        What each one's leaves and base are multiplied by.

    Raises
    ------
    ValueError
        If columns or outputs differ, or a weight is missing.
    """
    shapes = {(forest.n_columns, forest.outputs) for forest in forests}
    if len(shapes) != 1:
        raise ValueError(f"forests of one shape are wanted, found {sorted(shapes)}")
    (n_columns, outputs), *_ = shapes
    weighted = list(zip(forests, weights, strict=True))
    nodes = np.cumsum([0, *(len(forest.columns) for forest in forests)])
    starts = [f.node_starts + first for f, first in zip(forests, nodes[:-1], strict=True)]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(forest, name) for forest in forests])

    with np.errstate(over="ignore"):
        values = np.concatenate([forest.values * weight for forest, weight in weighted])
        base = np.sum([forest.base * weight for forest, weight in weighted], axis=0)
    return make_forest(
        n_columns=n_columns,
        outputs=outputs,
        node_starts=np.concatenate(starts),
        leaves=np.concatenate([np.diff(forest.leaf_starts) for forest in forests]),
        **{name: joined(name) for name in _BY_NODE},
        values=values,
        base=base,
    )


_BY_NODE = ("columns", "thresholds", "missing", "left", "right")
_ARRAYS = {
    "shape": "i",
    "node_starts": "i",
    "leaves": "i",
    "columns": "i",
    "distinct": "f",
    "thresholds": "i",
    "missing": "i",
    "left": "i",
    "right": "i",
    "values": "f",
    "base": "f",
}


def forest_arrays(forest: Forest) -> dict[str, np.ndarray]:
    """Write a forest down as arrays that safetensors can hold; ``forest_of`` reads them.

    They are compact: integers are as narrow as their numbers allow, and ``thresholds`` are places
    in the table of the ``distinct`` ones.
    """
    distinct, where = np.unique(forest.thresholds, return_inverse=True)
    return {
        "shape": np.array([forest.n_columns, forest.outputs], np.int64),
        "node_starts": _narrow(forest.node_starts),
        "leaves": _narrow(np.diff(forest.leaf_starts)),
        "columns": _narrow(forest.columns),
        "distinct": distinct,
        "thresholds": _narrow(where),
        "missing": forest.missing,
        "left": _narrow(forest.left),
        "right": _narrow(forest.right),
        "values": forest.values,
        "base": forest.base,
    }


def _narrow(numbers: np.ndarray) -> np.ndarray:
    """Change to the narrowest type of integer that holds all of them."""
    low, high = numbers.min(initial=0), numbers.max(initial=0)
    types = (np.uint8, np.int8, np.uint16, np.int16, np.int32, np.int64)
    return numbers.astype(
        next(t for t in types if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    )


def forest_of(arrays: Mapping[str, np.ndarray]) -> Forest:
    """Read what ``forest_arrays`` wrote, looking at everything again.

    Raises
    ------
    ModelDamaged
        If an array is missing, or the arrays make no forest.
    """
    given = {name: _flat(name, kind, arrays) for name, kind in _ARRAYS.items()}
    shape, distinct, where = given["shape"], given.pop("distinct"), given["thresholds"]
    if shape.shape != (2,):
        raise ModelDamaged(f"The forest's array 'shape' has {len(shape)} numbers instead of 2.")
    if ((where < 0) | (where >= len(distinct))).any():
        raise ModelDamaged("The forest has thresholds that are not in its table.")
    del given["shape"]
    n_columns, outputs = shape.tolist()
    return make_forest(
        **{**given, "thresholds": distinct[where]}, n_columns=n_columns, outputs=outputs
    )


def _flat(name: str, kind: str, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Fetch one array, widened so that nothing overflows where it is looked at."""
    if (found := arrays.get(name)) is None:
        raise ModelDamaged(f"The forest lacks its array {name!r}.")
    whole = found.dtype.kind in "iu" and found.dtype != np.uint64
    if found.ndim != 1 or not (whole if kind == "i" else found.dtype == np.float64):
        raise ModelDamaged(
            f"The forest's array {name!r} holds {found.dtype} of shape {found.shape}."
        )
    return found.astype(np.int64) if kind == "i" else found
