"""Train models on tables; score tables with them in batch jobs that never lose a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.version import __version__

if TYPE_CHECKING:
    from rowcast.api import BatchPredictionJob, Model, load, train
    from rowcast.errors import RowcastError

__all__ = ["BatchPredictionJob", "Model", "RowcastError", "__version__", "load", "train"]


def __getattr__(name: str) -> object:
    # Imported on first use: the command line and the replicas need little of it.
    if name == "RowcastError":
        from rowcast.errors import RowcastError

        return RowcastError
    if name in __all__:
        from rowcast import api

        return getattr(api, name)
    raise AttributeError(f"module 'rowcast' has no attribute {name!r}")
