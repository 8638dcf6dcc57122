"""Which rows to learn from, which to choose by, and which to measure on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.core.batch import shown
from rowcast.errors import InvalidRequest
from rowcast.scoring.parse import OK, as_text, flat, parse_timestamps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.training.request import SplitRule

TRAIN, VALIDATION, TEST, UNASSIGNED, NONE = 0, 1, 2, 3, 4
SETS = ("training", "validation", "test")
SPELLINGS = {
    "train": TRAIN,
    "training": TRAIN,
    "validate": VALIDATION,
    "validation": VALIDATION,
    "test": TEST,
    "unassigned": UNASSIGNED,
}
"""Values of a predefined split's column, in lower case."""
USUAL_SHARES = (0.8, 0.1, 0.1)
MOST_STRATA = 500
LEAST_STRATUM = 3
"""Rarer values are drawn together, as if they were one."""


@dataclass(frozen=True)
class Split:
    """Row numbers of the three sets, ascending."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows in none of them, by reason."""

    @classmethod
    def of(cls, sets: np.ndarray, left_out: dict[str, int] | None = None) -> Self:
        """Make it from each row's set."""
        train, validation, test = (np.flatnonzero(sets == k) for k in (TRAIN, VALIDATION, TEST))
        return cls(train, validation, test, left_out or {})


def draw_split(rows: int, seed: int) -> Split:
    """Cut the rows 80/10/10 at random; the same number and seed give the same split."""
    return Split.of(_drawn(rows, USUAL_SHARES, seed))


def split_rows(
    table: pa.Table,
    rule: SplitRule,
    seed: int,
    classes: np.ndarray | None = None,
) -> Split:
    """Cut a table's rows into three sets.

    Parameters
    ----------
    table
        Holds the column that ``rule`` names, if it names one.
    rule
        How; already checked by ``Request.check``.
    seed
        The same rows in the same order and the same seed give the same split.
    classes : ndarray of int64, optional
        Each row's class. If the rows are drawn at random, every class gets a training row, at
        the price of a held-out row where it has no other.

    Raises
    ------
    InvalidRequest
        If a set would be empty, or the named column does not hold what the rule needs.
    """
    shares = shares_of(rule)
    apart, left_out = rows_in_no_set(table, rule)
    rows = np.flatnonzero(~apart)
    chosen = pa.array(rows)
    sets = np.full(table.num_rows, NONE, np.int8)
    if rule.kind == "fraction":
        sets[rows] = _drawn(len(rows), shares, seed)
    elif rule.kind == "predefined":
        sets[rows] = _predefined(flat(table.column(rule.column)).take(chosen), rule, seed)
    elif rule.kind == "timestamp":
        column = flat(table.column(rule.column)).take(chosen)
        sets[rows] = _by_time(parse_timestamps(column)[0], shares)
    else:
        sets[rows] = _stratified(flat(table.column(rule.column)).take(chosen), shares, seed)
    if classes is not None and rule.kind in ("fraction", "stratified"):
        _teach_every_class(sets, classes)
    empty = [name for k, name in enumerate(SETS) if not (sets == k).any()]
    if empty:
        raise InvalidRequest(
            f"The {rule.kind} split of {len(rows)} rows leaves none for {' and '.join(empty)}; "
            "each of the three sets needs a row."
        )
    return Split.of(sets, left_out)


def rows_in_no_set(table: pa.Table, rule: SplitRule) -> tuple[np.ndarray, dict[str, int]]:
    """Mark the rows that a split leaves out, and count them by reason.

    Raises
    ------
    InvalidRequest
        If the table lacks the column that the rule names.
    """
    if rule.column is None:
        return np.zeros(table.num_rows, np.bool_), {}
    if rule.column not in table.column_names:
        raise InvalidRequest(
            f"The data has no column {shown(rule.column)} to split by; its columns are "
            f"{', '.join(map(shown, table.column_names[:20]))}."
        )
    column = flat(table.column(rule.column))
    if rule.kind == "predefined":
        apart, reason = _named_sets(column) == NONE, "names no set to split by"
    elif rule.kind == "timestamp":
        apart = parse_timestamps(column)[1] != OK
        reason = "no readable time to split by"
    else:
        return np.zeros(table.num_rows, np.bool_), {}
    count = int(apart.sum())
    return apart, {reason: count} if count else {}


def shares_of(rule: SplitRule) -> tuple[float, float, float]:
    """Fill in what a rule leaves open, so that the shares sum to 1.

    Shares that are not given take what is left, in the proportion 80/10/10; if all are given,
    what they leave is shared out in their own proportion.
    """
    given = (rule.training, rule.validation, rule.test)
    left = 1.0 - sum(share for share in given if share is not None)
    open_ = sum(usual for share, usual in zip(given, USUAL_SHARES, strict=True) if share is None)
    if open_:
        filled = [
            max(0.0, left) * usual / open_ if share is None else share
            for share, usual in zip(given, USUAL_SHARES, strict=True)
        ]
    else:
        filled = [share or 0.0 for share in given]
    total = sum(filled)
    if not total:
        raise InvalidRequest("The fractions of the split are all 0; none of the sets has a row.")
    training, validation, test = (share / total for share in filled)
    return training, validation, test


def _sizes(rows: int, shares: Sequence[float]) -> tuple[int, int]:
    """Rows for validation and test; a share above 0 is worth at least one."""
    validation, test = (
        max(1, int(rows * share + 1e-9)) if share > 0 else 0 for share in shares[1:]
    )
    return validation, test


def _drawn(rows: int, shares: Sequence[float], seed: int) -> np.ndarray:
    validation, test = _sizes(rows, shares)
    if not shares[TRAIN]:
        validation = rows - test
    order = np.random.default_rng([seed, 0]).permutation(rows)
    sets = np.full(rows, TRAIN, np.int8)
    sets[order[test : test + validation]] = VALIDATION
    sets[order[:test]] = TEST
    return sets


def _named_sets(column: pa.Array) -> np.ndarray:
    """Read a predefined split's column."""
    names = as_text(column).dictionary_encode()
    known = [SPELLINGS.get(str(text).lower(), NONE) for text in names.dictionary.to_pylist()]
    codes = names.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    return np.asarray(np.array([*known, NONE], np.int8)[codes])


def _predefined(column: pa.Array, rule: SplitRule, seed: int) -> np.ndarray:
    sets = _named_sets(column)
    unassigned = np.flatnonzero(sets == UNASSIGNED)
    found = {k for k in (TRAIN, VALIDATION, TEST) if (sets == k).any()}
    if found == {TEST} and len(unassigned):
        training, validation, _ = USUAL_SHARES
        held = validation / (training + validation)
        sets[unassigned] = _drawn(len(unassigned), (1 - held, held, 0.0), seed)
    elif len(found) == len(SETS):
        sets[unassigned] = _drawn(len(unassigned), USUAL_SHARES, seed)
    else:
        named = ", ".join(SETS[k] for k in sorted(found)) or "no set"
        raise InvalidRequest(
            f"Column {shown(str(rule.column))} assigns rows to {named}"
            f"{' and leaves some unassigned' if len(unassigned) else ''}; a predefined split has "
            "TRAIN, VALIDATE and TEST rows, or TEST rows and UNASSIGNED ones."
        )
    return sets


def _by_time(moments: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Cut after the oldest and before the newest rows; equal moments keep the row order."""
    validation, test = _sizes(len(moments), shares)
    order = np.argsort(moments, kind="stable")
    sets = np.full(len(moments), TRAIN, np.int8)
    newest = len(order) - test
    sets[order[max(0, newest - validation) : newest]] = VALIDATION
    sets[order[newest:]] = TEST
    return sets


def _stratified(column: pa.Array, shares: Sequence[float], seed: int) -> np.ndarray:
    """Give every frequent value the same shares of the sets, to within one row.

    Rows are drawn stratum by stratum, and counts are rounded cumulatively: whatever the strata's
    sizes, the sets' sizes are right as well.
    """
    values = as_text(column).dictionary_encode("encode")
    codes = values.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    counts = np.bincount(codes, minlength=len(values.dictionary))
    # Ties go to the smaller text, so that the split does not hang on the order of the rows.
    rank = pc.rank(values.dictionary, tiebreaker="first").to_numpy(zero_copy_only=False)
    by_count = np.lexsort((rank, -counts))[:MOST_STRATA]
    strata = by_count[counts[by_count] >= LEAST_STRATUM]
    number = np.full(len(counts), len(strata))
    number[strata] = np.arange(len(strata))
    rng = np.random.default_rng([seed, 0])
    turn = rng.permutation(len(strata) + 1)
    stratum = turn[number[codes]]
    order = np.lexsort((rng.permutation(len(codes)), stratum))
    sizes = np.bincount(stratum, minlength=len(strata) + 1)
    ends = np.cumsum(sizes)
    held = _rounded(ends, shares[VALIDATION] + shares[TEST])
    of_held = shares[TEST] / max(shares[VALIDATION] + shares[TEST], 1e-300)
    tested = _rounded(held, of_held)
    place = np.arange(len(codes)) - np.repeat(ends - sizes, sizes)
    sets = np.full(len(codes), TRAIN, np.int8)
    sets[order[place < np.repeat(np.diff(held, prepend=0), sizes)]] = VALIDATION
    sets[order[place < np.repeat(np.diff(tested, prepend=0), sizes)]] = TEST
    return sets


def _rounded(counts: np.ndarray, share: float) -> np.ndarray:
    return np.floor(counts * share + 0.5).astype(np.int64)


def _teach_every_class(sets: np.ndarray, classes: np.ndarray) -> None:
    """Swap a held-out row of each class that training lacks for a training row, in place."""
    size = int(classes.max()) + 1
    taught = np.bincount(classes[sets == TRAIN], minlength=size)
    for missing in np.unique(classes[np.isin(sets, (VALIDATION, TEST))]).tolist():
        if taught[missing]:
            continue
        rows = np.flatnonzero((classes == missing) & np.isin(sets, (VALIDATION, TEST)))
        wanted = int(rows[np.argmin(sets[rows])])
        commonest = int(np.argmax(taught))
        if taught[commonest] < 2:
            return
        given = int(np.flatnonzero((classes == commonest) & (sets == TRAIN))[0])
        sets[wanted], sets[given] = sets[given], sets[wanted]
        taught[missing] += 1
        taught[commonest] -= 1
