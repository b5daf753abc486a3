"""The index service's HTTP API as methods that raise errors of the tree in clip_core.errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

import orjson

from clip_core.errors import ClipServeError, IndexUnavailable, from_dict
from clip_core.wire import COLLECTION_NAME, no_collection
from gateway.upstream.json_client import Json, JsonClient, UpstreamReply
from gateway.upstream.replies import SearchReply, search_reply


class IndexServiceClient:
    """The index service: collections, items, and searches by vector."""

    def __init__(self, base_url: str, *, timeout_s: float = 30.0, max_connections: int = 256) -> None:
        self._http = JsonClient(
            "the index service",
            base_url,
            IndexUnavailable,
            timeout_s=timeout_s,
            max_connections=max_connections,
            traced=True,
        )

    async def close(self) -> None:
        await self._http.close()

    async def ready(self, *, timeout_s: float) -> None:
        """Raises IndexUnavailable unless the service says that it is ready."""
        reply = await self._http.call("GET", "/readyz", timeout_s=timeout_s)
        if reply.status != 200:
            raise IndexUnavailable(f"the index service is not ready (status {reply.status})")

    async def metrics(self, *, timeout_s: float) -> str:
        """Prometheus text. Raises IndexUnavailable."""
        reply = await self._http.call("GET", "/metrics", timeout_s=timeout_s)
        if reply.status != 200:
            raise IndexUnavailable(f"the index service's metrics are not there (status {reply.status})")
        return reply.content.decode("utf-8", "replace")

    async def search(self, searches: Sequence[Json]) -> SearchReply:
        """Checked searches by the caller's own vectors; each result has its own status."""
        body = orjson.dumps({"fingerprint": None, "searches": list(searches)})
        reply = await self._http.call("POST", "/search", body, idempotent=True)
        answer = search_reply(reply.content) if reply.status == 200 else None
        if answer is None:
            raise _failure(reply)
        return answer

    async def create(self, name: str, body: Json) -> UpstreamReply:
        """Status 201 when new, 200 when it was there already."""
        return _checked(await self._http.call("PUT", _collection(name), body))

    async def collections(self) -> Json:
        return await self._get("/collections")

    async def describe(self, name: str) -> Json:
        return await self._get(_collection(name))

    async def facets(self, name: str, body: Json) -> Json:
        return await self._json("POST", f"{_collection(name)}/facets", body)

    async def drop(self, name: str) -> Json:
        return await self._json("DELETE", _collection(name))

    async def aliases(self) -> list[Json]:
        """`{"name", "collection"}` of each, by name."""
        found: list[Json] = (await self._get("/aliases"))["aliases"]
        return found

    async def set_alias(self, name: str, collection: str) -> Json:
        return await self._json("PUT", f"/aliases/{quote(name, safe='')}", {"collection": collection})

    async def drop_alias(self, name: str) -> Json:
        return await self._json("DELETE", f"/aliases/{quote(name, safe='')}")

    async def upsert(self, name: str, fingerprint: str | None, items: Sequence[Json]) -> list[Json]:
        """One result an item, in order."""
        body = {"fingerprint": fingerprint, "items": list(items)}
        results: list[Json] = (await self._json("POST", f"{_collection(name)}/items", body))["results"]
        return results

    async def items(self, name: str, query: Mapping[str, Any]) -> Json:
        return await self._get(f"{_collection(name)}/items{_query(query)}")

    async def item(self, name: str, item_id: str, query: Mapping[str, Any]) -> Json:
        return await self._get(f"{_item(name, item_id)}{_query(query)}")

    async def patch_item(self, name: str, item_id: str, body: Json, fixed: Sequence[str]) -> Json:
        """No patch changes a `fixed` field."""
        return await self._json("PATCH", f"{_item(name, item_id)}{_query({'fixed': ','.join(fixed)})}", body)

    async def patch_items(self, name: str, body: Json, fixed: Sequence[str]) -> Json:
        return await self._json("PATCH", f"{_collection(name)}/items{_query({'fixed': ','.join(fixed)})}", body)

    async def copy_items(self, name: str, body: Json) -> Json:
        return await self._json("POST", f"{_collection(name)}/items/copy", body)

    async def duplicates(self, name: str, query: Mapping[str, Any]) -> Json:
        return await self._get(f"{_collection(name)}/duplicates{_query(query)}")

    async def delete_item(self, name: str, item_id: str) -> Json:
        return await self._json("DELETE", _item(name, item_id))

    async def delete_items(self, name: str, body: Json) -> Json:
        return await self._json("POST", f"{_collection(name)}/items/delete", body)

    async def _get(self, path: str) -> Json:
        return await self._json("GET", path)

    async def _json(self, method: str, path: str, body: object = None) -> Json:
        answer: Json = _checked(await self._http.call(method, path, body, idempotent=method == "GET")).body
        return answer


def _checked(reply: UpstreamReply) -> UpstreamReply:
    """Raises the error that the index service named, unless it answered with a JSON object."""
    if reply.status < 300 and isinstance(reply.body, dict):
        return reply
    raise _failure(reply)


def _failure(reply: UpstreamReply) -> ClipServeError:
    """The error that the index service named, or IndexUnavailable."""
    if isinstance(reply.body, dict) and "error" in reply.body:
        return from_dict(reply.body, reply.status)
    return IndexUnavailable(f"the index service gave an answer that is not its own (status {reply.status})")


def _collection(name: str) -> str:
    """Raises UnknownCollection for what can be no name: in a path, a slash would lead elsewhere."""
    if not re.fullmatch(COLLECTION_NAME, name):
        raise no_collection(name)
    return f"/collections/{name}"


def _item(name: str, item_id: str) -> str:
    return f"{_collection(name)}/items/{quote(item_id, safe='')}"


def _query(query: Mapping[str, Any]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
