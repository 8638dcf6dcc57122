"""A model file from another program in, a model folder's content out.

Everything that parses a user's file happens in a replica, which may die of it: the file is
described (``described``), matched with a schema or an example (``columns``), tried and compared
(``check``). What comes back is what training gives, ready to be saved.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rowcast.engines import Replicas
from rowcast.errors import Aborted, InvalidRequest, ReplicaLost
from rowcast.importing.formats import FORMATS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import PredictionType
    from rowcast.engines import Engine

__all__ = ["FORMATS", "ImportRequest", "Imported", "import_model"]

MOST_BYTES = 1 << 30
"""Of a model file, or of an example."""


@dataclass(frozen=True)
class ImportRequest:
    """What to import. Paths are absolute and of this machine."""

    file: str
    """A model file, or a model folder."""
    name: str
    target: str | None = None
    """Name of the column that the model predicts; the schema may say it instead."""
    prediction_type: PredictionType | None = None
    schema: str | None = None
    """A JSON file; see ``rowcast.importing.columns.SchemaFile``."""
    example: str | None = None
    """A table with the feature columns."""
    expected: str | None = None
    """A table with the answers to the example's rows, in their order."""
    format: str = "auto"
    digest: str | None = None
    """Of a model folder; default: the one that the folder itself states."""
    names: Mapping[str, str] = field(default_factory=dict)
    """For files that are copies, what to call them in messages."""

    def called(self, path: str) -> str:
        """What to call a file in messages."""
        return self.names.get(path, path)


@dataclass(frozen=True)
class Imported:
    """A model that is not saved yet: ``write_model(folder, spec, members)``."""

    spec: ModelSpec
    members: dict[str, bytes]

    @property
    def report(self) -> dict[str, Any]:
        """How the model was checked; empty for a model folder."""
        found: dict[str, Any] = self.spec.training.get("imported", {})
        return found


def import_model(engine: Engine, request: ImportRequest) -> Imported:
    """Read, check and convert a model in a replica of ``engine``.

    Raises
    ------
    InvalidRequest
        If the file is damaged, of a kind that is not supported, does not fit the schema or the
        example, or answers something else than is expected.
    """
    from rowcast.importing.work import work

    with closing(engine.run(work, [request], replicas=Replicas(1, 1))) as outcomes:
        outcome = next(outcomes, None)
    if outcome is None:
        raise Aborted("The import was called off.")
    if isinstance(outcome.error, ReplicaLost):
        raise InvalidRequest(
            f"{request.called(request.file)} ended the process that tried to read it, so it is "
            f"damaged or misleading. ({outcome.error})"
        ) from outcome.error
    if outcome.error is not None:
        raise outcome.error
    result: Imported = outcome.result
    return result
