"""Linear and logistic regression with an L2 penalty, by L-BFGS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.scoring.linear import LIMIT, Linear
from rowcast.training.families import CannotFit, Fitted, Limits, Settings
from rowcast.training.task import threads_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.training.families import Draw
    from rowcast.training.task import Rows, Task

MOST_STEPS = 200
MOST_CELLS = 40_000_000
"""Rows times columns times outputs of a fit; more would take longer than it is worth."""


class LinearModel:
    """See ``Family``. Its loss has one minimum, so it needs no held-out rows and no seed."""

    iterative = False
    round_seconds = 0.02
    cell_seconds = 2e-7
    travel = 0.0

    def fit(
        self, task: Task, settings: Mapping[str, Any], train: Rows, _held: Rows | None, to: Limits
    ) -> Fitted:
        """See ``Family.fit``."""
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        if task.loss == "absolute":
            raise CannotFit("A linear member does not minimise absolute errors.")
        if train.matrix.size * task.outputs > MOST_CELLS:
            raise CannotFit("There are too many cells for a linear member.")
        started = time.monotonic()
        design, centers, scales = _design(train.matrix)
        outputs = task.outputs
        wanted = _one_hot(train.target, outputs) if outputs > 1 else train.target[:, None]
        weights = train.weights / train.weights.sum()
        penalty = float(settings["l2"]) / len(train)
        slope = _SLOPES[task.link if task.classes else "identity"]

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            beta = flat.reshape(-1, outputs)
            value, by_margin = slope(design @ beta, wanted)
            gradient = design.T @ (by_margin * weights[:, None])
            gradient[:-1] += penalty * beta[:-1]
            total = float(weights @ value) + penalty / 2 * float((beta[:-1] ** 2).sum())
            return total, gradient.ravel()

        deadline = started + to.seconds

        def stop(_: np.ndarray) -> None:
            if time.monotonic() > deadline:
                raise StopIteration

        start = np.zeros(design.shape[1] * outputs)
        with threadpool_limits(threads_for(len(train)), user_api="blas"):
            found = minimize(
                loss,
                start,
                jac=True,
                method="L-BFGS-B",
                options={"maxiter": MOST_STEPS},
                callback=stop,
            )
        beta = found.x.reshape(-1, outputs)
        if not np.isfinite(beta).all():
            raise CannotFit("The linear member has no finite weights.")
        n_columns = train.matrix.shape[1]
        member = Linear(
            centers,
            scales,
            np.ascontiguousarray(beta[:n_columns]),
            np.ascontiguousarray(beta[n_columns : 2 * n_columns]),
            beta[-1].copy(),
        )

        def margins(matrix: np.ndarray) -> np.ndarray:
            made = np.zeros((len(matrix), outputs))
            member.add_to(made, matrix)
            return made

        seconds = time.monotonic() - started
        return Fitted(margins, lambda: member, 1, 1, seconds, seconds > to.seconds)

    def suggest(self, draw: Draw) -> Settings:
        """See ``Family.suggest``."""
        return {"l2": draw.suggest_float("l2", 0.01, 100.0, log=True)}

    def steps(self, _settings: Mapping[str, Any]) -> float:
        """See ``Family.steps``."""
        return 100.0


def _design(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardised columns, then flags of missing values, then a one."""
    missing = np.isnan(matrix)
    counts = np.maximum((~missing).sum(axis=0), 1)
    filled = np.where(missing, 0.0, matrix)
    centers = filled.sum(axis=0) / counts
    spread = np.where(missing, 0.0, matrix - centers)
    scales = np.sqrt((spread**2).sum(axis=0) / counts)
    scales[~(scales > 0)] = 1.0
    scaled = np.clip(spread / scales, -LIMIT, LIMIT)
    return np.hstack([scaled, missing, np.ones((len(matrix), 1))]), centers, scales


def _one_hot(target: np.ndarray, outputs: int) -> np.ndarray:
    flags: np.ndarray = target[:, None] == np.arange(outputs)
    return flags.astype(np.float64)


def _logistic(margins: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    value = np.logaddexp(0.0, margins) - wanted * margins
    return value[:, 0], 1.0 / (1.0 + np.exp(-np.clip(margins, -500, 500))) - wanted


def _softmax(margins: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    shifted = margins - margins.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    totals = exponentials.sum(axis=1, keepdims=True)
    value = np.log(totals[:, 0]) - (shifted * wanted).sum(axis=1)
    return value, exponentials / totals - wanted


def _squared(margins: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    errors = margins - wanted
    return (errors**2)[:, 0] / 2, errors


_SLOPES = {"logistic": _logistic, "softmax": _softmax, "identity": _squared}
