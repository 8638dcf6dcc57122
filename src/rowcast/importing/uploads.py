"""Models that are uploaded through the API: objects in, a registered version out."""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rowcast.core.labels import display_name_fault, label_faults
from rowcast.core.names import ModelName, Parent, new_id
from rowcast.errors import AlreadyExists, InvalidRequest, Violation
from rowcast.importing import MOST_BYTES, ImportRequest, import_model
from rowcast.importing.formats import AUTO, FORMATS
from rowcast.registry.service import alias_violations
from rowcast.registry.versions import MODEL_ID, Entry, Registry
from rowcast.storage.model_folder import SIDECAR

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rowcast.core.schema import PredictionType
    from rowcast.engines import Engine
    from rowcast.storage.objects import Objects
    from rowcast.stores import Model, ModelStore

SCHEMA = "schema.json"
_TABLE = re.compile(r"(example|expected)\.(csv|jsonl|ndjson|parquet)(\.gz|\.zst)?")
_ASIDE = re.compile(r"\..*|README.*|_SUCCESS", re.IGNORECASE)


@dataclass(frozen=True)
class Upload:
    """What the API is asked to upload."""

    display_name: str
    artifact_uri: str
    """An object, or a folder that holds a model, perhaps with a schema, an example and expected
    answers."""
    description: str = ""
    version_description: str = ""
    version_aliases: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    model_id: str = ""
    parent_model: str = ""
    """Resource name of the model that gets a version."""
    target: str | None = None
    prediction_type: PredictionType | None = None
    format: str = AUTO


class UploadService:
    """Imports models that objects hold. Safe from any thread."""

    def __init__(
        self, engine: Engine, objects: Objects, models: ModelStore, registry: Registry
    ) -> None:
        self._engine = engine
        self._objects = objects
        self._models = models
        self._registry = registry

    def violations(self, parent: Parent, upload: Upload) -> list[Violation]:
        """Everything that is wrong with a request, apart from names of unknown resources."""
        return [
            *(Violation(*fault) for fault in self._faults(parent, upload)),
            *alias_violations(upload.version_aliases, "model.version_aliases"),
        ]

    def upload(self, parent: Parent, upload: Upload) -> Model:
        """Import a model and register it.

        Raises
        ------
        InvalidRequest
            With every violation, or with what is wrong with the model; see
            ``rowcast.importing.import_model``.
        NotFound
            If the parent model or the artifact does not exist.
        AlreadyExists
            If the model id is taken.
        """
        if violations := self.violations(parent, upload):
            raise InvalidRequest.listing(violations)
        model_id = self._model_id(parent, upload)
        with tempfile.TemporaryDirectory(prefix="rowcast-import-") as folder:
            imported = import_model(self._engine, self._fetched(upload, Path(folder)))
        entry = Entry(
            parent,
            model_id,
            upload.display_name,
            upload.description,
            upload.version_description,
            upload.version_aliases,
            upload.labels,
        )
        return self._registry.add(entry, imported.spec, imported.members, default=False)

    def _faults(self, parent: Parent, upload: Upload) -> Iterator[tuple[str, str]]:
        if fault := display_name_fault(upload.display_name):
            yield "model.display_name", fault
        for name, description in label_faults(upload.labels):
            yield f"model.{name}", description
        if not upload.artifact_uri:
            yield "model.artifact_uri", "is required: an object or a folder that holds a model"
        if upload.format not in (AUTO, *FORMATS):
            yield "model.rowcast.format", f"is one of {', '.join((AUTO, *sorted(FORMATS)))}"
        if upload.prediction_type not in (None, "classification", "regression"):
            yield "model.rowcast.prediction_type", "must be classification or regression"
        if upload.model_id and upload.parent_model:
            yield "model_id", "is not allowed with parent_model, whose id the version gets"
        elif upload.model_id and not MODEL_ID.fullmatch(upload.model_id):
            yield (
                "model_id",
                "has 1 to 63 lowercase letters, digits, '_' or '-', the first not a digit or '-'",
            )
        if upload.parent_model:
            try:
                if ModelName.parse(upload.parent_model, parent).parent != parent:
                    yield "parent_model", f"must be in {parent}"
            except InvalidRequest as error:
                yield "parent_model", str(error)

    def _model_id(self, parent: Parent, upload: Upload) -> str:
        if upload.parent_model:
            name = ModelName.parse(upload.parent_model, parent)
            return self._models.get_model(parent, name.model).id
        if upload.model_id and self._models.model_versions(parent, upload.model_id):
            raise AlreadyExists(
                f"{parent.child('models', upload.model_id)} exists; name it as parent_model to "
                "add a version."
            )
        return upload.model_id or new_id()

    def _fetched(self, upload: Upload, folder: Path) -> ImportRequest:
        """Copy what the artifact's URI names, so that a replica reads what was checked."""
        uri = upload.artifact_uri.rstrip("/")
        found = set() if self._objects.exists(uri) else set(self._objects.names(uri))
        names: dict[str, str] = {}

        def fetch(name: str, from_: str) -> str:
            copy = folder / name
            self._copy(from_, copy)
            names[str(copy)] = from_
            return str(copy)

        def request(file: str, parts: Mapping[str, str]) -> ImportRequest:
            return ImportRequest(
                file=file,
                name=upload.display_name,
                target=upload.target,
                prediction_type=upload.prediction_type,
                schema=parts.get("schema"),
                example=parts.get("example"),
                expected=parts.get("expected"),
                format=upload.format,
                names=names,
            )

        if not found:
            return request(fetch("model", uri), {})
        if SIDECAR in found or "model" in found:
            inner = uri if SIDECAR in found else f"{uri}/model"
            for name in self._objects.names(inner):
                fetch(name, f"{inner}/{name}")
            names[str(folder)] = uri
            return request(str(folder), {})
        models = sorted(n for n in found if not _known(n) and not _ASIDE.fullmatch(n))
        if len(models) != 1:
            raise InvalidRequest(
                f"{upload.artifact_uri} holds {', '.join(models) or 'no model'}; one model file is "
                f"expected, beside {SCHEMA}, example.csv (or .jsonl, .parquet) and expected.csv."
            )
        parts: dict[str, str] = {}
        for name in sorted(found):
            if match := _TABLE.fullmatch(name):
                parts[match.group(1)] = fetch(name, f"{uri}/{name}")
        if SCHEMA in found:
            parts["schema"] = fetch(SCHEMA, f"{uri}/{SCHEMA}")
        return request(fetch("model", f"{uri}/{models[0]}"), parts)

    def _copy(self, uri: str, to: Path) -> None:
        item = self._objects.stat(uri)
        if item.size > MOST_BYTES:
            raise InvalidRequest(f"{uri} has {item.size:,} bytes; at most {MOST_BYTES:,} are read.")
        with self._objects.open(item) as reader, to.open("xb") as file:
            shutil.copyfileobj(reader.file, file)
            reader.check()


def _known(name: str) -> bool:
    return name == SCHEMA or _TABLE.fullmatch(name) is not None
