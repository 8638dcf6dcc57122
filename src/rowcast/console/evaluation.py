"""How good a model is: numbers, thresholds, curves, confusion, calibration, errors, importance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from rowcast.console.parts import Text, Tile, bars, box, card, drawn, name_of, table
from rowcast.report.plots import (
    Line,
    Plot,
    deviations,
    figure,
    histogram,
    legend,
    line_plot,
    rate,
    value_plot,
)
from rowcast.report.words import count, number, percent, short

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.console.api import Json
    from rowcast.report.markup import Markup

NUMBERS = {
    "auRoc": ("ROC AUC", "a right label scores above a wrong one"),
    "auPrc": ("PR AUC", "average precision"),
    "logLoss": ("Log loss", "less is better"),
    "accuracy": ("Accuracy", "the highest score is right"),
    "rootMeanSquaredError": ("RMSE", "root of the mean squared error"),
    "meanAbsoluteError": ("MAE", "mean size of the error"),
    "meanAbsolutePercentageError": ("MAPE", "mean error in percent"),
    "rSquared": ("R²", "share of the variation explained"),
    "rootMeanSquaredLogError": ("RMSLE", "RMSE of log(1 + value)"),
}
SHARES = frozenset({"accuracy"})
FEW_CLASSES = 12
MOST_SLICES = 100
MOST_FEATURES = 30
FEW_ROWS = 1000


def show_evaluation(evaluation: Json, slices: list[Json], model: Json) -> None:
    """Show an evaluation as the API answers it, with its slices."""
    metrics, further = evaluation.get("metrics", {}), evaluation.get("rowcast", {})
    slices = in_order(slices, metrics.get("confusionMatrix", {}))
    _show_numbers(metrics)
    if metrics.get("confidenceMetrics"):
        _show_classes(metrics, further, slices, model)
    else:
        _show_values(further)
    explained = evaluation.get("modelExplanation", {}).get("meanAttributions", [])
    if explained:
        _show_importance(explained[0].get("featureAttributions", {}))


def in_order(slices: list[Json], matrix: Json) -> list[Json]:
    """Put slices in the order of the confusion matrix; none if they are not of its classes."""
    of = {one.get("slice", {}).get("value", ""): one for one in slices}
    classes = [one.get("displayName", "") for one in matrix.get("annotationSpecs", [])]
    return [of[name] for name in classes] if set(of) == set(classes) else []


def _show_numbers(metrics: Json) -> None:
    with box("div", "tiles"):
        for name, (title, words) in NUMBERS.items():
            if name in metrics:
                value = metrics[name]
                said = percent(value) if name in SHARES else f"{value:.4g}"
                if name == "meanAbsolutePercentageError":
                    said = f"{value:.3g} %"
                Tile(title, said, words)


def _show_importance(shares: dict[str, float]) -> None:
    ranked = sorted(shares.items(), key=lambda item: -item[1])[:MOST_FEATURES]
    most = max((share for _, share in ranked), default=0.0) or 1.0
    with card("What matters", hint="share of the mean size of attributions"):
        bars([(name, share / most, percent(share)) for name, share in ranked])


# Classes


def _show_classes(metrics: Json, further: Json, slices: list[Json], model: Json) -> None:
    choices = {"": "All classes together"}
    choices |= {str(i): one.get("slice", {}).get("value", "") for i, one in enumerate(slices)}
    positive = "1" if len(slices) == 2 else ""
    with card("Threshold", hint="a label is given where its score reaches the threshold"):
        with box("div", "side even"):
            with box("div"):
                if len(choices) > 1:
                    which = ui.select(choices, label="Class", value=positive).props(
                        "outlined dense"
                    )
                slider = ui.slider(min=0, max=0.99, step=0.01, value=0.5).props("label")
                slider.props["aria-label"] = "Threshold on the score"
                numbers = box("div", "threshold-numbers")
            plot = box("div")

        def tell() -> None:
            place = which.value if len(choices) > 1 else ""
            chosen = slices[int(place)].get("metrics", {}) if place else metrics
            entries = chosen.get("confidenceMetrics", [])
            numbers.clear()
            with numbers:
                _tell_threshold(entries, float(slider.value), slices, place)
            plot.clear()
            with plot:
                _draw_thresholds(entries, float(slider.value))

        slider.on_value_change(tell)
        if len(choices) > 1:
            which.on_value_change(tell)
        tell()
    _show_curves(further, metrics, slices)
    with box("div", "columns"):
        _show_confusion(metrics.get("confusionMatrix", {}))
        _show_calibration(further.get("calibration", {}), model)
    _show_slices(slices, metrics.get("confusionMatrix", {}))


def entry_at(entries: Sequence[Json], threshold: float) -> Json:
    """Find what is known of a threshold: the nearest one that was measured, not above it."""
    reached = [one for one in entries if one.get("confidenceThreshold", 0.0) <= threshold + 1e-9]
    return max(reached, key=lambda one: one.get("confidenceThreshold", 0.0), default={})


def _tell_threshold(
    entries: Sequence[Json], threshold: float, slices: list[Json], place: str
) -> None:
    one = entry_at(entries, threshold)
    if not one:
        return
    with box("div", "tiles flat"):
        for title, key in (("Precision", "precision"), ("Recall", "recall"), ("F1", "f1Score")):
            with box("div"):
                Text("h3", title, "soft")
                value = one.get(key, 0.0)
                Text("strong", f"{value:.3f}" if key == "f1Score" else percent(value))
    at = one.get("confidenceThreshold", 0.0)
    label = slices[int(place)].get("slice", {}).get("value", "") if place else "right"
    other = f"not {label}" if place else "wrong"
    counts = {
        key: int(one.get(f"{key}Count", 0))
        for key in ("truePositive", "falseNegative", "falsePositive", "trueNegative")
    }
    total = [
        counts["truePositive"] + counts["falseNegative"],
        counts["falsePositive"] + counts["trueNegative"],
    ]
    with box("div", "rows"), box("table", "heat"):
        with box("thead"), box("tr"):
            for title in ("True label", "given", "not given"):
                Text("th", title, scope="col")
        with box("tbody"):
            for title, keys, rows in (
                (label, ("truePositive", "falseNegative"), total[0]),
                (other, ("falsePositive", "trueNegative"), total[1]),
            ):
                with box("tr"):
                    with box("th", scope="row"):
                        name_of(title)
                    for key in keys:
                        _heat_cell(counts[key], rows)
    Text("p", f"Measured at the threshold {at:.2f}.", "hint")


def _heat_cell(value: int, total: int) -> None:
    share = value / total if total else 0.0
    with box("td").style(f"--w: {share:.3f}"):
        Text("span", count(value))
        Text("small", percent(share))


def _draw_thresholds(entries: Sequence[Json], threshold: float) -> None:
    at = [one.get("confidenceThreshold", 0.0) for one in entries]
    if not at:
        return
    lines = [
        Line(at, [one.get("precision", 0.0) for one in entries], "one", "Precision"),
        Line(at, [one.get("recall", 0.0) for one in entries], "two", "Recall"),
    ]
    plot = Plot(rate("Threshold"), rate("Share"), "Precision and recall by threshold")
    for line in [*lines, Line([threshold, threshold], [0, 1], "guide")]:
        plot.line(line)
    drawn(figure("Precision and recall", plot.render(), legend=legend(lines)))


def _show_curves(further: Json, metrics: Json, slices: list[Json]) -> None:
    found = further.get("curves", {})
    positive = found.get("positiveClass")
    chosen = positive or found
    if not chosen.get("roc", {}).get("recall"):
        return
    of = f" of {positive['value']}" if positive else " over the labels of all classes"
    if positive and len(slices) == 2:
        metrics = slices[1].get("metrics", metrics)
    entries = metrics.get("confidenceMetrics") or [{}]
    base = entries[0].get("precision", 0.0)
    roc, pr = chosen["roc"], chosen["precisionRecall"]
    with card("Curves", hint=f"every threshold at once,{of}"), box("div", "figures"):
        drawn(
            figure(
                "ROC",
                line_plot(
                    "ROC curve",
                    rate("False positive rate"),
                    rate("Recall"),
                    [
                        Line([0, 1], [0, 1], "guide"),
                        Line(roc["falsePositiveRate"], roc["recall"]),
                    ],
                ),
                f"Area {number(metrics.get('auRoc'))}. Dashed: an order at random.",
            )
        )
        drawn(
            figure(
                "Precision and recall",
                line_plot(
                    "Precision and recall curve",
                    rate("Recall"),
                    rate("Precision"),
                    [Line([0, 1], [base, base], "guide"), Line(pr["recall"], pr["precision"])],
                ),
                f"Average precision {number(metrics.get('auPrc'))}.",
            )
        )


def _show_confusion(matrix: Json) -> None:
    classes = [one.get("displayName", "") for one in matrix.get("annotationSpecs", [])]
    rows = [_cells(row) for row in matrix.get("rows", [])]
    if not classes or len(rows) != len(classes):
        return
    with card("Confusion", hint="true classes down, the highest score's class across"):
        if len(classes) > FEW_CLASSES:
            _show_confused(classes, rows)
            return
        with box("div", "rows", tabindex="0"), box("table", "heat"):
            with box("thead"), box("tr"):
                Text("th", "True → predicted")
                for label in classes:
                    with box("th", scope="col"):
                        name_of(label)
            with box("tbody"):
                for label, row in zip(classes, rows, strict=True):
                    with box("tr"):
                        with box("th", scope="row"):
                            name_of(label)
                        for value in row:
                            _heat_cell(value, sum(row))


def _cells(row: Any) -> list[int]:
    return [
        int(value) for value in (row.get("dataItemCounts", []) if isinstance(row, dict) else row)
    ]


def _show_confused(classes: list[str], rows: list[list[int]]) -> None:
    wrong = [
        (value, classes[i], classes[j], sum(row))
        for i, row in enumerate(rows)
        for j, value in enumerate(row)
        if value and i != j
    ]
    wrong.sort(key=lambda item: -item[0])
    table(
        ("True class", "Taken for", "Rows", "Of the true class"),
        [(a, b, count(value), percent(value / total)) for value, a, b, total in wrong[:20]],
    )


def _show_calibration(found: Json, model: Json) -> None:
    after, before = found.get("after"), found.get("before")
    if not after:
        return
    lines = [Line([0, 1], [0, 1], "guide", "Ideal")]
    if before:
        lines.append(_reliability(before, "two", "Before calibration"))
    lines.append(_reliability(after, "one", "As served"))
    classes = model.get("classes", [])
    of = f"the score of {classes[1]}" if len(classes) == 2 else "each row's highest score"
    error = percent(after.get("expectedCalibrationError", 0.0))
    with card("Calibration", hint=f"expected error {error}"):
        plot = line_plot("Observed share by score", rate("Score"), rate("Came true"), lines)
        drawn(
            figure(
                "Reliability",
                plot,
                f"Of the rows with a score of 0.7, seven in ten should come true. Here: {of}.",
                legend(lines),
            )
        )


def _reliability(kind: Json, style: str, label: str) -> Line:
    bins = kind["bins"]
    return Line(
        [one["meanScore"] for one in bins],
        [one["observedShare"] for one in bins],
        style,
        label,
        [one["rows"] for one in bins],
    )


def _show_slices(slices: list[Json], matrix: Json) -> None:
    rows = [_cells(row) for row in matrix.get("rows", [])]
    if not slices or len(rows) != len(slices):
        return
    predicted = [sum(column) for column in zip(*rows, strict=True)]
    lines = []
    for place, one in enumerate(slices[:MOST_SLICES]):
        right, total = rows[place][place], sum(rows[place])
        metrics = one.get("metrics", {})
        lines.append(
            (
                one.get("slice", {}).get("value", ""),
                count(total),
                percent(right / predicted[place]) if predicted[place] else "–",
                percent(right / total) if total else "–",
                number(metrics["auRoc"]) if "auRoc" in metrics else "–",
                number(metrics["auPrc"]) if "auPrc" in metrics else "–",
            )
        )
    with card("Class by class", hint="each class against the rest"):
        table(
            ("Class", "Test rows", "Precision", "Recall", "ROC AUC", "PR AUC"),
            lines,
            classes="numbers",
        )


# Values


def _show_values(further: Json) -> None:
    residuals, interval = further.get("residuals", {}), further.get("interval", {})
    if residuals:
        with card("Predictions and errors", hint="on rows that the model had not seen"):
            with box("div", "figures"):
                drawn(_draw_values(residuals))
                drawn(_draw_errors(residuals["histogram"]))
            shares = list(residuals["errorQuantiles"])
            table(
                ("Share of rows below", *(percent(float(share), 0) for share in shares)),
                [
                    (title, *(number(residuals[key][share]) for share in shares))
                    for title, key in (
                        ("Error", "errorQuantiles"),
                        ("Size of the error", "absoluteErrorQuantiles"),
                    )
                ],
                classes="numbers",
            )
    if interval:
        _show_interval(interval)


def _draw_values(residuals: Json) -> Markup:
    grid, sample = residuals["grid"], residuals["sample"]
    rows = grid["outside"] + sum(cell[2] for cell in grid["cells"])
    points = list(zip(sample["true"], sample["predicted"], strict=True)) if rows <= FEW_ROWS else []
    plot = value_plot(
        "Predicted against true values",
        ("True value", "Predicted value"),
        grid["edges"],
        grid["cells"],
        points,
    )
    return figure("Predicted against true", plot, "Dashed: exact predictions.")


def _draw_errors(kept: Json) -> Markup:
    plot = histogram("Errors", "Predicted minus true", kept["edges"], kept["counts"])
    said = f"{count(kept['below'])} rows lie below the frame, {count(kept['above'])} above."
    return figure("Errors", plot, said)


def _show_interval(found: Json) -> None:
    level = percent(found["level"], 0)
    with card(f"{level} intervals"), box("div", "side even"):
        drawn(
            figure(
                "Coverage by width",
                deviations(
                    "Coverage by width",
                    "Tenths of the rows, by ascending width",
                    "True value within the bounds",
                    [part["coverage"] for part in found["deciles"]],
                    found["level"],
                    [
                        f"mean width {short(part['meanWidth'])}: {percent(part['coverage'])}"
                        for part in found["deciles"]
                    ],
                ),
                f"Line: {level}.",
            )
        )
        table(
            ("", "Value"),
            [
                ("Coverage", percent(found["coverage"])),
                ("Below the lower bound", percent(found["below"])),
                ("Above the upper bound", percent(found["above"])),
                ("Mean width", number(found["meanWidth"])),
                ("Median width", number(found["medianWidth"])),
                ("Winkler score", number(found["winklerScore"])),
            ],
            classes="numbers",
        )
