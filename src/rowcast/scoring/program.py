"""A forest made ready to score: thresholds as ranks, trees as programmes of steps."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rowcast.scoring.forest import NEAR_ZERO, SET_NAN_LEFT, ZERO_LEFT, reference_margins
from rowcast.scoring.kernels import why_interpreted
from rowcast.scoring.kernels.quantise import RANKS, WORD, quantise
from rowcast.scoring.kernels.walk import AT_ONCE, lay_out, walk, walk_rows

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
CELLS = 1024
"""Into as many a column's range is cut, at most, to look for a rank in one of them."""
FEW_HALVINGS = 2
"""Of the thresholds left to search: finer cells are not worth it."""
MOST_LEVELS = 8
"""Of an oblivious tree that is walked as one: its leaves are numbered in a byte."""
CODES_BYTES = 1 << 20
"""About as much is quantised before it is walked, so that it is still in the cache."""


class Program:
    """Scores matrices with one forest, on the calling thread. Safe to share between threads."""

    def __init__(self, forest: Forest) -> None:
        self.forest = forest
        self.tables, self.asked = rank_thresholds(forest)
        self.steps = steps_of(forest, self.asked)
        self._nodes = nodes_of(forest)
        nodes, levels = np.diff(forest.leaf_starts) - 1, self.steps.levels
        steps_a_tree = int(np.where(levels, levels, nodes).sum()) // max(1, forest.n_trees)
        self._most_alone = min(max(1, steps_a_tree // NODES_ALONE), MOST_ALONE)

    def margins(self, matrix: np.ndarray) -> np.ndarray:
        """Sum up each row's leaves in the order of the trees: shape (n_rows, outputs).

        A row's bits do not depend on the rows beside it.
        """
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        if why_interpreted() is not None:
            return reference_margins(self.forest, matrix)
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
            walk(used, *self.steps, margins[rows])
        return margins

    def codes(self, matrix: np.ndarray, width: int) -> np.ndarray:
        """Quantise all rows: uint8 of shape (blocks, places, width); see ``quantise``."""
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        codes = np.empty(
            (-(-len(matrix) // width), max(1, len(self.tables.lowest)), width), np.uint8
        )
        quantise(matrix, NEAR_ZERO, *self.tables, codes)
        return codes


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
    grids: np.ndarray
    cells: np.ndarray
    cell_starts: np.ndarray
    place_starts: np.ndarray
    lowest: np.ndarray
    nan_codes: np.ndarray
    zero_apart: np.ndarray
    set_tables: np.ndarray
    set_bits: np.ndarray
    word_starts: np.ndarray
    words: np.ndarray


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
    numbers: np.ndarray
    slots: np.ndarray
    sides: np.ndarray
    kinds: np.ndarray
    leaf_values: np.ndarray
    levels: np.ndarray
    base: np.ndarray
    trees: np.ndarray
    walks: np.ndarray
    batches: np.ndarray


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
    tables, grids = [np.zeros(0)], [np.zeros((0, 3))]
    cells, made = [np.zeros(0, np.int32)], [_number_places(np.zeros(0, np.int64))]
    place_starts, n_bits = [0], 0
    n_ranks = []
    for nodes in by_column[: len(columns)]:
        table, places = _rank_column(forest, nodes, asked, n_bits)
        asked.places[nodes] += place_starts[-1]
        grid, first = _grid(table)
        tables.append(np.append(table, np.full(1 << int(grid[0, 2]), np.inf)))
        grids.append(grid)
        cells.append(first)
        made.append(places)
        n_ranks += [len(table) + 1] * len(places.lowest)
        place_starts.append(place_starts[-1] + len(places.lowest))
        n_bits += len(places.set_bits)
    joined = _joined(made)
    return (
        Tables(
            columns.astype(np.int64),
            np.concatenate(tables),
            np.cumsum([len(table) for table in tables]),
            np.concatenate(grids),
            np.concatenate(cells),
            np.cumsum([len(first) for first in cells]),
            np.array(place_starts),
            *joined,
            *_words(joined, np.array(place_starts), n_ranks),
        ),
        asked,
    )


def _words(
    places: _Places, place_starts: np.ndarray, n_ranks: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Put the bytes of WORD places of sets, which follow each other, into words.

    Returns
    -------
    starts : ndarray of int64
        For each place that is the first of WORD of its column, where their words start, by
        rank; -1 for all others.
    words : ndarray of uint64
        The first place's byte is the lowest.
    """
    starts = np.full(len(places.set_tables), -1, np.int64)
    words, size = [np.zeros(0, np.uint64)], 0
    for first, end in pairwise(place_starts.tolist()):
        of_sets = first + np.flatnonzero(places.set_tables[first:end] >= 0)
        for group in of_sets[: len(of_sets) // WORD * WORD].reshape(-1, WORD):
            ranks = n_ranks[group[0]]
            starts[group[0]] = size
            tables = [places.set_bits[at : at + ranks] for at in places.set_tables[group]]
            shifted = [
                table.astype(np.uint64) << np.uint64(8 * n) for n, table in enumerate(tables)
            ]
            words.append(np.bitwise_or.reduce(shifted))
            size += ranks
    return starts, np.concatenate(words)


def _rank_column(
    forest: Forest, nodes: np.ndarray, asked: Asked, n_bits: int
) -> tuple[np.ndarray, _Places]:
    """Say what the nodes of one column ask, of places that are numbered from 0.

    Returns
    -------
    table : ndarray of float64
        All thresholds and edges, ascending.
    places
        Their tables of bits start at ``n_bits``.
    """
    in_set = forest.missing[nodes] >= SET_NAN_LEFT
    numbers, sets = nodes[~in_set], nodes[in_set]
    edges = [_edges(forest, node) for node in sets.tolist()]
    limits = forest.thresholds[numbers]
    table = np.unique(np.concatenate([limits, *edges]))
    part, ranks = np.divmod(np.searchsorted(table, limits), RANKS)
    keys, place = np.unique(_place_keys(part, ranks, forest.missing[numbers]), return_inverse=True)
    asked.places[numbers], asked.ranks[numbers] = place, ranks
    number, distinct = _distinct_sets(edges, forest.missing[sets] == SET_NAN_LEFT)
    asked.places[sets] = len(keys) + number // SETS
    asked.bits[sets] = 1 << number % SETS
    asked.ranks[sets] = asked.bits[sets] - 1
    return table, _joined([_number_places(keys), _set_places(distinct, table, n_bits)])


def _joined(places: list[_Places]) -> _Places:
    return _Places(*(np.concatenate(arrays) for arrays in zip(*places, strict=True)))


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


def _grid(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut the range of a column's thresholds into cells, to start the search for a rank in.

    Returns
    -------
    grid : ndarray of shape (1, 3)
        What is subtracted from a value and what that is multiplied by to find its cell, and how
        often a cell's thresholds are halved until one is left.
    first : ndarray of int32
        For each cell, how many thresholds lie in the cells before it.
    """
    finite = table[np.isfinite(table)]
    low, high = (finite[0], finite[-1]) if len(finite) else (0.0, 0.0)
    best = (low, 0.0, len(table).bit_length()), np.zeros(1, np.int64)
    for n_cells in (CELLS >> 6, CELLS >> 4, CELLS >> 2, CELLS):
        if best[0][2] <= FEW_HALVINGS:
            break
        with np.errstate(all="ignore"):
            scale = np.float64(n_cells) / (high - low)
        if not 0.0 < scale < np.inf:
            continue
        cell = np.clip((table - low) * scale, 0, n_cells - 1).astype(np.int64)
        counts = np.bincount(cell, minlength=n_cells)
        halvings = int(counts.max()).bit_length()
        if halvings < best[0][2]:
            best = (low, float(scale), halvings), np.cumsum(counts) - counts
    return np.array([best[0]]), best[1].astype(np.int32)


def steps_of(forest: Forest, asked: Asked) -> Steps:
    """Lay out the programme of every tree."""
    n_nodes = len(forest.columns)
    order, numbers = np.empty(n_nodes, np.int64), np.empty(n_nodes, np.uint16)
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
        numbers,
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
        numbers[steps] = 1 << np.arange(depth)[::-1]
    return Steps(
        forest.node_starts,
        forest.leaf_starts,
        places,
        bits,
        ranks,
        flips,
        numbers.astype(np.uint8) if forest.most_leaves <= 256 else numbers,
        slots,
        sides,
        kinds,
        leaf_values,
        levels,
        forest.base,
        *_walks(forest),
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


def _walks(forest: Forest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Say which trees a walk is for, and which walks are added up at once.

    Trees that share nodes follow each other, else those of one output. Each output's trees stay
    in order.
    """
    trees = np.arange(forest.n_trees)
    inner = np.diff(forest.leaf_starts) > 1
    if len(np.unique(forest.node_starts[inner])) == inner.sum():
        trees = np.argsort(trees % forest.outputs, kind="stable")
    starts = np.where(inner, forest.node_starts, ~np.arange(forest.n_trees))[trees]
    other = np.diff(starts, prepend=-1 - forest.n_trees) != 0
    walks = np.flatnonzero(other | (trees % forest.outputs == 0))
    counts = np.diff(walks, append=forest.n_trees)
    kinds = counts * forest.outputs + trees[walks] % forest.outputs
    batches, size = [0], 0
    for number, changes in enumerate(np.diff(kinds, prepend=kinds[:1]) != 0):
        if size == AT_ONCE or (changes and size):
            batches.append(number)
            size = 0
        size += 1
    if len(walks):
        batches.append(len(walks))
    return trees, np.append(walks, forest.n_trees), np.array(batches)
