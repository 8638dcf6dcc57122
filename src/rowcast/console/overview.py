"""The first page: what runs, what was done last, and how to begin."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nicegui import ui

from rowcast.console.api import FORBIDDEN, ApiError
from rowcast.console.parts import (
    Badge,
    Text,
    ago,
    box,
    card,
    go,
    heading,
    is_finished,
    link,
    stumbled,
    whole,
)
from rowcast.console.places import last
from rowcast.report.words import count, percent

if TYPE_CHECKING:
    from rowcast.console.api import Api, Json
    from rowcast.console.frame import Site, View

SHOWN = 8
REFRESH_S = 3.0


def register(site: Site) -> None:
    """Add the page."""
    site.add("/", "Overview", "", show)


async def show(view: View) -> None:
    """Build the page."""
    with box("div", "page-head"):
        with box("div"):
            heading(
                "Overview",
                under="Train models on tables, score tables in batch jobs, and see what they do.",
            )
        with box("div", "actions"):
            go("New batch inference", view.home.page("batch-predictions", "new"), kind="main")
            go("Train a model", view.home.page("training", "new"))
    page = _Overview(view)
    await page.refresh()

    async def again() -> None:
        try:
            await page.refresh()
        except ApiError as error:
            stumbled(error)

    ui.timer(REFRESH_S, again, immediate=False)


class _Overview:
    def __init__(self, view: View) -> None:
        self._view = view
        self._seen: object = None
        self._place = box("div")

    async def refresh(self) -> None:
        api = self._view.api
        jobs, trainings, models = await asyncio.gather(
            _newest(api, "batchPredictionJobs"),
            _newest(api, "trainingPipelines"),
            _newest(api, "models"),
        )
        if (seen := (jobs, trainings, models)) == self._seen:
            return
        self._seen = seen
        self._place.clear()
        with self._place:
            if not models:
                self._begin()
            with box("div", "columns"):
                self._jobs(jobs)
                with box("div"):
                    self._trainings(trainings)
                    self._models(models)

    def _begin(self) -> None:
        home = self._view.home
        with card("How to begin"), box("ol", "steps"):
            for title, words, href, action in (
                ("Bring data", "A CSV, JSON lines or Parquet file with a column to predict.",
                 home.page("data"), "Upload a file"),
                ("Train a model", "Choose the column to predict; the rest is done within a budget.",
                 home.page("training", "new"), "Train"),
                ("Score a table", "Each row gets a prediction, or says why it has none.",
                 home.page("batch-predictions", "new"), "New batch inference"),
            ):  # fmt: skip
                with box("li"):
                    Text("strong", title)
                    Text("p", words, "soft")
                    link(action, href)

    def _jobs(self, jobs: list[Json]) -> None:
        home = self._view.home
        with card("Batch inference"):
            for job in jobs:
                stats = job.get("completionStats", {})
                done, failed = whole(stats.get("successfulCount")), whole(stats.get("failedCount"))
                said = f"{count(done)} rows scored" + (f", {count(failed)} failed" * bool(failed))
                _line(job, home.job(job["name"]), said)
            _more(jobs, "No job has run yet.", home.page("batch-predictions"), "All jobs")

    def _trainings(self, trainings: list[Json]) -> None:
        home = self._view.home
        with card("Training"):
            for training in trainings[:4]:
                own = training.get("rowcast", {})
                running = not is_finished(training["state"])
                said = f"{percent(own.get('fraction', 0.0), 0)} done" if running else ""
                target = training.get("trainingTaskInputs", {}).get("targetColumn", "")
                said = f"predicts {target}" + (f", {said}" if said else "")
                _line(training, home.training(training["name"]), said)
            _more(trainings, "Nothing was trained yet.", home.page("training"), "All trainings")

    def _models(self, models: list[Json]) -> None:
        home = self._view.home
        with card("Models"):
            for model in models[:4]:
                with box("div", "line"):
                    link(model.get("displayName", last(model["name"])), home.model(model["name"]),
                         "name strong")  # fmt: skip
                    own = model.get("rowcast", {})
                    said = f"{own.get('predictionType', 'model')} of {own.get('targetColumn', '?')}"
                    Text("span", f"version {model['versionId']} · {said}", "soft name")
            _more(models, "There is no model yet.", home.page("models"), "All models")


async def _newest(api: Api, collection: str) -> list[Json]:
    """Get the newest of a kind; none of those that the user may not see."""
    try:
        return (await api.page(collection, pageSize=SHOWN))[0]
    except ApiError as error:
        if error.code != FORBIDDEN:
            raise
        return []


def _line(resource: Json, href: str, said: str) -> None:
    with box("div", "line"):
        with box("div", "title-row"):
            link(resource.get("displayName", ""), href, "name strong")
            Badge(resource["state"])
        Text("span", f"{said} · {ago(resource.get('createTime'))}", "soft name")


def _more(found: list[Json], nothing: str, href: str, title: str) -> None:
    if not found:
        Text("p", nothing, "soft")
    else:
        with box("p", "more"):
            link(title, href)
