"""The form that starts a training."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nicegui import ui

from rowcast.console.api import ApiError
from rowcast.console.browse import choose_file
from rowcast.console.data import preview, show_distribution
from rowcast.console.parts import (
    Text,
    actions,
    box,
    button,
    card,
    fault,
    heading,
    link,
    note,
    told,
)
from rowcast.console.places import last
from rowcast.report.words import count, percent

if TYPE_CHECKING:
    from rowcast.console.api import Json
    from rowcast.console.frame import Site, View

DATASET_SCHEMA = "gs://google-cloud-aiplatform/schema/dataset/metadata/tabular_1.0.0.yaml"
TASK = "gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_tabular_1.0.0.yaml"
KINDS = {
    "auto": "As found",
    "numeric": "Number",
    "categorical": "Category",
    "timestamp": "Date or time",
    "text": "Text",
    "repeatedNumeric": "List of numbers",
    "repeatedCategorical": "List of categories",
    "repeatedText": "List of texts",
    "": "Not used",
}
PROBLEMS = {"classification": "A class", "regression": "A number"}
OBJECTIVES = {
    "maximize-au-roc": "Order of the scores (ROC AUC)",
    "minimize-log-loss": "Honest probabilities (log loss)",
    "maximize-au-prc": "Precision over all recalls (PR AUC)",
    "maximize-precision-at-recall": "Precision at a recall",
    "maximize-recall-at-precision": "Recall at a precision",
    "minimize-rmse": "Large errors count more (RMSE)",
    "minimize-mae": "All errors count alike (MAE)",
    "minimize-rmsle": "Errors in proportion (RMSLE)",
}
OF_TWO = tuple(OBJECTIVES)[:5]
OF_MORE = ("minimize-log-loss",)
OF_VALUES = tuple(OBJECTIVES)[5:]
VALUES = {
    "maximize-precision-at-recall": "optimizationObjectiveRecallValue",
    "maximize-recall-at-precision": "optimizationObjectivePrecisionValue",
}
SPLITS = {
    "": "At random",
    "predefined": "As a column says",
    "timestamp": "By time",
    "stratified": "With the shares of a column",
}
USUAL_MINUTES = 5
MOST_TO_ADJUST = 150
TWO = 2


def register(site: Site) -> None:
    """Add the page."""
    site.add("/locations/{location}/training/new", "Train a model", "training", show)


async def show(view: View) -> None:
    """Build the page."""
    with box("div", "page-head"), box("div"):
        with box("p", "crumbs"):
            link("Training", view.home.page("training"))
        heading("Train a model")
    form = _Form(view, await _pattern(view), await view.api.all("models"))
    await form.build()


async def _pattern(view: View) -> Json:
    """What the form begins with: another training, or a source."""
    if id_ := view.asked("clone"):
        found = await view.api.get(f"{view.home.parent}/trainingPipelines/{id_}")
        dataset_id = found.get("inputDataConfig", {}).get("datasetId", "")
        try:
            dataset = await view.api.get(f"{view.home.parent}/datasets/{dataset_id}")
        except ApiError:  # it may have been deleted since
            dataset = {}
        config = dataset.get("metadata", {}).get("inputConfig", {})
        table = config.get("bigquerySource", {}).get("uri")
        uris = [table] if table else config.get("gcsSource", {}).get("uri", [])
        return {**found, "uris": uris}
    source = view.asked("source")
    return {"uris": [source] if source else []}


class _Form:
    def __init__(self, view: View, pattern: Json, models: list[Json]) -> None:
        self._view = view
        self._pattern = pattern
        self._inputs = pattern.get("trainingTaskInputs", {})
        self._models = {last(one["name"]): one.get("displayName", "") for one in models}
        self._columns: list[Json] = []
        self._kinds: dict[str, ui.select] = {}
        self._classes = 0
        self._reading = False

    async def build(self) -> None:
        with card("1. The data", classes="form"):
            with box("div", "pick-row"):
                self._source = ui.textarea(
                    "Files or table", value="\n".join(self._pattern.get("uris", []))
                ).props("outlined autogrow")
                button("Browse", self._browse, icon="folder_open")
            Text("p", "gs://bucket/file.csv, patterns, one a line; or bq://project.dataset.table",
                 "hint below")  # fmt: skip
            with box("div"):
                self._look_button = button("Look at the data", self._look)
            self._found = box("div")
        self._rest = box("div")
        self._rest.set_visibility(False)
        with self._rest:
            self._build_target()
            self._column_place = box("div")
            self._build_budget()
            self._build_model()
            self._answer = box("div")
            with actions():
                self._start_button = button("Train", self._start, kind="main")
        if self._sources():
            ui.timer(0.05, self._look, once=True)

    def _build_target(self) -> None:
        with card("2. What to predict", classes="form"):
            with box("div", "two"):
                self._target = ui.select([], label="Column to predict", with_input=True)
                self._problem = ui.select(PROBLEMS, label="It is", value=None)
                self._objective = ui.select({"": "The usual one"}, label="Objective", value="")
                self._value = ui.number("At", min=0, max=1, step=0.01, value=0.8)
            for field in (self._target, self._problem, self._objective, self._value):
                field.props("outlined")
            self._value.set_visibility(False)
            self._target.on_value_change(self._target_changed)
            self._problem.on_value_change(self._problem_changed)
            self._objective.on_value_change(
                lambda: self._value.set_visibility(self._objective.value in VALUES)
            )
            self._said = box("div")

    def _build_budget(self) -> None:
        asked = self._inputs.get("rowcast", {}).get("budgetSeconds")
        with card("4. Time and split", classes="form"):
            with box("div", "two"):
                self._budget = ui.number(
                    "Time to spend",
                    value=asked / 60 if asked else USUAL_MINUTES,
                    min=0.05,
                    step=1,
                    suffix="minutes",
                )
                self._split = ui.select(
                    SPLITS, label="Rows for training, validation and test", value=""
                )
                self._key = ui.select([], label="Column that decides", with_input=True)
                self._weight = ui.select([], label="Weight of rows", with_input=True)
            for field in (self._budget, self._split, self._key):
                field.props("outlined")
            self._weight.props("outlined clearable")
            with box("div", "two"):
                self._shares = [
                    ui.number(title, min=0, max=100, value=value, suffix="%").props("outlined")
                    for title, value in (("Training", 80), ("Validation", 10), ("Test", 10))
                ]
            Text("p", "The measured model learns from training and validation rows and is measured "
                 "on test rows; the one that is served learns from all.", "hint")  # fmt: skip

            def show_key() -> None:
                self._key.set_visibility(bool(self._split.value))
                for field in self._shares:
                    field.set_visibility(self._split.value != "predefined")

            self._split.on_value_change(show_key)
            show_key()

    def _build_model(self) -> None:
        made = self._pattern.get("modelToUpload", {})
        with card("5. The model", classes="form"), box("div", "two"):
            options = {
                "": "A new model",
                **{k: f"A version of {v}" for k, v in self._models.items()},
            }
            parent = last(self._pattern.get("parentModel") or made.get("name", ""))
            self._parent = ui.select(
                options, label="It becomes", value=parent if parent in options else ""
            ).props("outlined")
            self._name = ui.input("Name", value=made.get("displayName", "")).props(
                "outlined maxlength=128"
            )
            self._description = ui.input(
                "What is different about it", value=made.get("versionDescription", "")
            ).props("outlined")
            self._default = ui.switch("Jobs that name no version are to use it", value=True)
            self._default.bind_visibility_from(self._parent, "value")

    # Looking at the data

    def _sources(self) -> list[str]:
        return [line.strip() for line in (self._source.value or "").splitlines() if line.strip()]

    async def _browse(self) -> None:
        if uri := await choose_file(self._view.api):
            self._source.value = "\n".join([*self._sources(), uri])
            await self._look()

    async def _look(self) -> None:
        self._look_button.props("loading")
        self._found.clear()
        try:
            found = await preview(self._view, self._sources())
        except ApiError as error:
            self._rest.set_visibility(False)
            with self._found:
                fault(error)
            return
        finally:
            self._look_button.props(remove="loading")
        self._columns = found.get("columns", [])
        names = [one["name"] for one in self._columns]
        more = "" if found.get("complete") else " at the beginning, and there are more"
        with self._found:
            said = f"{count(found.get('rowCount', 0))} rows and {count(len(names))} columns{more}."
            note(said, "good")
        for field in (self._target, self._key, self._weight):
            kept = field.value if field.value in names else None
            field.set_options(names, value=kept)
        self._fill_from_pattern(names)
        self._rest.set_visibility(True)
        self._show_columns()

    def _fill_from_pattern(self, names: list[str]) -> None:
        inputs, config = self._inputs, self._pattern.get("inputDataConfig", {})
        if inputs.get("targetColumn") in names and not self._target.value:
            self._target.value = inputs["targetColumn"]
        if inputs.get("weightColumnName") in names:
            self._weight.value = inputs["weightColumnName"]
        for kind in SPLITS:
            split = config.get(f"{kind}Split") if kind else None
            if split and split.get("key") in names:
                self._split.value = kind
                self._key.value = split["key"]

    def _show_columns(self) -> None:
        given = {
            rule.get("columnName"): kind
            for one in self._inputs.get("transformations", [])
            for kind, rule in one.items()
        }
        self._kinds = {}
        self._column_place.clear()
        with (
            self._column_place,
            card("3. The columns", hint="as they would be read; change what is wrong"),
            box("div", "rows", tabindex="0"),
            box("table", "column-table"),
        ):
            with box("thead"), box("tr"):
                for title in ("Column", "Found to be", "Read as", "Missing", "Values", ""):
                    Text("th", title, scope="col")
            with box("tbody"):
                for one in self._columns[:MOST_TO_ADJUST]:
                    with box("tr"):
                        self._column(one, given)
                if len(self._columns) > MOST_TO_ADJUST:
                    with box("tr"):
                        hidden = len(self._columns) - MOST_TO_ADJUST
                        Text("td", f"and {hidden} more, read as found", "soft", colspan="6")

    def _column(self, one: Json, given: dict[str, str]) -> None:
        name = one["name"]
        Text("td", name, "name strong")
        with box("td"):
            Text(
                "span", one.get("kind") or "of no use", "tag one" if one.get("kind") else "tag warn"
            )
        with box("td"):
            wanted = given.get(name, "" if given else "auto")
            kind = ui.select(KINDS, value=wanted).props("dense outlined options-dense borderless")
            kind.classes("kind-select").props["aria-label"] = f"Read {name} as"
            self._kinds[name] = kind
        share = one.get("nullRate", 0.0)
        Text("td", percent(share) if share else "none")
        with box("td"):
            show_distribution(one)
        Text("td", one.get("reason") or one.get("note") or "", "hint name")

    async def _target_changed(self) -> None:
        await self._judge("")

    async def _problem_changed(self) -> None:
        if not self._reading:
            await self._judge(self._problem.value or "")

    async def _judge(self, problem: str) -> None:
        """Ask what training would say of the target."""
        if not self._target.value:
            return
        self._said.clear()
        try:
            found = await preview(
                self._view, self._sources(), target=self._target.value, prediction_type=problem
            )
        except ApiError as error:
            with self._said:
                fault(error)
            return
        target = found.get("target", {})
        classes = target.get("classes", [])
        kind = problem or target.get("predictionType", "classification")
        self._reading = True
        self._problem.value = kind
        self._reading = False
        self._offer_objectives(kind, len(classes))
        with self._said:
            if kind == "classification" and classes:
                shown = ", ".join(classes[:8]) + (" …" if len(classes) > 8 else "")
                Text("p", f"{len(classes)} classes: {shown}", "soft name")
            elif not problem:
                Text("p", f"Because {target.get('reason', '')}.", "soft")
            for one in found.get("problems", []):
                note(one, "bad")
            for one in found.get("warnings", []):
                note(one)
        if not self._name.value:
            self._name.value = str(self._target.value)

    def _offer_objectives(self, kind: str, classes: int) -> None:
        names = OF_VALUES if kind == "regression" else OF_TWO if classes == TWO else OF_MORE
        options = {"": f"The usual one: {OBJECTIVES[names[0]]}"}
        options |= {name: OBJECTIVES[name] for name in names[1:]}
        wanted = self._inputs.get("optimizationObjective", "")
        kept = self._objective.value if self._objective.value in options else ""
        self._objective.set_options(options, value=wanted if wanted in options else kept)

    # Starting

    def request(self, dataset_id: str) -> Json:
        """The request that the form stands for."""
        inputs: Json = {
            "predictionType": self._problem.value or "",
            "targetColumn": self._target.value or "",
            "rowcast": {"budgetSeconds": round((self._budget.value or 0) * 60, 1)},
        }
        if self._objective.value:
            inputs["optimizationObjective"] = self._objective.value
            if self._objective.value in VALUES:
                inputs[VALUES[self._objective.value]] = self._value.value
        if self._weight.value:
            inputs["weightColumnName"] = self._weight.value
        if rules := self._transformations():
            inputs["transformations"] = rules
        stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        name = (self._name.value or "").strip() or str(self._target.value)
        body: Json = {
            "displayName": f"{name[:100]} {stamp}",
            "inputDataConfig": {"datasetId": dataset_id, **self._split_config()},
            "trainingTaskDefinition": TASK,
            "trainingTaskInputs": inputs,
            "modelToUpload": {"displayName": name},
        }
        if self._description.value:
            body["modelToUpload"]["versionDescription"] = self._description.value
        if self._parent.value:
            body["parentModel"] = f"{self._view.home.parent}/models/{self._parent.value}"
            if self._default.value:
                body["modelToUpload"]["versionAliases"] = ["default"]
        return body

    def _transformations(self) -> list[Json]:
        """None if every column is read as it is found; else one for each that is used."""
        aside = {self._target.value, self._weight.value}
        if self._split.value == "predefined":
            aside.add(self._key.value)
        names = [one["name"] for one in self._columns]
        kinds: dict[str, Any] = {
            name: self._kinds[name].value if name in self._kinds else "auto" for name in names
        }
        chosen = {name: kind for name, kind in kinds.items() if name not in aside}
        if all(kind == "auto" for kind in chosen.values()):
            return []
        unused = {one["name"] for one in self._columns if one.get("reason")}
        return [
            {kind: {"columnName": name}}
            for name, kind in chosen.items()
            if kind and not (kind == "auto" and name in unused)
        ]

    def _split_config(self) -> Json:
        kind = self._split.value
        shares = {
            f"{name}Fraction": round((field.value or 0) / 100, 6)
            for name, field in zip(("training", "validation", "test"), self._shares, strict=True)
        }
        if kind == "predefined":
            return {"predefinedSplit": {"key": self._key.value or ""}}
        if kind:
            return {f"{kind}Split": {"key": self._key.value or "", **shares}}
        return {"fractionSplit": shares}

    async def _start(self) -> None:
        api, parent = self._view.api, self._view.home.parent
        self._start_button.props("loading")
        self._answer.clear()
        try:
            dataset_id = await self._keep_dataset()
            made = await api.post(f"{parent}/trainingPipelines", self.request(dataset_id))
        except ApiError as error:
            with self._answer:
                fault(error)
            told("The training was not started.", good=False)
        else:
            ui.navigate.to(self._view.home.training(made["name"]))
        finally:
            self._start_button.props(remove="loading")

    async def _keep_dataset(self) -> str:
        """Name the place of the data as a dataset; the one of a pattern is used again."""
        kept = self._pattern.get("inputDataConfig", {}).get("datasetId")
        if kept and self._sources() == self._pattern.get("uris"):
            return str(kept)
        sources = self._sources()
        source: Json = {"gcsSource": {"uri": sources}}
        if len(sources) == 1 and sources[0].startswith("bq://"):
            source = {"bigquerySource": {"uri": sources[0]}}
        body = {
            "displayName": last(sources[0])[:128] if sources else "",
            "metadataSchemaUri": DATASET_SCHEMA,
            "metadata": {"inputConfig": source},
        }
        operation = await self._view.api.post(f"{self._view.home.parent}/datasets", body)
        return last(operation["response"]["name"])
