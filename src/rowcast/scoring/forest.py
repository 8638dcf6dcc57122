"""A forest as flat arrays: one format for every library that grows trees.

All columns are numbers, NaN meaning missing. A row starts at node 0 of a tree and goes left where
its value is at most the threshold, or where it is in the node's set: numbers stand for categories
there. NaN, and in some trees zero, has a side of its own. A margin is the output's base plus the
leaves that the row ends in, added up in the order of the trees.

``rowcast.scoring.formats`` reads what the libraries write. They compare in their own ways (in
float32, with zero taken for missing, on the other side of equal), and the readers choose
thresholds and sets with which the rules here decide as the library does, for every double.
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

NAN_LEFT, NAN_RIGHT, ZERO_LEFT, ZERO_RIGHT, SET_NAN_LEFT, SET_NAN_RIGHT = range(6)
"""What a node does with a missing value: send NaN left, or right; send NaN and zero left, or
right; ask whether the value is in a set, and send NaN left, or right."""

_MOST_OUTPUTS = 1 << 20
_NO_SETS, _NO_EDGES = np.zeros(1, np.int64), np.zeros(0)


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
    """float64, for each node. Infinity parts missing values from all others. A node with a set has
    the set's number here."""
    missing: np.ndarray
    """uint8, for each node: NAN_LEFT, NAN_RIGHT, ZERO_LEFT, ZERO_RIGHT, SET_NAN_LEFT or
    SET_NAN_RIGHT."""
    left: np.ndarray
    """int32, for each node: a later node of the tree, or ``~leaf``."""
    right: np.ndarray
    """int32, as ``left``."""
    values: np.ndarray
    """float64, for each leaf, finite."""
    base: np.ndarray
    """float64 of shape (outputs,), finite: what every row's sums start with."""
    set_starts: np.ndarray
    """int64 of shape (n_sets + 1,): set s has the edges ``set_starts[s]:set_starts[s + 1]``."""
    set_edges: np.ndarray
    """float64, ascending in each set: a number is in the set if an odd number of edges is below
    it."""

    @property
    def n_trees(self) -> int:
        """How many, over all outputs."""
        return len(self.node_starts)

    @cached_property
    def most_leaves(self) -> int:
        """Of the largest tree."""
        return int(np.diff(self.leaf_starts).max(initial=1))

    def limits(self, column: int) -> np.ndarray:
        """The thresholds and edges of a column, ascending: between them all values are alike."""
        nodes = np.flatnonzero(self.columns == column)
        in_set = self.missing[nodes] >= SET_NAN_LEFT
        sets = np.unique(self.thresholds[nodes[in_set]].astype(np.int64))
        edges = [self.set_edges[self.set_starts[s] : self.set_starts[s + 1]] for s in sets]
        return np.unique(np.concatenate([self.thresholds[nodes[~in_set]], *edges]))


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
    set_starts: np.ndarray = _NO_SETS,
    set_edges: np.ndarray = _NO_EDGES,
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
    _check_sets(set_starts, set_edges)
    owners = _owners(node_starts, leaves, len(columns))
    _refuse(owners, (columns < 0) | (columns >= n_columns), f"a column that is not of {n_columns}")
    _check_questions(thresholds, missing, owners, len(set_starts) - 1)
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
        set_starts.astype(np.int64),
        set_edges.astype(np.float64),
    )


def _check_sets(starts: np.ndarray, edges: np.ndarray) -> None:
    """See that sets lie end to end, and that their edges ascend."""
    if not len(starts) or starts[0] != 0 or starts[-1] != len(edges) or (np.diff(starts) < 0).any():
        raise ModelDamaged("The sets of the forest do not lie end to end.")
    first = np.zeros(len(edges) + 1, np.bool_)
    first[starts] = True
    if not (np.isfinite(edges) & (first[:-1] | (np.diff(edges, prepend=-np.inf) > 0))).all():
        raise ModelDamaged("A set of the forest has edges that do not ascend.")


def _check_questions(
    thresholds: np.ndarray, missing: np.ndarray, owners: np.ndarray, n_sets: int
) -> None:
    _refuse(owners, np.isnan(thresholds), "a threshold that is no number")
    unknown = (missing < 0) | (missing > SET_NAN_RIGHT)
    _refuse(owners, unknown, "an unknown rule for missing values")
    exists = (thresholds >= 0) & (thresholds < n_sets) & (np.floor(thresholds) == thresholds)
    _refuse(owners, (missing >= SET_NAN_LEFT) & ~exists, "a set that does not exist")


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
        zero_apart = (missing == ZERO_LEFT) | (missing == ZERO_RIGHT)
        fits = x <= forest.thresholds[nodes]
        for node in np.unique(nodes[missing >= SET_NAN_LEFT]):
            here = nodes == node
            fits[here] = _in_set(forest, int(forest.thresholds[node]), x[here])
        goes_left = np.where(
            np.isnan(x) | (zero_apart & (np.abs(x) <= NEAR_ZERO)), missing % 2 == 0, fits
        )
        at[rows] = np.where(goes_left, forest.left[nodes], forest.right[nodes])
    return ~at


def _in_set(forest: Forest, number: int, x: np.ndarray) -> np.ndarray:
    edges = forest.set_edges[slice(*forest.set_starts[number : number + 2])]
    return np.asarray(np.searchsorted(edges, x) % 2 == 1)


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
    nodes = _offsets([len(forest.columns) for forest in forests])
    edges = _offsets([len(forest.set_edges) for forest in forests])
    sets = _offsets([len(forest.set_starts) - 1 for forest in forests])
    starts = [f.node_starts + first for f, first in zip(forests, nodes, strict=True)]
    set_starts = [f.set_starts[:-1] + first for f, first in zip(forests, edges, strict=True)]
    thresholds = [
        np.where(f.missing >= SET_NAN_LEFT, f.thresholds + first, f.thresholds)
        for f, first in zip(forests, sets, strict=True)
    ]

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
        thresholds=np.concatenate(thresholds),
        **{name: joined(name) for name in ("columns", "missing", "left", "right")},
        values=values,
        base=base,
        set_starts=np.concatenate([*set_starts, [sum(len(f.set_edges) for f in forests)]]),
        set_edges=joined("set_edges"),
    )


def _offsets(sizes: list[int]) -> np.ndarray:
    """Where each of the parts begins when they are laid end to end."""
    return np.cumsum([0, *sizes[:-1]], dtype=np.int64)


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
    "set_starts": "i",
    "set_edges": "i",
}


def forest_arrays(forest: Forest) -> dict[str, np.ndarray]:
    """Write a forest down as arrays that safetensors can hold; ``forest_of`` reads them.

    They are compact: integers are as narrow as their numbers allow, and ``thresholds`` and
    ``set_edges`` are places in the table of the ``distinct`` ones.
    """
    numbers = np.concatenate([forest.thresholds, forest.set_edges])
    distinct, where = np.unique(numbers, return_inverse=True)
    thresholds, edges = np.split(where, [len(forest.thresholds)])
    return {
        "shape": np.array([forest.n_columns, forest.outputs], np.int64),
        "node_starts": _narrow(forest.node_starts),
        "leaves": _narrow(np.diff(forest.leaf_starts)),
        "columns": _narrow(forest.columns),
        "distinct": distinct,
        "thresholds": _narrow(thresholds),
        "missing": forest.missing,
        "left": _narrow(forest.left),
        "right": _narrow(forest.right),
        "values": forest.values,
        "base": forest.base,
        "set_starts": _narrow(forest.set_starts),
        "set_edges": _narrow(edges),
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
    shape, distinct = given.pop("shape"), given.pop("distinct")
    if shape.shape != (2,):
        raise ModelDamaged(f"The forest's array 'shape' has {len(shape)} numbers instead of 2.")
    for name in ("thresholds", "set_edges"):
        if ((given[name] < 0) | (given[name] >= len(distinct))).any():
            raise ModelDamaged(f"The forest has {name} that are not in its table.")
        given[name] = distinct[given[name]]
    n_columns, outputs = shape.tolist()
    return make_forest(**given, n_columns=n_columns, outputs=outputs)


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
