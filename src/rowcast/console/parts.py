"""The pieces that pages are made of. Whatever comes from outside goes in as text, never as HTML."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from rowcast.console.api import UNAUTHENTICATED
from rowcast.report.words import seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from nicegui.element import Element

    from rowcast.console.api import ApiError, Json
    from rowcast.report.markup import Markup

STATES = {
    "QUEUED": ("Queued", "wait"),
    "PENDING": ("Pending", "wait"),
    "RUNNING": ("Running", "run"),
    "SUCCEEDED": ("Succeeded", "good"),
    "FAILED": ("Failed", "bad"),
    "CANCELLING": ("Cancelling", "wait"),
    "CANCELLED": ("Cancelled", "off"),
    "PAUSED": ("Paused", "wait"),
}
MOST_SHOWN = 300
FINISHED = frozenset({"SUCCEEDED", "FAILED", "CANCELLED"})


class Text(TextElement):
    """An HTML element that holds text."""

    def __init__(self, tag: str, text: object, classes: str = "", **attributes: object) -> None:
        super().__init__(tag=tag, text=str(text))
        _dress(self, classes, attributes)


def box(tag: str, classes: str = "", **attributes: object) -> Element:
    """Make an HTML element that holds others. ``aria_label`` becomes ``aria-label``."""
    element = ui.element(tag)
    _dress(element, classes, attributes)
    return element


def _dress(element: Element, classes: str, attributes: Mapping[str, object]) -> None:
    if classes:
        element.classes(classes)
    for name, value in attributes.items():
        if value is not None:
            element.props[name.rstrip("_").replace("_", "-")] = value


def link(text: str, href: str, classes: str = "", **attributes: object) -> Text:
    """Make a link to an address that ``places`` made."""
    return Text("a", text, classes, href=href, **attributes)


def name_of(text: str, classes: str = "") -> Text:
    """Show a name that a user gave, in its own writing direction."""
    return Text("bdi", text if text.strip() else f"‘{text}’", f"name {classes}".strip())


def plain_state(state: str) -> str:
    """Take the word from ``JOB_STATE_RUNNING`` and the like."""
    return state.rpartition("STATE_")[2]


def is_finished(state: str) -> bool:
    """Whether a job or a training has come to its end."""
    return plain_state(state) in FINISHED


class Badge:
    """A state, in a word and a colour."""

    def __init__(self, state: str) -> None:
        self._element = Text("span", "", "badge", role="status")
        self._kind = ""
        self.show(state)

    def show(self, state: str) -> None:
        """Show another state."""
        word, kind = STATES.get(plain_state(state), (plain_state(state).title(), "off"))
        self._element.text = word
        self._element.classes(replace=f"badge {kind}")


def heading(title: str, *, under: str = "") -> None:
    """Write the page's heading."""
    Text("h1", title, "name")
    if under:
        Text("p", under, "lead")


@contextmanager
def card(title: str = "", *, classes: str = "", hint: str = "") -> Iterator[Element]:
    """Make a framed part of a page."""
    with box("section", f"card {classes}".strip()) as made:
        if title:
            with box("header", "card-head"):
                Text("h2", title)
                if hint:
                    Text("span", hint, "soft")
        yield made


@contextmanager
def actions() -> Iterator[None]:
    """Make a row of buttons."""
    with box("div", "actions"):
        yield


def button(
    text: str,
    on_click: Callable[[], Awaitable[None]] | Callable[[], None] | None = None,
    *,
    kind: str = "plain",
    icon: str | None = None,
) -> ui.button:
    """Make a button: ``main`` for what the page is for, ``plain``, or ``danger``."""
    made = ui.button(text, on_click=on_click, icon=icon, color=None).props("no-caps unelevated")
    return made.classes(f"button {kind}")


def go(text: str, href: str, *, kind: str = "plain", icon: str = "") -> Element:
    """Make a link that looks like a button."""
    with box("a", f"button-link {kind}", href=href) as made:
        if icon:
            Text("i", icon, "material-icons", aria_hidden="true")
        Text("span", text)
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Element:
    """List terms and what they are; what is empty is left out."""
    with box("dl", "facts") as made:
        for term, value in pairs:
            if value not in (None, "", []):
                with box("div"):
                    Text("dt", term)
                    _value(value)
    return made


def _value(value: object) -> None:
    if isinstance(value, tuple):
        with box("dd"):
            link(str(value[0]), str(value[1]), "name")
    elif isinstance(value, list):
        with box("dd"):
            for one in value:
                Text("div", one, "name")
    else:
        Text("dd", value, "name")


class Tile:
    """A number that matters, with a word on it."""

    def __init__(self, title: str, value: str = "–", under: str = "") -> None:
        with box("div", "tile") as self.box:
            self._title = Text("h3", title)
            self._value = Text("strong", value)
            self._under = Text("p", under)

    def show(self, value: str, under: str = "", kind: str = "", title: str = "") -> None:
        """Show another value."""
        if title:
            self._title.text = title
        self._value.text = value
        self._under.text = under
        self._value.classes(replace=kind)


def empty(title: str, words: str, *steps: tuple[str, str], icon: str = "inbox") -> None:
    """Say why there is nothing here, and what to do about it. Steps are (text, address)."""
    with box("div", "empty"):
        Text("i", icon, "material-icons", aria_hidden="true")
        Text("h2", title)
        Text("p", words)
        with box("div", "actions"):
            for place, (text, href) in enumerate(steps):
                go(text, href, kind="plain" if place else "main")


def note(text: str, kind: str = "warn") -> Text:
    """Point something out: ``warn``, ``bad``, ``good`` or ``info``."""
    return Text("p", text, f"note {kind}", role="alert" if kind == "bad" else None)


def fault(error: ApiError) -> None:
    """Show why the API refused something, field by field."""
    with box("div", "note bad", role="alert"):
        if error.violations:
            Text("strong", "This cannot be started as it is:")
            with box("ul"):
                for field, why in error.violations.items():
                    with box("li"):
                        Text("code", field, "name")
                        Text("span", f" {why}", "name")
        else:
            Text("span", str(error), "name")


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, classes: str = "", label: str = ""
) -> Element:
    """Make a table of texts that scrolls sideways if it has to. A (text, address) is a link."""
    with box("div", "rows", tabindex="0", role="region", aria_label=label or None) as made:  # noqa: SIM117
        with box("table", classes):
            with box("thead"), box("tr"):
                for title in head:
                    Text("th", title, scope="col")
            with box("tbody"):
                for row in rows:
                    with box("tr"):
                        for cell in row:
                            _cell(cell)
    return made


def _cell(cell: object) -> None:
    if isinstance(cell, tuple):
        with box("td"):
            link(str(cell[0]), str(cell[1]), "name")
    elif cell is None:
        Text("td", "null", "null")
    else:
        Text("td", cut(str(cell)), "number" if isinstance(cell, int | float) else "")


def drawn(markup: Markup) -> ui.html:
    """Show a drawing; ``Markup`` is escaped wherever it is made."""
    return ui.html(markup, sanitize=False).classes("drawn")


class Watched:
    """What is looked at again and again: a part is made anew only if what it shows has changed."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}
        """What each part shows now."""

    def _part(self, place: Element, key: str, value: object, build: Callable[[], object]) -> None:
        if key in self._told and self._told[key] == value:
            return
        self._told[key] = value
        place.clear()
        with place:
            build()


def progress_bar(label: str, done: float, spans: Mapping[str, float], *, good: bool) -> None:
    """A bar of ``spans``, kind to share; ``done`` is their sum as it is read out."""
    with box(
        "div",
        "progress done" if good else "progress",
        role="progressbar",
        aria_label=label,
        aria_valuemin="0",
        aria_valuemax="100",
        aria_valuenow=f"{100 * done:.0f}",
    ):
        for kind, share in spans.items():
            box("span", kind).style(f"width: {100 * share:.2f}%")


def meter(share: float, words: str) -> None:
    """Show a share as a bar behind its number."""
    with box("span", "meter"):
        fill = box("span", "fill")
        fill.style(f"width: {100 * min(max(share, 0.0), 1.0):.2f}%")
        Text("b", words)


def bars(shares: Sequence[tuple[str, float, str]]) -> None:
    """Compare shares: (name, length from -1 to 1, words)."""
    with box("div", "bars"):
        for title, share, words in shares:
            Text("span", title, "name")
            with box("span", "track"):
                fill = box("span", "fill less" if share < 0 else "fill")
                fill.style(f"width: {100 * min(abs(share), 1.0):.2f}%")
            Text("span", words, "value")


def code(text: str, label: str) -> None:
    """Show text to copy."""
    with box("div", "code-box"):
        with box("pre", tabindex="0", aria_label=label):
            Text("code", text)
        copy = ui.button(icon="content_copy", color=None).props("flat round dense size=sm")
        copy.classes("copy").props["aria-label"] = f"Copy {label}"
        copy.on("click", js_handler=_COPY)


_COPY = """(event) => {
  const button = event.currentTarget;
  navigator.clipboard.writeText(button.parentElement.querySelector("code").innerText);
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1200);
}"""


async def confirmed(title: str, words: str, action: str) -> bool:
    """Ask whether something is to be done that cannot be undone."""
    with ui.dialog() as dialog, ui.card().classes("dialog"):
        Text("h2", title, "name")
        Text("p", words)
        with actions():
            button("Back", lambda: dialog.submit(result=False))
            button(action, lambda: dialog.submit(result=True), kind="danger")
    answer = bool(await dialog)
    dialog.delete()
    return answer


def told(message: str, *, good: bool = True) -> None:
    """Say something in passing."""
    ui.notify(message, type="positive" if good else "negative", position="bottom")


def stumbled(error: ApiError) -> None:
    """Say why the API refused something in passing; ask for the login if that is what it lacks."""
    if error.code == UNAUTHENTICATED:
        ui.navigate.to("/login")
    else:
        told(str(error), good=False)


# Words


def cut(text: str) -> str:
    """Take the end off a text that is too long to be shown whole."""
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def moment(text: str | None) -> str:
    """Write an RFC 3339 time for people, in UTC."""
    parsed = parse_moment(text)
    return parsed.strftime("%Y-%m-%d %H:%M:%S UTC") if parsed else ""


def parse_moment(text: str | None) -> datetime | None:
    """Read an RFC 3339 time."""
    return datetime.fromisoformat(text) if text else None


def ago(text: str | None, now: datetime | None = None) -> str:
    """Write how long ago a time is: 3 min ago."""
    parsed = parse_moment(text)
    if parsed is None:
        return ""
    past = max(0.0, ((now or datetime.now(UTC)) - parsed).total_seconds())
    for size, word in ((86_400, "d"), (3600, "h"), (60, "min")):
        if past >= size:
            return f"{past // size:.0f} {word} ago"
    return "just now"


def elapsed(resource: Json, now: datetime | None = None) -> float:
    """Seconds between the start of a job or a training and its end, or now."""
    start = parse_moment(resource.get("startTime"))
    end = parse_moment(resource.get("endTime")) or now or datetime.now(UTC)
    return max(0.0, (end - start).total_seconds()) if start else 0.0


def lasted(resource: Json) -> str:
    """Write how long a job or a training has run."""
    return seconds(elapsed(resource)) if resource.get("startTime") else "–"


def size(value: float) -> str:
    """Write a number of bytes."""
    for unit, word in ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB")):
        if value >= unit:
            return f"{value / unit:.1f} {word}"
    return f"{value:.0f} B"


def whole(value: Any) -> int:
    """Read an int64 of the API, which is a string."""
    return int(value or 0)
