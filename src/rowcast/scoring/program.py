"""A forest made ready to score: thresholds as ranks, trees as programmes of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rowcast.scoring.forest import (
    NAN_LEFT,
    NEAR_ZERO,
    ZERO_LEFT,
)
from rowcast.scoring.kernels.quantise import RANKS, quantise
from rowcast.scoring.kernels.walk import lay_out, walk, walk_rows

if TYPE_CHECKING:
    from rowcast.scoring.forest import Forest

MOST_ALONE = 32
NODES_ALONE = 4
"""Up to MOST_ALONE rows are walked one by one: to walk a row down a tree costs about as much as
NODES_ALONE steps of a narrow block."""
BLOCK = 2048
"""Rows that are walked together, at most."""
LANES = 64
"""A block's width is a multiple of this, for whole vector instructions."""
MOST_LEVELS = 8
"""Of an oblivious tree that is walked as one: its leaves are numbered in a byte."""
CODES_BYTES = 1 << 19
"""About as much is quantised before it is walked, so that it is still in the cache."""


class Program:
    """Scores matrices with one forest, on the calling thread. Safe to share between threads."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        self.tables, places, ranks = rank_thresholds(forest)
        self._steps = steps_of(forest, places, ranks)
        self._nodes = nodes_of(forest)
        nodes, levels = np.diff(forest.leaf_starts) - 1, self._steps.levels
        steps_a_tree = int(np.where(levels, levels, nodes).sum()) // max(1, forest.n_trees)
        self._most_alone = min(max(1, steps_a_tree // NODES_ALONE), MOST_ALONE)

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Sum up each row's leaves in the order of the trees: shape (n_rows, outputs).

        A row's bits do not depend on the rows beside it.
        """
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        margins = np.empty((len(matrix), self.forest.outputs))
        if len(matrix) <= self._most_alone:
            walk_rows(matrix, NEAR_ZERO, *self._nodes, margins)
            return margins
        places = max(1, len(self.tables.lowest))
        width, blocks = block_shape(len(matrix), places)
        codes = np.empty((blocks, places, width), np.uint8)
        for start in range(0, len(matrix), width * blocks):
            rows = slice(start, start + width * blocks)
            used = codes[: -(-len(matrix[rows]) // width)]
            quantise(matrix[rows], NEAR_ZERO, *self.tables, used)
            walk(used, *self._steps, margins[rows])
        return margins


def block_shape(rows: int, places: int) -> tuple[int, int]:
    """Choose the width of blocks, and how many of them are quantised at a time."""
    widest = max(LANES, min(BLOCK, CODES_BYTES // places // LANES * LANES))
    n_blocks = -(-rows // widest)
    width = -(-rows // (n_blocks * LANES)) * LANES
    return width, max(1, min(n_blocks, CODES_BYTES // (places * width)))


class Tables(NamedTuple):
    """What ``quantise`` looks values up in."""

    columns: np.ndarray
    thresholds: np.ndarray
    starts: np.ndarray
    place_starts: np.ndarray
    lowest: np.ndarray
    nan_codes: np.ndarray
    zero_apart: np.ndarray


class Steps(NamedTuple):
    """What ``walk`` follows."""

    node_starts: np.ndarray
    leaf_starts: np.ndarray
    places: np.ndarray
    ranks: np.ndarray
    flips: np.ndarray
    skips: np.ndarray
    slots: np.ndarray
    sides: np.ndarray
    kinds: np.ndarray
    leaf_values: np.ndarray
    levels: np.ndarray
    base: np.ndarray
    order: np.ndarray


class Nodes(NamedTuple):
    """What ``walk_rows`` follows."""

    node_starts: np.ndarray
    leaf_starts: np.ndarray
    columns: np.ndarray
    thresholds: np.ndarray
    missing: np.ndarray
    left: np.ndarray
    right: np.ndarray
    values: np.ndarray
    base: np.ndarray


def rank_thresholds(forest: Forest) -> tuple[Tables, np.ndarray, np.ndarray]:
    """Replace thresholds by ranks.

    Returns
    -------
    tables
    places : ndarray of int32
        For each node, where the codes stand that it looks at.
    ranks : ndarray of uint8
        A row goes right where its code is greater.
    """
    places = np.zeros(len(forest.columns), np.int32)
    ranks = np.zeros(len(forest.columns), np.uint8)
    columns, counts = np.unique(forest.columns, return_counts=True)
    by_column = np.split(np.argsort(forest.columns, kind="stable"), np.cumsum(counts)[:-1])
    tables, keys, place_starts = [np.zeros(0)], [np.zeros(0, np.int64)], [0]
    for nodes in by_column[: len(columns)]:
        table, rank = np.unique(forest.thresholds[nodes], return_inverse=True)
        part, ranks[nodes] = np.divmod(rank, RANKS)
        key = _place_keys(part, ranks[nodes].astype(np.int64), forest.missing[nodes])
        distinct, place = np.unique(key, return_inverse=True)
        places[nodes] = place_starts[-1] + place
        tables.append(_padded(table))
        keys.append(distinct)
        place_starts.append(place_starts[-1] + len(distinct))
    whole = np.concatenate(keys)
    return (
        Tables(
            columns.astype(np.int64),
            np.concatenate(tables),
            np.cumsum([len(table) for table in tables]),
            np.array(place_starts),
            (whole >> 16) * RANKS,
            (whole >> 8 & 0xFF).astype(np.uint8),
            (whole & 1).astype(np.bool_),
        ),
        places,
        ranks,
    )


def _place_keys(part: np.ndarray, ranks: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """For each node of a column: which ranks, code of NaN, whether zero has it too, in one number.

    NaN goes left where its code is at most the rank. One code serves all nodes of a part if
    those that send it right have the lower ranks.
    """
    zero, left = missing >= ZERO_LEFT, (missing == NAN_LEFT) | (missing == ZERO_LEFT)
    group = part << 1 | zero
    keys = np.empty(len(part), np.int64)
    for one in np.unique(group):
        nodes = group == one
        lowest = ranks[nodes & left].min(initial=RANKS)
        serves = ranks[nodes & ~left].max(initial=-1) < lowest and not one & 1
        code = lowest if serves else np.where(left[nodes], 0, RANKS)
        keys[nodes] = one >> 1 << 16 | code << 8 | one & 1
    return keys


def _padded(table: np.ndarray) -> np.ndarray:
    size = (1 << len(table).bit_length()) - 1
    return np.concatenate([table, np.full(size - len(table), np.inf)])


def steps_of(forest: Forest, places: np.ndarray, ranks: np.ndarray) -> Steps:
    """Lay out the programme of every tree; ``places`` and ``ranks`` are those of its nodes."""
    n_nodes = len(forest.columns)
    order, skips = np.empty(n_nodes, np.int64), np.empty(n_nodes, np.uint16)
    flips, slots, sides, kinds = (np.empty(n_nodes, np.uint8) for _ in range(4))
    leaf_values = np.empty(len(forest.values))
    lay_out(
        forest.node_starts,
        forest.leaf_starts,
        forest.left,
        forest.right,
        forest.values,
        order,
        flips,
        skips,
        slots,
        sides,
        kinds,
        leaf_values,
    )
    laid_ranks = np.where(flips, RANKS - 1 - ranks[order], ranks[order]).astype(np.uint8)
    laid_places = places[order]
    levels = oblivious_levels(forest, places, ranks)
    for tree in np.flatnonzero(levels):
        depth, start = levels[tree], forest.node_starts[tree]
        leaves = slice(*forest.leaf_starts[tree : tree + 2])
        leaf_values[leaves] = forest.values[leaves]
        steps, asked = slice(start, start + depth), start + (1 << np.arange(depth)) - 1
        laid_places[steps], laid_ranks[steps] = places[asked], ranks[asked]
        skips[steps] = 1 << np.arange(depth)[::-1]
    return Steps(
        forest.node_starts,
        forest.leaf_starts,
        laid_places,
        laid_ranks,
        flips,
        skips.astype(np.uint8) if forest.most_leaves <= 256 else skips,
        slots,
        sides,
        kinds,
        leaf_values,
        levels,
        forest.base,
        _walking_order(forest),
    )


def oblivious_levels(forest: Forest, places: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Find the trees that ask the same on all of a level: uint8, how many levels, 0 for others.

    Their nodes must be numbered level by level, and their leaves from left to right.
    """
    levels = np.zeros(forest.n_trees, np.uint8)
    sizes = np.diff(forest.leaf_starts)
    for depth in range(1, MOST_LEVELS + 1):
        trees = np.flatnonzero(sizes == 1 << depth)
        n_nodes = (1 << depth) - 1
        number = np.arange(n_nodes)
        child = 2 * number + 1
        above = (1 << np.log2(number + 1).astype(np.int64)) - 1
        nodes = forest.node_starts[trees, None] + number
        asked = nodes[:, above]
        same = (places[nodes] == places[asked]) & (ranks[nodes] == ranks[asked])
        for side, found in enumerate((forest.left, forest.right)):
            at = child + side
            same &= found[nodes] == np.where(at < n_nodes, at, ~(at - n_nodes))
        levels[trees[same.all(axis=1)]] = depth
    return levels


def nodes_of(forest: Forest) -> Nodes:
    """Take over what is needed of the forest as it is."""
    return Nodes(**{name: getattr(forest, name) for name in Nodes._fields})


def _walking_order(forest: Forest) -> np.ndarray:
    """Let trees that share nodes follow each other, else those of one output."""
    trees = np.arange(forest.n_trees)
    starts = forest.node_starts[np.diff(forest.leaf_starts) > 1]
    if len(np.unique(starts)) < len(starts):
        return trees
    return np.argsort(trees % forest.outputs, kind="stable")
