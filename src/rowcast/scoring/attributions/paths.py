"""Trees as seen from one baseline row: which leaves ask which features for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from rowcast.scoring.kernels.shapley import (
    WIDTH,
    coalition_margins,
    margin_shares,
    trace_paths,
)

if TYPE_CHECKING:
    from rowcast.scoring.program import Asked, Program

ROOM = 4096
"""Numbers that a row's terms have room for, at first; it grows as they need more."""
LINE = 16
"""Numbers of a cache line. Lists are an odd number of lines apart, or they would push each other
out of the cache."""


class Paths(NamedTuple):
    """What ``margin_shares`` follows."""

    node_starts: np.ndarray
    leaf_starts: np.ndarray
    left: np.ndarray
    right: np.ndarray
    test_places: np.ndarray
    test_bits: np.ndarray
    test_ranks: np.ndarray
    tests: np.ndarray
    features: np.ndarray
    values: np.ndarray
    trees: np.ndarray
    walks: np.ndarray
    above: np.ndarray
    taken: np.ndarray
    starts: np.ndarray
    moved: np.ndarray
    edges: np.ndarray


@dataclass(frozen=True)
class Terms:
    """The leaves that coalitions of some rows reach; see ``rowcast.scoring.kernels.shapley``."""

    numbers: np.ndarray
    """int32 of shape (n_rows, room)."""
    ends: np.ndarray
    """int64 of shape (n_rows,): how many numbers each row has."""
    still: np.ndarray
    """float64 of shape (n_rows, outputs): the sum of the leaves that ask for nothing."""
    differs: np.ndarray
    """bool of shape (n_rows, n_features): False where no tree can tell a row from the baseline."""

    def rows(self, where: slice) -> Terms:
        """Those of some rows."""
        return Terms(self.numbers[where], self.ends[where], self.still[where], self.differs[where])


class SeenTrees:
    """A forest, compared with one baseline row. Safe to share between threads."""

    def __init__(self, program: Program, owner: np.ndarray, baseline: np.ndarray) -> None:
        """``owner`` has the feature of each matrix column; ``baseline`` is an encoded row."""
        self._program = program
        self._features = int(owner.max(initial=-1)) + 1
        self._baseline = np.ascontiguousarray(program.codes(baseline[None], 1)[0, :, 0])
        columns = np.repeat(program.tables.columns, np.diff(program.tables.place_starts))
        self._owners = owner[columns]
        self._paths = _trace(program, owner, self._baseline)
        self.deepest = int(np.diff(self._paths.starts).max(initial=0))
        """Features that one leaf may ask for."""
        self._leaf_weights = leaf_weights(self.deepest)
        steps = program.steps
        self._leaves = steps.leaf_starts, program.forest.values, steps.trees, steps.walks
        self._room = ROOM + LINE

    @property
    def row_bytes(self) -> int:
        """What a row's terms take, as far as is known from earlier rows."""
        return 4 * self._room

    def add_shares(self, matrix: np.ndarray, shares: np.ndarray, *, listed: bool) -> Terms:
        """Add the exact Shapley values of margins to ``shares`` (n_rows, outputs, n_features).

        Terms are empty unless they are to be ``listed``.
        """
        codes = self._program.codes(matrix, WIDTH)
        before = shares.copy()
        while True:
            room = self._room if listed else 0
            numbers = np.empty((len(matrix), room), np.int32)
            ends = np.zeros(len(matrix), np.int64)
            still = np.zeros(shares.shape[:2])
            rules = *self._paths, *self._leaf_weights
            needed = margin_shares(codes, *rules, shares, still, numbers, ends)
            if needed <= room:
                return Terms(numbers, ends, still, self._differs(codes, len(matrix)))
            shares[:] = before
            self._room = (needed + needed // 4) // (2 * LINE) * 2 * LINE + 3 * LINE

    def _differs(self, codes: np.ndarray, n_rows: int) -> np.ndarray:
        found = np.zeros((self._features, codes.shape[0] * WIDTH), np.bool_)
        other = codes != self._baseline[None, :, None]
        for place, feature in enumerate(self._owners.tolist()):
            found[feature] |= other[:, place].reshape(-1)
        return found.T[:n_rows]

    def add_margins(
        self,
        terms: Terms,
        seats: np.ndarray,
        heads: np.ndarray,
        tails: np.ndarray,
        joined: np.ndarray,
        stayed: np.ndarray,
        tables: np.ndarray,
    ) -> None:
        """Add the coalitions' margins to ``tables``; see ``coalition_margins``."""
        rules = heads, tails, joined, stayed
        coalition_margins(terms.numbers, terms.ends, *self._leaves, seats, *rules, tables)


def _trace(program: Program, owner: np.ndarray, baseline: np.ndarray) -> Paths:
    forest, steps = program.forest, program.steps
    asked, tests = _distinct_tests(program.asked)
    features = owner[forest.columns].astype(np.int32)
    above = np.full(2 * len(features), -1, np.int64)
    taken = np.zeros(2 * len(features), np.bool_)
    sizes, moved = (np.zeros(len(forest.values), np.int64) for _ in range(2))
    goes_right = (baseline[asked.places] & asked.bits > asked.ranks)[tests]
    for counted in (False, True):
        starts = np.concatenate([[0], np.cumsum(sizes)])
        edges = np.zeros(int(starts[-1]) if counted else 0, np.int64)
        trace_paths(
            goes_right,
            forest.node_starts,
            forest.leaf_starts,
            forest.left,
            forest.right,
            features,
            steps.trees,
            steps.walks,
            above,
            taken,
            starts,
            sizes,
            moved,
            edges,
        )
    return Paths(
        forest.node_starts,
        forest.leaf_starts,
        forest.left,
        forest.right,
        *asked,
        tests,
        features,
        forest.values,
        steps.trees,
        steps.walks,
        above,
        taken,
        starts,
        moved,
        edges,
    )


def _distinct_tests(asked: Asked) -> tuple[Asked, np.ndarray]:
    """Number the tests: many nodes ask the same."""
    keys = asked.places.astype(np.int64) << 16 | asked.bits.astype(np.int64) << 8 | asked.ranks
    _, first, tests = np.unique(keys, return_index=True, return_inverse=True)
    return type(asked)(*(array[first] for array in asked)), tests.astype(np.int64)


def leaf_weights(deepest: int) -> tuple[np.ndarray, np.ndarray]:
    """What leaves give to features; see ``margin_shares``.

    Returns
    -------
    joining : ndarray of shape (deepest + 1, deepest + 1)
        ``(p - 1)! q! / (p + q)!``, 0 for p = 0.
    staying : ndarray of the same shape
        ``p! (q - 1)! / (p + q)!``, 0 for q = 0.
    """
    joining = np.zeros((deepest + 1, deepest + 1))
    for p in range(1, deepest + 1):
        joining[p, 0] = 1.0 / p
        for q in range(1, deepest + 1 - p):
            joining[p, q] = joining[p, q - 1] * q / (p + q)
    return joining, np.ascontiguousarray(joining.T)
