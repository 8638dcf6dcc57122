"""What the columns of a training table look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rowcast.scoring.parse import flat
from rowcast.training.infer import null_cells

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_ROWS = 200_000


def describe_columns(
    table: pa.Table, kinds: Mapping[str, str], dropped: Mapping[str, str], target: str
) -> list[dict[str, Any]]:
    """Look at each column of a training table; of more than 200,000 rows, at evenly spaced ones.

    Parameters
    ----------
    table
        With the target and the columns that were dropped.
    kinds
        Column to kind, for the features.
    dropped
        Column to reason.
    target
        The column to be predicted.

    Returns
    -------
    list of dict
        In the table's order: ``name``, ``role`` (feature, target, dropped or aside), ``kind`` or
        ``reason``, ``rows`` looked at, ``nullRate`` and ``distinct`` (without nulls; absent for
        nested values, which cannot be compared).
    """
    if table.num_rows > MOST_ROWS:
        table = table.take(np.linspace(0, table.num_rows - 1, MOST_ROWS).astype(np.int64))
    found = []
    for name in table.column_names:
        entry: dict[str, Any] = {"name": name, "role": "aside"}
        if name == target:
            entry["role"] = "target"
        elif name in kinds:
            entry |= {"role": "feature", "kind": kinds[name]}
        elif name in dropped:
            entry |= {"role": "dropped", "reason": dropped[name]}
        found.append(entry | _looked_at(flat(table.column(name))))
    return found


def _looked_at(column: pa.Array) -> dict[str, Any]:
    null = null_cells(column)
    seen: dict[str, Any] = {
        "rows": len(column),
        "nullRate": float(null.mean()) if len(column) else 0.0,
    }
    if pa.types.is_null(column.type):
        seen["distinct"] = 0
    elif not pa.types.is_nested(column.type):
        seen["distinct"] = pc.count_distinct(column.filter(pa.array(~null)), mode="all").as_py()
    return seen
