"""Databases for tests: a file in a folder, or one of its own on a Postgres that tests start.

With ``ROWCAST_TEST_STORE=postgres`` all tests that ask for a database get one there.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

KINDS = ("sqlite", "postgres")
USER = "nobody"
"""Postgres does not run as root."""


def database_url(folder, kind=None):
    """The address of an empty database; one asked for again from the same folder is the same."""
    kind = kind or os.environ.get("ROWCAST_TEST_STORE", "sqlite")
    if kind == "sqlite":
        return f"sqlite:///{folder}/rowcast.db"
    return _postgres_url(str(folder))


@lru_cache
def _postgres_url(folder):
    import sqlalchemy as sa

    place, names = server()
    name = f"test{os.getpid()}_{next(names)}"
    engine = sa.create_engine(
        f"postgresql+psycopg://rowcast@/postgres?host={place}", isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine.dispose()
    return f"postgresql+psycopg://rowcast@/{name}?host={place}"


@lru_cache
def server():
    """Start one for this process: the folder of its socket, and numbers for databases."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        pytest.skip("Postgres is not installed (Debian: apt-get install postgresql)")
    programs = Path(found).parent
    place = tempfile.mkdtemp(prefix="rowcast-postgres-", dir="/tmp")
    user = {"user": USER} if os.getuid() == 0 else {}
    if user:
        shutil.chown(place, USER)
    quiet = {"cwd": place, "stdout": subprocess.DEVNULL, "check": True, **user}
    data = f"{place}/data"
    subprocess.run([programs / "initdb", "-D", data, "-U", "rowcast", "-A", "trust"], **quiet)
    options = f"-k {place} -c listen_addresses= -c fsync=off"
    control = [programs / "pg_ctl", "-D", data, "-l", f"{place}/log", "-w"]
    subprocess.run([*control, "-o", options, "start"], **quiet)

    def stop():
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)
        shutil.rmtree(place)

    atexit.register(stop)
    return place, iter(range(1_000_000))
