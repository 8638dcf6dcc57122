"""What models from elsewhere have in common: how rows reach them, and what becomes of answers.

Every feature is one matrix column, and ``ModelSpec.encoder`` says how it is filled:

====== ===================================================================================
number the number, NaN if it is null
code   the number that the arrays give a category; unknown ones count as null
text   a number that stands for the text itself, which the model is handed (``TextColumn``)
moment time since 1970 in the entry's ``unit``
====== ===================================================================================

Libraries that multiply matrices may round a row's sums differently in batches of another shape.
So they are always given blocks of one shape, and a row's bits do not depend on its neighbours.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rowcast.core.prediction import Predictions
from rowcast.errors import Internal, ModelDamaged
from rowcast.predictors import Encoded
from rowcast.scoring.encode import ColumnEncoder, Encoder, NumericEncoder, Vocabulary
from rowcast.scoring.parse import BAD, NULL, OK, as_text, parse_timestamps
from rowcast.storage.model_folder import read_member

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rowcast.core.batch import Batch
    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import Feature
    from rowcast.scoring.attributions.model import Additive

ARRAYS = "arrays.safetensors"
BLOCK = 256
"""Rows that a library is given at a time."""
UNITS_US = {
    "days": 86_400_000_000,
    "seconds": 1_000_000,
    "milliseconds": 1000,
    "microseconds": 1,
}
SOME_TEXT = "?"
"""Stands for the number after those of the known texts, where any text will do."""
_GENERATION = 1 << 24
_KEPT = 64


class TextColumn:
    """Texts as numbers, for models that want the text itself.

    Known texts have the numbers from 0. Others get numbers of their own that are good until 64
    further batches were encoded, so that memory stays bounded however many texts there are. Equal
    texts of a batch have equal numbers. Null is NaN.
    """

    width = 1

    def __init__(self, known: Vocabulary) -> None:
        self.known = known
        self._fixed = np.array([*known.texts(), SOME_TEXT], object)
        self._generations = count(1)
        self._recent: OrderedDict[int, np.ndarray] = OrderedDict()

    def fill(self, column: pa.Array, out: np.ndarray) -> np.ndarray:
        """See ``rowcast.scoring.encode.ColumnEncoder``."""
        column = as_text(column)
        codes = self.known.codes(column)
        null = codes == len(self.known) + 1
        strange = np.flatnonzero(codes == len(self.known))
        out[:, 0] = codes
        if len(strange):
            texts = column.take(pa.array(strange)).dictionary_encode()
            generation = next(self._generations)
            self._recent[generation] = np.array(texts.dictionary.to_pylist(), object)
            if len(self._recent) > _KEPT:
                self._recent.popitem(last=False)
            numbers = texts.indices.to_numpy(zero_copy_only=False).astype(np.float64)
            out[strange, 0] = generation * _GENERATION + numbers
        out[null, 0] = np.nan
        return np.where(null, NULL, OK).astype(np.uint8)

    def unseen(self, column: pa.Array) -> int:
        """Count the cells whose text is none of the known ones."""
        return int((self.known.codes(as_text(column)) == len(self.known)).sum())

    def texts(self, numbers: np.ndarray, null: object) -> np.ndarray:
        """Look the texts up again: an array of objects, with ``null`` for NaN.

        Raises
        ------
        Internal
            If a number is from a batch that was encoded too long ago.
        """
        found = np.full(len(numbers), null, object)
        known = ~np.isnan(numbers)
        generations, places = np.divmod(numbers[known].astype(np.int64), _GENERATION)
        texts = np.empty(len(places), object)
        for generation in np.unique(generations).tolist():
            mine = generations == generation
            table = self._recent.get(generation) if generation else self._fixed
            if table is None:
                raise Internal("Rows were scored long after they were encoded; encode them again.")
            texts[mine] = table[places[mine]]
        found[known] = texts
        return found


class CodeColumn:
    """The number of each category; a category that the model does not know counts as null."""

    width = 1

    def __init__(self, known: Vocabulary, codes: np.ndarray, *, nullable: bool) -> None:
        self.known = known
        self._codes = np.append(codes, [np.nan, np.nan])
        self._strange = OK if nullable else BAD

    def fill(self, column: pa.Array, out: np.ndarray) -> np.ndarray:
        """See ``rowcast.scoring.encode.ColumnEncoder``."""
        codes = self.known.codes(as_text(column))
        out[:, 0] = self._codes[codes]
        status = np.full(len(codes), OK, np.uint8)
        status[codes == len(self.known)] = self._strange
        status[codes == len(self.known) + 1] = NULL
        return status

    def unseen(self, column: pa.Array) -> int:
        """Count the cells whose text is none of the known ones."""
        return int((self.known.codes(as_text(column)) == len(self.known)).sum())


class MomentColumn:
    """Time since 1970."""

    width = 1

    def __init__(self, time_format: str | None, unit: str) -> None:
        self._time_format = time_format
        self._unit_us = UNITS_US[unit]

    def fill(self, column: pa.Array, out: np.ndarray) -> np.ndarray:
        """See ``rowcast.scoring.encode.ColumnEncoder``."""
        us, status = parse_timestamps(column, self._time_format)
        out[:, 0] = us / self._unit_us
        out[status != OK, 0] = np.nan
        return status


def column_encoder(
    position: int, feature: Feature, entry: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> ColumnEncoder:
    """Build the encoder of the feature at ``position``. Raises ModelDamaged."""
    try:
        if entry["as"] == "number":
            return NumericEncoder()
        if entry["as"] == "moment":
            return MomentColumn(feature.time_format, entry["unit"])
        known = Vocabulary(arrays[f"{position}.words"], arrays[f"{position}.offsets"])
        if entry["as"] == "text":
            return TextColumn(known)
        codes = np.asarray(arrays[f"{position}.codes"], np.float64)
        if entry["as"] == "code" and codes.shape == (len(known),):
            return CodeColumn(known, codes, nullable=feature.nullable)
    except KeyError as missing:
        raise ModelDamaged(f"Feature {feature.name!r} lacks {missing}.") from missing
    raise ModelDamaged(f"Feature {feature.name!r} is encoded in a way that does not exist.")


class ImportedPredictor(ABC):
    """A model from elsewhere, loaded. See ``rowcast.predictors.Predictor``.

    Subclasses say what the model answers; rows for which that is no finite number have NaN.
    """

    def __init__(self, spec: ModelSpec, members: Mapping[str, bytes]) -> None:
        from safetensors.numpy import load

        if ARRAYS not in members:
            raise ModelDamaged(f"The model {spec.name!r} lacks {ARRAYS}.")
        features = spec.schema.features
        if len(features) != len(spec.encoder):
            raise ModelDamaged("model.json describes another number of features than it encodes.")
        arrays = load(members[ARRAYS])
        pairs = enumerate(zip(features, spec.encoder, strict=True))
        self.spec = spec
        self.columns = tuple(column_encoder(i, f, entry, arrays) for i, (f, entry) in pairs)
        self._encoder = Encoder(features, self.columns)
        self._classes = len(spec.schema.target.classes)
        self._order = np.array(spec.details.get("order", range(self._classes)), np.int64)
        if self._classes and sorted(self._order.tolist()) != list(range(self._classes)):
            raise ModelDamaged("model.json does not order the classes.")
        self._interval = spec.details.get("interval")

    @abstractmethod
    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        """Answer encoded rows: probabilities in the model's own order of classes, float64 of
        shape (n, n_classes), or values of shape (n, 1).
        """

    def encode(self, batch: Batch) -> Encoded:
        """Read the feature columns; a row that does not fit, or was rejected, is an error."""
        return Encoded(*self._encoder.encode(batch))

    def score(self, matrix: np.ndarray) -> Predictions:
        """Predict for encoded rows, on the calling thread alone."""
        answers = self.outputs(matrix)
        if self._classes:
            return Predictions(scores=np.ascontiguousarray(answers[:, self._order]))
        value = np.ascontiguousarray(answers[:, 0])
        if self._interval is None:
            unknown = np.full(len(value), np.nan)
            return Predictions(value=value, lower=unknown, upper=unknown)
        low, high = float(self._interval["low"]), float(self._interval["high"])
        return Predictions(value=value, lower=value + low, upper=value + high)

    def unseen(self, rows: pa.RecordBatch) -> dict[str, int]:
        """For each feature with given categories, count the cells that hold another text."""
        return {
            feature.name: encoder.unseen(rows.column(feature.name))
            for feature, encoder in zip(self.spec.schema.features, self.columns, strict=True)
            if isinstance(encoder, CodeColumn | TextColumn) and len(encoder.known)
        }

    def groups(self) -> tuple[tuple[str, slice], ...]:
        """For each feature, its matrix column."""
        return self._encoder.groups

    def baseline(self) -> np.ndarray:
        """The baseline row, encoded: float64 of shape (n_columns,)."""
        return self._encoder.baseline.copy()

    def additive(self) -> Additive | None:
        """Nothing is known of what such a model is made of; subclasses may know more."""
        return None


class LibraryPredictor(ImportedPredictor):
    """A model that a library scores, in blocks of one shape."""

    block = BLOCK

    @abstractmethod
    def answer(self, block: np.ndarray) -> np.ndarray:
        """Answer ``self.block`` rows as ``outputs`` does.

        Raises
        ------
        ValueError
            If the model does not take one of the rows.
        """

    def outputs(self, matrix: np.ndarray) -> np.ndarray:
        """See ``ImportedPredictor``."""
        answers = np.empty((len(matrix), max(1, self._classes)))
        for start in range(0, len(matrix), self.block):
            rows = slice(start, start + self.block)
            found = self._answers(matrix[rows])
            if found.shape != answers[rows].shape:
                raise ModelDamaged(
                    f"The model has {found.shape[1]} answers to a row, but {answers.shape[1]} are "
                    "expected of it."
                )
            answers[rows] = found
        return answers

    def _answers(self, rows: np.ndarray) -> np.ndarray:
        """Answer at most a block; a row that the model refuses gets NaN."""
        filled = np.concatenate([rows, np.repeat(rows[-1:], self.block - len(rows), axis=0)])
        try:
            return self.answer(filled)[: len(rows)]
        except ValueError:
            if len(rows) == 1:
                return np.full((1, max(1, self._classes)), np.nan)
        middle = len(rows) // 2
        return np.concatenate([self._answers(rows[:middle]), self._answers(rows[middle:])])

    def cells(self, position: int, numbers: np.ndarray, null: object) -> np.ndarray:
        """One column of a block as the library wants it: texts, or numbers."""
        encoder = self.columns[position]
        return encoder.texts(numbers, null) if isinstance(encoder, TextColumn) else numbers


def read_members(folder: Path, spec: ModelSpec) -> dict[str, bytes]:
    """Read and verify every member of a folder. Raises ModelDamaged."""
    return {name: read_member(folder, spec, name) for name in sorted(spec.members)}


def save_arrays(vocabularies: Mapping[int, tuple[Sequence[str], np.ndarray | None]]) -> bytes:
    """Write the member ``ARRAYS``: for features by position, texts and perhaps their codes."""
    from safetensors.numpy import save

    arrays = {}
    for position, (texts, codes) in vocabularies.items():
        known = Vocabulary.of(texts)
        arrays[f"{position}.words"], arrays[f"{position}.offsets"] = known.words, known.offsets
        if codes is not None:
            arrays[f"{position}.codes"] = np.asarray(codes, np.float64)
    return bytes(save(arrays))
