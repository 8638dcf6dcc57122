"""Datasets and training pipelines in the database."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from rowcast.core.dataset import Dataset
from rowcast.core.job import CANCELLED
from rowcast.core.pipeline import PIPELINE_FINISHED, PIPELINE_MOVES, Pipeline, PipelineState
from rowcast.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from rowcast.stores.database import below, to_us
from rowcast.stores.leases import Leases
from rowcast.stores.sql_models import insert_model, model_exists
from rowcast.stores.tables import DATASETS, PIPELINES

if TYPE_CHECKING:
    import builtins
    from collections.abc import Sequence
    from datetime import datetime

    from rowcast.core.names import Parent
    from rowcast.stores import Lease, Model
    from rowcast.stores.database import Database

# Made here, once: msgspec crashes when two threads are the first to decode the same type.
_DATASET = msgspec.json.Decoder(Dataset)
_PIPELINE = msgspec.json.Decoder(Pipeline)
_LEASES = Leases(PIPELINES, "Training pipeline", PIPELINE_FINISHED)


class SqlDatasets:
    """``DatasetStore`` in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, dataset: Dataset) -> Dataset:
        """See ``DatasetStore``."""
        with self._database.writing() as connection:
            connection.execute(
                sa.insert(DATASETS).values(
                    id=dataset.id,
                    project=dataset.parent.project,
                    location=dataset.parent.location,
                    created_us=to_us(dataset.created),
                    document=_encode(dataset),
                )
            )
        return dataset

    def get(self, parent: Parent, dataset_id: str) -> Dataset:
        """See ``DatasetStore``."""
        with self._database.reading() as connection:
            return _dataset(connection, parent, dataset_id)

    def list(self, parent: Parent) -> Sequence[Dataset]:
        """See ``DatasetStore``."""
        query = (
            sa.select(DATASETS.c.document)
            .where(below(DATASETS, parent))
            .order_by(DATASETS.c.created_us.desc(), DATASETS.c.id)
        )
        with self._database.reading() as connection:
            return [_DATASET.decode(text) for text in connection.execute(query).scalars()]

    def replace(self, dataset: Dataset, before: Dataset) -> None:
        """See ``DatasetStore``."""
        with self._database.writing() as connection:
            if _dataset(connection, dataset.parent, dataset.id) != before:
                raise Aborted(f"{dataset.name} has just been changed by another; try again.")
            connection.execute(
                sa.update(DATASETS)
                .where(DATASETS.c.id == dataset.id)
                .values(document=_encode(dataset))
            )

    def delete(self, parent: Parent, dataset_id: str) -> None:
        """See ``DatasetStore``."""
        with self._database.writing() as connection:
            dataset = _dataset(connection, parent, dataset_id)
            for pipeline in _pipelines(connection, parent, _LEASES.unfinished):
                if pipeline.spec.dataset_id == dataset_id:
                    raise FailedPrecondition(
                        f"{dataset.name} is used by {pipeline.name}, which is not finished; wait "
                        "for it or cancel it first."
                    )
            connection.execute(sa.delete(DATASETS).where(DATASETS.c.id == dataset_id))


class SqlPipelines:
    """``PipelineStore`` in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, pipeline: Pipeline) -> Pipeline:
        """See ``PipelineStore``."""
        with self._database.writing() as connection:
            _dataset(connection, pipeline.parent, pipeline.spec.dataset_id)
            connection.execute(
                sa.insert(PIPELINES).values(
                    id=pipeline.id,
                    project=pipeline.parent.project,
                    location=pipeline.parent.location,
                    created_us=to_us(pipeline.created),
                    state=pipeline.state.value,
                    document=_encode(pipeline),
                )
            )
        return pipeline

    def get(self, parent: Parent, pipeline_id: str) -> Pipeline:
        """See ``PipelineStore``."""
        with self._database.reading() as connection:
            return _pipeline(connection, parent, pipeline_id)

    def list(self, parent: Parent) -> Sequence[Pipeline]:
        """See ``PipelineStore``."""
        with self._database.reading() as connection:
            return _pipelines(connection, parent)

    def delete(self, parent: Parent, pipeline_id: str) -> None:
        """See ``PipelineStore``."""
        with self._database.writing() as connection:
            pipeline = _pipeline(connection, parent, pipeline_id)
            if not pipeline.state.finished:
                raise FailedPrecondition(
                    f"{pipeline.name} is in {pipeline.state}; only a finished pipeline can be "
                    "deleted. Cancel it first."
                )
            connection.execute(sa.delete(PIPELINES).where(PIPELINES.c.id == pipeline_id))

    def request_cancel(self, parent: Parent, pipeline_id: str, now: datetime) -> Pipeline:
        """See ``PipelineStore``."""
        with self._database.writing() as connection:
            pipeline = _pipeline(connection, parent, pipeline_id)
            if pipeline.state.finished:
                raise FailedPrecondition(f"{pipeline.name} has ended in {pipeline.state}.")
            if pipeline.state is PipelineState.CANCELLING:
                return pipeline
            now = max(now, pipeline.updated)  # the clock may have been put back
            pipeline = replace(
                pipeline, state=PipelineState.CANCELLING, cancel_requested=True, updated=now
            )
            if not _LEASES.driven(connection, pipeline_id, self._database.clock()):
                pipeline = replace(
                    pipeline, state=PipelineState.CANCELLED, ended=now, error=CANCELLED
                )
            _put(connection, pipeline)
            return pipeline

    def claim(
        self,
        owner: str,
        lease_until: float,
        pipeline_id: str | None = None,
        *,
        except_for: Sequence[str] = (),
    ) -> Lease | None:
        """See ``PipelineStore``."""
        among: builtins.list[sa.ColumnElement[bool]] = [PIPELINES.c.id.not_in(except_for)]
        if pipeline_id is not None:
            among.append(PIPELINES.c.id == pipeline_id)
        with self._database.writing() as connection:
            now = self._database.clock()
            return _LEASES.claim(connection, owner, now, lease_until, among)

    def renew(self, lease: Lease, lease_until: float) -> bool | None:
        """See ``PipelineStore``."""
        with self._database.writing() as connection:
            if not _LEASES.renew(connection, lease, lease_until):
                return None
            return _leased(connection, lease).cancel_requested

    def owners(self) -> set[str]:
        """See ``PipelineStore``."""
        with self._database.reading() as connection:
            return _LEASES.owners(connection)

    def release_owner(self, owner: str, now: datetime) -> None:
        """See ``PipelineStore``."""
        running = sa.and_(
            PIPELINES.c.owner == owner, PIPELINES.c.state == PipelineState.RUNNING.value
        )
        with self._database.writing() as connection:
            for document in connection.execute(
                sa.select(PIPELINES.c.document).where(running)
            ).scalars().all():  # fmt: skip
                pipeline = _PIPELINE.decode(document)
                waiting = replace(
                    pipeline,
                    state=PipelineState.PENDING,
                    progress=None,
                    updated=max(now, pipeline.updated),
                )
                _put(connection, waiting)
            _LEASES.release(connection, owner)

    def update(self, lease: Lease, **changes: Any) -> Pipeline:
        """See ``PipelineStore``."""
        with self._database.writing() as connection:
            return _change(connection, lease, changes)

    def succeed(self, lease: Lease, model: Model, *, new: bool, **changes: Any) -> Pipeline:
        """See ``PipelineStore``."""
        with self._database.writing() as connection:
            pipeline = _change(connection, lease, changes)
            there = model_exists(connection, model.parent, model.id)
            if new and there:
                raise AlreadyExists(f"{model.name} exists by now.")
            if not new and not there:
                raise NotFound(f"{model.name} was deleted while its new version was trained.")
            insert_model(connection, model, default=False)
            return pipeline


def _dataset(connection: sa.Connection, parent: Parent, dataset_id: str) -> Dataset:
    document = connection.execute(
        sa.select(DATASETS.c.document).where(below(DATASETS, parent), DATASETS.c.id == dataset_id)
    ).scalar()
    if document is None:
        raise NotFound(f"{parent.child('datasets', dataset_id)} does not exist.")
    return _DATASET.decode(document)


def _pipeline(connection: sa.Connection, parent: Parent, pipeline_id: str) -> Pipeline:
    found = _pipelines(connection, parent, PIPELINES.c.id == pipeline_id)
    if not found:
        raise NotFound(f"{parent.child('trainingPipelines', pipeline_id)} does not exist.")
    return found[0]


def _pipelines(
    connection: sa.Connection, parent: Parent, *where: sa.ColumnElement[bool]
) -> builtins.list[Pipeline]:
    query = (
        sa.select(PIPELINES.c.document)
        .where(below(PIPELINES, parent), *where)
        .order_by(PIPELINES.c.created_us.desc(), PIPELINES.c.id)
    )
    return [_PIPELINE.decode(document) for document in connection.execute(query).scalars()]


def _leased(connection: sa.Connection, lease: Lease) -> Pipeline:
    return _PIPELINE.decode(_LEASES.document(connection, lease))


def _change(connection: sa.Connection, lease: Lease, changes: dict[str, Any]) -> Pipeline:
    pipeline = _leased(connection, lease)
    state = changes.get("state", pipeline.state)
    if state is not pipeline.state and state not in PIPELINE_MOVES[pipeline.state]:
        raise Aborted(f"{pipeline.name} is in {pipeline.state} and cannot enter {state}.")
    pipeline = replace(pipeline, **changes)
    _put(connection, pipeline)
    return pipeline


def _put(connection: sa.Connection, pipeline: Pipeline) -> None:
    connection.execute(
        sa.update(PIPELINES)
        .where(PIPELINES.c.id == pipeline.id)
        .values(state=pipeline.state.value, document=_encode(pipeline))
    )


def _encode(value: Dataset | Pipeline) -> str:
    return msgspec.json.encode(value).decode()
