"""Model folders: whole, or refused before anything is parsed."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import subprocess

import pytest

from rowcast.core.model import ModelSpec
from rowcast.core.schema import Feature, ModelSchema, Target
from rowcast.errors import AlreadyExists, ModelDamaged
from rowcast.predictors import load_predictor
from rowcast.storage.model_folder import (
    folder_digest,
    read_facts,
    read_member,
    read_spec,
    write_model,
)
from tests.tables import shop_model

SPEC = ModelSpec(
    "churn",
    "boosted",
    ModelSchema(
        (
            Feature("age", "numeric", nullable=True, baseline=39.0),
            Feature("job", "categorical", True),
        ),
        Target("churn", "classification", ("no", "yes")),
    ),
    ({"kind": "numeric", "columns": ["number"]}, {"kind": "categorical", "columns": []}),
    details={"forests": ["forest.safetensors"]},
    training={"rows": 5},
)
MEMBERS = {"forest.safetensors": b"tree\n" * 100, "arrays.safetensors": bytes(range(256))}


@pytest.fixture
def saved(tmp_path):
    folder = tmp_path / "models" / "m1"
    return folder, write_model(folder, SPEC, MEMBERS)


def read_all(folder, digest):
    spec = read_spec(folder, digest)
    return spec, {name: read_member(folder, spec, name) for name in spec.members}


def test_a_model_is_read_as_it_was_written(saved):
    folder, digest = saved
    spec, members = read_all(folder, digest)
    assert members == MEMBERS
    assert (spec.name, spec.predictor, spec.schema) == (SPEC.name, SPEC.predictor, SPEC.schema)
    assert (spec.encoder, spec.details, spec.training) == (
        SPEC.encoder,
        SPEC.details,
        SPEC.training,
    )
    assert (
        folder_digest(folder)
        == digest
        == hashlib.sha256((folder / "model.json").read_bytes()).hexdigest()
    )
    assert sorted(p.name for p in folder.parent.iterdir()) == ["m1"]


def test_facts_are_read_where_a_model_has_them(tmp_path):
    folder = tmp_path / "m"
    members = {**MEMBERS, "evaluation.json": b'{"metrics": {}}', "odd.json": b"[1]"}
    spec = read_spec(folder, write_model(folder, SPEC, members))
    assert read_facts(folder, spec, "evaluation.json") == {"metrics": {}}
    assert read_facts(folder, spec, "profile.json") is None
    with pytest.raises(ModelDamaged, match="not a JSON object"):
        read_facts(folder, spec, "odd.json")


def test_sha256sum_can_check_a_folder(saved):
    folder, _ = saved
    subprocess.run(
        ["sha256sum", "--check", "model.json.sha256"], cwd=folder, check=True, capture_output=True
    )


def test_a_folder_is_never_overwritten(saved):
    folder, digest = saved
    with pytest.raises(AlreadyExists):
        write_model(folder, SPEC, {})
    assert read_all(folder, digest)[1] == MEMBERS
    assert [p.name for p in folder.parent.iterdir()] == ["m1"]


@pytest.mark.parametrize(
    "name", ["../x", "a/b", ".hidden", "", "model.json", "model.json.sha256", "X"]
)
def test_a_member_has_a_plain_name(tmp_path, name):
    with pytest.raises(ValueError, match="no name for a member"):
        write_model(tmp_path / "m", SPEC, {name: b""})
    assert list(tmp_path.iterdir()) == []


def test_the_same_model_has_the_same_digest(tmp_path):
    digests = {
        write_model(tmp_path / str(i), SPEC, dict(list(MEMBERS.items())[:: 1 - 2 * i]))
        for i in (0, 1)
    }
    assert len(digests) == 1


FILES = ["model.json", "model.json.sha256", *MEMBERS]


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_goes_unnoticed(saved, name):
    folder, digest = saved
    whole = (folder / name).read_bytes()
    for place in random.Random(1).sample(range(8 * len(whole)), 150):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        (folder / name).write_bytes(flipped)
        with pytest.raises(ModelDamaged, match=name.replace(".", r"\.")):
            read_all(folder, digest)


@pytest.mark.parametrize("name", FILES)
def test_no_changed_length_goes_unnoticed(saved, name):
    folder, digest = saved
    whole = (folder / name).read_bytes()
    lengths = random.Random(2).sample(range(len(whole)), 50)
    for content in [whole[:length] for length in lengths] + [b"", whole + b"\n", whole + whole]:
        (folder / name).write_bytes(content)
        with pytest.raises(ModelDamaged, match=name.replace(".", r"\.")):
            read_all(folder, digest)


class Canary:
    def __reduce__(self):
        return os.mkdir, ("canary",)


@pytest.mark.parametrize("name", FILES)
def test_a_pickle_is_refused_under_every_name(saved, name, monkeypatch, tmp_path):
    folder, digest = saved
    monkeypatch.chdir(tmp_path)
    (folder / name).write_bytes(pickle.dumps(Canary()))
    with pytest.raises(ModelDamaged):
        load_predictor(str(folder), digest)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("name", FILES)
def test_members_cannot_be_missing_links_or_pipes(saved, name, tmp_path):
    folder, digest = saved
    (folder / name).rename(tmp_path / "elsewhere")
    with pytest.raises(ModelDamaged, match=name.replace(".", r"\.")):
        read_all(folder, digest)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ModelDamaged, match=name.replace(".", r"\.")):
        read_all(folder, digest)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ModelDamaged, match=name.replace(".", r"\.")):
        read_all(folder, digest)


def test_swapped_members_are_refused(saved):
    folder, digest = saved
    one, two = (folder / name for name in MEMBERS)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    spec = read_spec(folder, digest)
    for name in MEMBERS:
        with pytest.raises(ModelDamaged, match="not the file that was saved"):
            read_member(folder, spec, name)


def test_a_foreign_file_is_refused(saved):
    folder, digest = saved
    (folder / "more.txt").touch()
    with pytest.raises(ModelDamaged, match=r"more\.txt"):
        read_spec(folder, digest)


def test_another_models_folder_is_refused(saved, tmp_path):
    folder, digest = saved
    other = write_model(tmp_path / "other", SPEC, {"x": b""})
    with pytest.raises(ModelDamaged, match="SHA-256"):
        read_spec(tmp_path / "other", digest)
    with pytest.raises(ModelDamaged, match="SHA-256"):
        read_spec(folder, other)


def test_a_link_or_nothing_is_no_model_folder(saved, tmp_path):
    folder, digest = saved
    (tmp_path / "link").symlink_to(folder)
    for path in (tmp_path / "link", tmp_path / "nothing", folder / "model.json"):
        with pytest.raises(ModelDamaged, match="not a model folder"):
            read_spec(path, digest)


def test_an_oversize_member_is_not_read(saved, monkeypatch):
    folder, digest = saved
    monkeypatch.setattr("rowcast.storage.model_folder.MAX_MEMBER_BYTES", 300)
    with pytest.raises(ModelDamaged, match="500 bytes"):
        read_all(folder, digest)


@pytest.mark.parametrize("text", [b"{}", b"[]", b'{"name": 5}', b"\xff", b"null"])
def test_a_registered_file_that_is_no_model_is_refused(saved, text):
    folder, _ = saved
    digest = hashlib.sha256(text).hexdigest()
    (folder / "model.json").write_bytes(text)
    (folder / "model.json.sha256").write_text(f"{digest}  model.json\n")
    with pytest.raises(ModelDamaged, match="describes no model"):
        read_spec(folder, folder_digest(folder))


def test_damage_to_a_trained_model_is_noticed_before_anything_is_parsed(tmp_path, monkeypatch):
    model = shop_model("binary")
    folder = tmp_path / "m"
    digest = write_model(folder, model.spec, model.members)

    def parse(*_):
        raise AssertionError("a damaged file was parsed")

    monkeypatch.setattr("rowcast.predictors.boosted.forest_of", parse)
    monkeypatch.setattr("safetensors.numpy.load", parse)
    dice = random.Random(3)
    for name in model.members:
        whole = (folder / name).read_bytes()
        for _ in range(25):
            flipped = bytearray(whole)
            flipped[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
            for content in (bytes(flipped), whole[: dice.randrange(len(whole))]):
                (folder / name).write_bytes(content)
                with pytest.raises(ModelDamaged):
                    load_predictor(str(folder), digest)
        (folder / name).write_bytes(whole)
