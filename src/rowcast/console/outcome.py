"""What a finished job wrote: first predictions, their distribution, failed rows, and the files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.files import File, folder_files, read_json
from rowcast.console.parts import Text, bars, box, card, drawn, link, note, size, table, whole
from rowcast.console.results import Histogram, Row, histogram_of, histograms_of, read_rows
from rowcast.console.tables import SCHEME, first_rows
from rowcast.report.plots import Axis, Line, Plot, around
from rowcast.report.words import count, number, percent, short

if TYPE_CHECKING:
    from nicegui.element import Element

    from rowcast.console.api import Json
    from rowcast.console.frame import View

FIRST_ROWS = 12
LOOKED_AT = 200
EXAMPLES = 8
MOST_COLUMNS = 8
MOST_FEATURES = 12
MOST_FILES = 50
MOST_CLASSES = 20
MOST_CAUSES = 20
SUMMARY = "_rowcast_summary.json"


async def show_results(
    view: View, job: Json, place: Element, examples: Element | None, files_place: Element
) -> None:
    """Show the results of a finished job in the places made for them."""
    places = places_of(job)
    if places is None:
        return
    directory = job.get("outputInfo", {}).get("gcsOutputDirectory", "")
    model, good, bad, summary, files = await asyncio.gather(
        _model_facts(view, job),
        _look(view, places[0], LOOKED_AT),
        _look(view, places[1], EXAMPLES),
        read_json(view.api, f"{directory}/{SUMMARY}"),
        folder_files(view.api, directory),
    )
    summary = summary or short_summary(job)
    target = summary.get("target") or model.get("targetColumn", "")
    classes = list(model.get("classes", []))
    rows = read_rows(good, target, classes) if good and good.get("rows") else []
    with place:
        if shown := histograms_of(summary, target):
            _show_distribution(shown, "all rows")
        elif good and rows:
            hint = "" if good.get("complete") else "of the first rows"
            _show_distribution([histogram_of(good, rows, target, classes)], hint)
        _show_shares(summary)
        if rows:
            _show_first(rows, classes)
        _show_attributions(rows, summary, classes)
    if examples is not None:
        with examples:
            _show_examples(summary)
            if bad and bad.get("rows"):
                _show_failed(read_rows(bad, target, classes))
    with files_place:
        if directory:
            _show_files(directory, files)
        else:
            _show_tables(view, places)


def places_of(job: Json) -> tuple[str, str] | None:
    """Where a job's predictions and errors are: patterns of objects, or tables."""
    info = job.get("outputInfo", {})
    if directory := info.get("gcsOutputDirectory"):
        name = job.get("rowcast", {}).get("outputName")
        own = (name, f"errors_{name}") if name else ("predictions_*", "errors_*")
        return f"{directory}/{own[0]}", f"{directory}/{own[1]}"
    dataset, made = info.get("bigqueryOutputDataset"), info.get("bigqueryOutputTable", "")
    if not dataset or not made:
        return None
    return f"{dataset}.{made}", f"{dataset}.{made.replace('predictions_', 'errors_', 1)}"


def short_summary(job: Json) -> Json:
    """Take from the job itself what its summary would have told at length."""
    short = job.get("rowcast", {}).get("summary", {})
    classes = [{**one, "rows": whole(one.get("count"))} for one in short.get("classes", [])]
    strongest = short.get("meanAbsoluteAttributions", [])
    return {
        "explainedRows": whole(short.get("explainedRows")),
        "classes": classes,
        "values": short.get("values", {}),
        "attributions": [
            {"feature": one["feature"], "meanAbsolute": one.get("value", 0.0)} for one in strongest
        ],
    }


async def _model_facts(view: View, job: Json) -> Json:
    version = job.get("modelVersionId", "")
    try:
        model = await view.api.get(f"{job['model']}@{version}" if version else job["model"])
    except ApiError:  # it may have been deleted since
        return {}
    found: Json = model.get("rowcast", {})
    return found


async def _look(view: View, uri: str, rows: int) -> Json | None:
    """Look at results; None where there are none of the kind."""
    config: Json = {"gcsSource": {"uri": [uri]}}
    if uri.startswith(SCHEME):
        config = {"bigquerySource": {"uri": uri}}
    body = {"inputConfig": config, "rowCount": rows, "rowsOnly": True}
    try:
        return await view.api.post(f"{view.home.parent}/datasets:preview", body)
    except ApiError:
        return None


def _show_distribution(found: list[Histogram], hint: str) -> None:
    scores = found[0].edges[0] >= 0 and found[0].edges[-1] <= 1
    with card("Scores" if scores else "Values", hint=hint), box("div", "side even"):
        plot = box("div")
        with box("div"):
            names = {place: one.label for place, one in enumerate(found)}
            which = ui.select(names, label="Of", value=0).props("outlined dense")
            which.set_visibility(len(found) > 1)
            Text("h3", "Threshold", "above")
            said = Text("p", "", "big-words")
            slider = ui.slider(min=0, max=1, step=0.01, value=0.5).props("label")
            slider.props["aria-label"] = "Threshold"

        def tell() -> None:
            one = found[which.value]
            low, high = one.edges[0], one.edges[-1]
            threshold = low + (high - low) * float(slider.value)
            share = one.above(threshold)
            said.text = f"{percent(share)} of the rows are at {number(threshold)} or above."
            plot.clear()
            with plot:
                _draw(one, threshold)

        which.on_value_change(tell)
        slider.on_value_change(tell)
        slider.props(":label-value=''")
        tell()


def _draw(found: Histogram, threshold: float) -> None:
    """Draw a histogram, and where the threshold is."""
    most = max(*found.counts, 1)
    plot = Plot(
        around(found.label, found.edges[0], found.edges[-1]), Axis("Rows", 0, most), found.label
    )
    for low, high, rows in zip(found.edges[:-1], found.edges[1:], found.counts, strict=True):
        if rows:
            kind = "bar one" if (low + high) / 2 >= threshold else "bar one below"
            plot.box((low, high), (0, rows), f"{short(low)} to {short(high)}: {count(rows)} rows",
                     class_=kind)  # fmt: skip
    plot.line(Line([threshold, threshold], [0, most], "guide"))
    drawn(plot.render())


def _show_shares(summary: Json) -> None:
    """Show how often each class came out, or how values are spread."""
    if classes := summary.get("classes"):
        total = sum(one["rows"] for one in classes) or 1
        with card("Predicted classes", hint="the class with the highest score"):
            bars(
                [
                    (one["class"], one["rows"] / total,
                     f"{count(one['rows'])} rows, {percent(one['rows'] / total)}")
                    for one in classes[:MOST_CLASSES]
                ]
            )  # fmt: skip
    elif values := summary.get("values"):
        quantiles = values.get("quantiles", {})
        with card("Predicted values"):
            head = ["Least", *(percent(float(share), 0) for share in quantiles), "Greatest", "Mean"]
            numbers = [values.get("least"), *quantiles.values(), values.get("greatest")]
            table(
                head, [[number(one) for one in [*numbers, values.get("mean")]]], classes="numbers"
            )


def _show_first(rows: list[Row], classes: list[str]) -> None:
    with card("First predictions"):
        table(*_rows_table(rows[:FIRST_ROWS], classes), classes="grid-table", label="Predictions")


def _rows_table(rows: list[Row], classes: list[str]) -> tuple[list[str], list[list[object]]]:
    names = list(rows[0].cells)[:MOST_COLUMNS]
    if classes:
        head = ["Prediction", "Score"]
    else:
        head = ["Prediction", *(["From", "to"] if any(row.bounds for row in rows) else [])]
    lines: list[list[object]] = []
    for row in rows:
        answer: list[object] = [number(row.value)]
        if row.best is not None:
            answer = [row.best[0], f"{row.best[1]:.3f}"]
        elif "From" in head:
            answer += [number(bound) for bound in row.bounds or (None, None)]
        lines.append([*answer, *(row.cells.get(name) for name in names)])
    return [*head, *names], lines


def _show_failed(rows: list[Row]) -> None:
    Text("h3", "The first of them", "above")
    names = list(rows[0].cells)[:MOST_COLUMNS]
    table(
        ["Why", *names],
        [[row.error, *(row.cells.get(name) for name in names)] for row in rows],
        classes="grid-table wrap-first",
        label="Rows that failed",
    )


def _show_examples(summary: Json) -> None:
    """Show for each cause what the first rows that failed for it said."""
    causes = [one for one in summary.get("errors", []) if one.get("examples")]
    if not causes:
        return
    for one in causes[:MOST_CAUSES]:
        with ui.expansion(f"{one['cause']}: examples").classes("fold"), box("ul", "plain"):
            for example in one["examples"]:
                Text("li", example.get("message", ""), "name")


def _show_attributions(rows: list[Row], summary: Json, classes: list[str]) -> None:
    """Show what moves predictions in all rows, and in a row to choose."""
    explained = [row for row in rows if row.attributions]
    totals = {one["feature"]: one["meanAbsolute"] for one in summary.get("attributions", [])}
    hint = f"mean size in {count(summary.get('explainedRows', 0))} rows"
    if not totals and explained:
        hint = f"mean size in the first {count(len(explained))} rows"
        for row in explained:
            for name, value in row.attributions.items():
                totals[name] = totals.get(name, 0.0) + abs(value) / len(explained)
    if not totals:
        return
    with box("div", "columns"):
        with card("What moves predictions", hint=hint):
            most = max(totals.values(), default=0.0) or 1.0
            ranked = sorted(totals.items(), key=lambda item: -item[1])[:MOST_FEATURES]
            bars([(name, value / most, number(value)) for name, value in ranked])
        if explained:
            _show_row_by_row(explained, classes)


def _show_row_by_row(explained: list[Row], classes: list[str]) -> None:
    with card("Row by row"):
        choose = ui.number("Row", value=1, min=1, max=len(explained), step=1, format="%d")
        choose.props("outlined dense")
        place = box("div", "above")

        def show() -> None:
            at = min(max(int(choose.value or 1), 1), len(explained))
            place.clear()
            with place:
                _show_row(explained[at - 1], classes)

        choose.on_value_change(show)
        show()


def _show_row(row: Row, classes: list[str]) -> None:
    end = row.best[1] if row.best else row.value or 0.0
    start = end - sum(row.attributions.values()) if row.baseline is None else row.baseline
    of = f" for {row.best[0]}" if row.best and classes else ""
    Text("p", f"From {number(start)}, the usual row's output{of}, to {number(end)}:", "soft")
    most = max(map(abs, row.attributions.values()), default=0.0) or 1.0
    ranked = sorted(row.attributions.items(), key=lambda item: -abs(item[1]))[:MOST_FEATURES]
    bars(
        [
            (f"{name} = {row.cells.get(name, '')}", value / most, f"{value:+.4g}")
            for name, value in ranked
        ]
    )


def _show_tables(view: View, places: tuple[str, str]) -> None:
    with card("Output"):
        for title, uri in zip(("Predictions", "Errors"), places, strict=True):
            Text("h3", title)
            with box("div", "line"):
                Text("p", uri, "mono name")
                link("Ask it in SQL", view.home.page("sql", query=first_rows(uri)))


def _show_files(directory: str, files: list[File] | None) -> None:
    with card("Output"):
        Text("p", directory, "mono name")
        if files is None:
            note("The files cannot be listed from here; they are in that folder.", "info")
            return
        with box("ul", "files"):
            for one in files[:MOST_FILES]:
                with box("li"):
                    link(one.name, one.href, "name", download=one.name)
                    Text("span", size(one.bytes), "soft")
        if len(files) > MOST_FILES:
            Text("p", f"and {len(files) - MOST_FILES} more", "soft")
