"""What a replica does before its first task, so that a small job does not wait for it."""

from __future__ import annotations

from importlib import import_module


def warm_up() -> None:
    """Import what parts need, and load the compiled kernels (or compile them once)."""
    for module in ("rowcast.jobs.part", "rowcast.jobs.plan", "rowcast.predictors.boosted"):
        import_module(module)
