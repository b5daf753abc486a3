"""The way of every write to a collection's items: counted, held back where it must be, in a thread of its own kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from starlette.requests import Request

from index_service.collection.registry import Registry
from index_service.collection.stored import StoredCollection
from index_service.http.call_limit import CallLimit
from index_service.http.workers import Workers
from index_service.http.write_holds import WriteHolds
from index_service.metrics.metrics import IndexMetrics
from index_service.settings import IndexSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Writes:
    """What the routes that write have in common. `gate` bounds how many calls are under way."""

    settings: IndexSettings
    registry: Registry
    metrics: IndexMetrics
    workers: Workers
    holds: WriteHolds
    gate: CallLimit

    async def run(
        self, request: Request, work: Callable[[StoredCollection, bytes], T], *, waits: bool | None = None
    ) -> T:
        """`work` on the collection that the path names and on the body, in a thread.

        `waits`: whether it waits for another process, where that is not for the collection to say. Raises Overloaded
        before the body is read, and what `WriteHolds.writing` raises.
        """
        with self.gate.enter():
            raw = await request.body()
            async with self.holds.writing(lambda: self.registry.get(request.path_params["name"])) as collection:
                waiting = collection.waits if waits is None else waits
                return await self.workers.write(lambda: work(collection, raw), waits=waiting)
