"""The HTTP API as one Starlette application: the table of routes, and what surrounds them.

Plain Starlette, not FastAPI: bodies are parsed by orjson and checked by hand, since a search must cost well under a
millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from clip_core.errors import ClipServeError, ShuttingDown, Unavailable, UnknownCollection
from clip_core.self_profile import SelfProfiler
from index_service.collection import bodies
from index_service.collection.recall import RecallSampler
from index_service.collection.registry import Registry, UnseenCollection
from index_service.collection.warm_fields import WarmFields
from index_service.http.answers import json_answer, on_error, on_http
from index_service.http.call_limit import CallLimit
from index_service.http.callers import CallerCheck
from index_service.http.collections_api import CollectionsApi
from index_service.http.copies_api import CopiesApi
from index_service.http.item_writes_api import ItemWritesApi
from index_service.http.items_api import ItemsApi
from index_service.http.middleware import RequestMiddleware
from index_service.http.patches_api import PatchesApi
from index_service.http.search_api import SearchApi
from index_service.http.snapshots_api import SnapshotsApi
from index_service.http.workers import Workers
from index_service.http.write_holds import WriteHolds
from index_service.http.writes import Writes
from index_service.metrics.metrics import IndexMetrics
from index_service.settings import IndexSettings
from index_service.snapshots.snapshot_files import Snapshots

_LOOKS = 16  # for the collections that one call may name
Endpoint = Callable[[Request], Awaitable[Response]]


class HealthApi:
    """What an orchestrator and Prometheus ask."""

    def __init__(self, registry: Registry, metrics: IndexMetrics) -> None:
        self._registry, self._metrics, self._profiler = registry, metrics, SelfProfiler()

    async def healthz(self, _: Request) -> Response:
        """The process answers."""
        return json_answer({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        """503 until the collections are loaded, and again as soon as the process stops."""
        if getattr(request.app.state, "draining", False):
            raise ShuttingDown("the index service is stopping")
        self._registry.check_ready()
        return json_answer({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """The Prometheus text format, or OpenMetrics."""
        accept = request.headers.get("accept", "")
        shown, media_type = await asyncio.to_thread(self._metrics.render, accept)  # it asks every collection
        return Response(shown, headers={"Content-Type": media_type})

    async def slow(self, _: Request) -> Response:
        """The slowest requests of the last hour."""
        return json_answer({"requests": self._metrics.slowest.all()})

    async def profile(self, request: Request) -> Response:
        """Of this process, for `seconds`, with what is allocated meanwhile where `memory` is true."""
        given = request.query_params
        seconds, memory = bodies.whole(given.get("seconds"), "seconds", 10, 20), given.get("memory") == "true"
        return json_answer(await asyncio.to_thread(self._profiler.take, seconds, memory=memory))


def create_app(settings: IndexSettings, registry: Registry) -> Starlette:
    """The application over `registry`, which its lifespan starts and closes."""
    metrics, workers = IndexMetrics(registry), Workers(settings.threads)
    callers = CallerCheck(settings.host, settings.allowed_hosts)
    sampler, fields = RecallSampler(settings.recall_sample_rate), WarmFields(registry)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        registry.start()
        sampler.start()
        fields.start()
        yield
        fields.close()
        sampler.close()
        registry.interrupt()
        workers.close()
        registry.close()

    app = Starlette(
        routes=_routes(settings, registry, metrics, workers, sampler),
        middleware=[Middleware(RequestMiddleware, settings.max_body_bytes, callers, metrics)],
        exception_handlers={ClipServeError: on_error, HTTPException: on_http},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    app.state.registry = registry
    return app


def _routes(
    settings: IndexSettings, registry: Registry, metrics: IndexMetrics, workers: Workers, sampler: RecallSampler
) -> list[BaseRoute]:
    health = HealthApi(registry, metrics)
    searches = SearchApi(settings, registry, metrics, workers, sampler)
    collections = CollectionsApi(settings, registry, workers)
    items, holds = ItemsApi(settings, registry, workers), WriteHolds(registry, workers)
    gate = CallLimit(settings.max_concurrent_writes, "writes", "max_concurrent_writes")
    writes = Writes(settings, registry, metrics, workers, holds, gate)
    written, patches, copies = ItemWritesApi(writes), PatchesApi(writes), CopiesApi(writes)
    files = Snapshots(settings.data_dir / "snapshots", registry.store, registry)
    snapshots = SnapshotsApi(settings, registry, files, workers)
    one = "/collections/{name}"
    return [
        Route("/search", _known(searches.search), methods=["POST"]),
        Route("/healthz", health.healthz),
        Route("/readyz", health.readyz),
        Route("/metrics", health.metrics),
        Route("/stats/slow", _known(health.slow)),
        Route("/stats/profile", _known(health.profile, "seconds", "memory"), methods=["POST"]),
        Route("/collections", _known(collections.list_collections)),
        Route(one, _known(collections.create_collection), methods=["PUT"]),
        Route(one, _known(collections.describe_collection)),
        Route(one, _known(collections.drop_collection), methods=["DELETE"]),
        Route(f"{one}/hold", _known(holds.hold), methods=["PUT"]),
        Route(f"{one}/hold", _known(holds.release), methods=["DELETE"]),
        Route(f"{one}/facets", _known(collections.count_facets), methods=["POST"]),
        Route(f"{one}/duplicates", _known(collections.list_duplicates, "limit", "after")),
        Route("/aliases", _known(collections.list_aliases)),
        Route("/aliases/{name}", _known(collections.set_alias), methods=["PUT"]),
        Route("/aliases/{name}", _known(collections.drop_alias), methods=["DELETE"]),
        Route(f"{one}/items", _known(written.upsert_items), methods=["POST"]),
        Route(f"{one}/items", _known(patches.patch_items, "fixed"), methods=["PATCH"]),
        Route(f"{one}/items", _known(items.list_items, "limit", "after", "since", "include", "filter")),
        Route(f"{one}/snapshots", _known(snapshots.create_snapshot), methods=["POST"]),
        Route(f"{one}/snapshots", _known(snapshots.list_snapshots)),
        Route(f"{one}/restore", _known(snapshots.restore_snapshot), methods=["POST"]),
        Route("/snapshots", _known(snapshots.list_snapshots)),
        Route("/snapshots/{snapshot}", _known(snapshots.fetch_snapshot)),
        Route("/snapshots/{snapshot}", _known(snapshots.delete_snapshot), methods=["DELETE"]),
        Route(f"{one}/items/copy", _known(copies.copy_items), methods=["POST"]),
        Route(f"{one}/items/delete", _known(written.delete_items), methods=["POST"]),
        Route(f"{one}/items/{{id:path}}", _known(items.get_item, "include", "consistency")),
        Route(f"{one}/items/{{id:path}}", _known(patches.patch_item, "fixed"), methods=["PATCH"]),
        Route(f"{one}/items/{{id:path}}", _known(written.delete_item), methods=["DELETE"]),
    ]


async def _answered(endpoint: Endpoint, request: Request) -> Response | UnseenCollection:
    try:
        return await endpoint(request)
    except UnseenCollection as unseen:
        return unseen


async def _look(request: Request, name: str) -> Unavailable | None:
    """Ask the shared store for a collection. Its failure: the registry knows it now, and says so of each search."""
    try:
        await asyncio.to_thread(request.app.state.registry.look_again, name)
    except Unavailable as error:
        return error
    return None


def _known(endpoint: Endpoint, *names: str) -> Endpoint:
    """The same for requests that have no query parameters but these.

    A collection that another replica made is looked for where it may be, and the request begins again.
    """

    @wraps(endpoint)
    async def checked(request: Request) -> Response:
        if request.scope["query_string"]:
            bodies.check_query(request.query_params.multi_items(), names)
        failure: Unavailable | None = None
        for _ in range(_LOOKS):
            answer = await _answered(endpoint, request)
            if isinstance(answer, Response):
                return answer
            failure = await _look(request, answer.name)
        raise failure or UnknownCollection("there is no such collection", param="collection")

    return checked
