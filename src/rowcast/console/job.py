"""One batch prediction job: how it stands, what it wrote, and what to do with it."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING

from nicegui import ui

from rowcast.console import outcome
from rowcast.console.api import ApiError
from rowcast.console.jobs import output_place
from rowcast.console.parts import (
    Badge,
    Text,
    Tile,
    Watched,
    box,
    button,
    card,
    confirmed,
    drawn,
    elapsed,
    facts,
    go,
    is_finished,
    lasted,
    link,
    moment,
    note,
    plain_state,
    progress_bar,
    table,
    told,
    whole,
)
from rowcast.console.places import FORWARD, last
from rowcast.console.same_request import as_curl, job_in_python, job_in_shell, shown_in_tabs
from rowcast.report.markup import joined
from rowcast.report.plots import Axis, Line, around, figure, line_plot
from rowcast.report.words import count, percent, seconds, short

if TYPE_CHECKING:
    from rowcast.console.api import Json
    from rowcast.console.frame import Site, View

REFRESH_S = 1.0
GONE = 404
WINDOW_S = 15.0
"""The speed shown is that of the last so many seconds."""
MOST_POINTS = 600
MOST_FAILURES = 20
OUTPUT_ONLY = frozenset(
    {
        "name", "modelVersionId", "outputInfo", "state", "error", "partialFailures",
        "completionStats", "resourcesConsumed", "createTime", "startTime", "endTime", "updateTime",
    }
)  # fmt: skip


def register(site: Site) -> None:
    """Add the page."""
    site.add(
        "/locations/{location}/batch-predictions/{job}",
        "Batch inference",
        "batch-predictions",
        show,
    )


async def show(view: View) -> None:
    """Build the page."""
    name = f"{view.home.parent}/batchPredictionJobs/{view.word('job')}"
    page = _Job(view, await view.api.get(name))
    page.build()
    page.show_state()
    ui.timer(REFRESH_S, page.refresh)


def request_of(job: Json) -> Json:
    """The request that would start a job like this one."""
    kept = {key: value for key, value in job.items() if key not in OUTPUT_ONLY}
    own = {
        key: value
        for key, value in job.get("rowcast", {}).items()
        if key not in ("errorCauses", "drift", "summary", "preflight")
    }
    kept.pop("rowcast", None)
    version = job.get("modelVersionId")
    kept["model"] = f"{job['model'].partition('@')[0]}@{version}" if version else job["model"]
    return {**kept, **({"rowcast": own} if own else {})}


class Pace:
    """How fast rows are done, from looking again and again."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, float]] = deque()
        self.points: deque[tuple[float, float, float]] = deque(maxlen=MOST_POINTS)
        """Seconds since the start, rows per second, replicas."""

    def note(self, at_s: float, since_start_s: float, rows: int, replica_hours: float) -> None:
        """Take down how things are at a time."""
        self._seen.append((at_s, rows, replica_hours))
        while len(self._seen) > 2 and at_s - self._seen[0][0] > WINDOW_S:
            self._seen.popleft()
        if (now := self.now) is not None:
            self.points.append((since_start_s, *now))

    @property
    def now(self) -> tuple[float, float] | None:
        """Rows per second, and replicas at work."""
        if len(self._seen) < 2:
            return None
        (before, rows, hours), (after, more_rows, more_hours) = self._seen[0], self._seen[-1]
        if after <= before:
            return None
        past = after - before
        return (more_rows - rows) / past, max(0.0, (more_hours - hours) * 3600 / past)


class _Job(Watched):
    def __init__(self, view: View, job: Json) -> None:
        super().__init__()
        self._view = view
        self._job = job
        self._pace = Pace()

    @property
    def _finished(self) -> bool:
        return is_finished(self._job["state"])

    # The parts, once

    def build(self) -> None:
        job, home = self._job, self._view.home
        with box("div", "page-head"):
            with box("div"):
                with box("p", "crumbs"):
                    link("Batch inference", home.page("batch-predictions"))
                with box("div", "title-row"):
                    Text("h1", job.get("displayName", ""), "name")
                    self._badge = Badge(job["state"])
            self._actions = box("div", "actions")
        self._progress = box("div")
        with box("div", "tiles"):
            self._rows = Tile("Rows scored")
            self._failed = Tile("Failed")
            self._speed = Tile("Rows per second")
            self._left = Tile("Time left")
            self._replicas = Tile("Replicas")
        self._notes = box("div")
        self._graph = box("div")
        self._outcome = box("div")
        self._errors = box("div")
        self._drift = box("div")
        with box("div", "columns"):
            self._details = box("div")
            self._files = box("div")
        with card("The same request elsewhere"):
            self._same = box("div")

    async def refresh(self) -> None:
        """Look at the job again, and show what has changed."""
        if self._told.get("end"):
            return
        try:
            self._job = await self._view.api.get(self._job["name"])
        except ApiError as error:
            gone = str(error)
            self._part(self._notes, "notes", gone, lambda: note(gone, "bad"))
            self._told["end"] = error.code == GONE
            return
        self.show_state()
        if self._finished and not self._told.get("end"):
            self._told["end"] = True
            await self._show_results()

    def show_state(self) -> None:
        """Show what the job says of itself."""
        job = self._job
        self._badge.show(job["state"])
        self._show_numbers()
        self._part(self._actions, "actions", job["state"], self._show_actions)
        problems = [job.get("error"), job.get("partialFailures"), job["state"]]
        self._part(self._notes, "notes", problems, self._show_notes)
        self._part(self._errors, "errors", job.get("rowcast", {}).get("errorCauses"),
                   self._show_errors)  # fmt: skip
        self._part(self._drift, "drift", job.get("rowcast", {}).get("drift"), self._show_drift)
        self._part(self._details, "details", [job["state"], job.get("outputInfo")],
                   self._show_details)  # fmt: skip
        self._part(self._same, "same", job["state"], self._show_same)

    # Numbers

    def _show_numbers(self) -> None:
        job = self._job
        stats = job.get("completionStats", {})
        done, failed = whole(stats.get("successfulCount")), whole(stats.get("failedCount"))
        left = stats.get("incompleteCount")
        rows = done + failed
        total = rows + whole(left) if left is not None or self._finished else None
        past = elapsed(job)
        hours = job.get("resourcesConsumed", {}).get("replicaHours", 0.0)
        self._rows.show(count(done), f"of {count(total)}" if total is not None and total else "")
        self._failed.show(
            count(failed), percent(failed / rows) if rows else "", "bad" if failed else ""
        )
        if plain_state(job["state"]) == "RUNNING":
            self._pace.note(time.monotonic(), past, rows, hours)
        self._show_pace(rows, total, past, hours)
        shown = (done, failed, total, self._job["state"])
        self._part(self._progress, "bar", shown, lambda: self._show_bar(done, failed, total))

    def _show_pace(self, rows: int, total: int | None, past: float, hours: float) -> None:
        now = self._pace.now
        if self._finished:
            self._speed.show(count(rows / past) if rows else "–", "over the whole job")
            self._left.show(seconds(past) if past else "–", "from start to end", title="Elapsed")
            self._replicas.show(seconds(hours * 3600), "of all replicas", title="Time at work")
            return
        mean = rows / past if past else 0.0
        speed, replicas = now if now is not None else (mean, hours * 3600 / past if past else 0.0)
        self._speed.show(count(speed) if rows else "–", f"{count(mean)} on average" * bool(rows))
        remaining = (total - rows) / speed if total is not None and speed > 0 else None
        said = f"{lasted(self._job)} so far" if past else "not started yet"
        self._left.show("–" if remaining is None else seconds(remaining), said)
        self._replicas.show(f"{replicas:.0f}" if replicas else "–", "at work now")
        if len(self._pace.points) > 1:
            self._graph.clear()
            with self._graph, card("Pace"):
                _draw_pace(self._pace)

    def _show_bar(self, done: int, failed: int, total: int | None) -> None:
        if self._finished and not total:
            return
        of = max(1, total or 1)
        progress_bar(
            "Rows done",
            (done + failed) / total if total else 0.0,
            {"ok": done / of, "no": failed / of},
            good=plain_state(self._job["state"]) == "SUCCEEDED",
        )

    # What to do

    def _show_actions(self) -> None:
        home, id_ = self._view.home, last(self._job["name"])
        failed = whole(self._job.get("completionStats", {}).get("failedCount"))
        if not self._finished:
            stop = button("Cancel", self._cancel, kind="danger")
            stop.set_enabled(plain_state(self._job["state"]) != "CANCELLING")
        elif failed:
            go("Retry failed rows", home.page("batch-predictions", "new", retry=id_), kind="main")
        if self._finished:
            report = go("Report", f"{FORWARD}/v1/{self._job['name']}:report", icon="download")
            report.props["download"] = f"job-{id_}-report.html"
        go("Clone", home.page("batch-predictions", "new", clone=id_))
        if self._finished:
            button("Delete", self._delete, kind="danger")

    async def _cancel(self) -> None:
        if not await confirmed(
            "Cancel this job?",
            "What is done up to now is kept and published; the rest is not scored.",
            "Cancel the job",
        ):
            return
        try:
            await self._view.api.post(f"{self._job['name']}:cancel")
        except ApiError as error:
            told(str(error), good=False)
        await self.refresh()

    async def _delete(self) -> None:
        if not await confirmed(
            "Delete this job?",
            "The job is forgotten. What it wrote stays where it is.",
            "Delete the job",
        ):
            return
        try:
            await self._view.api.delete(self._job["name"])
        except ApiError as error:
            told(str(error), good=False)
        else:
            ui.navigate.to(self._view.home.page("batch-predictions"))

    # What there is to say

    def _show_notes(self) -> None:
        job = self._job
        if error := job.get("error"):
            kind = "info" if plain_state(job["state"]) == "CANCELLED" else "bad"
            words = error.get("message", "")
            if kind == "info":
                words = "This job was cancelled. The parts that were done before are kept."
            note(words, kind)
        failures = job.get("partialFailures", [])
        if failures:
            with box("div", "note warn"):
                Text("strong", "Some objects could not be read; all others were scored.")
                with box("ul"):
                    for one in failures[:MOST_FAILURES]:
                        Text("li", one.get("message", ""), "name")

    def _show_errors(self) -> None:
        causes = self._job.get("rowcast", {}).get("errorCauses", [])
        if not causes:
            return
        total = sum(whole(one["count"]) for one in causes)
        with card("Rows that failed, by cause", hint=f"{count(total)} rows"):
            table(
                ("Cause", "Rows", "Share"),
                [
                    (one["cause"], count(whole(one["count"])), percent(whole(one["count"]) / total))
                    for one in causes
                ],
                classes="numbers",
            )
            self._examples = box("div")

    def _show_drift(self) -> None:
        drift = self._job.get("rowcast", {}).get("drift")
        if drift is None:
            return
        rows = count(whole(drift.get("countedRows")))
        hint = f"{drift.get('featuresChecked', 0)} features, {rows} rows"
        with card("Compared with the training data", hint=hint):
            warnings = drift.get("warnings", [])
            for one in warnings:
                note(one.get("message", ""))
            if not warnings:
                note("This input looks like the data that the model was trained on.", "good")
            more = drift.get("warningCount", 0) - len(warnings)
            if more > 0:
                Text("p", f"{more} more are in _rowcast_drift.json in the output folder.", "soft")

    def _show_details(self) -> None:
        job, home = self._job, self._view.home
        config = job.get("inputConfig", {})
        version = job.get("modelVersionId", "")
        own = job.get("rowcast", {})
        model = f"{last(job['model'])}@{version}"
        with card("Details"):
            facts(
                [
                    ("Job id", last(job["name"])),
                    ("Model", (model, home.model(job["model"], version))),
                    ("Input", config.get("gcsSource", {}).get("uris")
                     or config.get("bigquerySource", {}).get("inputUri")),
                    ("Input format", config.get("instancesFormat")),
                    ("Export location", output_place(job)),
                    ("Output format", job.get("outputConfig", {}).get("predictionsFormat")),
                    ("Feature attributions", "yes" if job.get("generateExplanation") else "no"),
                    ("Batch size", job.get("manualBatchTuningParameters", {}).get("batchSize")),
                    ("Most replicas", job.get("dedicatedResources", {}).get("maxReplicaCount")),
                    ("Retry of", (last(own["retryOf"]), home.job(own["retryOf"]))
                     if own.get("retryOf") else None),
                    ("Labels", [f"{k}: {v}" for k, v in job.get("labels", {}).items()]),
                    ("Created", moment(job.get("createTime"))),
                    ("Started", moment(job.get("startTime"))),
                    ("Ended", moment(job.get("endTime"))),
                ]
            )  # fmt: skip

    def _show_same(self) -> None:
        body = request_of(self._job)
        url = self._view.request.base_url
        server = str(url).rstrip("/")
        shown_in_tabs(
            {
                "REST": as_curl(body, self._view.home.parent, "batchPredictionJobs", server),
                "Python": job_in_python(body, server),
                "Command line": job_in_shell(body, server),
                "Job as JSON": json.dumps(self._job, indent=2, ensure_ascii=False),
            }
        )

    # What it wrote

    async def _show_results(self) -> None:
        self._graph.clear()
        if len(self._pace.points) > 5:
            with self._graph, card("Pace", hint="while you watched"):
                _draw_pace(self._pace)
        with self._outcome:
            reading = Text("p", "Reading the results…", "soft", role="status")
        await outcome.show_results(
            self._view,
            self._job,
            self._outcome,
            getattr(self, "_examples", None),
            self._files,
        )
        reading.delete()


def _draw_pace(pace: Pace) -> None:
    at = [point[0] for point in pace.points]
    speeds = [point[1] for point in pace.points]
    replicas = [point[2] for point in pace.points]
    time_axis = around("Seconds since the start", at[0], at[-1])
    drawn(
        joined(
            figure(
                "Rows per second",
                line_plot(
                    "Rows per second over time",
                    time_axis,
                    Axis("Rows per second", 0.0, max(*speeds, 1.0) * 1.1, short),
                    [Line(at, speeds)],
                ),
            ),
            figure(
                "Replicas",
                line_plot(
                    "Replicas over time",
                    time_axis,
                    Axis("Replicas at work", 0.0, max(*replicas, 1.0) * 1.2, short),
                    [Line(at, replicas, "two")],
                ),
            ),
        )
    ).classes("figures")
