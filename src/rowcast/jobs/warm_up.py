"""What a replica does before its first task, so that a small job does not wait for it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rowcast.core.prediction import Predictions, Scored
from rowcast.core.schema import Feature, Target
from rowcast.jobs import part, plan
from rowcast.predictors.boosted import Members
from rowcast.scoring.encode import CategoricalEncoder, Encoder, NumericEncoder, TimestampEncoder
from rowcast.scoring.formats.lightgbm import read_lightgbm
from rowcast.scoring.kernels.links import sigmoid_scores
from rowcast.scoring.linear import Linear
from rowcast.scoring.parse import parse_numbers, parse_timestamps
from rowcast.scoring.profile import Bins
from rowcast.scoring.program import MOST_ALONE
from rowcast.scoring.text import Terms, TextEncoder
from rowcast.scoring.vocabulary import Vocabulary
from rowcast.sinks import SinkOptions
from rowcast.sinks.csv import CsvSink
from rowcast.sinks.join import csv_lines
from rowcast.sources import SourceOptions, open_source
from rowcast.storage.objects import Objects, Roots

if TYPE_CHECKING:
    import pyarrow as pa

    from rowcast.core.batch import Batch
    from rowcast.core.plan import Plan
    from rowcast.core.schema import FeatureKind

TABLE = 'number,when,kind,note\n1.5,2026-01-31,a,"b, ç"\n,2026-01-31 08:15:30,b,\n'.encode()
FOREST = b"""tree
version=v4
num_tree_per_iteration=1
max_feature_idx=0
tree_sizes=1

Tree=0
num_leaves=2
split_feature=0
threshold=0.5
decision_type=10
left_child=-1
right_child=-2
leaf_value=0.5 1.5

end of trees
"""


KINDS: dict[str, FeatureKind] = {"number": "numeric", "when": "timestamp", "kind": "categorical"}
LINEAR = Linear(np.zeros(1), np.ones(1), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1))


def warm_up() -> None:
    """Send two rows down the path of every row: kernels are loaded, or compiled, on the way."""
    pairs = np.array([0, 1, 1]), np.array([1], np.int32)
    terms = Terms(Vocabulary.of(["b", "c"]), *pairs, np.ones(3))
    text = TextEncoder(terms, np.ones((3, 1)), np.array([2], np.int32))
    encoder = _encoder()
    with tempfile.TemporaryDirectory(prefix="rowcast-") as folder:
        file = Path(folder, "table.csv")
        file.write_bytes(TABLE)
        objects = Objects(Roots(Path(folder, "gs"), Path(folder, "s3"), (Path(folder),)))
        source = open_source("csv", SourceOptions(objects, f"{folder}/spool/"))
        survey = source.survey(plan.list_input(objects, [str(file)]), len(TABLE))
        for piece in survey.parts:
            for batch in source.read(survey.layout, piece, part.READ_ROWS):
                encoder.encode(batch)
                CsvSink(_sink_options(objects, folder, survey)).predictions(_scored(batch))
                _without_spans(batch.rows, text)
    members = Members.of(read_lightgbm(FOREST), LINEAR)
    for rows in (1, MOST_ALONE + 1):  # few rows and many take different ways
        members.margins(np.zeros((rows, 1)))
    sigmoid_scores(np.zeros(2), np.empty((2, 2)))
    nowhere = np.zeros(0, np.int64)
    Bins.of([]).count(np.zeros((1, 1)), nowhere, nowhere, nowhere)


def _encoder() -> Encoder:
    features = [Feature(name, kind, nullable=True) for name, kind in KINDS.items()]
    words = Vocabulary.of(["a"])
    table = CategoricalEncoder(words, np.zeros((len(words) + 2, 1)))
    return Encoder(features, [NumericEncoder(), TimestampEncoder(None), table])


def _sink_options(objects: Objects, folder: str, survey: Plan) -> SinkOptions:
    target = Target("answer", "classification", ("no", "yes"))
    return SinkOptions(objects, f"{folder}/", f"{folder}/_staging/", target, survey.layout.schema)


def _scored(batch: Batch) -> Scored:
    rows = np.arange(len(batch))
    return Scored(batch, rows, Predictions(scores=np.full((len(rows), 2), 0.5)), ())


def _without_spans(rows: pa.RecordBatch, text: TextEncoder) -> None:
    """What is made of columns: of other formats, and of text."""
    number, when, kind, note = rows.columns
    parse_numbers(number)
    parse_timestamps(when)
    Vocabulary.of(["a"]).codes(kind)
    text.fill(note, np.empty((len(note), text.width)))
    csv_lines(rows.columns)
