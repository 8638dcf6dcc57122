"""One model: how good it is, its versions, the jobs that used it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.evaluation import show_evaluation
from rowcast.console.jobs import output_place
from rowcast.console.parts import (
    STATES,
    Text,
    actions,
    ago,
    box,
    button,
    card,
    confirmed,
    facts,
    go,
    lasted,
    link,
    moment,
    note,
    plain_state,
    table,
    told,
    whole,
)
from rowcast.console.places import FORWARD, last
from rowcast.report.words import count, day, number

if TYPE_CHECKING:
    from nicegui.events import ValueChangeEventArguments

    from rowcast.console.api import Json
    from rowcast.console.frame import Site, View

TABS = {
    "evaluate": "Evaluate",
    "batch": "Batch predictions",
    "versions": "Versions",
    "details": "Details",
}
MOST_JOBS = 100


def register(site: Site) -> None:
    """Add the page."""
    site.add("/locations/{location}/models/{model}", "Model", "models", show)


async def show(view: View) -> None:
    """Build the page."""
    asked = view.word("model")
    model = await view.api.get(f"{view.home.parent}/models/{asked}")
    page = _Model(view, model)
    page.head()
    chosen = view.asked("tab") if view.asked("tab") in TABS else "evaluate"
    with ui.tabs(on_change=page.keep_tab).props("align=left").classes("tabs-line") as tabs:
        made = {id_: ui.tab(id_, label=title) for id_, title in TABS.items()}
    with ui.tab_panels(tabs, value=made[chosen]).props("keep-alive").classes("panels"):
        for id_, build in (
            ("evaluate", page.evaluate),
            ("batch", page.batch),
            ("versions", page.versions),
            ("details", page.details),
        ):
            with ui.tab_panel(made[id_]), box("div"):
                await build()


class _Model:
    def __init__(self, view: View, model: Json) -> None:
        self._view = view
        self._model = model
        self._plain = model["name"].partition("@")[0]
        self._version = model["versionId"]
        self._own = model.get("rowcast", {})

    @property
    def _full(self) -> str:
        return f"{self._plain}@{self._version}"

    def head(self) -> None:
        """Show the name, and what to do with the model."""
        home, model = self._view.home, self._model
        with box("div", "page-head"):
            with box("div"):
                with box("p", "crumbs"):
                    link("Models", home.page("models"))
                with box("div", "title-row"):
                    Text("h1", model.get("displayName", ""), "name")
                    Text("span", f"version {self._version}", "tag")
                    for alias in model.get("versionAliases", []):
                        Text("span", alias, "tag one")
                kind = self._own.get("predictionType", "model")
                Text("p", f"{kind} of {self._own.get('targetColumn', '?')}", "lead name")
            with box("div", "actions"):
                named = f"{last(self._plain)}@{self._version}"
                go("New batch inference", home.page("batch-predictions", "new", model=named),
                   kind="main")  # fmt: skip
                report = go("Report", f"{FORWARD}/v1/{quote(self._full, safe='/@')}:report",
                            icon="download")  # fmt: skip
                report.props["download"] = f"{last(self._plain)}-{self._version}-report.html"
        if self._own.get("damaged"):
            note("The files of this version are not those that were saved.", "bad")
        for warning in self._own.get("warnings", []):
            note(warning)

    def keep_tab(self, event: ValueChangeEventArguments[Any]) -> None:
        """Have the address name the tab."""
        asked = self._view.word("model").partition("@")[2]
        ui.navigate.history.replace(self._view.home.model(self._plain, asked, tab=str(event.value)))

    async def evaluate(self) -> None:
        """Show how good the model is."""
        listed = await self._view.api.get(f"{self._full}/evaluations")
        found = listed.get("modelEvaluations", [])
        if not found:
            with card():
                Text("p", "This model was not measured here: it was imported without rows to "
                     "measure it on.", "soft")  # fmt: skip
            return
        evaluation, slices = await asyncio.gather(
            self._view.api.get(found[0]["name"]),
            self._view.api.get(f"{found[0]['name']}/slices", pageSize=1000),
        )
        show_evaluation(evaluation, slices.get("modelEvaluationSlices", []), self._own)

    async def batch(self) -> None:
        """Show the jobs that used the model."""
        home = self._view.home
        wanted = f'model_display_name="{_escaped(self._model.get("displayName", ""))}"'
        jobs, _ = await self._view.api.page(
            "batchPredictionJobs", filter=wanted, pageSize=MOST_JOBS
        )
        jobs = [job for job in jobs if job["model"] == self._plain]
        with card("Jobs that scored with it"):
            if not jobs:
                Text("p", "None yet.", "soft")
                return
            table(
                ("Name", "Version", "Status", "Rows", "Failed", "Elapsed", "Created", "Results"),
                [
                    (
                        (job["displayName"], home.job(job["name"])),
                        job.get("modelVersionId", ""),
                        STATES.get(plain_state(job["state"]), ("?", ""))[0],
                        count(whole(job.get("completionStats", {}).get("successfulCount"))),
                        count(whole(job.get("completionStats", {}).get("failedCount"))),
                        lasted(job),
                        ago(job.get("createTime")),
                        output_place(job),
                    )
                    for job in jobs
                ],
                label="Jobs",
            )

    async def versions(self) -> None:
        """Show all versions, and let the user move aliases and delete."""
        found = await self._view.api.get(f"{self._plain}:listVersions", pageSize=1000)
        with card("Versions", hint="Jobs that name no version use the one with the alias default."):
            for one in found.get("models", []):
                self._version_line(one)
        with card("Delete the model"):
            Text("p", "All versions and their files. What jobs wrote stays.", "soft")
            with actions():
                button("Delete the model", self._delete, kind="danger")

    def _version_line(self, one: Json) -> None:
        version = one["versionId"]
        with box("div", "version"):
            with box("div", "title-row"):
                link(f"Version {version}", self._view.home.model(self._plain, version), "strong")
                for alias in one.get("versionAliases", []):
                    Text("span", alias, "tag one")
            said = moment(one.get("versionCreateTime"))
            if words := one.get("versionDescription"):
                said = f"{words} · {said}"
            Text("p", said, "soft name")
            with box("div", "inline-form"):
                alias = ui.input("Alias", placeholder="prod").props("outlined dense")

                async def give(field: ui.input = alias, version: str = version) -> None:
                    await self._change(version, [(field.value or "").strip()])

                button("Give", give)
                is_default = "default" in one.get("versionAliases", [])
                if not is_default:

                    async def make_default(version: str = version) -> None:
                        await self._change(version, ["default"])

                    async def remove(version: str = version) -> None:
                        await self._delete_version(version)

                    button("Make default", make_default)
                    button("Delete", remove, kind="danger")

    async def _change(self, version: str, aliases: list[str]) -> None:
        try:
            await self._view.api.post(
                f"{self._plain}@{version}:mergeVersionAliases", {"versionAliases": aliases}
            )
        except ApiError as error:
            told(str(error), good=False)
        else:
            self._again()

    async def _delete_version(self, version: str) -> None:
        if await confirmed(f"Delete version {version}?", "Its files are removed.", "Delete"):
            await self._remove(f"{self._plain}@{version}:deleteVersion")

    async def _delete(self) -> None:
        if await confirmed(
            f"Delete {self._model.get('displayName', 'this model')}?",
            "All of its versions and their files are removed. This cannot be undone.",
            "Delete the model",
        ):
            await self._remove(self._plain)

    async def _remove(self, name: str) -> None:
        try:
            await self._view.api.delete(name)
        except ApiError as error:
            told(str(error), good=False)
        else:
            if name == self._plain:
                ui.navigate.to(self._view.home.page("models"))
            else:
                self._again()

    def _again(self) -> None:
        ui.navigate.to(self._view.home.model(self._plain, tab="versions"))

    async def details(self) -> None:
        """Show what the model is made of."""
        model, own = self._model, self._own
        stats = model.get("dataStats", {})
        pipeline = model.get("trainingPipeline")
        with card("Details"):
            facts(
                [
                    ("Model id", last(self._plain)),
                    ("Description", model.get("description")),
                    ("Training", (last(pipeline), self._view.home.training(pipeline))
                     if pipeline else None),
                    ("Training rows", _rows(stats, "training")),
                    ("Validation rows", _rows(stats, "validation")),
                    ("Test rows", _rows(stats, "test")),
                    ("Classes", ", ".join(own.get("classes", [])[:50])),
                    ("Labels", [f"{k}: {v}" for k, v in model.get("labels", {}).items()]),
                    ("Created", moment(model.get("createTime"))),
                ]
            )  # fmt: skip
        baselines = {
            name: one.get("inputBaselines", [None])[0]
            for name, one in model.get("explanationSpec", {})
            .get("metadata", {})
            .get("inputs", {})
            .items()
        }
        with card("Columns that it reads"):
            table(
                ("Column", "Kind", "May be missing", "Usual value"),
                [
                    (
                        one["name"],
                        one.get("kind", ""),
                        "yes" if one.get("nullable") else "no",
                        _usual(one, baselines.get(one["name"])),
                    )
                    for one in own.get("features", [])
                ],
            )
        if dropped := own.get("droppedColumns"):
            with card("Columns that it does not use"):
                table(("Column", "Why"), list(dropped.items()))


def _usual(feature: Json, value: Any) -> str:
    """Write the value that a column has in the usual row; of moments, it is microseconds."""
    if value is None:
        return ""
    if feature.get("kind") == "timestamp" and isinstance(value, int | float):
        return day(value / 86_400e6)
    return number(value) if isinstance(value, int | float) else str(value)


def _rows(stats: Json, name: str) -> str:
    return count(whole(stats.get(f"{name}DataItemsCount"))) if stats else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
