"""What the routes work with, made once by `create_app`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request

from clip_core.self_profile import SelfProfiler
from clipserve_client.answers.answers import Limits
from gateway.admission.endpoints import EndpointAdmissions
from gateway.assistant.asking.asker import Asker
from gateway.assistant.assistant import (
    make_asker,
    make_collection_captions,
    make_language_model,
    make_picture_captions,
    make_text_chat,
)
from gateway.assistant.chat.served_chat import ServedChat
from gateway.assistant.chat.text_chat import TextChat
from gateway.assistant.describing.collection_captions import CollectionCaptions
from gateway.assistant.describing.given_captions import GivenCaptions
from gateway.assistant.describing.kept_captions import KeptCaptions
from gateway.assistant.offline.caption_reader import CaptionReader
from gateway.assistant.provider.language_model import LanguageModel
from gateway.captions.captioning import Captioning
from gateway.captions.drafting import Drafting
from gateway.captions.loading import PictureLoader
from gateway.database.postgres import Postgres
from gateway.demand import Demand
from gateway.encode.encoder import Encoder
from gateway.encode.labels import LabelVectors
from gateway.expiries import Expiries
from gateway.fetch.image_fetcher import ImageFetcher
from gateway.fetch.url_images import UrlImageLoader
from gateway.history.history import History
from gateway.history.reader import Reader
from gateway.ingest.ingester import Ingester
from gateway.ingest.item_captions import ItemCaptions
from gateway.inputs.parser import InputParser
from gateway.jobs.runner import Jobs
from gateway.jobs.shared_store import SharedJobStore
from gateway.jobs.sources import JobSources
from gateway.jobs.store import JobStore
from gateway.keys.key_lookup import KeyLookup
from gateway.keys.meter import Meter
from gateway.keys.quotas import Quotas, counts_in
from gateway.metrics import GatewayMetrics
from gateway.models.captioners import Captioners
from gateway.models.known_collections import KnownCollections
from gateway.models.registry import Models, RegisteredModel
from gateway.models.rows import ModelRow
from gateway.models.rows_file import RowsFile
from gateway.models.torchserves import TorchServeAddress, TorchServes
from gateway.pictures.bucket import BucketStore
from gateway.pictures.folders import PictureFolders
from gateway.pictures.pictures import Pictures
from gateway.pictures.store import PictureStore
from gateway.pictures.sweeping import Sweeper
from gateway.readiness import Readiness
from gateway.reranking.served.captioner_reranker import CaptionerReranker
from gateway.reranking.served.listwise import Listwise, ListwiseOptions
from gateway.reranking.served.model_parser import ModelParser
from gateway.reranking.served.reranker import Reranker
from gateway.search.across import AcrossCollections
from gateway.search.index_wait import IndexWait
from gateway.search.neighbour_captions import neighbour_captions
from gateway.search.routing import SearchRouter
from gateway.search.score_guidance import ScoreGuidance
from gateway.search.searching import Searcher
from gateway.settings import GatewaySettings
from gateway.upstream.index_service import IndexServiceClient
from gateway.upstream.scaler import Scalers
from gateway.upstream.torchserve import TorchServeClient


@dataclass(frozen=True)
class Services:
    """The gateway without its routes."""

    settings: GatewaySettings
    models: Models
    captioners: Captioners
    captioning: Captioning
    language_model: LanguageModel | None
    kept_captions: KeptCaptions
    given_captions: GivenCaptions
    asker: Asker
    collection_captions: CollectionCaptions
    text_chat: TextChat | None
    chat: ServedChat
    torchserves: TorchServes
    index: IndexServiceClient
    parser: InputParser
    searcher: Searcher
    across: AcrossCollections
    reranker: Reranker
    guidance: ScoreGuidance
    labels: LabelVectors
    pictures: Pictures
    sweeper: Sweeper
    ingester: Ingester
    jobs: Jobs
    readiness: Readiness
    history: History
    scalers: Scalers
    metrics: GatewayMetrics
    quotas: Quotas
    expiries: Expiries
    self_profiler: SelfProfiler

    @classmethod
    def build(
        cls,
        settings: GatewaySettings,
        connect: Callable[[TorchServeAddress], TorchServeClient],
        index: IndexServiceClient,
        fetcher: ImageFetcher | None,
        keys: KeyLookup,
        database: Postgres | None = None,
    ) -> Services:
        """Raises RowsError or PricesError when the file of models or that of prices makes no sense."""
        metrics = GatewayMetrics()
        shared = counts_in(settings.redis_url.get_secret_value())
        quotas = Quotas(settings.key_limits(), shared, on_alone=metrics.counted_alone.inc)
        meter = Meter(quotas)
        url_images = UrlImageLoader(fetcher, settings.max_body_bytes) if fetcher is not None else None
        demand = Demand()
        metrics.registry.register(demand)
        torchserves = TorchServes(connect, lambda: _admissions(settings, metrics, demand))
        models = _models(settings, torchserves, meter, url_images, metrics)
        known = KnownCollections(index)
        parser = InputParser(settings.max_image_bytes, settings.url_policy() if fetcher is not None else None)
        pictures = _pictures(settings, metrics)
        captioners = Captioners(models)
        loader = PictureLoader(index, pictures, url_images, settings.max_image_bytes, settings.max_body_bytes)
        wait = IndexWait(index, settings.index_wait_s)
        searcher = Searcher(SearchRouter(models, known), index, meter, settings.max_answer_bytes, wait)
        drafting = Drafting(partial(neighbour_captions, searcher))
        captioning = Captioning(captioners, settings, meter, loader, metrics, drafting)
        reader, language_model = CaptionReader(captioning, captioners), make_language_model(settings, database)
        text_chat = make_text_chat(settings)
        kept_captions = KeptCaptions(settings.data_dir / "captions.db", database)
        picture_captions = make_picture_captions(settings, language_model, kept_captions)
        given_captions = GivenCaptions(loader, picture_captions, meter)
        ingester = Ingester(models, index, known, meter, pictures, ItemCaptions(captioning, given_captions))
        jobs = _jobs(settings, ingester, index, parser, keys, pictures.folders, metrics, database)
        return cls(
            settings=settings,
            models=models,
            captioners=captioners,
            captioning=captioning,
            language_model=language_model,
            kept_captions=kept_captions,
            given_captions=given_captions,
            asker=make_asker(settings, searcher, parser, pictures, index, reader, language_model, metrics),
            collection_captions=make_collection_captions(settings, index, pictures, reader, picture_captions, meter),
            text_chat=text_chat,
            chat=ServedChat(reader, loader, text_chat),
            torchserves=torchserves,
            index=index,
            parser=parser,
            searcher=searcher,
            across=AcrossCollections(models, index, searcher),
            reranker=_reranker(settings, captioners, pictures, language_model, meter, metrics),
            guidance=ScoreGuidance(models, index),
            labels=LabelVectors(settings.label_cache_size),
            pictures=pictures,
            sweeper=Sweeper(index, pictures.store, shared=bool(settings.pictures_dir or settings.pictures_url)),
            ingester=ingester,
            jobs=jobs,
            readiness=Readiness(settings, models, index),
            scalers=Scalers(settings.scaler_urls),
            history=History(Reader(metrics, captioners, index, lambda: jobs.under_way).read),
            metrics=metrics,
            quotas=quotas,
            expiries=Expiries(settings.tls_certificate, keys),
            self_profiler=SelfProfiler(),
        )


def _reranker(
    settings: GatewaySettings,
    captioners: Captioners,
    pictures: Pictures,
    model: LanguageModel | None,
    meter: Meter,
    metrics: GatewayMetrics,
) -> Reranker:
    parser = None if model is None else ModelParser(model)
    by_captioner = CaptionerReranker(settings, captioners, pictures, parser, metrics)
    return Reranker(by_captioner, _listwise(settings, model, pictures), meter, metrics, settings.stall_timeout_s)


def _listwise(settings: GatewaySettings, model: LanguageModel | None, pictures: Pictures) -> Listwise | None:
    if model is None:
        return None
    vision, pixels = settings.llm_vision, settings.max_image_pixels
    return Listwise(model, pictures, ListwiseOptions(settings.llm_prompt_tokens, vision, pixels))


def _models(
    settings: GatewaySettings,
    torchserves: TorchServes,
    meter: Meter,
    url_images: UrlImageLoader | None,
    metrics: GatewayMetrics,
) -> Models:
    """The rows of the file, or the one model of the settings. Raises RowsError, PricesError."""

    def make(row: ModelRow) -> RegisteredModel:
        at = torchserves.at(TorchServeAddress.of(row, settings))
        for endpoint in row.endpoints.all():
            at.admissions.demand.know(endpoint)
        encoder = Encoder(at.client, settings, meter, at.admissions, row.endpoints, url_images, row.name)
        return RegisteredModel(row, encoder, at)

    if settings.models_file is None:
        return Models([_row_of(settings)], make)
    file = RowsFile(settings.models_file)
    return Models(file.first(), make, file.watch, metrics.forget)


def _row_of(settings: GatewaySettings) -> ModelRow:
    return ModelRow(
        text=settings.text_endpoint,
        image=settings.image_endpoint,
        multimodal=settings.multimodal_endpoint,
        caption=settings.caption_endpoint,
    )


def _admissions(settings: GatewaySettings, metrics: GatewayMetrics, demand: Demand) -> EndpointAdmissions:
    """Of one TorchServe."""
    return EndpointAdmissions(
        settings.max_in_flight,
        settings.admission_timeout_s,
        lambda endpoint: metrics.shed.labels(endpoint).inc(),
        answer_bytes=settings.fan_out_answer_bytes,
        max_large_answers=settings.max_large_answers,
        demand=demand,
        on_wait=lambda endpoint, stage, seconds: metrics.waits.labels(endpoint, stage).observe(seconds),
    )


def _pictures(settings: GatewaySettings, metrics: GatewayMetrics) -> Pictures:
    limits = settings.pictures_max_bytes, settings.pictures_min_free_bytes
    folder = settings.pictures_dir or settings.data_dir / "pictures"
    store: PictureStore | BucketStore = PictureStore(folder, *limits)
    if settings.pictures_url:
        store = BucketStore(settings.pictures_url, settings.pictures_max_bytes)
    metrics.picture_bytes.set_function(lambda: store.bytes)
    return Pictures(
        store,
        PictureFolders(settings.data_dir, settings.image_roots, settings.pictures_dir),
        settings.pictures,
        settings.max_image_pixels,
        threads=settings.picture_threads,
        count=lambda outcome: metrics.pictures.labels(outcome).inc(),
    )


def _jobs(
    settings: GatewaySettings,
    ingester: Ingester,
    index: IndexServiceClient,
    parser: InputParser,
    keys: KeyLookup,
    folders: PictureFolders,
    metrics: GatewayMetrics,
    database: Postgres | None,
) -> Jobs:
    return Jobs(
        JobStore.in_file(settings.data_dir / "jobs.db") if database is None else SharedJobStore(database),
        ingester,
        index,
        parser,
        JobSources(settings.ingest_roots, settings.max_image_bytes),
        keys.find,
        limits=Limits(
            max_body_bytes=settings.max_body_bytes,
            max_image_bytes=settings.max_image_bytes,
            max_image_pixels=settings.max_image_pixels,
        ),
        batch=settings.job_batch,
        width=settings.max_jobs,
        show_folder=folders.show,
        on_items=lambda outcome, count: metrics.job_items.labels(outcome).inc(count),
        on_end=lambda state: metrics.jobs.labels(state).inc(),
    )


def services(request: Request) -> Services:
    """Those of the app that `request` came to."""
    made: Services = request.app.state.services
    return made
