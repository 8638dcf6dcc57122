"""Loops over arrays that Numba compiles for this machine's CPU, without the GIL.

A kernel is a plain Python function on numpy arrays: its ``py_func`` is the readable reference,
and gives the same answer. Compiled code is cached in the folder that ``NUMBA_CACHE_DIR`` names
when Numba is first imported; ``rowcast.bootstrap`` sets it from the settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")


def kernel(function: F) -> F:
    """Compile ``function`` on first call for the types it is called with."""
    return cast("F", njit(nogil=True, cache=True)(function))
