"""The model that the benchmarks score with: trees of LightGBM on our encoder's matrix."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import lightgbm
import numpy as np
import pyarrow as pa
from safetensors.numpy import save

from bench.table import CATEGORIES, NUMBERS, TARGET, write_table
from rowcast.api import _keep
from rowcast.core.model import ModelSpec
from rowcast.core.schema import ModelSchema
from rowcast.predictors.boosted import ARRAYS, FOREST
from rowcast.scoring.forest import forest_arrays
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.profile import PROFILE
from rowcast.scoring.program import Program
from rowcast.settings import load_settings
from rowcast.training.data import read_table
from rowcast.training.examples import prepare
from rowcast.training.goal import class_scores
from rowcast.training.learning import Learning
from rowcast.training.profile import training_profile
from rowcast.training.request import Request

if TYPE_CHECKING:
    from pathlib import Path

    import rowcast
    from rowcast.scoring.encode import Encoder

NAME = "bench"
TRAINING_ROWS = 100_000
BOOSTER = "booster.txt"
RECIPE = "recipe.json"
KINDS = {
    **dict.fromkeys(NUMBERS, "numeric"),
    **dict.fromkeys(CATEGORIES, "categorical"),
    "joined": "timestamp",
}


def make_model(work: Path, *, trees: int, leaves: int) -> rowcast.Model:
    """Train the model, keep it in ``work/home``, and write down what the peers need of it.

    The encoder and the profile of the training data are fitted as in every training. The trees
    are LightGBM's, so that the library can score with the very same ones.
    """
    training = work / "train.csv"
    write_table(training, TRAINING_ROWS, target=True, seed=1)
    request = Request(target=TARGET, name=NAME, transformations=KINDS)
    examples = prepare(read_table(training), request)
    encoder = Learning.of(examples, request).encoded(np.arange(len(examples)))
    booster = _booster(encoder.matrix, examples.truth, trees, leaves)
    booster.save_model(str(work / BOOSTER))
    forest = read_lightgbm((work / BOOSTER).read_bytes())
    scores = class_scores(Program(forest).margins(encoder.matrix), len(examples.target.classes))
    members = {
        FOREST: _saved(forest_arrays(forest)),
        ARRAYS: _saved(encoder.arrays),
        PROFILE: training_profile(examples.table, encoder.encoder, examples.target, scores),
    }
    spec = ModelSpec(
        name=NAME,
        predictor="boosted",
        schema=ModelSchema(encoder.features, examples.target),
        encoder=encoder.entries,
        details={"link": "logistic", "linear": False},
        training={"rows": len(examples)},
    )
    _write_recipe(encoder.encoder, work)
    return _keep(load_settings(home=work / "home"), NAME, spec, members)


def _saved(arrays: dict[str, np.ndarray]) -> bytes:
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _booster(matrix: np.ndarray, classes: np.ndarray, trees: int, leaves: int) -> lightgbm.Booster:
    settings: dict[str, Any] = {"objective": "binary", "num_leaves": leaves, "verbosity": -1}
    settings |= {"learning_rate": 0.05, "min_data_in_leaf": 20, "num_threads": 1}
    return lightgbm.train(settings, lightgbm.Dataset(matrix, classes), trees)


def _write_recipe(encoder: Encoder, work: Path) -> None:
    """Write the model's encoding down, column by column, for programs without Rowcast."""
    columns: list[Any] = []
    features = {feature.name: feature for feature in encoder.features}
    for name, where in encoder.groups:
        kind = features[name].kind
        tables = []
        if kind == "categorical":
            levels = [f"{name}-{i}" for i in range(CATEGORIES[name])]
            cells = {
                f.name: pa.array(levels if f.name == name else [_any(f)] * len(levels))
                for f in encoder.features
            }
            block = encoder.matrix(pa.record_batch(cells))[0][:, where]
            tables = [dict(zip(levels, c.tolist(), strict=True)) for c in block.T]
        columns.append([kind, name, tables])
    recipe = {"forest": str(work / BOOSTER), "columns": columns}
    (work / RECIPE).write_text(json.dumps(recipe))


def _any(feature: Any) -> str:
    return "2020-01-01" if feature.kind == "timestamp" else "1"
