"""``python -m bench.stages``: where the CPU time of a CSV job goes, on one thread, by stage.

Survey, parts and publishing run one after the other in this process, as they would in a replica
and in the server.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from bench.model import make_model
from bench.table import write_table
from rowcast.jobs.drift import Counting
from rowcast.jobs.part import PartWork
from rowcast.jobs.plan import list_input
from rowcast.jobs.summary import Summing
from rowcast.jobs.warm_up import warm_up
from rowcast.predictors import load_predictor
from rowcast.scoring.profile import PROFILE, read_profile, rows_to_count
from rowcast.sinks import SinkOptions, open_sink
from rowcast.sources import SourceOptions, open_source
from rowcast.storage.model_folder import folder_digest, read_member
from rowcast.storage.objects import Objects, Roots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PART_BYTES = 4 << 20
STAGES = {  # what runs -> where it is called from
    "find fields": "rowcast.sources.records:split",
    "encode numbers": "rowcast.scoring.encode:NumericEncoder.fill",
    "encode categories": "rowcast.scoring.encode:CategoricalEncoder.fill",
    "encode timestamps": "rowcast.scoring.encode:TimestampEncoder.fill",
    "rank values": "rowcast.scoring.program:quantise",
    "walk trees": "rowcast.scoring.program:walk",
    "format scores": "rowcast.sinks.csv:as_text",
    "write records": "rowcast.sinks.csv:csv_records",
    "compare with training": "rowcast.scoring.profile:Counter.add",
    "sum up": "rowcast.scoring.summary:Tally.add",
}


class Clock:
    """CPU seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        """Add what is done in a ``with`` to a stage."""
        started = time.process_time()
        try:
            yield
        finally:
            taken = time.process_time() - started
            self.seconds[stage] = self.seconds.get(stage, 0.0) + taken

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Add each call of a function to a stage."""

        def call(*args: Any, **options: Any) -> Any:
            with self.of(stage):
                return function(*args, **options)

        return call


def run(work: Path, file: Path) -> tuple[Clock, int]:
    """Do a job's work part by part; returns also its rows."""
    folder = work / "home" / "models" / "bench" / "1"
    digest = folder_digest(folder)
    predictor = load_predictor(str(folder), digest)
    objects = Objects(Roots(work / "gs", work / "s3", (work,)))
    out, clock = f"{work}/out/", Clock()
    source = SourceOptions(objects, f"{out}_staging/spool/")
    with clock.of("survey"):
        plan = open_source("csv", source).survey(list_input(objects, [str(file)]), PART_BYTES)
    spec = predictor.spec
    profile = read_profile(read_member(folder, spec, PROFILE))
    sink = SinkOptions(objects, out, f"{out}_staging/", spec.schema.target, plan.layout.schema)
    part_work = PartWork(
        "csv",
        source,
        plan.layout,
        "csv",
        sink,
        str(folder),
        digest,
        8192,
        counting=Counting(profile, rows_to_count(plan.rows, len(profile.features))),
        summing=Summing.of(spec.schema, len(plan.parts)),
    )
    with ExitStack() as patches:
        for stage, place in STAGES.items():
            module, _, path = place.partition(":")
            owner, _, name = path.rpartition(".")
            held = import_module(module)
            holder = getattr(held, owner) if owner else held
            timed = clock.timed(stage, getattr(holder, name))
            patches.enter_context(patch.object(holder, name, timed))
        with clock.of("all parts"):
            results = [part_work(part) for part in plan.parts]
    known = sum(clock.seconds[stage] for stage in STAGES)
    clock.seconds["read, stage, all else"] = clock.seconds.pop("all parts") - known
    with clock.of("publish"):
        open_sink("csv", sink).publish([result.staged for result in results])
    return clock, plan.rows


def main() -> None:
    """Print nanoseconds a row, by stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--trees", type=int, default=500)
    parser.add_argument("--leaves", type=int, default=63)
    parser.add_argument("--work", type=Path, help="keep the model and the input here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rowcast-bench-") as folder:
        work = options.work or Path(folder)
        if not (work / "home").exists():
            make_model(work, trees=options.trees, leaves=options.leaves)
        file = work / f"rows-{options.rows}.csv"
        if not file.exists():
            write_table(file, options.rows, target=False, seed=2)
        warm = work / "rows-1000.csv"
        write_table(warm, 1000, target=False, seed=0)
        warm_up()
        run(work, warm)
        clock, rows = run(work, file)
    total = sum(clock.seconds.values())
    print(f"{'stage':24}{'ns a row':>10}{'share':>8}")
    for stage, seconds in sorted(clock.seconds.items(), key=lambda item: -item[1]):
        print(f"{stage:24}{seconds / rows * 1e9:10,.0f}{seconds / total:8.0%}")
    print(f"{'all':24}{total / rows * 1e9:10,.0f}")


if __name__ == "__main__":
    main()
