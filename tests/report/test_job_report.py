"""The report of a job: whole, harmless, offline, and true to what the job says of itself."""

import json
import re

import pytest

from rowcast.core.names import DRIFT, SUMMARY
from rowcast.report import JobSubject, render_job_report
from rowcast.report.plots import around, compare
from rowcast.report.swarm import Dot, dots, levels, middle, scale, strip
from tests.report.pages import HOSTILE, Page
from tests.scoring.test_summary import BINARY, MANY, VALUE, summed

SCHEMAS = {"binary": BINARY, "many": MANY, "value": VALUE}
COMMON = {"rows", "errors", "results", "attributions", "dependence", "drift", "request"}
SECTIONS = {"binary": COMMON, "many": COMMON, "value": COMMON | {"intervals"}}


def drift(name="age", label="nurse"):
    def column(name, kind, **bins):
        counts = {"counts": [0, 40, 60, 0], "null": 5, "unreadable": 0}
        other = {"counts": [0, 80, 20, 0], "null": 0, "unreadable": 0}
        statistics = {"missingChange": -0.05, "jensenShannon": 0.12, "unseenChange": 0.03}
        return {"name": name, "kind": kind, "statistics": statistics, "beyondChance": [],
                **bins, "training": counts, "input": other}  # fmt: skip

    return {
        "modelSha256": "ab" * 32,
        "inputRows": 3000,
        "trainingRows": 105,
        "countedRows": 100,
        "warnings": [{"feature": name, "kind": "distribution", "message": f"{name} has moved."}],
        "features": [
            column(name, "numeric", edges=[0, 50, 100]),
            column("job", "categorical", categories=[label, "cook"]),
        ],
        "predictions": [column("t_yes_score", "score", edges=[0, 0.5, 1])],
    }


def resource(**changes):
    return {
        "name": "projects/p/locations/l/batchPredictionJobs/4417450692310990848",
        "displayName": "nightly",
        "model": "projects/p/locations/l/models/churn",
        "modelVersionId": "2",
        "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://b/a.csv"] * 7}},
        "outputConfig": {"predictionsFormat": "jsonl"},
        "outputInfo": {"gcsOutputDirectory": "gs://b/out/prediction-churn"},
        "state": "JOB_STATE_SUCCEEDED",
        "completionStats": {"successfulCount": "2700", "failedCount": "300"},
        "createTime": "2026-01-31T08:15:30.123456Z",
        "startTime": "2026-01-31T08:15:31.000000Z",
        "endTime": "2026-01-31T08:15:41.000000Z",
        "rowcast": {
            "maxExplanations": 3,
            "summary": {"rowsPerSecond": 300.0, "replicas": 2},
            "errorCauses": [
                {"cause": f"cause {k}", "count": str(count)}
                for k, count in enumerate((100, 100, 100))
            ],
        },
        **changes,
    }


def content(kind, **options):
    return json.loads(summed(SCHEMAS[kind], 3, 400, **options).report)


def page(shown, summary=None, drifted=None):
    reports = {SUMMARY: summary, DRIFT: drifted}
    written = {name: json.dumps(one).encode() for name, one in reports.items() if one is not None}
    return render_job_report(JobSubject.of(shown, written))


def page_of(kind):
    return page(resource(), content(kind), drift())


# --- form ---


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_report_is_one_whole_page_with_every_part(kind):
    found = Page(page_of(kind))
    assert set(found.ids) == SECTIONS[kind]
    links = [attrs["href"] for tag_, attrs in found.elements if tag_ == "a"]
    assert sorted(links) == sorted(f"#{id_}" for id_ in SECTIONS[kind])


@pytest.mark.parametrize("kind", SCHEMAS)
def test_a_report_needs_nothing_but_itself(kind):
    text = page_of(kind)
    found = Page(text)
    assert not re.search(r"https?:|url\(|@import|javascript:", text)
    loads = {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert loads.isdisjoint(tag_ for tag_, _ in found.elements)
    assert "default-src 'none'" in next(
        attrs["content"] for _, attrs in found.elements if "http-equiv" in attrs
    )
    assert len(text) < 400_000


@pytest.mark.parametrize("kind", SCHEMAS)
def test_plots_have_finite_places_and_a_name(kind):
    drawn = 0
    for tag_, attrs in Page(page_of(kind)).elements:
        if tag_ != "meta":
            assert not re.search(r"\b(nan|inf|none)\b", " ".join(map(str, attrs.values())), re.I)
        drawn += tag_ == "svg" and bool(attrs.get("aria-label"))
    assert drawn >= 8


# --- content ---


def test_the_head_says_which_job_it_is_and_how_it_went():
    found = Page(page_of("binary")).text
    for words in (
        "nightly",
        "churn",
        "version 2",
        "succeeded",
        "gs://b/out/prediction-churn",
        "2 more URIs",
        "10 s",
        "2026-01-31 08:15 UTC",
        "2,700",
        "300",
        "2 replicas",
    ):
        assert words in found, words  # fmt: skip


def test_failed_rows_have_their_causes_with_examples():
    rows = Page(page_of("binary")).table("Cause", "Rows")
    first = content("binary")["errors"][0]
    assert rows[0][:3] == ["cause 0", "100", "33.3 %"]
    assert rows[0][3] == "".join(one["message"] for one in first["examples"])


def test_features_are_ranked_with_their_mean_attributions():
    told = content("value")["attributions"]
    rows = Page(page_of("value")).table("Column", "Mean size")
    assert [row[0] for row in rows] == [one["feature"] for one in told]
    assert float(rows[0][1]) == pytest.approx(told[0]["meanAbsolute"], rel=1e-3)


def test_each_sampled_row_is_a_dot_in_the_line_of_each_feature():
    found = Page(page_of("value"))
    paths = [attrs["d"] for tag_, attrs in found.elements if tag_ == "path"]
    sampled = content("value")
    dots_ = sum(path.count("M") for path in paths)
    assert dots_ >= len(sampled["sampledRows"]) * len(sampled["sampledFeatures"])


def test_classes_are_listed_with_their_shares():
    told = sorted(content("many")["classes"], key=lambda one: -one["rows"])
    rows = Page(page_of("many")).table("Class", "Rows on top")
    assert [row[0] for row in rows] == [one["class"] for one in told]
    assert [row[1] for row in rows] == [f"{one['rows']:,}" for one in told]


def test_quantiles_of_values_and_widths_are_shown():
    found = Page(page_of("value"))
    told = content("value")
    assert f"{told['values']['quantiles']['0.5']:.4g}" in found.text
    widths = {row[0]: row[1] for row in found.table("", "Width")}
    assert float(widths["Mean"]) == pytest.approx(told["intervalWidths"]["mean"], rel=1e-3)


def test_drift_is_told_by_warnings_and_column_by_column():
    found = Page(page_of("binary"))
    assert "age has moved." in found.text
    rows = {row[0]: row[1:] for row in found.table("Column", "Training and this input")}
    assert rows["age"][1:3] == ["0.120", "4.8 % \N{RIGHTWARDS ARROW} 0.0 %"]
    assert rows["job"][3] == "+3.0 %"


def test_a_missing_value_is_told_beside_the_plot():
    assert re.search(r"\d+ rows? without a value: [+-]?\d", Page(page_of("value")).text)


# --- jobs that say less ---


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "JOB_STATE_FAILED", "error": {"code": 3, "message": "no <b>column</b>"}},
         "no <b>column</b>"),
        ({"state": "JOB_STATE_CANCELLED"}, "the rows that were done"),
        ({"state": "JOB_STATE_RUNNING", "endTime": None}, "has not ended yet"),
        ({"completionStats": None}, "no rows"),
        ({"outputInfo": {"bigqueryOutputDataset": "bq://p.d", "bigqueryOutputTable": "t"}},
         "bq://p.d.t"),
        ({"partialFailures": [{"code": 3, "message": "gs://b/x.csv: bad"}]}, "gs://b/x.csv: bad"),
    ],
)  # fmt: skip
def test_a_job_in_any_state_has_a_report(changes, words):
    found = Page(page(resource(**changes)))
    assert words in found.text
    assert {"rows", "request"} <= set(found.ids)


def test_a_job_without_explanations_has_its_predictions():
    found = Page(page(resource(), content("binary", why=False)))
    assert "results" in found.ids
    assert not {"attributions", "dependence", "drift"} & set(found.ids)


# --- safety ---


def test_names_and_values_that_are_markup_stay_text():
    summary = content("binary")
    summary["target"] = summary["attributionsToClass"] = HOSTILE
    for one in summary["classes"]:
        one["class"] = HOSTILE
    for one in summary["attributions"]:
        one["feature"] = HOSTILE
    for one in summary["sampledFeatures"]:
        one["feature"] = HOSTILE
        if one["kind"] == "categorical":
            one["cells"] = [HOSTILE] * len(one["cells"])
    for one in summary["errors"]:
        one["cause"] = HOSTILE
        one["examples"] = [{"row": 1, "message": HOSTILE}]
    shown = resource(
        displayName=HOSTILE,
        model=f"models/{HOSTILE.replace('/', '')}",
        modelVersionId=HOSTILE,
        outputInfo={"gcsOutputDirectory": HOSTILE},
        inputConfig={"gcsSource": {"uris": [HOSTILE]}},
        partialFailures=[{"code": 3, "message": HOSTILE}],
        labels={"a": HOSTILE},
    )
    shown["rowcast"] = {"errorCauses": [{"cause": HOSTILE, "count": "300"}]}
    text = page(shown, summary, drift(HOSTILE, HOSTILE))
    found = Page(text)
    assert "<script" not in text
    assert "<img" not in text
    assert {"script", "img"}.isdisjoint(tag_ for tag_, _ in found.elements)
    assert found.text.count("alert('x')") > 20
    assert not [attrs for _, attrs in found.elements if any(key.startswith("on") for key in attrs)]


# --- drawing ---


def test_dots_of_one_colour_are_one_path():
    drawn = dots([(1, 2, None), (3.04, 4, 0.0), (5, 6, 1.0), (7, 8, None)])
    assert drawn == [
        '<path d="M3.0 4.0h0" class="dots v0"></path>',
        '<path d="M5.0 6.0h0" class="dots v4"></path>',
        '<path d="M1.0 2.0h0M7.0 8.0h0" class="dots vn"></path>',
    ]


def test_a_pile_stays_within_its_strip():
    drawn = strip(around("", -1, 1), [Dot(0.0)] * 500, "t")
    heights = [float(y) for y in re.findall(r"M[\d.]+ ([\d.-]+)h0", drawn)]
    assert len(heights) == 500
    assert 0 < min(heights) < 17 < max(heights) < 34
    assert 'x1="200.0"' in drawn


def test_levels_are_ranks_and_equal_values_have_one():
    assert levels([3, None, 1, 3, 100]) == [0.5, None, 0.0, 0.5, 1.0]
    assert levels([2, 2, None]) == [None, None, None]
    assert levels([]) == []


def test_the_middle_leaves_the_same_share_out_at_both_ends():
    assert middle(list(range(1000))) == (10, 989)
    assert middle([5]) == (5, 5)


def test_flat_and_empty_data_can_be_drawn():
    flat = around("", 0, 0)
    for drawn in (strip(flat, [Dot(0.0)], "t"), strip(flat, [], "t"), scale(flat),
                  compare([1, 2], [0, 3])):  # fmt: skip
        assert not re.search(r"nan|inf\b", drawn)
        Page(drawn)
    assert compare([0, 0], [1, 2]) == compare([1], [0]) == ""
