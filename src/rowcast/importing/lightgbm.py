"""LightGBM's text files."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.errors import InvalidRequest, ModelDamaged
from rowcast.importing.described import Described, Input
from rowcast.importing.trees import installed, names_of, texts_of, trial_rows
from rowcast.predictors.trees import TreesPredictor, read_forest

if TYPE_CHECKING:
    from collections.abc import Callable

    from rowcast.core.schema import PredictionType

MEMBER = "forest.lgb.txt"
LINKS: dict[str, tuple[PredictionType, str]] = {
    "binary": ("classification", "sigmoid"),
    "multiclass": ("classification", "softmax"),
    "regression": ("regression", "identity"),
    "regression_l1": ("regression", "identity"),
    "huber": ("regression", "identity"),
    "fair": ("regression", "identity"),
    "quantile": ("regression", "identity"),
    "mape": ("regression", "identity"),
    "poisson": ("regression", "exp"),
    "gamma": ("regression", "exp"),
    "tweedie": ("regression", "exp"),
}
"""Objective to what it predicts and how."""
_HEADER = (
    *("version", "num_class", "num_tree_per_iteration", "max_feature_idx", "objective"),
    "feature_names",
)
_AVERAGED = "average_output"
_TREE = (
    *("num_leaves", "num_cat", "split_feature", "threshold", "decision_type"),
    *("left_child", "right_child", "leaf_value", "cat_boundaries", "cat_threshold"),
)
_CATEGORIES = "\npandas_categorical:"
_NO_NAME = re.compile(r"Column_[0-9]+")


def describe(content: bytes) -> Described:
    """Read a model that LightGBM saved. Raises ModelDamaged, InvalidRequest."""
    forest = read_forest("lightgbm", content)
    header = _header(content)
    objective, *words = header.get("objective", "").split(" ")
    settings = dict(word.split(":", 1) for word in words if ":" in word)
    if objective not in LINKS:
        raise InvalidRequest(
            f"The model's objective is {objective or 'not in the file'!r}; "
            f"{', '.join(LINKS)} are supported."
        )
    prediction_type, link = LINKS[objective]
    if "sqrt" in words:
        link = "square"
    details: dict[str, Any] = {"reader": "lightgbm", "member": MEMBER, "link": link}
    if link == "sigmoid":
        details["scale"] = _positive(settings.get("sigmoid", "1"))
    names = header.get("feature_names", "").split(" ")
    if all(_NO_NAME.fullmatch(name) for name in names):
        names = []
    whole = _of_categories(header, forest.n_columns)
    categories = dict(zip(whole, _categories(content, len(whole)), strict=False))
    return Described(
        format="lightgbm",
        predictor="trees",
        build=TreesPredictor,
        inputs=tuple(
            Input(name, categories=categories.get(column, ()))
            for column, name in enumerate(names_of(list(names), forest.n_columns))
        ),
        members={MEMBER: content},
        details=details,
        prediction_type=prediction_type,
        n_classes=max(2, forest.outputs) if prediction_type == "classification" else 0,
        objective=objective,
        versions=installed("lightgbm"),
        library=_library(content, link),
        trial_rows=trial_rows(forest, whole),
    )


def _of_categories(header: dict[str, str], n_columns: int) -> list[int]:
    """Find the columns whose values were categories in training."""
    infos = header.get("feature_infos", "").split(" ")
    if len(infos) != n_columns:
        raise ModelDamaged(f"The file describes {len(infos)} columns; its trees read {n_columns}.")
    return [i for i, info in enumerate(infos) if info != "none" and not info.startswith("[")]


def _categories(content: bytes, count: int) -> list[tuple[str, ...]]:
    """Read the data frame's categories, if the file has them for each of ``count`` columns."""
    _, found, line = content.decode().rpartition(_CATEGORIES)
    if not found or not count:
        return []
    try:
        lists = json.loads(line.partition("\n")[0])
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"The file's pandas_categorical is no JSON: {error}") from error
    if not isinstance(lists, list) or not all(isinstance(values, list) for values in lists):
        return []
    return [texts_of(values) for values in lists] if len(lists) == count else []


def _header(content: bytes) -> dict[str, str]:
    """Read the lines before the first tree; the reader has seen that they are whole."""
    lines = content.decode().partition("\nTree=")[0].split("\n")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _positive(text: str) -> float:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?", text) or not float(text) > 0:
        raise ModelDamaged(f"The file has sigmoid:{text[:20]}; a number above 0 was expected.")
    return float(text)


def _plain(content: bytes) -> str:
    """Write down what our reader has understood, and nothing else: LightGBM crashes on damage."""
    header = _header(content)
    lines = ["tree", *(f"{key}={header[key]}" for key in _HEADER if key in header)]
    lines += ["label_index=0"]
    lines += [_AVERAGED] if f"\n{_AVERAGED}\n" in content.decode().partition("\nTree=")[0] else []
    lines += [f"feature_infos={' '.join(['none'] * (int(header['max_feature_idx']) + 1))}", ""]
    body = content.decode().partition("\nend of trees")[0]
    for number, section in enumerate(body.split("\nTree=")[1:]):
        entries = dict(line.split("=", 1) for line in section.split("\n") if "=" in line)
        kept = [f"{key}={entries[key]}" for key in _TREE if key in entries]
        lines += [f"Tree={number}", *kept, ""]
    return "\n".join([*lines, "end of trees", ""])


def _library(content: bytes, link: str) -> Callable[[np.ndarray], np.ndarray] | None:
    if not installed("lightgbm"):
        return None

    def answer(matrix: np.ndarray) -> np.ndarray:
        from rowcast.training.families.lightgbm import import_lightgbm

        lightgbm = import_lightgbm()
        try:
            booster = lightgbm.Booster(model_str=_plain(content))
            answers = np.asarray(booster.predict(matrix, num_threads=1), np.float64)
        except lightgbm.basic.LightGBMError as error:
            raise ModelDamaged(f"LightGBM itself cannot use the model: {error}") from error
        answers = answers.reshape(len(matrix), -1)
        if link == "sigmoid":
            return np.concatenate([1.0 - answers, answers], axis=1)
        return answers

    return answer
