"""Attributions as output: an Arrow struct, JSON text, or a column for each feature.

All of it is made of whole columns; no row becomes a Python object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rowcast.core.prediction import Attributions, Scored
    from rowcast.sinks import SinkOptions

NUMBERS = ("baselineOutputValue", "instanceOutputValue", "approximationError")


def strongest(values: np.ndarray, most: int) -> np.ndarray:
    """Find the features with the largest attributions.

    Parameters
    ----------
    values : ndarray of shape (n, n_features)
    most : int
        How many to find.

    Returns
    -------
    ndarray of int64, of shape (n, min(most, n_features))
        Numbers of features, the largest attribution first; of equal ones the earlier feature.
    """
    return np.argsort(-np.abs(values), axis=1, kind="stable")[:, :most]


def spread(scored: Scored, column: pa.Array) -> pa.Array:
    """Give what belongs to the explained rows a place in all scored rows; the others are null."""
    if scored.explained is None:
        return column
    places = np.full(len(scored.scored_rows), -1, np.int64)
    places[scored.explained] = np.arange(len(scored.explained))
    return column.take(pa.array(places, mask=places < 0))


# Tables


def explanation_type(features: Sequence[str], classes: Sequence[str]) -> pa.DataType:
    """The type of the ``explanation`` column."""
    number, text = pa.float64(), pa.string()
    fields = [(name, number) for name in NUMBERS]
    fields += [
        ("featureAttributions", pa.struct([(name, number) for name in features])),
        ("outputIndex", pa.list_(pa.int64())),
        *([("outputDisplayName", text)] if classes else []),
        ("outputName", text),
    ]
    return pa.struct([("attributions", pa.list_(pa.struct(fields)))])


def explanation_column(scored: Scored, options: SinkOptions) -> pa.Array | None:
    """Explanations for a table, null for rows without one; None if nothing is explained."""
    why = scored.attributions
    if why is None:
        return None
    classes, most = options.target.classes, options.most_attributions
    n, k, n_features = why.values.shape
    flat = why.values.reshape(n * k, n_features)
    left_out = None
    if most is not None:
        left_out = np.ones(flat.shape, np.bool_)
        np.put_along_axis(left_out, strongest(flat, most), False, axis=1)
    features = [
        pa.array(flat[:, j], mask=None if left_out is None else left_out[:, j])
        for j in range(n_features)
    ]
    index = why.output_index.reshape(-1)
    kind = explanation_type(why.feature_names, classes)
    entry = kind.field("attributions").type.value_type
    parts = [
        *(pa.array(numbers.reshape(-1)) for numbers in _numbers(why)),
        _structs(features, entry.field("featureAttributions").type, n * k),
        pa.ListArray.from_arrays(np.arange(n * k + 1, dtype=np.int32), pa.array(index)),
        *([pa.array(classes).take(pa.array(index))] if classes else []),
        pa.repeat(_output_name(classes), n * k),
    ]
    entries = pa.StructArray.from_arrays(parts, fields=list(entry))
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * k)
    column = pa.StructArray.from_arrays(
        [pa.ListArray.from_arrays(offsets, entries)], fields=list(kind)
    )
    return spread(scored, column)


def _structs(columns: list[pa.Array], kind: pa.StructType, rows: int) -> pa.StructArray:
    """Put columns together; a struct without fields has to be told its length."""
    if columns:
        return pa.StructArray.from_arrays(columns, fields=list(kind))
    return pa.array([{}] * rows, kind)


def _numbers(why: Attributions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In the order of ``NUMBERS``."""
    return why.baseline_output, why.instance_output, why.approximation_error


def _output_name(classes: Sequence[str]) -> str:
    return "scores" if classes else "value"


# Lines


def explanation_texts(scored: Scored, options: SinkOptions) -> pa.Array | None:
    """Each scored row's Explanation object as JSON; null for a row without one."""
    why = scored.attributions
    if why is None:
        return None
    classes = options.target.classes
    pieces: list[str | pa.Array] = ['{"attributions": [']
    for k in range(why.values.shape[1]):
        pieces.append(", {" if k else "{")
        for name, numbers in zip(NUMBERS, _numbers(why), strict=True):
            pieces += [f'"{name}": ', number_texts(numbers[:, k]), ", "]
        index = pa.array(why.output_index[:, k])
        pieces += ['"featureAttributions": {', *_members(why, k, options.most_attributions)]
        pieces += ['}, "outputIndex": [', pc.cast(index, pa.string()), "], "]
        if classes:
            quoted = pa.array([orjson.dumps(name).decode() for name in classes])
            pieces += ['"outputDisplayName": ', quoted.take(index), ", "]
        pieces.append(f'"outputName": "{_output_name(classes)}"}}')
    return spread(scored, pc.binary_join_element_wise(*pieces, "]}", ""))


def _members(why: Attributions, k: int, most: int | None) -> list[str | pa.Array]:
    """Names and attributions of one output's features, or of those that matter most to a row."""
    values = why.values[:, k]
    names = [f"{orjson.dumps(name).decode()}: " for name in why.feature_names]
    pieces: list[str | pa.Array] = []
    if most is None:
        for j, name in enumerate(names):
            pieces += [f", {name}" if j else name, number_texts(values[:, j])]
        return pieces
    chosen, quoted = strongest(values, most), pa.array(names, pa.string())
    for place in range(chosen.shape[1]):
        feature = chosen[:, place]
        numbers = np.take_along_axis(values, feature[:, None], axis=1)[:, 0]
        pieces += [", "] if place else []
        pieces += [quoted.take(pa.array(feature)), number_texts(numbers)]
    return pieces


def number_texts(numbers: np.ndarray) -> pa.Array:
    """Numbers as JSON: the shortest text that reads back to the same double; null for NaN."""
    array = pa.array(np.ascontiguousarray(numbers))
    finite = np.isfinite(numbers)
    texts = pc.cast(array, pa.string())
    return texts if finite.all() else pc.if_else(pa.array(finite), texts, "null")


# Columns


def attributed(options: SinkOptions) -> tuple[str, ...]:
    """The features whose attributions have columns of their own."""
    return options.explained if options.attribution_columns else ()


def attribution_arrays(scored: Scored, options: SinkOptions) -> list[pa.Array]:
    """A column for each attributed feature; null where nothing is said.

    The attributions are those to the first explained output of each row.
    """
    why = scored.attributions
    if why is None:
        return []
    values = why.values[:, 0]
    left_out = np.zeros(values.shape, np.bool_)
    if options.most_attributions is not None:
        left_out[:] = True
        np.put_along_axis(left_out, strongest(values, options.most_attributions), False, axis=1)
    places = [why.feature_names.index(name) for name in attributed(options)]
    return [spread(scored, pa.array(values[:, j], mask=left_out[:, j])) for j in places]
