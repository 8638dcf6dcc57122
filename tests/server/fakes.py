"""In-memory stand-ins for what the server calls."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rowcast.core.caller import OWNER
from rowcast.core.job import InputSpec, Job, JobSpec, JobState, OutputSpec
from rowcast.core.model import ModelSpec
from rowcast.core.names import ModelName, Parent
from rowcast.core.schema import Feature, ModelSchema, Target
from rowcast.engines import Outcome
from rowcast.errors import FailedPrecondition, InvalidRequest, NotFound, RowcastError, Violation
from rowcast.server.filters import matches
from rowcast.storage.model_folder import write_model
from rowcast.stores import Model

PARENT = Parent("acme", "us-central1")
START = datetime(2026, 1, 31, 8, 15, 30, 123456, tzinfo=UTC)


def make_model(id_="5520", *, version="1", name="churn", parent=PARENT, labels=None, minutes=0):
    """A version whose files are nowhere."""
    created = START + timedelta(minutes=minutes)
    folder = f"/secret/{id_}"
    return Model(parent, id_, version, name, folder, "ab" * 32, created, (), labels or {})


def saved_model(folder, *, members=(), regression=False, **changes):
    """A version whose folder holds a description and ``members``, and no trees."""
    features = (
        Feature("age", "numeric", nullable=False, baseline=39.0),
        Feature("job", "categorical", nullable=True, baseline="technician"),
        Feature("note", "text", nullable=True),
    )
    target = Target("price", "regression") if regression else Target(
        "churn", "classification", ("no", "yes")
    )  # fmt: skip
    facts = {
        "split": {"training": 8000, "validation": 1000, "test": 1000},
        "dropped": {"id": "every value is different"},
        "warnings": ["few rows"],
    }
    spec = ModelSpec("churn", "boosted", ModelSchema(features, target), (), training=facts)
    digest = write_model(folder, spec, dict(members))
    return replace(make_model(**changes), folder=str(folder), digest=digest)


def make_spec(**changes):
    spec = JobSpec(
        "nightly", "5520", InputSpec("csv", ("gs://b/x.csv",)), OutputSpec("csv", "gs://b/out")
    )
    return replace(spec, **changes)


class InProcess:
    """An engine whose replica is this process."""

    def run(self, work, tasks, **_):
        for task in tasks:
            try:
                yield Outcome(task, work(task))
            except RowcastError as error:
                yield Outcome(task, error=error)


class FakeOperations:
    def __init__(self):
        self.kept = {}

    def add(self, parent, operation_id, body):
        self.kept = {(parent, operation_id): body, **self.kept}

    def get(self, parent, operation_id):
        try:
            return self.kept[parent, operation_id]
        except KeyError:
            raise NotFound(f"{parent.child('operations', operation_id)} does not exist.") from None

    def list(self, parent):
        return [body for (owner, _), body in self.kept.items() if owner == parent]

    def delete(self, parent, operation_id):
        self.get(parent, operation_id)
        del self.kept[parent, operation_id]


class FakeJobs:
    """Jobs that never run. Each is created a second after the one before."""

    def __init__(self, store):
        self.store = store
        self.jobs = {}
        self.requests = {}

    def violations(self, parent, spec):
        if spec.extension.retry_of:
            return []
        required = {
            "display_name": spec.display_name,
            "model": spec.model,
            "input_config.instances_format": spec.input.format,
            "input_config.gcs_source.uris": spec.input.uris or spec.input.format == "bigquery",
            "output_config.predictions_format": spec.output.format,
            "output_config.gcs_destination.output_uri_prefix": spec.output.uri_prefix
            or spec.output.format == "bigquery",
        }
        found = [Violation(field, "is required") for field, value in required.items() if not value]
        for field, format_ in [
            ("input_config.instances_format", spec.input.format),
            ("output_config.predictions_format", spec.output.format),
        ]:
            if format_ and format_ not in ("csv", "jsonl", "parquet", "bigquery"):
                found.append(Violation(field, "is not supported by the model"))
        if spec.replicas and spec.replicas.starting > spec.replicas.maximum:
            found.append(
                Violation(
                    "dedicated_resources.starting_replica_count",
                    "must not exceed max_replica_count",
                )
            )
        return found

    def create(self, parent, spec, request_id=None, *, by=OWNER):
        if violations := self.violations(parent, spec):
            raise InvalidRequest.listing(violations)
        if (parent, request_id) in self.requests:
            return self.requests[parent, request_id]
        name = ModelName.parse(spec.model or "5520", parent)
        model = self.store.get_model(name.parent, name.model, name.version)
        created = START + timedelta(seconds=len(self.jobs))
        id_ = str(4417450692310990848 + len(self.jobs))
        job = Job(
            id_, parent, spec, model.pinned(), JobState.PENDING, created, created, created_by=by
        )
        self.put(job)
        if request_id:
            self.requests[parent, request_id] = job
        return job

    def preflight(self, parent, spec, *, by=OWNER):
        if violations := self.violations(parent, spec):
            raise InvalidRequest.listing(violations)
        return {"missingColumns": ["age"], "rowsRead": 100}

    def put(self, job):
        self.jobs[job.parent, job.id] = job
        return job

    def get(self, parent, job_id):
        try:
            return self.jobs[parent, job_id]
        except KeyError:
            name = parent.child("batchPredictionJobs", job_id)
            raise NotFound(f"{name} does not exist.") from None

    def list(self, parent, *, where, limit, after):
        found = sorted(
            (job for job in self.jobs.values() if job.parent == parent),
            key=lambda job: (-job.created.timestamp(), job.id),
        )
        if after:
            found = [
                job
                for job in found
                if job.created < after[0] or (job.created == after[0] and job.id > after[1])
            ]
        return [job for job in found if matches(where, lambda name, j=job: _value(j, name))][:limit]

    def reports(self, parent, job_id):
        self.get(parent, job_id)
        return {}

    def cancel(self, parent, job_id):
        job = self.get(parent, job_id)
        if job.state.finished:
            raise FailedPrecondition(f"{job.name} has ended in {job.state}.")
        self.put(replace(job, state=JobState.CANCELLING))

    def delete(self, parent, job_id):
        job = self.get(parent, job_id)
        if not job.state.finished:
            raise FailedPrecondition(f"{job.name} is in {job.state}; cancel it first.")
        del self.jobs[parent, job_id]


def _value(job, name):
    if name.startswith("labels."):
        return job.spec.labels.get(name.removeprefix("labels."))
    return {
        "display_name": job.spec.display_name,
        "model_display_name": job.model.display_name,
        "state": job.state.value,
        "create_time": job.created,
    }[name]
