import copy
import json
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.core.drift import Drift, DriftWarning
from rowcast.core.job import JobSpec
from rowcast.errors import InvalidRequest
from rowcast.server import messages
from rowcast.server.body import parse_object
from rowcast.server.wire import JobRequest, parse_job, render_job

from .fakes import PARENT, FakeJobs, make_spec

FULL = {
    "displayName": "n",
    "model": "m",
    "inputConfig": {"instancesFormat": "csv", "gcsSource": {"uris": ["gs://b/x"]}},
    "instanceConfig": {"keyField": "id"},
    "outputConfig": {"predictionsFormat": "csv", "gcsDestination": {"outputUriPrefix": "gs://b"}},
    "dedicatedResources": {"machineSpec": {"machineType": "n1"}, "maxReplicaCount": 3},
    "manualBatchTuningParameters": {"batchSize": 5},
    "explanationSpec": {
        "parameters": {"sampledShapleyAttribution": {"pathCount": 3}},
        "metadata": {"inputs": {"age": {"inputBaselines": [1]}}},
    },
    "encryptionSpec": {"kmsKeyName": "k"},
    "labels": {"env": "test"},
    "rowcast": {"rowNumberColumn": "row"},
}
PLACES = {
    (): "",
    ("inputConfig",): "input_config.",
    ("inputConfig", "gcsSource"): "input_config.gcs_source.",
    ("instanceConfig",): "instance_config.",
    ("outputConfig",): "output_config.",
    ("outputConfig", "gcsDestination"): "output_config.gcs_destination.",
    ("dedicatedResources",): "dedicated_resources.",
    ("dedicatedResources", "machineSpec"): "dedicated_resources.machine_spec.",
    ("manualBatchTuningParameters",): "manual_batch_tuning_parameters.",
    ("explanationSpec",): "explanation_spec.",
    ("explanationSpec", "parameters"): "explanation_spec.parameters.",
    ("explanationSpec", "parameters", "sampledShapleyAttribution"): (
        "explanation_spec.parameters.sampled_shapley_attribution."
    ),
    ("explanationSpec", "metadata", "inputs", "age"): "explanation_spec.metadata.inputs[age].",
    ("encryptionSpec",): "encryption_spec.",
    ("rowcast",): "rowcast.",
}


def parse(value):
    return parse_job(json.dumps(value).encode())


def fields(request):
    return [violation.field for violation in request.violations]


def test_the_whole_request_is_read():
    assert parse(FULL).violations == ()
    assert parse({}) == JobRequest(parse({}).spec)
    assert isinstance(parse(FULL).spec, JobSpec)


@given(st.sets(st.sampled_from(sorted(PLACES)), min_size=1), st.sampled_from([None, 1, {}, [[]]]))
def test_unknown_fields_are_named_at_any_depth(places, value):
    body = copy.deepcopy(FULL)
    for place in places:
        node = body
        for key in place:
            node = node[key]
        node["zzUnknown"] = value
    request = parse(body)
    assert sorted(fields(request)) == sorted(f"{PLACES[place]}zz_unknown" for place in places)
    assert request.spec == parse(FULL).spec


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(), inner)),
    max_leaves=5,
)
KNOWN = sorted(messages.BatchPredictionJob.model_fields)


@given(st.dictionaries(st.one_of(st.sampled_from(KNOWN), st.text(max_size=5)), JSON))
def test_any_object_is_read_or_refused(body):
    body.pop("unmanaged_container_model", None)
    try:
        request = parse(body)
    except InvalidRequest:
        return
    assert all(violation.field for violation in request.violations)
    assert all(field.isprintable() for field in fields(request))


@given(st.sampled_from(sorted(PLACES)), st.data())
def test_any_value_in_any_place_is_read_or_refused(place, data):
    body = copy.deepcopy(FULL)
    node = body
    for key in place:
        node = node[key]
    key = data.draw(st.sampled_from(sorted(node)))
    node[key] = data.draw(JSON)
    try:
        parse(body)
    except InvalidRequest as error:
        assert "body" in str(error)


def test_names_that_occur_in_both_cases_are_refused():
    request = parse({**FULL, "display_name": "other"})
    assert fields(request) == ["display_name"]
    assert "given twice" in request.violations[0].description


def test_names_in_violations_are_short_and_printable():
    (first, second) = fields(parse({"a\nb": 1, "x" * 5000: 1}))
    assert first == '"a\\nb"'
    assert len(second) < 120


@pytest.mark.parametrize(
    ("given", "read"),
    [(5, 5), ("5", 5), (5.0, 5), ("-3", -3), (0, None), ("0", None), (None, None)],
)
def test_integers_are_read_as_numbers_or_digits(given, read):
    request = parse({"manualBatchTuningParameters": {"batchSize": given}})
    assert request.spec.batch_size == read
    assert request.violations == ()


@pytest.mark.parametrize("given", [True, 1.5, "1.5", "five", "", 2**31, "9" * 30, [], {}, "٣"])
def test_what_is_no_int32_is_refused(given):
    request = parse({"manualBatchTuningParameters": {"batchSize": given}})
    assert fields(request) == ["manual_batch_tuning_parameters.batch_size"]


def test_what_follows_from_an_unreadable_field_is_not_said_again():
    request = parse({"inputConfig": {"gcsSource": {"uris": [1]}}})
    semantic = FakeJobs(None).violations(PARENT, request.spec)
    named = [violation.field for violation in request.with_semantic(semantic)]
    assert "input_config.gcs_source.uris[0]" in named
    assert "input_config.gcs_source.uris" not in named
    assert "input_config.instances_format" in named


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"a": 1,\n  "b" 2}', "line 2, column 7"),
        (b"{", "line 1"),
        (b"[]", "an array"),
        (b'"x"', "a string"),
        (b"12", "a number"),
        (b"true", "a boolean"),
        (b"null", "null"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "Infinity"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "too long"),
        (b"[" * 100_000, "too deeply"),
        (b'{"a":' * 100_000, "too deeply"),
        (b"[1,,]", "line 1"),
        (b"[,]", "line 1"),
        (b"{,}", "line 1"),
    ],
)
def test_bodies_that_are_no_json_object_are_refused(body, message):
    with pytest.raises(InvalidRequest, match=message):
        parse_object(body)


@given(JSON.map(lambda value: {"v": value}))
def test_trailing_commas_change_nothing(value):
    text = json.dumps(value, indent=1, ensure_ascii=False)
    commas = "".join(
        f",{line}" if line.strip().rstrip(",") in ("}", "]") else line
        for line in text.replace("{\n", "{").replace("[\n", "[").splitlines(keepends=True)
    )
    plain = json.dumps(value).encode()
    try:
        expected = parse_object(plain)
    except InvalidRequest:
        return
    assert parse_object(plain.replace(b'"v": ', b' "v" : ')[:-1] + b" , }") == expected
    if "{}" not in text and "[]" not in text:
        assert parse_object(commas.encode("utf-8", "surrogatepass")) == expected


def test_commas_in_strings_are_left_alone():
    assert parse_object(b'{"a": ",]", "b": "\\",}", }') == {"a": ",]", "b": '",}'}


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": "' + b'\\"' * 500_000,
        b'{"a": [' + b"," * 500_000,
        b"{" + b", " * 500_000 + b"}",
        b"[" + b" " * 1_000_000 + b"x",
        b'"' * 1_000_001,
        b"{" + b",".join(b'"f%d":1' % i for i in range(50_000)) + b"}",
    ],
)
def test_hostile_bodies_take_linear_time(body):
    began = time.perf_counter()
    with suppress(InvalidRequest):
        parse_job(body)
    assert time.perf_counter() - began < 20  # quadratic time would take minutes


def test_answers_have_no_field_that_is_not_documented(wired):
    job = wired.jobs.create(PARENT, make_spec())
    messages.BatchPredictionJob.model_validate(render_job(job))


def test_drift_is_shown_as_the_message_says_and_can_be_left_out_by_a_request(wired):
    told = DriftWarning("age", "missing", "missingChange", 0.1234567, 0.05, "Column 'age': ...")
    job = wired.jobs.create(PARENT, make_spec())
    shown = render_job(replace(job, drift=Drift(1000, 7, 1, (told,))))
    messages.BatchPredictionJob.model_validate(shown)
    assert shown["rowcast"]["drift"] == {
        "featuresChecked": 7,
        "countedRows": "1000",
        "warningCount": 1,
        "warnings": [
            {
                "feature": "age",
                "kind": "missing",
                "statistic": "missingChange",
                "value": 0.123457,
                "threshold": 0.05,
                "message": "Column 'age': ...",
            }
        ],
    }
    asked = parse_job(json.dumps({**FULL, "rowcast": {"skip_drift": True}}).encode())
    assert asked.spec.extension.skip_drift
    assert not parse_job(json.dumps(FULL).encode()).spec.extension.skip_drift


def test_drift_of_a_request_is_of_no_account():
    asked = parse_job(json.dumps({**FULL, "rowcast": {"drift": {"warningCount": 3}}}).encode())
    assert not asked.violations


def test_what_is_asked_of_explanations_and_intervals_is_read_and_echoed(wired):
    asked = {
        "attributionColumns": True,
        "maxExplanations": 3,
        "thresholdHigh": "0.75",
        "threshold_low": 0,
        "intervalColumns": True,
        "intervalLevel": 0.9,
    }
    request = parse({**FULL, "rowcast": asked})
    assert request.violations == ()
    job = replace(wired.jobs.create(PARENT, make_spec()), spec=request.spec)
    shown = {**asked, "thresholdHigh": 0.75, "thresholdLow": 0.0}
    del shown["threshold_low"]
    assert render_job(job)["rowcast"] == shown
    wrong = {
        "thresholdHigh": "much",
        "thresholdLow": True,
        "intervalLevel": [],
        "maxExplanations": 1.5,
    }
    assert sorted(fields(parse({**FULL, "rowcast": wrong}))) == [
        "rowcast.interval_level",
        "rowcast.max_explanations",
        "rowcast.threshold_high",
        "rowcast.threshold_low",
    ]
