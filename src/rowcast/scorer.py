"""Score rows with a model folder and nothing else: no home, no server, no job.

From a shell, CSV on standard output, a row for each row of the input::

    python -m rowcast.scorer MODEL_DIR input.csv > output.csv

From Python::

    from rowcast import scorer

    model = scorer.load("MODEL_DIR")
    answers = model.predict(dataframe)

``MODEL_DIR`` is what ``rowcast export`` writes, or a model folder itself. Every file of it is
hashed before it is read, and the numbers are those of a job, to the last bit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import pyarrow as pa

from rowcast.core.batch import Batch, Places
from rowcast.core.schema import check_added_columns, check_columns
from rowcast.errors import InvalidRequest, RowcastError, UnreadableInput
from rowcast.predictors import answered, at_level, load_predictor
from rowcast.storage.model_folder import SIDECAR, folder_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import Target
    from rowcast.predictors import Predictor

BATCH_ROWS = 8192
PART_BYTES = 4 << 20
ERROR = "error"


class Scorer:
    """A model, loaded into this process."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @property
    def spec(self) -> ModelSpec:
        """What the model expects and predicts."""
        return self.predictor.spec

    def at_level(self, level: float) -> Scorer:
        """Serve intervals that hold another share of true values.

        Raises
        ------
        InvalidRequest
            If the model has no intervals, or none of that level.
        """
        return Scorer(at_level(self.predictor, level))

    def predict(self, data: Any) -> pa.Table:
        """Score rows.

        Parameters
        ----------
        data : dataframe or path
            A pandas, Polars or Arrow table (anything with the Arrow stream interface), or the
            path of a CSV, JSONL or Parquet file.

        Returns
        -------
        pyarrow.Table
            One row for each row of ``data``, in order: for a class ``<target>_<class>_score``,
            for a value ``predicted_<target>``, ``lower_bound`` and ``upper_bound``; and
            ``error``, null for a row that was scored.

        Raises
        ------
        MissingColumns
            If a feature column is absent.
        UnreadableInput
            If the file or the dataframe is not what it is said to be.
        NotFound
            If there is no such file.
        """
        tables = [self.answer(batch) for batch in self.batches(data)]
        if tables:
            return pa.concat_tables(tables)
        return answer_schema(self.spec.schema.target).empty_table()

    def answer(self, batch: Batch) -> pa.Table:
        """Score one batch. See ``predict``."""
        encoded = self.predictor.encode(batch)
        answers = self.predictor.score(encoded.matrix)
        encoded, answers = answered(encoded, answers, batch.places)
        if answers.scores is not None:
            columns = list(answers.scores.T)
        else:
            given = (answers.value, answers.lower, answers.upper)
            columns = [array for array in given if array is not None]
        scored = np.zeros(len(batch), bool)
        scored[encoded.rows] = True
        filled = []
        for column in columns:
            whole = np.full(len(batch), np.nan)
            whole[encoded.rows] = column
            filled.append(pa.array(whole, mask=~scored | np.isnan(whole)))
        errors: list[str | None] = [None] * len(batch)
        for error in encoded.errors:
            errors[error.index] = error.message
        schema = answer_schema(self.spec.schema.target)
        return pa.table([*filled, pa.array(errors, pa.string())], schema)

    def batches(self, data: Any) -> Iterator[Batch]:
        """Bring a dataframe or a file into batches."""
        if isinstance(data, str | os.PathLike):
            yield from self._of_file(os.fspath(data))
            return
        if not hasattr(data, "__arrow_c_stream__") and not hasattr(data, "__arrow_c_array__"):
            raise InvalidRequest(
                f"Cannot read rows from {type(data).__name__}; give a pandas, Polars or Arrow "
                "table, or the path of a file."
            )
        try:
            table = pa.table(data)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise UnreadableInput(
                f"The dataframe cannot be read as an Arrow table: {error}"
            ) from error
        check_columns(self.spec.schema, table.schema.names, "The dataframe")
        first = 1
        for batch in table.to_batches(max_chunksize=BATCH_ROWS):
            rows = np.arange(first, first + batch.num_rows)
            first += batch.num_rows
            if len(rows):
                yield Batch(batch, Places("the dataframe", rows))

    def _of_file(self, name: str) -> Iterator[Batch]:
        from rowcast.sources import SourceOptions, format_of, open_source
        from rowcast.storage.objects import Objects, Roots

        if "://" in name:
            raise InvalidRequest(f"{name} is not a path; score URIs with a BatchPredictionJob.")
        path = os.path.abspath(os.path.expanduser(name))  # noqa: PTH100, PTH111 - keeps links
        folders = {Path(path).parent, Path(os.path.realpath(path)).parent}
        with tempfile.TemporaryDirectory(prefix="rowcast-") as spool:
            roots = Roots(Path(spool), Path(spool), (*folders, Path(spool)))
            options = SourceOptions(
                Objects(roots), f"{spool}/spool/", feature_names=self.spec.schema.feature_names
            )
            source = open_source(format_of(name), options)
            plan = source.survey([options.objects.stat(path)], PART_BYTES)
            check_columns(self.spec.schema, plan.layout.schema.names, name)
            for part in plan.parts:
                yield from source.read(plan.layout, part, BATCH_ROWS)


def load(folder: str | Path, digest: str | None = None) -> Scorer:
    """Load a model folder, or the one in an export.

    Parameters
    ----------
    folder : path
    digest : str, optional
        SHA-256 of ``model.json``. Default: what the folder states, which proves that its files
        belong together, but not where they are from.

    Raises
    ------
    ModelDamaged
        If a file is not the one that was saved.
    """
    place = Path(folder).expanduser()
    if (place / "model" / SIDECAR).exists():
        place = place / "model"
    return Scorer(load_predictor(str(place), digest or folder_digest(place)))


def answer_schema(target: Target) -> pa.Schema:
    """The columns of answers."""
    names = list(target.score_columns())
    if target.prediction_type == "regression":
        names += ["lower_bound", "upper_bound"]
    return pa.schema([*((name, pa.float64()) for name in names), (ERROR, pa.string())])


def write_csv(scorer: Scorer, name: str, out: BinaryIO) -> int:
    """Score a file, and write its columns and the answers as CSV.

    Returns
    -------
    int
        How many rows could not be scored; ``error`` says why.
    """
    from rowcast.sinks.columns import as_text
    from rowcast.sinks.join import csv_header, csv_lines

    added = answer_schema(scorer.spec.schema.target).names
    failed = 0
    batches = scorer.batches(name)
    first = next(batches, None)
    if first is None:
        out.write(csv_header([*scorer.spec.schema.feature_names, *added]))
        return 0
    check_added_columns(added, first.rows.schema.names)
    out.write(csv_header([*first.rows.schema.names, *added]))
    for batch in chain([first], batches):
        answers = scorer.answer(batch).combine_chunks()
        failed += len(answers) - answers[ERROR].null_count
        columns = [*batch.rows.columns, *(column.chunk(0) for column in answers.columns)]
        out.write(csv_lines([as_text(column) for column in columns]))
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m rowcast.scorer",
        description="Score a file with an exported model; CSV goes to standard output.",
    )
    parser.add_argument("model", metavar="MODEL_DIR", help="what `rowcast export` wrote")
    parser.add_argument("input", metavar="INPUT", help="CSV, JSONL or Parquet, also .gz, .zst")
    parser.add_argument("--digest", metavar="SHA256", help="that the model's folder must have")
    given = parser.parse_args(arguments)
    try:
        failed = write_csv(load(given.model, given.digest), given.input, sys.stdout.buffer)
    except RowcastError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    except BrokenPipeError:  # whoever read the output has enough of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if failed:
        sys.stderr.write(f"{failed:,} rows could not be scored; the column {ERROR!r} says why.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
