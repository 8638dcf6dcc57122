"""Trees whose nodes and leaves are numbered together, in any order, made those of a ``Forest``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rowcast.errors import ModelDamaged


class Numbered(NamedTuple):
    """Where nodes and leaves stood, and the children by their new numbers."""

    nodes: np.ndarray
    """int64: for each node of the forest, its place in the arrays given."""
    places: np.ndarray
    """int64: for each leaf of the forest, its place in the arrays given."""
    node_starts: np.ndarray
    leaves: np.ndarray
    """int64: how many leaves each tree has."""
    left: np.ndarray
    right: np.ndarray


def number(sizes: np.ndarray, left: np.ndarray, right: np.ndarray) -> Numbered:
    """Number what can be reached from each tree's first entry, level by level.

    Parameters
    ----------
    sizes : ndarray of int64
        How many entries each tree has, at least 1.
    left, right : ndarray of int64
        For each entry, its children's numbers within the tree; both -1 for a leaf.

    Raises
    ------
    ModelDamaged
        If a child does not exist, or is that of two.
    """
    starts = np.cumsum(sizes) - sizes
    tree = np.repeat(np.arange(len(sizes)), sizes)
    inner = left != -1
    for child in (left, right):
        wrong = np.where(inner, (child < 0) | (child >= sizes[tree]), child != -1)
        if wrong.any():
            raise ModelDamaged(f"Tree {tree[np.argmax(wrong)]} has a child that does not exist.")
    order = _reached(starts, inner, left + starts[tree], right + starts[tree])
    order = order[np.argsort(tree[order], kind="stable")]
    nodes, places = order[inner[order]], order[~inner[order]]
    leaves = np.bincount(tree[places], minlength=len(sizes))
    node_starts = np.cumsum(leaves - 1) - (leaves - 1)
    renumbered = np.empty(len(tree), np.int64)
    renumbered[nodes] = np.arange(len(nodes)) - node_starts[tree[nodes]]
    renumbered[places] = ~(np.arange(len(places)) - (np.cumsum(leaves) - leaves)[tree[places]])
    first = starts[tree[nodes]]
    return Numbered(
        nodes,
        places,
        node_starts,
        leaves,
        renumbered[first + left[nodes]],
        renumbered[first + right[nodes]],
    )


def _reached(
    roots: np.ndarray, inner: np.ndarray, left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """List what hangs on the roots, parents before children; none may be met twice."""
    met = np.zeros(len(inner), np.int64)
    levels, level = [np.zeros(0, np.int64)], roots
    while len(level):
        np.add.at(met, level, 1)
        if (met[level] > 1).any():
            raise ModelDamaged("A tree of the forest has a node with two parents.")
        levels.append(level)
        parents = level[inner[level]]
        level = np.stack([left[parents], right[parents]], axis=1).ravel()
    return np.concatenate(levels)
