"""Settings to a wired application: the one place that chooses implementations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import structlog

from rowcast.access.guard import PolicyGuard
from rowcast.access.policy import PolicyFile
from rowcast.access.tokens import Tokens
from rowcast.core.names import Parent
from rowcast.engines import open_engine
from rowcast.errors import InvalidRequest
from rowcast.importing.uploads import UploadService
from rowcast.jobs.loading import TableService
from rowcast.jobs.manager import JobManager
from rowcast.jobs.runner import RunnerOptions
from rowcast.jobs.service import JobService
from rowcast.jobs.tables import Tables
from rowcast.pipelines.datasets import DatasetService
from rowcast.pipelines.manager import TrainingManager
from rowcast.pipelines.preview import PreviewService
from rowcast.pipelines.runner import TrainingOptions
from rowcast.pipelines.service import PipelineService
from rowcast.pool import default_replicas, open_replicas, replica_environment
from rowcast.registry.service import ModelService
from rowcast.registry.versions import Registry
from rowcast.scoring.kernels import why_interpreted
from rowcast.sources import Limits
from rowcast.storage.objects import Objects, Roots
from rowcast.stores.sql import SqlOperations, SqlStore
from rowcast.stores.sql_tokens import SqlTokens
from rowcast.stores.sql_training import SqlDatasets, SqlPipelines
from rowcast.warehouse.duckdb import DuckDbWarehouse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rowcast.access.guard import Guard
    from rowcast.engines import Engine
    from rowcast.settings import Settings

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Application:
    """Everything that serves one installation, wired together."""

    settings: Settings
    store: SqlStore
    operations: SqlOperations
    engine: Engine
    objects: Objects
    jobs: JobService
    models: ModelService
    datasets: DatasetService
    pipelines: PipelineService
    uploads: UploadService
    previews: PreviewService
    warehouse: DuckDbWarehouse
    tables: TableService
    guard: Guard
    manager: JobManager
    trainings: TrainingManager
    replicas: int
    """Most replicas of a job that does not say."""

    @property
    def parent(self) -> Parent:
        """Where resources live unless a request says otherwise."""
        return Parent(self.settings.project, self.settings.location)

    def close(self) -> None:
        """Leave what runs to the next process, end the replicas, close the database."""
        self.trainings.stop()
        self.manager.stop()
        self.engine.close()
        self.warehouse.close()
        self.store.close()


def open_store(settings: Settings) -> SqlStore:
    """Open the job database, making it if it is a file in the home folder.

    Raises
    ------
    InvalidRequest
        If the setting ``store`` is no address of a Postgres database, or its driver is missing.
    """
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if settings.store is None:
        return SqlStore(f"sqlite:///{settings.home}/rowcast.db")
    kind, _, place = settings.store.get_secret_value().partition("://")
    if kind not in ("postgresql", "postgres") or not place:
        raise InvalidRequest(
            "The setting store is not postgresql://USER:PASSWORD@HOST/NAME. Without it, jobs and "
            "models are kept in a file in the home folder."
        )
    if find_spec("psycopg") is None:
        raise InvalidRequest("Postgres needs a driver: pip install 'rowcast[postgres]'.")
    return SqlStore(f"postgresql+psycopg://{place}")


def open_warehouse(settings: Settings) -> DuckDbWarehouse:
    """Make the warehouse; it is owned by this process from its first use on."""
    return DuckDbWarehouse(settings.warehouse_folder, memory_bytes=settings.warehouse_memory_bytes)


def open_tables(settings: Settings, warehouse: DuckDbWarehouse, reached: Roots) -> Tables:
    """Give jobs the warehouse, and a folder of their own beside it."""
    waiting = settings.warehouse_folder / "waiting"
    (waiting / "jobs").mkdir(parents=True, exist_ok=True, mode=0o700)
    objects = Objects(replace(reached, local=(*reached.local, waiting)))
    return Tables(warehouse, objects, f"{waiting}/jobs")


def open_guard(settings: Settings, store: SqlStore) -> Guard:
    """Make what decides about callers other than the owner."""
    issuer = None
    if settings.oidc_issuer is not None:
        from rowcast.access.oidc import Issuer

        issuer = Issuer(
            settings.oidc_issuer,
            settings.oidc_audience,
            keys=settings.oidc_keys,
            member_claim=settings.oidc_member_claim,
            groups_claim=settings.oidc_groups_claim,
        )
    return PolicyGuard(PolicyFile(settings.policy_file), Tokens(SqlTokens(store)), issuer)


def open_import_engine(settings: Settings) -> Engine:
    """Make a pool of one replica, which reads one model file and may die of it."""
    return open_engine(
        "local",
        max_replicas=1,
        warm_replicas=0,
        task_timeout_s=settings.part_timeout_s,
        attempts=1,
        memory_bytes=settings.replica_memory_bytes,
        environment=replica_environment(settings),
    )


def build(
    settings: Settings,
    *,
    roots: Iterable[Path] = (),
    warm_replicas: int | None = None,
    reserve_jobs: bool = False,
    engine: Engine | None = None,
) -> Application:
    """Wire an application; nothing runs until its managers are started.

    Parameters
    ----------
    settings : Settings
    roots : iterable of Path
        Local folders that may be read and written, beside the settings' own: those that the
        user of a command line has named.
    warm_replicas : int, optional
        Overrides the settings' number.
    reserve_jobs : bool
        Jobs created here are run by this process alone; see ``JobService``.
    engine : Engine, optional
        One that is open already, which the application closes.
    """
    # To find out takes half a second, which a command that runs one job has better use for.
    if not reserve_jobs and (why := why_interpreted()) is not None:
        logger.warning("scoring_is_slow", reason=why, instead="the plain reference, same answers")
    for folder in (settings.bucket_folder, settings.s3_bucket_folder, settings.model_folder):
        folder.mkdir(parents=True, exist_ok=True)
    store = open_store(settings)
    reached = Roots(
        settings.bucket_folder,
        settings.s3_bucket_folder,
        (*settings.local_roots, *roots),
        settings.remote_buckets,
        settings.object_store_retry_s,
    )
    objects = Objects(reached)
    warehouse = open_warehouse(settings)
    tables = open_tables(settings, warehouse, reached)
    if engine is None:
        engine = open_replicas(settings, warm_replicas)
    replicas = default_replicas(settings)
    options = RunnerOptions(
        limits=Limits(
            header_bytes=settings.max_header_bytes,
            columns=settings.max_columns,
            row_bytes=settings.max_row_bytes,
            cell_bytes=settings.max_cell_bytes,
            object_bytes=settings.max_object_bytes,
            total_bytes=settings.max_total_bytes,
            expansion=settings.max_expansion,
        ),
        part_bytes=settings.part_bytes,
        batch_rows=settings.batch_rows,
        output_object_bytes=settings.output_object_bytes,
        default_replicas=replicas,
        drift=settings.drift,
    )
    guard = open_guard(settings, store)
    manager = JobManager(
        store=store,
        engine=engine,
        objects=objects,
        tables=tables,
        options=options,
        lease_s=settings.lease_s,
        max_running=settings.max_running_jobs,
        guard=guard,
    )
    jobs = JobService(
        store=store,
        models=store,
        engine=engine,
        objects=objects,
        tables=tables,
        options=options,
        wake=manager.wake,
        reserve=reserve_jobs,
        guard=guard,
    )
    datasets, pipelines = SqlDatasets(store), SqlPipelines(store)
    registry = Registry(store, settings.model_folder)
    trainings = TrainingManager(
        store=pipelines,
        datasets=datasets,
        models=store,
        registry=registry,
        objects=objects,
        warehouse=warehouse,
        options=TrainingOptions(
            staging=settings.staging_folder,
            node_hour_s=settings.node_hour_s,
            attempts=settings.training_attempts,
            memory_bytes=settings.training_memory_bytes,
            environment=replica_environment(settings),
        ),
        lease_s=settings.lease_s,
        max_running=settings.max_running_trainings,
        guard=guard,
    )
    return Application(
        settings=settings,
        store=store,
        operations=SqlOperations(store),
        engine=engine,
        objects=objects,
        jobs=jobs,
        models=ModelService(store, settings.model_folder),
        datasets=DatasetService(datasets, objects),
        pipelines=PipelineService(
            store=pipelines, datasets=datasets, models=store, wake=trainings.wake, guard=guard
        ),
        uploads=UploadService(engine, objects, store, registry),
        previews=PreviewService(engine, objects, warehouse),
        warehouse=warehouse,
        tables=TableService(
            engine,
            objects,
            tables,
            options,
            project=settings.project,
            timeout_s=settings.query_timeout_s,
        ),
        guard=guard,
        manager=manager,
        trainings=trainings,
        replicas=replicas,
    )
