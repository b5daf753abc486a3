"""What the routes work with, made once by `create_app`."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from gateway.clients import IndexClient, TorchServeClient
from gateway.encoder import Encoder
from gateway.fetch import ImageFetcher
from gateway.fetching import Fetching
from gateway.ingest import Ingester
from gateway.inputs import InputParser
from gateway.metering import Meter
from gateway.quotas import Quotas, storage_of
from gateway.readiness import Readiness
from gateway.searching import Searcher
from gateway.settings import Settings
from gateway.telemetry import Metrics


@dataclass(frozen=True)
class Services:
    """The gateway without its routes."""

    settings: Settings
    torchserve: TorchServeClient
    index: IndexClient
    parser: InputParser
    encoder: Encoder
    searcher: Searcher
    ingester: Ingester
    readiness: Readiness
    metrics: Metrics
    quotas: Quotas

    @classmethod
    def build(
        cls,
        settings: Settings,
        torchserve: TorchServeClient,
        index: IndexClient,
        fetcher: ImageFetcher | None = None,
    ) -> Services:
        quotas = Quotas(settings.key_limits(), storage_of(settings.redis_url.get_secret_value()))
        meter = Meter(quotas)
        fetching = Fetching(fetcher, settings.max_body_bytes) if fetcher is not None else None
        encoder = Encoder(torchserve, settings, meter, fetching)
        return cls(
            settings=settings,
            torchserve=torchserve,
            index=index,
            parser=InputParser(settings.max_image_bytes, settings.url_policy() if fetcher is not None else None),
            encoder=encoder,
            searcher=Searcher(encoder, index, meter),
            ingester=Ingester(encoder, index, meter),
            readiness=Readiness(settings, torchserve, index),
            metrics=Metrics(),
            quotas=quotas,
        )


def services(request: Request) -> Services:
    """Those of the app that `request` came to."""
    made: Services = request.app.state.services
    return made
