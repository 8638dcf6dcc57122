"""The clients, and the environments that they are installed in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from clients.servers import Server

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parent / ".clients"
JAVA = ENVIRONMENTS / "java"
INSTALL_S = 900


class Unavailable(Exception):
    """What a client needs is not on this machine."""


@dataclass(frozen=True)
class Client:
    """One client over one transport."""

    name: str
    transport: str
    secure: bool
    environment: Callable[[], tuple[str, list[str]]]
    """Make it if need be; the client's version, and the command that runs its programs."""
    program: str
    arguments: tuple[str, ...] = ()

    def run(self, server: Server, timeout_s: float) -> tuple[str, subprocess.CompletedProcess[str]]:
        """Run the client's program; its version, and what it printed."""
        version, command = self.environment()
        given = {k: v for k, v in os.environ.items() if not k.startswith(("ROWCAST_", "PYTHON"))}
        done = subprocess.run(
            [*command, str(HERE / self.program), server.json, *self.arguments],
            env={**given, **server.variables},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return version, done


def python(*packages: str) -> Callable[[], tuple[str, list[str]]]:
    """A virtual environment with packages, the first of which is the client."""

    def make() -> tuple[str, list[str]]:
        folder = ENVIRONMENTS / packages[0].replace("==", "-")
        if not (folder / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            _install([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", *packages])
            (folder / "ready").touch()
        return packages[0].partition("==")[2], [str(folder / "bin" / "python")]

    return make


def node(package: str, version: str) -> Callable[[], tuple[str, list[str]]]:
    """A folder with a package of npm."""

    def make() -> tuple[str, list[str]]:
        tools = _need("node"), _need("npm")
        folder = ENVIRONMENTS / "node"
        if not (folder / "ready").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text(json.dumps({"private": True}))
            _install([tools[1], "install", "--silent", f"{package}@{version}"], folder)
            (folder / "ready").touch()
        os.environ["NODE_PATH"] = str(folder / "node_modules")
        return version, [tools[0]]

    return make


def java() -> tuple[str, list[str]]:
    """The Java sample, compiled with what its build file names."""
    _need("java")
    folder = HERE.parent / "examples" / "java"
    command = [_need("mvn"), "-q", "-f", str(folder / "pom.xml"), f"-DbuildDirectory={JAVA}"]
    _install([*command, "package"])
    jars = (JAVA / "lib").glob("google-cloud-aiplatform-*.jar")
    return next(jars).stem.rpartition("-")[2], [sys.executable]


def here(tool: str) -> Callable[[], tuple[str, list[str]]]:
    """A tool of this machine, called by a program in this Python."""

    def make() -> tuple[str, list[str]]:
        shown = subprocess.run(
            [_need(tool), "--version"], capture_output=True, text=True, check=True
        ).stdout
        version = next((word for word in shown.split() if word[:1].isdigit()), "")
        return version, [sys.executable]

    return make


def _need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise Unavailable(f"{tool} is not on this machine")
    return found


def _install(command: list[str], folder: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
    if done.returncode:
        said = re.sub(r"\x1b\[[0-9;]*m", "", done.stderr + done.stdout).strip().splitlines()
        fault = next(
            (line for line in said if "ERROR" in line or "error" in line), "".join(said[-1:])
        )
        raise Unavailable(f"it cannot be installed here: {fault[:300]}")


PYTHON = {
    name: python(f"google-cloud-aiplatform=={version}", "google-api-python-client")
    for name, version in (("1.x", "1.165.1"), ("2.x", "2.7.0"))
}
NODE = node("@google-cloud/aiplatform", "6.11.0")
CLIENTS: list[Client] = [
    *(
        Client("Python, high level", transport, secure, environment, "high_level.py", (how,))
        for environment in PYTHON.values()
        for transport, how, secure in (
            ("REST, http", "rest", False),
            ("REST, https", "rest", True),
            ("gRPC, TLS", "grpc", True),
        )
    ),
    *(
        Client("Python, low level", transport, secure, environment, "low_level.py", (how,))
        for environment in PYTHON.values()
        for transport, how, secure in (
            ("REST, http", "rest", False),
            ("gRPC, plaintext", "grpc", False),
            ("gRPC, TLS", "grpc", True),
        )
    ),
    *(
        Client("Node", transport, secure, NODE, "node.js", (how,))
        for transport, how, secure in (
            ("REST, http", "rest", False),
            ("REST, https", "rest", True),
            ("gRPC, plaintext", "grpc", False),
            ("gRPC, TLS", "grpc", True),
        )
    ),
    *(
        Client("Java", transport, secure, java, "java.py", (str(JAVA),))
        for transport, secure in (("gRPC, plaintext", False), ("gRPC, TLS", True))
    ),
    *(
        Client("curl", transport, secure, here("curl"), "curl.py")
        for transport, secure in (("REST, http", False), ("REST, https", True))
    ),
    Client("gcloud", "REST, http", False, here("gcloud"), "gcloud.py"),
]
"""Every client over every transport that it has."""
