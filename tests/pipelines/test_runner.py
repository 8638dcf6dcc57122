import time
from dataclasses import replace
from datetime import UTC, datetime

import psutil
import pyarrow.parquet as pq
import pytest

from rowcast.core.pipeline import NewModel, PipelineState, TrainingExtension
from rowcast.core.tables import TableName
from rowcast.errors import Aborted, NotFound
from rowcast.predictors import load_predictor
from rowcast.registry.versions import Entry
from rowcast.warehouse import NewTable
from tests.homes import customers

from .conftest import PARENT


def trainers():
    """Training processes that this one has started and that still run."""
    found = []
    for child in psutil.Process().children():
        if child.status() != psutil.STATUS_ZOMBIE and "tests.pipelines.traps" in child.cmdline():
            found.append(child)
    return found


def searching(pipeline):
    return pipeline.progress is not None and pipeline.progress.stage == "search"


def test_a_pipeline_makes_a_model_that_scores(lab):
    pipeline = lab.run(lab.create("churn", model_id="churn_1"))
    assert pipeline.error is None
    assert pipeline.state is PipelineState.SUCCEEDED
    assert (pipeline.made.model_id, pipeline.made.version_id) == ("churn_1", "1")
    assert pipeline.started <= pipeline.ended == pipeline.updated
    assert pipeline.seconds > 0
    model = lab.store.get_model(PARENT, "churn_1")
    assert (model.display_name, model.pipeline) == ("churn", pipeline.name)
    assert model.folder == str(lab.models_folder / "churn_1" / "1")
    predictor = load_predictor(model.folder, model.digest)
    assert predictor.spec.schema.target.classes == ("no", "yes")
    assert lab.leftovers() == []


def test_the_same_pipeline_makes_the_same_model(lab):
    extension = TrainingExtension(trials=2, seed=3)
    first = lab.create("churn")
    digests = set()
    for _ in range(2):
        task = replace(first.spec.task, extension=extension)
        made = lab.run(lab.create("churn", task=task)).made
        digests.add(lab.store.get_model(PARENT, made.model_id).digest)
    assert len(digests) == 1


def test_a_table_trains_the_model_that_its_rows_as_a_file_do(lab):
    table = TableName("local", "shop", "customers")
    rows = customers()
    lab.warehouse.publish([NewTable(table, rows.schema, rows.to_batches())], create_dataset=True)
    pq.write_table(rows, lab.folder / "buckets" / "data" / "customers.parquet")
    made = [
        lab.run(lab.create("churn", uri=uri)).made
        for uri in (table.uri, "gs://data/customers.parquet")
    ]
    first, second = (lab.store.get_model(PARENT, one.model_id).digest for one in made)
    assert first == second
    assert lab.leftovers() == []


def test_bad_data_fails_with_its_code_and_message(lab):
    pipeline = lab.run(lab.create("churn", target="nix"))
    assert (pipeline.state, pipeline.error.code) == (PipelineState.FAILED, 3)
    assert "nix" in pipeline.error.message
    assert lab.all_versions() == []
    assert lab.leftovers() == []


@pytest.mark.parametrize(
    ("uri", "code", "words"),
    [
        ("gs://data/nix.csv", 5, "nix.csv"),
        ("gs://data/*.jsonl", 5, "No object matches"),
        ("gs://nowhere/x.csv", 9, "nowhere"),
    ],
)
def test_data_that_is_not_there_fails_the_pipeline(lab, uri, code, words):
    pipeline = lab.run(lab.create("instant", uri=uri))
    assert (pipeline.state, pipeline.error.code) == (PipelineState.FAILED, code)
    assert words in pipeline.error.message


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("refused", 3, "the target has nulls"),
        ("broken", 13, "RuntimeError: something else"),
        ("killed", 13, "SIGKILL"),
        ("exits", 13, "exit code 7"),
    ],
)
def test_a_training_that_fails_says_why_and_leaves_nothing(lab, name, code, words):
    pipeline = lab.run(lab.create(name))
    assert (pipeline.state, pipeline.error.code) == (PipelineState.FAILED, code)
    assert words in pipeline.error.message
    assert pipeline.progress is None
    assert trainers() == []
    assert lab.leftovers() == []


def test_a_training_may_have_so_much_memory(lab):
    pipeline = lab.run(lab.create("hungry"), memory_bytes=4 << 30)
    assert (pipeline.state, pipeline.error.code) == (PipelineState.FAILED, 8)
    assert "training_memory_bytes" in pipeline.error.message


def test_progress_is_kept_while_a_training_runs(lab):
    pipeline = lab.create("endless")
    manager, thread = lab.in_background(pipeline)
    first = lab.until(pipeline, searching)
    assert first.state is PipelineState.RUNNING
    assert 0 < first.progress.seconds_left <= 60
    later = lab.until(pipeline, lambda p: p.progress.fraction > first.progress.fraction)
    assert later.progress.message.startswith("step ")
    assert later.progress.candidates == ("first: loss 0.5",)
    assert later.updated > first.updated
    manager.stop()
    thread.join(10)


def test_a_cancelled_training_ends_and_no_model_appears(lab):
    pipeline = lab.create("endless")
    manager, thread = lab.in_background(pipeline)
    lab.until(pipeline, searching)
    assert len(trainers()) == 1
    assert lab.service(manager).cancel(PARENT, pipeline.id).state is PipelineState.CANCELLING
    thread.join(10)
    assert not thread.is_alive()
    pipeline = lab.get(pipeline)
    assert (pipeline.state, pipeline.error.code) == (PipelineState.CANCELLED, 1)
    assert pipeline.ended is not None
    assert trainers() == []
    assert lab.all_versions() == []
    assert lab.leftovers() == []


def test_one_cancelled_while_nobody_drives_it_is_never_run(lab):
    pipeline = lab.create("instant")
    lease = lab.pipelines.claim("dead", time.time() + 100)
    lab.pipelines.update(lease, state=PipelineState.RUNNING)
    lab.pipelines.request_cancel(PARENT, pipeline.id, datetime.now(UTC))
    lab.pipelines.release_owner("dead", datetime.now(UTC))
    assert lab.run(pipeline).state is PipelineState.CANCELLED
    assert lab.all_versions() == []


def test_a_server_that_stops_leaves_its_trainings_to_the_next(lab):
    pipeline = lab.create("endless")
    manager, thread = lab.in_background(pipeline)
    lab.until(pipeline, searching)
    manager.stop()
    thread.join(10)
    left = lab.get(pipeline)
    assert (left.state, left.attempts, left.progress) == (PipelineState.PENDING, 0, None)
    assert trainers() == []
    _, thread = lab.in_background(pipeline)
    again = lab.until(pipeline, searching)
    assert (again.state, again.attempts) == (PipelineState.RUNNING, 1)
    assert again.started == left.started


def test_a_training_whose_server_died_is_begun_again_but_not_for_ever(lab):
    pipeline = lab.create("instant")
    for attempt in (1, 2):
        lease = lab.pipelines.claim(f"server {attempt}", time.time() + 100)
        lab.pipelines.update(lease, state=PipelineState.RUNNING, attempts=attempt)
        lab.pipelines.release_owner(f"server {attempt}", datetime.now(UTC))
        assert lab.get(pipeline).state is PipelineState.PENDING
    ended = lab.run(pipeline, attempts=2)
    assert (ended.state, ended.error.code) == (PipelineState.FAILED, 13)
    assert "2 times" in ended.error.message
    assert lab.all_versions() == []


def test_one_that_was_taken_over_changes_nothing_and_its_process_ends(lab):
    pipeline = lab.create("endless")
    _, thread = lab.in_background(pipeline, lease_s=20)
    lab.until(pipeline, searching)
    other = SqlClock(lab).claim("other", time.time() + 100)
    thread.join(10)
    assert not thread.is_alive()
    assert trainers() == []
    assert lab.pipelines.update(other).state is PipelineState.RUNNING


class SqlClock:
    """The pipelines as they are seen by a machine whose clock is an hour ahead."""

    def __init__(self, lab):
        self._lab = lab

    def claim(self, owner, until):
        before, self._lab.store.clock = self._lab.store.clock, lambda: time.time() + 3600
        try:
            return self._lab.pipelines.claim(owner, until + 3600)
        finally:
            self._lab.store.clock = before


def test_what_a_dead_server_had_put_in_place_is_removed(lab):
    pipeline = lab.create("instant", model_id="m1")
    place = lab.models_folder / "m1" / "1"
    place.mkdir(parents=True)
    (place / "model.json").write_text("{}")
    staged = lab.options.staging / pipeline.id / "1"
    staged.mkdir(parents=True)
    lease = lab.pipelines.claim("dead", time.time() + 100)
    lab.pipelines.update(lease, state=PipelineState.RUNNING, attempts=1, place=str(place))
    lab.pipelines.release_owner("dead", datetime.now(UTC))
    ended = lab.run(pipeline)
    assert ended.state is PipelineState.SUCCEEDED
    assert lab.leftovers() == []
    assert [m.folder for m in lab.all_versions()] == [ended.place]
    assert not staged.exists()


def test_a_model_id_that_was_taken_meanwhile_fails_the_pipeline(lab):
    pipeline = lab.create("instant", model_id="m1")
    lab.store.add_model(Entry(PARENT, "m1", "other").model("1", lab.folder / "o", "ab"))
    ended = lab.run(pipeline)
    assert (ended.state, ended.error.code) == (PipelineState.FAILED, 6)
    assert [model.display_name for model in lab.all_versions()] == ["other"]
    assert lab.leftovers() == []


def test_a_version_is_added_beside_the_default_one_unless_it_is_to_be_that(lab):
    lab.run(lab.create("instant", model_id="m1"))
    second = lab.create("instant", parent_model="m1", model=NewModel("instant"))
    assert lab.run(second).made.version_id == "2"
    aliases = NewModel("instant", version_aliases=("default", "new"))
    third = lab.create("instant", parent_model="m1@1", model=aliases)
    assert lab.store.get_model(PARENT, "m1").version_id == "1"
    assert lab.run(third).made.version_id == "3"
    found = {m.version_id: m.aliases for m in lab.all_versions()}
    assert found == {"1": (), "2": (), "3": ("default", "new")}


def test_a_version_goes_by_its_models_name_unless_it_has_one(lab):
    entry = Entry(PARENT, "m1", "instant")
    lab.store.add_model(entry.model("1", lab.folder / "o", "ab"))
    made = lab.run(lab.create("x", parent_model="m1", model=NewModel()))
    assert made.state is PipelineState.SUCCEEDED
    assert lab.store.get_model(PARENT, "m1", "2").display_name == "instant"


def test_trainings_wait_for_their_turn_in_order(lab):
    first, second = lab.create("endless"), lab.create("instant")
    manager = lab.manager()
    manager.start()
    lab.until(first, searching)
    assert lab.get(second).state is PipelineState.PENDING
    lab.service(manager).cancel(PARENT, first.id)
    assert lab.until(second, lambda p: p.state.finished).state is PipelineState.SUCCEEDED
    assert lab.get(first).state is PipelineState.CANCELLED


def test_trainings_may_run_side_by_side(lab):
    both = [lab.create("endless"), lab.create("endless")]
    manager = lab.manager(max_running=2)
    manager.start()
    for pipeline in both:
        lab.until(pipeline, searching)
    assert len(trainers()) == 2


def test_a_late_owner_registers_nothing(lab):
    pipeline = lab.create("instant")
    old = lab.pipelines.claim("old", time.time() + 100)
    lab.pipelines.update(old, state=PipelineState.RUNNING)
    SqlClock(lab).claim("new", time.time() + 100)
    model = Entry(PARENT, "m1", "late").model("1", lab.folder / "o", "ab")
    with pytest.raises(Aborted):
        lab.pipelines.succeed(old, model, new=True, state=PipelineState.SUCCEEDED)
    with pytest.raises(NotFound):
        lab.store.get_model(PARENT, "m1")
    assert lab.get(pipeline).state is PipelineState.RUNNING


def test_deleting_a_pipeline_leaves_its_model(lab):
    pipeline = lab.run(lab.create("instant", model_id="m1"))
    lab.service().delete(PARENT, pipeline.id)
    assert lab.store.get_model(PARENT, "m1").pipeline == pipeline.name
