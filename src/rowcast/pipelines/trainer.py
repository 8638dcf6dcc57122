"""A training process: trains one model, writes its folder, and ends.

Started as ``python -m rowcast.pipelines.trainer DESCRIPTOR OPTIONS``; the descriptor is one end
of a socket pair, the options are JSON. What it is to do comes as an ``Order``; it tells how it
gets on, and in the end the digest of the folder, or the error. It ends when whoever started it
does, and registers nothing: a model appears only when its starter has seen it whole.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcast.engines.confine import confine, portable
from rowcast.errors import Internal, RowcastError

if TYPE_CHECKING:
    from rowcast.pipelines.task import Order
    from rowcast.training import Progress, TrainedModel

OUT_OF_MEMORY = (
    "The training needs more memory than it may have; raise training_memory_bytes, or train on "
    "fewer rows or columns."
)


def main(descriptor: int, options: dict[str, Any]) -> None:
    """Do the one training that is asked for."""
    confine(options)
    connection = Connection(descriptor)
    order: Order = connection.recv()
    threading.Thread(target=_end_with_starter, args=(connection,), daemon=True).start()
    try:
        answer = ("done", *_train(order, connection))
    except (RowcastError, MemoryError) as error:
        connection.send(("failed", portable(error, OUT_OF_MEMORY)))
    except Exception as error:  # noqa: BLE001 - whatever went wrong belongs to the pipeline
        traceback.print_exc()  # to the server's log
        connection.send(("failed", Internal(f"{type(error).__name__}: {error}")))
    else:
        connection.send(answer)


def _train(order: Order, connection: Connection) -> tuple[str, float, list[dict[str, Any]]]:
    """Train and write; the digest, the seconds it took, and the candidates."""
    from rowcast.storage.model_folder import write_model

    started = time.monotonic()
    budget_s = 0.0 if order.request.trials else order.request.budget_s

    def progress(stage: str, fraction: float, message: str) -> None:
        left = max(0.0, budget_s - (time.monotonic() - started))
        connection.send(("progress", stage, fraction, message, left))

    trained = train_as_asked(order, progress)
    digest = write_model(Path(order.folder), trained.spec, trained.members)
    candidates = list(trained.spec.training.get("candidates") or ())
    return digest, time.monotonic() - started, candidates


def train_as_asked(order: Order, progress: Progress) -> TrainedModel:
    """Train what was ordered."""
    from rowcast.training import train

    return train(list(order.files), progress=progress, **vars(order.request))


def _end_with_starter(connection: Connection) -> None:
    """Wait for the starter to hang up: nobody would see the model."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), json.loads(sys.argv[2]))
