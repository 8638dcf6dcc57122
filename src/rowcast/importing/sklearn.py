"""scikit-learn models and pipelines, as skops wrote them."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import InvalidRequest
from rowcast.importing.described import Described, Input
from rowcast.predictors.sklearn import MODEL, SklearnPredictor, load_model

if TYPE_CHECKING:
    from collections.abc import Iterator

_WITH_CATEGORIES = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder")
_OF_TEXTS = ("CountVectorizer", "HashingVectorizer", "TfidfVectorizer")


def describe(content: bytes) -> Described:
    """Read a skops file. Raises ModelDamaged, InvalidRequest."""
    from sklearn.base import is_classifier, is_regressor

    model = load_model(content)
    kind = type(model).__name__
    if not (is_classifier(model) or is_regressor(model)):
        raise InvalidRequest(f"A {kind} is neither a classifier nor a regressor.")
    classifies = is_classifier(model)
    if classifies and not hasattr(model, "predict_proba"):
        raise InvalidRequest(
            f"This {kind} gives no probabilities; wrap the classifier in CalibratedClassifierCV."
        )
    inputs = _inputs(model)
    labels = tuple(map(str, np.asarray(model.classes_).tolist())) if classifies else ()
    return Described(
        format="skops",
        predictor="sklearn",
        build=SklearnPredictor,
        inputs=inputs,
        members={MODEL: content},
        details={"frame": inputs[0].name is not None, "labels": list(labels)},
        prediction_type="classification" if classifies else "regression",
        labels=labels,
        n_classes=len(labels),
        versions={name: version(name) for name in ("scikit-learn", "skops")},
    )


def _inputs(model: Any) -> tuple[Input, ...]:
    count = getattr(model, "n_features_in_", None)
    if not isinstance(count, int) or count < 1:
        raise InvalidRequest(
            "The model does not say how many columns it takes, so it was not fitted to a table."
        )
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return (Input(),) * count
    if len(names) != count:
        raise InvalidRequest(f"The model names {len(names)} features, but takes {count}.")
    known = dict(_known(model))
    return tuple(known.get(str(name), Input(str(name), "any")) for name in names)


def _known(model: Any) -> Iterator[tuple[str, Input]]:
    """What the first step of each column says of it, where the columns are told apart."""
    first = model
    while type(first).__name__ == "Pipeline":
        first = first.steps[0][1]
    if type(first).__name__ != "ColumnTransformer":
        return
    for _, step, columns in first.transformers_:
        names = [columns] if isinstance(columns, str) else columns
        if isinstance(names, slice) or not all(isinstance(name, str) for name in names):
            continue
        while type(step).__name__ == "Pipeline":
            step = next((s for _, s in step.steps if type(s).__name__ != "SimpleImputer"), None)
        yield from _of_step(step, list(names))


def _of_step(step: Any, names: list[str]) -> Iterator[tuple[str, Input]]:
    if type(step).__name__ in _OF_TEXTS:
        yield from ((name, Input(name, "text", wordy=True)) for name in names)
    elif type(step).__name__ in _WITH_CATEGORIES:
        for name, values in zip(names, step.categories_, strict=True):
            texts = tuple(value for value in values.tolist() if isinstance(value, str))
            if texts:
                yield name, Input(name, "text", texts)
