"""Loops over arrays that Numba compiles for this machine's CPU, without the GIL.

A kernel is a plain Python function on numpy arrays: its ``py_func`` is the readable reference,
and gives the same answer. Where Numba cannot compile, kernels are these functions, and forests are
scored by numpy: the same bits, far slower.

Compiled code is kept in the folder that ``NUMBA_CACHE_DIR`` names (replicas are told by the
setting ``kernel_cache``), else in the user's own cache folder, so that a machine compiles once.
"""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

if "NUMBA_CACHE_DIR" not in os.environ:  # Numba reads it when it is imported, and never again
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rowcast/kernels"
    os.environ["NUMBA_CACHE_DIR"] = str(_cache)

try:
    import numba
except (ImportError, OSError) as _error:  # OSError: its library does not load on this system
    numba = None
    _WHY = f"Numba cannot be imported: {_error}"

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")


def kernel(function: F) -> F:
    """Compile ``function`` on first call for the types it is called with, where that works."""
    if why_interpreted() is not None:
        return function
    return _compiled(function)


def _compiled(function: F) -> F:
    return cast("F", numba.njit(nogil=True, cache=True)(function))


@lru_cache(maxsize=1)
def why_interpreted() -> str | None:
    """Say why kernels are not compiled on this machine; None if they are."""
    if numba is None:
        return _WHY
    if numba.config.DISABLE_JIT:
        return "NUMBA_DISABLE_JIT is set"
    try:
        _compiled(_smallest)(1)
    except (numba.core.errors.NumbaError, RuntimeError, OSError) as error:
        return f"Numba cannot compile: {error}"
    return None


def cache_folder() -> Path:
    """Where compiled code is kept."""
    return Path(os.environ["NUMBA_CACHE_DIR"])


def _smallest(number: int) -> int:
    return number
