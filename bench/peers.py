"""What users run today, and the floor: each a program, ``python -m bench.peers NAME``."""

from __future__ import annotations

import json
import sys
from pathlib import Path


def pandas_lightgbm(source: str, out: str, work: str) -> None:
    """The same trees on the same matrix: pandas reads, maps and writes, LightGBM predicts."""
    import lightgbm
    import numpy as np
    import pandas as pd

    recipe = json.loads(Path(work, "recipe.json").read_text())
    booster = lightgbm.Booster(model_file=recipe["forest"])
    frame = pd.read_csv(source)
    columns = []
    for kind, name, tables in recipe["columns"]:
        if kind == "numeric":
            columns.append(frame[name].to_numpy(float))
        elif kind == "timestamp":
            when = pd.to_datetime(frame[name])
            parts = when.dt
            columns.append((when - pd.Timestamp(0)) / pd.Timedelta(days=1))
            columns += [parts.year, parts.month, parts.day, parts.day_of_week]
            columns += [parts.day_of_year, parts.hour]
        else:
            columns += [frame[name].map(table) for table in tables]
    matrix = np.column_stack([np.asarray(c, float) for c in columns])
    yes = booster.predict(matrix, num_threads=2)
    frame["churn_no_score"], frame["churn_yes_score"] = 1 - yes, yes
    frame.to_csv(out, index=False)


def duckdb_copy(source: str, out: str, work: str) -> None:  # noqa: ARG001
    """Read and write the file, all columns as text, without a model."""
    import duckdb

    connection = duckdb.connect(config={"threads": 2})
    reader = f"read_csv('{source}', all_varchar=true, delim=',', quote='\"', header=true)"
    connection.sql(f"COPY (FROM {reader}) TO '{out}' (HEADER)")


def polars_copy(source: str, out: str, work: str) -> None:  # noqa: ARG001
    """The same with Polars, streaming."""
    import polars as pl

    pl.scan_csv(source, infer_schema=False).sink_csv(out)


PEERS = {f.__name__: f for f in (pandas_lightgbm, duckdb_copy, polars_copy)}

if __name__ == "__main__":
    PEERS[sys.argv[1]](*sys.argv[2:])
