"""Train models on tables; score tables with them in batch jobs that never lose a row.

Train a model on a file or a dataframe (pandas, Polars, Arrow). It is kept in a home folder,
``~/.rowcast`` unless you say otherwise:

    import rowcast

    model = rowcast.train("customers.csv", target="churn", name="churn", budget_s=60)

Score rows in memory; ``answers`` is an Arrow table with one row for each row given:

    model = rowcast.load("churn")
    answers = model.predict(dataframe).to_pandas()

Score files in a job, here or on a server (``server="http://HOST:PORT"``):

    job = rowcast.BatchPredictionJob.create("churn", "new/*.csv", "scores/").wait()
    print(job.state, job.output_directory)

Everything that rowcast raises on purpose is a ``RowcastError``; ``rowcast.errors`` has the
tree. Only the names listed here are public.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.version import __version__

if TYPE_CHECKING:
    from rowcast.api import BatchPredictionJob, Model, import_model, load, train
    from rowcast.errors import RowcastError

__all__ = [
    "BatchPredictionJob",
    "Model",
    "RowcastError",
    "__version__",
    "import_model",
    "load",
    "train",
]


def __getattr__(name: str) -> object:
    # Imported on first use: the command line and the replicas need little of it.
    if name == "RowcastError":
        from rowcast.errors import RowcastError

        return RowcastError
    if name in __all__:
        from rowcast import api

        return getattr(api, name)
    raise AttributeError(f"module 'rowcast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
