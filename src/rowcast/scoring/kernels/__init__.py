"""Loops over arrays that Numba compiles for this machine's CPU, without the GIL.

A kernel is a plain Python function on numpy arrays: its ``py_func`` is the readable reference,
and gives the same answer. Where Numba cannot compile, kernels are these functions, and forests are
scored by numpy: the same bits, far slower.

Compiled code is kept in the folder that ``NUMBA_CACHE_DIR`` names (replicas are told by the
setting ``kernel_cache``), else in the user's own cache folder, so that a machine compiles once.
"""

from __future__ import annotations

import os
from functools import lru_cache, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

if "NUMBA_CACHE_DIR" not in os.environ:  # Numba reads it when it is imported, and never again
    _cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rowcast/kernels"
    os.environ["NUMBA_CACHE_DIR"] = str(_cache)

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., object]")


def kernel(function: F) -> F:
    """Compile ``function`` on first call for the types it is called with, where that works.

    Numba is imported on the first call of any kernel: a process that only hands work out never
    needs it.
    """
    return cast("F", _Kernel(function))


class _Kernel:
    """A kernel: ``py_func`` is the Python, and what it calls is the best there is of it."""

    def __init__(self, function: Callable[..., object]) -> None:
        update_wrapper(self, function)
        self.py_func = function
        self._ready: Callable[..., object] | None = None

    def __call__(self, *args: object) -> object:
        return (self._ready or self.ready())(*args)

    def ready(self) -> Callable[..., object]:
        """Put compiled code, which calls only such code, in place of this kernel's own calls."""
        if self._ready is None:
            function = self.py_func
            if why_interpreted() is None:
                around = function.__globals__
                for name in function.__code__.co_names:
                    called = around.get(name)
                    if isinstance(called, _Kernel):
                        around[name] = called.ready()
                function = _compiled(function)
            self._ready = function
        return self._ready


def _compiled(function: F) -> F:
    import numba

    return cast("F", numba.njit(nogil=True, cache=True)(function))


@lru_cache(maxsize=1)
def why_interpreted() -> str | None:
    """Say why kernels are not compiled on this machine; None if they are."""
    try:
        import numba
    except (ImportError, OSError) as error:  # OSError: its library does not load on this system
        return f"Numba cannot be imported: {error}"
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
