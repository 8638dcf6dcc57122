"""A model on disk: a folder that is written once, and hashed before anything in it is parsed.

::

    model.json            the ModelSpec, with the SHA-256 of every other member
    model.json.sha256     its own digest, in the format of sha256sum
    forest.safetensors    ...members: plain arrays and JSON, nothing that runs code

The digest of ``model.json`` therefore stands for the whole folder. Whoever registered the model
knows it; ``sha256sum --check model.json.sha256`` and ``folder_digest`` serve those who did not.
Parsers of model formats crash or answer wrongly on damaged files, so a byte that was not saved
here never reaches one.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import uuid
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from rowcast.core.model import FORMAT_VERSION, MODEL_JSON, ModelSpec
from rowcast.errors import AlreadyExists, ModelDamaged
from rowcast.storage.objects import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SIDECAR = f"{MODEL_JSON}.sha256"
MAX_SPEC_BYTES = 64 << 20
MAX_MEMBER_BYTES = 2 << 30
MEMBER_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
# Made here, once: msgspec crashes when two threads are the first to decode the same type.
_SPEC = msgspec.json.Decoder(ModelSpec)
_SIDECAR_LINE = re.compile(r"([0-9a-f]{64})  " + re.escape(MODEL_JSON) + r"\n")


def write_model(folder: Path, spec: ModelSpec, members: Mapping[str, bytes]) -> str:
    """Save a model; the folder appears whole or not at all.

    Parameters
    ----------
    folder
        Must not exist; its parent is made if need be.
    spec
        ``members`` in it is filled in here.
    members
        Name to content.

    Returns
    -------
    str
        SHA-256 of ``model.json`` in hex: the digest that ``read_spec`` wants.

    Raises
    ------
    AlreadyExists
        If the folder does.
    """
    for name in members:
        if not MEMBER_NAME.fullmatch(name) or name in (MODEL_JSON, SIDECAR):
            raise ValueError(f"{name!r} is no name for a member of a model folder")
    digests = {name: hashlib.sha256(members[name]).hexdigest() for name in sorted(members)}
    text = msgspec.json.format(
        msgspec.json.encode(replace(spec, members=digests), order="deterministic"), indent=2
    )
    digest = hashlib.sha256(text).hexdigest()
    with appearing(folder) as temporary:
        for name, content in members.items():
            _write(temporary / name, content)
        _seal(temporary, text, digest)
    return digest


def copy_model(folder: Path, digest: str, to: Path) -> ModelSpec:
    """Copy a model folder byte for byte, seeing that each byte is one that was saved.

    ``to`` must not exist; it appears whole or not at all, unless it is inside a folder that does.

    Raises
    ------
    ModelDamaged
        If a file is not the one that was saved.
    AlreadyExists
        If ``to`` exists.
    """
    spec = read_spec(folder, digest)
    with _opened(folder) as descriptor:
        text = _read(descriptor, folder, MODEL_JSON, MAX_SPEC_BYTES)
    _compare(folder, MODEL_JSON, text, digest)
    with appearing(to) as temporary:
        for name in spec.members:
            _write(temporary / name, read_member(folder, spec, name))
        _seal(temporary, text, digest)
    return spec


@contextmanager
def appearing(folder: Path) -> Iterator[Path]:
    """Fill a folder under another name, and give it its own once all is on disk.

    Raises
    ------
    AlreadyExists
        If the folder exists.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        yield temporary
        _sync(temporary)
        _publish(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(folder.parent)


def _seal(folder: Path, text: bytes, digest: str) -> None:
    _write(folder / MODEL_JSON, text)
    _write(folder / SIDECAR, f"{digest}  {MODEL_JSON}\n".encode())


def read_spec(folder: Path, digest: str) -> ModelSpec:
    """Read ``model.json`` and see that the folder holds the members it names and nothing else.

    Raises
    ------
    ModelDamaged
        If any of that is not so. Nothing is parsed whose digest is not right.
    """
    with _opened(folder) as descriptor:
        text = _read(descriptor, folder, MODEL_JSON, MAX_SPEC_BYTES)
        _compare(folder, MODEL_JSON, text, digest)
        sidecar = _read(descriptor, folder, SIDECAR, len(digest) + len(MODEL_JSON) + 3)
        if sidecar != f"{digest}  {MODEL_JSON}\n".encode():
            raise ModelDamaged(f"{folder / SIDECAR} does not hold the digest of {MODEL_JSON}.")
        try:
            spec = _SPEC.decode(text)
        except msgspec.DecodeError as error:
            raise ModelDamaged(f"{folder / MODEL_JSON} describes no model: {error}") from error
        if spec.format_version != FORMAT_VERSION:
            raise ModelDamaged(
                f"{folder / MODEL_JSON} has format version {spec.format_version}; this release "
                f"reads {FORMAT_VERSION}."
            )
        _check_names(folder, descriptor, spec)
    return spec


def read_member(folder: Path, spec: ModelSpec, name: str) -> bytes:
    """Read one member of a folder whose ``spec`` was read by ``read_spec``.

    Raises
    ------
    ModelDamaged
        If its bytes are not those that were saved.
    """
    if name not in spec.members:
        raise ModelDamaged(f"{folder / MODEL_JSON} names no member {name!r}.")
    with _opened(folder) as descriptor:
        content = _read(descriptor, folder, name, MAX_MEMBER_BYTES)
    _compare(folder, name, content, spec.members[name])
    return content


def read_facts(folder: Path, spec: ModelSpec, name: str) -> dict[str, Any] | None:
    """Read a member that is a JSON object for people, such as ``evaluation.json``.

    Returns
    -------
    dict or None
        None if the model has no such member: not every model does.

    Raises
    ------
    ModelDamaged
        If its bytes are not those that were saved, or are no JSON object.
    """
    if name not in spec.members:
        return None
    content = read_member(folder, spec, name)
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ModelDamaged(f"{folder / name} is not a JSON object: {error}") from error


def remove_model(folder: Path) -> None:
    """Remove a model's folder, if it is there; its name goes at once, its files after that."""
    doomed = folder.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        folder.rename(doomed)
    except FileNotFoundError:
        return
    shutil.rmtree(doomed)
    with suppress(OSError):  # other versions are in it
        folder.parent.rmdir()


def folder_digest(folder: Path) -> str:
    """Read the digest that the folder itself states.

    It proves that the files belong together, not where they are from.

    Raises
    ------
    ModelDamaged
        If the sidecar is missing, or is no line of sha256sum.
    """
    with _opened(folder) as descriptor:
        line = _read(descriptor, folder, SIDECAR, 1024).decode("latin-1")
    match = _SIDECAR_LINE.fullmatch(line)
    if match is None:
        raise ModelDamaged(f"{folder / SIDECAR} is not a line of sha256sum for {MODEL_JSON}.")
    return match.group(1)


def _publish(temporary: Path, folder: Path) -> None:
    if folder.exists():
        raise AlreadyExists(f"{folder} exists; a model folder is never overwritten.")
    temporary.rename(folder)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """Hold the folder by a descriptor, so that its members cannot be swapped for links."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise ModelDamaged(f"{folder} is not a model folder: {error.strerror}.") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _read(descriptor: int, folder: Path, name: str, limit: int) -> bytes:
    """Read a regular file of the folder, whole, and not more than ``limit`` bytes of it."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        with os.fdopen(os.open(name, flags, dir_fd=descriptor), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ModelDamaged(f"{folder / name} is not a regular file.")
            if status.st_size > limit:
                raise ModelDamaged(
                    f"{folder / name} has {status.st_size} bytes; at most {limit} are read."
                )
            return file.read(limit)
    except OSError as error:
        raise ModelDamaged(f"{folder / name} cannot be read: {error.strerror}.") from error


def _compare(folder: Path, name: str, content: bytes, digest: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise ModelDamaged(
            f"{folder / name} is not the file that was saved: its SHA-256 is {found}, "
            f"{digest} was expected. Restore the model folder or train again."
        )


def _check_names(folder: Path, descriptor: int, spec: ModelSpec) -> None:
    named = {MODEL_JSON, SIDECAR, *spec.members}
    found = set(os.listdir(descriptor))
    if missing := sorted(named - found):
        raise ModelDamaged(f"{folder} lacks {', '.join(missing)}.")
    if foreign := sorted(found - named):
        raise ModelDamaged(
            f"{folder} holds {', '.join(map(repr, foreign[:5]))}, which does not belong to it."
        )
    for name in sorted(named):
        if not stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            raise ModelDamaged(f"{folder / name} is not a regular file.")
