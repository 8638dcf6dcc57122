"""What the search and the refit have made, as the files of a model, measured."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.core.model import EVALUATION_JSON, ModelSpec
from rowcast.core.schema import ModelSchema
from rowcast.predictors.boosted import ARRAYS, FOREST, SPREAD_FOREST, boosted_predictor
from rowcast.scoring.forest import forest_arrays
from rowcast.scoring.profile import PROFILE
from rowcast.scoring.program import Program
from rowcast.training import TrainedModel
from rowcast.training.candidates import missing_families
from rowcast.training.describe import describe_columns
from rowcast.training.evaluate import (
    classification_evaluation,
    evaluation_member,
    regression_evaluation,
    with_context,
)
from rowcast.training.goal import NAMES, class_scores
from rowcast.training.importance import feature_importance
from rowcast.training.interval import HeldOut, calibrate_interval
from rowcast.training.profile import training_profile
from rowcast.training.search import summary

if TYPE_CHECKING:
    import pyarrow as pa

    from rowcast.training.columns import FittedEncoder
    from rowcast.training.interval import Calibrated
    from rowcast.training.learning import Learning
    from rowcast.training.refit import Recipe, Refitted
    from rowcast.training.search import Search

HASTE_WORTH_TELLING = 1.5


@dataclass(frozen=True)
class Measured:
    """What the ensemble says of rows that it has not seen, in readable margins.

    Of classes they are calibrated; of a quantity they are in its (or its logarithm's) unit.
    """

    test: np.ndarray
    """Of the test rows, of shape (n, outputs)."""
    held: np.ndarray
    """Of the rows held out in the search, fold after fold."""
    fitted_to: str
    """Names of the sets that the members which predicted the test rows had learnt from."""


@dataclass(frozen=True)
class Assembly:
    """All that a model is made of."""

    learning: Learning
    search: Search
    recipe: Recipe
    final: Refitted
    encoder: FittedEncoder
    """Of all rows, as ``final``."""
    measured: Measured

    @property
    def _test(self) -> np.ndarray:
        return self.learning.examples.split.test

    @property
    def _held(self) -> np.ndarray:
        return np.concatenate([fold.held_rows for fold in self.search.folds])

    def model(self, table: pa.Table) -> TrainedModel:
        """Put the files together; ``table`` is the whole table that was given."""
        learning, final, clock = self.learning, self.final, self.search.clock
        request, target = learning.request, learning.examples.target
        arrays = dict(self.encoder.arrays)
        details: dict[str, Any] = {"link": learning.task.link, "linear": final.linear is not None}
        members: dict[str, bytes] = {}
        facts = self._facts()
        if final.linear is not None:
            arrays |= final.linear.arrays()
        if final.forest is not None:
            members[FOREST] = _saved(forest_arrays(final.forest))
        if not target.classes:
            clock.tell(0.9, "Calibrating intervals")
            interval = self._calibrated(self._searched.joined(self._tested))
            arrays |= interval.quantiles.arrays()
            details["intervalLevel"] = request.interval_level
            facts["interval"] = interval.facts
            if interval.spread is not None:
                members[SPREAD_FOREST] = _saved(forest_arrays(interval.spread))
        members[ARRAYS] = _saved(arrays)
        members[PROFILE] = training_profile(
            learning.examples.table, self.encoder.encoder, target, self._said()
        )
        evaluation = self._evaluation()
        facts["metrics"] = evaluation["metrics"]
        spec = ModelSpec(
            name=request.name,
            predictor="boosted",
            schema=ModelSchema(self.encoder.features, target),
            encoder=self.encoder.entries,
            details=details,
            training=facts,
            versions=_versions(),
        )
        clock.tell(0.95, "Measuring what each feature contributes")
        importance = feature_importance(
            boosted_predictor(spec, members),
            self.encoder.matrix[self._test],
            model_bytes=sum(map(len, members.values())),
            seed=request.seed,
        )
        members[EVALUATION_JSON] = evaluation_member(
            with_context(
                evaluation,
                importance=importance,
                leaderboard=facts["candidates"],
                data={
                    "columns": describe_columns(
                        table, facts["kinds"], facts["dropped"], target.name
                    )
                },
            )
        )
        clock.enter("done", 1.0, "Trained")
        times = {"seconds": round(clock.elapsed, 3), "stages": clock.stages}
        cut_short = bool(final.cut_short) or any(t.cut_short for t in self.search.trials)
        return TrainedModel(spec, members, {**facts, **times, "cut_short": cut_short})

    def _said(self) -> np.ndarray:
        """Scores or values of the rows that the ensemble has not seen."""
        margins = np.concatenate([self.measured.held, self.measured.test])
        classes = self.learning.task.classes
        if classes:
            return class_scores(margins, classes)
        expm1 = self.learning.task.link == "expm1"
        return np.asarray(np.expm1(margins[:, 0]) if expm1 else margins[:, 0])

    @property
    def _searched(self) -> HeldOut:
        """The rows held out in the search."""
        return self._residuals(self._held, self.measured.held)

    @property
    def _tested(self) -> HeldOut:
        """The test rows."""
        return self._residuals(self._test, self.measured.test)

    def _residuals(self, rows: np.ndarray, predicted: np.ndarray) -> HeldOut:
        return HeldOut(self.encoder.matrix[rows], self.learning.margins[rows] - predicted[:, 0])

    def _calibrated(self, held: HeldOut) -> Calibrated:
        request = self.learning.request
        return calibrate_interval(held, request.seed, request.interval_level)

    def _evaluation(self) -> dict[str, Any]:
        """Measure the test rows."""
        learning, test = self.learning, self.measured.test
        truth = learning.examples.truth[self._test]
        classes = learning.examples.target.classes
        if classes:
            raw = self.recipe.uncalibrated(test)
            return classification_evaluation(
                class_scores(test, len(classes)),
                truth,
                classes,
                raw_scores=class_scores(raw, len(classes)),
            )
        # The bounds that are measured know no test row; those that are served know them all.
        interval = self._calibrated(self._searched)
        spread = None
        if interval.spread is not None:
            spread = Program(interval.spread).margins(self.encoder.matrix[self._test])[:, 0]
        level = learning.request.interval_level
        sides = (test[:, 0], *interval.quantiles.at(level).around(test[:, 0], spread))
        if learning.task.link == "expm1":
            sides = tuple(np.expm1(side) for side in sides)
        value, lower, upper = sides
        return regression_evaluation(value, truth, lower=lower, upper=upper, level=level)

    def _facts(self) -> dict[str, Any]:
        """Collect what ``ModelSpec.training`` says."""
        learning, search, recipe = self.learning, self.search, self.recipe
        examples, split = learning.examples, learning.examples.split
        return {
            "rows": len(learning),
            "rowsLeftOut": dict(examples.left_out),
            "split": {
                "training": len(split.train),
                "validation": len(split.validation),
                "test": len(split.test),
            },
            "crossValidated": len(search.folds) > 1,
            "searchedRows": len(np.unique(self._held)) + len(search.folds[0].train)
            if len(search.folds) == 1
            else len(self._held),
            "predictionType": examples.target.prediction_type,
            "predictionTypeReason": examples.reason,
            "objective": learning.goal.objective,
            "lossName": NAMES[learning.goal.objective],
            "kinds": {choice.name: choice.kind for choice in examples.choices.features},
            "dropped": dict(examples.choices.dropped),
            "notes": dict(examples.choices.notes),
            "candidates": summary(search.trials, {t.label: w for t, w in recipe.members}),
            "ensembleLoss": None if search.blend is None else search.blend.loss,
            "copies": recipe.copies,
            "calibration": {
                "factor": recipe.calibration.factor,
                "shift": recipe.calibration.shift,
            },
            "measuredModel": self.measured.fitted_to,
            "seed": learning.request.seed,
            "warnings": [*examples.warnings, *_warnings(self.final)],
        }


def _warnings(final: Refitted) -> list[str]:
    found = []
    if missing := missing_families():
        found.append(
            f"{' and '.join(missing)} could not take part, as their libraries are not installed: "
            "pip install 'rowcast[train]'."
        )
    if final.cut_short:
        found.append(
            f"The time budget ended the last fit of {', '.join(sorted(set(final.cut_short)))} "
            "before it was through; a longer budget may give a better model."
        )
    elif final.haste > HASTE_WORTH_TELLING:
        found.append(
            f"To keep the time budget, the last fit learnt {final.haste:.1f} times as fast as was "
            "meant; a longer budget may give a better model."
        )
    return found


def _saved(arrays: dict[str, np.ndarray]) -> bytes:
    from safetensors.numpy import save

    return bytes(save({key: np.ascontiguousarray(value) for key, value in arrays.items()}))


def _versions() -> dict[str, str]:
    found = {}
    for name in ("rowcast", "lightgbm", "catboost", "xgboost-cpu", "optuna", "numpy", "pyarrow"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
