"""`/snapshots` and `/collections/{name}/{snapshots,restore}`: make, list, fetch, delete, restore."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from index_service import bodies
from index_service.answers import json_answer
from index_service.registry import Registry
from index_service.snapshots import Snapshots
from index_service.workers import Workers


class SnapshotsApi:
    """The routes over snapshots; what takes long runs in a thread for writing."""

    def __init__(self, registry: Registry, snapshots: Snapshots, workers: Workers) -> None:
        self._registry, self._snapshots, self._workers = registry, snapshots, workers

    async def create_snapshot(self, request: Request) -> Response:
        """201 with the new snapshot."""
        collection = self._registry.get(request.path_params["name"])
        return json_answer(await self._workers.write(lambda: self._snapshots.create(collection)), 201)

    async def list_snapshots(self, request: Request) -> Response:
        """All, or those of one collection; also of one that was deleted."""
        return json_answer({"snapshots": self._snapshots.all(request.path_params.get("name"))})

    async def fetch_snapshot(self, request: Request) -> Response:
        """The Parquet file."""
        path = self._snapshots.path(request.path_params["snapshot"])
        return FileResponse(path, media_type="application/vnd.apache.parquet", filename=path.name)

    async def delete_snapshot(self, request: Request) -> Response:
        """Removes the file."""
        self._snapshots.delete(request.path_params["snapshot"])
        return json_answer({"deleted": True})

    async def restore_snapshot(self, request: Request) -> Response:
        """201 with the new collection; 409 when the name is taken."""
        body = bodies.parse_body(await request.body())
        name, snapshot = bodies.collection_name(request.path_params["name"]), bodies.text(body, "snapshot")
        collection = await self._workers.write(lambda: self._snapshots.restore(name, snapshot))
        return json_answer(collection.describe(), 201)
