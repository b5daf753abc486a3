"""What one collection holds that another does not, over the index service's own API."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol

from clip_core.errors import Conflict, UnknownCollection, UnknownItem
from clipserve_client.calls.calls import quoted

PAGE = 1000
Json = dict[str, Any]


class Api(Protocol):
    """What is used of `PublicApi`."""

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; raises ClipServeError."""
        ...


def ids(index: Api, collection: str) -> Iterator[str]:
    """All ids of the collection at this path, page by page."""
    after: str | None = ""
    while after is not None:
        page = index.call("GET", f"{collection}/items?limit={PAGE}&after={quoted(after)}")
        yield from (item["id"] for item in page["items"])
        after = page["next"]


def count(index: Api, collection: str) -> int:
    return int(index.call("GET", collection)["count"])


def item_of(index: Api, collection: str, item_id: str, include: str) -> Json | None:
    """None for one that is gone."""
    try:
        item: Json = index.call("GET", f"{collection}/items/{quoted(item_id)}?include={include}")
    except UnknownItem:
        return None
    return item


def written_since(index: Api, collection: str, since: int, query: str) -> Iterator[list[Json]]:
    """Pages of what was written until now: somebody may write faster than this reads."""
    until = index.call("GET", collection)["seq"]
    while since < until:
        page: list[Json] = index.call("GET", f"{collection}/items?since={since}&{query}")["items"]
        if not page:
            return
        yield page
        since = page[-1]["seq"]


def check_alias(index: Api, alias: str, old: str, new: str) -> None:
    """Raises Conflict where it leads to neither: what is written by it now would be lost by a switch."""
    try:
        leads_to = index.call("GET", f"/collections/{quoted(alias)}")["name"]
    except UnknownCollection:
        return
    if leads_to not in (old, new):
        raise Conflict(f"{alias} leads to {leads_to} by now, not to {old}: nothing was switched")


def delete_what_is_gone(index: Api, old: str, new: str) -> None:
    """Delete from the collection at `new` what the one at `old` doesn't hold. Neither list of ids is held whole."""
    gone = only_in(ids(index, new), ids(index, old))
    while some := list(islice(gone, PAGE)):
        index.call("POST", f"{new}/items/delete", {"ids": some})


def only_in(these: Iterable[str], others: Iterable[str]) -> Iterator[str]:
    """Those of `these` that aren't among `others`; both ascend, as listings by id do, by code points."""
    rest = iter(others)
    other = next(rest, None)
    for one in these:
        while other is not None and other < one:
            other = next(rest, None)
        if one != other:
            yield one


def sampled(these: Iterable[str], most: int) -> list[str]:
    """`most` of them at random, or all, each with the same chance (Vitter's algorithm R)."""
    chosen: list[str] = []
    for n, one in enumerate(these):
        if n < most:
            chosen.append(one)
        elif (place := random.randrange(n + 1)) < most:
            chosen[place] = one
    return chosen
