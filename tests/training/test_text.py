"""Learning how to encode free text, and lists."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rowcast.scoring.encode import Encoder
from rowcast.training import text as fitting
from rowcast.training.columns import fit_encoder
from rowcast.training.data import read_table
from rowcast.training.examples import prepare
from rowcast.training.infer import Choice, choose_features
from rowcast.training.request import Request
from rowcast.training.telling import Outcome

WORDS = [f"word{i}" for i in range(60)]


def reviews(rows=1200, seed=0):
    """Texts whose words each say a little, and a negation that says it the other way."""
    rng = np.random.default_rng(seed)
    worth = np.random.default_rng(99).normal(size=len(WORDS))
    texts, values = [], np.empty(rows)
    for row in range(rows):
        chosen = rng.integers(0, len(WORDS), rng.integers(5, 15))
        negated = rng.random(len(chosen)) < 0.3
        values[row] = (worth[chosen] * np.where(negated, -1, 1)).mean()
        texts.append(
            " ".join(
                ("not " if no else "") + WORDS[word]
                for no, word in zip(negated, chosen, strict=True)
            )
        )
    return pa.array(texts), values / values.std()


def fitted(column, values, seed=0, kind="text"):
    outcome = Outcome.of_value(values, np.ones(len(values)))
    return fit_encoder(pa.table({"t": column}), [Choice("t", kind)], outcome, seed)


def test_the_words_together_tell_what_no_word_tells():
    texts, values = reviews()
    made = fitted(texts, values)
    new, truth = reviews(500, seed=1)
    matrix, _ = made.encoder.matrix(pa.table({"t": new}))
    at = made.column_names.index("t: mean, by its words")
    assert np.corrcoef(matrix[:, at], truth)[0, 1] > 0.8


def test_a_word_that_tells_much_alone_has_a_flag():
    texts, noise = reviews(600)
    told = np.array([text.startswith("not ") for text in texts.to_pylist()])
    column = pa.array(
        [("alarm " if t else "calm ") + x for t, x in zip(told, texts.to_pylist(), strict=True)]
    )
    made = fitted(column, told + 0.1 * noise)
    flag = made.matrix[:, made.column_names.index("t: has 'alarm'")]
    assert flag.tolist() == told.astype(float).tolist()


def test_training_sees_predictions_of_models_that_have_not_seen_the_row():
    texts, _ = reviews(400)
    noise = np.random.default_rng(3).normal(size=400)
    made = fitted(texts, noise)
    at = made.column_names.index("t: mean, by its words")
    served, _ = made.encoder.matrix(pa.table({"t": texts}))
    assert np.corrcoef(served[:, at], noise)[0, 1] > 0.4  # it has learned them by heart
    assert abs(np.corrcoef(made.matrix[:, at], noise)[0, 1]) < 0.2


def test_ridge_is_the_solution_of_its_normal_equations(monkeypatch):
    monkeypatch.setattr(fitting, "SOLVED", 1e-20)
    monkeypatch.setattr(fitting, "SOLVER_STEPS", 500)
    texts, values = reviews(200)
    terms = fitting.find_terms(texts)
    weighed = terms.weigh(texts)
    weights = np.random.default_rng(0).uniform(0.5, 2, 200)
    folds = np.arange(200) % 5
    found = fitting.fit_ridge(weighed, len(terms), Outcome.of_value(values, weights), folds)
    dense = np.zeros((200, len(terms)))
    for row in range(200):
        part = slice(weighed.ends[row], weighed.ends[row + 1])
        dense[row, weighed.terms[part]] = weighed.weights[part]
    for fold in range(6):
        w = weights / weights.mean() * (folds != fold)
        centred = values - (w @ values) / w.sum()
        left = dense.T @ (w[:, None] * dense) + fitting.RIDGE * np.eye(len(terms))
        expected = np.linalg.solve(left, dense.T @ (w * centred))
        assert found[:, fold, 0] == pytest.approx(expected, abs=1e-7)


def test_topics_are_the_first_singular_vectors():
    texts, _ = reviews(300)
    terms = fitting.find_terms(texts)
    weighed = terms.weigh(texts)
    dense = np.zeros((300, len(terms)))
    for row in range(300):
        part = slice(weighed.ends[row], weighed.ends[row + 1])
        dense[row, weighed.terms[part]] = weighed.weights[part]
    found = fitting.find_topics(weighed, len(terms), 4)
    assert found.T @ found == pytest.approx(np.eye(4), abs=1e-9)
    exact = np.linalg.svd(dense)[1]
    kept = np.linalg.norm(dense @ found, axis=0)
    assert kept[0] == pytest.approx(exact[0], rel=1e-3)
    assert (kept**2).sum() > 0.8 * (exact[:4] ** 2).sum()


def test_terms_occur_in_five_texts():
    column = pa.array(["a b"] * 5 + ["c a"] * 4 + ["b b b b b b"])
    terms = fitting.find_terms(column)
    assert terms.vocabulary.texts() == ["a", "b"]
    assert (terms.pair_ends.tolist(), terms.pair_rights.tolist()) == ([0, 1, 1], [1])


def test_a_sample_of_long_texts_is_enough(monkeypatch):
    texts, values = reviews()
    monkeypatch.setattr(fitting, "SAMPLE_BYTES", texts.nbytes // 3)
    made = fitted(texts, values)
    at = made.column_names.index("t: mean, by its words")
    assert np.corrcoef(made.matrix[:, at], values)[0, 1] > 0.6
    assert np.isfinite(made.matrix).all()


@pytest.mark.parametrize("texts", [["", None] * 30, ["x"] * 60, [f"w{i}" for i in range(60)]])
def test_texts_without_terms_have_sizes_only_or_little_more(texts):
    made = fitted(pa.array(texts, pa.string()), np.arange(60.0))
    assert made.column_names[:2] == ["t: length", "t: words"]
    assert np.isfinite(made.matrix[:, 2:]).all()


def test_many_classes_get_topics_alone():
    texts, _ = reviews(600)
    codes = np.arange(600) % 12
    outcome = Outcome.of_classes(codes, [str(i) for i in range(12)], np.ones(600))
    made = fit_encoder(pa.table({"t": texts}), [Choice("t", "text")], outcome, 0)
    assert made.matrix.shape == (600, 2 + 600 // fitting.TEXTS_A_TOPIC + fitting.FLAGS)


# --- lists ---


def tagged(rows=600):
    rng = np.random.default_rng(5)
    tags = [rng.choice(list("abcdefgh"), rng.integers(0, 5)).tolist() for _ in range(rows)]
    scores = [np.round(rng.normal(size=rng.integers(1, 6)), 3).tolist() for _ in range(rows)]
    notes = [[f"said word{i % 7} and word{i % 5}", "then left it"][: i % 3] for i in range(rows)]
    y = np.array([("a" in t) + sum(s) for t, s in zip(tags, scores, strict=True)])
    y += rng.normal(0, 0.1, rows)
    return {"tags": tags, "scores": scores, "notes": notes, "y": y.tolist()}


KINDS = {"tags": "repeatedCategorical", "scores": "repeatedNumeric", "notes": "repeatedText"}


def test_native_lists_are_judged_by_their_values():
    found = choose_features(pa.table(tagged()), {"tags": "auto", "scores": "auto"}, {"y"})
    assert {c.name: c.kind for c in found.features} == {
        "tags": "repeatedCategorical",
        "scores": "repeatedNumeric",
    }


def test_text_is_a_list_if_every_cell_is_an_array():
    lists = ["[1, 2]", "[]", "", "[3.5]"] * 30
    almost = [*lists[:-1], "[3.5"]
    found = choose_features(pa.table({"a": lists, "b": almost}), None, set())
    assert {c.name: c.kind for c in found.features} == {"a": "repeatedNumeric", "b": "categorical"}


def test_lists_of_structs_are_left_out():
    table = pa.table({"x": [1.5, 2.5] * 40, "s": [[{"a": 1}]] * 80})
    assert choose_features(table, None, set()).dropped == {"s": "nested values are not read"}


def test_every_format_of_lists_leads_to_the_same_model(tmp_path):
    table = pa.table(tagged())
    pq.write_table(table, tmp_path / "t.parquet")
    records = table.to_pylist()
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    quoted = [
        ",".join('"' + json.dumps(r[n]).replace('"', '""') + '"' for n in table.column_names)
        for r in records
    ]
    (tmp_path / "t.csv").write_text("\n".join([",".join(table.column_names), *quoted]) + "\n")
    matrices = []
    for source in (table, *(tmp_path / f"t.{end}" for end in ("parquet", "jsonl", "csv"))):
        examples = prepare(read_table(source), Request(target="y", name="m", transformations=KINDS))
        rows = np.arange(len(examples))
        made = fit_encoder(examples.table, examples.choices.features, examples.outcome(rows), 0)
        matrices.append((made.matrix.tobytes(), made.encoder.matrix(examples.table)[0].tobytes()))
    assert matrices == [matrices[0]] * 4


def test_the_values_of_a_list_are_learned_from():
    data = tagged()
    table, values = pa.table(data), np.array(data["y"])
    outcome = Outcome.of_value(values, np.ones(len(values)))
    made = fit_encoder(table, [Choice(n, k) for n, k in KINDS.items()], outcome, 0)
    names = made.column_names
    flag = made.matrix[:, names.index("tags: has 'a'")]
    assert flag.tolist() == [float("a" in tags) for tags in data["tags"]]
    total = made.matrix[:, names.index("scores: sum")]
    assert np.corrcoef(total, values)[0, 1] > 0.9
    mean = made.matrix[:, names.index("tags: mean, by its values")]
    some = np.isfinite(mean)
    assert np.corrcoef(mean[some], flag[some])[0, 1] > 0.5
    assert isinstance(made.encoder, Encoder)
    assert made.features[0].baseline == "[]"
