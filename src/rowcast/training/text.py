"""Fitting the text encoder: which terms count, and the directions they are added up along.

The directions are of two kinds. For each column of the outcome there is a linear model of it on
the weighed terms (ridge regression), whose prediction is one matrix column; trees make much of
it, since few words tell them much alone. And there are the first singular vectors of the texts,
which say what a text is about. Both are learned from a bounded sample of the texts. The few words
that do tell much alone get a flag.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rowcast.scoring.kernels.text import count_rows, project, project_back
from rowcast.scoring.text import Terms, TextEncoder, Weighed, words_of
from rowcast.scoring.vocabulary import Vocabulary
from rowcast.training.infer import FREQUENT
from rowcast.training.telling import telling_codes

if TYPE_CHECKING:
    import pyarrow as pa

    from rowcast.training.telling import Outcome

MOST_WORDS = 10_000
MOST_PAIRS = 10_000
SAMPLE_BYTES = 32 << 20
"""Of text, to learn from; half or a third of it where the outcome has two or three columns."""
TOPICS = 24
MORE_TOPICS = 48
"""If there is no outcome to predict: above ten classes."""
TEXTS_A_TOPIC = 100
"""Of few texts, further topics are noise to the trees."""
FLAGS = 10
"""For the words that tell most by themselves, which a sum over all words would blur."""
SPARE_TOPICS = 8
"""Directions that are followed and not kept, so that those kept are exact enough."""
TOPIC_PASSES = 2
RIDGE = 2.0
"""What rows of weight 1 must say against a term. Texts have length 1, so this fits any set."""
HASH = np.uint64(0x9E37_79B9_7F4A_7C15)
BUCKET_BITS = 20
SOLVER_STEPS = 20
SOLVED = 1e-5


@dataclass(frozen=True)
class FittedText:
    """A text encoder, the names of its columns, and what training uses in place of some."""

    encoder: TextEncoder
    names: tuple[str, ...]
    rows: np.ndarray
    """The rows that were learned from, ascending."""
    crossed: np.ndarray
    """float64 of shape (n_learned, m): the linear models' predictions for these rows, each from a
    model that has not seen it. They belong in the columns from ``CROSSED_AT``."""


CROSSED_AT = 2


def fit_text(column: pa.Array, outcome: Outcome, folds: np.ndarray) -> FittedText:
    """Learn how to encode a text column.

    Parameters
    ----------
    column : Array
        string or large_string.
    outcome
        Of the same rows.
    folds : ndarray of int64
        Of the same rows; a fold's rows are predicted by a model of the others.
    """
    m = outcome.values.shape[1]
    rows = _sample(column, SAMPLE_BYTES // max(1, m))
    texts = column.take(rows)
    terms = find_terms(texts)
    weighed = terms.weigh(texts)
    ridge = fit_ridge(weighed, len(terms), outcome.take(rows), folds[rows])
    most = min(TOPICS if m else MORE_TOPICS, max(2, len(texts) // TEXTS_A_TOPIC))
    topics = find_topics(weighed, len(terms), most)
    directions = np.concatenate([ridge[:, -1, :], topics], axis=1)
    directions = directions.astype(np.float32).astype(np.float64)
    names = (
        *("length", "words"),
        *(f"{name}, by its words" for name in outcome.names),
        *(f"topic {k + 1}" for k in range(topics.shape[1])),
    )
    texts_of_terms = np.repeat(np.arange(len(texts)), np.diff(weighed.ends))
    flagged = telling_codes(
        texts_of_terms, weighed.terms.astype(np.int64), len(terms), outcome.take(rows)
    )[:FLAGS].astype(np.int32)
    return FittedText(
        TextEncoder(terms, directions, flagged),
        (*names, *(f"has {terms.spelled(term)!r}" for term in flagged.tolist())),
        rows,
        _crossed(weighed, ridge, folds[rows]),
    )


def _sample(column: pa.Array, most_bytes: int) -> np.ndarray:
    """Take rows at random, until their text is ``most_bytes`` long."""
    if column.nbytes <= most_bytes:
        return np.arange(len(column))
    order = np.random.default_rng(0).permutation(len(column))
    kept = int(len(column) * most_bytes / column.nbytes)
    return np.sort(order[: max(1, kept)])


def find_terms(column: pa.Array) -> Terms:
    """Number the words, and the pairs of them, that occur in at least five texts.

    If they are many, those in most texts are taken; ties go to the smaller text.
    """
    words, counts = words_of(column)
    rows = np.repeat(np.arange(len(counts)), counts)
    encoded = words.dictionary_encode()
    size = max(1, len(encoded.dictionary))
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    texts = _count_texts(rows, codes, size)
    spelled = encoded.dictionary.to_pylist()
    frequent = np.flatnonzero(texts >= FREQUENT).tolist()
    known = sorted(frequent, key=lambda word: (-texts[word], spelled[word]))[:MOST_WORDS]
    renumbered = np.full(size, len(known))
    renumbered[known] = np.arange(len(known))
    codes = renumbered[codes]
    beside = (rows[1:] == rows[:-1]) & (codes[1:] < len(known)) & (codes[:-1] < len(known))
    keys, rows = codes[:-1][beside] * len(known) + codes[1:][beside], rows[1:][beside]
    maybe = _perhaps_frequent(keys)
    distinct, pairs = np.unique(keys[maybe], return_inverse=True)
    pair_texts = _count_texts(rows[maybe], pairs, len(distinct))
    often = np.flatnonzero(pair_texts >= FREQUENT)
    often = np.sort(often[np.argsort(-pair_texts[often], kind="stable")][:MOST_PAIRS])
    lefts, rights = np.divmod(distinct[often], max(1, len(known)))
    texts = np.concatenate([texts[known], pair_texts[often]])
    return Terms(
        Vocabulary.of([spelled[word] for word in known]),
        np.searchsorted(lefts, np.arange(len(known) + 1)).astype(np.int64),
        rights.astype(np.int32),
        np.log((1.0 + len(column)) / (1.0 + texts)) + 1.0,
    )


def _count_texts(rows: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """Tell in how many rows each code occurs."""
    counts = np.zeros(size, np.int64)
    count_rows(rows, codes, counts)
    return counts


def _perhaps_frequent(keys: np.ndarray) -> np.ndarray:
    """Mark all keys that occur five times, and few others: sorting is what costs."""
    buckets = (keys.astype(np.uint64) * HASH) >> np.uint64(64 - BUCKET_BITS)
    places = buckets.astype(np.int64)
    return np.asarray(np.bincount(places, minlength=1 << BUCKET_BITS)[places] >= FREQUENT)


def fit_ridge(weighed: Weighed, n_terms: int, outcome: Outcome, folds: np.ndarray) -> np.ndarray:
    """Regress the outcome on the weighed terms, without the rows of each fold and with all.

    All problems are solved side by side by conjugate gradients on the normal equations, each
    with its own rows set to weight 0.

    Returns
    -------
    ndarray of shape (n_terms, n_folds + 1, m)
        Per term: what it adds. The last of the middle axis has seen all rows.
    """
    m = outcome.values.shape[1]
    n_folds = int(folds.max()) + 1
    if not m or not n_terms:
        return np.zeros((n_terms, n_folds + 1, m))
    rows = len(outcome.weights)
    used = np.ones((rows, n_folds + 1))
    used[np.arange(rows), folds] = 0.0
    used *= (outcome.weights / outcome.weights.mean())[:, None]
    total = np.maximum(used.sum(axis=0), 1e-300)
    means = (used.T @ outcome.values) / total[:, None]
    centred = outcome.values[:, None, :] - means
    importance = np.repeat(used, m, axis=1)
    residual = np.empty((n_terms, importance.shape[1]))
    _back(weighed, importance * centred.reshape(rows, -1), residual)
    solution, direction = np.zeros_like(residual), residual.copy()
    curved, along = np.empty_like(residual), np.empty_like(importance)
    size = np.einsum("ij,ij->j", residual, residual)
    first = np.maximum(size, 1e-300)
    for _ in range(SOLVER_STEPS):
        project(weighed.ends, weighed.terms, weighed.weights, direction, along)
        _back(weighed, importance * along, curved)
        curved += RIDGE * direction
        bend = np.einsum("ij,ij->j", direction, curved)
        step = np.where(bend > 0, size / np.where(bend > 0, bend, 1.0), 0.0)
        solution += step * direction
        residual -= step * curved
        left = np.einsum("ij,ij->j", residual, residual)
        if (left <= SOLVED * first).all():
            break
        direction = residual + left / np.maximum(size, 1e-300) * direction
        size = left
    return solution.reshape(n_terms, n_folds + 1, m)


def _back(weighed: Weighed, values: np.ndarray, out: np.ndarray) -> None:
    project_back(weighed.ends, weighed.terms, weighed.weights, np.ascontiguousarray(values), out)


def find_topics(weighed: Weighed, n_terms: int, topics: int) -> np.ndarray:
    """Find the first right singular vectors of the texts, by random subspace iteration.

    See Halko, Martinsson and Tropp, "Finding structure with randomness" (2011), algorithm 4.4.

    Returns
    -------
    ndarray of shape (n_terms, at most ``topics``)
        Each with its largest entry positive.
    """
    texts = len(weighed.ends) - 1
    most = min(topics, n_terms, texts)
    followed = min(most + SPARE_TOPICS, n_terms, texts)
    if not followed:
        return np.zeros((n_terms, 0))
    basis = np.random.default_rng(0).normal(size=(n_terms, followed))
    along = np.empty((texts, followed))
    for _ in range(TOPIC_PASSES):
        project(weighed.ends, weighed.terms, weighed.weights, basis, along)
        _back(weighed, _orthonormal(along), basis)
        basis = np.ascontiguousarray(_orthonormal(basis))
    project(weighed.ends, weighed.terms, weighed.weights, basis, along)
    _, turned = np.linalg.eigh(along.T @ along)
    found = (basis @ turned[:, ::-1])[:, :most]
    largest = found[np.abs(found).argmax(axis=0), np.arange(most)]
    return np.asarray(found * np.where(largest < 0, -1.0, 1.0))


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """Turn columns into as many orthonormal ones of the same space; what is no direction is 0."""
    squares, turned = np.linalg.eigh(columns.T @ columns)
    some = squares > squares[-1] * 1e-12
    lengths = np.sqrt(np.where(some, squares, 1.0))
    return np.asarray(columns @ np.where(some, turned / lengths, 0.0))


def _crossed(weighed: Weighed, ridge: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Predict the outcome of every text by the model that has not seen its fold."""
    n_terms, models, m = ridge.shape
    every = np.empty((len(folds), models * m))
    flat = np.ascontiguousarray(ridge).reshape(n_terms, models * m)
    project(weighed.ends, weighed.terms, weighed.weights, flat, every)
    return np.asarray(every.reshape(len(folds), models, m)[np.arange(len(folds)), folds])
