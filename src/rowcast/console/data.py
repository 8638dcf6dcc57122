"""Data: buckets, folders and files; bringing files in, and looking at what is in them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nicegui import ui

from rowcast.console import files, tables
from rowcast.console.api import ApiError
from rowcast.console.parts import (
    Text,
    actions,
    box,
    button,
    card,
    confirmed,
    drawn,
    empty,
    fault,
    go,
    heading,
    link,
    meter,
    size,
    table,
    told,
)
from rowcast.report.plots import spark
from rowcast.report.words import count, day, percent, short

if TYPE_CHECKING:
    from rowcast.console.api import Json
    from rowcast.console.frame import Site, View

MOST_SHOWN = 1000
FIRST_ROWS = 15
TABLES = (".csv", ".jsonl", ".ndjson", ".parquet", ".csv.gz", ".jsonl.gz", ".csv.zst", ".jsonl.zst")


def register(site: Site) -> None:
    """Add the page."""
    site.add("/locations/{location}/data", "Data", "data", show)


async def show(view: View) -> None:
    """Build the page: a file, a folder, or all buckets."""
    if uri := view.asked("uri"):
        await _show_file(view, uri)
    elif bucket := view.asked("bucket"):
        await _show_folder(view, bucket, view.asked("path"))
    else:
        await _show_buckets(view)


# Buckets and folders


async def _show_buckets(view: View) -> None:
    with box("div", "page-head"), box("div"):
        heading(
            "Data",
            under="Tables of the warehouse, and files in the buckets of this server.",
        )
    names = await files.buckets(view.api)
    await _show_warehouse(view)
    with box("div", "side"):
        with card("Buckets"):
            if not names:
                empty(
                    "No bucket yet",
                    "Make one to bring files into. Training and batch inference read from it.",
                    icon="folder_open",
                )
            for name in names:
                _entry("folder", name, view.home.page("data", bucket=name))
        with card("New bucket", classes="form"):
            Text("p", "Letters, digits, '-', '_' and '.'", "soft")
            field = ui.input("Name").props("outlined dense")

            async def make() -> None:
                wanted = (field.value or "").strip()
                try:
                    await files.make_bucket(view.api, wanted)
                except ApiError as error:
                    told(str(error), good=False)
                else:
                    ui.navigate.to(view.home.page("data", bucket=wanted))

            field.on("keydown.enter", make)
            with actions():
                button("Make it", make, kind="main")


async def _show_warehouse(view: View) -> None:
    """Show the tables, and let a file become one."""
    names = await tables.datasets(view.api)
    with box("div", "side"):
        with card("Tables", hint="of the warehouse, named bq://project.dataset.table"):
            for name in names:
                for one in await tables.tables(view.api, name):
                    uri = f"{tables.SCHEME}{view.home.project}.{name}.{one}"
                    _entry("table_chart", f"{name}.{one}", view.home.page("data", uri=uri))
            field = ui.input("Look at a table", placeholder="bq://project.dataset.table").props(
                "outlined dense"
            )

            def look() -> None:
                if field.value:
                    ui.navigate.to(view.home.page("data", uri=field.value.strip()))

            field.on("keydown.enter", look)
            with actions():
                button("Look", look)
        with card("New table from a file", classes="form"):
            project = view.home.project
            wanted = ui.input("Table", value=f"{tables.SCHEME}{project}.dataset.table").props(
                "outlined dense for=new-table"
            )
            wanted.props["aria-label"] = "Name of the new table"
            _table_uploader(view)


def _table_uploader(view: View) -> None:
    address = json.dumps(tables.load_address(view.home.parent))
    uploader = ui.element("q-uploader").props("auto-upload flat send-raw method=POST")
    uploader.props["label"] = "Drop a CSV, JSON lines or Parquet file"
    uploader.props["aria-label"] = "Make a table of a file"
    uploader.props[":url"] = f"""(files) => {{
      const name = files[0].name.toLowerCase();
      const ending = (name.match(/\\.(gz|zst)$/) || [""])[0];
      const plain = ending ? name.slice(0, -ending.length) : name;
      const format = {{parquet: "parquet", jsonl: "jsonl", ndjson: "jsonl"}}[
        plain.split(".").pop()] || "csv";
      const table = document.getElementById("new-table").value;
      return {address} + new URLSearchParams({{table, format, ending}});
    }}"""
    uploader.props[":headers"] = "[]"
    uploader.on("uploaded", lambda: told("The table is there."), args=[])
    uploader.on(
        "failed",
        lambda: told("The server did not take the file: is the name new and whole?", good=False),
        args=[],
    )


async def _show_folder(view: View, bucket: str, path: str) -> None:
    with box("div", "page-head"), box("div"):
        _crumbs(view, bucket, path)
        heading(path.rstrip("/").rsplit("/", 1)[-1] or bucket)
        Text("p", f"{files.SCHEME}{bucket}/{path}", "mono soft name")
    _show_upload(view, bucket, path)
    found = await files.look_into(view.api, bucket, path)
    with card("Files"):
        for folder in found.folders[:MOST_SHOWN]:
            title = folder.rstrip("/").rsplit("/", 1)[-1]
            _entry("folder", title, view.home.page("data", bucket=bucket, path=folder))
        for one in found.files[:MOST_SHOWN]:
            if one.path.lower().endswith(TABLES):
                _entry("table_view", one.name, view.home.page("data", uri=one.uri), size(one.bytes))
            else:
                _entry("description", one.name, one.href, size(one.bytes), download=one.name)
        hidden = len(found.folders) + len(found.files) - MOST_SHOWN
        if hidden > 0:
            Text("p", f"and {count(hidden)} more", "soft")
        if not found.folders and not found.files:
            Text("p", "This folder is empty. Drop a file above.", "soft")


def _crumbs(view: View, bucket: str, path: str) -> None:
    with box("nav", "crumbs", aria_label="Where this is"):
        link("Data", view.home.page("data"))
        Text("span", " / ")
        link(bucket, view.home.page("data", bucket=bucket))
        so_far = ""
        for part in path.rstrip("/").split("/")[:-1] if path else ():
            so_far += f"{part}/"
            Text("span", " / ")
            link(part, view.home.page("data", bucket=bucket, path=so_far))


def _entry(icon: str, title: str, href: str, more: str = "", **attributes: object) -> None:
    with box("a", "entry", href=href, **attributes):
        Text("i", icon, "material-icons", aria_hidden="true")
        Text("span", title, "name")
        Text("span", more, "soft")


def _show_upload(view: View, bucket: str, path: str) -> None:
    """Let the browser send files straight to the API, with progress."""
    address = json.dumps(files.upload_address(bucket, path))
    uploader = ui.element("q-uploader").props("multiple auto-upload flat send-raw method=POST")
    uploader.props["label"] = "Drop files here, or choose them with +"
    uploader.props[":url"] = f"(files) => {address} + encodeURIComponent(files[0].name)"
    uploader.props[":headers"] = "[]"
    uploader.props["aria-label"] = "Upload files"

    def done() -> None:
        told("Uploaded.")
        ui.timer(0.6, lambda: ui.navigate.to(view.home.page("data", bucket=bucket, path=path)),
                 once=True)  # fmt: skip

    uploader.on("finish", done, args=[])
    uploader.on(
        "failed",
        lambda: told("The server did not take the file.", good=False),
        args=[],
    )


# A file


async def _show_file(view: View, uri: str) -> None:
    bucket, _, path = uri.removeprefix(files.SCHEME).partition("/")
    in_bucket = uri.startswith(files.SCHEME)
    file = files.File(bucket, path, 0)
    title = file.name if in_bucket else uri.rsplit(".", 1)[-1]
    with box("div", "page-head"):
        with box("div"):
            if in_bucket:
                _crumbs(view, bucket, path)
            heading(title)
            Text("p", uri, "mono soft name")
        with box("div", "actions"):
            go("Train on it", view.home.page("training", "new", source=uri), kind="main")
            if uri.startswith(tables.SCHEME):
                go("Ask it in SQL", view.home.page("sql", query=tables.first_rows(uri)))
            go("Score it", view.home.page("batch-predictions", "new", source=uri))
            if in_bucket:
                go("Download", file.href, icon="download").props["download"] = file.name
                button("Delete", lambda: _delete(view, file), kind="danger")
    place = box("div")
    with place:
        Text("p", "Looking at the data…", "soft", role="status")

    async def look() -> None:
        try:
            found = await preview(view, [uri], rows=FIRST_ROWS)
        except ApiError as error:
            place.clear()
            with place:
                fault(error)
            return
        place.clear()
        with place:
            _show_preview(found)

    ui.timer(0.05, look, once=True)


async def _delete(view: View, file: files.File) -> None:
    if not await confirmed(f"Delete {file.name}?", "This cannot be undone.", "Delete the file"):
        return
    try:
        await files.delete_file(view.api, file)
    except ApiError as error:
        told(str(error), good=False)
    else:
        folder = file.path.rpartition("/")[0]
        path = f"{folder}/" if folder else ""
        ui.navigate.to(view.home.page("data", bucket=file.bucket, path=path))


async def preview(view: View, uris: list[str], **asked: Any) -> Json:
    """Ask the API to look at data. Raises ApiError."""
    source: Json = {"gcsSource": {"uri": uris}}
    if len(uris) == 1 and uris[0].startswith("bq://"):
        source = {"bigquerySource": {"uri": uris[0]}}
    body = {"inputConfig": source, "rowCount": asked.get("rows", 0)}
    if asked.get("target"):
        body["targetColumn"] = asked["target"]
    if asked.get("prediction_type"):
        body["predictionType"] = asked["prediction_type"]
    return await view.api.post(f"{view.home.parent}/datasets:preview", body)


def _show_preview(found: Json) -> None:
    columns = found.get("columns", [])
    rows = count(found.get("rowCount", 0))
    with box("div", "tiles"):
        for title, value, under in (
            ("Rows", rows if found.get("complete") else f"{rows}+",
             "all of them" if found.get("complete") else "looked at, of more"),
            ("Columns", count(len(columns)), ""),
            *([("Size", size(int(found["bytes"])), "")] if found.get("bytes", "0") != "0" else []),
        ):  # fmt: skip
            with box("div", "tile"):
                Text("h3", title)
                Text("strong", value)
                Text("p", under)
    with card("Columns", hint="as training would take them"):
        show_columns(columns)
    with card("First rows"):
        if found.get("rows"):
            names = [one["name"] for one in columns]
            table(names, found["rows"], classes="grid-table", label="First rows")
        else:
            Text("p", "There are no rows.", "soft")


def show_columns(columns: list[Json]) -> None:
    """Show what columns are like."""
    with box("div", "rows", tabindex="0"), box("table", "column-table"):
        with box("thead"), box("tr"):
            for title in ("Column", "Kind", "Missing", "Different values", "Distribution", ""):
                Text("th", title, scope="col")
        with box("tbody"):
            for one in columns:
                with box("tr"):
                    _column_cells(one)


def _column_cells(one: Json) -> None:
    Text("td", one["name"], "name strong")
    with box("td"):
        if one.get("kind"):
            Text("span", one["kind"], "tag one")
        else:
            Text("span", "not used", "tag warn")
    with box("td"):
        share = one.get("nullRate", 0.0)
        meter(share, percent(share) if share else "none")
    Text("td", count(one["distinct"]) if "distinct" in one else "–")
    with box("td"):
        show_distribution(one)
    Text("td", one.get("reason") or one.get("note") or "", "hint name")


def show_distribution(one: Json) -> None:
    """Show how the values of a column are spread."""
    if counts := one.get("counts"):
        write = day if one.get("unit") == "daysSince1970" else short
        edges = one["edges"]
        drawn(spark(counts)).classes("inline-spark")
        Text("span", f"{write(edges[0])} to {write(edges[-1])}", "hint")
    elif values := one.get("values"):
        said = ", ".join(f"{value['value']} ({count(value['count'])})" for value in values[:3])
        more = one.get("distinct", 0) - 3
        Text("span", said + (f" and {count(more)} more" if more > 0 else ""), "hint clip")
