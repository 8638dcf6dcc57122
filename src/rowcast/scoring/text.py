"""Free text to a few numbers: what its words and pairs of neighbouring words add up to."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.scoring.kernels.text import cut_words, mark, project, weigh_terms
from rowcast.scoring.parse import as_text, text_buffers
from rowcast.scoring.vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Mapping

WORD_BREAKS = r"[^\p{L}\p{N}]+"
TEXT_ARRAYS = ("words", "offsets", "pair_ends", "pair_rights", "rarity", "directions", "flagged")


@dataclass(frozen=True)
class Weighed:
    """The terms of some texts, with weights whose squares sum to 1 in each text that has any."""

    ends: np.ndarray
    """int64 of shape (n_texts + 1,): text i has ``terms[ends[i]:ends[i + 1]]``, each once."""
    terms: np.ndarray
    """int32."""
    weights: np.ndarray
    """float64."""
    words: np.ndarray
    """int64 of shape (n_texts,): how many words each text has, known or not."""


@dataclass(frozen=True)
class Terms:
    """The words and pairs that training knew, numbered, and how rare each is."""

    vocabulary: Vocabulary
    pair_ends: np.ndarray
    """int64 of shape (n_words + 1,): see ``rowcast.scoring.kernels.text.weigh_terms``."""
    pair_rights: np.ndarray
    """int32 of shape (n_pairs,)."""
    rarity: np.ndarray
    """float64 of shape (n_words + n_pairs,)."""

    def __len__(self) -> int:
        return len(self.rarity)

    def spelled(self, term: int) -> str:
        """Write a term out."""
        texts = self.vocabulary.texts()
        if term < len(texts):
            return texts[term]
        pair = term - len(texts)
        left = int(np.searchsorted(self.pair_ends, pair, "right")) - 1
        return f"{texts[left]} {texts[self.pair_rights[pair]]}"

    def weigh(self, column: pa.Array) -> Weighed:
        """Find the terms of every cell of a text column."""
        words, counts = words_of(column)
        codes = self.vocabulary.codes(words)
        ends = np.empty(len(counts) + 1, np.int64)
        terms, weights = np.empty(2 * len(codes), np.int32), np.empty(2 * len(codes))
        weigh_terms(
            counts,
            codes,
            len(self.vocabulary),
            self.pair_ends,
            self.pair_rights,
            self.rarity,
            ends,
            terms,
            weights,
        )
        return Weighed(ends, terms[: ends[-1]], weights[: ends[-1]], counts)


@dataclass(frozen=True)
class TextEncoder:
    """Length, number of words, the text's terms along directions found in training, and flags."""

    terms: Terms
    directions: np.ndarray
    """float64 of shape (n_terms, n_directions); saved as float32, and so rounded to it."""
    flagged: np.ndarray
    """int32: the terms that have a flag as well."""

    @property
    def width(self) -> int:
        """Two columns, the directions and the flags."""
        return 2 + int(self.directions.shape[1]) + len(self.flagged)

    @cached_property
    def _places(self) -> np.ndarray:
        places = np.full(len(self.terms), -1)
        places[self.flagged] = np.arange(len(self.flagged))
        return places

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Build it from the arrays named in ``TEXT_ARRAYS``.

        Raises
        ------
        ValueError
            If they do not belong together.
        """
        words, offsets, pair_ends, pair_rights, rarity, directions, flagged = (
            arrays[name] for name in TEXT_ARRAYS
        )
        vocabulary = Vocabulary(words, offsets)
        known, pairs = len(vocabulary), len(pair_rights)
        if (
            len(pair_ends) != known + 1
            or pair_ends[0] != 0
            or pair_ends[-1] != pairs
            or (np.diff(pair_ends) < 0).any()
            or len(rarity) != known + pairs
            or directions.ndim != 2
            or len(directions) != len(rarity)
            or (len(flagged) and not 0 <= flagged.min() <= flagged.max() < len(rarity))
        ):
            raise ValueError("its terms and directions do not belong together")
        # Copies of one type each: what a kernel is compiled for does not hang on the file.
        terms = Terms(
            vocabulary,
            np.array(pair_ends, np.int64),
            np.array(pair_rights, np.int32),
            np.array(rarity, np.float64),
        )
        return cls(terms, np.array(directions, np.float64, order="C"), flagged)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that ``of`` needs."""
        terms = self.terms
        return {
            "words": terms.vocabulary.words,
            "offsets": terms.vocabulary.offsets,
            "pair_ends": terms.pair_ends,
            "pair_rights": terms.pair_rights,
            "rarity": terms.rarity,
            "directions": self.directions.astype(np.float32),
            "flagged": self.flagged,
        }

    def fill(self, column: pa.Array, out: np.ndarray) -> None:
        """See ColumnEncoder."""
        column = as_text(column)
        weighed = self.terms.weigh(column)
        _fill_sizes(column, weighed.words, out)
        along = np.empty((len(column), self.directions.shape[1]))
        project(weighed.ends, weighed.terms, weighed.weights, self.directions, along)
        flags = np.empty((len(column), len(self.flagged)))
        mark(weighed.ends, weighed.terms, self._places, flags)
        out[:, 2 : 2 + along.shape[1]] = along
        out[:, 2 + along.shape[1] :] = flags


@dataclass(frozen=True)
class WordFlagEncoder:
    """Length, number of words, and flags for some words: the text of models of format 0.1.0."""

    vocabulary: Vocabulary

    @property
    def width(self) -> int:
        """Two columns and the flags."""
        return len(self.vocabulary) + 2

    def fill(self, column: pa.Array, out: np.ndarray) -> None:
        """See ColumnEncoder."""
        column = as_text(column)
        rows, words = split_words(column)
        _fill_sizes(column, np.bincount(rows, minlength=len(column)), out)
        out[:, 2:] = 0.0
        codes = self.vocabulary.codes(words)
        known = codes < len(self.vocabulary)
        out[rows[known], codes[known] + 2] = 1.0


def _fill_sizes(column: pa.Array, words: np.ndarray, out: np.ndarray) -> None:
    """Write the first two columns: characters and words, NaN for a null."""
    null = Vocabulary.of([]).codes(column) == 1
    out[:, 0] = pc.utf8_length(column).fill_null(0).to_numpy(zero_copy_only=False)
    out[:, 1] = words
    out[null, :2] = np.nan


def words_of(column: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Cut texts into lower-case words, as ``rowcast.scoring.kernels.text`` defines them.

    Returns
    -------
    words : Array
        large_string, in reading order.
    counts : ndarray of int64
        How many of them each cell has.
    """
    texts = pc.utf8_lower(column.cast(pa.large_string()).fill_null(""))
    data, offsets = text_buffers(texts)
    size = int(offsets[-1] - offsets[0])
    out = np.empty(size, np.uint8)
    # Between two words of a cell there is a byte at least, or one of them is wider than a byte.
    ends = np.empty((size + len(column)) // 2 + 2, np.int64)
    counts = np.empty(len(column), np.int64)
    found = cut_words(data, offsets, out, ends, counts)
    buffers = [None, pa.py_buffer(ends[: found + 1].copy()), pa.py_buffer(out[: ends[found]])]
    return pa.Array.from_buffers(pa.large_string(), found, buffers), counts


def split_words(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Cut texts into lower-case words of letters and digits, as word flags were made from.

    Returns
    -------
    rows : ndarray of int64
        The cell that each word is from.
    words : Array
        large_string, in reading order.
    """
    texts = pc.utf8_lower(column.cast(pa.large_string()).fill_null(""))
    lists = pc.split_pattern_regex(texts, WORD_BREAKS).cast(pa.large_list(pa.large_string()))
    words = pc.list_flatten(lists)
    rows = pc.list_parent_indices(lists)
    keep = pc.greater(pc.binary_length(words), 0)
    return (
        rows.filter(keep).to_numpy(zero_copy_only=False).astype(np.int64),
        words.filter(keep),
    )
