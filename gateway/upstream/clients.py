"""The gateway's two neighbours, TorchServe and the index service, as methods that raise errors of our tree."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from clip_core.errors import (
    ClipServeError,
    IndexUnavailable,
    InferenceFailed,
    Overloaded,
    TooLarge,
    TorchServeUnavailable,
    UnknownCollection,
    WorkerLost,
    from_dict,
)
from gateway.trace import current_trace
from gateway.upstream.answer_bytes import sized
from gateway.upstream.ready_workers import LOOK_S, ReadyWorkers, no_worker
from gateway.upstream.upstream import Reply, Upstream

Json = dict[str, Any]
COLLECTION_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_WORKER_DIED = "Worker died."
_log = logging.getLogger("gateway.upstream.clients")


class TorchServeClient:
    """TorchServe's inference API, and as much of its management API as tells a full queue from a dead worker."""

    def __init__(
        self,
        inference_url: str,
        management_url: str,
        *,
        metrics_url: str = "",
        timeout_s: float = 30.0,
        max_connections: int = 256,
        look_s: float = LOOK_S,
    ) -> None:
        """`look_s`: how long a call may take before the management API is asked for its workers."""
        self._workers = ReadyWorkers(self.workers_ready, look_s)
        self._inference = Upstream(
            "TorchServe",
            inference_url,
            TorchServeUnavailable,
            timeout_s=timeout_s,
            max_connections=max_connections,
        )
        self._management = Upstream("TorchServe's management API", management_url, TorchServeUnavailable, timeout_s=2.0)
        self._metrics = Upstream(
            "TorchServe's metrics", metrics_url or management_url, TorchServeUnavailable, timeout_s=2.0
        )

    async def close(self) -> None:
        await asyncio.gather(self._inference.close(), self._management.close(), self._metrics.close())

    async def predict(self, endpoint: str, body: Json, *, timeout_s: float | None = None) -> Json:
        """The handler's answer to `body`; see the handlers for its form. Raises ClipServeError.

        Without a READY worker that is TorchServeUnavailable: at once after a failure, else when the answer takes long.
        """
        if endpoint in self._workers.doubted:
            await self._workers.check(endpoint)
        reply = await self._asked(endpoint, body, timeout_s)
        if reply.status == 200 and isinstance(reply.body, dict) and isinstance(reply.body.get("data"), list):
            self._workers.doubted.discard(endpoint)
            return sized(reply.content, reply.body)
        raise await self._error(endpoint, reply)

    async def _asked(self, endpoint: str, body: Json, timeout_s: float | None) -> Reply:
        path = f"/predictions/{quote(endpoint, safe='')}"
        try:
            with self._workers.waiting(endpoint):
                return await self._inference.call("POST", path, body, idempotent=True, timeout_s=timeout_s)
        except TorchServeUnavailable:
            self._workers.doubted.add(endpoint)
            raise

    async def workers_ready(self, endpoint: str) -> bool | None:
        """Whether the endpoint has a READY worker; None when the management API cannot tell."""
        try:
            reply = await self._describe(endpoint)
        except TorchServeUnavailable:
            return None
        if reply.status == 404:
            return False
        if not _has_versions(reply):
            return None
        return any(worker.get("status") == "READY" for worker in _workers(reply))

    async def worker_pids(self, endpoint: str) -> list[int]:
        """Process ids of its workers, on TorchServe's machine; none when the management API cannot tell."""
        try:
            workers = _workers(await self._describe(endpoint))
        except TorchServeUnavailable:
            return []
        return [worker["pid"] for worker in workers if isinstance(worker.get("pid"), int) and worker["pid"] > 0]

    async def metrics(self) -> str:
        """TorchServe's metrics as Prometheus text. Raises TorchServeUnavailable."""
        reply = await self._metrics.call("GET", "/metrics")
        if reply.status != 200:
            raise TorchServeUnavailable(f"TorchServe's metrics are not there (status {reply.status})")
        return reply.content.decode("utf-8", "replace")

    async def _describe(self, endpoint: str) -> Reply:
        return await self._management.call("GET", f"/models/{quote(endpoint, safe='')}")

    async def _error(self, endpoint: str, reply: Reply) -> ClipServeError:
        body = reply.body if isinstance(reply.body, dict) else {}
        if "error" in body:
            return from_dict(body, reply.status)
        extra = {"status": reply.status, "body": str(body)[:300], "request_id": current_trace().request_id}
        _log.warning("TorchServe failed on %s", endpoint, extra=extra)
        if reply.status >= 500:
            self._workers.doubted.add(endpoint)  # a worker may have died, and loads its model again
        if reply.status == 507 or body.get("message") == _WORKER_DIED:
            return WorkerLost(f"the worker of {endpoint} ended while it had this request; try again in a moment")
        if reply.status == 503:
            return await self._unavailable(endpoint, str(body.get("type")), str(body.get("message")))
        return _torchserve_error(endpoint, reply.status)

    async def _unavailable(self, endpoint: str, kind: str, message: str) -> ClipServeError:
        """503 is one status for three things: a failed batch, a full queue, and no worker.

        TorchServe 0.12 answers "has no worker" for a full queue too, so the management API decides.
        """
        if kind == "InternalServerException" or "prediction failed" in message.lower():
            return InferenceFailed(f"TorchServe's endpoint {endpoint} failed on this batch")
        if "no worker" in message and not await self.workers_ready(endpoint):
            return no_worker(endpoint)
        return Overloaded(f"the queue of {endpoint} is full; try again in a moment")


def _workers(reply: Reply) -> list[Json]:
    """The workers of all versions in the management API's description of a model."""
    versions = reply.body if _has_versions(reply) else []
    return [worker for version in versions for worker in version.get("workers", [])]


def _has_versions(reply: Reply) -> bool:
    return isinstance(reply.body, list) and bool(reply.body)


def _torchserve_error(endpoint: str, status: int) -> ClipServeError:
    if status == 404:
        return TorchServeUnavailable(f"TorchServe has no endpoint {endpoint}: is its archive registered?")
    if status == 413:
        return TooLarge("the inputs are larger than TorchServe's max_request_size")
    if status == 429:
        return Overloaded(f"TorchServe takes no more requests for {endpoint}; try again in a moment")
    return InferenceFailed(f"TorchServe's endpoint {endpoint} failed (status {status})")


class IndexClient:
    """The index service: collections, items, and searches by vector."""

    def __init__(self, base_url: str, *, timeout_s: float = 30.0, max_connections: int = 256) -> None:
        self._http = Upstream(
            "the index service",
            base_url,
            IndexUnavailable,
            timeout_s=timeout_s,
            max_connections=max_connections,
        )

    async def close(self) -> None:
        await self._http.close()

    async def ready(self, *, timeout_s: float) -> None:
        """Raises IndexUnavailable unless the service says that it is ready."""
        reply = await self._http.call("GET", "/readyz", timeout_s=timeout_s)
        if reply.status != 200:
            raise IndexUnavailable(f"the index service is not ready (status {reply.status})")

    async def search(self, searches: Sequence[Json]) -> Json:
        """Searches by the caller's own vectors; each result has its own status."""
        body = {"fingerprint": None, "searches": list(searches)}
        reply = _checked(await self._http.call("POST", "/search", body, idempotent=True))
        return sized(reply.content, reply.body)

    async def create(self, name: str, body: Json) -> Reply:
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

    async def delete_item(self, name: str, item_id: str) -> Json:
        return await self._json("DELETE", _item(name, item_id))

    async def delete_items(self, name: str, body: Json) -> Json:
        return await self._json("POST", f"{_collection(name)}/items/delete", body)

    async def _get(self, path: str) -> Json:
        return await self._json("GET", path)

    async def _json(self, method: str, path: str, body: object = None) -> Json:
        answer: Json = _checked(await self._http.call(method, path, body)).body
        return answer


def _checked(reply: Reply) -> Reply:
    """Raises the error that the index service named, unless it answered with a JSON object."""
    if reply.status < 300 and isinstance(reply.body, dict):
        return reply
    if isinstance(reply.body, dict) and "error" in reply.body:
        raise from_dict(reply.body, reply.status)
    raise IndexUnavailable(f"the index service gave an answer that is not its own (status {reply.status})")


def _collection(name: str) -> str:
    """Raises UnknownCollection for what can be no name: in a path, a slash would lead elsewhere."""
    if not re.fullmatch(COLLECTION_NAME, name):
        raise UnknownCollection(f"there is no collection {name[:64]!r}", param="collection")
    return f"/collections/{name}"


def _item(name: str, item_id: str) -> str:
    return f"{_collection(name)}/items/{quote(item_id, safe='')}"


def _query(query: Mapping[str, Any]) -> str:
    given = {key: value for key, value in query.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""
