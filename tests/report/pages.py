"""Model folders with an evaluation, and a reader of the pages made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from rowcast.core.model import EVALUATION_JSON
from rowcast.predictors.boosted import boosted_predictor
from rowcast.report import read_subject, render_report
from rowcast.storage.model_folder import write_model
from rowcast.training import TrainedModel, train
from rowcast.training.describe import describe_columns
from rowcast.training.evaluate import (
    classification_evaluation,
    evaluation_member,
    regression_evaluation,
    with_context,
)
from rowcast.training.importance import feature_importance
from tests.tables import batch_of, shop, shop_model, training_columns

VOID = {"meta", "br", "img", "link", "hr", "input"}
INLINE = {"a", "b", "bdi", "code", "i", "span"}
HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;"


def letters(rows: int = 1500) -> pa.Table:
    """26 classes, told by two numbers up to some noise."""
    rng = np.random.default_rng(5)
    klass = rng.integers(0, 26, rows)
    x = klass // 6 + rng.normal(0, 0.4, rows)
    y = klass % 6 + rng.normal(0, 0.4, rows)
    names = [chr(ord("A") + k) for k in klass]
    return pa.table({"x": x, "y": y, "letter": names})


def evaluated(model: TrainedModel, table: pa.Table) -> dict[str, bytes]:
    """The model's members, with an evaluation on the rows of ``table``."""
    predictor = boosted_predictor(model.spec, model.members)
    target = model.spec.schema.target
    encoded = predictor.encode(batch_of(table))
    said = predictor.score(encoded.matrix)
    cells = table.column(target.name).take(pa.array(encoded.rows)).to_pylist()
    if target.classes:
        labels = np.array([target.classes.index(cell) for cell in cells])
        raw = np.sqrt(said.scores) / np.sqrt(said.scores).sum(axis=1, keepdims=True)
        found = classification_evaluation(said.scores, labels, target.classes, raw_scores=raw)
    else:
        truth = np.array([float(cell) for cell in cells])
        found = regression_evaluation(said.value, truth, lower=said.lower, upper=said.upper)
    facts = model.spec.training
    size = sum(map(len, model.members.values()))
    found = with_context(
        found,
        importance=feature_importance(predictor, encoded.matrix, model_bytes=size),
        leaderboard=[
            {"name": "one", "family": "LightGBM", "loss": 0.25, "seconds": 1.5, "weight": 0.75},
            {"name": "two", "family": "linear", "loss": None, "seconds": 61.0, "weight": 0.0},
        ],
        data={"columns": describe_columns(table, facts["kinds"], facts["dropped"], target.name)},
        training={"seconds": 12.5, "budgetSeconds": 60.0},
    )
    return {**model.members, EVALUATION_JSON: evaluation_member(found)}


@lru_cache
def model_and_rows(kind: str) -> tuple[TrainedModel, pa.Table]:
    """A small model of each kind, and rows that it has not seen."""
    if kind == "letters":
        model = train(letters(), target="letter", name="letters", budget_s=4)
        return model, letters(1500)
    return shop_model(kind), training_columns(kind, shop(600, seed=8))


@lru_cache
def page_of(kind: str) -> str:
    """The report of such a model."""
    model, rows = model_and_rows(kind)
    return page(model, evaluated(model, rows))


def page(model: TrainedModel, members: dict[str, bytes]) -> str:
    """Save a model and write its report."""
    with TemporaryDirectory() as folder:
        place = Path(folder) / "m"
        digest = write_model(place, model.spec, members)
        moment = datetime(2026, 1, 31, 8, 15, tzinfo=UTC)
        subject = read_subject(place, digest, id_="churn", version="3", created=moment)
        return render_report(subject)


class Page(HTMLParser):
    """Reads a page strictly: every element that opens is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self._texts: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    @property
    def text(self) -> str:
        """All that is to be read, without style."""
        return " ".join("".join(self._texts).replace("\N{NO-BREAK SPACE}", " ").split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]
        if tag not in VOID:
            self._open.append(tag)
        if tag not in INLINE:
            self._texts.append(" ")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] == "style":
            return
        self._texts.append(data)
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")

    def table(self, *head: str) -> list[list[str]]:
        """The body of the first table whose header starts so."""
        return next(rows[1:] for rows in self.tables if rows[0][: len(head)] == list(head))
