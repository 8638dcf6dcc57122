"""Texts to terms to numbers."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rowcast.core.model import ModelSpec
from rowcast.core.schema import Feature, ModelSchema, Target
from rowcast.errors import ModelDamaged
from rowcast.scoring.encode import Encoder
from rowcast.scoring.text import Terms, TextEncoder, WordFlagEncoder, words_of
from rowcast.scoring.vocabulary import Vocabulary

NO_FLAGS = np.zeros(0, np.int32)


def words(*texts):
    found, counts = words_of(pa.array(texts, pa.string()))
    assert counts.sum() == len(found)
    ends = np.cumsum([0, *counts])
    return [found.to_pylist()[a:b] for a, b in pairwise(ends)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World-wide 2nd", ["hello", "world", "wide", "2nd"]),
        ("ÜBER-all don't", ["über", "all", "don", "t"]),
        ("naïve café — «déjà» vu…", ["naïve", "café", "déjà", "vu"]),
        ("Привет, мир!", ["привет", "мир"]),
        ("品質が良い ok", ["品", "質", "が", "良", "い", "ok"]),
        ("great👍👍 ok", ["great", "👍", "👍", "ok"]),
        ("  \t\n", []),
        ("a\u00a0b\u2003c\u3000d！e", ["a", "b", "c", "d", "e"]),
        (None, []),
    ],
)
def test_words_are_runs_of_letters_and_digits(text, expected):
    assert words(text) == [expected]


@settings(max_examples=150)
@given(st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=8))
def test_words_of_a_cell_do_not_hang_on_its_neighbours(texts):
    assert words(*texts) == [words(text)[0] for text in texts]


@pytest.mark.parametrize("text", ["a", "a b", "品", "a品b", "👍a👍"])
def test_there_is_room_for_the_shortest_words(text):
    assert words(*[text] * 5000) == words(text) * 5000


@given(st.lists(st.text(st.characters(codec="ascii"), max_size=20), max_size=5))
def test_ascii_words_are_what_python_says(texts):
    lower = ["".join(c if c.isalnum() else " " for c in text.lower()).split() for text in texts]
    assert words(*texts) == lower


def small_terms():
    """Words not, good, bad; pairs (not, good), (not, bad)."""
    return Terms(
        Vocabulary.of(["not", "good", "bad"]),
        np.array([0, 2, 2, 2]),
        np.array([1, 2], np.int32),
        np.array([1.0, 2.0, 2.0, 3.0, 4.0]),
    )


def weighed(text):
    found = small_terms().weigh(pa.array([text], pa.string()))
    return dict(zip(found.terms.tolist(), found.weights.tolist(), strict=True))


def test_a_text_is_its_terms_by_rarity_and_count():
    raw = {0: 1.0, 1: 2 * 2**0.5, 3: 3.0}
    length = sum(value**2 for value in raw.values()) ** 0.5
    assert weighed("Not good, good") == pytest.approx({k: v / length for k, v in raw.items()})


def test_a_word_between_breaks_a_pair():
    assert set(weighed("not very good")) == {0, 1}
    assert set(weighed("not bad")) == {0, 2, 4}
    assert weighed("unknown words") == {}
    assert weighed(None) == {}


def test_the_columns_are_sizes_and_sums_along_the_directions():
    directions = np.arange(10.0).reshape(5, 2)
    out = np.empty((3, 5))
    encoder = TextEncoder(small_terms(), directions, np.array([3], np.int32))
    encoder.fill(pa.array(["not good", None, "zzz"]), out)
    terms = weighed("not good")
    assert out[0, :2].tolist() == [8, 2]
    assert out[0, 2:4] == pytest.approx(sum(w * directions[t] for t, w in terms.items()))
    assert out[0, 4] == 1
    assert np.isnan(out[1, :2]).all()
    assert out[1:, 2:].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert out[2, :2].tolist() == [3, 1]


def test_a_row_gets_the_same_bits_in_every_batch():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["not", "good", "bad", "x"], 30)) for _ in range(300)]
    encoder = TextEncoder(small_terms(), rng.normal(size=(5, 7)), np.array([0, 4], np.int32))
    whole = np.empty((300, 11))
    encoder.fill(pa.array(texts), whole)
    for size in (1, 13, 100):
        for start in range(0, 300, size):
            out = np.empty((len(texts[start : start + size]), 11))
            encoder.fill(pa.array(texts[start : start + size]), out)
            assert out.tobytes() == whole[start : start + size].tobytes()


def loaded(arrays, columns, kind="text"):
    feature = Feature("t", kind, nullable=True)
    schema = ModelSchema((feature,), Target("y", "regression"))
    entry = {"kind": kind, "columns": ["c"] * columns}
    return Encoder.of(
        ModelSpec("m", "boosted", schema, (entry,)),
        {f"0.{name}": array for name, array in arrays.items()},
    )


def test_an_encoder_comes_back_from_its_arrays():
    one = TextEncoder(small_terms(), np.arange(10.0).reshape(5, 2), NO_FLAGS)
    other = loaded(one.arrays(), 4)
    texts = pa.table({"t": ["not good", "bad bad", ""]})
    expected = np.empty((3, 4))
    one.fill(texts["t"], expected)
    assert np.array_equal(other.matrix(texts)[0], expected, equal_nan=True)


@pytest.mark.parametrize("name", ["pair_ends", "rarity", "directions"])
def test_arrays_that_do_not_belong_together_are_damage(name):
    arrays = TextEncoder(small_terms(), np.zeros((5, 2)), NO_FLAGS).arrays()
    arrays[name] = arrays[name][:-1]
    with pytest.raises(ModelDamaged, match="The text of feature 't'"):
        loaded(arrays, 4)


def test_flags_of_unknown_terms_are_damage():
    arrays = TextEncoder(small_terms(), np.zeros((5, 2)), NO_FLAGS).arrays()
    arrays["flagged"] = np.array([5], np.int32)
    with pytest.raises(ModelDamaged, match="do not belong together"):
        loaded(arrays, 5)


def test_terms_are_spelled():
    assert [small_terms().spelled(term) for term in (0, 2, 3, 4)] == [
        "not",
        "bad",
        "not good",
        "not bad",
    ]


def test_models_with_word_flags_are_still_read():
    vocabulary = Vocabulary.of(["über", "ok"])
    encoder = loaded({"words": vocabulary.words, "offsets": vocabulary.offsets}, 4)
    assert isinstance(encoder.columns[0], WordFlagEncoder)
    out, _ = encoder.matrix(pa.table({"t": ["ÜBER-all ok,ok", None, "okay"]}))
    assert out[0].tolist() == [14, 4, 1, 1]
    assert np.isnan(out[1, :2]).all()
    assert out[1, 2:].tolist() == [0, 0]
    assert out[2].tolist() == [4, 1, 0, 0]
