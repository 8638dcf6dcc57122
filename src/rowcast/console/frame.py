"""What all pages have around them: the head with its links, the theme, and who looks at them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nicegui import ui
from starlette.requests import Request  # noqa: TC002 - FastAPI reads it at run time

from rowcast.console.api import UNAUTHENTICATED, Api, ApiError
from rowcast.console.door import visitor_of
from rowcast.console.parts import Text, box, button, fault, heading
from rowcast.console.places import STATIC, Home
from rowcast.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rowcast.console.api import Transport

THEME_COOKIE = "rowcast_theme"
SECTIONS = (
    ("batch-predictions", "Batch inference"),
    ("models", "Models"),
    ("training", "Training"),
    ("data", "Data"),
    ("sql", "SQL"),
)


@dataclass(frozen=True)
class View:
    """One visit to a page."""

    api: Api
    home: Home
    request: Request

    def asked(self, name: str) -> str:
        """A value of the query."""
        return self.request.query_params.get(name, "")

    def word(self, name: str) -> str:
        """A value of the path."""
        return str(self.request.path_params.get(name, ""))


class Site:
    """Takes the pages, and builds each one anew for each visit."""

    def __init__(self, transport: Transport, home: Home) -> None:
        self._transport = transport
        self._home = home

    def add(
        self, path: str, title: str, section: str, build: Callable[[View], Awaitable[None]]
    ) -> None:
        """Take a page."""

        @ui.page(path, title=f"{title} · Rowcast", response_timeout=60)
        async def shown(request: Request) -> None:
            await self._show(request, section, build)

    async def _show(
        self, request: Request, section: str, build: Callable[[View], Awaitable[None]]
    ) -> None:
        home = replace(
            self._home,
            project=request.query_params.get("project") or self._home.project,
            location=request.path_params.get("location") or self._home.location,
        )
        view = View(Api(self._transport, visitor_of(request.scope), home), home, request)
        _theme(request)
        _head(view, section)
        with box("main", "page", id="main", tabindex="-1"):
            try:
                await build(view)
            except ApiError as error:
                _refused(error)
        with box("footer", "foot"):
            Text("span", f"Rowcast {__version__}")


def _theme(request: Request) -> None:
    chosen = request.cookies.get(THEME_COOKIE)
    ui.dark_mode({"dark": True, "light": False}.get(chosen or ""))


def _head(view: View, section: str) -> None:
    Text("a", "Skip to content", "skip", href="#main")
    with box("header", "top"):
        with box("a", "brand", href="/", aria_label="Rowcast, overview"):
            box("i", aria_hidden="true")
            Text("span", "Rowcast")
        with box("nav", "sections", aria_label="Parts of the console"):
            for place, title in SECTIONS:
                here = "page" if place == section else None
                Text("a", title, href=view.home.page(place), aria_current=here)
        with box("div", "corner"):
            _where(view)
            theme = (
                ui.button(icon="contrast", color=None).props("flat round dense").classes("quiet")
            )
            theme.props["aria-label"] = "Change between dark and light"
            theme.on("click", js_handler=_TURN)
            with box("form", method="post", action="/logout"):
                Text("button", "Log out", "quiet-button", type="submit")


def _where(view: View) -> None:
    """Show the project and location, and let the user go to others."""
    with (
        ui.button(f"{view.home.project} · {view.home.location}", color=None).props(
            "flat no-caps dense"
        ) as at,
        ui.menu().props("auto-close=false") as menu,
        box("form", "where", method="get", action="/"),
    ):
        Text("p", "Resources belong to a project and a location.", "soft")
        project = ui.input("Project", value=view.home.project).props("outlined dense")
        location = ui.input("Location", value=view.home.location).props("outlined dense")

        def change() -> None:
            menu.close()
            home = replace(
                view.home, project=project.value.strip(), location=location.value.strip()
            )
            ui.navigate.to(home.page("batch-predictions"))

        button("Go there", change, kind="main")
    at.classes("quiet where-button").props["aria-label"] = "Project and location"


_TURN = f"""() => {{
  Quasar.Dark.toggle();
  const chosen = Quasar.Dark.isActive ? "dark" : "light";
  document.cookie = `{THEME_COOKIE}=${{chosen}}; path=/; max-age=31536000; samesite=lax`;
}}"""


def _refused(error: ApiError) -> None:
    if error.code == UNAUTHENTICATED:
        ui.navigate.to("/login")
        return
    heading({404: "There is nothing here", 403: "No permission"}.get(error.code, "That went wrong"))
    fault(error)


def install_style() -> None:
    """Put the style into every page."""
    ui.add_head_html(f'<link rel="stylesheet" href="{STATIC}console.css">', shared=True)
