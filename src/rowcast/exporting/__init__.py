"""A registered model in, a folder that scores on its own out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rowcast.storage.model_folder import appearing, copy_model

if TYPE_CHECKING:
    from pathlib import Path

    from rowcast.core.model import ModelSpec

MODEL, README = "model", "README.md"
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


def export_model(folder: Path, digest: str, output: Path, *, name: str) -> Path:
    """Write ``output``: the model folder as it is, and a description.

    Raises
    ------
    AlreadyExists
        If ``output`` exists.
    ModelDamaged
        If a file of the model is not the one that was saved.
    """
    with appearing(output) as temporary:
        spec = copy_model(folder, digest, temporary / MODEL)
        (temporary / README).write_text(_readme(spec, digest, name), "utf-8")
    return output


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
