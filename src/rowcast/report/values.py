"""Regression: predicted and true values, errors, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rowcast.report.markup import Markup, joined, paragraph, section, table, tag
from rowcast.report.plots import deviations, figure, histogram, value_plot
from rowcast.report.words import count, number, percent, plural, short

if TYPE_CHECKING:
    from rowcast.report.subject import Subject

FEW_ROWS = 1000
"""Rows up to which each is a dot."""


def residuals(subject: Subject) -> Markup:
    """Show predicted against true values, and the errors."""
    found = subject.evaluation.get("residuals")
    if not found:
        return Markup("")
    return section(
        "errors",
        "Predictions and errors",
        tag("div", _predicted_against_true(found), _histogram(found), class_="figures"),
        tag("h3", "Errors by quantile"),
        _quantiles(found),
        tag("h3", "By predicted value"),
        paragraph("Rows in tenths, by ascending predicted value.", class_="soft"),
        table(
            ("Tenth", "Mean predicted", "Mean true", "Mean absolute error", "Rows"),
            [
                (
                    str(place),
                    number(part["meanPredicted"]),
                    number(part["meanTrue"]),
                    number(part["meanAbsoluteError"]),
                    count(part["rows"]),
                )
                for place, part in enumerate(found["deciles"], start=1)
            ],
            class_="numbers narrow",
        ),
    )


def _predicted_against_true(found: dict[str, Any]) -> Markup:
    grid, sample = found["grid"], found["sample"]
    rows = grid["outside"] + sum(cell[2] for cell in grid["cells"])
    points = list(zip(sample["true"], sample["predicted"], strict=True)) if rows <= FEW_ROWS else []
    drawn = value_plot(
        "Predicted against true values",
        ("True value", "Predicted value"),
        grid["edges"],
        grid["cells"],
        points,
    )
    what = "Each dot is a row." if points else "The darker a cell, the more rows."
    outside = f" {plural(grid['outside'], 'row')} outside the frame." if grid["outside"] else ""
    return figure("Predicted against true", drawn, f"{what} Dashed: exact predictions.{outside}")


def _histogram(found: dict[str, Any]) -> Markup:
    kept = found["histogram"]
    drawn = histogram("Errors", "Predicted minus true", kept["edges"], kept["counts"])
    caption = (
        f"Mean {number(found['meanError'])}. The middle 99 %; {count(kept['below'])} rows lie "
        f"below, {count(kept['above'])} above."
    )
    return figure("Errors", drawn, caption)


def _quantiles(found: dict[str, Any]) -> Markup:
    shares = list(found["errorQuantiles"])
    return table(
        ("Share of rows below", *(percent(float(share), 0) for share in shares)),
        [
            (title, *(number(found[key][share]) for share in shares))
            for key, title in (
                ("errorQuantiles", "Error"),
                ("absoluteErrorQuantiles", "Size of the error"),
            )
        ],
        class_="numbers",
    )


def interval(subject: Subject) -> Markup:
    """Show how well the bounds hold."""
    found = subject.evaluation.get("interval")
    if not found:
        return _recorded_interval(subject)
    level = percent(found["level"], 0)
    parts = found["deciles"]
    drawn = deviations(
        "Coverage by width",
        "Tenths of the rows, by ascending width",
        "True value within the bounds",
        [part["coverage"] for part in parts],
        found["level"],
        [
            f"mean width {short(part['meanWidth'])}: {percent(part['coverage'])} of "
            f"{plural(part['rows'], 'row')}"
            for part in parts
        ],
    )
    rows = [
        ("Coverage", percent(found["coverage"])),
        ("True values below the lower bound", percent(found["below"])),
        ("True values above the upper bound", percent(found["above"])),
        ("Mean width", number(found["meanWidth"])),
        ("Median width", number(found["medianWidth"])),
        ("Winkler score", number(found["winklerScore"])),
        ("Rows", count(found["rows"])),
    ]
    return section(
        "interval",
        f"{level} intervals",
        paragraph(
            f"Each prediction comes with bounds that should hold the true value for {level} of the "
            "rows, wherever the model is sure and wherever it is not."
        ),
        tag(
            "div",
            figure(
                "Coverage by width",
                drawn,
                f"Line: {level}. Bounds that know where predictions are uncertain reach it in "
                "every tenth.",
            ),
            tag("div", tag("h3", "Bounds"), table(("", "Value"), rows, class_="numbers")),
            class_="figures",
        ),
        paragraph(
            "The Winkler score is the width, plus 2 / (1 - level) times the distance of a value "
            "outside; less is better.",
            class_="soft",
        ),
    )


def _recorded_interval(subject: Subject) -> Markup:
    found = subject.training.get("interval") or {}
    if subject.classes or "heldOutCoverage" not in found:
        return Markup("")
    level = percent(found.get("level", 0.95), 0)
    return section(
        "interval",
        f"{level} intervals",
        paragraph(
            joined(
                f"On {count(found['heldOutRows'])} held-out rows the bounds held "
                f"{percent(found['heldOutCoverage'])} of the true values; their mean width is "
                f"{number(found['meanWidth'])}."
            )
        ),
    )
