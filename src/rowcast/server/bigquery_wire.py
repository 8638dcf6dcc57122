"""Tables and rows in the JSON of BigQuery's API: Arrow to fields and ``{"f": [{"v": ...}]}``."""

from __future__ import annotations

import base64
import json
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rowcast.core.tables import DatasetName, TableName
    from rowcast.warehouse import TableFacts

Json = dict[str, Any]
_NAMED: dict[str, pa.DataType] = {
    "STRING": pa.string(),
    "BYTES": pa.binary(),
    "INTEGER": pa.int64(),
    "INT64": pa.int64(),
    "FLOAT": pa.float64(),
    "FLOAT64": pa.float64(),
    "NUMERIC": pa.decimal128(38, 9),
    "BIGNUMERIC": pa.decimal128(38, 18),
    "BOOLEAN": pa.bool_(),
    "BOOL": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us", "UTC"),
    "DATETIME": pa.timestamp("us"),
    "DATE": pa.date32(),
    "TIME": pa.time64("us"),
    "JSON": pa.string(),
}


def fields_of(schema: pa.Schema | pa.StructType) -> list[Json]:
    """Describe columns."""
    return [_field(field) for field in schema]


def _field(field: pa.Field) -> Json:
    kind, mode = field.type, "NULLABLE"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    described: Json = {"name": field.name, "type": _type(kind), "mode": mode}
    if pa.types.is_struct(kind):
        described["fields"] = fields_of(kind)
    return described


def _type(kind: pa.DataType) -> str:
    types = pa.types
    checks = (
        (types.is_struct, "RECORD"),
        (types.is_boolean, "BOOLEAN"),
        (types.is_integer, "INTEGER"),
        (types.is_floating, "FLOAT"),
        (types.is_date, "DATE"),
        (types.is_time, "TIME"),
        (types.is_binary, "BYTES"),
        (types.is_large_binary, "BYTES"),
    )
    for check, name in checks:
        if check(kind):
            return name
    if types.is_decimal(kind):
        return "NUMERIC" if kind.scale <= 9 and kind.precision <= 38 else "BIGNUMERIC"
    if types.is_timestamp(kind):
        return "TIMESTAMP" if kind.tz else "DATETIME"
    return "STRING"


def schema_from(fields: Sequence[Json], place: str = "schema") -> pa.Schema:
    """Read the columns that a request describes. Raises InvalidRequest."""
    return pa.schema(
        [_arrow_field(field, f"{place}.fields[{i}]") for i, field in enumerate(fields)]
    )


def _arrow_field(field: Json, place: str) -> pa.Field:
    name, kind = field.get("name"), str(field.get("type", "")).upper()
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"{place}.name: is required")
    found: pa.DataType | None
    if kind in ("RECORD", "STRUCT"):
        found = pa.struct(list(schema_from(field.get("fields") or [], place)))
    else:
        found = _NAMED.get(kind)
    if found is None:
        raise InvalidRequest(f"{place}.type: {kind[:50]!r} is not one of {', '.join(_NAMED)}")
    repeated = str(field.get("mode", "")).upper() == "REPEATED"
    return pa.field(name, pa.list_(found) if repeated else found)


def rows_of(batch: pa.RecordBatch, *, int_timestamps: bool) -> Iterator[Json]:
    """Show rows; all values are texts."""
    for row in batch.to_pylist():
        yield {"f": [{"v": _cell(value, int_timestamps)} for value in row.values()]}


def _cell(value: Any, int_timestamps: bool) -> Any:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case list():
            return [{"v": _cell(item, int_timestamps)} for item in value]
        case dict():
            return {"f": [{"v": _cell(item, int_timestamps)} for item in value.values()]}
        case bytes():
            return base64.b64encode(value).decode()
        case datetime() if value.tzinfo is not None:
            since = value - datetime(1970, 1, 1, tzinfo=UTC)
            micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
            return str(micros) if int_timestamps else repr(micros / 1e6)
        case datetime() | date() | time():
            return value.isoformat()
        case float():
            return repr(value).replace("inf", "Infinity").replace("nan", "NaN")
    return str(value)


def table_reference(name: TableName) -> Json:
    """Name a table."""
    return {"projectId": name.project, "datasetId": name.dataset, "tableId": name.table}


def show_dataset(name: DatasetName) -> Json:
    """Show a dataset."""
    return {
        "kind": "bigquery#dataset",
        "id": f"{name.project}:{name.dataset}",
        "datasetReference": {"projectId": name.project, "datasetId": name.dataset},
        "location": "US",
    }


def show_table(facts: TableFacts, *, brief: bool = False) -> Json:
    """Show a table or view."""
    name = facts.name
    shown: Json = {
        "kind": "bigquery#table",
        "id": f"{name.project}:{name.dataset}.{name.table}",
        "tableReference": table_reference(name),
        "type": facts.kind,
    }
    if brief:
        return shown
    shown["schema"] = {"fields": fields_of(facts.schema)}
    shown["location"] = "US"
    if facts.rows is not None:
        shown["numRows"] = str(facts.rows)
    if facts.description:
        shown["description"] = facts.description
    if facts.kind == "VIEW":
        shown["view"] = {"query": facts.query, "useLegacySql": False}
    return shown


def parameters_of(given: Sequence[Json]) -> dict[str, Any] | list[Any] | None:
    """Read ``queryParameters``: named ones as a dict, others as a list. Raises InvalidRequest."""
    if not given:
        return None
    values = [
        _parameter(one.get("parameterType") or {}, one.get("parameterValue") or {}) for one in given
    ]
    names = [one.get("name") for one in given]
    return dict(zip(map(str, names), values, strict=True)) if all(names) else values


def _parameter(kind: Json, value: Json) -> Any:
    name = str(kind.get("type", "STRING")).upper()
    if name == "ARRAY":
        return [
            _parameter(kind.get("arrayType") or {}, one) for one in value.get("arrayValues") or []
        ]
    if name == "STRUCT":
        types = {one["name"]: one.get("type") or {} for one in kind.get("structTypes") or []}
        return {
            field: _parameter(types.get(field, {}), one)
            for field, one in (value.get("structValues") or {}).items()
        }
    text = value.get("value")
    if text is None:
        return None
    try:
        return _READERS.get(name, str)(text)
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"queryParameters: {str(text)[:100]!r} is no {name}.") from error


def _boolean(text: Any) -> bool:
    return str(text).lower() == "true"


_READERS: dict[str, Any] = {
    "INT64": int,
    "INTEGER": int,
    "FLOAT64": float,
    "FLOAT": float,
    "BOOL": _boolean,
    "BOOLEAN": _boolean,
    "DATE": date.fromisoformat,
    "DATETIME": datetime.fromisoformat,
    "TIMESTAMP": lambda text: datetime.fromisoformat(str(text).replace(" ", "T", 1)),
    "BYTES": base64.b64decode,
    "JSON": lambda text: text if isinstance(text, str) else json.dumps(text),
}
