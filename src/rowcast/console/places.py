"""Where the console's pages are: every address is made here, of nothing that is secret."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode

PREFIXES = ("/locations/", "/console/", "/_nicegui/", "/_nicegui_ws/")
SINGLE = frozenset({"/", "/login", "/logout", "/favicon.ico"})
STATIC = "/console/static/"
FORWARD = "/console/api"
"""Below this, the API answers a browser that has logged in: downloads and uploads."""


def owns(path: str) -> bool:
    """Whether a path is the console's and not the API's."""
    return path in SINGLE or path.startswith(PREFIXES)


@dataclass(frozen=True)
class Home:
    """The project and the location that a page shows."""

    project: str
    location: str
    default_project: str = ""
    """The project that addresses need not name."""

    @property
    def parent(self) -> str:
        """The parent of resources."""
        return f"projects/{self.project}/locations/{self.location}"

    def page(self, *words: str, **query: str) -> str:
        """Make the address of a page."""
        path = "/".join(quote(word, safe="@") for word in words)
        if self.project != self.default_project:
            query = {"project": self.project, **query}
        asked = f"?{urlencode(query)}" if query else ""
        return f"/locations/{quote(self.location, safe='')}/{path}{asked}"

    def job(self, name: str) -> str:
        """Make the address of a batch prediction job, given its resource name."""
        return self.page("batch-predictions", last(name))

    def model(self, name: str, version: str = "", **query: str) -> str:
        """Make the address of a model, given its resource name."""
        id_ = last(name).partition("@")[0]
        return self.page("models", f"{id_}@{version}" if version else id_, **query)

    def training(self, name: str) -> str:
        """Make the address of a training pipeline, given its resource name."""
        return self.page("training", last(name))


def last(name: str) -> str:
    """Take the id from a resource name."""
    return name.rsplit("/", 1)[-1]
