"""Universal Binary JSON, as far as XGBoost writes it.

A value is a letter for its type and the value, numbers with the most significant byte first.
Lists whose members are numbers of one type say so once, and come as arrays.

References
----------
The format's draft 12, https://ubjson.org.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rowcast.errors import ModelDamaged

_NUMBERS = {"i": ">i1", "U": ">u1", "I": ">i2", "l": ">i4", "L": ">i8", "d": ">f4", "D": ">f8"}
_CONSTANTS = {"T": True, "F": False, "Z": None}
_DEEPEST = 32


def read_ubjson(content: bytes) -> Any:
    """Parse one value, which must be all there is.

    Raises
    ------
    ModelDamaged
        If it is none, or nested too deeply to be a model.
    """
    reader = _Reader(content)
    value = reader.value(reader.letter(), 0)
    if reader.at != len(content):
        raise ModelDamaged(f"The forest goes on after its end, at byte {reader.at}.")
    return value


class _Reader:
    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def take(self, size: int) -> bytes:
        """Move on by so many bytes."""
        taken = self.content[self.at : self.at + size] if size >= 0 else b""
        if len(taken) != size:
            raise ModelDamaged(f"The forest ends too early, at byte {len(self.content)}.")
        self.at += size
        return taken

    def letter(self) -> str:
        return self.take(1).decode("latin-1")

    def peek(self, letter: str) -> bool:
        """Move on if this letter comes next."""
        found = self.content[self.at : self.at + 1] == letter.encode()
        self.at += found
        return found

    def value(self, kind: str, depth: int) -> Any:
        if depth > _DEEPEST:
            raise ModelDamaged(f"The forest is nested too deeply, at byte {self.at}.")
        if kind in _NUMBERS:
            return self.array(kind, 1)[0].item()
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind == "S":
            return self.text()
        if kind == "[":
            return self.items(depth)
        if kind == "{":
            return self.members(depth)
        raise ModelDamaged(f"The forest has an unknown type {kind!r} at byte {self.at - 1}.")

    def array(self, kind: str, size: int) -> np.ndarray:
        numbers = np.dtype(_NUMBERS[kind])
        taken = np.frombuffer(self.take(size * numbers.itemsize), numbers)
        return taken.astype(numbers.newbyteorder("="))

    def length(self) -> int:
        kind = self.letter()
        size = self.value(kind, 0) if kind in "iUIlL" else -1
        if not isinstance(size, int) or size < 0:
            raise ModelDamaged(f"The forest has a length that is none, at byte {self.at}.")
        return size

    def text(self) -> str:
        try:
            return self.take(self.length()).decode()
        except UnicodeDecodeError as error:
            raise ModelDamaged(f"The forest has text that is not UTF-8: {error}.") from error

    def items(self, depth: int) -> Any:
        kind = self.letter() if self.peek("$") else ""
        if kind and not self.peek("#"):
            raise ModelDamaged(f"The forest has a list without a length at byte {self.at}.")
        if kind in _NUMBERS:
            return self.array(kind, self.length())
        if kind:
            raise ModelDamaged(f"The forest has a list of type {kind!r} at byte {self.at}.")
        if self.peek("#"):
            return [self.value(self.letter(), depth + 1) for _ in range(self.length())]
        found = []
        while not self.peek("]"):
            found.append(self.value(self.letter(), depth + 1))
        return found

    def members(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self.peek("}"):
            key = self.text()
            if key in found:
                raise ModelDamaged(f"The forest has {key[:40]!r} twice.")
            found[key] = self.value(self.letter(), depth + 1)
        return found
