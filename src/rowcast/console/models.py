"""The list of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.console.parts import ago, box, card, empty, go, heading, table

if TYPE_CHECKING:
    from rowcast.console.frame import Site, View


def register(site: Site) -> None:
    """Add the page."""
    site.add("/locations/{location}/models", "Models", "models", show)


async def show(view: View) -> None:
    """Build the page."""
    home = view.home
    with box("div", "page-head"):
        with box("div"):
            heading("Models", under="What was trained here or imported, at its default version.")
        with box("div", "actions"):
            go("Train a model", home.page("training", "new"), kind="main", icon="add")
    models = await view.api.all("models")
    if not models:
        with card():
            empty(
                "No model yet",
                "A model learns from a table in which the answer is known, and predicts it for "
                "tables in which it is not. Training takes a table and the name of a column.",
                ("Train a model", home.page("training", "new")),
                ("Bring data", home.page("data")),
                icon="model_training",
            )
        return
    with card():
        table(
            ("Name", "Predicts", "Kind", "Version", "Aliases", "Rows learnt from", "Created"),
            [
                (
                    (model.get("displayName", ""), home.model(model["name"])),
                    model.get("rowcast", {}).get("targetColumn", "unknown"),
                    model.get("rowcast", {}).get("predictionType", "damaged"),
                    model.get("versionId", ""),
                    ", ".join(model.get("versionAliases", [])),
                    f"{sum(map(int, model.get('dataStats', {}).values())):,}",
                    ago(model.get("versionCreateTime")),
                )
                for model in models
            ],
            classes="roomy",
            label="Models",
        )
