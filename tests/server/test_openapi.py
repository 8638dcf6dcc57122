"""Requests made from the OpenAPI text: no server error, and no answer that the text does not tell.

Projects, locations and, half of the time, ids are those that there are: otherwise hardly a request
would get beyond its path.
"""

import warnings
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from .conftest import BASE, TOKEN
from .test_permissions import JOB, PARENT, Office

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Host": BASE.removeprefix("http://")}
DATASET = {
    "displayName": "d",
    "metadataSchemaUri": "gs://x/schema/dataset/metadata/tabular_1.0.0.yaml",
    "metadata": {"inputConfig": {"gcsSource": {"uri": ["gs://shop/in/a.csv"]}}},
}
there: list[str] = []
"""Ids of resources that there are."""
THERE = {"project": "acme", "location": "us-central1"}
MODES = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    office = Office(tmp_path_factory.mktemp("openapi"))
    owner = office.showing(TOKEN)
    made = [
        owner.post(f"{PARENT}/batchPredictionJobs", json=JOB).json()["name"],
        owner.post(f"{PARENT}/datasets", json=DATASET).json()["response"]["name"],
    ]
    there.extend(name.rpartition("/")[2] for name in made)
    yield schemathesis.openapi.from_asgi("/openapi.json", office.app, headers=HEADERS)
    office.made.store.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.value)
def test_every_answer_is_one_that_is_documented(schema, mode):
    codes, tried = Counter(), 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(
            max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(
            case=operation.as_strategy(generation_mode=mode),
            id_=st.sampled_from([*there, "7", None]),
        )
        def run(case, id_):
            for name in case.path_parameters:
                if name in THERE or id_:
                    case.path_parameters[name] = THERE.get(name, id_)
            try:
                answer = case.call(headers=HEADERS)
            except UnicodeEncodeError:
                return  # what no HTTP client can send
            codes[answer.status_code] += 1
            assert answer.status_code in (501, *range(500)), answer.text
            case.validate_response(answer, checks=CHECKS)

        try:
            run()
            tried += 1
        except Unsatisfiable:  # nothing about this method could be wrong
            assert mode is MODES[1]
    assert tried > 10
    assert {200, 400, 404} <= set(codes) or mode is MODES[1]
    print(f"{mode.value}: {sum(codes.values())} requests to {tried} methods: {dict(codes)}")
