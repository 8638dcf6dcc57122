"""Lists that are held in memory: filtered, in the order asked for, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic.alias_generators import to_snake

from rowcast.errors import InvalidRequest
from rowcast.server.filters import Fields, matches, parse_filter
from rowcast.server.paging import apply_mask, microseconds, parse_mask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rowcast.server import messages
    from rowcast.server.paging import ListQuery

T = TypeVar("T")
Key = str | int
"""What is compared: a text, or microseconds since 1970."""


@dataclass(frozen=True)
class Listed(Generic[T]):
    """A collection that can be listed.

    Its default order is the first of ``orders``, descending.
    """

    name: str
    """Member of the answer that holds the page."""
    kind: type[messages.Message]
    fields: Fields
    orders: tuple[str, ...]
    """Fields that can be ordered by."""
    value: Callable[[T, str], Any]
    """A field of a resource, by its name in filters; None where absent."""
    render: Callable[[T], dict[str, Any]]

    def page(self, query: ListQuery, found: Iterable[T]) -> dict[str, Any]:
        """Show a page of what was found.

        Raises
        ------
        InvalidRequest
            If filter, order, mask or token is wrong.
        """
        where = parse_filter(query.filter, self.fields)
        order = _parse_order(query.order_by, self.orders)
        mask = parse_mask(query.read_mask, self.kind)
        after = query.after_key(len(order) + 1)
        keyed = [
            (self._key(item, order), item)
            for item in found
            if matches(where, partial(self.value, item))
        ]
        for at in reversed(range(len(order) + 1)):  # stable: the first field decides last
            keyed.sort(key=lambda pair: pair[0][at], reverse=at < len(order) and order[at][1])
        if after is not None:
            keyed = [pair for pair in keyed if _is_after(pair[0], after, order)]
        shown = keyed[: query.page_size]
        page: dict[str, Any] = {}
        if shown:
            page[self.name] = [apply_mask(mask, self.render(item)) for _, item in shown]
        if len(keyed) > len(shown):
            page["nextPageToken"] = query.token_of(shown[-1][0])
        return page

    def _key(self, item: T, order: list[tuple[str, bool]]) -> list[Any]:
        values = [self.value(item, name) for name, _ in order]
        return [*(_comparable(value) for value in values), self.value(item, "id")]


def _parse_order(text: str, known: tuple[str, ...]) -> list[tuple[str, bool]]:
    """Read ``display_name, create_time desc`` as fields and whether they descend."""
    order = []
    for item in text.split(",") if text.strip() else [f"{known[0]} desc"]:
        name, *direction = item.split()[:3] or [""]
        name = to_snake(name)
        if name not in known or direction not in ([], ["desc"], ["asc"]):
            raise InvalidRequest(
                f"order_by: {item.strip()[:100]!r} is not one of {', '.join(known)}, optionally "
                "followed by desc."
            )
        order.append((name, direction == ["desc"]))
    return order


def _comparable(value: Any) -> Key:
    if isinstance(value, datetime):
        return microseconds(value)
    return value if isinstance(value, int) else str(value or "")


def _is_after(key: list[Any], last: list[Any], order: list[tuple[str, bool]]) -> bool:
    """Whether a key comes after another in an order; the id, at the end, ascends."""
    descending = [*(down for _, down in order), False]
    for one, other, down in zip(key, last, descending, strict=True):
        if type(one) is not type(other):
            raise InvalidRequest("page_token: not a token that this server gave out.")
        if one != other:
            return bool((one < other) if down else (one > other))
    return False
