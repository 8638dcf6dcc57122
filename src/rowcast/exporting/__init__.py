"""A registered model in, a folder that scores on its own out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.storage.model_folder import appearing, copy_model

if TYPE_CHECKING:
    from pathlib import Path

    from rowcast.core.model import ModelSpec
    from rowcast.exporting.onnx import Exported

MODEL, README, ONNX = "model", "README.md", "model.onnx"
_NEEDS = {"onnx": "rowcast[onnx]", "sklearn": "rowcast[sklearn]"}
"""What scoring a kind of model needs beside Rowcast itself."""
_README = """\
# {name}

A model of `{target}` ({kind}) for Rowcast.

```sh
pip install '{needs}'
python -m rowcast.scorer . input.csv > output.csv
```

`input.csv` may be CSV, JSON lines or Parquet, also `.gz` and `.zst`. The output has a row for each
row of it: its columns, {answers} and `error`, which says why a row could not be scored.

From Python:

```python
from rowcast import scorer

answers = scorer.load(".").predict(dataframe)
```

`rowcast import . --name NAME` registers the model. Its files are verified whenever they are read;
the SHA-256 of `model/model.json` is `{digest}`.

| Column | Kind | May be null |
|---|---|---|
{features}
"""


_ONNX_README = """
## ONNX

`model.onnx` is the same model for ONNX Runtime {runtime} or later, {checked}.

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
{outputs} = session.run(None, {{{feed}}})
```

{inputs}A row that Rowcast would refuse, for a null that may not be, has an answer here that means
nothing.
"""


def export_model(folder: Path, digest: str, output: Path, *, name: str, onnx: bool = False) -> Path:
    """Write ``output``: the model folder as it is, a description, and perhaps ONNX.

    Raises
    ------
    AlreadyExists
        If ``output`` exists.
    ModelDamaged
        If a file of the model is not the one that was saved.
    Unimplemented
        If the model has what ONNX cannot say, naming it.
    """
    with appearing(output) as temporary:
        spec = copy_model(folder, digest, temporary / MODEL)
        text = _readme(spec, digest, name)
        if onnx:
            from rowcast.exporting.onnx import export_onnx

            exported = export_onnx(temporary / MODEL, digest)
            (temporary / ONNX).write_bytes(exported.content)
            text += _onnx_readme(exported)
        (temporary / README).write_text(text, "utf-8")
    return output


def _onnx_readme(exported: Exported) -> str:
    from rowcast.exporting.onnx import LEAST_RUNTIME

    names = [name for name, _ in exported.inputs]
    shown = [f"{name!r}: ..." for name in names[:3]] + (["..."] if len(names) > 3 else [])
    rows = "".join(f"| `{_plain(name)}` | {meaning} |\n" for name, meaning in exported.inputs)
    if exported.rows:
        checked = (
            f"in double precision; on {exported.rows:,} rows its answers and the model's own "
            f"differ by {exported.difference:.2g} at most"
        )
    else:
        checked = "byte for byte as it was imported"
    return _ONNX_README.format(
        runtime=LEAST_RUNTIME,
        checked=checked,
        outputs=", ".join(exported.outputs) or "answers",
        feed=", ".join(shown) or "...",
        inputs=f"Inputs have the shape (rows, 1):\n\n| Input | Holds |\n|---|---|\n{rows}\n"
        if rows
        else "",
    )


def _readme(spec: ModelSpec, digest: str, name: str) -> str:
    target = spec.schema.target
    columns = [*target.score_columns()[:10]]
    if not target.classes:
        columns += ["lower_bound", "upper_bound"]
    return _README.format(
        name=_plain(name),
        target=_plain(target.name),
        kind=target.prediction_type,
        needs=_NEEDS.get(spec.predictor, "rowcast"),
        answers=", ".join(f"`{_plain(column)}`" for column in columns),
        digest=digest,
        features="\n".join(
            f"| `{_plain(feature.name)}` | {feature.kind} | {'yes' if feature.nullable else 'no'} |"
            for feature in spec.schema.features
        ),
    )


def _plain(text: str) -> str:
    """Make a name safe for a line of Markdown."""
    line = "".join(c if c.isprintable() else " " for c in text)
    return line.replace("|", "\\|").replace("`", "'")
