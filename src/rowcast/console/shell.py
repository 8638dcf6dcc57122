"""The pages, put together into one application."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import FastAPI
from nicegui import app, ui

from rowcast.console import (
    data,
    job,
    jobs,
    model,
    models,
    new_job,
    new_training,
    overview,
    sql,
    training,
    trainings,
)
from rowcast.console.frame import Site, install_style
from rowcast.console.places import STATIC

if TYPE_CHECKING:
    from rowcast.console.api import Transport
    from rowcast.console.places import Home

PAGES = (
    overview,
    jobs,
    new_job,
    job,
    models,
    model,
    trainings,
    new_training,
    training,
    data,
    sql,
)
FOLDER = Path(__file__).with_name("static")
RECONNECT_S = 5.0
"""A page that was left is forgotten after this."""


def make_shell(transport: Transport, home: Home) -> FastAPI:
    """Make the application that serves the pages; its lifespan starts and ends them."""
    site = Site(transport, home)
    for module in PAGES:
        module.register(site)
    install_style()
    app.add_static_files(STATIC.rstrip("/"), FOLDER, max_cache_age=3600)
    shell = FastAPI(openapi_url=None)
    ui.run_with(
        shell,
        title="Rowcast",
        favicon=FOLDER / "icon.svg",
        dark=None,
        tailwind=False,
        reconnect_timeout=RECONNECT_S,
        show_welcome_message=False,
        binding_refresh_interval=None,
    )
    return shell
