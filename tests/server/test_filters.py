import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.errors import InvalidRequest
from rowcast.server.filters import JOB_FIELDS, MAX_LENGTH, matches, parse_filter
from rowcast.stores import AllOf, AnyOf, Condition, Not

A, B, C = (Condition(f"labels.{key}", "=", "1") for key in "abc")


def parse(text):
    return parse_filter(text, JOB_FIELDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("  \n", None),
        ('state="JOB_STATE_SUCCEEDED"', Condition("state", "=", "JOB_STATE_SUCCEEDED")),
        ("state = JOB_STATE_PAUSED", Condition("state", "=", "JOB_STATE_PAUSED")),
        ("displayName:nightly_*", Condition("display_name", ":", "nightly_*")),
        ('display_name!="a \\"b\\" \\\\"', Condition("display_name", "!=", 'a "b" \\')),
        ("display_name='it is'", Condition("display_name", "=", "it is")),
        ('display_name="AND"', Condition("display_name", "=", "AND")),
        ("display_name=NOTE", Condition("display_name", "=", "NOTE")),
        ('modelDisplayName=""', Condition("model_display_name", "=", "")),
        ("labels.env:*", Condition("labels.env", ":", "*")),
        ("labels.größe=x-1_y", Condition("labels.größe", "=", "x-1_y")),
        (
            "create_time>=2026-01-31T10:15:30.5+02:00",
            Condition("create_time", ">=", datetime(2026, 1, 31, 8, 15, 30, 500_000, UTC)),
        ),
        ("NOT labels.a=1", Not(A)),
        ("-labels.a=1", Not(A)),
        ("NOT NOT NOT labels.a=1", Not(A)),
        ("labels.a=1 AND labels.b=1 OR labels.c=1", AllOf((A, AnyOf((B, C))))),
        ("labels.a=1 OR labels.b=1 AND labels.c=1", AllOf((AnyOf((A, B)), C))),
        ("(labels.a=1 AND labels.b=1)OR(labels.c=1)", AnyOf((AllOf((A, B)), C))),
        ("NOT (labels.a=1 OR labels.b=1)", Not(AnyOf((A, B)))),
    ],
)
def test_filters_mean_what_the_contract_says(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("state", "incomplete at character 6"),
        ("state=", "incomplete at character 7"),
        ("state==x", "'=x' is not expected at character 7"),
        ("(labels.a=1", "incomplete"),
        ("labels.a=1)", r"'\)' is not expected at character 11"),
        ("labels.a=1 labels.b=1", "'labels.b=1' is not expected at character 12"),
        ("labels.a=1 and labels.b=1", "'and labels.b=1' is not expected at character 12"),
        ("AND", "incomplete at character 4"),
        ('display_name="open', "not expected at character 14"),
        ("state=RUNNING", "'RUNNING' is not a state.*at character 7"),
        ("state:JOB_STATE_RUNNING", "state has no operator : .at character 6."),
        ("display_name>a", "display_name has no operator >"),
        ("model_display_name:a", "has no operator :"),
        ("labels.env:prod", "labels.env:\\* or labels.env=VALUE"),
        ("labels.env>1", "has no operator >"),
        ("labels.=1", "is not a field"),
        ("name=x", "'name' is not a field.*at character 1"),
        ("create_time>yesterday", "'yesterday' is not an RFC 3339 time.*at character 13"),
        ("create_time>2026-01-01", "RFC 3339"),
        ('create_time>"0001-01-01T00:00:00+23:59"', "RFC 3339"),
        ("display_name=a OR " * 2000 + "display_name=a", "longer than 10,000"),
        (" OR ".join(["labels.a:*"] * 201), "more than 200 comparisons"),
    ],
)
def test_bad_filters_are_refused_with_what_is_wrong_and_where(text, message):
    with pytest.raises(InvalidRequest, match=message):
        parse(text)


def test_filters_are_not_nested_without_end():
    text = "labels.a=1"
    for i in range(60):
        text = f"({text} {'AND' if i % 2 else 'OR'} labels.b=1)"
    with pytest.raises(InvalidRequest, match="nested more than 50 deep"):
        parse(text)


EVIL = [
    "(" * MAX_LENGTH,
    "NOT " * (MAX_LENGTH // 4),
    "-" * MAX_LENGTH,
    '"' * MAX_LENGTH,
    'display_name="' + "\\" * (MAX_LENGTH - 20),
    "display_name='" + '\\"' * 4900,
    "a" * MAX_LENGTH,
    "labels." * 1400,
    "labels.a=" + "x" * 9900 + "(",
    "labels.a=1 AND " * 660,
    "state=" + "\t" * 9900,
    "é" * MAX_LENGTH,
    "(" * 3000 + "labels.a=1" + ")" * 3000,
]


@pytest.mark.parametrize("text", EVIL)
def test_hostile_filters_take_no_time(text):
    parse("state!=JOB_STATE_FAILED")  # the parser is made on first use
    began = time.perf_counter()
    try:
        parse(text)
    except InvalidRequest as error:
        assert len(str(error)) < 1000
    assert time.perf_counter() - began < 10  # quadratic time would take minutes


PIECES = [
    *("AND", "OR", "NOT", "-", "(", ")", "=", "!=", "<", ">=", ":", "*", " ", '"', "'", "\\"),
    *("state", "labels.a", "display_name", "create_time", "JOB_STATE_FAILED", "x", "\0", "𝒳"),
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES)).map(" ".join)))
def test_any_text_is_read_or_refused(text):
    try:
        parse(text)
    except InvalidRequest as error:
        assert str(error).startswith("filter: ")


def conditions():
    def written(condition):
        value = condition.value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{condition.field}{condition.operator}"{value}"', condition

    plain = st.builds(
        Condition,
        st.sampled_from(["display_name", "labels.a-b"]),
        st.sampled_from(["=", "!="]),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    )
    return plain.map(written)


def joined(parts):
    def flat(kind, items):
        return kind(tuple(items))

    return st.one_of(
        st.lists(parts, min_size=2, max_size=3).map(
            lambda found: (
                " AND ".join(f"({text})" for text, _ in found),
                flat(AllOf, [where for _, where in found]),
            )
        ),
        st.lists(parts, min_size=2, max_size=3).map(
            lambda found: (
                " OR ".join(f"({text})" for text, _ in found),
                flat(AnyOf, [where for _, where in found]),
            )
        ),
        parts.map(
            lambda found: (
                f"NOT ({found[0]})",
                found[1].operand if isinstance(found[1], Not) else Not(found[1]),
            )
        ),
    )


@given(st.recursive(conditions(), joined, max_leaves=12))
def test_what_is_written_is_what_is_read(written):
    text, where = written
    assert parse(text) == where


@pytest.mark.parametrize(
    ("pattern", "value", "passes"),
    [
        ("nightly_*", "nightly_7", True),
        ("nightly_*", "weekly", False),
        ("*", "", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("*b*c*", "abcd", True),
        ("*c*b*", "abcd", False),
        ("a%", "ab", False),
        ("exact", "exact", True),
    ],
)
def test_stars_stand_for_anything(pattern, value, passes):
    assert matches(parse(f"display_name:{pattern}"), {"display_name": value}.get) is passes


def test_absent_labels_only_pass_inequality():
    assert not matches(parse("labels.a:*"), {}.get)
    assert not matches(parse("labels.a=1"), {}.get)
    assert matches(parse("labels.a!=1"), {}.get)
    assert matches(None, {}.get)
