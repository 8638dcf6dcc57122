"""XGBoost's JSON and UBJSON."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import InvalidRequest, ModelDamaged
from rowcast.importing.described import Described, Input
from rowcast.importing.trees import installed, link_answers, names_of, texts_of, trial_rows
from rowcast.predictors.trees import TreesPredictor, read_forest
from rowcast.scoring.formats.json import items, member, numbers, read_json
from rowcast.scoring.formats.ubjson import read_ubjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.core.schema import PredictionType

MEMBER = "forest.xgb"
TOLERANCE = 1e-4
"""XGBoost adds up in single precision."""
LINKS: dict[str, tuple[PredictionType, str]] = {
    "binary:logistic": ("classification", "sigmoid"),
    "multi:softprob": ("classification", "softmax"),
    "multi:softmax": ("classification", "softmax"),
    "reg:squarederror": ("regression", "identity"),
    "reg:squaredlogerror": ("regression", "identity"),
    "reg:absoluteerror": ("regression", "identity"),
    "reg:pseudohubererror": ("regression", "identity"),
    "reg:quantileerror": ("regression", "identity"),
    "count:poisson": ("regression", "exp"),
    "reg:gamma": ("regression", "exp"),
    "reg:tweedie": ("regression", "exp"),
}
"""Objective to what it predicts and how."""


def describe(content: bytes) -> Described:
    """Read a model that XGBoost saved. Raises ModelDamaged, InvalidRequest."""
    forest = read_forest("xgboost", content)
    second = content[1:].lstrip()[:1]
    model = read_json(content) if second == b'"' else read_ubjson(content)
    learner = member(model, "learner")
    objective = member(learner, "objective", "name")
    if objective not in LINKS:
        raise InvalidRequest(
            f"The model's objective is {str(objective)[:40]!r}; {', '.join(LINKS)} are supported."
        )
    prediction_type, link = LINKS[objective]
    if prediction_type == "regression" and forest.outputs != 1:
        raise InvalidRequest(f"The model predicts {forest.outputs} values for each row; one is.")
    names = items(learner, "feature_names") if "feature_names" in learner else []
    kinds = items(learner, "feature_types") if "feature_types" in learner else []
    whole = [column for column, kind in enumerate(kinds[: forest.n_columns]) if kind == "c"]
    categories = _categories(learner, whole)
    return Described(
        format="xgboost",
        predictor="trees",
        build=TreesPredictor,
        inputs=tuple(
            Input(name, categories=categories.get(column, ()))
            for column, name in enumerate(names_of(names, forest.n_columns))
        ),
        members={MEMBER: content},
        details={"reader": "xgboost", "member": MEMBER, "link": link},
        prediction_type=prediction_type,
        n_classes=max(2, forest.outputs) if prediction_type == "classification" else 0,
        objective=objective,
        tolerance=TOLERANCE,
        versions=installed("xgboost", "xgboost-cpu"),
        library=_library(content, link, kinds) if installed("xgboost", "xgboost-cpu") else None,
        trial_rows=trial_rows(forest, whole),
    )


def _categories(learner: Any, whole: list[int]) -> dict[int, tuple[str, ...]]:
    """Read the data frame's categories, by column; XGBoost before 3.1 does not keep them."""
    found: dict[int, tuple[str, ...]] = {}
    model = member(learner, "gradient_booster")
    model = model["model"] if "model" in model else member(model, "gbtree", "model")
    if "cats" not in model:
        return found
    encodings = items(model, "cats", "enc")
    for column in whole:
        if column < len(encodings):
            values = numbers(int, encodings[column], "values")
            if "offsets" in encodings[column]:
                ends = numbers(int, encodings[column], "offsets")
                if (np.diff(ends) < 0).any() or (len(ends) and ends[0] < 0):
                    raise ModelDamaged(f"The file's categories of column {column} are damaged.")
                letters = bytes(values.astype(np.uint8))
                texts = [letters[a:b].decode("utf-8", "replace") for a, b in pairwise(ends)]
                found[column] = tuple(texts)
            else:
                found[column] = texts_of(values.tolist())
    return {column: texts for column, texts in found.items() if texts}


def _library(content: bytes, link: str, kinds: list[Any]) -> Callable[[np.ndarray], np.ndarray]:
    def answer(matrix: np.ndarray) -> np.ndarray:
        import xgboost

        booster: Any = xgboost.Booster({"nthread": 1})
        try:
            booster.load_model(bytearray(content))
            rows = xgboost.DMatrix(
                matrix.astype(np.float32),
                missing=np.nan,
                nthread=1,
                feature_types=kinds or None,
                enable_categorical=True,
            )
            margins = booster.predict(rows, output_margin=True, validate_features=False)
        except xgboost.core.XGBoostError as error:
            raise ModelDamaged(f"XGBoost itself cannot use the model: {error}") from error
        return link_answers(np.asarray(margins, np.float64).reshape(len(matrix), -1), link)

    return answer
