import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.csv as pc
import pytest

import rowcast
from rowcast.core.dataset import DatasetSpec
from rowcast.core.names import Parent
from rowcast.core.pipeline import NewModel, PipelineSpec, TrainingExtension, TrainingTask
from rowcast.pipelines.datasets import DatasetService
from rowcast.pipelines.manager import TrainingManager
from rowcast.pipelines.runner import TrainingOptions
from rowcast.pipelines.service import PipelineService
from rowcast.registry.versions import Registry
from rowcast.storage.objects import Objects, Roots
from rowcast.stores.sql import SqlStore
from rowcast.stores.sql_training import SqlDatasets, SqlPipelines
from rowcast.warehouse.duckdb import DuckDbWarehouse
from tests.databases import database_url
from tests.homes import customers

PARENT = Parent("local", "us-central1")
SCHEMA = "gs://x/schema/dataset/metadata/tabular_1.0.0.yaml"
HERE = str(Path(__file__).parents[2])
SOURCE = str(Path(rowcast.__file__).parents[1])


class Lab:
    """Pipelines over a folder, and managers that train in processes full of traps."""

    def __init__(self, folder):
        self.folder = folder
        self.models_folder = folder / "models"
        self.options = TrainingOptions(
            self.models_folder / ".training",
            environment={"PYTHONPATH": os.pathsep.join([HERE, SOURCE])},
            program="tests.pipelines.traps",
        )
        self.store = SqlStore(database_url(folder))
        self.datasets, self.pipelines = SqlDatasets(self.store), SqlPipelines(self.store)
        self.objects = Objects(Roots(folder / "buckets", folder / "s3", ()))
        self.warehouse = DuckDbWarehouse(folder / "warehouse")
        self.managers = []
        bucket = folder / "buckets" / "data"
        bucket.mkdir(parents=True)
        pc.write_csv(customers(), bucket / "customers.csv")

    def dataset(self, *uris):
        service = DatasetService(self.datasets, self.objects)
        spec = DatasetSpec("d", SCHEMA, uris)
        if uris[0].startswith("bq://"):
            spec = DatasetSpec("d", SCHEMA, table=uris[0])
        return service.create(PARENT, spec).id

    def create(self, name, *, uri="gs://data/customers.csv", target="churn", **changes):
        """Keep a pipeline that makes the model ``name``; see the traps."""
        effort = TrainingExtension(trials=1) if name == "churn" else TrainingExtension(budget_s=60)
        task = TrainingTask("classification", target, extension=effort)
        spec = PipelineSpec(
            name, self.dataset(uri), "x/automl_tabular_1.0.0.yaml", task, model=NewModel(name)
        )
        return self.service().create(PARENT, replace(spec, **changes))

    def service(self, manager=None):
        return PipelineService(
            store=self.pipelines,
            datasets=self.datasets,
            models=self.store,
            wake=manager.wake if manager else lambda: None,
        )

    def manager(self, lease_s=20.0, max_running=1, **options):
        manager = TrainingManager(
            store=self.pipelines,
            datasets=self.datasets,
            models=self.store,
            registry=Registry(self.store, self.models_folder),
            objects=self.objects,
            warehouse=self.warehouse,
            options=replace(self.options, **options),
            lease_s=lease_s,
            max_running=max_running,
        )
        self.managers.append(manager)
        return manager

    def run(self, pipeline, **options):
        """Drive a pipeline to its end on this thread."""
        assert self.manager(**options).run_one(pipeline.id)
        return self.get(pipeline)

    def in_background(self, pipeline, **options):
        manager = self.manager(**options)
        thread = threading.Thread(target=manager.run_one, args=(pipeline.id,))
        thread.start()
        return manager, thread

    def get(self, pipeline):
        return self.pipelines.get(PARENT, pipeline.id)

    def until(self, pipeline, ready):
        """Look a pipeline up until it is as wanted."""
        for _ in range(3000):
            found = self.get(pipeline)
            if ready(found):
                return found
            time.sleep(0.02)
        raise AssertionError(found)

    def leftovers(self):
        """What is in the models' folder beside registered versions."""
        kept = {Path(m.folder) for m in self.all_versions()}
        if not self.models_folder.exists():
            return []
        found = [p for p in self.models_folder.rglob("*") if p.is_file()]
        return [path for path in found if path.parent not in kept]

    def all_versions(self):
        models = self.store.list_models(PARENT)
        return [v for m in models for v in self.store.model_versions(PARENT, m.id)]

    def close(self):
        for manager in self.managers:
            manager.stop()
        self.store.close()


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    yield lab
    lab.close()
