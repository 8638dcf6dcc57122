"""Cutting a job's input into parts: listing in the server, parsing in a replica."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rowcast.core.schema import check_columns
from rowcast.errors import InvalidRequest, MissingColumns
from rowcast.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rowcast.core.job import InputSpec
    from rowcast.core.plan import InputObject, Plan
    from rowcast.core.schema import ModelSchema
    from rowcast.storage.objects import Objects


def list_input(objects: Objects, uris: Sequence[str]) -> list[InputObject]:
    """Find all objects of an input, each once however many patterns match it, sorted by URI.

    Raises
    ------
    NotFound
        If one of the URIs matches nothing.
    """
    found: dict[Path, InputObject] = {}
    for uri in uris:
        for item in objects.list(uri):
            found.setdefault(objects.resolve(item.uri).path, item)
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
