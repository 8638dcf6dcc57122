"""Classification: thresholds, curves, confusion, classes, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rowcast.report.markup import (
    Content,
    Markup,
    details,
    joined,
    name,
    paragraph,
    section,
    table,
    tag,
)
from rowcast.report.plots import Line, figure, legend, line_plot, meter, rate
from rowcast.report.words import count, number, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.report.subject import Subject

FEW, MANY = 12, 40
"""Classes up to which the confusion matrix has room for numbers, and to which it is shown."""
CONFUSIONS = 15
SLICES = 30
COLUMNS = (
    "Threshold", "Precision", "Recall", "F1", "False positive rate",
    "True pos.", "False pos.", "False neg.", "True neg.",
)  # fmt: skip


def thresholds(subject: Subject) -> Markup:
    """Show what each threshold on the score gives."""
    entries = subject.metrics.get("confidenceMetrics") or []
    slices = subject.evaluation.get("slices") or []
    overall = _threshold_table(entries)
    if len(subject.classes) != 2 or len(slices) != 2:
        words = (
            "A label is returned where its score reaches the threshold. Each row has as many "
            "labels as there are classes, one of them right."
        )
        return _threshold_section(words, entries, overall) if entries else Markup("")
    positive = slices[1]
    words = joined(
        "A row counts as ", name(positive["value"]), " where its score for that class reaches the "
        "threshold. Choose it by what a wrong alarm costs and what a miss costs.",
    )  # fmt: skip
    own = positive["metrics"]["confidenceMetrics"]
    return _threshold_section(
        words,
        own,
        joined(
            _threshold_table(own),
            details(
                "The same over the labels of both classes, as the API's metrics have it", overall
            ),
        ),
    )


def _threshold_section(words: Content, entries: list[dict[str, Any]], rest: Content) -> Markup:
    at = [entry.get("confidenceThreshold", 0.0) for entry in entries]
    lines = [
        Line(at, [entry["precision"] for entry in entries], "one", "Precision"),
        Line(at, [entry["recall"] for entry in entries], "two", "Recall"),
        Line(at, [entry["f1Score"] for entry in entries], "guide", "F1, their harmonic mean"),
    ]
    drawn = line_plot("Precision and recall by threshold", rate("Threshold"), rate("Share"), lines)
    plot = figure("Precision and recall by threshold", drawn, legend=legend(lines))
    return section("thresholds", "Thresholds", paragraph(words), plot, rest)


def _threshold_table(entries: list[dict[str, Any]]) -> Markup:
    best = max(entries, key=lambda entry: entry["f1Score"], default=None)
    rows: list[Markup] = []
    for entry in entries:
        cells = (
            f"{entry.get('confidenceThreshold', 0.0):.2f}",
            percent(entry["precision"]),
            percent(entry["recall"]),
            f"{entry['f1Score']:.3f}",
            percent(entry["falsePositiveRate"]),
            *(
                count(int(entry[f"{kind}Count"]))
                for kind in ("truePositive", "falsePositive", "falseNegative", "trueNegative")
            ),
        )
        kind = "best" if entry is best else None
        rows.append(tag("tr", *(tag("td", cell) for cell in cells), class_=kind))
    header = tag("thead", tag("tr", *(tag("th", title, scope="col") for title in COLUMNS)))
    made = tag("table", header, tag("tbody", *rows), class_="numbers")
    return joined(
        tag("div", made, class_="scroll", tabindex=0),
        paragraph("The row with the best F1 is marked.", class_="soft"),
    )


def curves(subject: Subject) -> Markup:
    """Draw ROC and precision-recall curves."""
    found = subject.evaluation.get("curves") or {}
    positive = found.get("positiveClass")
    chosen = positive or found
    if not chosen.get("roc") or not chosen["roc"]["recall"]:
        return Markup("")
    metrics = subject.metrics
    if positive:
        metrics = subject.evaluation["slices"][1]["metrics"]
    whose = joined("of ", name(positive["value"])) if positive else "over the labels of all classes"
    roc, pr = chosen["roc"], chosen["precisionRecall"]
    roc_lines = [
        Line([0, 1], [0, 1], "guide"),
        Line(roc["falsePositiveRate"], roc["recall"]),
    ]
    first = metrics["confidenceMetrics"][0]
    base = first["precision"]
    pr_lines = [Line([0, 1], [base, base], "guide"), Line(pr["recall"], pr["precision"])]
    return section(
        "curves",
        "Curves",
        paragraph("Every threshold at once, ", whose, ". Dashed: an order at random."),
        tag(
            "div",
            figure(
                "ROC",
                line_plot("ROC curve", rate("False positive rate"), rate("Recall"), roc_lines),
                f"Area {number(metrics.get('auRoc'))}.",
            ),
            figure(
                "Precision and recall",
                line_plot(
                    "Precision and recall curve", rate("Recall"), rate("Precision"), pr_lines
                ),
                f"Average precision {number(metrics.get('auPrc'))}.",
            ),
            class_="figures",
        ),
    )


def confusion(subject: Subject) -> Markup:
    """Show which classes are taken for which."""
    matrix, classes = subject.confusion, subject.classes
    if not matrix:
        return Markup("")
    shown = _matrix(matrix, classes) if len(classes) <= MANY else None
    return section(
        "confusion",
        "Confusion",
        paragraph(
            "Rows are true classes, columns what the highest score says. Shades and small numbers "
            "are shares of the true class."
            if len(classes) <= FEW
            else "What the highest score says against what is true."
        ),
        shown,
        _top_confusions(matrix, classes) if len(classes) > 2 else None,
    )


def _matrix(matrix: list[list[int]], classes: Sequence[str]) -> Markup:
    dense = len(classes) > FEW
    rows = []
    for label, row in zip(classes, matrix, strict=True):
        total = max(1, sum(row))
        cells = [
            tag(
                "td",
                (cell or None) if dense else count(cell),
                None if dense else tag("small", percent(cell / total)),
                style=f"--w:{cell / total:.3f}",
                title=f"{label} taken for {other}: {count(cell)}",
            )
            for other, cell in zip(classes, row, strict=True)
        ]
        rows.append(tag("tr", tag("th", name(label), scope="row"), *cells))
    corner = tag("th", "True \N{RIGHTWARDS ARROW} predicted" if not dense else None)
    header = tag("tr", corner, *(tag("th", name(label), scope="col") for label in classes))
    made = tag(
        "table", tag("thead", header), tag("tbody", *rows), class_="heat dense" if dense else "heat"
    )
    return tag("div", made, class_="scroll", tabindex=0)


def _top_confusions(matrix: list[list[int]], classes: Sequence[str]) -> Content:
    wrong = [
        (cell, i, j)
        for i, row in enumerate(matrix)
        for j, cell in enumerate(row)
        if cell and i != j
    ]
    wrong.sort(key=lambda item: (-item[0], item[1], item[2]))
    if not wrong:
        return paragraph("No row was taken for another class.")
    rows = [
        (
            name(classes[i]),
            name(classes[j]),
            count(cell),
            percent(cell / sum(matrix[i])),
        )
        for cell, i, j in wrong[:CONFUSIONS]
    ]
    return joined(
        tag("h3", "Most frequent confusions"),
        table(("True class", "Taken for", "Rows", "Of the true class"), rows, class_="narrow"),
    )


def slices(subject: Subject) -> Markup:
    """Show each class against the rest."""
    found = subject.evaluation.get("slices") or []
    matrix = subject.confusion
    if len(found) != len(subject.classes) or not matrix:
        return Markup("")
    predicted = [sum(column) for column in zip(*matrix, strict=True)]
    lines = []
    for place, one in enumerate(found):
        rows, right = sum(matrix[place]), matrix[place][place]
        recall = right / rows if rows else None
        precision = right / predicted[place] if predicted[place] else None
        f1 = 2 * right / (rows + predicted[place]) if rows + predicted[place] else None
        metrics = one["metrics"]
        cells = (
            name(one["value"]),
            count(rows),
            _share(precision),
            _share(recall),
            "–" if f1 is None else meter(f1, f"{f1:.3f}"),
            number(metrics["auRoc"]) if "auRoc" in metrics else "–",
            number(metrics["auPrc"]) if "auPrc" in metrics else "–",
        )
        lines.append((-1.0 if f1 is None else f1, cells))
    if len(lines) > 2:
        lines.sort(key=lambda line: line[0])
    head = ("Class", "Test rows", "Precision", "Recall", "F1", "ROC AUC", "PR AUC")
    first = table(head, [cells for _, cells in lines[:SLICES]], class_="numbers")
    rest = [cells for _, cells in lines[SLICES:]]
    return section(
        "classes",
        "Class by class",
        paragraph(
            "Precision, recall and F1 of the class with the highest score; areas of the class' "
            "score against the rest.",
            " Weakest first." if len(lines) > 2 else None,
        ),
        first,
        details(f"{len(rest)} more classes", table(head, rest, class_="numbers")) if rest else None,
    )


def _share(share: float | None) -> str:
    return "–" if share is None else percent(share)


def calibration(subject: Subject) -> Markup:
    """Compare scores with how often they come true, before and after they were calibrated."""
    found = subject.evaluation.get("calibration") or {}
    after, before = found.get("after"), found.get("before")
    if not after:
        return Markup("")
    lines = [Line([0, 1], [0, 1], "guide", "Ideal")]
    if before:
        lines.append(_reliability_line(before, "two", "Before calibration"))
    lines.append(_reliability_line(after, "one", "As served" if before else "Scores"))
    of_class = len(subject.classes) == 2
    what = (
        joined("the score for ", name(subject.classes[1]))
        if of_class
        else "the highest score of each row"
    )
    drawn = line_plot(
        "Observed share by score", rate("Mean score"), rate("Share that came true"), lines
    )
    kinds = [kind for kind in (before, after) if kind]
    head = ("", *(("Before", "As served") if before else ("Scores",)))
    rows = [
        (title, *(write(kind[key]) for kind in kinds))
        for key, title, write in (
            ("expectedCalibrationError", "Expected calibration error", percent),
            ("classwiseCalibrationError", "Mean over the classes", percent),
            ("brierScore", "Brier score", number),
            ("logLoss", "Log loss", number),
        )
    ]
    return section(
        "calibration",
        "Calibration",
        paragraph(
            "Of the rows with a score of 0.7, seven in ten should come true. Here ", what,
            " is cut into bins of width 1/15; a dot is a bin, and its area shows its rows.",
        ),
        tag(
            "div",
            figure("Reliability", drawn, legend=legend(lines)),
            tag("div", tag("h3", "Errors"), table(head, rows, class_="numbers")),
            class_="figures",
        ),
    )  # fmt: skip


def _reliability_line(kind: dict[str, Any], style: str, label: str) -> Line:
    bins = kind["bins"]
    return Line(
        [one["meanScore"] for one in bins],
        [one["observedShare"] for one in bins],
        style,
        label,
        [one["rows"] for one in bins],
    )
