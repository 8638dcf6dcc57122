"""``python -m bench.environments``: a virtual environment for each peer, outside the project's own.

A peer's dependencies contradict the project's pins, and weigh gigabytes. Each environment is made
once, and again when what belongs in it changes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

DEFAULT = Path.home() / ".cache" / "rowcast-bench" / "envs"
STAMP = "installed.json"

ENVIRONMENTS: dict[str, list[list[str]]] = {
    # xgboost-cpu is the module that flaml[automl] asks for, without the libraries for GPUs.
    "flaml": [
        ["flaml==2.7.0", "lightgbm==4.7.0", "xgboost-cpu==2.1.4", "catboost==1.2.10"],
        ["scikit-learn==1.9.1", "pandas==2.3.3", "scipy", "pyarrow"],
    ],
    # PyTorch comes first: where pip knows a build for CPUs, later steps keep it. fastai asks for
    # torchvision and spacy, which tables do not use.
    "autogluon": [
        ["torch==2.13.0"],
        ["autogluon.tabular[lightgbm,catboost,xgboost]==1.6.3", "pyarrow"],
        ["--no-deps", "fastai==2.8.7"],
        ["torch==2.13.0", "fastcore<2", "fastprogress", "fastdownload", "fasttransform"],
        ["plum-dispatch<2.10", "rich", "requests", "pyyaml", "cloudpickle", "pillow"],
    ],
    # daal4py's newest release knows scikit-learn up to 1.5.
    "forests": [
        ["lightgbm==4.7.0", "treelite==4.8.1", "tl2cgen==1.0.0", "pylignum==0.3.0"],
        ["onnxruntime==1.32.0", "onnxmltools==1.16.0", "setuptools<81"],
        ["daal4py==2024.7.0", "scikit-learn==1.5.2", "numpy<2.3"],
    ],
    "shap": [["shap==0.51.0", "lightgbm==4.7.0"]],
    # Its newest release was made for NumPy 1.
    "fasttreeshap": [["fasttreeshap==0.1.6", "lightgbm==4.7.0", "numpy<2", "setuptools<81"]],
    "mapie": [["mapie==1.6.0", "lightgbm==4.7.0", "scikit-learn==1.9.1", "pandas==2.3.3"]],
}
"""Name to the arguments of each ``pip install``, in order."""


def interpreter(folder: Path, name: str) -> Path:
    """Give the Python of an environment, making the environment if need be.

    Raises
    ------
    subprocess.CalledProcessError
        If something cannot be installed; what pip said is on stderr.
    """
    place = folder.expanduser() / name
    python, stamp = place / "bin" / "python", place / STAMP
    wanted = json.dumps(ENVIRONMENTS[name])
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    print(f"making {place}", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for arguments in ENVIRONMENTS[name]:
        subprocess.run([*pip, *arguments], check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    print(f"made {place} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return python


def main() -> None:
    """Make those that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(ENVIRONMENTS), metavar="NAME")
    parser.add_argument("--envs", type=Path, default=DEFAULT, help="default: %(default)s")
    options = parser.parse_args()
    for name in options.names:
        print(interpreter(options.envs, name))


if __name__ == "__main__":
    main()
