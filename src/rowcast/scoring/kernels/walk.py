"""Walking a block of rows down all trees at once.

Rather than follow a row from node to node, every node is visited once for the whole block: a byte
mask says which of its rows came this way. With the node's test it falls into two masks, one for
each child, and the loops over a block's bytes become vector instructions. Each row collects its
leaf's number on the way. Taking up a step costs as much as some hundreds of rows in it, so blocks
are wide.

A tree is laid out as a programme of steps, one a node, parents before children. In a step, rows
whose code passes the test turn off the road, and the others stay on it::

    turns = mask[slot] and ((code & bits) ^ flip) > rank
    FORK:    mask[side] = turns, mask[slot] -= turns
    ROAD:    leaf += turns ? number : 0, mask[slot] -= turns       a leaf is where the rows turn
    LEAVES:  leaf += mask[slot] ? number + (turns ? 1 : 0) : 0     no node is down the road either

An oblivious tree asks all rows the same question on each level, so that a leaf's number is made of
the answers, a bit each; it has one step a level::

    leaf += code > rank ? number : 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SLOTS = 20
"""Masks in use at a time; a tree of n leaves needs at most log2(n) + 1 of them."""
AT_ONCE = 4
"""Trees whose leaves are added up in one go, so that sums are loaded and stored less often."""
LEAVES, ROAD, FORK = range(3)


@kernel
def lay_out(
    node_starts: NDArray[np.int64],
    leaf_starts: NDArray[np.int64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    values: NDArray[np.float64],
    order: NDArray[np.int64],
    flips: NDArray[np.uint8],
    numbers: NDArray[np.uint16],
    slots: NDArray[np.uint8],
    sides: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    leaf_values: NDArray[np.float64],
) -> None:
    """Make each tree's programme; ``order`` is the node of each step, the rest as in ``walk``.

    The child that needs fewer slots is where rows turn off, and is walked first, so that few
    masks wait at a time.
    """
    for tree in range(len(node_starts)):
        start, first_leaf = node_starts[tree], leaf_starts[tree]
        n = leaf_starts[tree + 1] - first_leaf - 1
        if n == 0:
            leaf_values[first_leaf] = values[first_leaf]
            continue
        size = np.zeros(n, np.int64)
        need = np.zeros(n, np.int64)
        flip = np.zeros(n, np.bool_)
        for node in range(n - 1, -1, -1):
            a, b = left[start + node], right[start + node]
            size[node] = (size[a] if a >= 0 else 1) + (size[b] if b >= 0 else 1)
            need_a, need_b = (need[a] if a >= 0 else 0), (need[b] if b >= 0 else 0)
            flip[node] = need_a < need_b
            need[node] = max(1, need_a, need_b, min(need_a, need_b) + 1)
        step = start
        stack = np.empty((n + 1, 4), np.int64)
        stack[0, :] = 0
        stack[0, 2] = 1
        waiting = 1
        while waiting:
            waiting -= 1
            node, slot, free, leaf = stack[waiting]
            if node < 0:
                leaf_values[first_leaf + leaf] = values[first_leaf + ~node]
                continue
            road, turn = left[start + node], right[start + node]
            if flip[node]:
                road, turn = turn, road
            skip = size[road] if road >= 0 else 1
            order[step] = start + node
            flips[step] = 255 if flip[node] else 0
            numbers[step] = leaf if road < 0 else leaf + skip
            slots[step] = slot
            sides[step] = free
            kinds[step] = LEAVES if road < 0 else ROAD if turn < 0 else FORK
            step += 1
            stack[waiting, 0], stack[waiting, 1] = road, slot
            stack[waiting, 2], stack[waiting, 3] = free, leaf
            stack[waiting + 1, 0], stack[waiting + 1, 1] = turn, free
            stack[waiting + 1, 2], stack[waiting + 1, 3] = free + 1, leaf + skip
            waiting += 2


@kernel
def walk(
    codes: NDArray[np.uint8],
    node_starts: NDArray[np.int64],
    leaf_starts: NDArray[np.int64],
    places: NDArray[np.int32],
    bits: NDArray[np.uint8],
    ranks: NDArray[np.uint8],
    flips: NDArray[np.uint8],
    numbers: NDArray[np.uint8],
    slots: NDArray[np.uint8],
    sides: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    leaf_values: NDArray[np.float64],
    levels: NDArray[np.uint8],
    base: NDArray[np.float64],
    trees: NDArray[np.int64],
    walks: NDArray[np.int64],
    batches: NDArray[np.int64],
    margins: NDArray[np.float64],
) -> None:
    """Fill ``margins`` of shape (n_rows, outputs) from ``codes`` of shape (blocks, places, width).

    Walk w finds the leaves of the ``trees[walks[w]:walks[w + 1]]``, which share their nodes. The
    walks ``batches[b]:batches[b + 1]``, of trees for the same outputs, are added up at once: at
    most AT_ONCE. ``bits`` are all set but for a node that asks for one set of several. ``levels``
    is 0 for a tree that is not oblivious. ``numbers`` is as wide as leaf numbers are: uint8, or
    uint16 for trees of more than 256 leaves. The loops over a block are written for LLVM: no
    branches, no numbers wider than the arrays'.
    """
    n_rows, outputs = margins.shape
    width = codes.shape[2]
    masks = np.empty((MOST_SLOTS, width), np.uint8)
    leaves = np.empty((AT_ONCE, width), numbers.dtype)
    sums = np.empty((outputs, width))
    for block in range(len(codes)):
        first = block * width
        for output in range(outputs):
            sums[output, :] = base[output]
        for batch in range(len(batches) - 1):
            walked, stop = batches[batch], batches[batch + 1]
            for number in range(walked, stop):
                leaf = leaves[number - walked]
                leaf[:] = 0
                tree = trees[walks[number]]
                start = node_starts[tree]
                n_nodes = leaf_starts[tree + 1] - leaf_starts[tree] - 1
                if levels[tree]:
                    for step in range(start, start + levels[tree]):
                        code, rank = codes[block, places[step]], ranks[step]
                        bit, own = bits[step], numbers[step]
                        for i in range(width):
                            passes = np.uint8(255 if code[i] & bit > rank else 0)
                            leaf[i] += np.int8(passes) & own
                    continue
                masks[0, :] = 255
                for step in range(start, start + n_nodes):
                    code, here = codes[block, places[step]], masks[slots[step]]
                    rank, flip, bit, own = ranks[step], flips[step], bits[step], numbers[step]
                    if kinds[step] == LEAVES:
                        for i in range(width):
                            passes = np.uint8(255 if np.uint8(code[i] & bit ^ flip) > rank else 0)
                            leaf[i] += np.int8(here[i]) & (own + (passes & 1))
                    elif kinds[step] == ROAD:
                        for i in range(width):
                            passes = np.uint8(255 if np.uint8(code[i] & bit ^ flip) > rank else 0)
                            turns = here[i] & passes
                            leaf[i] += np.int8(turns) & own
                            here[i] ^= turns
                    else:
                        side = masks[sides[step]]
                        for i in range(width):
                            passes = np.uint8(255 if np.uint8(code[i] & bit ^ flip) > rank else 0)
                            turns = here[i] & passes
                            here[i] ^= turns
                            side[i] = turns
            for shared in range(walks[walked + 1] - walks[walked]):
                total = sums[trees[walks[walked] + shared] % outputs]
                if stop - walked == AT_ONCE:
                    one = leaf_values[leaf_starts[trees[walks[walked] + shared]] :]
                    two = leaf_values[leaf_starts[trees[walks[walked + 1] + shared]] :]
                    three = leaf_values[leaf_starts[trees[walks[walked + 2] + shared]] :]
                    four = leaf_values[leaf_starts[trees[walks[walked + 3] + shared]] :]
                    for i in range(width):
                        value = total[i] + one[leaves[0, i]]
                        value = value + two[leaves[1, i]]
                        value = value + three[leaves[2, i]]
                        total[i] = value + four[leaves[3, i]]
                else:
                    for number in range(walked, stop):
                        chosen = leaf_values[leaf_starts[trees[walks[number] + shared]] :]
                        leaf = leaves[number - walked]
                        for i in range(width):
                            total[i] += chosen[leaf[i]]
        for output in range(outputs):
            for i in range(min(width, n_rows - first)):
                margins[first + i, output] = sums[output, i]


@kernel
def walk_rows(
    matrix: NDArray[np.float64],
    near_zero: float,
    node_starts: NDArray[np.int64],
    leaf_starts: NDArray[np.int64],
    columns: NDArray[np.int32],
    thresholds: NDArray[np.float64],
    missing: NDArray[np.uint8],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    values: NDArray[np.float64],
    base: NDArray[np.float64],
    set_starts: NDArray[np.int64],
    set_edges: NDArray[np.float64],
    margins: NDArray[np.float64],
) -> None:
    """Fill ``margins`` from values and nodes: quicker for the few rows that make no block.

    ``missing`` is as in ``Forest``: even numbers send missing values left, with 2 and 3 zero is one
    of these, and from 4 on there is a set instead of a threshold.
    """
    n_trees, outputs = len(node_starts), margins.shape[1]
    for row in range(len(matrix)):
        margins[row] = base
        for tree in range(n_trees):
            first = node_starts[tree]
            single = leaf_starts[tree + 1] - leaf_starts[tree] == 1
            at = np.int64(-1) if single else np.int64(0)
            while at >= 0:
                node = first + at
                value = matrix[row, columns[node]]
                goes_left = value <= thresholds[node]
                if missing[node] >= 4:
                    number = np.int64(thresholds[node])
                    low, high = set_starts[number], set_starts[number + 1]
                    goes_left = np.searchsorted(set_edges[low:high], value) & 1 == 1
                if not abs(value) > near_zero and (value != value or 2 <= missing[node] <= 3):
                    goes_left = missing[node] & 1 == 0
                at = np.int64(left[node] if goes_left else right[node])
            margins[row, tree % outputs] += values[leaf_starts[tree] + ~at]
