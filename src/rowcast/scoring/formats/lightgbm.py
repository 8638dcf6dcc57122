"""LightGBM's text.

A value that is no further from zero than ``NEAR_ZERO`` is zero to LightGBM, and where NaN has no
side of its own it is zero too. Thresholds are moved so that the forest's one rule says the same;
margins then equal ``predict(raw_score=True)`` to the last bit. A random forest's margins are means
over its rounds, whose leaves are divided beforehand; its ``raw_score`` is their sum.
"""

from __future__ import annotations

import re
from itertools import chain, pairwise
from typing import TYPE_CHECKING

import numpy as np

from rowcast.errors import ModelDamaged
from rowcast.scoring.forest import (
    MOST_COLUMNS,
    MOST_LEAVES,
    NAN_LEFT,
    NAN_RIGHT,
    NEAR_ZERO,
    SET_NAN_RIGHT,
    ZERO_LEFT,
    ZERO_RIGHT,
    Forest,
    make_forest,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_AS_ZERO, _UNKNOWN = 254, 255
_MISSING = {0: _AS_ZERO, 4: ZERO_RIGHT, 6: ZERO_LEFT, 8: NAN_RIGHT, 10: NAN_LEFT, 2: _AS_ZERO}
"""What LightGBM's flags of a node say of missing values."""
_MISSING |= dict.fromkeys((1, 3, 5, 7, 9, 11), SET_NAN_RIGHT)
_END = "\nend of trees"
_NUMBERS = re.compile(r"[-+.0-9einf ]*")


def read_lightgbm(content: bytes) -> Forest:
    """Read a forest that LightGBM 4 saved as text.

    Raises
    ------
    ModelDamaged
        If it is no such text, if its numbers do not make trees, or if its leaves are linear.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ModelDamaged(f"The forest is not UTF-8 text: {error}.") from error
    body, end, _ = text.partition(_END)
    if not end:
        raise ModelDamaged("The forest ends before its trees do.")
    header, *sections = body.split("\nTree=")
    outputs, n_columns, rounds = _read_header(header, len(sections))
    trees = [_section(i, text) for i, text in enumerate(sections)]
    return _read_trees(trees, outputs, n_columns, rounds)


def _read_header(header: str, n_trees: int) -> tuple[int, int, int]:
    """Read the number of outputs, of columns, and of rounds that are averaged."""
    kind, *lines = header.split("\n")
    if kind != "tree":
        raise ModelDamaged("The forest does not start as LightGBM's text does.")
    averaged = "average_output" in lines
    entries = _entries("The header", [line for line in lines if line != "average_output"])
    if (version := entries.get("version")) != "v4":
        raise ModelDamaged(f"The forest has format version {version!r}; this release reads 'v4'.")
    outputs = _count("num_tree_per_iteration", entries, 1, n_trees)
    n_columns = _count("max_feature_idx", entries, 0, MOST_COLUMNS - 2) + 1
    sizes = len(entries.get("tree_sizes", "").split())
    if sizes != n_trees or n_trees % outputs:
        raise ModelDamaged(
            f"The forest holds {n_trees} trees; its header announces {sizes} for {outputs} outputs."
        )
    return outputs, n_columns, n_trees // outputs if averaged else 1


def _section(tree: int, text: str) -> dict[str, str]:
    """Read the entries of one tree."""
    number, *lines = text.split("\n")
    if number != str(tree):
        raise ModelDamaged(f"Tree {tree} of the forest is called {number[:20]!r}.")
    entries = _entries(f"Tree {tree}", lines)
    if entries.get("is_linear", "0") != "0":
        raise ModelDamaged(
            f"Tree {tree} was trained with linear leaves, which Rowcast's forests do not have. "
            "Train it again without."
        )
    return entries


def _entries(what: str, lines: Sequence[str]) -> dict[str, str]:
    entries: dict[str, str] = {}
    for line in filter(None, lines):
        key, equals, value = line.partition("=")
        if not equals or key in entries:
            raise ModelDamaged(f"{what} of the forest has a line too many: {line[:40]!r}.")
        entries[key] = value
    return entries


def _count(key: str, entries: dict[str, str], least: int, most: int) -> int:
    found = entries.get(key, "")
    number = int(found) if re.fullmatch(r"[0-9]{1,10}", found) else -1
    if not least <= number <= most:
        raise ModelDamaged(
            f"The forest has {key}={found[:20]!r}; a number from {least} to {most} was expected."
        )
    return number


def _read_trees(trees: list[dict[str, str]], outputs: int, n_columns: int, rounds: int) -> Forest:
    leaves = np.array(
        [_count("num_leaves", entries, 1, MOST_LEAVES) for entries in trees], dtype=np.int64
    )
    columns = _numbers("split_feature", trees, leaves - 1, int)
    thresholds = _numbers("threshold", trees, leaves - 1, float)
    decisions = _numbers("decision_type", trees, leaves - 1, int)
    owners = np.repeat(np.arange(len(trees)), leaves - 1)
    missing = _missing(decisions, thresholds, owners)
    counts, set_starts, set_edges = _read_sets(trees)
    numbered = thresholds + (np.cumsum(counts) - counts)[owners]
    astray = (missing == SET_NAN_RIGHT) & ~((thresholds >= 0) & (thresholds < counts[owners]))
    if astray.any():
        raise ModelDamaged(f"Tree {owners[np.argmax(astray)]} has a set that does not exist.")
    thresholds = np.where(missing == SET_NAN_RIGHT, numbered, thresholds)
    return make_forest(
        n_columns=n_columns,
        outputs=outputs,
        node_starts=np.cumsum(leaves - 1) - (leaves - 1),
        leaves=leaves,
        columns=columns,
        thresholds=np.where(missing < ZERO_LEFT, _past_zero(thresholds), thresholds),
        missing=missing,
        left=_numbers("left_child", trees, leaves - 1, int),
        right=_numbers("right_child", trees, leaves - 1, int),
        values=_numbers("leaf_value", trees, leaves, float) / rounds,
        base=np.zeros(outputs),
        set_starts=set_starts,
        set_edges=set_edges,
    )


def _read_sets(trees: list[dict[str, str]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the sets of categories: how many each tree has, and all of them as sets of numbers.

    LightGBM drops a number's fraction, so that category 0 begins above -1. What is negative
    after that is in no set.
    """
    counts = np.array(
        [_count("num_cat", e, 0, MOST_LEAVES) if "num_cat" in e else 0 for e in trees]
    )
    some = counts > 0
    having = [entries for entries, found in zip(trees, some, strict=True) if found]
    bounds = _numbers("cat_boundaries", having, counts[some] + 1, int)
    words = [len(entries.get("cat_threshold", "").split()) for entries in having]
    bits = _numbers("cat_threshold", having, np.array(words, np.int64), int)
    if ((bits < 0) | (bits > 0xFFFF_FFFF)).any():
        raise ModelDamaged("The forest has a cat_threshold that is no set of bits.")
    edges = [np.zeros(0)]
    ends, starts = np.cumsum(words), np.cumsum(counts[some] + 1)
    for end, size, start, count in zip(ends, words, starts, counts[some] + 1, strict=True):
        own = bounds[start - count : start]
        if own[0] != 0 or own[-1] != size or (np.diff(own) < 0).any():
            raise ModelDamaged("The forest has cat_boundaries that do not part its cat_threshold.")
        edges += [_edges(bits[end - size + a : end - size + b]) for a, b in pairwise(own)]
    sizes = [len(part) for part in edges]
    return counts, np.cumsum(sizes), np.concatenate(edges)


def _edges(words: np.ndarray) -> np.ndarray:
    """Turn bits into the edges of the intervals of numbers that they stand for."""
    within = np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little")
    changes = np.flatnonzero(np.diff(within, prepend=0, append=0)).astype(np.float64)
    return np.where(changes == 0.0, -1.0, np.nextafter(changes, -np.inf))


def _numbers(
    key: str, trees: list[dict[str, str]], counts: np.ndarray, kind: type[int | float]
) -> np.ndarray:
    """Read one entry of all trees, end to end."""
    tokens = []
    for tree, (entries, count) in enumerate(zip(trees, counts.tolist(), strict=True)):
        if not _NUMBERS.fullmatch(line := entries.get(key, "")):
            raise ModelDamaged(f"Tree {tree} of the forest has {key} that are not numbers.")
        found = line.split()
        if len(found) != count:
            raise ModelDamaged(
                f"Tree {tree} of the forest has {len(found)} numbers as {key}; its leaves call "
                f"for {count}."
            )
        tokens.append(found)
    try:
        numbers = np.array(
            [kind(token) for token in chain.from_iterable(tokens)],
            dtype=np.int64 if kind is int else np.float64,
        )
    except (ValueError, OverflowError) as error:
        raise ModelDamaged(f"The forest has {key} that are not numbers: {error}.") from error
    return numbers


def _missing(decisions: np.ndarray, thresholds: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Translate LightGBM's flags of nodes."""
    flags = decisions & 0xFF
    table = np.full(256, _UNKNOWN, np.uint8)
    table[list(_MISSING)] = list(_MISSING.values())
    missing = np.where(flags == decisions, table[flags], _UNKNOWN)
    if (missing == _UNKNOWN).any():
        node = np.argmax(missing == _UNKNOWN)
        raise ModelDamaged(
            f"Tree {owners[node]} of the forest has an unknown decision_type {decisions[node]}."
        )
    zero_side = np.where(thresholds >= 0.0, NAN_LEFT, NAN_RIGHT)
    return np.where(missing == _AS_ZERO, zero_side, missing)


def _past_zero(thresholds: np.ndarray) -> np.ndarray:
    """Move thresholds among the values that are zero to where they keep these together."""
    below = np.nextafter(-NEAR_ZERO, -np.inf)
    among = (thresholds >= -NEAR_ZERO) & (thresholds < NEAR_ZERO)
    return np.where(among, np.where(thresholds >= 0.0, NEAR_ZERO, below), thresholds)
