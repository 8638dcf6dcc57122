"""``python -m stress``: every run at full size, with a table of what was found."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from stress import damage, runs
from stress.harness import make_home

RUNS = ("R1", "R2", "R3", "R5", "R8", "R8-server", "R10", "R16")


def main() -> int:
    """Run what was asked for; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--objects", type=int, default=7)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--cancels", type=int, default=200)
    parser.add_argument("--only", nargs="*", help=" ".join(RUNS))
    options = parser.parse_args()
    wanted = set(options.only or RUNS)
    failed = False
    with tempfile.TemporaryDirectory(prefix="rowcast-stress-") as folder:
        big, small = Path(folder) / "big", Path(folder) / "small"
        make_home(big, rows=options.rows, objects=options.objects)
        make_home(small, rows=2_000, objects=2)
        large_parts = {**runs.SMALL_PARTS, "part_bytes": str(512 << 10)}
        tasks = {
            "R1": lambda: runs.random_kills(big, options.kills, settings=large_parts),
            "R2": lambda: runs.crash_points(small, settings=runs.SMALL_PARTS),
            "R3": lambda: runs.replica_kills(big, 10, settings=large_parts),
            "R5": lambda: runs.full_disk(big, settings=large_parts),
            "R8": lambda: damage.damaged_models(
                damage.with_imported_models(damage.with_more_models(small)), 1_000
            ),
            "R8-server": lambda: damage.damaged_on_a_server(small, 1_000),
            "R10": lambda: runs.cancels(big, options.cancels, settings=large_parts),
            "R16": lambda: runs.matrix(big, settings=large_parts),
        }
        for name, task in tasks.items():
            if name not in wanted:
                continue
            started = time.monotonic()
            report = task()
            failed |= bool(report.problems)
            print(f"{report.name} ({time.monotonic() - started:.0f} s)")
            for figure, value in report.figures.items():
                print(f"  {figure}: {value}")
            for problem in report.problems[:10]:
                print(f"  BROKEN: {problem}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
