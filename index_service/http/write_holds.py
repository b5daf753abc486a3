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

from clip_core.errors import Conflict, Unavailable
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
        self._inside, self._until, self._owners = Counter[str](), dict[str, float](), dict[str, str]()

    @asynccontextmanager
    async def writing(self, find: Callable[[], StoredCollection]) -> AsyncIterator[StoredCollection]:
        """Around a write: what `find` finds once nobody holds it back. Raises Unavailable when that takes long.

        Raises it, too, after a write that took so long that another replica's hold may have begun meanwhile without it,
        and the collection was held or replaced: whoever sends it again reaches the new one.
        """
        deadline = time.monotonic() + self._patience_s
        while self._held(collection := find()):
            if time.monotonic() > deadline:
                raise Unavailable(f"writes to {collection.info.name} are held while it is moved: send them again")
            await asyncio.sleep(_AGAIN_S)
        name, known_at = collection.info.name, self._registry.known_at(collection)
        self._inside[name] += 1
        try:
            yield collection
            if not self._registry.in_time(collection, known_at):
                await self._workers.write(lambda: self._registry.look_again(name), waits=True)
                if self._held(collection) or find() is not collection:
                    raise Unavailable(f"writes to {name} were held before this one ended: send it again")
        finally:
            self._inside[name] -= 1

    def _held(self, collection: StoredCollection) -> bool:
        own = self._until.get(collection.info.name, 0.0) > time.monotonic()
        return own or self._registry.held(collection)

    async def hold(self, request: Request) -> Response:
        """Holds writes back for `seconds` and answers when none is under way any more, at any replica.

        `known_s` is after how many seconds every replica knows what this one is told next. An `owner` may begin its own
        hold again, where it was killed; all others get 409.
        """
        raw, collection = await request.body(), self._registry.get(request.path_params["name"])
        body = bodies.parse_body(raw, ("seconds", "owner"))
        seconds = bodies.whole_number(body, "seconds", MOST_S, MOST_S)
        owner = bodies.text(body, "owner") if "owner" in body else ""
        return json_answer({"seconds": seconds, "known_s": await self.begin(collection, seconds, owner)})

    async def begin(self, collection: StoredCollection, seconds: int, owner: str = "") -> float:
        """`known_s`. Raises Conflict while it is held, Unavailable where a write under way does not end."""
        name, until = collection.info.name, time.monotonic() + seconds
        own = owner != "" and self._owners.get(name) == owner
        if self._until.get(name, 0.0) > time.monotonic() and not own:
            raise Conflict(f"something else holds the writes to {name}: wait until it is done, a minute at most")
        if collection.info.store == "embedded":  # else the hold is where all replicas see it, and may end it
            self._until[name], self._owners[name] = until, owner
        known_s = await self._workers.write(
            lambda: self._registry.hold(collection, seconds, owner), waits=collection.waits
        )
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
