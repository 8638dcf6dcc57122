import threading

import pytest

from rowcast.core.model import ModelSpec
from rowcast.core.names import Parent
from rowcast.core.schema import Feature, ModelSchema, Target
from rowcast.registry.versions import Entry, Registry
from rowcast.storage.model_folder import read_spec
from rowcast.stores.sql import SqlStore
from tests.databases import database_url

PARENT = Parent("acme", "us-central1")
SCHEMA = ModelSchema((Feature("a", "numeric", nullable=False),), Target("y", "regression"))
SPEC = ModelSpec("churn", "boosted", SCHEMA, ())


@pytest.fixture
def store(tmp_path):
    store = SqlStore(database_url(tmp_path))
    yield store
    store.close()


@pytest.fixture
def registry(store, tmp_path):
    return Registry(store, tmp_path / "models")


def test_versions_count_up_from_1_and_the_newest_is_the_default(registry, store):
    for number in ("1", "2", "3"):
        model = registry.add(Entry(PARENT, "churn", "Churn"), SPEC, {"a.txt": b"x"})
        assert (model.version_id, model.aliases) == (number, ("default",))
    assert store.get_model(PARENT, "churn").version_id == "3"
    assert [m.aliases for m in store.model_versions(PARENT, "churn")] == [("default",), (), ()]


def test_a_version_may_be_added_beside_the_default_one(registry, store):
    registry.add(Entry(PARENT, "churn", "Churn"), SPEC, {}, default=False)
    second = registry.add(Entry(PARENT, "churn", "C", aliases=("new",)), SPEC, {}, default=False)
    assert second.aliases == ("new",)
    assert store.get_model(PARENT, "churn").version_id == "1"
    third = registry.add(
        Entry(PARENT, "churn", "C", aliases=("default", "new")), SPEC, {}, default=False
    )
    assert third.aliases == ("default", "new")
    assert store.get_model(PARENT, "churn").version_id == "3"
    assert store.get_model(PARENT, "churn", "2").aliases == ()


def test_trainings_side_by_side_get_versions_of_their_own(tmp_path):
    """Each has a store of its own, as processes have."""
    SqlStore(database_url(tmp_path)).close()
    start, made, errors = threading.Barrier(6), [], []

    def train(number):
        store = SqlStore(database_url(tmp_path))
        registry = Registry(store, tmp_path / "models")
        start.wait()
        try:
            for _ in range(3):
                made.append(
                    registry.add(Entry(PARENT, "m", "M"), SPEC, {"n": str(number).encode()})
                )
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)
        store.close()

    threads = [threading.Thread(target=train, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(int(model.version_id) for model in made) == list(range(1, 19))
    assert len({model.folder for model in made}) == 18


def test_a_folder_that_nobody_registered_is_passed_over(registry, tmp_path):
    leftover = tmp_path / "models" / "churn" / "1"
    leftover.mkdir(parents=True)
    model = registry.add(Entry(PARENT, "churn", "Churn"), SPEC, {"a.txt": b"x"})
    assert model.version_id == "2"
    assert list(leftover.iterdir()) == []
    assert read_spec(tmp_path / "models" / "churn" / "2", model.digest).schema == SCHEMA


def test_a_deleted_version_is_not_numbered_again(registry, store):
    for _ in range(3):
        registry.add(Entry(PARENT, "churn", "Churn"), SPEC, {})
    last = store.get_model(PARENT, "churn", "3")
    store.merge_aliases(store.get_model(PARENT, "churn", "1"), ["default"], [], last.created)
    store.delete_version(store.get_model(PARENT, "churn", "3"))
    assert registry.add(Entry(PARENT, "churn", "Churn"), SPEC, {}).version_id == "4"


def test_models_are_found_by_name_and_new_ones_get_it_for_an_id(registry):
    assert registry.id_for(PARENT, "churn") == "churn"
    id_ = registry.id_for(PARENT, "Churn of 2026")
    assert id_.isdigit()
    registry.add(Entry(PARENT, id_, "Churn of 2026"), SPEC, {})
    assert registry.id_for(PARENT, "Churn of 2026") == id_
