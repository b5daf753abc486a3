"""`/snapshots` and `/collections/{name}/{snapshots,restore}`: make, list, fetch, delete, restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from clip_core.errors import Conflict
from index_service.collection import bodies
from index_service.collection.registry import Registry
from index_service.http.answers import json_answer
from index_service.http.call_limit import CallLimit
from index_service.http.workers import Workers
from index_service.settings import IndexSettings
from index_service.snapshots.snapshot_files import Snapshots


class SnapshotsApi:
    """The routes over snapshots. Copies are made one after the other, and only so many may wait."""

    def __init__(self, settings: IndexSettings, registry: Registry, snapshots: Snapshots, workers: Workers) -> None:
        self._registry, self._snapshots, self._workers = registry, snapshots, workers
        self._gate = CallLimit(settings.max_concurrent_copies, "snapshots and restores", "max_concurrent_copies")
        self._busy: set[str] = set()
        self._store = settings.store

    @contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Raises Conflict while a copy to or from the collection `name` is under way, Overloaded beyond the limit."""
        if name in self._busy:
            raise Conflict(f"a snapshot or restore of {name} is under way: wait until it is done", param="name")
        with self._gate.enter():
            self._busy.add(name)
            try:
                yield
            finally:
                self._busy.discard(name)

    async def create_snapshot(self, request: Request) -> Response:
        """201 with the new snapshot; 409 while one of the same collection is made."""
        collection = self._registry.get(request.path_params["name"])
        with self._alone(collection.info.name):
            return json_answer(await self._workers.copy(lambda: self._snapshots.create(collection)), 201)

    async def list_snapshots(self, request: Request) -> Response:
        """All, or those of one collection; also of one that was deleted."""
        name = request.path_params.get("name")
        return json_answer({"snapshots": await self._workers.read(lambda: self._snapshots.all(name))})

    async def fetch_snapshot(self, request: Request) -> Response:
        """The Parquet file."""
        path = self._snapshots.path(request.path_params["snapshot"])
        return FileResponse(path, media_type="application/vnd.apache.parquet", filename=path.name)

    async def delete_snapshot(self, request: Request) -> Response:
        """Removes the file."""
        name = request.path_params["snapshot"]
        await self._workers.read(lambda: self._snapshots.delete(name))
        return json_answer({"deleted": True})

    async def restore_snapshot(self, request: Request) -> Response:
        """201 with the new collection; 409 when the name is taken."""
        name = bodies.collection_name(request.path_params["name"])
        with self._alone(name):
            raw = await request.body()
            return await self._workers.copy(lambda: self._restore(name, raw))

    def _restore(self, name: str, raw: bytes) -> Response:
        body = bodies.parse_body(raw, ("snapshot", "store"))
        snapshot, store = bodies.text(body, "snapshot"), bodies.store(body.get("store", self._store))
        return json_answer(self._snapshots.restore(name, snapshot, store).describe(), 201)
