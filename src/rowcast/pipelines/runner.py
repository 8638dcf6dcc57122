"""One pipeline from PENDING to its end: a process that trains, and a model that appears whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from rowcast.access.guard import OwnerOnly, require_data
from rowcast.core.dataset import data_of
from rowcast.core.job import CANCELLED, Status
from rowcast.core.names import ModelName, new_id
from rowcast.core.pipeline import MadeModel, PipelineState, TrainingProgress
from rowcast.errors import Aborted, AlreadyExists, Cancelled, Internal, NotFound, RowcastError
from rowcast.pipelines.task import (
    Order,
    training_files,
    training_request,
    write_training_table,
)
from rowcast.registry.versions import Entry
from rowcast.storage.model_folder import remove_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rowcast.access.guard import Guard
    from rowcast.core.dataset import Dataset
    from rowcast.core.pipeline import Pipeline
    from rowcast.registry.versions import Registry
    from rowcast.storage.objects import Objects
    from rowcast.stores import DatasetStore, Lease, ModelStore, PipelineStore
    from rowcast.warehouse import Warehouse

logger = structlog.get_logger(__name__)

TICK_S = 0.1
"""How often to see whether the training is to stop."""
PROGRESS_S = 1.0
"""Progress is written down this often at most."""
CANDIDATE = "candidate"
"""What training calls the message that tells how a candidate did."""
MAX_CANDIDATES = 100
"""Lines that are kept of those."""


@dataclass(frozen=True)
class TrainingOptions:
    """The settings of training processes."""

    staging: Path
    """Models are written below this, on the file system of the models' own folder."""
    node_hour_s: float = 3600.0
    """Seconds that a node hour of a budget buys."""
    attempts: int = 3
    """Processes that a pipeline may be given, should servers end while they train."""
    memory_bytes: int = 0
    """Address space of one; 0 is no limit."""
    environment: dict[str, str] = field(default_factory=dict)
    program: str = "rowcast.pipelines.trainer"
    """The module that is run."""


@dataclass(frozen=True)
class _Made:
    """A model folder that a process has written."""

    folder: Path
    digest: str
    seconds: float
    candidates: tuple[dict[str, Any], ...]


class PipelineRunner:
    """Drives one pipeline under a lease.

    Parameters
    ----------
    stopped : callable
        Whether to stop: the pipeline is cancelled, taken over, or the server ends.
    """

    def __init__(
        self,
        lease: Lease,
        *,
        store: PipelineStore,
        datasets: DatasetStore,
        models: ModelStore,
        registry: Registry,
        objects: Objects,
        warehouse: Warehouse,
        options: TrainingOptions,
        stopped: Callable[[], bool],
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard or OwnerOnly()
        self._lease = lease
        self._store = store
        self._datasets = datasets
        self._models = models
        self._registry = registry
        self._objects = objects
        self._warehouse = warehouse
        self._options = options
        self._stopped = stopped

    def run(self) -> None:
        """Run the pipeline to its end.

        Raises
        ------
        Aborted
            If another has taken it over.
        Cancelled
            If it was left for another to run again.
        """
        pipeline = self._store.update(self._lease)
        self._clean(pipeline)
        own = self._options.staging / pipeline.id / str(self._lease.fence)
        try:
            self._begin(pipeline)
            self._publish(pipeline, self._train(pipeline, own))
        except Cancelled:
            self._leave(pipeline)
        except Aborted:
            raise
        except RowcastError as error:
            self._end(PipelineState.FAILED, error=Status(error.code, str(error)))
        except Exception as error:
            logger.exception("training_failed", pipeline=pipeline.id)
            self._end(PipelineState.FAILED, error=Status(13, f"{type(error).__name__}: {error}"))
        finally:
            shutil.rmtree(own, ignore_errors=True)
            with suppress(OSError):  # another owner works in it
                own.parent.rmdir()

    def _clean(self, pipeline: Pipeline) -> None:
        """Remove what earlier owners of this pipeline have left."""
        shutil.rmtree(self._options.staging / pipeline.id, ignore_errors=True)
        if pipeline.place is not None:  # it was put there, and not registered
            remove_model(Path(pipeline.place))
            self._store.update(self._lease, place=None)

    def _begin(self, pipeline: Pipeline) -> None:
        if pipeline.state is PipelineState.CANCELLING:
            raise Cancelled("before it began")
        if pipeline.attempts >= self._options.attempts:
            raise Internal(
                f"The server ended {pipeline.attempts} times while it trained this model; it is "
                "not tried again. See its log, and start a new pipeline."
            )
        now = _now()
        self._store.update(
            self._lease,
            state=PipelineState.RUNNING,
            started=pipeline.started or now,
            updated=now,
            attempts=pipeline.attempts + 1,
            progress=TrainingProgress("starting", 0.0),
            place=None,
        )

    def _train(self, pipeline: Pipeline, own: Path) -> _Made:
        """Have a process write a model below the folder ``own``."""
        dataset = self._datasets.get(pipeline.parent, pipeline.spec.dataset_id)
        require_data(self._guard, pipeline.created_by, reads=data_of(dataset))
        name = self._display_name(pipeline)
        request = training_request(pipeline.spec, name, self._options.node_hour_s)
        own.mkdir(parents=True)
        files = self._files(dataset, own)
        folder = own / "model"
        with self._process(own) as (process, connection):
            with suppress(OSError):  # if it has ended already, its end is seen below
                connection.send(Order(files, request, str(folder)))
            message = self._follow(process, connection)
        if message[0] == "failed":
            raise message[1]
        _, digest, seconds, candidates = message
        return _Made(folder, digest, seconds, tuple(candidates))

    def _files(self, dataset: Dataset, own: Path) -> tuple[str, ...]:
        """The dataset's own files, or the rows of its table as a file of this training."""
        if dataset.spec.table is None:
            return training_files(dataset, self._objects, own / "data")
        path = own / "table.parquet"
        write_training_table(dataset.spec.table, self._warehouse, path)
        return (str(path),)

    def _follow(self, process: subprocess.Popen[bytes], connection: Connection) -> tuple[Any, ...]:
        """Write progress down until the training has ended; its last message."""
        at = written = TrainingProgress("starting", 0.0)
        due = 0.0
        while True:
            if self._stopped():
                raise Cancelled("on the way")
            if at is not written and time.monotonic() >= due:
                self._store.update(self._lease, progress=at, updated=_now())
                written, due = at, time.monotonic() + PROGRESS_S
            if not connection.poll(TICK_S):
                continue
            try:
                message: tuple[Any, ...] = connection.recv()
            except (EOFError, OSError) as error:
                raise _ended(process.wait()) from error
            if message[0] != "progress":
                return message
            at = _advanced(at, *message[1:])

    def _publish(self, pipeline: Pipeline, made: _Made) -> None:
        """Move a model to its place and register it, in that order.

        The place is written down first: should this process end halfway, the next owner of the
        pipeline finds what is there to be removed.
        """
        spec, new = pipeline.spec, not pipeline.spec.parent_model
        model_id = (
            spec.model_id or new_id()
            if new
            else ModelName.parse(spec.parent_model, pipeline.parent).model
        )
        version, folder = self._registry.next_place(pipeline.parent, model_id)
        self._store.update(self._lease, place=str(folder))
        folder.parent.mkdir(parents=True, exist_ok=True)
        made.folder.rename(folder)
        entry = Entry(
            pipeline.parent,
            model_id,
            self._display_name(pipeline),
            spec.model.description,
            spec.model.version_description,
            spec.model.version_aliases,
            spec.model.labels,
            pipeline.name,
        )
        now = _now()
        try:
            self._store.succeed(
                self._lease,
                entry.model(version, folder, made.digest),
                new=new,
                state=PipelineState.SUCCEEDED,
                ended=now,
                updated=now,
                progress=None,
                made=MadeModel(model_id, version),
                seconds=made.seconds,
                leaderboard=made.candidates,
            )
        except (Aborted, AlreadyExists, NotFound):  # nothing was written
            remove_model(folder)
            raise

    def _display_name(self, pipeline: Pipeline) -> str:
        spec = pipeline.spec
        if spec.parent_model and not spec.model.display_name:
            parent = ModelName.parse(spec.parent_model, pipeline.parent)
            return self._models.get_model(pipeline.parent, parent.model).display_name
        return spec.model.display_name or spec.display_name

    def _leave(self, pipeline: Pipeline) -> None:
        """End a cancelled pipeline; one that only this process is to leave waits for another."""
        if self._store.update(self._lease).state is PipelineState.CANCELLING:
            self._end(PipelineState.CANCELLED, error=CANCELLED)
            return
        self._store.update(self._lease, attempts=pipeline.attempts)  # this one does not count
        raise Cancelled(f"{pipeline.name} is left for the next server.")

    def _end(self, state: PipelineState, *, error: Status) -> None:
        now = _now()
        self._store.update(
            self._lease, state=state, ended=now, updated=now, error=error, progress=None, place=None
        )

    @contextmanager
    def _process(self, folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Connection]]:
        """Run a training process in ``folder``; it has ended when the block does."""
        options = {"supervisor": os.getpid(), "memory_bytes": self._options.memory_bytes}
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(  # noqa: S603 - our own module, our own interpreter
                [
                    sys.executable,
                    "-m",
                    self._options.program,
                    str(theirs.fileno()),
                    json.dumps(options),
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **self._options.environment},
                cwd=folder,
            )
        connection = Connection(ours.detach())
        try:
            yield process, connection
        finally:
            connection.close()
            process.kill()
            process.wait()


def _advanced(
    at: TrainingProgress, stage: str, fraction: float, message: str, seconds_left: float
) -> TrainingProgress:
    """Take note of what a training says; a candidate is a result and no stage."""
    if stage == CANDIDATE:
        tried = (*at.candidates, message)[-MAX_CANDIDATES:]
        return replace(at, candidates=tried, seconds_left=seconds_left)
    return TrainingProgress(stage, fraction, message, seconds_left, at.candidates)


def _ended(code: int) -> Internal:
    """Say how a process ended that did not say so itself."""
    if code >= 0:
        return Internal(f"The training process ended with exit code {code}.")
    name = signal.Signals(-code).name
    hint = " That is how a system ends processes when memory runs out." if code == -9 else ""
    return Internal(f"The training process was ended by {name}.{hint}")


def _now() -> datetime:
    return datetime.now(UTC)
