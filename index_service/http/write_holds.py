"""Writes to a collection that are held back for a moment, so that nothing changes while it is replaced by another.

A held write waits, and then asks again which collection its name leads to: that is how writes by an alias that is
switched meanwhile reach the new one. A hold ends by itself, for whoever asked for it may have died.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.requests import Request
from starlette.responses import Response

from clip_core.errors import Unavailable
from index_service.collection import bodies
from index_service.collection.registry import Registry
from index_service.collection.stored import StoredCollection
from index_service.http.answers import json_answer
from index_service.http.workers import Workers

MOST_S = 60
_PATIENCE_S = 25.0  # of a write: shorter than its callers wait for the answer
_AGAIN_S = 0.02


class WriteHolds:
    """On the event loop, where nothing runs between a look and what follows it."""

    def __init__(self, registry: Registry, workers: Workers, patience_s: float = _PATIENCE_S) -> None:
        self._registry, self._workers, self._patience_s = registry, workers, patience_s
        self._inside, self._until = Counter[str](), dict[str, float]()

    @asynccontextmanager
    async def writing(self, find: Callable[[], StoredCollection]) -> AsyncIterator[StoredCollection]:
        """Around a write: what `find` finds once nobody holds it back. Raises Unavailable when that takes long."""
        deadline = time.monotonic() + self._patience_s
        while self._held(collection := find()):
            if time.monotonic() > deadline:
                raise Unavailable(f"writes to {collection.info.name} are held while it is moved: send them again")
            await asyncio.sleep(_AGAIN_S)
        name = collection.info.name
        self._inside[name] += 1
        try:
            yield collection
        finally:
            self._inside[name] -= 1

    def _held(self, collection: StoredCollection) -> bool:
        own = self._until.get(collection.info.name, 0.0) > time.monotonic()
        return own or self._registry.held(collection)

    async def hold(self, request: Request) -> Response:
        """Holds writes back for `seconds` and answers when none is under way any more, at any replica.

        `known_s` is after how many seconds every replica knows what this one is told next.
        """
        raw, collection = await request.body(), self._registry.get(request.path_params["name"])
        seconds = bodies.whole_number(bodies.parse_body(raw, ("seconds",)), "seconds", MOST_S, MOST_S)
        return json_answer({"seconds": seconds, "known_s": await self.begin(collection, seconds)})

    async def begin(self, collection: StoredCollection, seconds: int) -> float:
        """`known_s`. Raises Unavailable where a write under way does not end."""
        name, until = collection.info.name, time.monotonic() + seconds
        if collection.info.store == "embedded":  # else the hold is where all replicas see it, and may end it
            self._until[name] = until
        known_s = await self._workers.write(lambda: self._registry.hold(collection, seconds), waits=collection.waits)
        await asyncio.sleep(known_s)
        while self._inside[name]:
            if time.monotonic() > until:
                raise Unavailable(f"the writes to {name} that were under way did not end within {seconds} s")
            await asyncio.sleep(_AGAIN_S)
        return known_s

    async def release(self, request: Request) -> Response:
        """Ends a hold; whether it was still in force."""
        collection = self._registry.get(request.path_params["name"])
        held = self._held(collection)
        self._until.pop(collection.info.name, None)
        await self._workers.write(lambda: self._registry.release(collection), waits=collection.waits)
        return json_answer({"held": held})
