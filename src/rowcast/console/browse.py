"""A window to choose a file, or a folder, from the buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nicegui import ui

from rowcast.console import files
from rowcast.console.api import ApiError
from rowcast.console.parts import Text, actions, box, button, size

if TYPE_CHECKING:
    from rowcast.console.api import Api

MOST_SHOWN = 300


async def choose_file(api: Api) -> str | None:
    """Let the user choose an object; its URI, or None."""
    return await _Window(api, "Choose a file", folders_only=False).ask()


async def choose_folder(api: Api) -> str | None:
    """Let the user choose a folder; its URI, or None."""
    return await _Window(api, "Choose a folder", folders_only=True).ask()


class _Window:
    def __init__(self, api: Api, title: str, *, folders_only: bool) -> None:
        self._api = api
        self._title = title
        self._folders_only = folders_only
        self._bucket = self._path = ""

    async def ask(self) -> str | None:
        """Show the window until something is chosen."""
        with ui.dialog() as self._dialog, ui.card().classes("dialog wide"):
            Text("h2", self._title)
            self._list = box("div", "picker", role="listbox", aria_label=self._title)
            with actions():
                button("Back", lambda: self._dialog.submit(None))
                if self._folders_only:
                    self._this = button("Choose this folder", self._choose_folder, kind="main")
        await self._show()
        chosen: str | None = await self._dialog
        self._dialog.delete()
        return chosen

    def _choose_folder(self) -> None:
        self._dialog.submit(f"{files.SCHEME}{self._bucket}/{self._path}".rstrip("/"))

    async def _show(self) -> None:
        if self._folders_only:
            self._this.set_enabled(bool(self._bucket))
        try:
            if self._bucket:
                found = await files.look_into(self._api, self._bucket, self._path)
                folders = [(path.rstrip("/").rsplit("/", 1)[-1], path) for path in found.folders]
                objects = list(found.files)
            else:
                folders = [(name, name) for name in await files.buckets(self._api)]
                objects = []
        except ApiError as error:
            folders, objects = [], []
            with self._list:
                Text("p", str(error), "note bad")
        self._list.clear()
        with self._list:
            Text("p", f"{files.SCHEME}{self._bucket}/{self._path}" if self._bucket else "Buckets",
                 "mono soft")  # fmt: skip
            if self._bucket:
                self._entry("arrow_upward", "Up", self._up)
            for title, path in folders[:MOST_SHOWN]:
                self._entry("folder", title, lambda path=path: self._enter(path))
            if not self._folders_only:
                for one in objects[:MOST_SHOWN]:
                    self._entry("description", one.name, lambda one=one: self._take(one),
                                size(one.bytes))  # fmt: skip
            if not folders and not objects:
                Text("p", "Nothing here yet.", "soft")

    def _entry(self, icon: str, title: str, act: object, more: str = "") -> None:
        with box("button", "pick", type="button") as made:
            Text("i", icon, "material-icons", aria_hidden="true")
            Text("span", title, "name")
            Text("span", more, "soft")
        made.on("click", act)  # type: ignore[arg-type]

    async def _enter(self, path: str) -> None:
        if self._bucket:
            self._path = path
        else:
            self._bucket = path
        await self._show()

    async def _up(self) -> None:
        if self._path:
            above = self._path.rstrip("/").rpartition("/")[0]
            self._path = f"{above}/" if above else ""
        else:
            self._bucket = ""
        await self._show()

    def _take(self, file: files.File) -> None:
        self._dialog.submit(file.uri)
