"""Which program wrote a model file, from its first bytes rather than from its name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from rowcast.errors import InvalidRequest

if TYPE_CHECKING:
    from rowcast.importing.described import Described

FORMATS = {  # --format -> "module:function", imported on first use
    "catboost": "rowcast.importing.catboost:describe",
    "lightgbm": "rowcast.importing.lightgbm:describe",
    "onnx": "rowcast.importing.onnx:describe",
    "skops": "rowcast.importing.sklearn:describe",
    "xgboost": "rowcast.importing.xgboost:describe",
}
AUTO = "auto"
_PICKLE = re.compile(rb"\x80[\x00-\x05]|\(dp|c__main__|ccopy_reg|cnumpy|csklearn")
_PACKED = (b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"ZF")
_CATBOOST = re.compile(rb'\s*\{\s*"(features_info|model_info|oblivious_trees|trees)"|CBM1')
_XGBOOST = re.compile(rb'\s*\{\s*"(learner|version|Config)"|\{L\x00')
_LOOKED_AT = 1 << 20


def format_of(content: bytes, name: str) -> str:
    """Tell a model file's format.

    Raises
    ------
    InvalidRequest
        If it is none that is supported. Pickles are named as what they are.
    """
    start = content[:_LOOKED_AT]
    if _PICKLE.match(start) or start.startswith(_PACKED):
        raise InvalidRequest(
            f"{name} is a pickle, or packed like one. Pickles run code when they are opened, so "
            "Rowcast never opens one: save a scikit-learn model with skops.io.dump, boosted trees "
            "with their library's save_model, and anything else as ONNX."
        )
    if start.startswith(b"tree\n"):
        return "lightgbm"
    if start.startswith(b"PK\x03\x04"):
        return _archive_format(content, name)
    if _CATBOOST.match(start):
        return "catboost"
    if _XGBOOST.match(start):
        return "xgboost"
    if start.startswith(b"\x08"):  # the first field of an ONNX model is the version of its format
        return "onnx"
    raise InvalidRequest(
        f"{name} is no model file that Rowcast knows: {', '.join(sorted(FORMATS))} were tried. "
        "Name the format if its first bytes mislead."
    )


def _archive_format(content: bytes, name: str) -> str:
    if b"schema.json" in content[-_LOOKED_AT:]:
        return "skops"
    raise InvalidRequest(
        f"{name} is a zip archive, but not one that skops wrote; PyTorch's and NumPy's hold "
        "pickles, which are never opened."
    )


def describe(content: bytes, format_: str, name: str) -> Described:
    """Describe a model file of a format, or of whichever it turns out to be with ``auto``.

    Raises
    ------
    InvalidRequest
        If the format does not exist or the model has what is not supported.
    ModelDamaged
        If the file cannot be read.
    """
    from importlib import import_module

    found = format_of(content, name)
    if format_ not in (AUTO, *FORMATS):
        raise InvalidRequest(
            f"{format_!r} is no format of models; use {', '.join((AUTO, *sorted(FORMATS)))}."
        )
    if format_ not in (AUTO, found):
        raise InvalidRequest(f"{name} is not a model of format {format_!r} but of {found!r}.")
    module, _, function = FORMATS[found].partition(":")
    described: Described = getattr(import_module(module), function)(content)
    return described
