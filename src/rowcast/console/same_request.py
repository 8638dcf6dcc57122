"""The same request for those who would rather write it: curl, Python, the command line."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from nicegui import ui

from rowcast.console.parts import code
from rowcast.console.places import last

if TYPE_CHECKING:
    from rowcast.console.api import Json


def as_curl(body: Json, parent: str, collection: str, server: str) -> str:
    """Write a request for curl."""
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return (
        'curl -H "Authorization: Bearer $TOKEN" \\\n'
        f"  {shlex.quote(f'{server}/v1/{parent}/{collection}')} \\\n"
        f"  -d {shlex.quote(text)}"
    )


def job_in_python(body: Json, server: str) -> str:
    """Write a job for the Python package."""
    sources = _sources(body)
    given: dict[str, Any] = {
        "server": server,
        "instances_format": body.get("inputConfig", {}).get("instancesFormat"),
        "predictions_format": body.get("outputConfig", {}).get("predictionsFormat"),
        "display_name": body.get("displayName"),
        "generate_explanation": body.get("generateExplanation"),
        "key_field": body.get("instanceConfig", {}).get("keyField"),
        "batch_size": body.get("manualBatchTuningParameters", {}).get("batchSize"),
        "max_replica_count": body.get("dedicatedResources", {}).get("maxReplicaCount"),
    }
    first = (last(body.get("model", "")), sources[0] if len(sources) == 1 else sources)
    lines = [*map(repr, first), repr(_destination(body))]
    lines += [f"{name}={value!r}" for name, value in given.items() if value]
    return (
        "import rowcast\n\njob = rowcast.BatchPredictionJob.create(\n"
        + "".join(f"    {line},\n" for line in lines)
        + ")\njob.wait()\nprint(job.state)\n"
    )


def job_in_shell(body: Json, server: str) -> str:
    """Write a job for the command line."""
    options = {
        "--output": _destination(body),
        "--format": body.get("outputConfig", {}).get("predictionsFormat"),
        "--input-format": body.get("inputConfig", {}).get("instancesFormat"),
        "--job-name": body.get("displayName"),
        "--key": body.get("instanceConfig", {}).get("keyField"),
        "--batch-size": body.get("manualBatchTuningParameters", {}).get("batchSize"),
        "--replicas": body.get("dedicatedResources", {}).get("maxReplicaCount"),
        "--server": server,
    }
    lines = [shlex.join(["rowcast", "predict", last(body.get("model", "")), *_sources(body)])]
    lines += [f"{name} {shlex.quote(str(value))}" for name, value in options.items() if value]
    if body.get("generateExplanation"):
        lines.append("--explain")
    return " \\\n  ".join(lines)


def training_in_python(body: Json, source: str = "TABLE") -> str:
    """Write a training for the Python package, which trains in its own process."""
    inputs, config = body.get("trainingTaskInputs", {}), body.get("inputDataConfig", {})
    own = inputs.get("rowcast", {})
    given: dict[str, Any] = {
        "target": inputs.get("targetColumn"),
        "name": body.get("modelToUpload", {}).get("displayName") or body.get("displayName"),
        "budget_s": own.get("budgetSeconds"),
        "trials": own.get("trials"),
        "prediction_type": inputs.get("predictionType"),
        "objective": inputs.get("optimizationObjective"),
        "weight": inputs.get("weightColumnName"),
        "transformations": {
            rule.get("columnName"): kind
            for one in inputs.get("transformations", [])
            for kind, rule in one.items()
        },
    }
    lines = [repr(source), *(f"{name}={value!r}" for name, value in given.items() if value)]
    kind = next((key for key in config if key.endswith("Split")), "")
    if kind:
        split = {"kind": kind.removesuffix("Split"), "column": config[kind].get("key")}
        split |= {n: config[kind].get(f"{n}Fraction") for n in ("training", "validation", "test")}
        words = ", ".join(f"{name}={value!r}" for name, value in split.items() if value is not None)
        lines.append(f"split=rowcast.SplitRule({words})")
    return (
        "import rowcast\n\nmodel = rowcast.train(\n"
        + "".join(f"    {line},\n" for line in lines)
        + ")\nprint(model.metrics)\n"
    )


def _sources(body: Json) -> list[str]:
    config = body.get("inputConfig", {})
    table = config.get("bigquerySource", {}).get("inputUri")
    return [table] if table else list(config.get("gcsSource", {}).get("uris", []))


def _destination(body: Json) -> str:
    config = body.get("outputConfig", {})
    return str(
        config.get("gcsDestination", {}).get("outputUriPrefix")
        or config.get("bigqueryDestination", {}).get("outputUri")
        or ""
    )


def shown_in_tabs(texts: dict[str, str]) -> None:
    """Show several ways of writing a request, one at a time."""
    with ui.tabs().props("dense align=left").classes("tabs-line") as tabs:
        made = [ui.tab(title) for title in texts]
    with ui.tab_panels(tabs, value=made[0]).props("animated=false keep-alive"):
        for title, text in texts.items():
            with ui.tab_panel(title):
                code(text, title)
