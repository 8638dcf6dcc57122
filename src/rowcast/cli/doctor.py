"""doctor."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from rowcast.cli import AsJson, Home, show


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """See whether this machine can run Rowcast as it should, and how fast.

    Looks at the processor, the kernels and their cache, the home folder and the optional
    libraries, and scores a small forest to compare it with the reference. Ends with 1 if something
    is wrong.

    For example:

    rowcast doctor --json
    """
    from rowcast.machine import Verdict, examine
    from rowcast.settings import load_settings

    found = []
    with show.err.status("looking around, and compiling kernels if there are none yet"):
        for finding in examine(load_settings(home=home)):
            found.append(finding)
            if not as_json:
                show.finding(finding.subject, finding.verdict, finding.text)
    if as_json:
        show.out.print_json(json.dumps([asdict(finding) for finding in found]))
    if any(finding.verdict is Verdict.BAD for finding in found):
        raise typer.Exit(1)
