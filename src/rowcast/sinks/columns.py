"""What all sinks share: which columns a row carries to the output, and their text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from rowcast.core.prediction import Scored
    from rowcast.sinks import SinkOptions

KEY_COLUMN = "key"


def carried(scored: Scored, rows: np.ndarray, options: SinkOptions) -> list[tuple[str, pa.Array]]:
    """Columns that some rows of a batch take over from the input.

    That is every input column, or the key column alone, and the row number if asked for.

    Parameters
    ----------
    scored : Scored
    rows : ndarray of int64
        Indices in the batch.
    options : SinkOptions
    """
    batch = scored.batch
    whole = len(rows) == len(batch)
    taken = batch.rows if whole else batch.rows.take(pa.array(rows))
    if options.key_field is None:
        columns = list(zip(taken.schema.names, taken.columns, strict=True))
    else:
        columns = [(KEY_COLUMN, taken.column(options.key_field))]
    if options.row_number_column is not None:
        columns.append((options.row_number_column, pa.array(batch.places.row[rows])))
    return columns


def carried_names(options: SinkOptions) -> list[str]:
    """Names of the columns that ``carried`` yields."""
    names = list(options.schema.names) if options.key_field is None else [KEY_COLUMN]
    return names if options.row_number_column is None else [*names, options.row_number_column]


def error_rows(scored: Scored) -> np.ndarray:
    """Indices in the batch of the rows that have no prediction."""
    return np.array([error.index for error in scored.errors], dtype=np.int64)


def as_text(column: pa.Array) -> pa.Array:
    """Format any column as text; null stays null.

    Text is unchanged. Numbers take the shortest form that reads back to the same value,
    nested values their JSON.
    """
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_dictionary(kind):
        return as_text(column.dictionary_decode())
    if pa.types.is_nested(kind) or pa.types.is_map(kind):
        texts = [None if value is None else _json(value) for value in column.to_pylist()]
        return pa.array(texts, pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        texts = [None if v is None else v.decode("utf-8", "replace") for v in column.to_pylist()]
        return pa.array(texts, pa.string())
    return pc.cast(column, pa.string())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def json_texts(values: list[dict[str, Any]]) -> pa.Array:
    """Serialise objects to a text column."""
    return pa.array([orjson.dumps(value) for value in values], pa.binary()).cast(pa.string())
