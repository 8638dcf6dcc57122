"""One training: how far it is, what was tried, and the model that came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.parts import (
    Badge,
    Text,
    Tile,
    Watched,
    box,
    button,
    card,
    confirmed,
    facts,
    go,
    is_finished,
    lasted,
    link,
    meter,
    moment,
    note,
    plain_state,
    progress_bar,
    told,
)
from rowcast.console.places import last
from rowcast.console.same_request import as_curl, shown_in_tabs, training_in_python
from rowcast.report.words import count, number, percent, seconds

if TYPE_CHECKING:
    from rowcast.console.api import Json
    from rowcast.console.frame import Site, View

REFRESH_S = 1.0
OUTPUT_ONLY = frozenset(
    {"name", "state", "error", "createTime", "startTime", "endTime", "updateTime", "rowcast",
     "trainingTaskMetadata"}
)  # fmt: skip
STAGES = {
    "read": "Reading",
    "encode": "Encoding",
    "search": "Comparing",
    "candidate": "Comparing",
    "fit": "Fitting",
    "evaluate": "Measuring",
    "done": "Writing",
}


def register(site: Site) -> None:
    """Add the page."""
    site.add("/locations/{location}/training/{training}", "Training", "training", show)


async def show(view: View) -> None:
    """Build the page."""
    name = f"{view.home.parent}/trainingPipelines/{view.word('training')}"
    page = _Training(view, await view.api.get(name))
    page.build()
    page.show_state()
    ui.timer(REFRESH_S, page.refresh)


class _Training(Watched):
    def __init__(self, view: View, training: Json) -> None:
        super().__init__()
        self._view = view
        self._training = training

    @property
    def _finished(self) -> bool:
        return is_finished(self._training["state"])

    def build(self) -> None:
        """Make the parts."""
        training, home = self._training, self._view.home
        with box("div", "page-head"):
            with box("div"):
                with box("p", "crumbs"):
                    link("Training", home.page("training"))
                with box("div", "title-row"):
                    Text("h1", training.get("displayName", ""), "name")
                    self._badge = Badge(training["state"])
                target = training.get("trainingTaskInputs", {}).get("targetColumn", "")
                Text("p", f"predicts {target}", "lead name")
            self._actions = box("div", "actions")
        self._progress = box("div")
        with box("div", "tiles"):
            self._stage = Tile("Stage")
            self._done = Tile("Done")
            self._left = Tile("Time left")
            self._tried = Tile("Candidates tried")
        self._notes = box("div")
        self._board = box("div")
        self._details = box("div")
        with card("The same request elsewhere"):
            self._same = box("div")

    async def refresh(self) -> None:
        """Look at it again."""
        if self._told.get("gone") or (self._finished and self._told.get("ended")):
            return
        self._told["ended"] = self._finished
        try:
            self._training = await self._view.api.get(self._training["name"])
        except ApiError as error:
            self._told["gone"] = True
            with self._notes:
                note(str(error), "bad")
            return
        self.show_state()

    def show_state(self) -> None:
        """Show what the training says of itself."""
        training = self._training
        own, state = training.get("rowcast", {}), training["state"]
        self._badge.show(state)
        candidates = own.get("candidates", [])
        board = own.get("leaderboard", [])
        fraction = 1.0 if plain_state(state) == "SUCCEEDED" else own.get("fraction", 0.0)
        stage = own.get("stage", "")
        shown = STAGES.get(stage, stage.replace("_", " ").capitalize()) or "Waiting"
        self._stage.show("Finished" if self._finished else shown, own.get("message", "")[:90])
        self._done.show(percent(fraction, 0), f"{lasted(training)} so far")
        left = own.get("secondsLeft", 0.0)
        if self._finished:
            self._left.show(lasted(training), "from start to end", title="Elapsed")
        else:
            self._left.show(seconds(left) if left else "–", "of the budget")
        tried = len(board) or len(candidates)
        self._tried.show(str(tried) if tried else "–")
        self._part(self._progress, "bar", (fraction, state), lambda: self._show_bar(fraction))
        self._part(self._actions, "actions", state, self._show_actions)
        self._part(self._notes, "notes", (state, training.get("error")), self._show_notes)
        self._part(self._board, "board", (candidates, board), self._show_board)
        self._part(self._details, "details", state, self._show_details)
        self._part(self._same, "same", 1, self._show_same)

    def _show_bar(self, fraction: float) -> None:
        good = plain_state(self._training["state"]) == "SUCCEEDED"
        progress_bar("Training done", fraction, {"ok": fraction}, good=good)

    def _show_actions(self) -> None:
        home, made = self._view.home, self._training.get("modelToUpload", {})
        if made.get("name"):
            go("See the model", home.model(made["name"], made.get("versionId", "")), kind="main")
        go("Train again", home.page("training", "new", clone=last(self._training["name"])))
        if self._finished:
            button("Delete", self._delete, kind="danger")
        else:
            stop = button("Cancel", self._cancel, kind="danger")
            stop.set_enabled(plain_state(self._training["state"]) != "CANCELLING")

    async def _cancel(self) -> None:
        if not await confirmed(
            "Cancel this training?", "No model comes of it.", "Cancel the training"
        ):
            return
        try:
            await self._view.api.post(f"{self._training['name']}:cancel")
        except ApiError as error:
            told(str(error), good=False)
        await self.refresh()

    async def _delete(self) -> None:
        if not await confirmed(
            "Delete this training?", "It is forgotten. Its model stays.", "Delete the training"
        ):
            return
        try:
            await self._view.api.delete(self._training["name"])
        except ApiError as error:
            told(str(error), good=False)
        else:
            ui.navigate.to(self._view.home.page("training"))

    def _show_notes(self) -> None:
        state, error = plain_state(self._training["state"]), self._training.get("error")
        if state == "CANCELLED":
            note("This training was cancelled; no model came of it.", "info")
        elif error:
            note(error.get("message", ""), "bad")
        elif state in ("PENDING", "QUEUED"):
            note("It begins when those before it are done.", "info")

    def _show_board(self) -> None:
        own = self._training.get("rowcast", {})
        if board := own.get("leaderboard"):
            with card("Leaderboard", hint="less loss on rows held out is better"):
                _show_leaderboard(board)
        elif lines := own.get("candidates"):
            with (
                card("Tried so far", hint="the newest first"),
                box("ol", "log", aria_live="polite", reversed=True),
            ):
                for line in reversed(lines):
                    Text("li", line, "name")

    def _show_details(self) -> None:
        training, inputs = self._training, self._training.get("trainingTaskInputs", {})
        config = training.get("inputDataConfig", {})
        split = next((key for key in config if key.endswith("Split")), "")
        own = inputs.get("rowcast", {})
        budget = own.get("budgetSeconds")
        hours = inputs.get("trainBudgetMilliNodeHours")
        with card("Details"):
            facts(
                [
                    ("Training id", last(training["name"])),
                    ("Dataset id", config.get("datasetId")),
                    ("Kind", inputs.get("predictionType")),
                    ("Target", inputs.get("targetColumn")),
                    ("Objective", inputs.get("optimizationObjective") or "the usual one"),
                    ("Budget", seconds(budget) if budget
                     else f"{hours} milli node hours" if hours else None),
                    ("Exactly so many candidates", own.get("trials")),
                    ("Split", _split_words(split, config.get(split, {}))),
                    ("Weight", inputs.get("weightColumnName")),
                    ("Columns", [
                        f"{rule.get('columnName', '')}: {kind}"
                        for one in inputs.get("transformations", []) for kind, rule in one.items()
                    ]),
                    ("Created", moment(training.get("createTime"))),
                    ("Started", moment(training.get("startTime"))),
                    ("Ended", moment(training.get("endTime"))),
                ]
            )  # fmt: skip

    def _show_same(self) -> None:
        body = {k: v for k, v in self._training.items() if k not in OUTPUT_ONLY}
        model = body.get("modelToUpload", {})
        body["modelToUpload"] = {k: v for k, v in model.items() if k not in ("name", "versionId")}
        server = str(self._view.request.base_url).rstrip("/")
        shown_in_tabs(
            {
                "REST": as_curl(body, self._view.home.parent, "trainingPipelines", server),
                "Python": training_in_python(body),
                "Training as JSON": json.dumps(self._training, indent=2, ensure_ascii=False),
            }
        )


def _split_words(kind: str, split: Json) -> str:
    if not kind:
        return "80 %, 10 % and 10 % at random"
    shares = [split.get(f"{name}Fraction") for name in ("training", "validation", "test")]
    said = ", ".join(percent(share, 0) for share in shares if share is not None)
    words = {
        "fractionSplit": "at random",
        "predefinedSplit": "as a column says",
        "timestampSplit": "by time",
        "stratifiedSplit": "with the shares of a column",
    }.get(kind, kind)
    column = f" ({split['key']})" if split.get("key") else ""
    return f"{words}{column}" + (f": {said}" if said else "")


def _show_leaderboard(board: list[Json]) -> None:
    best = min((one["loss"] for one in board if one.get("loss") is not None), default=None)
    with box("div", "rows", tabindex="0"), box("table"):
        with box("thead"), box("tr"):
            for title in ("Candidate", "Loss", "Weight in the ensemble", "Rounds", "Note"):
                Text("th", title, scope="col")
        with box("tbody"):
            for one in board:
                with box("tr"):
                    loss = one.get("loss")
                    Text("td", one.get("name", ""), "name strong" if loss == best else "name")
                    Text("td", "–" if loss is None else number(loss))
                    with box("td"):
                        meter(one.get("weight", 0.0), percent(one.get("weight", 0.0)))
                    Text("td", count(one["rounds"]) if "rounds" in one else "–")
                    Text("td", one.get("note", ""), "name soft")
