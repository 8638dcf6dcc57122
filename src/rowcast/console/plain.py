"""Pages that need no script: the login, and what is said when there are no other pages."""

from __future__ import annotations

from html import escape
from importlib.resources import files

_STYLE = files(__package__).joinpath("plain.css").read_text("utf-8")


def plain_page(title: str, body: str) -> str:
    """Write a small page. ``body`` is HTML, ``title`` is text."""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        "<meta name='referrer' content='same-origin'>"
        f"<title>{escape(title)} · Rowcast</title><style>{_STYLE}</style></head>"
        "<body><main><p class='brand'><i aria-hidden='true'></i>Rowcast</p>"
        f"<h1>{escape(title)}</h1>{body}</main></body></html>"
    )


def login_page(target: str, fault: str = "") -> str:
    """Write the page that asks for the token. ``target`` is where the user wants to go."""
    said = f"<p class='fault' role='alert'>{escape(fault)}</p>" if fault else ""
    return plain_page(
        "Log in",
        "<p>Give your access token. <code>rowcast serve</code> says where it keeps the first one: "
        "usually <code>~/.rowcast/token</code>.</p>"
        f"{said}<form method='post' action='/login'>"
        "<label for='token'>Access token</label>"
        "<input id='token' name='token' type='password' autocomplete='current-password' "
        "required autofocus spellcheck='false'>"
        f"<input type='hidden' name='next' value='{escape(target, quote=True)}'>"
        "<button type='submit'>Log in</button></form>"
        "<p class='soft'>The token stays in a cookie of this browser, which scripts cannot read, "
        "until you log out.</p>",
    )
