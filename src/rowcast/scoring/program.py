"""A forest made ready to score: thresholds as ranks, trees as programmes of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rowcast.scoring.forest import NEAR_ZERO, SET_NAN_LEFT, ZERO_LEFT
from rowcast.scoring.kernels.quantise import RANKS, quantise
from rowcast.scoring.kernels.walk import lay_out, walk, walk_rows

if TYPE_CHECKING:
    from rowcast.scoring.forest import Forest

MOST_ALONE = 32
NODES_ALONE = 4
"""Up to MOST_ALONE rows are walked one by one: to walk a row down a tree costs about as much as
NODES_ALONE steps of a narrow block."""
SETS = 8
"""Sets whose bits share a code."""
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
        self.tables, asked = rank_thresholds(forest)
        self._steps = steps_of(forest, asked)
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
    set_tables: np.ndarray
    set_bits: np.ndarray


class Asked(NamedTuple):
    """What each node asks: a row goes right where ``codes[place] & bits > rank``."""

    places: np.ndarray
    """int32."""
    bits: np.ndarray
    """uint8."""
    ranks: np.ndarray
    """uint8."""


class Steps(NamedTuple):
    """What ``walk`` follows."""

    node_starts: np.ndarray
    leaf_starts: np.ndarray
    places: np.ndarray
    bits: np.ndarray
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
    set_starts: np.ndarray
    set_edges: np.ndarray


class _Places(NamedTuple):
    """The places of some nodes of one column; the fields are those of ``Tables``."""

    lowest: np.ndarray
    nan_codes: np.ndarray
    zero_apart: np.ndarray
    set_tables: np.ndarray
    set_bits: np.ndarray


def rank_thresholds(forest: Forest) -> tuple[Tables, Asked]:
    """Replace thresholds by ranks, and sets by bits that are looked up by rank."""
    n_nodes = len(forest.columns)
    asked = Asked(
        np.zeros(n_nodes, np.int32), np.full(n_nodes, 255, np.uint8), np.zeros(n_nodes, np.uint8)
    )
    columns, counts = np.unique(forest.columns, return_counts=True)
    by_column = np.split(np.argsort(forest.columns, kind="stable"), np.cumsum(counts)[:-1])
    tables, made, place_starts = [np.zeros(0)], [_number_places(np.zeros(0, np.int64))], [0]
    n_bits = 0
    for nodes in by_column[: len(columns)]:
        in_set = forest.missing[nodes] >= SET_NAN_LEFT
        numbers, sets = nodes[~in_set], nodes[in_set]
        edges = [_edges(forest, node) for node in sets.tolist()]
        table = np.unique(np.concatenate([forest.thresholds[numbers], *edges]))
        part, asked.ranks[numbers] = np.divmod(
            np.searchsorted(table, forest.thresholds[numbers]), RANKS
        )
        keys = _place_keys(part, asked.ranks[numbers].astype(np.int64), forest.missing[numbers])
        distinct, place = np.unique(keys, return_inverse=True)
        asked.places[numbers] = place_starts[-1] + place
        made.append(_number_places(distinct))
        number, distinct_sets = _distinct_sets(edges, forest.missing[sets] == SET_NAN_LEFT)
        asked.places[sets] = place_starts[-1] + len(distinct) + number // SETS
        asked.bits[sets] = 1 << number % SETS
        asked.ranks[sets] = asked.bits[sets] - 1
        made.append(_set_places(distinct_sets, table, n_bits))
        n_bits += len(made[-1].set_bits)
        tables.append(_padded(table))
        place_starts.append(place_starts[-1] + len(distinct) + len(made[-1].lowest))
    places = _Places(*(np.concatenate(arrays) for arrays in zip(*made, strict=True)))
    return (
        Tables(
            columns.astype(np.int64),
            np.concatenate(tables),
            np.cumsum([len(table) for table in tables]),
            np.array(place_starts),
            *places,
        ),
        asked,
    )


def _edges(forest: Forest, node: int) -> np.ndarray:
    number = int(forest.thresholds[node])
    return forest.set_edges[slice(*forest.set_starts[number : number + 2])]


def _place_keys(part: np.ndarray, ranks: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """For each node of a column: which ranks, code of NaN, whether zero has it too, in one number.

    NaN goes left where its code is at most the rank. One code serves all nodes of a part if
    those that send it right have the lower ranks.
    """
    zero, left = missing >= ZERO_LEFT, missing % 2 == 0
    group = part << 1 | zero
    keys = np.empty(len(part), np.int64)
    for one in np.unique(group):
        nodes = group == one
        lowest = ranks[nodes & left].min(initial=RANKS)
        serves = ranks[nodes & ~left].max(initial=-1) < lowest and not one & 1
        code = lowest if serves else np.where(left[nodes], 0, RANKS)
        keys[nodes] = one >> 1 << 16 | code << 8 | one & 1
    return keys


def _number_places(keys: np.ndarray) -> _Places:
    return _Places(
        (keys >> 16) * RANKS,
        (keys >> 8 & 0xFF).astype(np.uint8),
        (keys & 1).astype(np.bool_),
        np.full(len(keys), -1, np.int64),
        np.zeros(0, np.uint8),
    )


_Set = tuple[bytes, bool]
"""The edges, and whether NaN is in it too."""


def _distinct_sets(edges: list[np.ndarray], nan: np.ndarray) -> tuple[np.ndarray, list[_Set]]:
    """Number sets in the order that nodes ask for them."""
    numbers: dict[_Set, int] = {}
    keys = [(own.tobytes(), with_nan) for own, with_nan in zip(edges, nan.tolist(), strict=True)]
    number = [numbers.setdefault(key, len(numbers)) for key in keys]
    return np.array(number, np.int64), list(numbers)


def _set_places(sets: list[_Set], table: np.ndarray, first: int) -> _Places:
    """Set the bit of a set for each rank that lies outside of it, where rows go right."""
    n_places, n_ranks = -(-len(sets) // SETS), len(table) + 1
    outside = np.zeros((n_places, n_ranks), np.uint8)
    nan_codes = np.zeros(n_places, np.uint8)
    for number, (edges, nan) in enumerate(sets):
        place, bit = number // SETS, np.uint8(1 << number % SETS)
        beyond = np.zeros(n_ranks, np.int64)
        beyond[np.searchsorted(table, np.frombuffer(edges)) + 1] = 1
        outside[place][np.cumsum(beyond) % 2 == 0] |= bit
        nan_codes[place] |= np.uint8(0) if nan else bit
    return _Places(
        np.zeros(n_places, np.int64),
        nan_codes,
        np.zeros(n_places, np.bool_),
        first + n_ranks * np.arange(n_places),
        outside.ravel(),
    )


def _padded(table: np.ndarray) -> np.ndarray:
    size = (1 << len(table).bit_length()) - 1
    return np.concatenate([table, np.full(size - len(table), np.inf)])


def steps_of(forest: Forest, asked: Asked) -> Steps:
    """Lay out the programme of every tree."""
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
    places, bits, ranks = (array[order] for array in asked)
    ranks = np.where(flips, RANKS - 1 - ranks, ranks).astype(np.uint8)
    levels = oblivious_levels(forest, asked)
    for tree in np.flatnonzero(levels):
        depth, start = levels[tree], forest.node_starts[tree]
        leaves = slice(*forest.leaf_starts[tree : tree + 2])
        leaf_values[leaves] = forest.values[leaves]
        steps, nodes = slice(start, start + depth), start + (1 << np.arange(depth)) - 1
        places[steps], bits[steps], ranks[steps] = (array[nodes] for array in asked)
        skips[steps] = 1 << np.arange(depth)[::-1]
    return Steps(
        forest.node_starts,
        forest.leaf_starts,
        places,
        bits,
        ranks,
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


def oblivious_levels(forest: Forest, asked: Asked) -> np.ndarray:
    """Find the trees that ask the same on all of a level: uint8, how many levels, 0 for others.

    Their nodes must be numbered level by level, and their leaves from left to right.
    """
    levels = np.zeros(forest.n_trees, np.uint8)
    places, _, ranks = asked
    sizes = np.diff(forest.leaf_starts)
    for depth in range(1, MOST_LEVELS + 1):
        trees = np.flatnonzero(sizes == 1 << depth)
        n_nodes = (1 << depth) - 1
        number = np.arange(n_nodes)
        child = 2 * number + 1
        above = (1 << np.log2(number + 1).astype(np.int64)) - 1
        nodes = forest.node_starts[trees, None] + number
        first = nodes[:, above]
        same = (places[nodes] == places[first]) & (ranks[nodes] == ranks[first])
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
