"""The list of batch prediction jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.parts import (
    STATES,
    Text,
    ago,
    box,
    button,
    card,
    empty,
    go,
    heading,
    is_finished,
    lasted,
    plain_state,
    stumbled,
    whole,
)
from rowcast.console.places import last
from rowcast.report.words import count

if TYPE_CHECKING:
    from rowcast.console.api import Api, Json
    from rowcast.console.frame import Site, View

PAGE = 25
REFRESH_S = 2.0
COLUMNS = (
    ("name", "Name"),
    ("state", "Status"),
    ("model", "Model"),
    ("rows", "Rows scored"),
    ("failed", "Failed"),
    ("elapsed", "Elapsed"),
    ("created", "Created"),
    ("input", "Input"),
    ("output", "Export location"),
)
NUMBERS = frozenset({"rows", "failed", "elapsed"})
CELLS = {
    "name": """<q-td :props="props" class="main-cell"><a :href="props.row.href" class="name">
        {{ props.row.name }}</a></q-td>""",
    "state": """<q-td :props="props"><span :class="'badge ' + props.row.kind">
        {{ props.row.state }}</span></q-td>""",
    "model": """<q-td :props="props"><a :href="props.row.modelHref" class="name">
        {{ props.row.model }}</a><small>version {{ props.row.version }}</small></q-td>""",
    "failed": """<q-td :props="props"><span :class="props.row.anyFailed ? 'bad-text' : ''">
        {{ props.row.failed }}</span></q-td>""",
    "input": """<q-td :props="props"><span class="place" :title="props.row.input">
        {{ props.row.input }}</span></q-td>""",
    "output": """<q-td :props="props"><span class="place" :title="props.row.output">
        {{ props.row.output }}</span></q-td>""",
}
"""How cells are shown. Vue puts values in as text, and as attributes that it escapes."""
PHONE_CARD = """<div class="row-card"><div class="title-row">
  <a :href="props.row.href" class="name strong">{{ props.row.name }}</a>
  <span :class="'badge ' + props.row.kind">{{ props.row.state }}</span></div>
  <div class="soft">{{ props.row.model }} · {{ props.row.rows }} rows,
  {{ props.row.failed }} failed · {{ props.row.created }}</div></div>"""


def register(site: Site) -> None:
    """Add the page."""
    site.add(
        "/locations/{location}/batch-predictions", "Batch inference", "batch-predictions", show
    )


async def show(view: View) -> None:
    """Build the page."""
    with box("div", "page-head"):
        with box("div"):
            heading("Batch inference", under="Jobs that score tables, the newest first.")
        with box("div", "actions"):
            go(
                "New batch inference",
                view.home.page("batch-predictions", "new"),
                kind="main",
                icon="add",
            )
    page = _Jobs(view)
    await page.build()
    ui.timer(REFRESH_S, page.refresh, immediate=False)


def filter_of(state: str, name: str, label: str) -> str:
    """Write the API's filter of what was chosen."""
    parts = []
    if state:
        parts.append(f'state="JOB_STATE_{state}"')
    if name:
        parts.append(f"display_name:{_quoted(f'*{name}*')}")
    if label:
        key, _, value = label.partition("=")
        parts.append(
            f"labels.{key.strip()}={_quoted(value.strip())}" if value else f"labels.{key}:*"
        )
    return " AND ".join(parts)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


class _Jobs:
    def __init__(self, view: View) -> None:
        self._view = view
        self._before: list[str] = []
        """Tokens of the pages before this one."""
        self._token = self._next = ""
        self._jobs: list[Json] = []
        self._names: dict[str, str] = {}
        """Display names of models; empty for those that are gone."""

    async def build(self) -> None:
        view = self._view
        if not (await view.api.page("batchPredictionJobs", pageSize=1))[0]:
            with card():
                empty(
                    "No batch inference yet",
                    "A batch inference job reads a table, scores every row with a model and writes "
                    "the predictions next to your data. Rows that cannot be scored are listed with "
                    "the reason; none gets lost.",
                    ("New batch inference", view.home.page("batch-predictions", "new")),
                    ("Train a model first", view.home.page("training", "new")),
                    icon="table_view",
                )
            return
        with card(classes="flush"):
            with box("div", "filters"):
                states = {"": "Any status"} | {key: word for key, (word, _) in STATES.items()}
                states.pop("PAUSED")
                self._state = ui.select(
                    states, label="Status", value=view.asked("status"), on_change=self._filter
                )
                self._name = ui.input("Name contains", value=view.asked("name"))
                self._label = ui.input("Label", value=view.asked("label"), placeholder="key=value")
                for field in (self._state, self._name, self._label):
                    field.props("outlined dense")
                for field in (self._name, self._label):
                    field.props("clearable debounce=350").on_value_change(self._filter)
            self._table = _table()
            self._nothing = Text("p", "No job is like that.", "soft nothing")
            with box("div", "pager"):
                self._where = Text("span", "", "soft")
                with box("div", "pager-buttons"):
                    self._back = button("Newer", self._newer)
                    self._on = button("Older", self._older)
        await self._load()

    async def refresh(self) -> None:
        """Look again, if anything on the page may have changed."""
        unfinished = any(not is_finished(job["state"]) for job in self._jobs)
        if self._jobs and (unfinished or not self._before):
            await self._load()

    async def _filter(self) -> None:
        chosen = {
            "status": self._state.value or "",
            "name": self._name.value or "",
            "label": self._label.value or "",
        }
        kept = {key: value for key, value in chosen.items() if value}
        ui.navigate.history.replace(self._view.home.page("batch-predictions", **kept))
        self._before, self._token = [], ""
        await self._load()

    async def _newer(self) -> None:
        self._token = self._before.pop()
        await self._load()

    async def _older(self) -> None:
        self._before.append(self._token)
        self._token = self._next
        await self._load()

    async def _load(self) -> None:
        wanted = filter_of(self._state.value or "", self._name.value or "", self._label.value or "")
        try:
            self._jobs, self._next = await self._view.api.page(
                "batchPredictionJobs", filter=wanted, pageSize=PAGE, pageToken=self._token
            )
        except ApiError as error:
            stumbled(error)
            return
        unknown = {last(job.get("model", "")) for job in self._jobs} - set(self._names)
        if unknown:
            self._names |= dict.fromkeys(unknown, "") | await model_names(self._view.api)
        names = {id_: name for id_, name in self._names.items() if name}
        rows = [_row(job, self._view, names) for job in self._jobs]
        if rows != self._table.rows:
            self._table.rows = rows
        first = len(self._before) * PAGE
        self._where.text = f"{first + 1} to {first + len(rows)}" if rows else ""
        self._nothing.set_visibility(not rows)
        self._back.set_enabled(bool(self._before))
        self._on.set_enabled(bool(self._next))


async def model_names(api: Api) -> dict[str, str]:
    """Display names of models by their ids; none if the user may not list them."""
    try:
        models = await api.all("models", readMask="name,displayName")
    except ApiError:
        return {}
    return {last(model["name"]): model.get("displayName", "") for model in models}


def _table() -> ui.table:
    columns = [
        {
            "name": name,
            "label": title,
            "field": name,
            "align": "right" if name in NUMBERS else "left",
        }
        for name, title in COLUMNS
    ]
    made = ui.table(rows=[], columns=columns, row_key="id", pagination=0)
    made.props('flat hide-pagination :grid="Quasar.Screen.lt.sm"')
    made.props["aria-label"] = "Batch prediction jobs"
    for name, template in CELLS.items():
        made.add_slot(f"body-cell-{name}", template)
    made.add_slot("item", PHONE_CARD)
    made.add_slot("no-data", "")
    return made


def _row(job: Json, view: View, names: dict[str, str]) -> dict[str, Any]:
    stats = job.get("completionStats", {})
    word, kind = STATES.get(plain_state(job["state"]), (job["state"], "off"))
    uris = job.get("inputConfig", {}).get("gcsSource", {}).get("uris", [])
    table = job.get("inputConfig", {}).get("bigquerySource", {}).get("inputUri", "")
    failed = whole(stats.get("failedCount"))
    return {
        "id": last(job["name"]),
        "href": view.home.job(job["name"]),
        "name": job.get("displayName", ""),
        "state": word,
        "kind": kind,
        "model": names.get(last(job.get("model", "")), last(job.get("model", ""))),
        "modelHref": view.home.model(job.get("model", ""), job.get("modelVersionId", "")),
        "version": job.get("modelVersionId", ""),
        "rows": count(whole(stats.get("successfulCount"))) if stats else "–",
        "failed": count(failed) if stats else "–",
        "anyFailed": bool(failed),
        "elapsed": lasted(job),
        "created": ago(job.get("createTime")),
        "input": table
        or (uris[0] + (f" +{len(uris) - 1}" if len(uris) > 1 else "") if uris else ""),
        "output": output_place(job),
    }


def output_place(job: Json) -> str:
    """Where a job's results are, or will be."""
    info, config = job.get("outputInfo", {}), job.get("outputConfig", {})
    return str(
        info.get("gcsOutputDirectory")
        or info.get("bigqueryOutputDataset")
        or config.get("gcsDestination", {}).get("outputUriPrefix")
        or config.get("bigqueryDestination", {}).get("outputUri")
        or ""
    )
