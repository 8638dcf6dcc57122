"""Loops over arrays that Numba compiles for this machine's CPU, without the GIL.

A kernel is a plain Python function on numpy arrays: its ``py_func`` is the readable reference,
and gives the same answer. Compiled code is kept in the folder that ``NUMBA_CACHE_DIR`` names
(replicas are told by the setting ``kernel_cache``), else in the user's own cache folder, so that a
machine compiles once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

if "NUMBA_CACHE_DIR" not in os.environ:  # Numba reads it when it is imported, and never again
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rowcast/kernels"
    os.environ["NUMBA_CACHE_DIR"] = str(_cache)

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")


def kernel(function: F) -> F:
    """Compile ``function`` on first call for the types it is called with."""
    return cast("F", njit(nogil=True, cache=True)(function))
