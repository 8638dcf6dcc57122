"""CatBoost's JSON, and its binary files, which CatBoost itself turns into JSON."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import FailedPrecondition, InvalidRequest, ModelDamaged
from rowcast.importing.described import Described, Input
from rowcast.importing.trees import installed, link_answers, names_of, trial_rows
from rowcast.predictors.trees import TreesPredictor, read_forest
from rowcast.scoring.formats.json import items, member, read_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.core.schema import PredictionType

MEMBER = "forest.cb.json"
BINARY = b"CBM1"
LINKS: dict[str, tuple[PredictionType, str]] = {
    "Logloss": ("classification", "sigmoid"),
    "CrossEntropy": ("classification", "sigmoid"),
    "MultiClass": ("classification", "softmax"),
    "RMSE": ("regression", "identity"),
    "MAE": ("regression", "identity"),
    "MAPE": ("regression", "identity"),
    "Quantile": ("regression", "identity"),
    "Huber": ("regression", "identity"),
    "LogCosh": ("regression", "identity"),
    "Expectile": ("regression", "identity"),
    "Lq": ("regression", "identity"),
    "Poisson": ("regression", "exp"),
    "Tweedie": ("regression", "exp"),
}
"""Loss to what it predicts and how."""


def describe(content: bytes) -> Described:
    """Read a model that CatBoost saved. Raises ModelDamaged, InvalidRequest."""
    text = _converted(content) if content.startswith(BINARY) else content
    forest = read_forest("catboost", text)
    model = read_json(text)
    loss = member(model, "model_info", "params", "loss_function", "type")
    if loss not in LINKS:
        raise InvalidRequest(
            f"The model's loss is {str(loss)[:40]!r}; {', '.join(LINKS)} are supported."
        )
    prediction_type, link = LINKS[loss]
    labels = _labels(model) if prediction_type == "classification" else ()
    return Described(
        format="catboost",
        predictor="trees",
        build=TreesPredictor,
        inputs=tuple(Input(name) for name in names_of(_names(model), forest.n_columns)),
        members={MEMBER: text},
        details={"reader": "catboost", "member": MEMBER, "link": link},
        prediction_type=prediction_type,
        labels=labels,
        n_classes=max(2, forest.outputs) if prediction_type == "classification" else 0,
        objective=loss,
        versions=installed("catboost"),
        library=_library(text, link) if installed("catboost") else None,
        trial_rows=trial_rows(forest),
    )


def _converted(content: bytes) -> bytes:
    """Have CatBoost write a binary file as JSON. We are in a replica, which may die of it."""
    if not installed("catboost"):
        raise FailedPrecondition(
            "CatBoost's binary files need CatBoost to be imported: pip install 'rowcast[train]', "
            'or save the model as JSON with save_model(..., format="json").'
        )
    import catboost

    with tempfile.TemporaryDirectory(prefix="rowcast-") as folder:
        file = Path(folder, "model.json")
        try:
            model = catboost.CatBoost().load_model(blob=content, format="cbm")
            model.save_model(str(file), format="json")
        except (catboost.CatBoostError, ValueError) as error:  # it decodes what it read
            raise ModelDamaged(f"CatBoost cannot read the file: {str(error)[:300]}") from error
        return file.read_bytes()


def _names(model: Any) -> list[Any]:
    features = items(model, "features_info", "float_features")
    placed = {member(item, "flat_feature_index"): item for item in features}
    names = [member(placed[place], "feature_id") for place in sorted(placed)]
    unnamed = [""] * len(names), [str(place) for place in range(len(names))]
    return [] if names in unnamed else names


def _labels(model: Any) -> tuple[str, ...]:
    found = member(model, "model_info")
    if "class_params" not in found:
        return ()
    return tuple(map(str, items(found, "class_params", "class_names")))


def _library(text: bytes, link: str) -> Callable[[np.ndarray], np.ndarray]:
    def answer(matrix: np.ndarray) -> np.ndarray:
        import catboost

        try:
            with tempfile.TemporaryDirectory(prefix="rowcast-") as folder:
                file = Path(folder, "model.json")
                file.write_bytes(text)
                model = catboost.CatBoost().load_model(str(file), format="json")
            margins = model.predict(matrix, prediction_type="RawFormulaVal", thread_count=1)
        except (catboost.CatBoostError, ValueError) as error:  # it decodes what it read
            raise ModelDamaged(
                f"CatBoost itself cannot use the model: {str(error)[:300]}"
            ) from error
        return link_answers(np.asarray(margins, np.float64).reshape(len(matrix), -1), link)

    return answer
