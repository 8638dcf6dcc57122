"""What a replica does to import one model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rowcast.core.model import ModelSpec
from rowcast.errors import InvalidRequest, ModelDamaged, NotFound
from rowcast.importing import MOST_BYTES, Imported
from rowcast.importing.check import (
    Example,
    answers_of,
    check_scores,
    compare,
    encode_example,
    residuals,
    settle_nulls,
)
from rowcast.importing.columns import Columns, Matching, SchemaFile, read_schema
from rowcast.importing.formats import describe
from rowcast.importing.onnx import check_graph
from rowcast.predictors import load_predictor
from rowcast.predictors.imported import ARRAYS
from rowcast.predictors.onnx import MODEL as ONNX_MODEL
from rowcast.scoring.intervals import LEVEL, signed_quantiles
from rowcast.storage.model_folder import SIDECAR, folder_digest, read_member
from rowcast.training.data import read_file
from rowcast.version import __version__

if TYPE_CHECKING:
    import pyarrow as pa

    from rowcast.importing import ImportRequest
    from rowcast.importing.described import Described
    from rowcast.predictors.imported import ImportedPredictor


def work(request: ImportRequest) -> Imported:
    """Import a model; called in a replica. See ``rowcast.importing.import_model``."""
    try:
        if Path(request.file).is_dir():
            return import_folder(request)
        return _Import(request).run()
    except ModelDamaged as error:
        raise InvalidRequest(f"{request.called(request.file)} cannot be used: {error}") from error


def import_folder(request: ImportRequest) -> Imported:
    """Take over a model folder as it is, or that of an export.

    Raises
    ------
    ModelDamaged
        If it is not what was saved.
    InvalidRequest
        If it is of another digest than was asked for, or has no answer to its own baseline.
    """
    folder = Path(request.file)
    if (folder / "model" / SIDECAR).exists():
        folder = folder / "model"
    stated = folder_digest(folder)
    if request.digest not in (None, stated):
        raise InvalidRequest(
            f"{request.called(request.file)} has the digest {stated}, not {request.digest}."
        )
    predictor = load_predictor(str(folder), stated)
    spec = predictor.spec
    members = {name: read_member(folder, spec, name) for name in sorted(spec.members)}
    if spec.predictor == "onnx":
        check_graph(members[ONNX_MODEL])
    answer = predictor.score(predictor.baseline()[None, :])
    outputs = answer.value if answer.scores is None else answer.scores
    if outputs is None or np.isinf(outputs).any():
        raise InvalidRequest(f"{request.called(request.file)} has no answer to its own baseline.")
    return Imported(spec, members)


def read_bytes(request: ImportRequest, file: str) -> bytes:
    """Read a user's file, whole. Raises NotFound, InvalidRequest."""
    path, name = Path(file), request.called(file)
    if not path.is_file():
        raise NotFound(f"There is no file {name}.")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise InvalidRequest(f"{name} has {size:,} bytes; at most {MOST_BYTES:,} are read.")
    return path.read_bytes()


@dataclass
class _Import:
    request: ImportRequest

    def run(self) -> Imported:
        request = self.request
        described = describe(
            read_bytes(request, request.file), request.format, request.called(request.file)
        )
        given = SchemaFile()
        if request.schema is not None:
            given = read_schema(read_bytes(request, request.schema), request.called(request.schema))
        table = None if request.example is None else read_table(request, request.example)
        matching = Matching(described, given, table, self._target(given))
        columns = matching.columns(request.prediction_type)
        members = {**described.members, ARRAYS: columns.arrays}
        predictor = self._predictor(described, columns, members)
        example = None if table is None else encode_example(predictor, table)
        columns, warnings = settle_nulls(columns, predictor, example)
        predictor = self._predictor(described, columns, members)
        if table is not None:
            example = encode_example(predictor, table)
            if not len(example.rows):
                raise InvalidRequest(
                    f"No row of the example can be scored. The first: {example.faults[0]}"
                )
        check_scores(predictor, example)
        checks = self._compare(described, predictor, example, table)
        if not checks:
            warnings.append(
                "Nothing was there to compare the model's answers with; give an example with the "
                "answers that are expected."
            )
        facts = self._facts(described, columns, example, checks)
        details = dict(columns.details)
        warnings += self._interval(predictor, table, example, details, facts)
        facts["warnings"] = warnings
        spec = replace(predictor.spec, details=details, training=facts)
        return Imported(spec, members)

    def _target(self, given: SchemaFile) -> str:
        asked, said = self.request.target, given.target
        if asked and said and asked != said:
            raise InvalidRequest(f"The target is {asked!r}, but the schema says {said!r}.")
        name = asked or said
        if not name:
            raise InvalidRequest("Say what the model predicts: name the target.")
        return name

    def _predictor(
        self, described: Described, columns: Columns, members: dict[str, bytes]
    ) -> ImportedPredictor:
        spec = ModelSpec(
            name=self.request.name,
            predictor=described.predictor,
            schema=columns.schema,
            encoder=columns.entries,
            details=columns.details,
            versions={"rowcast": __version__, **described.versions},
        )
        return described.build(spec, members)

    def _compare(
        self,
        described: Described,
        predictor: ImportedPredictor,
        example: Example | None,
        table: pa.Table | None,
    ) -> list[dict[str, Any]]:
        """Compare with everything there is to compare with."""
        checks = []
        wanted = self._expected(predictor, table)
        if wanted is not None and example is not None:
            found = np.full(wanted.shape, np.nan)
            found[example.rows] = scores_of(predictor, example.matrix)
            where = partial(_row_of_example, example)
            checks.append(
                compare(found, wanted, described, "the expected answers", where).facts(
                    described.tolerance
                )
            )
        if described.library is not None:
            rows = described.trial_rows if example is None else example.matrix
            what = "trial row" if example is None else "fitting row"
            if rows is not None and len(rows):
                comparison = compare(
                    predictor.outputs(rows),
                    described.library(rows),
                    described,
                    f"{described.format}'s own predictions",
                    lambda row: f"{what} {row + 1}",
                )
                checks.append(comparison.facts(described.tolerance))
        return checks

    def _expected(self, predictor: ImportedPredictor, table: pa.Table | None) -> np.ndarray | None:
        target, source = predictor.spec.schema.target, self.request.expected
        if source is None:
            return None if table is None else answers_of(table, target)
        if table is None:
            raise InvalidRequest("Expected answers need the example that they are for.")
        expected = read_table(self.request, source)
        if expected.num_rows != table.num_rows:
            raise InvalidRequest(
                f"The example has {table.num_rows} rows, but "
                f"{self.request.called(source)} has {expected.num_rows}."
            )
        answers = answers_of(expected, target)
        if answers is None:
            names = ", ".join(map(repr, target.score_columns()[:5]))
            raise InvalidRequest(
                f"{self.request.called(source)} has none of the columns {names}, which hold "
                "expected answers."
            )
        return answers

    def _facts(
        self,
        described: Described,
        columns: Columns,
        example: Example | None,
        checks: list[dict[str, Any]],
    ) -> dict[str, Any]:
        imported: dict[str, Any] = {
            "format": described.format,
            "file": self.request.called(self.request.file).rpartition("/")[2],
            "checks": checks,
        }
        if example is not None:
            imported["exampleRows"] = len(example.rows) + len(example.faults)
            imported["exampleRowsFailed"] = len(example.faults)
            imported["exampleFaults"] = list(example.faults[:5])
        return {
            "rows": 0,
            "predictionType": columns.schema.target.prediction_type,
            "objective": described.objective,
            "kinds": {feature.name: feature.kind for feature in columns.schema.features},
            "dropped": {},
            "imported": imported,
        }

    def _interval(
        self,
        predictor: ImportedPredictor,
        table: pa.Table | None,
        example: Example | None,
        details: dict[str, Any],
        facts: dict[str, Any],
    ) -> list[str]:
        """Set the bounds by the example's residuals, if it has enough."""
        if predictor.spec.schema.target.classes:
            return []
        found = None
        if table is not None and example is not None:
            values = predictor.outputs(example.matrix)[:, 0]
            found = residuals(predictor, table, example, values)
        if found is None:
            return [
                "The model has no prediction interval: an example with the target in at least 100 "
                "rows gives it one."
            ]
        low, high = signed_quantiles(found)
        details["interval"] = {"low": low, "high": high}
        facts["interval"] = {"level": LEVEL, "rows": len(found), "width": high - low}
        return [
            "The prediction interval is from the example's rows; it is honest only if the model "
            "was not trained on them."
        ]


def _row_of_example(example: Example, row: int) -> str:
    """Name a row, and say why it could not be scored if that is so."""
    lost = dict(zip(np.setdiff1d(np.arange(row + 1), example.rows), example.faults, strict=False))
    return f"row {row + 1} of the example" + (f" ({lost[row]})" if row in lost else "")


def scores_of(predictor: ImportedPredictor, matrix: np.ndarray) -> np.ndarray:
    """Score rows: the classes' scores in our order, or one column of values."""
    answers = predictor.score(matrix)
    if answers.scores is not None:
        return answers.scores
    return np.asarray(answers.value).reshape(-1, 1)


def read_table(request: ImportRequest, file: str) -> pa.Table:
    """Read an example."""
    try:
        table = read_file(Path(file))
    except InvalidRequest as error:
        raise type(error)(str(error).replace(file, request.called(file))) from error
    if not table.num_rows:
        raise InvalidRequest(f"{request.called(file)} has no rows.")
    return table
