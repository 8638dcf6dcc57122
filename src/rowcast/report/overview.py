"""The head of the report, and the numbers that matter most in plain words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rowcast.report.markup import (
    Content,
    Markup,
    facts,
    joined,
    name,
    paragraph,
    section,
    table,
    tag,
)
from rowcast.report.words import count, number, percent, plural, seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.report.subject import Subject

OBJECTIVES = {
    "maximize-au-roc": "area under the ROC curve",
    "minimize-log-loss": "log loss",
    "maximize-au-prc": "area under precision and recall",
    "maximize-precision-at-recall": "precision at a recall",
    "maximize-recall-at-precision": "recall at a precision",
    "minimize-rmse": "root mean squared error",
    "minimize-mae": "mean absolute error",
    "minimize-rmsle": "root mean squared logarithmic error",
}
MEANINGS = {
    "auRoc": ("ROC AUC, micro-averaged", "chance that a right label scores above a wrong one"),
    "auPrc": ("PR AUC, micro-averaged", "average precision over all labels"),
    "logLoss": ("Log loss", "mean of -log(score of the true class)"),
    "accuracy": ("Accuracy", "share of rows whose highest score names the true class"),
    "rootMeanSquaredError": ("RMSE", "root of the mean squared error"),
    "meanAbsoluteError": ("MAE", "mean size of the error"),
    "meanAbsolutePercentageError": ("MAPE", "mean size of the error in percent of the true value"),
    "rSquared": ("R²", "square of the correlation of predicted and true values"),
    "rootMeanSquaredLogError": ("RMSLE", "RMSE of log(1 + value)"),
}
SHOWN_CLASSES = 12


def head(subject: Subject) -> Markup:
    """Say which model this is, and how it was made."""
    target, training = subject.spec.schema.target, subject.training
    features = len(subject.spec.schema.features)
    return tag(
        "header",
        tag("h1", name(subject.spec.name)),
        paragraph(
            "Predicts ",
            tag("strong", name(target.name)),
            f" from {plural(features, 'column')}.",
            class_="lead",
        ),
        facts(
            [
                ("Model", joined(name(subject.id), f", version {subject.version}")),
                ("Made", subject.created.strftime("%Y-%m-%d %H:%M UTC")),
                ("Problem", _problem(subject)),
                ("Rows used", count(training["rows"]) if training.get("rows") else None),
                ("Training / validation / test rows", _split(training)),
                ("Optimised for", _objective(training)),
                ("Time", _time(training)),
                ("Seed", training.get("seed")),
            ]
        ),
        _class_list(subject),
    )


def _problem(subject: Subject) -> str:
    n = len(subject.classes)
    if not n:
        return "Regression"
    return "Binary classification" if n == 2 else f"Classification, {n} classes"


def _split(training: dict[str, Any]) -> str | None:
    split = training.get("split") or {}
    sizes = [split.get(part) for part in ("training", "validation", "test")]
    known = [count(size) for size in sizes if size is not None]
    folds = ", cross-validated" if training.get("crossValidated") else ""
    return " / ".join(known) + folds if len(known) == len(sizes) else None


def _objective(training: dict[str, Any]) -> str | None:
    objective = training.get("objective")
    if not objective:
        return None
    value = training.get("objectiveValue")
    words = OBJECTIVES.get(objective, objective)
    return words if value is None else f"{words} of {number(value)}"


def _time(training: dict[str, Any]) -> str | None:
    used = training.get("seconds")
    allowed = training.get("budgetSeconds")
    if used is None:
        return None if allowed is None else f"budget {seconds(allowed)}"
    return seconds(used) if allowed is None else f"{seconds(used)} of {seconds(allowed)}"


def _class_list(subject: Subject) -> Content:
    if not subject.classes:
        return None
    shown = [name(label) for label in subject.classes[:SHOWN_CLASSES]]
    more = len(subject.classes) - len(shown)
    listed = [joined(", " if place else None, label) for place, label in enumerate(shown)]
    return paragraph("Classes: ", *listed, f" and {more} more" if more else None, class_="soft")


def quality(subject: Subject) -> Markup:
    """Show the headline metrics with what they say, and all scalar ones."""
    tiles = list(_class_tiles(subject) if subject.classes else _value_tiles(subject))
    rows = [
        (*MEANINGS.get(metric, (metric, "")), number(value))
        for metric, value in subject.metrics.items()
        if isinstance(value, int | float)
    ]
    ordered = [(title, value, joined(meaning)) for title, meaning, value in rows]
    note = None
    if not subject.measured:
        note = paragraph(
            "This model keeps no evaluation: it was made by an earlier release or elsewhere. What "
            "its training recorded is shown; training it again gives the whole report.",
            class_="note",
        )
    if not ordered:
        return section("quality", "How good it is", note, paragraph("It was not measured."))
    return section(
        "quality",
        "How good it is",
        note,
        paragraph(
            "Measured on ",
            plural(subject.test_rows, "row") if subject.test_rows else "rows",
            " that the measured model had not seen.",
            " The model that is served was then fitted to all rows."
            if subject.spec.training.get("split")
            else None,
        ),
        tag("div", *tiles, class_="tiles") if tiles else None,
        table(("Metric", "Value", "Meaning"), ordered),
    )


def _tile(title: Content, value: str, *words: Content) -> Markup:
    return tag("div", tag("h3", title), tag("strong", value), paragraph(*words), class_="tile")


def _class_tiles(subject: Subject) -> Iterator[Markup]:
    metrics, confusion = subject.metrics, subject.confusion
    totals = [sum(row) for row in confusion]
    n = sum(totals)
    frequent = max(range(len(totals)), key=totals.__getitem__) if n else 0
    if n and "accuracy" in metrics:
        yield _tile(
            "Accuracy",
            percent(metrics["accuracy"]),
            "of the rows have their true class on top. Always naming ",
            name(subject.classes[frequent]),
            f" would be right for {percent(totals[frequent] / n)}.",
        )
    slices = subject.evaluation.get("slices") or []
    if len(subject.classes) == 2 and len(slices) == 2:
        yield from _positive_tiles(slices[1])
    elif "auRoc" in metrics:
        yield _tile(
            "ROC AUC, micro",
            number(metrics["auRoc"]),
            f"A right label scores above a wrong one in {percent(metrics['auRoc'])} of all such "
            "pairs; 50 % would be chance.",
        )
    if n and "logLoss" in metrics:
        chance = -sum(t / n * math.log(t / n) for t in totals if t)
        yield _tile(
            "Log loss",
            number(metrics["logLoss"]),
            f"Knowing only how frequent each class is gives {number(chance)}. Less is better, 0 "
            "is perfect.",
        )
    after = (subject.evaluation.get("calibration") or {}).get("after") or {}
    if "expectedCalibrationError" in after:
        error = after["expectedCalibrationError"]
        yield _tile(
            "Calibration error",
            percent(error),
            f"Scores differ by {100 * error:.1f} percentage points from how often they come true, "
            "on average.",
        )


def _positive_tiles(positive: dict[str, Any]) -> Iterator[Markup]:
    metrics, label = positive["metrics"], name(positive["value"])
    if "auRoc" in metrics:
        yield _tile(
            joined("ROC AUC of ", label),
            number(metrics["auRoc"]),
            "Of a row of this class and a row of the other, the former has the higher score in "
            f"{percent(metrics['auRoc'])} of all pairs; 50 % would be chance.",
        )
    first = metrics["confidenceMetrics"][0]
    own = int(first["truePositiveCount"]) + int(first["falseNegativeCount"])
    rest = int(first["falsePositiveCount"]) + int(first["trueNegativeCount"])
    if "auPrc" in metrics and own + rest:
        yield _tile(
            joined("PR AUC of ", label),
            number(metrics["auPrc"]),
            "Precision, averaged while all its rows are found from the highest score down. A "
            f"random order would have {number(own / (own + rest))}.",
        )


def _value_tiles(subject: Subject) -> Iterator[Markup]:
    metrics = subject.metrics
    residuals = subject.evaluation.get("residuals") or {}
    baseline = subject.evaluation.get("baseline") or {}
    if "meanAbsoluteError" in metrics:
        half = (residuals.get("absoluteErrorQuantiles") or {}).get("0.5")
        yield _tile(
            "Mean absolute error",
            number(metrics["meanAbsoluteError"]),
            "is how far predictions are off on average",
            f"; half of them by less than {number(half)}" if half is not None else None,
            ".",
            _constant("median", baseline.get("meanAbsoluteError")),
        )
    if "rootMeanSquaredError" in metrics:
        yield _tile(
            "RMSE",
            number(metrics["rootMeanSquaredError"]),
            "weighs large errors more.",
            _constant("mean", baseline.get("rootMeanSquaredError")),
        )
    if "rSquared" in metrics:
        yield _tile(
            "R²",
            number(metrics["rSquared"]),
            "is the square of the correlation of predicted and true values: 1 is perfect, 0 is "
            "chance.",
        )
    interval = subject.evaluation.get("interval") or {}
    if "coverage" in interval:
        level = percent(interval["level"], 0)
        yield _tile(
            f"{level} interval",
            percent(interval["coverage"]),
            "of the true values lay within their bounds, which are "
            f"{number(interval['medianWidth'])} apart for the median row.",
        )


def _constant(what: str, error: float | None) -> str | None:
    if error is None:
        return None
    return f" Always predicting the test rows' {what} gives {number(error)}."
