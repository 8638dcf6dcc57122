"""The table that is scored: 20 columns, as tables of customers are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = [f"num_{i}" for i in range(10)]
CATEGORIES = {f"cat_{i}": levels for i, levels in enumerate((3, 5, 8, 12, 40, 200, 1500))}
TARGET = "churn"


def write_table(path: Path, rows: int, *, target: bool, seed: int) -> None:
    """Write ``rows`` records: 10 numbers, 7 categories, a timestamp, a text, an id.

    The text is quoted and holds commas, quotes and line breaks, as free text does.
    """
    draw = np.random.default_rng(seed)
    chunk = 250_000
    with path.open("wb") as file:
        for first in range(0, rows, chunk):
            table = _chunk(draw, first, min(chunk, rows - first), target=target)
            options = pcsv.WriteOptions(include_header=first == 0, quoting_style="needed")
            pcsv.write_csv(table, file, options)


def _chunk(draw: np.random.Generator, first: int, rows: int, *, target: bool) -> pa.Table:
    numbers = draw.normal(size=(len(NUMBERS), rows)).round(4)
    columns: dict[str, pa.Array] = {"id": pa.array(np.arange(first, first + rows))}
    columns |= {name: pa.array(values) for name, values in zip(NUMBERS, numbers, strict=True)}
    margin = numbers[0] + 0.5 * numbers[1] * numbers[2] + np.sin(2 * numbers[3])
    for name, levels in CATEGORIES.items():
        codes = np.minimum(draw.geometric(min(0.5, 8 / levels), rows) - 1, levels - 1)
        columns[name] = pa.array([f"{name}-{i}" for i in range(levels)]).take(pa.array(codes))
        margin += 0.4 * np.cos(codes)
    seconds = draw.integers(1_600_000_000, 1_700_000_000, rows)
    columns["joined"] = pa.array(seconds, pa.timestamp("s")).cast(pa.string())
    notes = ["plain note", "a note, with a comma", 'said "no"', "two\nlines", "ünïcode, too"]
    columns["note"] = pa.array(notes).take(pa.array(draw.integers(0, len(notes), rows)))
    if target:
        yes = margin + draw.logistic(size=rows) > 0
        columns[TARGET] = pa.array(np.where(yes, "yes", "no"))
    return pa.table(columns)
