"""Cutting a job's input into parts: listing in the server, parsing in a replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowcast.core.plan import InputObject
from rowcast.core.schema import check_added_columns, check_columns
from rowcast.core.tables import check_column_names
from rowcast.errors import InvalidRequest, MissingColumns, PermissionDenied
from rowcast.sinks import SinkOptions, open_sink
from rowcast.sources import SourceOptions, open_source
from rowcast.storage.objects import STAGING_FOLDER, UNREADABLE, WILDCARDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rowcast.core.job import InputSpec, JobSpec
    from rowcast.core.plan import Plan
    from rowcast.core.schema import ModelSchema
    from rowcast.sinks import OutputTables
    from rowcast.sources import Limits
    from rowcast.storage.objects import Objects


STAGING = STAGING_FOLDER + "/"


def source_options(
    spec: JobSpec, schema: ModelSchema, objects: Objects, spool_uri: str, limits: Limits
) -> SourceOptions:
    """What a source is told of a job. A retry reads the rows inside the errors objects."""
    retry = spec.extension.retry_of is not None
    return SourceOptions(
        objects,
        spool_uri,
        limits,
        schema.feature_names,
        (schema.target.error_column,) if retry else (),
        "instance" if retry else None,
    )


def sink_options(
    spec: JobSpec,
    schema: ModelSchema,
    plan: Plan,
    objects: Objects,
    directory: str,
    object_bytes: int,
    tables: OutputTables | None = None,
) -> SinkOptions:
    """What a sink is told of a job."""
    added = spec.extension
    return SinkOptions(
        objects,
        directory,
        directory + STAGING,
        schema.target,
        plan.layout.schema,
        spec.input.key_field,
        added.row_number_column,
        added.output_name,
        object_bytes,
        schema.feature_names if spec.generate_explanation else (),
        added.attribution_columns,
        added.interval_columns,
        added.max_explanations,
        tables,
    )


def check_output_columns(spec: JobSpec, options: SinkOptions) -> None:
    """See that the output has no two columns of one name. Raises InvalidRequest."""
    sink = open_sink(spec.output.format, options)
    names = options.schema.names if options.key_field is None else ["key"]
    check_added_columns(sink.added_columns(), names)
    if spec.output.tables:
        check_column_names([*names, *sink.added_columns()])


def list_input(objects: Objects, uris: Sequence[str]) -> list[InputObject]:
    """Find all objects of an input, each once however many patterns match it, sorted by URI.

    Raises
    ------
    NotFound
        If one of the URIs matches nothing.
    """
    found: dict[Path, InputObject] = {}
    for uri in uris:
        try:
            listed = objects.list(uri)
        except PermissionDenied:
            if WILDCARDS.search(uri) or len(uris) == 1:
                raise
            listed = [InputObject(uri, 0, UNREADABLE)]  # one of several: the others are scored
        for item in listed:
            found.setdefault(objects.resolve(item.uri).real_path, item)
    return sorted(found.values(), key=lambda item: item.uri)


@dataclass(frozen=True)
class PlanWork:
    """Surveys an input; called in a replica."""

    input: InputSpec
    options: SourceOptions
    schema: ModelSchema
    part_bytes: int

    def __call__(self, objects: tuple[InputObject, ...]) -> Plan:
        """Cut ``objects`` into parts, and see that the model can read their columns.

        Raises
        ------
        InvalidRequest
            If columns are missing, double or excluded although the model needs them.
        """
        plan = open_source(self.input.format, self.options).survey(objects, self.part_bytes)
        names = plan.layout.schema.names
        where = plan.layout.objects[0].uri if plan.layout.objects else "The input"
        check_columns(self.schema, names, where)
        self._check_fields(names, where)
        return plan

    def _check_fields(self, names: list[str], where: str) -> None:
        """Compare ``instanceConfig`` with the columns that are there."""
        included = set(self.input.included_fields) or set(names)
        hidden = set(self.input.excluded_fields) | (set(names) - included)
        if self.input.key_field is not None:
            hidden.add(self.input.key_field)
            if self.input.key_field not in names:
                raise InvalidRequest(
                    f"{where} has no column {self.input.key_field!r}, which keyField names."
                )
        visible = [name for name in names if name not in hidden]
        if hidden & set(self.schema.feature_names):
            raise MissingColumns.between(
                self.schema.feature_names, visible, f"Without the fields left out, {where}"
            )
