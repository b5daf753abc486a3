"""The gateway as an ASGI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from gateway.database.postgres import Postgres
from gateway.errors import JsonResponse, install_handlers
from gateway.fetch.image_fetcher import HttpFetcher, ImageFetcher
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.key_store import KeyStore, SharedKeys
from gateway.kserve import routes as kserve
from gateway.kserve.error_wording import KserveErrors
from gateway.middleware.allowed_hosts import HostList
from gateway.middleware.auth import OPEN_PATHS, AuthMiddleware
from gateway.middleware.body_budget import BodyBudget
from gateway.middleware.body_limits import BodyLimits
from gateway.middleware.deadlines import DeadlineMiddleware
from gateway.middleware.head_requests import HeadAsGet
from gateway.middleware.load_shedding import LoadShedding
from gateway.middleware.metering import MeterMiddleware
from gateway.middleware.request_buffering import RequestBuffering
from gateway.middleware.telemetry import TelemetryMiddleware
from gateway.middleware.turns import Turns
from gateway.models.text_admissions import TextAdmissions
from gateway.models.torchserves import TorchServeAddress
from gateway.routes import (
    aliases,
    captions,
    classify,
    cohere,
    collections,
    embeddings,
    items,
    jobs,
    ops,
    page,
    pictures,
    rank,
    search,
    stats,
    voyage,
)
from gateway.routes.answers import asking, collection_captions, openai_chat
from gateway.schemas.openapi import DocumentedApp
from gateway.services import Services
from gateway.settings import GatewaySettings, is_loopback
from gateway.upstream.index_service import IndexServiceClient
from gateway.upstream.torchserve import TorchServeClient

if TYPE_CHECKING:
    from gateway.kserve.rpc.server import RpcServer

_DESCRIPTION = "Search images by words, by images, or by both; and CLIP vectors for your own pipelines."
_ROUTES = (
    embeddings,
    cohere,
    voyage,
    kserve,
    search,
    asking,
    collection_captions,
    collections,
    aliases,
    pictures,
    items,
    jobs,
    classify,
    rank,
    captions,
    openai_chat,
    stats,
    ops,
    page,
)


def create_app(
    settings: GatewaySettings,
    connect: Callable[[TorchServeAddress], TorchServeClient],
    index: IndexServiceClient,
    fetcher: ImageFetcher | None = None,
) -> FastAPI:
    """The app closes its clients when it ends. Without a fetcher no URL is fetched. Raises RowsError, PricesError."""
    database = database_of(settings)
    keys = key_lookup(settings, database)
    services = Services.build(settings, connect, index, fetcher, keys, database)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await services.models.start()
        await services.pictures.start()
        await services.sweeper.start()
        await services.jobs.start()
        await services.history.start()
        if rpc is not None:
            await rpc.start()
        yield
        if rpc is not None:
            await rpc.stop()
        await services.history.stop()
        await services.jobs.stop()
        await services.sweeper.stop()
        await services.pictures.stop()
        await services.models.stop()
        if services.language_model is not None:
            await services.language_model.close()
        if services.text_chat is not None:
            await services.text_chat.close()
        services.kept_captions.close()
        await services.quotas.close()
        await services.scalers.close()
        await services.torchserves.close()
        await index.close()
        if database is not None:
            await asyncio.to_thread(database.close)
        if fetcher is not None:
            await fetcher.close()

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
    rpc = app.state.rpc = _rpc_server(app, keys, settings)
    for module in _ROUTES:
        app.router.routes.extend(module.router.routes)  # flat: an included router is matched twice
    app.secured = bool(keys)
    install_handlers(app)
    _add_layers(app, settings, services, keys)
    return app


def _rpc_server(app: FastAPI, keys: KeyLookup, settings: GatewaySettings) -> RpcServer | None:
    """None unless a port is set; grpcio is not even imported then."""
    if not settings.grpc_port:
        return None
    from gateway.kserve.rpc.server import RpcServer

    return RpcServer(app, keys, settings)


def _add_layers(app: FastAPI, settings: GatewaySettings, services: Services, keys: KeyLookup) -> None:
    """The last one added is the outermost."""
    open_paths = OPEN_PATHS | {"/metrics"} if settings.metrics_open else OPEN_PATHS
    app.add_middleware(HeadAsGet)
    app.add_middleware(MeterMiddleware, quotas=services.quotas, open_paths=open_paths)
    app.add_middleware(LoadShedding, texts=TextAdmissions(services.models))
    app.add_middleware(RequestBuffering, budget=BodyBudget(settings.max_buffered_bytes, settings.max_incomplete_bodies))
    app.add_middleware(BodyLimits, max_bytes=settings.max_body_bytes, max_stream_bytes=settings.max_stream_bytes)
    app.add_middleware(Turns)
    app.add_middleware(DeadlineMiddleware, timeouts=settings.client_timeouts())
    hosts = HostList((settings.host, *settings.allowed_hosts))
    app.add_middleware(AuthMiddleware, keys=keys, hosts=hosts, open_paths=open_paths)
    app.add_middleware(TelemetryMiddleware, metrics=services.metrics)
    app.add_middleware(KserveErrors)


def build(settings: GatewaySettings) -> FastAPI:
    """The app with clients of the neighbours that the settings name. Raises RowsError, PricesError."""

    def connect(address: TorchServeAddress) -> TorchServeClient:
        return TorchServeClient(
            address.inference,
            address.management,
            metrics_url=address.metrics,
            timeout_s=settings.timeout_s,
            max_connections=settings.max_upstream_connections,
            key_file=address.key_file,
        )

    index = IndexServiceClient(
        settings.index_url, timeout_s=settings.timeout_s, max_connections=settings.max_upstream_connections
    )
    return create_app(settings, connect, index, fetcher_of(settings))


def database_of(settings: GatewaySettings) -> Postgres | None:
    """That gateways share; None: each has files of its own."""
    url = settings.database_url.get_secret_value()
    return Postgres(url) if url else None


def key_lookup(settings: GatewaySettings, database: Postgres | None) -> KeyLookup:
    """The keys of the settings and of the file or the database; asked for in any case when other machines can call."""
    file = KeyStore(settings.keys_file) if settings.keys_file is not None else None
    store = SharedKeys(database) if database is not None else file
    return KeyLookup(settings.keys, store, enforced=not is_loopback(settings.host))


def fetcher_of(settings: GatewaySettings) -> ImageFetcher | None:
    """None unless fetching is switched on."""
    if not settings.fetch_urls:
        return None
    return HttpFetcher(settings.fetch_limits(), settings.url_policy(), settings.address_policy())
