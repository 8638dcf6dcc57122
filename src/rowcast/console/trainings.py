"""The list of training pipelines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.parts import (
    STATES,
    ago,
    box,
    card,
    empty,
    go,
    heading,
    is_finished,
    lasted,
    plain_state,
    stumbled,
)
from rowcast.report.words import percent

if TYPE_CHECKING:
    from rowcast.console.api import Json
    from rowcast.console.frame import Site, View

MOST = 200
REFRESH_S = 2.0
COLUMNS = (
    ("name", "Name"),
    ("state", "Status"),
    ("target", "Predicts"),
    ("done", "Done"),
    ("elapsed", "Elapsed"),
    ("created", "Created"),
)
NAME = """<q-td :props="props" class="main-cell"><a :href="props.row.href" class="name">
  {{ props.row.name }}</a></q-td>"""
STATE = """<q-td :props="props"><span :class="'badge ' + props.row.kind">
  {{ props.row.state }}</span></q-td>"""
PHONE_CARD = """<div class="row-card"><div class="title-row">
  <a :href="props.row.href" class="name strong">{{ props.row.name }}</a>
  <span :class="'badge ' + props.row.kind">{{ props.row.state }}</span></div>
  <div class="soft">predicts {{ props.row.target }} · {{ props.row.created }}</div></div>"""


def register(site: Site) -> None:
    """Add the page."""
    site.add("/locations/{location}/training", "Training", "training", show)


async def show(view: View) -> None:
    """Build the page."""
    home = view.home
    with box("div", "page-head"):
        with box("div"):
            heading("Training", under="Each training compares candidates and makes one model.")
        with box("div", "actions"):
            go("Train a model", home.page("training", "new"), kind="main", icon="add")
    found, _ = await view.api.page("trainingPipelines", pageSize=MOST)
    if not found:
        with card():
            empty(
                "Nothing was trained yet",
                "Name a table and the column to predict. Columns are understood by their content, "
                "candidates are compared on rows held out, and the best become one model, all "
                "within the time you give.",
                ("Train a model", home.page("training", "new")),
                ("Bring data", home.page("data")),
                icon="model_training",
            )
        return
    with card(classes="flush"):
        table = ui.table(
            rows=[_row(one, view) for one in found],
            columns=[
                {"name": name, "label": title, "field": name, "align": "left"}
                for name, title in COLUMNS
            ],
            row_key="id",
            pagination=0,
        ).props('flat hide-pagination :grid="Quasar.Screen.lt.sm"')
        table.props["aria-label"] = "Trainings"
        table.add_slot("body-cell-name", NAME)
        table.add_slot("body-cell-state", STATE)
        table.add_slot("item", PHONE_CARD)

    async def refresh() -> None:
        try:
            now, _ = await view.api.page("trainingPipelines", pageSize=MOST)
        except ApiError as error:
            stumbled(error)
            return
        rows = [_row(one, view) for one in now]
        if rows != table.rows:
            table.rows = rows

    ui.timer(REFRESH_S, refresh, immediate=False)


def _row(one: Json, view: View) -> dict[str, Any]:
    word, kind = STATES.get(plain_state(one["state"]), (one["state"], "off"))
    fraction = one.get("rowcast", {}).get("fraction", 0.0)
    return {
        "id": one["name"],
        "href": view.home.training(one["name"]),
        "name": one.get("displayName", ""),
        "state": word,
        "kind": kind,
        "target": one.get("trainingTaskInputs", {}).get("targetColumn", ""),
        "done": "" if is_finished(one["state"]) else percent(fraction, 0),
        "elapsed": lasted(one),
        "created": ago(one.get("createTime")),
    }
