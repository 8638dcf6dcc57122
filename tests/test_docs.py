"""The documents are true: nothing is missing from them, and their examples run."""

import inspect
import re
from pathlib import Path

import pyarrow.csv as pc
import pytest
import typer

import rowcast
from rowcast import errors
from rowcast.cli import app, auth, commands, doctor, iam, imports, jobs, models, tables, train
from rowcast.settings import Settings
from rowcast.sinks import SINKS
from rowcast.sources import SOURCES
from tests.homes import customers

ROOT = Path(__file__).parents[1]
DOCS = {path.name: path.read_text() for path in (ROOT / "docs").glob("*.md")}
DOCS["README.md"] = (ROOT / "README.md").read_text()


def all_commands():
    if not app.registered_commands:
        train.register(app)
        commands.register(app)
        imports.register(app)
        jobs.register(app)
        models.register(app)
        tables.register(app)
        doctor.register(app)
        iam.register(app)
        auth.register(app)
    found = {}

    def visit(command, words):
        if hasattr(command, "commands"):
            for name, inner in command.commands.items():
                visit(inner, [*words, name])
        else:
            found[" ".join(words)] = [
                name
                for parameter in command.params
                for name in (*parameter.opts, *parameter.secondary_opts)
                if name.startswith("-")
            ]

    visit(typer.main.get_command(app), ["rowcast"])
    return found


COMMANDS = all_commands()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described_with_its_variable(name):
    rows = [line for line in DOCS["settings.md"].splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert rows[0].endswith(f"| `ROWCAST_{name.upper()}` |")


def test_no_setting_is_described_that_does_not_exist():
    named = re.findall(r"^\| `(\w+)` \|", DOCS["settings.md"], re.M)
    assert set(named) == set(Settings.model_fields)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_described(command):
    text = DOCS["cli.md"]
    assert command in text
    for option in COMMANDS[command]:
        assert re.search(rf"`{re.escape(option)}[`, ]", text), option


def test_no_option_is_described_that_does_not_exist():
    known = {option for options in COMMANDS.values() for option in options}
    known |= {"--help", "--version", "--install-completion", "--show-completion"}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", DOCS["cli.md"])) <= known


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(command):
    group, _, name = command.removeprefix("rowcast ").partition(" ")
    functions = {f.name or f.callback.__name__: f.callback for f in app.registered_commands}
    if name:
        inner = next(g.typer_instance for g in app.registered_groups if g.name == group)
        functions = {f.name: f.callback for f in inner.registered_commands}
    assert f"    {command}" in (functions[name or group].__doc__ or "")


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, errors.RowcastError) and found.__module__ == "rowcast.errors"
    ],
)
def test_every_error_is_described(name):
    assert f"`{name}`" in DOCS["errors.md"]


@pytest.mark.parametrize("format_", sorted({*SOURCES, *SINKS}))
def test_every_format_is_described(format_):
    assert f"`{format_}`" in DOCS["api.md"] + DOCS["cli.md"]
    assert {"csv": "CSV", "jsonl": "JSON lines", "parquet": "Parquet"}.get(
        format_, format_
    ) in DOCS["formats.md"]


@pytest.mark.parametrize("name", rowcast.__all__)
def test_every_public_name_is_described(name):
    assert f"`{name}`" in DOCS["python.md"]


@pytest.mark.parametrize("name", DOCS)
def test_links_lead_somewhere(name):
    folder = ROOT if name == "README.md" else ROOT / "docs"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", DOCS[name]):
        assert (folder / target).exists(), target


def test_the_python_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pc.write_csv(customers(), tmp_path / "customers.csv")
    blocks = re.findall(r"^```python\n(.*?)^```", DOCS["python.md"], re.M | re.S)
    assert len(blocks) >= 6
    names = {}
    for block in blocks:
        exec(compile(block, "docs/python.md", "exec"), names)
