"""What all list methods share: page sizes, page tokens and read masks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic.alias_generators import to_camel

from rowcast.errors import InvalidRequest
from rowcast.server import messages

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rowcast.core.names import Parent

T = TypeVar("T")

DEFAULT_PAGE = 100
MAX_PAGE = 1000
MAX_MASK_PATHS = 100
_NUMBER = re.compile(r"-?[0-9]{1,18}")

Position = tuple[datetime, str]
"""(created, id) of the last resource that was listed."""


@dataclass(frozen=True)
class ListQuery:
    """The parameters of a list request, by their names in either case."""

    parent: Parent
    page_size: int = DEFAULT_PAGE
    page_token: str = ""
    read_mask: str = ""
    filter: str = ""
    order_by: str = ""
    _digest: str = field(init=False)

    def __post_init__(self) -> None:
        asked = f"{self.parent}\n{self.order_by}\n{self.filter}"
        object.__setattr__(self, "_digest", hashlib.sha256(asked.encode()).hexdigest()[:16])

    @classmethod
    def read(cls, parent: Parent, query: Mapping[str, str]) -> ListQuery:
        """Read a request's query.

        Raises
        ------
        InvalidRequest
            If the page size is not a number from 0.
        """

        def given(name: str) -> str:
            return query.get(to_camel(name)) or query.get(name) or ""

        return cls(
            parent,
            _page_size(given("page_size")),
            given("page_token"),
            given("read_mask"),
            given("filter"),
            given("order_by"),
        )

    def after(self) -> Position | None:
        """Where the page before this one ended, in a list by time of creation.

        Raises
        ------
        InvalidRequest
            If the token is not one of ours, or from a list with another filter.
        """
        key = self.after_key(2)
        if key is None:
            return None
        try:
            return _moment(key[0]), str(key[1])
        except (TypeError, OverflowError) as error:
            raise _no_token() from error

    def after_key(self, length: int) -> list[Any] | None:
        """Where the page before this one ended: ``length`` values to compare with.

        Raises
        ------
        InvalidRequest
            If the token is not one of ours, or from a list with another filter.
        """
        if not self.page_token:
            return None
        try:
            padded = self.page_token + "=" * (-len(self.page_token) % 4)
            decoded: list[Any] = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            digest, *key = decoded
        except (ValueError, TypeError, RecursionError) as error:
            raise _no_token() from error
        if digest != self._digest:
            raise InvalidRequest(
                "page_token: belongs to a list with another parent, filter or order."
            )
        if len(key) != length:
            raise _no_token()
        return key

    def next_token(self, last: Position) -> str:
        """Make the token of the page that follows ``last``."""
        return self.token_of([microseconds(last[0]), last[1]])

    def token_of(self, key: list[Any]) -> str:
        """Make the token of the page that follows the resource with a key."""
        document = json.dumps([self._digest, *key])
        return base64.urlsafe_b64encode(document.encode()).decode().rstrip("=")


def render_page(
    query: ListQuery,
    collection: str,
    found: Sequence[T],
    render: Callable[[T], dict[str, Any]],
    position: Callable[[T], Position],
    kind: type[messages.Message],
) -> dict[str, Any]:
    """Show a page of resources, of which one more than fits was looked up."""
    mask = parse_mask(query.read_mask, kind)
    shown = found[: query.page_size]
    page: dict[str, Any] = {}
    if shown:
        page[collection] = [apply_mask(mask, render(item)) for item in shown]
    if len(found) > len(shown):
        page["nextPageToken"] = query.next_token(position(shown[-1]))
    return page


Mask = dict[str, Any]
"""camelCase names to the mask of what is below, in which an empty one means everything."""


def parse_mask(text: str, kind: type[messages.Message]) -> Mask:
    """Read a field mask; an empty one, or ``*``, is everything.

    Raises
    ------
    InvalidRequest
        Naming the first path that is not one of ``kind``.
    """
    paths = [path.strip() for path in text.split(",") if path.strip()]
    if not paths or "*" in paths:
        return {}
    if len(paths) > MAX_MASK_PATHS:
        raise InvalidRequest(f"read_mask: more than {MAX_MASK_PATHS} paths.")
    mask: Mask = {"name": {}}
    for path in paths:
        names = _resolve(path, kind)
        node = mask
        for name in names[:-1]:
            if name in node and not node[name]:
                break  # all of it is wanted already
            node = node.setdefault(name, {})
        else:
            node[names[-1]] = {}
    return mask


def apply_mask(mask: Mask, resource: dict[str, Any]) -> dict[str, Any]:
    """Keep what a mask names."""
    if not mask:
        return resource
    return {
        name: apply_mask(mask[name], value) if isinstance(value, dict) else value
        for name, value in resource.items()
        if name in mask
    }


def _resolve(path: str, kind: Any) -> list[str]:
    """Spell a path as answers do: fields in camelCase, keys of maps as they are."""
    names = []
    for key in path.split("."):
        name, below = messages.step(kind, key)
        if not name:
            raise InvalidRequest(f"read_mask: {path[:200]!r} is not a field.")
        names.append(to_camel(name) if messages.as_message(kind) else name)
        kind = below
    return names


def _page_size(text: str) -> int:
    if not text:
        return DEFAULT_PAGE
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest(f"page_size: {text[:50]!r} is not a number.")
    size = int(text)
    if size < 0:
        raise InvalidRequest(f"page_size: {size} is negative.")
    return min(size, MAX_PAGE) or DEFAULT_PAGE


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _no_token() -> InvalidRequest:
    return InvalidRequest("page_token: not a token that this server gave out.")


def _moment(us: Any) -> datetime:
    if type(us) is not int:
        raise TypeError(us)
    return _EPOCH + timedelta(microseconds=us)
