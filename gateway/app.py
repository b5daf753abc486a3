"""The gateway as an ASGI app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from gateway.auth import OPEN_PATHS, AuthMiddleware, KeyRing
from gateway.clients import IndexClient, TorchServeClient
from gateway.errors import JsonResponse, install_handlers
from gateway.openapi import DocumentedApp
from gateway.routes import classify, cohere, collections, embeddings, items, jobs, ops, page, rank, search, voyage
from gateway.services import Services
from gateway.settings import Settings
from gateway.streams import BodyLimits
from gateway.telemetry import TelemetryMiddleware

_DESCRIPTION = "Search images by words, by images, or by both; and CLIP vectors for your own pipelines."
_ROUTES = (embeddings, cohere, voyage, search, collections, items, jobs, classify, rank, ops, page)


def create_app(settings: Settings, torchserve: TorchServeClient, index: IndexClient) -> FastAPI:
    """The app closes its clients when it ends."""
    services = Services.build(settings, torchserve, index)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.jobs.start()
        yield
        await services.jobs.stop()
        await torchserve.close()
        await index.close()

    app = DocumentedApp(
        title="CLIP search",
        version="0.1.0",
        description=_DESCRIPTION,
        lifespan=lifespan,
        default_response_class=JsonResponse,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    for module in _ROUTES:
        app.include_router(module.router)
    app.secured = bool(settings.keys)
    install_handlers(app)
    _add_layers(app, settings, services)
    return app


def _add_layers(app: FastAPI, settings: Settings, services: Services) -> None:
    """The last one added is the outermost."""
    open_paths = OPEN_PATHS | {"/metrics"} if settings.metrics_open else OPEN_PATHS
    app.add_middleware(BodyLimits, max_bytes=settings.max_body_bytes, max_stream_bytes=settings.max_stream_bytes)
    app.add_middleware(AuthMiddleware, keys=KeyRing(settings.keys), open_paths=open_paths)
    app.add_middleware(TelemetryMiddleware, metrics=services.metrics)


def build(settings: Settings) -> FastAPI:
    """The app with clients of the neighbours that the settings name."""
    torchserve = TorchServeClient(
        settings.torchserve_url,
        settings.management_url,
        timeout_s=settings.timeout_s,
        max_connections=settings.max_connections,
    )
    index = IndexClient(settings.index_url, timeout_s=settings.timeout_s, max_connections=settings.max_connections)
    return create_app(settings, torchserve, index)
