import json

import pytest

import rowcast
from tests.homes import customers


@pytest.fixture
def two(tmp_path):
    """A home folder with two versions of the model churn."""
    home = tmp_path / "two"
    for _ in range(2):
        rowcast.train(customers(60), target="churn", name="churn", home=home, budget_s=0.5)
    return home


def versions(run, home):
    shown = json.loads(run("models", "versions", "churn", "--home", home, "--json").out)
    return {one["versionId"]: one.get("versionAliases", []) for one in shown}


def test_versions_are_listed_with_their_aliases(run, two):
    shown = run("models", "versions", "churn", "--home", two).out
    assert [line.split()[:2] for line in shown.splitlines()[1:]] == [
        ["2", "default"],
        ["1", "churn"],
    ]


def test_an_alias_moves_what_a_name_means(run, two):
    done = run("models", "alias", "churn@1", "default", "old", "--home", two)
    assert done.code == 0
    assert versions(run, two) == {"2": [], "1": ["default", "old"]}
    shown = json.loads(run("models", "show", "churn", "--home", two, "--json").out)
    assert shown["version"] == "1"
    assert run("models", "alias", "churn@old", "--home", two, "--", "-old").code == 0
    assert versions(run, two) == {"2": [], "1": ["default"]}
    refused = run("models", "alias", "churn", "--home", two, "--", "-default")
    assert refused.code == 1
    assert "to another version" in refused.err
    assert "version_aliases" in run("models", "alias", "churn", "No", "--home", two).err


def test_a_version_and_a_model_are_deleted(run, two):
    refused = run("models", "delete", "churn@2", "-y", "--home", two)
    assert refused.code == 1
    assert "default" in refused.err
    assert run("models", "delete", "churn@1", "--yes", "--home", two).code == 0
    assert versions(run, two) == {"2": ["default"]}
    assert not (two / "models" / "churn" / "1").exists()
    assert run("models", "delete", "churn", "--yes", "--home", two).code == 0
    assert not (two / "models" / "churn").exists()
    assert run("models", "versions", "churn", "--home", two).code == 1


def test_deleting_asks_first(run, two):
    assert run("models", "delete", "churn", "--home", two).code == 1
    assert len(versions(run, two)) == 2
