"""What names and labels of resources may look like."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_DISPLAY_NAME = 128
MAX_LABELS = 64
LABEL = re.compile(r"[\w-]{1,64}")


def display_name_fault(name: str) -> str | None:
    """Say what is wrong with a display name."""
    fine = 1 <= len(name) <= MAX_DISPLAY_NAME
    return None if fine else f"is required, with 1 to {MAX_DISPLAY_NAME} characters"


def label_faults(labels: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the field and description of each thing that is wrong with labels."""
    if len(labels) > MAX_LABELS:
        yield "labels", f"must be at most {MAX_LABELS}"
    for key, value in labels.items():
        if not LABEL.fullmatch(key) or key != key.lower():
            yield f"labels[{key}]", "a key has 1 to 64 lowercase letters, digits, '_' or '-'"
        if value and (not LABEL.fullmatch(value) or value != value.lower()):
            yield (
                f"labels[{key}]",
                "a value has at most 64 lowercase letters, digits, '_' or '-'",
            )
