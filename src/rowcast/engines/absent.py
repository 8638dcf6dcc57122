"""Imports of libraries that look for other libraries, without the others."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NOT_FOR_SCORING = ("pandas", "scipy", "cffi", "yaml")
"""What Arrow (to tell a pandas object from others) and Numba (for linear algebra, foreign functions
and its settings) import if it is installed: more than half of a replica's start and of its memory,
and nothing that scoring asks them for."""


class _Absent(MetaPathFinder):
    def __init__(self, names: frozenset[str]) -> None:
        self._names = names

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - as the protocol has it
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


@contextmanager
def absent(*names: str) -> Iterator[None]:
    """Let imports find no package of these names, unless it is there already.

    Whoever imports one later gets it.
    """
    finder = _Absent(frozenset(name for name in names if name not in sys.modules))
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
