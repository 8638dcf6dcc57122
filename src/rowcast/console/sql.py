"""The SQL page: a query, its rows, and the rows as a file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nicegui import ui

from rowcast.console import tables
from rowcast.console.api import ApiError
from rowcast.console.parts import Text, actions, box, button, card, cut, fault, heading, link
from rowcast.report.words import count, seconds

if TYPE_CHECKING:
    from rowcast.console.frame import Site, View

PAGE = 100
MOST_SHOWN = 5000
EXAMPLE = "SELECT * FROM `dataset.table` LIMIT 100"


def register(site: Site) -> None:
    """Add the page."""
    site.add("/locations/{location}/sql", "SQL", "sql", show)


async def show(view: View) -> None:
    """Build the page."""
    with box("div", "page-head"), box("div"):
        heading("SQL", under="Ask the tables of the warehouse, in BigQuery's dialect.")
    page = _Sql(view)
    with box("div", "side"):
        with box("div"):
            page.build()
        await page.build_tables()
    if page.text:
        ui.timer(0.05, page.run, once=True)


class _Sql:
    def __init__(self, view: View) -> None:
        self._view = view
        self._answer: tables.Answer | None = None

    @property
    def text(self) -> str:
        """The query."""
        return (self._field.value or "").strip()

    def build(self) -> None:
        """Make the query's field, and the place of its rows."""
        with card():
            self._field = ui.textarea(
                "Query", value=self._view.asked("query"), placeholder=EXAMPLE
            ).props("outlined autogrow spellcheck=false input-class=mono")
            self._field.on("keydown.ctrl.enter", self.run)
            self._field.on("keydown.meta.enter", self.run)
            with actions():
                self._button = button("Run", self.run, kind="main")
                self._save = button("Download CSV", self._download, icon="download")
                self._save.set_enabled(False)
                Text("span", "Ctrl+Enter runs it. Only queries that read.", "hint")
        self._place = box("div")

    async def build_tables(self) -> None:
        """List the tables."""
        with card("Tables"):
            names = await tables.datasets(self._view.api)
            if not names:
                Text("p", "A table is named dataset.table, or project.dataset.table. To see what a "
                     "dataset has:", "soft")  # fmt: skip
                Text("p", "SELECT table_name FROM dataset.INFORMATION_SCHEMA.TABLES", "mono")
            for name in names:
                Text("h3", name, "above name")
                await self._tables_of(name)

    async def _tables_of(self, dataset: str) -> None:
        try:
            found = await tables.tables(self._view.api, dataset)
        except ApiError as error:
            Text("p", str(error), "hint")
            return
        for one in found:
            with box("div", "line"):
                text = tables.first_rows(f"{dataset}.{one}")
                link(one, self._view.home.page("sql", query=text), "name")

    async def run(self) -> None:
        """Run the query and show its rows."""
        if not self.text:
            return
        self._button.props("loading")
        self._save.set_enabled(False)
        self._place.clear()
        ui.navigate.history.replace(self._view.home.page("sql", query=self.text))
        began = time.monotonic()
        try:
            self._answer = await tables.query(self._view.api, self.text)
        except ApiError as error:
            with self._place:
                fault(error)
            return
        finally:
            self._button.props(remove="loading")
        self._save.set_enabled(True)
        with self._place:
            self._show(self._answer, time.monotonic() - began)

    def _show(self, answer: tables.Answer, took_s: float) -> None:
        rows = answer.table.num_rows
        said = f"{count(rows)} rows" if answer.whole else f"the first {count(rows)} rows"
        shown = min(rows, MOST_SHOWN)
        if shown < rows:
            said += f", {count(shown)} of them here"
        names = answer.table.column_names
        numbers = answer.numbers
        with card("Rows", hint=f"{said}, {seconds(took_s)}", classes="flush"):
            columns = [
                {"name": str(place), "label": name, "field": str(place), "sortable": True,
                 "align": "right" if numbers[place] else "left"}
                for place, name in enumerate(names)
            ]  # fmt: skip
            cells = [
                {"id": number, **{str(k): _cell(value) for k, value in enumerate(row)}}
                for number, row in enumerate(answer.rows(0, shown))
            ]
            grid = ui.table(rows=cells, columns=columns, row_key="id", pagination=PAGE)
            grid.props("flat dense").classes("grid-table").props["aria-label"] = "Rows"

    def _download(self) -> None:
        if self._answer is not None:
            ui.download.content(self._answer.as_csv(), "rows.csv", "text/csv")


def _cell(value: object) -> object:
    return cut(value) if isinstance(value, str) else value
