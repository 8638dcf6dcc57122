"""``python -m clients``: drive every client through its flow, and write down what each can do.

Each client is a program of its own that is given a server's address and prints a JSON line for each
step. What its environment needs is installed below ``.clients``. A client whose tools are not on
this machine is skipped, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from clients.environments import CLIENTS, Unavailable
from clients.servers import serving

STEPS = (
    "dataset",
    "train",
    "model",
    "evaluations",
    "upload",
    "predict",
    "results",
    "tables",
    "list",
    "cancel",
    "delete",
    "errors",
)
DOCUMENT = Path(__file__).parents[1] / "docs" / "clients.md"
BEGIN, END = "<!-- results of make test-clients -->", "<!-- end of results -->"
STEP_S = 600.0


def main() -> int:
    """Run what was asked for; 1 if a step failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="parts of clients' names")
    parser.add_argument("--write", action="store_true", help="put the table into docs/clients.md")
    options = parser.parse_args()
    rows: list[list[str]] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="rowcast-clients-") as folder:
        for secure in (False, True):
            chosen = [
                client
                for client in CLIENTS
                if client.secure is secure
                and (not options.only or any(part in client.name for part in options.only))
            ]
            if not chosen:
                continue
            with serving(Path(folder) / ("tls" if secure else "plain"), secure=secure) as server:
                for client in chosen:
                    row, good = run(client, server)
                    rows.append(row)
                    failed |= not good
    table = render(rows)
    print(table)
    if options.write:
        text = DOCUMENT.read_text()
        before, _, rest = text.partition(BEGIN)
        DOCUMENT.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{rest.partition(END)[2]}")
    return int(failed)


def run(client, server) -> tuple[list[str], bool]:
    """Drive one client; its row of the table, and whether all of its steps passed."""
    began = time.monotonic()
    try:
        version, done = client.run(server, timeout_s=STEP_S)
    except Unavailable as reason:
        print(f"SKIPPED {client.name}, {client.transport}: {reason}", flush=True)
        return [client.name, "", client.transport, *["skipped"] * len(STEPS)], True
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            step = json.loads(line)
            found[step["step"]] = step["outcome"]
            if step["outcome"] == "failed":
                print(f"  {step['step']}: {step['detail']}", flush=True)
    wrong = [step for step, outcome in found.items() if outcome == "failed"]
    good = done.returncode == 0 and not wrong and bool(found)
    if not good:
        print(done.stderr[-3000:], file=sys.stderr)
    seconds = time.monotonic() - began
    said = "passed" if good else f"FAILED {wrong}"
    print(f"{client.name} {version}, {client.transport}: {said} ({seconds:.0f} s)", flush=True)
    marks = {"passed": "yes", "failed": "**no**", "none": "-"}
    cells = [marks[found.get(step, "none")] for step in STEPS]
    return [client.name, version, client.transport, *cells], good


def render(rows: list[list[str]]) -> str:
    """Write the table as Markdown."""
    head = ["client", "version", "transport", *STEPS]
    lines = [head, ["---"] * len(head), *sorted(rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
