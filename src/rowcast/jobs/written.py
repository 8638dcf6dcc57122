"""How a job's reports are written: JSON that people can read, an item on a line."""

from __future__ import annotations

import json
from typing import Any


def written(members: dict[str, Any]) -> bytes:
    """Write an object, a member or an item of a list of objects on a line."""
    lines = [f"{_text(name)}: {_value(value)}" for name, value in members.items()]
    return ("{\n " + ",\n ".join(lines) + "\n}\n").encode()


def _value(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(f"  {_text(item)}" for item in value) + "\n ]"
    return _text(value)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
