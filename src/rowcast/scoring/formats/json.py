"""Taking values out of JSON that may hold anything."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from rowcast.errors import ModelDamaged


def read_json(content: bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    ModelDamaged
        If it is none, or nested too deeply to be a model.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(f"The forest is not JSON: {str(error)[:200]}.") from error


def member(value: Any, *path: str | int) -> Any:
    """Follow a path of keys and places."""
    for key in path:
        if isinstance(key, str):
            found = isinstance(value, dict) and key in value
        else:
            found = isinstance(value, list) and key < len(value)
        if not found:
            raise ModelDamaged(f"The forest lacks {_named(path)} (at {key!r}).")
        value = value[key]
    return value


def items(value: Any, *path: str | int) -> list[Any]:
    """Follow a path to a list, which comes as an array if all its members are numbers."""
    found = member(value, *path)
    if not isinstance(found, list | np.ndarray):
        raise ModelDamaged(f"The forest's {_named(path)} is not a list.")
    return list(found)


def whole_number(value: Any, *path: str | int, least: int = 0, most: int = 1 << 31) -> int:
    """Follow a path to a whole number, which may be written as text."""
    found = member(value, *path)
    if isinstance(found, str) and len(found) <= 20 and found.isascii() and found.isdigit():
        found = int(found)
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise ModelDamaged(
            f"The forest has {_named(path)}={str(found)[:20]!r}; a number from {least} to {most} "
            "was expected."
        )
    return found


def numbers(kind: type[int | float], value: Any, *path: str | int) -> np.ndarray:
    """Follow a path to a list of numbers: int64, or float64."""
    found = member(value, *path)
    try:
        array = np.asarray(found) if isinstance(found, list | np.ndarray) else np.zeros(1, object)
    except ValueError:  # lists of different lengths
        array = np.zeros(1, object)
    if array.ndim != 1 or (
        array.size and array.dtype.kind not in ("iub" if kind is int else "iuf")
    ):
        raise ModelDamaged(f"The forest's {_named(path)} is not a list of {kind.__name__} numbers.")
    return array.astype(np.int64 if kind is int else np.float64)


def _named(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path)) or "content"
