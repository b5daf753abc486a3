"""What the routes work with, made once by `create_app`."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from gateway.clients import IndexClient, TorchServeClient
from gateway.encoder import Encoder
from gateway.ingest import Ingester
from gateway.inputs import InputParser
from gateway.jobs.runner import Jobs
from gateway.jobs.store import JobStore
from gateway.labels import LabelVectors
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
    labels: LabelVectors
    ingester: Ingester
    jobs: Jobs
    readiness: Readiness
    metrics: Metrics

    @classmethod
    def build(cls, settings: Settings, torchserve: TorchServeClient, index: IndexClient) -> Services:
        encoder = Encoder(torchserve, settings)
        parser, ingester = InputParser(settings.max_image_bytes), Ingester(encoder, index)
        return cls(
            settings=settings,
            torchserve=torchserve,
            index=index,
            parser=parser,
            encoder=encoder,
            searcher=Searcher(encoder, index),
            labels=LabelVectors(encoder, settings.label_cache_size),
            ingester=ingester,
            jobs=Jobs(
                JobStore(settings.data_dir / "jobs.db"),
                ingester,
                parser,
                settings.ingest_roots,
                batch=settings.job_batch,
                width=settings.max_jobs,
            ),
            readiness=Readiness(settings, torchserve, index),
            metrics=Metrics(),
        )


def services(request: Request) -> Services:
    """Those of the app that `request` came to."""
    made: Services = request.app.state.services
    return made
