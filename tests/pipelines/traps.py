"""A training process that does what the model's name says; other names train."""

import itertools
import json
import os
import signal
import sys
import time

import numpy as np

from rowcast.core.model import ModelSpec
from rowcast.core.schema import Feature, ModelSchema, Target
from rowcast.errors import InvalidRequest
from rowcast.pipelines import trainer
from rowcast.training import TrainedModel

really_train = trainer.train_as_asked


def train_as_asked(order, progress):
    match order.request.name:
        case "instant":
            features = (Feature("a", "numeric", nullable=False),)
            schema = ModelSchema(features, Target(order.request.target, "regression"))
            training = {"candidates": [{"name": "only", "loss": 1.0}]}
            return TrainedModel(
                ModelSpec("instant", "boosted", schema, (), training=training), {"a.txt": b"x"}
            )
        case "endless":
            for number in itertools.count():
                progress("search", min(0.9, number / 100), f"step {number}")
                if number == 3:
                    progress("candidate", min(0.9, number / 100), "first: loss 0.5")
                time.sleep(0.02)
        case "hungry":
            np.ones(1 << 33)
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exits":
            os._exit(7)
        case "refused":
            raise InvalidRequest("the target has nulls")
        case "broken":
            raise RuntimeError("something else")
    return really_train(order, progress)


trainer.train_as_asked = train_as_asked

if __name__ == "__main__":
    trainer.main(int(sys.argv[1]), json.loads(sys.argv[2]))
