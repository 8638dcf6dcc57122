"""The form that starts a batch prediction job."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.browse import choose_file, choose_folder
from rowcast.console.job import request_of
from rowcast.console.parts import (
    Text,
    actions,
    box,
    button,
    card,
    empty,
    fault,
    heading,
    link,
    note,
    size,
    table,
    told,
    whole,
)
from rowcast.console.places import last
from rowcast.console.same_request import as_curl, job_in_python, job_in_shell, shown_in_tabs
from rowcast.report.words import count, percent, plural, seconds

if TYPE_CHECKING:
    from nicegui.elements.mixins.value_element import ValueElement

    from rowcast.console.api import Json
    from rowcast.console.frame import Site, View

TABLE = "bq://"
FORMATS = {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}
ENDINGS = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "parquet": "parquet"}
NO_CSV = "CSV has no place for attributions: choose JSON lines or Parquet, or have them as columns."
EXPLAINED = "Adds to every row how much each feature moved its prediction. Takes longer."


def register(site: Site) -> None:
    """Add the page."""
    site.add(
        "/locations/{location}/batch-predictions/new",
        "New batch inference",
        "batch-predictions",
        show,
    )


async def show(view: View) -> None:
    """Build the page."""
    with box("div", "page-head"), box("div"):
        with box("p", "crumbs"):
            link("Batch inference", view.home.page("batch-predictions"))
        heading("New batch inference")
    models = await view.api.all("models")
    if not models:
        with card():
            empty(
                "There is no model to score with",
                "Train one from a table, or import one that was trained elsewhere.",
                ("Train a model", view.home.page("training", "new")),
                icon="model_training",
            )
        return
    form = _Form(view, models, await _pattern(view))
    await form.build()


async def _pattern(view: View) -> Json:
    """The request that the form begins with: that of another job, or none."""
    for verb in ("clone", "retry"):
        if id_ := view.asked(verb):
            job = await view.api.get(f"{view.home.parent}/batchPredictionJobs/{id_}")
            body = request_of(job)
            body["displayName"] = f"{body.get('displayName', '')[:110]} ({verb})"
            if verb == "retry":
                body.pop("inputConfig", None)
                body["rowcast"] = {"retryOf": job["name"]}
            else:
                body.get("rowcast", {}).pop("retryOf", None)
            return body
    model = view.asked("model")
    source = view.asked("source")
    config = {"inputConfig": {"gcsSource": {"uris": [source]}}} if source else {}
    return {**({"model": model} if model else {}), **config}


def format_of(uri: str) -> str:
    """Tell a format from a name; empty if the name does not tell."""
    name = uri.rsplit("/", 1)[-1].lower().removesuffix(".gz").removesuffix(".zst")
    return ENDINGS.get(name.rpartition(".")[2], "")


class _Form:
    def __init__(self, view: View, models: list[Json], pattern: Json) -> None:
        self._view = view
        self._models = {last(model["name"]): model for model in models}
        self._pattern = pattern
        self._source: ui.textarea | None = None
        self._is_retry = bool(pattern.get("rowcast", {}).get("retryOf"))

    async def build(self) -> None:
        with box("div", "side"):
            with box("div"):
                with card(classes="form"):
                    await self._fields()
                self._answer = box("div")
                with actions():
                    self._check = button("Check", self._try)
                    self._create = button("Create", self._start, kind="main")
            with card("The same request elsewhere"):
                Text("p", "What this form would send, to copy.", "soft")
                self._same = box("div", "above")
        self._changed()

    async def _fields(self) -> None:
        body = self._pattern
        asked = last(body.get("model", "")).partition("@")
        chosen = asked[0] if asked[0] in self._models else next(iter(self._models))
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        self._name = ui.input(
            "Name", value=body.get("displayName") or f"{self._title(chosen)} {stamp}"
        ).props("outlined maxlength=128")
        with box("div", "two"):
            self._model = ui.select(
                {id_: self._title(id_) for id_ in self._models},
                label="Model",
                value=chosen,
                with_input=len(self._models) > 12,
                on_change=self._model_changed,
            ).props("outlined")
            self._version = ui.select({"": "Default version"}, label="Version", value="").props(
                "outlined"
            )
        await self._load_versions(asked[2])
        Text("h2", "Source")
        if self._is_retry:
            note(
                "The rows that failed are scored again. They are read from the errors files of "
                "that job; mend them there first if the rows themselves are at fault.",
                "info",
            )
        else:
            self._source_fields()
        Text("h2", "Output")
        self._output_fields()
        Text("h2", "Resources")
        self._resource_fields()
        fields: tuple[ValueElement[Any], ...] = (
            self._name,
            self._version,
            self._format,
            self._destination,
            self._explain,
            self._as_columns,
            self._replicas,
            self._batch,
        )
        for field in fields:
            field.on_value_change(self._changed)

    def _source_fields(self) -> None:
        config = self._pattern.get("inputConfig", {})
        uris = config.get("gcsSource", {}).get("uris", [])
        table_uri = config.get("bigquerySource", {}).get("inputUri", "")
        with box("div", "pick-row"):
            self._source = ui.textarea(
                "Path or table", value=table_uri or "\n".join(uris), on_change=self._source_changed
            ).props("outlined autogrow debounce=300")
            button("Browse", self._browse_source, icon="folder_open")
        Text(
            "p",
            "gs://bucket/file.csv, or patterns such as gs://bucket/in/*.csv, one a line; or a "
            "table: bq://project.dataset.table",
            "hint below",
        )
        known = config.get("instancesFormat")
        self._input = ui.select(
            FORMATS,
            label="Input format",
            value=known if known in FORMATS else format_of(uris[0] if uris else "") or "csv",
            on_change=self._changed,
        ).props("outlined")

    def _output_fields(self) -> None:
        config = self._pattern.get("outputConfig", {})
        with box("div", "pick-row"):
            self._destination = ui.input(
                "Destination",
                value=config.get("gcsDestination", {}).get("outputUriPrefix")
                or config.get("bigqueryDestination", {}).get("outputUri")
                or "",
            ).props("outlined debounce=300")
            button("Browse", self._browse_destination, icon="folder_open")
        Text(
            "p",
            "gs://bucket/scores, in which a new folder is made; or a dataset: bq://project.dataset",
            "hint below",
        )
        wanted = config.get("predictionsFormat")
        self._format = ui.select(
            FORMATS, label="Output format", value=wanted if wanted in FORMATS else "csv"
        ).props("outlined")
        with box("div", "switch-row"):
            self._explain = ui.switch(
                "Enable feature attributions for this model",
                value=bool(self._pattern.get("generateExplanation")),
            )
            self._why = Text("p", EXPLAINED, "hint")
            self._as_columns = ui.switch(
                "Write attributions as columns of the CSV",
                value=bool(self._pattern.get("rowcast", {}).get("attributionColumns")),
            )

    def _resource_fields(self) -> None:
        resources = self._pattern.get("dedicatedResources", {})
        tuning = self._pattern.get("manualBatchTuningParameters", {})
        with box("div", "two"):
            self._replicas = ui.number(
                "Most replicas", value=resources.get("maxReplicaCount"), min=1, precision=0
            ).props('outlined clearable hint="Processes that work side by side"')
            self._batch = ui.number(
                "Batch size", value=tuning.get("batchSize"), min=1, precision=0
            ).props('outlined clearable hint="Rows scored together"')

    # What was chosen

    def _title(self, id_: str) -> str:
        shown = str(self._models[id_].get("displayName") or id_)
        names = [model.get("displayName") for model in self._models.values()]
        return shown if names.count(shown) < 2 else f"{shown} ({id_})"

    async def _model_changed(self) -> None:
        await self._load_versions("")
        self._changed()

    async def _load_versions(self, wanted: str) -> None:
        name = self._models[self._model.value]["name"]
        found = await self._view.api.get(f"{name}:listVersions")
        options = {"": "Default version"}
        for version in found.get("models", []):
            aliases = ", ".join(version.get("versionAliases", []))
            id_ = version["versionId"]
            options[id_] = f"Version {id_}" + (f" ({aliases})" if aliases else "")
        self._version.set_options(options, value=wanted if wanted in options else "")

    def _source_changed(self) -> None:
        first = self._sources()[:1]
        if first and (told_by_name := format_of(first[0])):
            self._input.value = told_by_name
        self._changed()

    def _sources(self) -> list[str]:
        text = self._source.value if self._source is not None else ""
        return [line.strip() for line in (text or "").splitlines() if line.strip()]

    def _changed(self) -> None:
        to_table = self._destination.value.startswith(TABLE)
        self._format.set_visibility(not to_table)
        if self._source is not None:
            from_table = any(uri.startswith(TABLE) for uri in self._sources())
            self._input.set_visibility(not from_table)
        csv = self._format.value == "csv" and not to_table
        as_columns = bool(csv and self._as_columns.value)
        self._why.text = NO_CSV if csv and not as_columns else EXPLAINED
        self._as_columns.set_visibility(csv)
        if csv and self._explain.value != as_columns:
            self._explain.value = as_columns
        self._explain.set_enabled(not csv)
        self._answer.clear()
        self._same.clear()
        body, parent = self._body(), self._view.home.parent
        server = str(self._view.request.base_url).rstrip("/")
        with self._same:
            shown_in_tabs(
                {
                    "REST": as_curl(body, parent, "batchPredictionJobs", server),
                    "Python": job_in_python(body, server),
                    "Command line": job_in_shell(body, server),
                }
            )

    def _body(self) -> Json:
        """The request that the form stands for; what it has no field for is kept as it was."""
        body: Json = {key: value for key, value in self._pattern.items() if key not in ("model",)}
        version = self._version.value
        body["displayName"] = self._name.value.strip()
        body["model"] = f"{self._model.value}@{version}" if version else self._model.value
        if not self._is_retry:
            body["inputConfig"] = self._input_config()
        body["outputConfig"] = self._output_config()
        body["generateExplanation"] = bool(self._explain.value)
        if not self._explain.value:
            body.pop("generateExplanation")
        own = {k: v for k, v in body.pop("rowcast", {}).items() if k != "attributionColumns"}
        if self._as_columns.value and self._explain.value and self._format.value == "csv":
            own["attributionColumns"] = True
        if own:
            body["rowcast"] = own
        body.pop("dedicatedResources", None)
        body.pop("manualBatchTuningParameters", None)
        if self._replicas.value:
            most = int(self._replicas.value)
            body["dedicatedResources"] = {
                "machineSpec": {"machineType": "local"},
                "startingReplicaCount": 1,
                "maxReplicaCount": most,
            }
        if self._batch.value:
            body["manualBatchTuningParameters"] = {"batchSize": int(self._batch.value)}
        return body

    def _input_config(self) -> Json:
        sources = self._sources()
        if len(sources) == 1 and sources[0].startswith(TABLE):
            return {"instancesFormat": "bigquery", "bigquerySource": {"inputUri": sources[0]}}
        return {"instancesFormat": self._input.value, "gcsSource": {"uris": sources}}

    def _output_config(self) -> Json:
        place = self._destination.value.strip()
        if place.startswith(TABLE):
            destination = {"outputUri": place}
            return {"predictionsFormat": "bigquery", "bigqueryDestination": destination}
        return {
            "predictionsFormat": self._format.value,
            "gcsDestination": {"outputUriPrefix": place},
        }

    # What to do

    async def _browse_source(self) -> None:
        if self._source is not None and (uri := await choose_file(self._view.api)):
            kept = self._sources()
            self._source.value = "\n".join([*kept, uri])

    async def _browse_destination(self) -> None:
        if uri := await choose_folder(self._view.api):
            self._destination.value = uri

    async def _try(self) -> None:
        """Ask what would happen."""
        self._check.props("loading")
        body = self._body()
        body["rowcast"] = {**body.get("rowcast", {}), "validateOnly": True}
        try:
            found = await self._post(body)
        except ApiError as error:
            self._say(error)
        else:
            report = found["rowcast"]["preflight"]
            self._answer.clear()
            with self._answer:
                _show_preflight(report)
        finally:
            self._check.props(remove="loading")

    async def _start(self) -> None:
        self._create.props("loading")
        try:
            job = await self._post(self._body())
        except ApiError as error:
            self._say(error)
            told("The job was not created.", good=False)
        else:
            ui.navigate.to(self._view.home.job(job["name"]))
        finally:
            self._create.props(remove="loading")

    async def _post(self, body: Json) -> Json:
        return await self._view.api.post(f"{self._view.home.parent}/batchPredictionJobs", body)

    def _say(self, error: ApiError) -> None:
        self._answer.clear()
        with self._answer:
            fault(error)


def _input_words(report: dict[str, Any]) -> str:
    if not report.get("inputBytes"):
        return "a table"
    return f"{plural(report.get('inputObjects', 0), 'object')}, {size(report['inputBytes'])}"


def _show_preflight(report: dict[str, Any]) -> None:
    rows, failed = report.get("estimatedRows", 0), report.get("estimatedFailedRows", 0)
    with card("What would happen", hint=f"from {count(report.get('sampledRows', 0))} sampled rows"):
        with box("div", "tiles flat"):
            for title, value in (
                ("Input", _input_words(report)),
                ("Rows", f"about {count(rows)}"),
                ("Would fail", f"about {count(failed)}" if failed else "none seen"),
                ("Time", f"about {seconds(report.get('estimatedSeconds', 0.0))}"),
            ):
                with box("div"):
                    Text("h3", title, "soft")
                    Text("strong", value)
        if factor := report.get("explanationCostFactor"):
            note(f"With attributions, scoring takes about {factor:g} times as long.", "info")
        for one in report.get("objectFailures", []):
            note(one.get("message", ""), "warn")
        errors = report.get("errors", [])
        if errors:
            Text("h3", "Rows that would fail", "above")
            table(
                ("Cause", "In the sample", "For example"),
                [
                    (one["cause"], whole(one["count"]), (one.get("examples") or [""])[0])
                    for one in errors
                ],
            )
        for one in report.get("drift", {}).get("warnings", []):
            note(one.get("message", ""))
        odd = [
            (
                one["name"],
                percent(one.get("nullRate", 0)),
                percent(one.get("unseenCategoryRate", 0)),
            )
            for one in report.get("features", [])
            if one.get("nullRate") or one.get("unseenCategoryRate")
        ]
        if odd:
            Text("h3", "Missing and unknown values", "above")
            table(("Feature", "Missing", "Unknown category"), odd, classes="numbers")
        if extra := report.get("extraColumns"):
            Text("p", f"Passed through, not read by the model: {', '.join(extra)}.", "soft above")
        if not errors and not odd and not report.get("objectFailures"):
            note("Nothing stands in the way.", "good")
