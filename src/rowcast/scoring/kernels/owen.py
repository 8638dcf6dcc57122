"""From the margins of coalitions to Shapley values of what the model answers.

A Shapley value is the integral, over t from 0 to 1, of what a feature changes in the mean answer
when every other feature comes from the row with probability t. A row's head, the few features
that matter most, is enumerated: all its coalitions count with their probability. The others, the
tail, enter through the mean of the margin that they cause and its variance, to the second order of
the answer's Taylor series; the integral is a Gauss-Legendre sum. Without a tail the values are
exact, by Shapley's own weights.

References
----------
Owen (1972), Multilinear extensions of games. Management Science 18(5).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

LANES = 4
"""As in ``shapley``; a kernel's cache does not look at other files."""
IDENTITY, EXP, SQUARE, LOGISTIC = range(4)
"""Links from one margin to one answer: itself, its exponential (less a constant, which does not
matter here), its signed square, the logistic function."""
FROM_VARIANCE = 0.5
"""Of what the tail's variance changes in the shares, as much counts as error."""
LARGEST = 700.0
"""Margins are cut here before they are exponents."""


@kernel
def add_moves(
    tables: NDArray[np.float64],
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    joined: NDArray[np.float64],
    base: NDArray[np.float64],
    moves: NDArray[np.float64],
) -> None:
    """Add to the tables of ``coalition_margins`` what is no term.

    ``base`` of shape (n, outputs) is what every coalition has, and ``moves`` of shape
    (n, outputs, seats) what each seat adds to it.
    """
    for row in range(len(tables)):
        size = 1 + tails[row]
        for output in range(tables.shape[1]):
            table, own = tables[row, output], moves[row, output]
            for lane in range(tables.shape[3]):
                table[0, lane] += base[row, output]
                for seat in range(heads[row]):
                    table[size << seat, lane] += own[seat]
                for k in range(tails[row]):
                    table[0, lane] += joined[1, lane] * own[heads[row] + k]
                    table[1 + k, lane] += own[heads[row] + k]


@kernel
def sum_subsets(
    tables: NDArray[np.float64], heads: NDArray[np.int64], tails: NDArray[np.int64]
) -> None:
    """Turn the tables of ``coalition_margins`` into margins: add to S all that its subsets have."""
    for row in range(len(tables)):
        size = 1 + tails[row]
        for output in range(tables.shape[1]):
            table = tables[row, output].reshape(-1)
            step = size * tables.shape[3]
            for seat in range(heads[row]):
                span = step << seat
                for at in range(0, step << heads[row], 2 * span):
                    without, with_it = table[at : at + span], table[at + span : at + 2 * span]
                    for cell in range(span):
                        with_it[cell] += without[cell]


@kernel
def _derivatives(link: int, x: float) -> tuple[float, float, float, float]:
    """Answer a margin, with the first three derivatives."""
    if link == LOGISTIC:
        small = math.exp(-min(abs(x), LARGEST))
        y = 1.0 / (1.0 + small)
        slope = small * y * y
        if x < 0.0:
            y = small * y
        bent = slope * (1.0 - 2.0 * y)
        return y, slope, bent, slope * (1.0 - 6.0 * slope)
    if link == EXP:
        y = math.exp(min(x, LARGEST))
        return y, y, y, y
    if link == SQUARE:
        return abs(x) * x, 2.0 * abs(x), 2.0 if x > 0.0 else -2.0, 0.0
    return x, 1.0, 0.0, 0.0


@kernel
def single_shares(
    tables: NDArray[np.float64],
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    link: int,
    scale: float,
    joined: NDArray[np.float64],
    stayed: NDArray[np.float64],
    weights: NDArray[np.float64],
    exact: NDArray[np.float64],
    sizes: NDArray[np.int64],
    shares: NDArray[np.float64],
    bends: NDArray[np.float64],
) -> None:
    """Fill ``shares`` of shape (n, 1, seats) where an answer comes of ``scale`` times one margin.

    ``joined`` and ``stayed`` are as in ``coalition_margins``; of the lanes, those with a weight are
    looked at. ``exact[d, s]`` is Shapley's weight of a coalition of s among d features, and
    ``sizes`` has the bits of each number. ``bends`` becomes the part of the shares that is due to
    the tail's variance.
    """
    largest = 1 << heads.max()
    answers, bent = np.empty((LANES, largest)), np.empty((LANES, largest))
    spread, slope, third = np.empty(LANES), np.empty(LANES), np.empty(LANES)
    pull, bent_pull = np.empty((tails.max(), LANES)), np.empty((tails.max(), LANES))
    for row in range(len(tables)):
        head, tail = heads[row], tails[row]
        size, table = 1 + tail, tables[row, 0]
        if tail == 0:
            for coalition in range(1 << head):
                answers[0, coalition] = _derivatives(link, scale * table[coalition, 0])[0]
            _exact_shares(answers[0], head, exact, sizes, shares[row, 0])
            continue
        heads_shares, heads_bends = shares[row, 0], bends[row, 0]
        pull[:tail] = 0.0
        bent_pull[:tail] = 0.0
        for coalition in range(1 << head):
            cell, taken = coalition * size, sizes[coalition]
            spread[:] = 0.0
            for k in range(cell + 1, cell + size):
                for lane in range(LANES):
                    spread[lane] += table[k, lane] * table[k, lane]
            for lane in range(LANES):
                slope[lane], third[lane] = 0.0, 0.0
                if weights[lane] == 0.0:
                    continue
                chance = joined[taken, lane] * stayed[head - taken, lane]
                half = 0.5 * joined[1, lane] * stayed[1, lane] * scale * scale * spread[lane]
                y, first, second, bending = _derivatives(link, scale * table[cell, lane])
                answers[lane, coalition], bent[lane, coalition] = chance * y, chance * half * second
                slope[lane] = weights[lane] * chance * scale * first
                third[lane] = weights[lane] * chance * scale * half * bending
            for k in range(tail):
                for lane in range(LANES):
                    pull[k, lane] += table[cell + 1 + k, lane] * slope[lane]
                    bent_pull[k, lane] += table[cell + 1 + k, lane] * third[lane]
        for lane in range(LANES):
            if weights[lane] != 0.0:
                t, u = joined[1, lane], stayed[1, lane]
                _integrate(answers[lane], head, t, u, weights[lane], heads_shares)
                _integrate(bent[lane], head, t, u, weights[lane], heads_bends)
        for k in range(tail):
            for lane in range(LANES):
                heads_shares[head + k] += pull[k, lane]
                heads_bends[head + k] += bent_pull[k, lane]
        for seat in range(head + tail):
            heads_shares[seat] += heads_bends[seat]


@kernel
def softmax_shares(
    tables: NDArray[np.float64],
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    joined: NDArray[np.float64],
    stayed: NDArray[np.float64],
    weights: NDArray[np.float64],
    exact: NDArray[np.float64],
    sizes: NDArray[np.int64],
    wanted: NDArray[np.int64],
    shares: NDArray[np.float64],
    bends: NDArray[np.float64],
) -> None:
    """Fill ``shares`` of shape (n, k, seats) for the classes ``wanted[r]`` of each row.

    The other arguments are those of ``single_shares``.
    """
    outputs, n_wanted = tables.shape[1], wanted.shape[1]
    largest = 1 << heads.max()
    answers, bent = np.empty((n_wanted, largest)), np.empty((n_wanted, largest))
    y, spread = np.empty(outputs), np.empty(n_wanted)
    for row in range(len(tables)):
        head, tail = heads[row], tails[row]
        size, table = 1 + tail, tables[row]
        if tail == 0:
            for coalition in range(1 << head):
                _softmax(table[:, coalition, 0], y)
                for k in range(n_wanted):
                    answers[k, coalition] = y[wanted[row, k]]
            for k in range(n_wanted):
                _exact_shares(answers[k], head, exact, sizes, shares[row, k])
            continue
        for lane in range(len(weights)):
            if weights[lane] == 0.0:
                continue
            t, u = joined[1, lane], stayed[1, lane]
            for coalition in range(1 << head):
                cell = coalition * size
                _softmax(table[:, cell, lane], y)
                taken = sizes[coalition]
                chance = joined[taken, lane] * stayed[head - taken, lane]
                spread[:] = 0.0
                for seat in range(tail):
                    change = table[:, cell + 1 + seat, lane]
                    mean, square = 0.0, 0.0
                    for output in range(outputs):
                        mean += y[output] * change[output]
                        square += y[output] * change[output] * change[output]
                    for k in range(n_wanted):
                        apart = change[wanted[row, k]] - mean
                        spread[k] += apart * apart - (square - mean * mean)
                        slope = chance * y[wanted[row, k]] * apart
                        shares[row, k, head + seat] += weights[lane] * slope
                for k in range(n_wanted):
                    answers[k, coalition] = chance * y[wanted[row, k]]
                    bent[k, coalition] = 0.5 * t * u * spread[k] * answers[k, coalition]
            for k in range(n_wanted):
                _integrate(answers[k], head, t, u, weights[lane], shares[row, k])
                _integrate(bent[k], head, t, u, weights[lane], bends[row, k])
        for k in range(n_wanted):
            for seat in range(head + tail):
                shares[row, k, seat] += bends[row, k, seat]


@kernel
def _softmax(margins: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
    largest = margins[0]
    for k in range(1, len(margins)):
        largest = max(largest, margins[k])
    total = 0.0
    for k in range(len(margins)):
        scores[k] = math.exp(margins[k] - largest)
        total += scores[k]
    for k in range(len(margins)):
        scores[k] /= total


@kernel
def _exact_shares(
    answers: NDArray[np.float64],
    head: int,
    exact: NDArray[np.float64],
    sizes: NDArray[np.int64],
    shares: NDArray[np.float64],
) -> None:
    """Weigh what each seat adds to every coalition of the others."""
    for seat in range(head):
        bit, total = 1 << seat, 0.0
        for coalition in range(1 << head):
            if not coalition & bit:
                step = answers[coalition | bit] - answers[coalition]
                total += exact[head, sizes[coalition]] * step
        shares[seat] = total


@kernel
def _integrate(
    answers: NDArray[np.float64],
    head: int,
    t: float,
    u: float,
    weight: float,
    shares: NDArray[np.float64],
) -> None:
    """Add ``weight`` times what each seat of the head changes in the mean answer.

    ``answers`` come with the probabilities of their coalitions, and are lost.
    """
    total = 0.0
    for coalition in range(1 << head):
        total += answers[coalition]
    for seat in range(head - 1, -1, -1):
        half, with_it = 1 << seat, 0.0
        for coalition in range(half):
            with_it += answers[half + coalition]
            answers[coalition] += answers[half + coalition]
        shares[seat] += weight * (with_it / t - (total - with_it) / u)


@kernel
def settle(
    distances: NDArray[np.float64],
    heads: NDArray[np.int64],
    tails: NDArray[np.int64],
    bends: NDArray[np.float64],
    shares: NDArray[np.float64],
    errors: NDArray[np.float64],
) -> None:
    """Have the shares of each row and answer sum to ``distances``, and say how far off they are.

    What is missing goes to the tail, in proportion to its shares, as its mean is where the error
    comes from; what rounding leaves goes to the largest share. ``errors`` of shape (n, answers)
    becomes an estimate of the error relative to the shares, both in the Euclidean norm: of what was
    missing, and of what the tail's variance changed.
    """
    for row in range(shares.shape[0]):
        head, seats = heads[row], heads[row] + tails[row]
        for k in range(shares.shape[1]):
            own = shares[row, k]
            total, bend, tail = 0.0, 0.0, 0.0
            for seat in range(seats):
                total += own[seat]
                bend += bends[row, k, seat] * bends[row, k, seat]
                tail += abs(own[seat]) if seat >= head else 0.0
            missing = distances[row, k] - total
            if tail > 0.0:
                for seat in range(head, seats):
                    own[seat] += missing * (abs(own[seat]) / tail)
            for _ in range(3):
                total, best = 0.0, 0
                for seat in range(seats):
                    total += own[seat]
                    if abs(own[seat]) > abs(own[best]):
                        best = seat
                if seats:
                    own[best] += distances[row, k] - total
            square = 0.0
            for seat in range(seats):
                square += own[seat] * own[seat]
            if tails[row] and square > 0.0:
                error = math.hypot(missing, FROM_VARIANCE * math.sqrt(bend))
                errors[row, k] = min(1.0, error / math.sqrt(square))
            else:
                errors[row, k] = 0.0
