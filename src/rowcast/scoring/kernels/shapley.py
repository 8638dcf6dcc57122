"""Shapley values of margins, and margins of coalitions, from one look at every leaf.

A coalition takes some features from the row and the others from the baseline, and ends in a leaf
if every feature does that the leaf's path asks about. So a leaf asks for two sets of features:
those that must come from the row, as the baseline leaves the path where it asks about them, and
those that must come from the baseline, as the row does. Leaves that some coalition reaches are a
row's terms; where a row is like the baseline there are few. A term that asks for p features of
the row and q of the baseline has simple Shapley values: ``value (p-1)! q! / (p+q)!`` for each of
the former, and ``-value p! (q-1)! / (p+q)!`` for each of the latter; an attribution is the sum
over terms.

Terms are found for 64 rows at once. An edge leads from a node to its left child (twice the node's
number) or to its right one (one more). Its mask, a bit a row, says whether the row passes all tests
of the edge's feature on the way down to it; it is made of the test and of the mask of the edge
``above``, the nearest one further up that asks about the same feature. A leaf looks at the last
edge of each feature on its path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 64
"""Rows whose terms are found together: the bits of a mask."""
LANES = 4
"""Quadrature nodes that are worked on together, whether or not all are used."""
HEADER = 4
"""Numbers of a term before its features."""
NONE, ONE = np.uint64(0), np.uint64(1)
HASH = np.uint64(67)
"""Powers of two up to 2**63 leave different rests when they are divided by it."""
BITS = np.zeros(67, np.int64)
BITS[[(1 << _bit) % 67 for _bit in range(64)]] = np.arange(64)


@kernel
def trace_paths(
    baseline: NDArray[np.bool_],
    node_starts: NDArray[np.int64],
    leaf_starts: NDArray[np.int64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    features: NDArray[np.int32],
    trees: NDArray[np.int64],
    walks: NDArray[np.int64],
    above: NDArray[np.int64],
    taken: NDArray[np.bool_],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    moved: NDArray[np.int64],
    edges: NDArray[np.int64],
) -> None:
    """Find the edges that each leaf looks at.

    ``baseline`` says for each node whether the baseline goes right. Walk w is for the trees
    ``trees[walks[w]:walks[w + 1]]``, which share nodes; their leaves are numbered as those of the
    first. Fills ``above`` and ``taken``, whether the baseline passes all tests, for each edge, and
    ``sizes``, how many edges each leaf looks at. Leaf k has ``edges`` from ``starts[k]`` on, first
    those that the baseline does not take, which are ``moved[k]``. If ``edges`` is empty, they are
    only counted.
    """
    for walk in range(len(walks) - 1):
        tree = trees[walks[walk]]
        start, first_leaf = node_starts[tree], leaf_starts[tree]
        n = leaf_starts[tree + 1] - first_leaf - 1
        parents = np.full(n + 1, -1, np.int64)
        ends = np.full(n + 1, -1, np.int64)
        for node in range(start, start + n):
            higher = parents[node - start]
            while higher >= 0 and features[higher >> 1] != features[node]:
                higher = parents[(higher >> 1) - start]
            for side in range(2):
                edge = 2 * node + side
                child = right[node] if side else left[node]
                above[edge] = higher
                taken[edge] = (baseline[node] == (side == 1)) and (higher < 0 or taken[higher])
                if child >= 0:
                    parents[child] = edge
                else:
                    ends[~child] = edge
        path = np.empty(n + 1, np.int64)
        for leaf in range(n + 1):
            size = 0
            edge = ends[leaf]
            while edge >= 0:
                known = False
                for k in range(size):
                    known |= features[path[k] >> 1] == features[edge >> 1]
                if not known:
                    path[size] = edge
                    size += 1
                edge = parents[(edge >> 1) - start]
            sizes[first_leaf + leaf] = size
            if len(edges):
                at = starts[first_leaf + leaf]
                for want in (False, True):
                    for k in range(size - 1, -1, -1):
                        if taken[path[k]] == want:
                            edges[at] = path[k]
                            at += 1
                    if not want:
                        moved[first_leaf + leaf] = at - starts[first_leaf + leaf]


@kernel
def margin_shares(
    codes: NDArray[np.uint8],
    node_starts: NDArray[np.int64],
    leaf_starts: NDArray[np.int64],
    left: NDArray[np.int32],
    right: NDArray[np.int32],
    test_places: NDArray[np.int32],
    test_bits: NDArray[np.uint8],
    test_ranks: NDArray[np.uint8],
    tests: NDArray[np.int64],
    features: NDArray[np.int32],
    values: NDArray[np.float64],
    trees: NDArray[np.int64],
    walks: NDArray[np.int64],
    above: NDArray[np.int64],
    taken: NDArray[np.bool_],
    starts: NDArray[np.int64],
    moved: NDArray[np.int64],
    edges: NDArray[np.int64],
    joining: NDArray[np.float64],
    staying: NDArray[np.float64],
    shares: NDArray[np.float64],
    still: NDArray[np.float64],
    terms: NDArray[np.int32],
    ends: NDArray[np.int64],
) -> int:
    """Add each row's Shapley values of the margins to ``shares``, and list its terms.

    ``codes`` are of shape (blocks, places, WIDTH); node k sends rows right where
    ``codes[place] & bits > rank`` of the test number ``tests[k]``. ``shares`` is of shape
    (n, outputs, features). A term gives ``joining[p, q]`` of its value to each of the p features
    that must come from the row, and takes ``staying[p, q]`` of it from each of the q that must
    come from the baseline.

    Row r has the terms ``terms[r, :ends[r]]``: for each the walk, the leaf's number in the tree,
    p, q, and the features, first the p. Terms that ask for nothing are added up in ``still`` of
    shape (n, outputs) instead. If ``terms`` has no room at all, none of this is done.

    Returns
    -------
    int
        How much room is needed. If there is less, the lists are not whole.
    """
    n_rows, outputs, n_features = shares.shape
    room, needed = terms.shape[1], 0
    listed = room > 0
    largest, deepest = 1, 1
    for tree in range(len(node_starts)):
        largest = max(largest, leaf_starts[tree + 1] - leaf_starts[tree])
    for leaf in range(len(moved)):
        deepest = max(deepest, starts[leaf + 1] - starts[leaf])
    passed = np.empty(len(test_places), np.uint64)
    masks, reach = np.empty(2 * largest, np.uint64), np.empty(largest, np.uint64)
    reached, reaching = np.empty(largest, np.int64), np.empty(largest, np.uint64)
    back_masks, back_features = np.empty(deepest, np.uint64), np.empty(deepest, np.int32)
    asked, weights = np.empty(2 * deepest, np.int32), np.empty(2 * deepest)
    sums = np.empty((outputs, n_features, WIDTH))
    for block in range(len(codes)):
        first_row = block * WIDTH
        n_here = min(n_rows - first_row, WIDTH)
        sums[:] = 0.0
        for test in range(len(test_places)):
            code = codes[block, test_places[test]]
            bit, rank = test_bits[test], test_ranks[test]
            word = NONE
            for i in range(WIDTH):
                word |= np.uint64(code[i] & bit > rank) << np.uint64(i)
            passed[test] = word
        for walk in range(len(walks) - 1):
            tree = trees[walks[walk]]
            start, first_leaf = node_starts[tree], leaf_starts[tree]
            n = leaf_starts[tree + 1] - first_leaf - 1
            reach[0] = ~NONE if n_here == WIDTH else (ONE << np.uint64(n_here)) - ONE
            n_reached = 0
            if n == 0:
                reached[0], reaching[0], n_reached = 0, reach[0], 1
            for node in range(n):
                here, lower, upper = reach[node], left[start + node], right[start + node]
                to_right = passed[tests[start + node]]
                to_left = ~to_right
                higher = above[2 * (start + node)]
                if higher >= 0:
                    to_right &= masks[higher - 2 * start]
                    to_left &= masks[higher - 2 * start]
                masks[2 * node], masks[2 * node + 1] = to_left, to_right
                to_left = here if taken[2 * (start + node)] else here & to_left
                to_right = here if taken[2 * (start + node) + 1] else here & to_right
                if lower >= 0:
                    reach[lower] = to_left
                else:
                    reached[n_reached], reaching[n_reached] = ~lower, to_left
                    n_reached += to_left != NONE
                if upper >= 0:
                    reach[upper] = to_right
                else:
                    reached[n_reached], reaching[n_reached] = ~upper, to_right
                    n_reached += to_right != NONE
            for number in range(n_reached):
                leaf, alive = reached[number], reaching[number]
                first, stop = starts[first_leaf + leaf], starts[first_leaf + leaf + 1]
                p, n_back = moved[first_leaf + leaf], 0
                for k in range(p):
                    asked[k] = features[edges[first + k] >> 1]
                for k in range(first + p, stop):
                    back = alive & ~masks[edges[k] - 2 * start]
                    back_masks[n_back] = back
                    back_features[n_back] = features[edges[k] >> 1]
                    n_back += back != NONE
                while alive != NONE:  # a group of rows of which the leaf asks the same
                    low = alive & (~alive + ONE)
                    group, q = alive, 0
                    for k in range(n_back):
                        is_back = back_masks[k] & low != NONE
                        group &= back_masks[k] if is_back else ~back_masks[k]
                        asked[p + q] = back_features[k]
                        q += is_back
                    alive ^= group
                    if p + q == 0 and not listed:
                        continue
                    for shared in range(walks[walk], walks[walk + 1]):
                        own = trees[shared]
                        output = own % outputs if outputs > 1 else 0
                        value = values[leaf_starts[own] + leaf]
                        for k in range(p + q):
                            weights[k] = value * joining[p, q] if k < p else -value * staying[p, q]
                        total, rest = sums[output], group
                        while rest != NONE:
                            low = rest & (~rest + ONE)
                            rest ^= low
                            row = BITS[low % HASH]
                            for k in range(p + q):
                                total[asked[k], row] += weights[k]
                            if p + q == 0:
                                still[first_row + row, output] += value
                    if not listed or p + q == 0:
                        continue
                    while group != NONE:
                        low = group & (~group + ONE)
                        group ^= low
                        row = first_row + BITS[low % HASH]
                        at = ends[row]
                        ends[row] = at + HEADER + p + q
                        needed = max(needed, ends[row])
                        if ends[row] <= room:
                            term = terms[row]
                            term[at], term[at + 1], term[at + 2], term[at + 3] = walk, leaf, p, q
                            for k in range(p + q):
                                term[at + HEADER + k] = asked[k]
        for i in range(n_here):
            for output in range(outputs):
                for feature in range(n_features):
                    shares[first_row + i, output, feature] += sums[output, feature, i]
    return needed


@kernel
def coalition_margins(
    terms: NDArray[np.int32],
    ends: NDArray[np.int64],
    leaf_starts: NDArray[np.int64],
    values: NDArray[np.float64],
    trees: NDArray[np.int64],
    walks: NDArray[np.int64],
    seats: NDArray[np.int32],
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    joined: NDArray[np.float64],
    stayed: NDArray[np.float64],
    tables: NDArray[np.float64],
) -> None:
    """Add up what the margins of each row's coalitions are made of; see ``sum_subsets``.

    Row r seats feature f at ``seats[r, f]``: the first ``heads[r]`` seats are its head, the next
    ``tails[r]`` its tail. Lane l lets a feature of the tail come from the row with probability
    ``joined[1, l]``, and from the baseline with ``stayed[1, l]``; row p has their p-th powers.
    ``tables`` is of shape (n, outputs, cells, LANES). The cells of coalition S of the head, whose
    bits are the seats that come from the row, are ``S * (1 + tails[r])``, for the mean margin, and
    those after it, for the mean change of the margin when one feature of the tail changes from
    the baseline's value to the row's. What is added to S counts for all coalitions that hold S,
    so a term that keeps features out adds to some and takes away from others.
    """
    n_rows, outputs = tables.shape[:2]
    deepest = len(joined)
    cells = np.empty(deepest + 1, np.int64)
    weights = np.empty((3, LANES))
    for row in range(n_rows):
        term, at, seat_of = terms[row], 0, seats[row]
        head, size = heads[row], 1 + tails[row]
        while at < ends[row]:
            walk, leaf, middle = term[at], term[at + 1], at + HEADER + term[at + 2]
            stop = middle + term[at + 3]
            wanted, unwanted, p, q = 0, 0, 0, 0
            for k in range(at + HEADER, middle):
                seat = seat_of[term[k]]
                cells[p] = seat - head + 1
                p += seat >= head
                wanted |= 1 << min(seat, 31)
            for k in range(middle, stop):
                seat = seat_of[term[k]]
                cells[p + q] = seat - head + 1
                q += seat >= head
                unwanted |= 1 << min(seat, 31)
            wanted &= (1 << head) - 1
            unwanted &= (1 << head) - 1
            at = stop
            for lane in range(LANES):
                weights[0, lane] = joined[p, lane] * stayed[q, lane]
                weights[1, lane] = joined[max(p - 1, 0), lane] * stayed[q, lane]
                weights[2, lane] = -joined[p, lane] * stayed[max(q - 1, 0), lane]
            for number in range(walks[walk], walks[walk + 1]):
                tree = trees[number]
                value = values[leaf_starts[tree] + leaf]
                table = tables[row, tree % outputs if outputs > 1 else 0]
                subset = unwanted
                while True:
                    cell = (wanted | subset) * size
                    odd = subset ^ subset >> 8
                    odd ^= odd >> 4
                    odd ^= odd >> 2
                    signed = -value if (odd ^ odd >> 1) & 1 else value
                    for lane in range(LANES):
                        table[cell, lane] += signed * weights[0, lane]
                    for k in range(p + q):
                        which = 1 if k < p else 2
                        for lane in range(LANES):
                            table[cell + cells[k], lane] += signed * weights[which, lane]
                    if subset == 0:
                        break
                    subset = (subset - 1) & unwanted
