"""What a finished job wrote: first predictions, their distribution, failed rows, and the files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.files import File, folder_files
from rowcast.console.parts import Text, bars, box, card, drawn, link, note, size, table
from rowcast.console.results import Histogram, Row, histogram_of, read_rows
from rowcast.report.plots import histogram
from rowcast.report.words import count, number, percent

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


async def show_results(
    view: View, job: Json, place: Element, examples: Element | None, files_place: Element
) -> None:
    """Show the results of a finished job in the places made for them."""
    directory = job.get("outputInfo", {}).get("gcsOutputDirectory")
    if not directory:
        return
    name = job.get("rowcast", {}).get("outputName")
    own = {"predictions": name, "errors": f"errors_{name}"} if name else {}
    model, good, bad, files = await asyncio.gather(
        _model_facts(view, job),
        _look(view, f"{directory}/{own.get('predictions', 'predictions_*')}", LOOKED_AT),
        _look(view, f"{directory}/{own.get('errors', 'errors_*')}", EXAMPLES),
        folder_files(view.api, directory),
    )
    target, classes = model.get("targetColumn", ""), list(model.get("classes", []))
    if good and good.get("rows"):
        rows = read_rows(good, target, classes)
        with place:
            _show_distribution(histogram_of(good, rows, target, classes), good, classes)
            _show_first(rows, classes)
            _show_waterfall(rows, classes)
    if bad and bad.get("rows") and examples is not None:
        with examples:
            _show_failed(read_rows(bad, target, classes))
    with files_place:
        _show_files(directory, files)


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
    config = {"gcsSource": {"uri": [uri]}}
    body = {"inputConfig": config, "rowCount": rows}
    try:
        return await view.api.post(f"{view.home.parent}/datasets:preview", body)
    except ApiError:
        return None


def _show_distribution(found: Histogram, preview: Json, classes: list[str]) -> None:
    looked = count(sum(found.counts))
    hint = "" if preview.get("complete") else f"the first {looked} rows"
    with card("Scores" if classes else "Values", hint=hint), box("div", "side even"):
        drawn(histogram(found.label, found.label, found.edges, found.counts))
        if not classes:
            return
        with box("div"):
            Text("h3", "Threshold")
            said = Text("p", "", "big-words")

            def tell(threshold: float) -> None:
                share = found.above(threshold)
                said.text = f"{percent(share)} of the rows have a score of {threshold:.2f} or more."

            slider = ui.slider(min=0, max=1, step=0.01, value=0.5)
            slider.props("label switch-label-side")
            slider.props["aria-label"] = "Threshold on the score"
            slider.on_value_change(lambda event: tell(event.value))
            tell(0.5)


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


def _show_waterfall(rows: list[Row], classes: list[str]) -> None:
    """Show what each feature adds to a row's output, for a row to choose."""
    explained = [row for row in rows if row.attributions]
    if not explained:
        return
    totals: dict[str, float] = {}
    for row in explained:
        for name, value in row.attributions.items():
            totals[name] = totals.get(name, 0.0) + abs(value) / len(explained)
    with box("div", "columns"):
        with card("What moves predictions", hint=f"mean size in {count(len(explained))} rows"):
            most = max(totals.values(), default=0.0) or 1.0
            ranked = sorted(totals.items(), key=lambda item: -item[1])[:MOST_FEATURES]
            bars([(name, value / most, number(value)) for name, value in ranked])
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
