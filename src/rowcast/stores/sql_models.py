"""Registered models in the database. Each version is a row; one of a model's is the default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from rowcast.core.job import FINISHED
from rowcast.core.names import ModelName, Parent
from rowcast.core.pipeline import PIPELINE_FINISHED
from rowcast.errors import FailedPrecondition, NotFound
from rowcast.stores import Model
from rowcast.stores.database import Database, below, from_us, to_us
from rowcast.stores.tables import JOBS, MODEL_COUNTERS, MODELS, PIPELINES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

DEFAULT = "default"
_OF_MODEL = frozenset({"display_name", "description", "labels"})
"""Fields that all versions of a model share."""


class SqlModels(Database):
    """The models of one database. See ``ModelStore``."""

    def next_version(self, parent: Parent, model_id: str) -> str:
        """See ``ModelStore``."""
        with self.writing() as connection:
            counter = sa.and_(below(MODEL_COUNTERS, parent), MODEL_COUNTERS.c.id == model_id)
            counted = connection.execute(
                sa.select(MODEL_COUNTERS.c.last_version).where(counter).with_for_update()
            ).scalar()
            kept = connection.execute(
                sa.select(MODELS.c.version_id).where(_versions(parent, model_id))
            ).scalars()
            number = 1 + max((counted or 0, *map(int, kept)))
            if counted is None:
                connection.execute(
                    sa.insert(MODEL_COUNTERS).values(
                        project=parent.project,
                        location=parent.location,
                        id=model_id,
                        last_version=number,
                    )
                )
            else:
                connection.execute(
                    sa.update(MODEL_COUNTERS).where(counter).values(last_version=number)
                )
            return str(number)

    def add_model(self, model: Model, *, default: bool = True) -> Model:
        """See ``ModelStore``."""
        with self.writing() as connection:
            insert_model(connection, model, default=default)
        return self.get_model(model.parent, model.id, model.version_id)

    def get_model(self, parent: Parent, model_id: str, version: str | None = None) -> Model:
        """See ``ModelStore``."""
        with self.reading() as connection:
            return _find(connection, parent, model_id, version)

    def model_versions(self, parent: Parent, model_id: str) -> list[Model]:
        """See ``ModelStore``."""
        with self.reading() as connection:
            return _select(connection, _versions(parent, model_id))

    def list_models(self, parent: Parent) -> list[Model]:
        """See ``ModelStore``."""
        with self.reading() as connection:
            return _select(connection, sa.and_(below(MODELS, parent), MODELS.c.is_default))

    def update_model(self, model: Model, *, updated: datetime, **changes: Any) -> Model:
        """See ``ModelStore``."""
        updated_us = to_us(updated)
        shared = {name: value for name, value in changes.items() if name in _OF_MODEL}
        own = {name: value for name, value in changes.items() if name not in _OF_MODEL}
        with self.writing() as connection:
            found = _find(connection, model.parent, model.id, model.version_id)
            every = _versions(model.parent, model.id)
            if shared:
                connection.execute(
                    sa.update(MODELS).where(every).values(**shared, updated_us=updated_us)
                )
            connection.execute(
                sa.update(MODELS)
                .where(every, MODELS.c.version_id == found.version_id)
                .values(**own, updated_us=updated_us)
            )
            return _find(connection, model.parent, model.id, model.version_id)

    def merge_aliases(
        self, model: Model, add: Sequence[str], remove: Sequence[str], now: datetime
    ) -> Model:
        """See ``ModelStore``."""
        with self.writing() as connection:
            found = _find(connection, model.parent, model.id, model.version_id)
            if DEFAULT in remove and DEFAULT in found.aliases:
                raise FailedPrecondition(
                    f"{found.name}@{found.version_id} is the default version; give the alias "
                    "'default' to another version, and it moves there."
                )
            _take_aliases(connection, found, add, now)
            own = {*found.aliases, *add}.difference(remove, [DEFAULT])
            connection.execute(
                sa.update(MODELS)
                .where(_versions(model.parent, model.id), MODELS.c.version_id == found.version_id)
                .values(
                    aliases=sorted(own),
                    is_default=DEFAULT in add or DEFAULT in found.aliases,
                    updated_us=to_us(now),
                )
            )
            return _find(connection, model.parent, model.id, model.version_id)

    def delete_version(self, model: Model) -> None:
        """See ``ModelStore``."""
        with self.writing() as connection:
            found = _find(connection, model.parent, model.id, model.version_id)
            if DEFAULT in found.aliases:
                raise FailedPrecondition(
                    f"{found.name}@{found.version_id} is the default version; give the alias "
                    "'default' to another version first, or delete the model."
                )
            _check_unused(connection, found.parent, found.id, found.version_id)
            connection.execute(
                sa.delete(MODELS).where(
                    _versions(found.parent, found.id), MODELS.c.version_id == found.version_id
                )
            )

    def delete_model(self, parent: Parent, model_id: str) -> list[Model]:
        """See ``ModelStore``."""
        with self.writing() as connection:
            versions = _select(connection, _versions(parent, model_id))
            if not versions:
                raise _unknown(parent, model_id)
            _check_unused(connection, parent, model_id)
            connection.execute(sa.delete(MODELS).where(_versions(parent, model_id)))
            connection.execute(
                sa.delete(MODEL_COUNTERS).where(
                    below(MODEL_COUNTERS, parent), MODEL_COUNTERS.c.id == model_id
                )
            )
            return versions


def insert_model(connection: sa.Connection, model: Model, *, default: bool) -> None:
    """Add a version within a transaction. See ``ModelStore.add_model``."""
    others = _select(connection, _versions(model.parent, model.id))
    is_default = default or DEFAULT in model.aliases or not others
    taken = [*model.aliases, *([DEFAULT] if is_default else [])]
    _take_aliases(connection, model, taken, model.created)
    first = min((one.model_created or one.created for one in others), default=model.created)
    connection.execute(
        sa.insert(MODELS).values(
            project=model.parent.project,
            location=model.parent.location,
            id=model.id,
            version_id=model.version_id,
            display_name=model.display_name,
            folder=model.folder,
            digest=model.digest,
            created_us=to_us(model.created),
            is_default=is_default,
            aliases=sorted({*model.aliases} - {DEFAULT}),
            labels=dict(model.labels or {}),
            description=model.description,
            version_description=model.version_description,
            pipeline=model.pipeline,
            model_created_us=to_us(first),
            updated_us=to_us(model.created),
        )
    )


def model_exists(connection: sa.Connection, parent: Parent, model_id: str) -> bool:
    """Whether a model has any version."""
    query = sa.select(MODELS.c.id).where(_versions(parent, model_id)).limit(1)
    return connection.execute(query).first() is not None


def _versions(parent: Parent, model_id: str) -> sa.ColumnElement[bool]:
    return sa.and_(below(MODELS, parent), MODELS.c.id == model_id)


def _select(connection: sa.Connection, where: sa.ColumnElement[bool]) -> list[Model]:
    query = sa.select(MODELS).where(where).order_by(MODELS.c.created_us.desc(), MODELS.c.id)
    return [_read(row) for row in connection.execute(query)]


def _read(row: Any) -> Model:
    updated = row.created_us if row.updated_us is None else row.updated_us
    first = row.created_us if row.model_created_us is None else row.model_created_us
    return Model(
        Parent(row.project, row.location),
        row.id,
        row.version_id,
        row.display_name,
        row.folder,
        row.digest,
        from_us(row.created_us),
        (*([DEFAULT] if row.is_default else []), *row.aliases),
        row.labels,
        row.description,
        row.version_description,
        row.pipeline,
        from_us(first),
        from_us(updated),
    )


def _find(connection: sa.Connection, parent: Parent, model_id: str, version: str | None) -> Model:
    for model in _select(connection, _versions(parent, model_id)):
        if version in (model.version_id, *model.aliases) or (
            version is None and DEFAULT in model.aliases
        ):
            return model
    raise _unknown(parent, model_id, version)


def _unknown(parent: Parent, model_id: str, version: str | None = None) -> NotFound:
    suffix = "" if version is None else f"@{version}"
    return NotFound(f"Model {parent.child('models', model_id)}{suffix} does not exist.")


def _take_aliases(
    connection: sa.Connection, model: Model, aliases: Sequence[str], now: datetime
) -> None:
    """Take aliases from the other versions of a model."""
    for other in _select(connection, _versions(model.parent, model.id)):
        lost = {*other.aliases}.intersection(aliases)
        if other.version_id == model.version_id or not lost:
            continue
        kept = {*other.aliases} - lost
        connection.execute(
            sa.update(MODELS)
            .where(_versions(model.parent, model.id), MODELS.c.version_id == other.version_id)
            .values(
                aliases=sorted(kept - {DEFAULT}),
                is_default=DEFAULT in kept,
                updated_us=to_us(now),
            )
        )


class _Used(msgspec.Struct):
    model_id: str
    version_id: str


class _JobModel(msgspec.Struct):
    """What a job's document says of its model."""

    model: _Used


class _PipelineModel(msgspec.Struct):
    parent_model: str = ""


class _PipelineSpec(msgspec.Struct):
    """What a pipeline's document says of the model that it adds a version to."""

    spec: _PipelineModel


# Made here, once: msgspec crashes when two threads are the first to decode the same type.
_JOB_MODEL = msgspec.json.Decoder(_JobModel)
_PIPELINE_SPEC = msgspec.json.Decoder(_PipelineSpec)


def _check_unused(
    connection: sa.Connection, parent: Parent, model_id: str, version: str | None = None
) -> None:
    """Raise FailedPrecondition if an unfinished job, or pipeline, needs a model or a version."""
    unfinished = sa.select(JOBS.c.id, JOBS.c.document).where(
        below(JOBS, parent), JOBS.c.state.not_in(sorted(FINISHED))
    )
    for row in connection.execute(unfinished):
        used = _JOB_MODEL.decode(row.document).model
        if used.model_id == model_id and version in (None, used.version_id):
            raise _in_use(parent, model_id, parent.child("batchPredictionJobs", row.id))
    if version is not None:
        return
    training = sa.select(PIPELINES.c.id, PIPELINES.c.document).where(
        below(PIPELINES, parent), PIPELINES.c.state.not_in(sorted(PIPELINE_FINISHED))
    )
    for row in connection.execute(training):
        extended = _PIPELINE_SPEC.decode(row.document).spec.parent_model
        if extended and ModelName.parse(extended, parent).model == model_id:
            raise _in_use(parent, model_id, parent.child("trainingPipelines", row.id))


def _in_use(parent: Parent, model_id: str, by: str) -> FailedPrecondition:
    return FailedPrecondition(
        f"{parent.child('models', model_id)} is used by {by}, which is not finished; wait for it "
        "or cancel it first."
    )
