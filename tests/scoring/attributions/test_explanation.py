"""The ``explanationSpec`` of models and jobs."""

from __future__ import annotations

import pickle

import pyarrow as pa
import pytest

from rowcast.errors import InvalidRequest
from rowcast.scoring.attributions import (
    Explanation,
    explanation_spec,
    explanation_violations,
    read_explanation,
)
from rowcast.scoring.encode import baseline_record
from tests.tables import batch_of, shop_model, shop_predictor


def test_a_request_is_read_in_either_case_style():
    schema = shop_model("multiclass").spec.schema
    given = {
        "parameters": {"sampled_shapley_attribution": {"path_count": "25"}, "topK": 2},
        "metadata": {
            "inputs": {"age": {"inputBaselines": [30, "40"]}, "job": {"input_baselines": ["cook"]}}
        },
    }
    explanation = read_explanation(given, schema)
    assert explanation == Explanation(
        25, 2, (), ({"age": 30.0, "job": "cook"}, {"age": 40.0, "job": "cook"})
    )
    assert pickle.loads(pickle.dumps(explanation)) == explanation


def test_what_is_left_out_is_the_models_own():
    spec = shop_model("regression").spec
    assert read_explanation(None, spec.schema) == Explanation()
    own = explanation_spec(spec.schema)
    predictor = shop_predictor("regression")
    (row,) = read_explanation(own, spec.schema).baselines
    assert set(row) == set(spec.schema.feature_names)
    encoded = predictor.encode(batch_of(pa.table(baseline_record(spec.schema.features, row))))
    assert encoded.matrix[0].tobytes() == predictor.baseline().tobytes()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"parameters": {"sampledShapleyAttribution": {"pathCount": 0}}}, "path_count"),
        ({"parameters": {"sampledShapleyAttribution": {"pathCount": 51}}}, "path_count"),
        ({"parameters": {"sampledShapleyAttribution": {"pathCount": 1.5}}}, "path_count"),
        ({"parameters": {"sampledShapleyAttribution": []}}, "sampled_shapley_attribution"),
        ({"parameters": {"xraiAttribution": {"stepCount": 5}}}, "xrai_attribution"),
        ({"parameters": {"topK": -2}}, "top_k"),
        ({"parameters": {"outputIndices": [3]}}, "output_indices[0]"),
        ({"parameters": {"outputIndices": [1, 1]}}, "output_indices"),
        ({"parameters": {"outputIndices": 1}}, "output_indices"),
        ({"metadata": {"inputs": {"nix": {"inputBaselines": [1]}}}}, "inputs['nix']"),
        ({"metadata": {"inputs": {"age": {"inputBaselines": ["old"]}}}}, "input_baselines[0]"),
        ({"metadata": {"inputs": {"joined": {"inputBaselines": ["x"]}}}}, "input_baselines[0]"),
        ({"metadata": {"inputs": {"age": {"inputBaselines": [[1]]}}}}, "input_baselines[0]"),
        ({"metadata": {"inputs": {"age": {"inputBaselines": 5}}}}, "input_baselines"),
        (
            {
                "metadata": {
                    "inputs": {
                        "age": {"inputBaselines": [1, 2]},
                        "income": {"inputBaselines": [1, 2, 3]},
                    }
                }
            },
            "inputs",
        ),
    ],
)
def test_a_bad_request_names_its_field(given, field):
    schema = shop_model("multiclass").spec.schema
    violations = explanation_violations(given, schema, "explanation_spec")
    assert len(violations) == 1
    assert violations[0].field.endswith(field)
    with pytest.raises(InvalidRequest, match=r"explanation_spec\."):
        read_explanation(given, schema)


def test_outputs_cannot_be_chosen_in_regression():
    schema = shop_model("regression").spec.schema
    assert explanation_violations({"parameters": {"topK": 2, "outputIndices": [0]}}, schema)
