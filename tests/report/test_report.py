"""The report: whole, harmless, offline, and true to the numbers it is made of."""

import json
import re
from dataclasses import replace

import pytest

from rowcast.core.model import EVALUATION_JSON
from rowcast.core.schema import Feature, Target
from rowcast.report.markup import Markup, joined, name, section, tag, text
from rowcast.report.plots import (
    Axis,
    Line,
    around,
    deviations,
    histogram,
    line_plot,
    spark,
    value_plot,
)
from rowcast.report.words import count, day, number, percent, plural, seconds, short
from tests.report.pages import HOSTILE, Page, evaluated, model_and_rows, page, page_of

KINDS = ["binary", "letters", "regression"]
COMMON = {"quality", "candidates", "importance", "data", "reproducibility"}
SECTIONS = {
    "binary": COMMON | {"thresholds", "curves", "confusion", "classes", "calibration"},
    "letters": COMMON | {"thresholds", "curves", "confusion", "classes", "calibration"},
    "regression": COMMON | {"errors", "interval"},
}


def facts_of(kind):
    model, rows = model_and_rows(kind)
    return json.loads(evaluated(model, rows)[EVALUATION_JSON])


# --- form ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_is_one_whole_page_with_every_part(kind):
    found = Page(page_of(kind))
    assert set(found.ids) == SECTIONS[kind]
    assert len(found.ids) == len(set(found.ids))
    links = [attrs["href"] for tag_, attrs in found.elements if tag_ == "a"]
    assert sorted(links) == sorted(f"#{id_}" for id_ in SECTIONS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_needs_nothing_but_itself(kind):
    text_ = page_of(kind)
    found = Page(text_)
    assert not re.search(r"https?:|//[a-z]|url\(|@import|javascript:", text_)
    loads = {"script", "link", "img", "iframe", "object", "embed", "form", "base", "audio", "video"}
    assert loads.isdisjoint(tag_ for tag_, _ in found.elements)
    attributes = {key for _, attrs in found.elements for key in attrs}
    assert not {key for key in attributes if key.startswith("on") or key in ("src", "srcset")}
    assert "default-src 'none'" in next(
        attrs["content"] for _, attrs in found.elements if "http-equiv" in attrs
    )


@pytest.mark.parametrize("kind", KINDS)
def test_plots_have_finite_places_and_a_name(kind):
    drawn = 0
    for tag_, attrs in Page(page_of(kind)).elements:
        if tag_ != "meta":
            assert not re.search(r"\b(nan|inf|none)\b", " ".join(map(str, attrs.values())), re.I)
        drawn += tag_ == "svg" and bool(attrs.get("aria-label"))
    assert drawn >= 3


# --- content ---


def test_the_head_says_which_model_it_is():
    found = Page(page_of("binary")).text
    for words in (
        "shop binary",
        "Predicts churn from 5 columns",
        "churn, version 3",
        "2026-01-31 08:15 UTC",
        "Binary classification",
        "1,500",
        "Classes: no, yes",
        "12 s of 1 min 0 s",
    ):
        assert words in found, words


def test_the_numbers_of_a_binary_model_are_those_of_its_evaluation():
    facts, found = facts_of("binary"), Page(page_of("binary"))
    metrics, positive = facts["metrics"], facts["slices"][1]["metrics"]
    shown = {row[0]: row[1] for row in found.table("Metric", "Value", "Meaning")}
    assert shown["Log loss"] == number(metrics["logLoss"])
    assert shown["ROC AUC, micro-averaged"] == number(metrics["auRoc"])
    assert f"ROC AUC of yes {number(positive['auRoc'])}" in found.text
    thresholds = found.table("Threshold", "Precision")
    assert len(thresholds) == 24
    entry = positive["confidenceMetrics"][10]
    assert thresholds[10][0] == "0.50"
    assert thresholds[10][5] == count(int(entry["truePositiveCount"]))
    matrix = metrics["confusionMatrix"]["rows"]
    confusion = found.table("True \N{RIGHTWARDS ARROW} predicted")
    share = f"{100 * matrix[0][1] / sum(matrix[0]):.1f} %"
    assert confusion[0] == ["no", confusion[0][1], f"{count(matrix[0][1])}{share}"]
    errors = {row[0]: row[1:] for row in found.table("", "Before", "As served")}
    calibration = facts["calibration"]
    assert errors["Log loss"] == [
        number(calibration["before"]["logLoss"]),
        number(calibration["after"]["logLoss"]),
    ]


def test_26_classes_have_a_matrix_their_confusions_and_a_line_each():
    facts, found = facts_of("letters"), Page(page_of("letters"))
    matrix = facts["metrics"]["confusionMatrix"]["rows"]
    wrong = {
        (chr(65 + i), chr(65 + j)): cell
        for i, row in enumerate(matrix)
        for j, cell in enumerate(row)
        if i != j
    }
    confusions = found.table("True class", "Taken for", "Rows")
    assert [int(row[2]) for row in confusions] == sorted(wrong.values(), reverse=True)[:15]
    assert all(wrong[row[0], row[1]] == int(row[2]) for row in confusions)
    lines = found.table("Class", "Test rows")
    assert sorted(row[0] for row in lines) == [chr(65 + k) for k in range(26)]
    f1 = [float(row[4].replace("–", "-1")) for row in lines]
    assert f1 == sorted(f1)
    assert "Classes: A, B, C" in found.text
    assert "and 14 more" in found.text


def test_a_regression_model_shows_errors_and_intervals():
    facts, found = facts_of("regression"), Page(page_of("regression"))
    shown = {row[0]: row[1] for row in found.table("Metric", "Value")}
    assert shown["RMSE"] == number(facts["metrics"]["rootMeanSquaredError"])
    bounds = {row[0]: row[1] for row in found.table("", "Value")}
    assert bounds["Winkler score"] == number(facts["interval"]["winklerScore"])
    assert bounds["Coverage"] == f"{100 * facts['interval']['coverage']:.1f} %"
    assert len(found.table("Tenth", "Mean predicted")) == 10
    assert number(facts["baseline"]["rootMeanSquaredError"]) in found.text


def test_candidates_are_ranked_and_the_failed_ones_last():
    rows = Page(page_of("binary")).table("Candidate", "Family")
    assert [row[0] for row in rows] == ["one", "two"]
    assert rows[0][1:] == ["LightGBM", "0.25", "75.0 %", "1.5 s"]
    assert rows[1][2] == "–"


def test_every_column_is_shown_with_its_use():
    rows = {row[0]: row[1:] for row in Page(page_of("binary")).table("Column", "Use")}
    assert rows["empty"][0] == "not used"
    assert "every value is null" in rows["empty"]
    assert rows["age"][0] == "numeric"
    assert rows["age"][1] != "0.0 %"
    assert rows["churn"][:3] == ["target", "0.0 %", "2"]


def test_digests_of_every_file_are_there():
    model, rows = model_and_rows("binary")
    members = evaluated(model, rows)
    files = [row[0] for row in Page(page_of("binary")).table("File", "SHA-256")]
    assert files == ["model.json", *sorted(members)]


# --- models that know less, and more ---


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_an_evaluation_says_so(kind):
    model, _ = model_and_rows(kind)
    members = {key: value for key, value in model.members.items() if key != EVALUATION_JSON}
    found = Page(page(model, members))
    assert "keeps no evaluation" in found.text
    assert {"quality", "data", "reproducibility"} <= set(found.ids)
    metric = "RMSE" if kind == "regression" else "Log loss"
    assert metric in [row[0] for row in found.table("Metric", "Value")]


def test_columns_show_their_distribution():
    rows = {row[0]: row[4] for row in Page(page_of("regression")).table("Column", "Use")}
    assert rows["age"] == "18 to 89"
    assert re.fullmatch(r"clerk [34]\d %, nurse [23]\d %, smith \d+ % and 2 more", rows["job"])
    assert re.fullmatch(r"2015-01-\d\d to 2023-\d\d-\d\d", rows["joined"])
    assert rows["remark"].endswith(" characters")


def test_a_model_of_which_nothing_is_known_still_has_a_report():
    model, _ = model_and_rows("regression")
    members = {key: value for key, value in model.members.items() if not key.endswith(".json")}
    found = Page(page(replace(model, spec=replace(model.spec, training={})), members))
    assert "It was not measured" in found.text
    rows = {row[0]: row[1:] for row in found.table("Column", "Use")}
    assert rows["price"][0] == "target"
    assert rows["job"][:4] == ["categorical", "–", "–", "mostly clerk"]


def test_a_profile_is_drawn_beside_its_columns():
    model, rows = model_and_rows("binary")
    age = {"kind": "numeric", "counts": [0, 700, 700, 0], "edges": [18, 40, 89], "null": 100}
    job = {"kind": "categorical", "counts": [600, 450, 449, 1], "labels": ["clerk", "nurse"]}
    joined = {"kind": "timestamp", "counts": [0, 1500, 0], "edges": [16436, 19435]}
    features = [
        {"name": "age", **age},
        {"name": "job", "known": 5, **job},
        {"name": "joined", **joined},
        {"name": "income", "kind": "numeric", "counts": [0]},
    ]
    profile = {"rows": 1500, "features": features}
    members = {**evaluated(model, rows), "profile.json": json.dumps(profile).encode()}
    found = Page(page(model, members))
    shown = {row[0]: row[4] for row in found.table("Column", "Use")}
    assert shown["age"] == "18 to 89"
    assert shown["job"] == "clerk 40 %, nurse 30 % and 3 more"
    assert shown["joined"] == "2015-01-01 to 2023-03-19"
    assert shown["income"].startswith("median ")
    assert sum(attrs.get("class") == "spark" for _, attrs in found.elements) == 3


def test_a_class_without_test_rows_and_many_classes_have_their_place():
    model, rows = model_and_rows("letters")
    facts = json.loads(evaluated(model, rows)[EVALUATION_JSON])
    classes = tuple(f"class {k:02}" for k in range(60))
    matrix = [[0] * 60 for _ in range(60)]
    for k in range(59):
        matrix[k][(k + k % 2) % 60] = 3
    empty = {"confidenceMetrics": facts["slices"][0]["metrics"]["confidenceMetrics"]}
    facts["metrics"]["confusionMatrix"]["rows"] = matrix
    facts["slices"] = [
        {"dimension": "annotationSpec", "value": label, "metrics": empty} for label in classes
    ]
    target = Target("letter", "classification", classes)
    spec = replace(model.spec, schema=replace(model.spec.schema, target=target))
    members = {**model.members, EVALUATION_JSON: json.dumps(facts).encode()}
    found = Page(page(replace(model, spec=spec), members))
    assert ["class 59", "0", "–", "–", "–", "–", "–"] in found.table("Class", "Test rows")
    assert "30 more classes" in found.text
    assert "True \N{RIGHTWARDS ARROW} predicted" not in found.text


# --- safety ---


def test_names_that_are_markup_stay_text():
    model, rows = model_and_rows("binary")
    facts = json.loads(evaluated(model, rows)[EVALUATION_JSON])
    facts["slices"][1]["value"] = HOSTILE
    facts["importance"] = {HOSTILE: 0.75, "</style><b>": 0.25}
    facts["leaderboard"][0]["name"] = facts["leaderboard"][0]["family"] = HOSTILE
    facts["data"]["columns"] += [{"name": HOSTILE, "role": HOSTILE, "reason": HOSTILE}]
    facts["curves"]["positiveClass"]["value"] = HOSTILE
    schema = replace(
        model.spec.schema,
        features=(Feature(HOSTILE, "categorical", True, baseline=HOSTILE),),
        target=Target(HOSTILE, "classification", ("no", HOSTILE)),
    )
    profile = {
        "rows": 6,
        "features": [
            {
                "name": HOSTILE,
                "kind": "categorical",
                "counts": [5, 1],
                "labels": [HOSTILE],
                "known": 1,
            }
        ],
    }
    training = {
        **model.spec.training,
        "dropped": {HOSTILE: HOSTILE},
        "warnings": [HOSTILE],
        "rowsLeftOut": {HOSTILE: 1},
        "objective": HOSTILE,
        "lossName": HOSTILE,
        "predictionTypeReason": HOSTILE,
    }
    spec = replace(
        model.spec,
        name=HOSTILE,
        schema=schema,
        training=training,
        versions={HOSTILE: HOSTILE},
        predictor=HOSTILE,
    )
    members = {
        **model.members,
        EVALUATION_JSON: json.dumps(facts).encode(),
        "profile.json": json.dumps(profile).encode(),
    }
    text_ = page(replace(model, spec=spec), members)
    found = Page(text_)
    assert "<script" not in text_
    assert "<img" not in text_
    assert {"script", "img"}.isdisjoint(tag_ for tag_, _ in found.elements)
    assert found.text.count(HOSTILE) > 15
    assert not [attrs for _, attrs in found.elements if any(key.startswith("on") for key in attrs)]
    kinds = {tag_ for tag_, _ in Page(page_of("binary")).elements} | {"svg", "rect"}
    assert {tag_ for tag_, _ in found.elements} <= kinds


def test_characters_that_turn_others_around_are_replaced():
    assert text("a\u202eb\x00c\ud800") == "a\ufffdb\ufffdc\ufffd"
    assert text("naïve 日本 \U0001f600\xa0x") == "naïve 日本 \U0001f600\xa0x"
    assert name("  ") == '<bdi class="name">‘  ’</bdi>'


def test_markup_is_made_by_escaping_alone():
    made = tag("p", "<b>", Markup("<i></i>"), ["&", None, 3], class_='"x"', data_y=None)
    assert made == '<p class="&quot;x&quot;">&lt;b&gt;<i></i>&amp;3</p>'
    assert isinstance(joined("a", made), Markup)
    assert section("id", "Nothing", None) == ""


# --- drawing and writing ---


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis("x"), [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (Axis("x", -30, 95), [-25, 0, 25, 50, 75]),
        (Axis("x", 0, 500_000), [0, 1e5, 2e5, 3e5, 4e5, 5e5]),
        (around("x", 4, 4), [2, 3, 4, 5, 6]),
        (around("x", 0, 0), [-0.4, -0.2, 0, 0.2, 0.4]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(axis, ticks):
    assert axis.ticks() == pytest.approx(ticks)


def test_empty_and_flat_data_can_be_drawn():
    for drawn in (
        line_plot("t", Axis("x"), Axis("y"), [Line([], [])]),
        histogram("t", "x", [0.0, 1.0], [0]),
        histogram("t", "x", [1e9, 1e9 + 1e-9], [5]),
        value_plot("t", ("x", "y"), [2.0, 2.0], [[0, 0, 1]][:0], []),
        deviations("t", "x", "y", [0.95], 0.95, ["all"]),
        deviations("t", "x", "y", [0.0, 1.0], 0.5, ["none", "all"]),
    ):
        assert not re.search(r"nan|inf\b", drawn)
        Page(drawn)
    assert spark([]) == spark([0, 0]) == spark([1.0], [0.0]) == ""


def test_numbers_are_written_for_people():
    gap = "\N{NO-BREAK SPACE}"
    assert [percent(x) for x in (0, 1e-9, 0.1234, 0.99999, 1)] == [
        f"0.0{gap}%",
        f"<{gap}0.1{gap}%",
        f"12.3{gap}%",
        f">{gap}99.9{gap}%",
        f"100.0{gap}%",
    ]
    assert [number(x) for x in (0, 1234.5, 0.123456, 1e-9, None, float("inf"))] == [
        "0", "1,234", "0.1235", "1.000e-09", "unknown", "unknown",
    ]  # fmt: skip
    assert [short(x) for x in (0, 1500, 25_000, 1.5e6, -3e9, 0.1 + 0.2)] == [
        "0", "1500", "25k", "1.5M", "-3G", "0.3",
    ]  # fmt: skip
    assert [seconds(x) for x in (1.26, 59, 61, 3700)] == [
        f"1.3{gap}s", f"59{gap}s", f"1{gap}min 1{gap}s", f"1{gap}h 1{gap}min",
    ]  # fmt: skip
    assert [plural(1, "row"), plural(1200, "row")] == ["1 row", "1,200 rows"]
    assert [day(0), day(-0.5), day(1e12)] == ["1970-01-01", "1969-12-31", "1,000,000,000,000"]
