"""Attributions of models whose margins are sums over trees and columns.

Margins are attributed exactly. So are values that are margins (link ``identity``). For other links
a row's features are ranked by what they move the margin: where few differ from the baseline, all
coalitions are answered and the result is exact; else the first of them are enumerated, and the
others enter through the mean and the variance of the margin (``kernels/owen.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.attributions.accuracy import Accuracy, accuracy
from rowcast.scoring.attributions.paths import SeenTrees, Terms
from rowcast.scoring.kernels.owen import (
    EXP,
    LOGISTIC,
    SQUARE,
    add_moves,
    settle,
    single_shares,
    softmax_shares,
    sum_subsets,
)
from rowcast.scoring.kernels.shapley import LANES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.scoring.attributions.answers import Answers
    from rowcast.scoring.attributions.model import Additive

ROWS = 256
"""Rows that are explained together, at most."""
ROWS_BYTES = 32 << 20
"""Of the margins' shares and the terms of these rows, about."""
TABLES_BYTES = 2 << 20
"""Of the tables of coalitions that are worked on together."""
ROW_CELLS = 1 << 15
"""Of one row's table; with many classes or features fewer are enumerated."""
LINKS = {"exp": EXP, "square": SQUARE, "logistic": LOGISTIC}


@dataclass(frozen=True)
class Seats:
    """A row's players: the features in which it differs from the baseline, by rank."""

    features: np.ndarray
    """int64 of shape (n, most): the feature at each seat; arbitrary beyond the last."""
    numbers: np.ndarray
    """int32 of shape (n, n_features): the seat of each feature."""
    heads: np.ndarray
    """int64 of shape (n,)."""
    tails: np.ndarray
    """int64 of shape (n,)."""

    def rows(self, where: slice) -> Seats:
        """Those of some rows."""
        return Seats(
            self.features[where], self.numbers[where], self.heads[where], self.tails[where]
        )


class Attributor:
    """Explains rows of one model against one baseline. Safe to share between threads."""

    def __init__(self, model: Additive, owner: np.ndarray, baseline: np.ndarray) -> None:
        """``owner`` has the feature of each matrix column; ``baseline`` is an encoded row."""
        self._model, self._owner, self._baseline = model, owner, baseline
        self._features = int(owner.max(initial=-1)) + 1
        self._trees = None if model.trees is None else SeenTrees(model.trees, owner, baseline)
        base = np.zeros(model.outputs) if model.trees is None else model.trees.forest.base
        base = base.reshape(1, -1).copy()
        if model.linear is not None:
            model.linear.add_to(base, baseline[None])
        self._base = base

    def attribute(
        self, matrix: np.ndarray, answers: Answers, path_count: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Attribute the answers of encoded rows.

        Returns
        -------
        shares : ndarray of shape (n, k, n_features)
            Of each row and output, they sum to the distance from the baseline's answer.
        errors : ndarray of shape (n, k)
            Estimates of the shares' errors relative to their size; 0 where they are exact.
        """
        n, k = answers.wanted.shape
        shares, errors = np.zeros((n, k, self._features)), np.zeros((n, k))
        start = 0
        while start < n:
            rows = slice(start, start + self._rows_at_once())
            piece = np.ascontiguousarray(matrix[rows], dtype=np.float64)
            self._fill(piece, answers.rows(rows), accuracy(path_count), shares[rows], errors[rows])
            start = rows.stop
        return shares, errors

    def _rows_at_once(self) -> int:
        """As many as fit the memory that is meant for margins and terms."""
        row_bytes = 8 * self._model.outputs * self._features
        row_bytes += 0 if self._trees is None else self._trees.row_bytes
        return max(1, min(ROWS, ROWS_BYTES // max(1, row_bytes)))

    def _fill(
        self,
        matrix: np.ndarray,
        answers: Answers,
        setting: Accuracy,
        shares: np.ndarray,
        errors: np.ndarray,
    ) -> None:
        listed = self._model.link != "identity"
        margins, moves, terms = self._margin_shares(matrix, listed=listed)
        if not listed:
            shares[:] = margins * self._model.scale
            heads = np.full(len(matrix), self._features, np.int64)
            settle(answers.distances, heads, np.zeros_like(heads), shares, shares, errors)
            return
        differs = (moves != 0.0).any(axis=1)
        if terms is not None:
            differs |= terms.differs
        seats = self._seats(margins, differs, answers, setting)
        for rows, size in self._pieces(seats):
            self._solve(
                None if terms is None else terms.rows(rows),
                moves[rows],
                seats.rows(rows),
                size,
                answers.rows(rows),
                setting,
                shares[rows],
                errors[rows],
            )

    def margin_shares(self, matrix: np.ndarray) -> np.ndarray:
        """Attribute margins, exactly: float64 of shape (n, outputs, n_features)."""
        matrix = np.ascontiguousarray(matrix, dtype=np.float64)
        return self._margin_shares(matrix, listed=False)[0]

    def _margin_shares(
        self, matrix: np.ndarray, *, listed: bool
    ) -> tuple[np.ndarray, np.ndarray, Terms | None]:
        """Attribute margins; also the part of it that has nothing to do with trees."""
        if self._model.linear is None:
            moves = np.zeros((len(matrix), self._model.outputs, self._features))
        else:
            moves = self._model.linear.moves(matrix, self._baseline, self._owner, self._features)
        if self._trees is None:
            return moves, moves, None
        shares = moves.copy()
        return shares, moves, self._trees.add_shares(matrix, shares, listed=listed)

    def _seats(
        self, margins: np.ndarray, differs: np.ndarray, answers: Answers, setting: Accuracy
    ) -> Seats:
        """Rank each row's features by what they move the answers that are wanted, about."""
        if self._model.link == "softmax":
            size = _moved_scores(margins, answers, np.array(self._model.order))
        else:
            size = np.abs(margins[:, 0])
        features = np.argsort(np.where(differs, -size, np.inf), axis=1, kind="stable")
        players = differs.sum(axis=1)
        numbers = np.empty(features.shape, np.int32)
        np.put_along_axis(
            numbers, features, np.arange(self._features, dtype=np.int32)[None], axis=1
        )
        limits = _head_sizes(self._features, self._model.outputs, setting)
        heads = limits[players]
        return Seats(features, numbers, heads, players - heads)

    def _pieces(self, seats: Seats) -> Iterator[tuple[slice, int]]:
        """Cut rows so that their tables fit; also says how many cells a table needs."""
        cells = (1 + seats.tails) << seats.heads
        start = 0
        while start < len(cells):
            stop, size = start, 0
            while stop < len(cells):
                needed = max(size, int(cells[stop]))
                total = (stop + 1 - start) * needed * self._model.outputs * LANES * 8
                if stop > start and total > TABLES_BYTES:
                    break
                stop, size = stop + 1, needed
            yield slice(start, stop), size
            start = stop

    def _solve(
        self,
        terms: Terms | None,
        moves: np.ndarray,
        seats: Seats,
        size: int,
        answers: Answers,
        setting: Accuracy,
        shares: np.ndarray,
        errors: np.ndarray,
    ) -> None:
        n, n_seats = len(moves), max(1, int((seats.heads + seats.tails).max()))
        joined, stayed, weights = self._lanes(setting)
        tables = np.zeros((n, self._model.outputs, size, LANES))
        if self._trees is not None and terms is not None:
            self._trees.add_margins(
                terms, seats.numbers, seats.heads, seats.tails, joined, stayed, tables
            )
        features = seats.features[:, :n_seats]
        moved = np.take_along_axis(moves, features[:, None, :], axis=2)
        base = np.repeat(self._base, n, axis=0) if terms is None else self._base + terms.still
        add_moves(tables, seats.heads, seats.tails, joined, base, moved)
        sum_subsets(tables, seats.heads, seats.tails)
        found = np.zeros((n, shares.shape[1], n_seats))
        bends = np.zeros_like(found)
        rules = joined, stayed, weights, setting.exact_weights, setting.sizes
        who = tables, seats.heads, seats.tails
        if self._model.link == "softmax":
            wanted = np.array(self._model.order, np.int64)[answers.wanted]
            softmax_shares(*who, *rules, wanted, found, bends)
        else:
            one, part = found[:, :1].copy(), bends[:, :1].copy()
            single_shares(*who, LINKS[self._model.link], self._model.scale, *rules, one, part)
            signs = self._signs(answers.wanted)[:, :, None]
            found, bends = one * signs, part * signs
        if self._model.order:
            np.clip(found, -1.0, 1.0, out=found)
        settle(answers.distances, seats.heads, seats.tails, bends, found, errors)
        known = np.arange(n_seats) < (seats.heads + seats.tails)[:, None]
        found = np.where(known[:, None, :], found, 0.0)
        np.put_along_axis(shares, features[:, None, :], found, axis=2)

    def _signs(self, wanted: np.ndarray) -> np.ndarray:
        """The first class of two has what the second lacks."""
        if not self._model.order:
            return np.ones(wanted.shape)
        return np.where(np.array(self._model.order)[wanted] == 1, 1.0, -1.0)

    def _lanes(self, setting: Accuracy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Powers of the quadrature's nodes and of their complements, and the weights."""
        at, weights = setting.quadrature
        most = max(setting.most, 1 if self._trees is None else self._trees.deepest)
        powers = np.arange(most + 1)[:, None]
        return at**powers, (1.0 - at) ** powers, weights


def _moved_scores(margins: np.ndarray, answers: Answers, order: np.ndarray) -> np.ndarray:
    """Estimate how much features move the wanted scores, by their slopes halfway."""
    halfway = np.empty_like(answers.scores)
    halfway[:, order] = (answers.scores + answers.at_baseline) / 2.0
    mean = np.zeros_like(margins[:, 0])
    for output in range(margins.shape[1]):  # one by one: sums must not depend on the shape
        mean += halfway[:, output, None] * margins[:, output]
    size = np.zeros_like(mean)
    rows = np.arange(len(margins))
    for k in range(answers.wanted.shape[1]):
        own = order[answers.wanted[:, k]]
        size += halfway[rows, own, None] * np.abs(margins[rows, own] - mean)
    return size


@lru_cache(maxsize=64)
def _head_sizes(features: int, outputs: int, setting: Accuracy) -> np.ndarray:
    """For each number of players, how many of them are enumerated."""
    sizes = np.zeros(features + 1, np.int64)
    for players in range(features + 1):
        head = players if players <= setting.exact else min(players, setting.head)
        while head > 1 and outputs * (1 + players - head) << head > ROW_CELLS:
            head -= 1
        sizes[players] = head
    return sizes
